/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU Operator as an agent sees it: per node and operand one pod of a DaemonSet, there while
 * nvidia.com/gpu.deploy.<operand> is exactly "true".  Nobody heals a label that stays paused.
 */
#include "internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"

/* Pods carry `label`=DaemonSet name: some operands have no "app" label at all. */
static const struct {
	const char *operand, *daemonset, *label;
} operands[] = {
	{ "vfio-manager", "nvidia-vfio-manager", "name" },
	{ "vgpu-manager", "nvidia-vgpu-manager-daemonset", "app" },
	{ "sandbox-validator", "nvidia-sandbox-validator", "app" },
	{ "sandbox-device-plugin", "nvidia-sandbox-device-plugin-daemonset", "app" },
	{ "vgpu-device-manager", "nvidia-vgpu-device-manager", "app" },
	{ "kata-sandbox-device-plugin", "nvidia-kata-sandbox-device-plugin-daemonset", "app" },
	{ "kata-manager", "nvidia-kata-manager", "name" },
	{ "cc-manager", "nvidia-cc-manager", "app" },
};
#define N_OPERANDS ARRAY_LEN(operands)
_Static_assert(N_OPERANDS <= KUBEMODEL_MAX_OPERANDS, "named maximum");

static const struct {
	const char *set, *labels;
} sets[] = {
	{ "kata", "nvidia.com/gpu.present=true\n"
		  "nvidia.com/gpu.workload.config=vm-passthrough\n"
		  "nvidia.com/gpu.deploy.cc-manager=true\n"
		  "nvidia.com/gpu.deploy.kata-manager=true\n"
		  "nvidia.com/gpu.deploy.kata-sandbox-device-plugin=true\n"
		  "nvidia.com/gpu.deploy.sandbox-validator=true\n"
		  "nvidia.com/gpu.deploy.vfio-manager=true\n" },
	{ "kubevirt", "nvidia.com/gpu.present=true\n"
		      "nvidia.com/gpu.workload.config=vm-passthrough\n"
		      "nvidia.com/gpu.deploy.cc-manager=true\n"
		      "nvidia.com/gpu.deploy.sandbox-device-plugin=true\n"
		      "nvidia.com/gpu.deploy.sandbox-validator=true\n"
		      "nvidia.com/gpu.deploy.vfio-manager=true\n" },
	{ "vgpu", "nvidia.com/gpu.present=true\n"
		  "nvidia.com/gpu.workload.config=vm-vgpu\n"
		  "nvidia.com/gpu.deploy.cc-manager=true\n"
		  "nvidia.com/gpu.deploy.sandbox-device-plugin=true\n"
		  "nvidia.com/gpu.deploy.sandbox-validator=true\n"
		  "nvidia.com/gpu.deploy.vgpu-device-manager=true\n"
		  "nvidia.com/gpu.deploy.vgpu-manager=true\n" },
};

struct slot { /* one operand on one node */
	char *node;
	char pod[KM_MAX_NAME]; /* "" while there is none */
	size_t operand;
	uint64_t return_at_ms; /* 0: not planned */
	bool was;	       /* had a pod before; the first one comes at once */
};

struct km_operator {
	char ns[64];
	uint64_t leave_ms, return_ms;
	bool stuck[N_OPERANDS];
	bool dirty;	   /* a pod has gone: look at all slots */
	struct slot *slot; /* N_OPERANDS for each node, in its order of coming */
	size_t n;
};

const char *kubemodel_operator_labels(const char *set)
{
	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		if (str_eq(sets[i].set, set))
			return sets[i].labels;
	return NULL;
}

void km_operator_free(struct km_operator *op)
{
	if (!op)
		return;
	for (size_t i = 0; i < op->n; i++)
		free(op->slot[i].node);
	free(op->slot);
	free(op);
}

static struct slot *slots_of_node(struct km_operator *op, const char *node)
{
	for (size_t i = 0; i < op->n; i += N_OPERANDS)
		if (str_eq(op->slot[i].node, node))
			return &op->slot[i];
	op->slot = km_must(realloc(op->slot, (op->n + N_OPERANDS) * sizeof(struct slot)));
	for (size_t i = 0; i < N_OPERANDS; i++)
		op->slot[op->n + i] = (struct slot){
			.node = km_must(strdup(node)),
			.operand = i,
		};
	op->n += N_OPERANDS;
	return &op->slot[op->n - N_OPERANDS];
}

