/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cluster looks like before an agent comes: namespaces, nodes as a kubelet registers them,
 * and the updates that kubelet and others write on nodes all day.  Also saving and loading it all.
 */
#include "internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"

int kubemodel_add_namespace(struct kubemodel *m, const char *name, struct err *err)
{
	json_auto_t *raw = NULL;

	if (km_check_label_value(name) || !*name || km_find(m, KM_NAMESPACES, "", name))
		return err_set(err, ERR_INVALID, "namespace %s: taken or no name", name);
	raw = km_must_json(json_pack("{s:{s:s, s:{s:s}}, s:{s:s}}", "metadata", "name", name,
				     "labels", "kubernetes.io/metadata.name", name, "status",
				     "phase", "Active"));
	km_put(m, KM_NAMESPACES, km_prepare_new(m, KM_NAMESPACES, "", raw));
	return 0;
}

/* Adds the lines of `text`, each "k=v", to `labels`. */
static int labels_add(json_t *labels, const char *text, struct err *err)
{
	char line[512];

	while (*text) {
		size_t n = strcspn(text, "\n");
		char *equals;

		if (n) {
			if (!str_copyn(line, sizeof(line), text, n) ||
			    !(equals = strchr(line, '=')))
				return err_set(err, ERR_INVALID, "label %.*s: not KEY=VALUE",
					       (int)(n < 100 ? n : 100), text);
			*equals = '\0';
			if (km_check_qualified_name(line) || km_check_label_value(equals + 1))
				return err_set(err, ERR_INVALID, "label %s: no valid label", line);
			json_object_set_new(labels, line, json_string(equals + 1));
		}
		text += n + (text[n] == '\n');
	}
	return 0;
}

static json_t *condition(const char *type, const char *status, const char *reason,
			 const char *stamp)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status,
			 "lastHeartbeatTime", stamp, "lastTransitionTime", stamp, "reason", reason,
			 "message", reason);
}

static json_t *conditions(const char *stamp)
{
	return json_pack("[ooooo]",
			 condition("MemoryPressure", "False", "KubeletHasSufficientMemory", stamp),
			 condition("DiskPressure", "False", "KubeletHasNoDiskPressure", stamp),
			 condition("PIDPressure", "False", "KubeletHasSufficientPID", stamp),
			 condition("NetworkUnavailable", "False", "RouteCreated", stamp),
			 condition("Ready", "True", "KubeletReady", stamp));
}

/* Field ownership is about as large as the rest of a node's metadata; so it is here. */
static json_t *managed_fields(const char *stamp)
{
	static const char *const managers[] = { "kubelet", "nfd-master", "gpu-operator",
						"kube-controller-manager" };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(managers); i++)
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:{s:{s:{}, s:{}, s:{}, s:{}}}}}",
				  "manager", managers[i], "operation", "Update", "apiVersion", "v1",
				  "time", stamp, "fieldsType", "FieldsV1", "fieldsV1", "f:metadata",
				  "f:labels", ".", "f:kubernetes.io/arch",
				  "f:kubernetes.io/hostname",
				  "f:feature.node.kubernetes.io/pci-10de.present"));
	return list;
}

static json_t *node_status(const char *name, const char *stamp)
{
	json_t *resources = json_pack("{s:s, s:s, s:s, s:s, s:s}", "cpu", "128",
				      "ephemeral-storage", "1843269236Ki", "memory", "2113390036Ki",
				      "nvidia.com/pgpu", "8", "pods", "110");

	return json_pack("{s:O, s:o, s:o, s:[{s:s, s:s}, {s:s, s:s}], s:{s:s, s:s, s:s, s:s, s:s}}",
			 "capacity", resources, "allocatable", resources, "conditions",
			 conditions(stamp), "addresses", "type", "InternalIP", "address",
			 "192.0.2.10", "type", "Hostname", "address", name, "nodeInfo",
			 "architecture", "amd64", "containerRuntimeVersion", "containerd://2.1.4",
			 "kernelVersion", "6.8.0-79-generic", "kubeletVersion", "v1.31.0",
			 "operatingSystem", "linux");
}

