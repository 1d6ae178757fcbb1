/* SPDX-License-Identifier: Apache-2.0 */
/* settings - every knob of the firmware by name. */
#include "gpu/fsp.h"
#include "gpu/internal.h"

static const struct {
	const char *name, *meaning;
} knobs[GPU_N_KNOBS + 1] = {
	[5] = { "CCD_ALLOW_INB", "host may write CCD" },
	[6] = { "CCD", "devtools: debugging while CC is on" },
	[7] = { "CCM_ALLOW_INB", "host may write CCM" },
	[8] = { "CCM", "confidential computing" },
	[9] = { "BAR0_DECOUPLER_ALLOW_INB", "host may write BAR0_DECOUPLER" },
	[10] = { "BAR0_DECOUPLER", "filter on BAR0: 0 off, 2 on" },
	[35] = { "FORCE_RESET_COUPLING_ALLOW_INB", "host may write FORCE_RESET_COUPLING" },
	[36] = { "FORCE_RESET_COUPLING", "next bus reset is a fundamental one" },
	[44] = { "PPCIE_ALLOW_INB", "host may write PPCIE" },
	[45] = { "PPCIE", "Protected PCIe" },
	[46] = { "CECA_ALLOW_INB", "host may write CECA" },
	[47] = { "CECA", "" },
};

static const char *const numbered[GPU_N_KNOBS + 1] = {
	"KNOB_0",  "KNOB_1",  "KNOB_2",	 "KNOB_3",  "KNOB_4",  "KNOB_5",  "KNOB_6",  "KNOB_7",
	"KNOB_8",  "KNOB_9",  "KNOB_10", "KNOB_11", "KNOB_12", "KNOB_13", "KNOB_14", "KNOB_15",
	"KNOB_16", "KNOB_17", "KNOB_18", "KNOB_19", "KNOB_20", "KNOB_21", "KNOB_22", "KNOB_23",
	"KNOB_24", "KNOB_25", "KNOB_26", "KNOB_27", "KNOB_28", "KNOB_29", "KNOB_30", "KNOB_31",
	"KNOB_32", "KNOB_33", "KNOB_34", "KNOB_35", "KNOB_36", "KNOB_37", "KNOB_38", "KNOB_39",
	"KNOB_40", "KNOB_41", "KNOB_42", "KNOB_43", "KNOB_44", "KNOB_45", "KNOB_46", "KNOB_47",
};

const char *gpu_knob_name(unsigned id)
{
	if (id > GPU_N_KNOBS)
		return "KNOB_?";
	return knobs[id].name ? knobs[id].name : numbered[id];
}

const char *gpu_knob_meaning(unsigned id)
{
	return id <= GPU_N_KNOBS && knobs[id].meaning ? knobs[id].meaning : "";
}

int gpu_settings(struct gpu *g, struct gpu_knob out[GPU_N_KNOBS], struct err *err)
{
	for (unsigned id = 1; id <= GPU_N_KNOBS; id++) {
		struct gpu_knob *k = &out[id - 1];

		*k = (struct gpu_knob){ .id = (uint8_t)id, .state = GPU_KNOB_VALUE };
		if (fsp_knob_read(g, id, &k->value, err) == 0)
			continue;
		if (!fsp_no_such_knob(err))
			return -1;
		k->state = GPU_KNOB_INVALID;
		err_clear(err);
	}
	return 0;
}