static bool wanted(struct kubemodel *m, const struct slot *s)
{
	struct km_object *node = km_find(m, KM_NODES, "", s->node);
	const json_t *labels;
	char key[128];

	if (!node)
		return false;
	labels = json_object_get(json_object_get(node->now->json, "metadata"), "labels");
	snprintf(key, sizeof(key), "nvidia.com/gpu.deploy.%s", operands[s->operand].operand);
	return str_eq(json_string_value(json_object_get(labels, key)), "true") &&
	       !str_eq(json_string_value(json_object_get(labels, "nvidia.com/gpu.deploy.operands")),
		       "false");
}

static json_t *pod_json(struct kubemodel *m, const struct slot *s)
{
	const char *ds = operands[s->operand].daemonset;
	struct km_object *owner = km_find(m, KM_DAEMONSETS, m->op->ns, ds);
	char stem[128], key[128], started[CLOCK_RFC3339_SIZE];
	json_t *meta, *spec, *status;

	snprintf(stem, sizeof(stem), "%s-", ds);
	snprintf(key, sizeof(key), "nvidia.com/gpu.deploy.%s", operands[s->operand].operand);
	clock_rfc3339(started);
	meta = json_pack("{s:s, s:{s:s, s:s, s:s}, s:[{s:s, s:s, s:s, s:s, s:b, s:b}]}",
			 "generateName", stem, "labels", operands[s->operand].label, ds,
			 "controller-revision-hash", "6c5d4f7b9", "pod-template-generation", "1",
			 "ownerReferences", "apiVersion", "apps/v1", "kind", "DaemonSet", "name",
			 ds, "uid", owner ? km_text_at(owner->now->json, "metadata.uid") : "",
			 "controller", true, "blockOwnerDeletion", true);
	spec = json_pack("{s:s, s:{s:s}, s:i, s:s, s:[{s:s, s:s}]}", "nodeName", s->node,
			 "nodeSelector", key, "true", "terminationGracePeriodSeconds", 30,
			 "serviceAccountName", ds, "containers", "name", ds, "image",
			 "nvcr.io/nvidia/gpu-operator:v26.7.0");
	status = json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "phase", "Running", "startTime", started,
			   "conditions", "type", "Ready", "status", "True");
	return km_must_json(
		json_pack("{s:o, s:o, s:o}", "metadata", meta, "spec", spec, "status", status));
}

static void pod_create(struct kubemodel *m, struct slot *s)
{
	json_auto_t *raw = pod_json(m, s);
	json_t *pod = km_prepare_new(m, KM_PODS, m->op->ns, raw);

	str_copy(s->pod, sizeof(s->pod), km_text_at(pod, "metadata.name"));
	s->return_at_ms = 0;
	s->was = true;
	km_put(m, KM_PODS, pod);
}

/* Moves one slot towards what the label says. */
static void slot_sync(struct kubemodel *m, struct slot *s, uint64_t now)
{
	struct km_operator *op = m->op;
	struct km_object *pod = *s->pod ? km_find(m, KM_PODS, op->ns, s->pod) : NULL;
	bool want = wanted(m, s);

	if (!pod)
		*s->pod = '\0';
	if (!want)
		s->return_at_ms = 0;
	if (!want && pod && !*km_text_at(pod->now->json, "metadata.deletionTimestamp"))
		km_leave(m, pod, op->stuck[s->operand] ? UINT64_MAX : op->leave_ms);
	if (!want || pod)
		return;
	if (!s->return_at_ms)
		s->return_at_ms = s->was ? now + op->return_ms : now;
	if (s->return_at_ms <= now)
		pod_create(m, s);
}

void km_operator_node_changed(struct kubemodel *m, const char *node)
{
	struct slot *s;

	if (!m->op)
		return;
	s = slots_of_node(m->op, node);
	for (size_t i = 0; i < N_OPERANDS; i++)
		slot_sync(m, &s[i], now_ms());
}

void km_operator_pod_gone(struct kubemodel *m)
{
	if (m->op)
		m->op->dirty = true;
}

void km_operator_tick(struct kubemodel *m, uint64_t now)
{
	struct km_operator *op = m->op;

	if (!op)
		return;
	for (size_t i = 0; i < op->n; i++)
		if (op->dirty || (op->slot[i].return_at_ms && op->slot[i].return_at_ms <= now))
			slot_sync(m, &op->slot[i], now);
	op->dirty = false;
}

