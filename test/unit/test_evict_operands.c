/* SPDX-License-Identifier: Apache-2.0 */
/* evict: what pausing does to a deploy label, what undoes it, and whose pod is whose. */
#include <criterion/criterion.h>

#include "base/str.h"
#include "evict/evict.h"
#include "table.h"

static const struct {
	const char *name, *value, *paused, *restored; /* NULL: left alone */
} values[] = {
	{ "a running operand", "true", EVICT_PAUSE_TEXT, NULL },
	{ "an absent key", NULL, NULL, NULL },
	{ "an empty value", "", NULL, NULL },
	{ "switched off by the user", "false", NULL, NULL },
	{ "another spelling of true", "True", NULL, NULL },
	{ "a value of the user's own", "canary", NULL, NULL },
	{ "paused by us", EVICT_PAUSE_TEXT, NULL, "true" },
	{ "paused in the long form", "true_" EVICT_PAUSE_TEXT, NULL, "true" },
	{ "a custom value, paused in the long form", "my_canary_" EVICT_PAUSE_TEXT, NULL,
	  "my_canary" },
	{ "an empty value, paused in the long form", "_" EVICT_PAUSE_TEXT, NULL, "" },
	{ "paused by the driver manager", "paused-for-driver-upgrade", NULL, NULL },
	{ "our text with something behind it", EVICT_PAUSE_TEXT "-x", NULL, NULL },
	{ "our text without the underscore", "x" EVICT_PAUSE_TEXT, NULL, NULL },
};

TABLE_TEST(evict, pauses_and_restores, values)
{
	char restored[EVICT_VALUE_BYTES] = "untouched";
	const char *paused = evict_pause_value(row->value);
	bool is_paused = evict_restored_value(row->value, restored);

	if (row->paused)
		cr_assert(str_eq(paused, row->paused), "%s: %s", row->name, paused);
	else
		cr_assert_null(paused, "%s: %s", row->name, paused);
	cr_assert_eq(is_paused, row->restored != NULL, "%s", row->name);
	cr_assert_eq(evict_is_paused(row->value), is_paused, "%s", row->name);
	cr_assert_str_eq(restored, row->restored ? row->restored : "untouched", "%s", row->name);
}

static const struct {
	const char *name, *owner_kind, *owner, *app, *label_name;
	int operand;
} pods[] = {
	{ "by its controller", "DaemonSet", "nvidia-vfio-manager", NULL, NULL, EVICT_VFIO_MANAGER },
	{ "a controller of another kind", "ReplicaSet", "nvidia-vfio-manager", NULL, NULL, -1 },
	{ "by its label app", "", "", "nvidia-sandbox-validator", NULL, EVICT_SANDBOX_VALIDATOR },
	{ "by its label name", "", "", NULL, "nvidia-vfio-manager", EVICT_VFIO_MANAGER },
	{ "the Kata device plugin", "DaemonSet", "nvidia-kata-sandbox-device-plugin-daemonset",
	  NULL, NULL, EVICT_KATA_SANDBOX_DEVICE_PLUGIN },
	{ "the KubeVirt device plugin", "DaemonSet", "nvidia-sandbox-device-plugin-daemonset", NULL,
	  NULL, EVICT_SANDBOX_DEVICE_PLUGIN },
	{ "the vGPU manager's long name", "", "", "nvidia-vgpu-manager-daemonset", NULL,
	  EVICT_VGPU_MANAGER },
	{ "cc-manager itself", "DaemonSet", "nvidia-cc-manager", "nvidia-cc-manager",
	  "nvidia-cc-manager", -1 },
	{ "somebody's pod", "ReplicaSet", "web-5d5f", "web", NULL, -1 },
};

TABLE_TEST(evict, knows_whose_pod_it_is, pods)
{
	struct k8s_pair pair[2];
	struct k8s_pod pod = { .owner_kind = row->owner_kind, .owner_name = row->owner };

	pod.labels.pair = pair;
	if (row->app)
		pair[pod.labels.n++] = (struct k8s_pair){ "app", row->app };
	if (row->label_name)
		pair[pod.labels.n++] = (struct k8s_pair){ "name", row->label_name };
	cr_assert_eq(evict_operand_of(&pod), row->operand, "%s", row->name);
}

Test(evict, each_operand_has_a_name_and_a_label)
{
	for (int i = 0; i < EVICT_N_OPERANDS; i++) {
		cr_assert(str_starts(evict_operand_labels[i], "nvidia.com/gpu.deploy."));
		cr_assert(str_ends(evict_operand_labels[i], evict_operand_names[i]));
	}
}
