/* SPDX-License-Identifier: Apache-2.0 */
/* modes - the words for modes, and what a mode means for each kind of device. */
#include <string.h>

#include "base/str.h"
#include "gpu/chip.h"

const char *const gpu_mode_names[] = { "off", "on", "devtools", "ppcie", NULL };
const char *const gpu_cc_names[] = { "unknown", "unsupported", "off", "on", "devtools", "invalid" };
const char *const gpu_ppcie_names[] = { "unknown", "unsupported", "off", "on" };
const char *const gpu_kind_names[] = { "gpu", "nvswitch" };

_Static_assert(ARRAY_LEN(gpu_mode_names) == GPU_N_MODES + 1, "a name for each");
_Static_assert(ARRAY_LEN(gpu_cc_names) == GPU_N_CC, "a name for each");
_Static_assert(ARRAY_LEN(gpu_ppcie_names) == GPU_N_PPCIE, "a name for each");
_Static_assert(ARRAY_LEN(gpu_kind_names) == GPU_N_KINDS, "a name for each");

bool gpu_mode_parse(const char *text, enum gpu_mode *out)
{
	for (int i = 0; i < GPU_N_MODES; i++) {
		if (!str_eq(text, gpu_mode_names[i]))
			continue;
		*out = (enum gpu_mode)i;
		return true;
	}
	return false;
}

static const char *called(const struct gpu_dev *dev)
{
	return *dev->name ? dev->name : *dev->chip_name ? dev->chip_name : "this device";
}

int gpu_can(const struct gpu_dev *dev, enum gpu_mode mode, struct err *err)
{
	if (mode == GPU_MODE_OFF)
		return 0;
	if (mode == GPU_MODE_PPCIE) {
		if (dev->ppcie_capable)
			return 0;
		return err_set(err, ERR_UNSUPPORTED, "%s: %s has no ppcie mode", bdf_str(dev->bdf),
			       called(dev));
	}
	if (dev->kind == GPU_KIND_NVSWITCH || dev->cc_capable)
		return 0;
	return err_set(err, ERR_UNSUPPORTED,
		       "%s: %s (device id %04x) has no confidential computing", bdf_str(dev->bdf),
		       called(dev), dev->device_id);
}

struct gpu_pair gpu_wanted(const struct gpu_dev *dev, enum gpu_mode mode)
{
	static const struct gpu_pair pairs[GPU_N_MODES] = {
		[GPU_MODE_OFF] = { GPU_CC_OFF, GPU_PPCIE_OFF },
		[GPU_MODE_ON] = { GPU_CC_ON, GPU_PPCIE_OFF },
		[GPU_MODE_DEVTOOLS] = { GPU_CC_DEVTOOLS, GPU_PPCIE_OFF },
		[GPU_MODE_PPCIE] = { GPU_CC_OFF, GPU_PPCIE_ON },
	};
	struct gpu_pair p = pairs[mode];

	if (!dev->cc_capable && (p.cc == GPU_CC_OFF || dev->kind == GPU_KIND_NVSWITCH))
		p.cc = GPU_CC_UNSUPPORTED;
	if (!dev->ppcie_capable && p.ppcie == GPU_PPCIE_OFF)
		p.ppcie = GPU_PPCIE_UNSUPPORTED;
	return p;
}
