/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU Operator's pods: there while the label says exactly "true", gone after their time, back
 * after theirs.  The clock is a fake one.
 */
#include "kubemodel_client.h"
#include "table.h"

#define VFIO "nvidia.com/gpu.deploy.vfio-manager"

static struct kubemodel *operated(void)
{
	struct kubemodel_operator op = { "gpu-operator", 50, 70 };
	struct err err = ERR_INIT;
	struct kubemodel *m;

	clock_fake_set_us(1000000);
	m = cluster(64);
	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"" VFIO "\":\"true\"}}}");
	cr_assert_eq(kubemodel_operator_start(m, &op, &err), 0, "%s", err_text(&err));
	return m;
}

static void at_ms(struct kubemodel *m, uint64_t ms)
{
	clock_fake_set_us(ms * 1000);
	kubemodel_tick(m);
}

/* "", "running" or "leaving": the only pod there can be */
static const char *pod(struct kubemodel *m, char name[128])
{
	json_auto_t *list = NULL;
	const json_t *p;

	ask(m, "GET", "/api/v1/namespaces/gpu-operator/pods", "", &list);
	cr_assert_leq(json_array_size(json_object_get(list, "items")), 1);
	p = json_array_get(json_object_get(list, "items"), 0);
	if (!p)
		return "";
	snprintf(name, 128, "%s", km_text_at(p, "metadata.name"));
	return *km_text_at(p, "metadata.deletionTimestamp") ? "leaving" : "running";
}

static void set_label(struct kubemodel *m, const char *json_value)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"metadata\":{\"labels\":{\"" VFIO "\":%s}}}", json_value);
	patch_node(m, "n1", body);
}

static const struct {
	const char *name, *value;
} away[] = {
	{ "paused", "\"paused-for-cc-mode-change\"" },
	{ "false", "\"false\"" },
	{ "empty", "\"\"" },
	{ "absent", "null" },
	{ "True is not true", "\"True\"" },
};

TABLE_TEST(kubemodel_operator, pods_leave_when_the_label_is_not_true, away)
{
	struct kubemodel *m = operated();
	char name[128], next[128];

	cr_assert_str_eq(pod(m, name), "running", "%s", row->name);
	set_label(m, row->value);
	cr_assert_str_eq(pod(m, name), "leaving", "%s", row->name);
	at_ms(m, 1049);
	cr_assert_str_eq(pod(m, name), "leaving", "%s", row->name);
	cr_assert_eq(kubemodel_due_ms(m), 1050);
	at_ms(m, 1050);
	cr_assert_str_eq(pod(m, next), "", "%s", row->name);
	set_label(m, "\"true\"");
	cr_assert_str_eq(pod(m, next), "", "%s", row->name);
	at_ms(m, 1119);
	cr_assert_str_eq(pod(m, next), "", "%s", row->name);
	at_ms(m, 1120);
	cr_assert_str_eq(pod(m, next), "running", "%s", row->name);
	cr_assert_str_neq(name, next, "another pod");
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel_operator, a_pod_that_leaves_goes_even_when_the_label_returns)
{
	struct kubemodel *m = operated();
	char name[128];

	set_label(m, "\"false\"");
	set_label(m, "\"true\"");
	cr_assert_str_eq(pod(m, name), "leaving");
	at_ms(m, 1050);
	cr_assert_str_eq(pod(m, name), "");
	at_ms(m, 1120);
	cr_assert_str_eq(pod(m, name), "running");
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel_operator, evicted_pods_come_back)
{
	struct kubemodel *m = operated();
	char name[128], target[256];

	pod(m, name);
	snprintf(target, sizeof(target), "/api/v1/namespaces/gpu-operator/pods/%s/eviction", name);
	cr_assert_eq(ask(m, "POST", target, "{\"kind\":\"Pod\"}", NULL), 400);
	cr_assert_eq(ask(m, "POST", target, "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\"}",
			 NULL),
		     201);
	cr_assert_str_eq(pod(m, name), "leaving");
	at_ms(m, 1050);
	cr_assert_str_eq(pod(m, name), "");
	at_ms(m, 1120);
	cr_assert_str_eq(pod(m, name), "running");
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel_operator, a_stuck_operand_stays_until_it_is_freed)
{
	struct kubemodel *m = operated();
	struct err err = ERR_INIT;
	char name[128];

	cr_assert_eq(kubemodel_operator_stick(m, "no-such", true, &err), -1);
	err_clear(&err);
	cr_assert_eq(kubemodel_operator_stick(m, "vfio-manager", true, &err), 0);
	set_label(m, "\"false\"");
	at_ms(m, 3600000);
	cr_assert_str_eq(pod(m, name), "leaving");
	cr_assert_eq(kubemodel_operator_stick(m, "vfio-manager", false, &err), 0);
	at_ms(m, 3600050);
	cr_assert_str_eq(pod(m, name), "");
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel_operator, pods_carry_what_the_real_ones_carry)
{
	struct kubemodel *m = operated();
	json_auto_t *list = NULL;
	const json_t *p, *owner;

	ask(m, "GET", "/api/v1/pods?labelSelector=app%3Dnvidia-vfio-manager", "", &list);
	cr_assert_eq(json_array_size(json_object_get(list, "items")), 0, "it has no app label");
	json_decref(list);
	ask(m, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", "", &list);
	p = json_array_get(json_object_get(list, "items"), 0);
	cr_assert_str_eq(km_text_at(p, "metadata.labels.name"), "nvidia-vfio-manager");
	owner = json_array_get(json_object_get(json_object_get(p, "metadata"), "ownerReferences"),
			       0);
	cr_assert_str_eq(km_text_at(owner, "kind"), "DaemonSet");
	cr_assert_str_eq(km_text_at(owner, "name"), "nvidia-vfio-manager");
	cr_assert(*km_text_at(owner, "uid"));
	kubemodel_free(m);
	clock_fake_off();
}

Test(kubemodel_operator, operands_false_takes_all_away)
{
	struct kubemodel *m = operated();
	char name[128];

	patch_node(m, "n1",
		   "{\"metadata\":{\"labels\":{\"nvidia.com/gpu.deploy.operands\":\"false\"}}}");
	cr_assert_str_eq(pod(m, name), "leaving");
	kubemodel_free(m);
	clock_fake_off();
}