int kubemodel_add_node(struct kubemodel *m, const char *name, const char *labels, struct err *err)
{
	json_auto_t *raw = NULL, *map = NULL;
	char stamp[CLOCK_RFC3339_SIZE];

	if (km_check_dns_subdomain(name) || strlen(name) > 63)
		return err_set(err, ERR_INVALID, "node %s: not a node's name", name);
	if (km_find(m, KM_NODES, "", name))
		return err_set(err, ERR_INVALID, "node %s: there already", name);
	map = km_must_json(json_pack("{s:s, s:s, s:s, s:s}", "kubernetes.io/arch", "amd64",
				     "kubernetes.io/hostname", name, "kubernetes.io/os", "linux",
				     "feature.node.kubernetes.io/pci-10de.present", "true"));
	if (labels_add(map, labels, err) < 0)
		return err_wrap(err, "node %s", name);
	clock_rfc3339(stamp);
	raw = km_must_json(json_pack("{s:{s:s, s:O, s:{s:s}, s:o}, s:{s:s}, s:o}", "metadata",
				     "name", name, "labels", map, "annotations",
				     "node.alpha.kubernetes.io/ttl", "0", "managedFields",
				     managed_fields(stamp), "spec", "podCIDR", "10.244.0.0/24",
				     "status", node_status(name, stamp)));
	km_put(m, KM_NODES, km_prepare_new(m, KM_NODES, "", raw));
	return 0;
}

/* Nine heartbeats, then an annotation, as some CNI plugins and autoscalers do. */
int kubemodel_churn_node(struct kubemodel *m, const char *name, unsigned nth, struct err *err)
{
	struct km_object *o = km_find(m, KM_NODES, "", name);
	char stamp[CLOCK_RFC3339_SIZE], count[16];
	json_auto_t *p = NULL;

	if (!o)
		return err_set(err, ERR_NOT_FOUND, "node %s: not there", name);
	clock_rfc3339_us(stamp);
	snprintf(count, sizeof(count), "%u", nth);
	p = nth % 10 ? json_pack("{s:{s:o}}", "status", "conditions", conditions(stamp))
		     : json_pack("{s:{s:{s:s}}}", "metadata", "annotations",
				 "example.com/seen-by-others", count);
	km_put(m, KM_NODES, km_merge_patch(o->now->json, km_must_json(p)));
	return 0;
}

/* ---- saving and loading ---- */

int kubemodel_save(const struct kubemodel *m, struct buf *out, struct err *err)
{
	json_auto_t *doc = km_must_json(json_pack("{s:I, s:I, s:{}}", "version", (json_int_t)m->rv,
						  "names", (json_int_t)m->n_names, "objects"));
	json_t *objects = json_object_get(doc, "objects");
	AUTO_MEM char *text = NULL;

	for (size_t k = 0; k < km_n_kinds; k++) {
		json_t *list = json_array();

		for (size_t i = 0; i < m->list[k].n; i++)
			json_array_append(list, m->list[k].item[i]->now->json);
		json_object_set_new(objects, km_kinds[k].plural, list);
	}
	text = km_must(json_dumps(doc, JSON_INDENT(1)));
	return buf_adds(out, text, err);
}

/* Pods that were leaving go on leaving. */
static void object_load(struct kubemodel *m, const struct km_kind *kind, json_t *obj)
{
	struct km_object *o = km_put(m, kind, json_incref(obj));

	if (kind == KM_PODS && *km_text_at(obj, "metadata.deletionTimestamp"))
		km_leave(m, o, m->config.grace_ms);
}

int kubemodel_load(struct kubemodel *m, struct rd in, struct err *err)
{
	json_error_t e;
	json_auto_t *doc = json_loadb((const char *)in.p, in.left, 0, &e);
	json_int_t version = json_integer_value(json_object_get(doc, "version"));

	if (!doc)
		return err_set(err, ERR_INVALID, "saved cluster: line %d: %s", e.line, e.text);
	if (version < 1 || !json_is_object(json_object_get(doc, "objects")))
		return err_set(err, ERR_INVALID, "saved cluster: no version or no objects");
	m->rv = (uint64_t)version;
	m->n_names = (uint64_t)json_integer_value(json_object_get(doc, "names"));
	for (size_t k = 0; k < km_n_kinds; k++) {
		json_t *list = json_object_get(json_object_get(doc, "objects"), km_kinds[k].plural);
		json_t *obj;
		size_t i;

		json_array_foreach (list, i, obj) {
			if (km_check_dns_subdomain(km_text_at(obj, "metadata.name")))
				return err_set(err, ERR_INVALID, "saved cluster: %s %zu: no name",
					       km_kinds[k].plural, i);
			object_load(m, &km_kinds[k], obj);
		}
	}
	kubemodel_compact(m);
	return 0;
}