uint64_t km_operator_due_ms(const struct kubemodel *m)
{
	uint64_t due = UINT64_MAX;

	if (!m->op)
		return due;
	if (m->op->dirty)
		return 0;
	for (size_t i = 0; i < m->op->n; i++)
		if (m->op->slot[i].return_at_ms && m->op->slot[i].return_at_ms < due)
			due = m->op->slot[i].return_at_ms;
	return due;
}

static void daemonset_create(struct kubemodel *m, size_t operand)
{
	const char *ds = operands[operand].daemonset;
	char key[128];
	json_auto_t *raw = NULL;

	snprintf(key, sizeof(key), "nvidia.com/gpu.deploy.%s", operands[operand].operand);
	raw = km_must_json(json_pack("{s:{s:s}, s:{s:{s:{s:s}}, s:{s:{s:{s:s}}, s:{s:{s:s}}}}}",
				     "metadata", "name", ds, "spec", "selector", "matchLabels",
				     operands[operand].label, ds, "template", "metadata", "labels",
				     operands[operand].label, ds, "spec", "nodeSelector", key,
				     "true"));
	km_put(m, KM_DAEMONSETS, km_prepare_new(m, KM_DAEMONSETS, m->op->ns, raw));
}

/* Pods that a loaded cluster brought along keep their places. */
static void pods_adopt(struct kubemodel *m)
{
	struct km_list *pods = km_list_of(m, KM_PODS);

	for (size_t i = 0; i < pods->n; i++) {
		const json_t *pod = pods->item[i]->now->json;
		const json_t *owners =
			json_object_get(json_object_get(pod, "metadata"), "ownerReferences");
		const char *owner = km_text_at(json_array_get(owners, 0), "name");

		for (size_t k = 0; k < N_OPERANDS; k++) {
			struct slot *s;

			if (!str_eq(owner, operands[k].daemonset))
				continue;
			s = &slots_of_node(m->op, km_text_at(pod, "spec.nodeName"))[k];
			str_copy(s->pod, sizeof(s->pod), km_text_at(pod, "metadata.name"));
			s->was = true;
		}
	}
}

int kubemodel_operator_start(struct kubemodel *m, const struct kubemodel_operator *config,
			     struct err *err)
{
	struct km_list *nodes = km_list_of(m, KM_NODES);

	if (m->op)
		return err_set(err, ERR_INVALID, "the operator is there already");
	if (!km_find(m, KM_NAMESPACES, "", config->ns) &&
	    kubemodel_add_namespace(m, config->ns, err) < 0)
		return -1;
	m->op = km_must(calloc(1, sizeof(*m->op)));
	str_copy(m->op->ns, sizeof(m->op->ns), config->ns);
	kubemodel_operator_pace(m, config->leave_ms, config->return_ms);
	for (size_t i = 0; i < N_OPERANDS; i++)
		if (!km_find(m, KM_DAEMONSETS, m->op->ns, operands[i].daemonset))
			daemonset_create(m, i);
	pods_adopt(m);
	for (size_t i = 0; i < nodes->n; i++)
		km_operator_node_changed(m, km_text_at(nodes->item[i]->now->json, "metadata.name"));
	return 0;
}

void kubemodel_operator_pace(struct kubemodel *m, uint64_t leave_ms, uint64_t return_ms)
{
	if (!m->op)
		return;
	m->op->leave_ms = leave_ms;
	m->op->return_ms = return_ms;
}

/* Pods that were held back go on leaving. */
static void unstick(struct kubemodel *m, size_t operand)
{
	for (size_t i = operand; i < m->op->n; i += N_OPERANDS) {
		struct km_object *pod = km_find(m, KM_PODS, m->op->ns, m->op->slot[i].pod);

		if (!pod || pod->gone_at_ms != UINT64_MAX)
			continue;
		pod->gone_at_ms = now_ms() + m->op->leave_ms;
		if (pod->gone_at_ms < m->pods_due_ms)
			m->pods_due_ms = pod->gone_at_ms;
	}
}

int kubemodel_operator_stick(struct kubemodel *m, const char *operand, bool stuck, struct err *err)
{
	if (!m->op)
		return err_set(err, ERR_INVALID, "there is no operator here");
	for (size_t i = 0; i < N_OPERANDS; i++) {
		if (!str_eq(operands[i].operand, operand))
			continue;
		m->op->stuck[i] = stuck;
		if (!stuck)
			unstick(m, i);
		return 0;
	}
	return err_set(err, ERR_INVALID, "%s: no such operand", operand);
}
