/* SPDX-License-Identifier: Apache-2.0 */
/* evict - which operands there are, how their pods are known, and what pausing does to a label. */
#include "evict/evict.h"

#include <stdio.h>

#include "base/str.h"

#define MAX_POD_NAMES 2

const char *const evict_operand_names[EVICT_N_OPERANDS] = {
	[EVICT_VFIO_MANAGER] = "vfio-manager",
	[EVICT_SANDBOX_VALIDATOR] = "sandbox-validator",
	[EVICT_SANDBOX_DEVICE_PLUGIN] = "sandbox-device-plugin",
	[EVICT_KATA_SANDBOX_DEVICE_PLUGIN] = "kata-sandbox-device-plugin",
	[EVICT_VGPU_MANAGER] = "vgpu-manager",
	[EVICT_VGPU_DEVICE_MANAGER] = "vgpu-device-manager",
};

const char *const evict_operand_labels[EVICT_N_OPERANDS] = {
	[EVICT_VFIO_MANAGER] = "nvidia.com/gpu.deploy.vfio-manager",
	[EVICT_SANDBOX_VALIDATOR] = "nvidia.com/gpu.deploy.sandbox-validator",
	[EVICT_SANDBOX_DEVICE_PLUGIN] = "nvidia.com/gpu.deploy.sandbox-device-plugin",
	[EVICT_KATA_SANDBOX_DEVICE_PLUGIN] = "nvidia.com/gpu.deploy.kata-sandbox-device-plugin",
	[EVICT_VGPU_MANAGER] = "nvidia.com/gpu.deploy.vgpu-manager",
	[EVICT_VGPU_DEVICE_MANAGER] = "nvidia.com/gpu.deploy.vgpu-device-manager",
};

/* Names of the DaemonSets, which are also the values of the pods' labels `app` or `name`: which of
 * the two a pod carries differs from operand to operand, and between releases of the operator. */
static const char *const pod_names[EVICT_N_OPERANDS][MAX_POD_NAMES] = {
	[EVICT_VFIO_MANAGER] = { "nvidia-vfio-manager" },
	[EVICT_SANDBOX_VALIDATOR] = { "nvidia-sandbox-validator" },
	[EVICT_SANDBOX_DEVICE_PLUGIN] = { "nvidia-sandbox-device-plugin-daemonset",
					  "nvidia-sandbox-device-plugin" },
	[EVICT_KATA_SANDBOX_DEVICE_PLUGIN] = { "nvidia-kata-sandbox-device-plugin-daemonset",
					       "nvidia-kata-sandbox-device-plugin" },
	[EVICT_VGPU_MANAGER] = { "nvidia-vgpu-manager-daemonset", "nvidia-vgpu-manager" },
	[EVICT_VGPU_DEVICE_MANAGER] = { "nvidia-vgpu-device-manager" },
};

const char *evict_pause_value(const char *value)
{
	return str_eq(value, "true") ? EVICT_PAUSE_TEXT : NULL;
}

bool evict_is_paused(const char *value)
{
	return value && (str_eq(value, EVICT_PAUSE_TEXT) || str_ends(value, "_" EVICT_PAUSE_TEXT));
}

bool evict_restored_value(const char *value, char out[EVICT_VALUE_BYTES])
{
	if (!evict_is_paused(value))
		return false;
	if (str_eq(value, EVICT_PAUSE_TEXT))
		return str_copy(out, EVICT_VALUE_BYTES, "true");
	return str_copyn(out, EVICT_VALUE_BYTES, value,
			 strlen(value) - strlen("_" EVICT_PAUSE_TEXT));
}

static bool is_named(int operand, const char *name)
{
	for (size_t i = 0; i < MAX_POD_NAMES; i++)
		if (str_eq(pod_names[operand][i], name))
			return true;
	return false;
}

int evict_operand_of(const struct k8s_pod *pod)
{
	const char *app = k8s_map_get(&pod->labels, "app");
	const char *name = k8s_map_get(&pod->labels, "name");

	for (int i = 0; i < EVICT_N_OPERANDS; i++)
		if ((str_eq(pod->owner_kind, "DaemonSet") && is_named(i, pod->owner_name)) ||
		    is_named(i, app) || is_named(i, name))
			return i;
	return -1;
}
