/* SPDX-License-Identifier: Apache-2.0 */
/* Modes on the register model: every mode from every mode on every family, what is written on the
 * way, and what a client that was killed leaves behind. */
#include <linux/pci_regs.h>

#include "gpu/fsp.h"
#include "gpu/gh100.h"
#include "gpu_on_model.h"
#include "table.h"

#define TRANSITIONS(part, modes)                                                                   \
	{ part, modes, GPU_MODE_OFF }, { part, modes, GPU_MODE_ON },                               \
		{ part, modes, GPU_MODE_DEVTOOLS },                                                \
	{                                                                                          \
		part, modes, GPU_MODE_PPCIE                                                        \
	}

static const struct {
	const char *name;
	unsigned can; /* bit per mode */
	enum gpu_mode from;
} transitions[] = {
	TRANSITIONS("h100", 0xf),  TRANSITIONS("gh200", 0xf), TRANSITIONS("b200", 0x7),
	TRANSITIONS("b300", 0x7),  TRANSITIONS("gb102", 0x7), TRANSITIONS("gb20x", 0x7),
	TRANSITIONS("gb203", 0x7), TRANSITIONS("ls10", 0xf),
};

static void check_truth(struct rig *r, const char *name, enum gpu_mode mode)
{
	static const unsigned cc[] = {
		[GPU_MODE_OFF] = 0, [GPU_MODE_ON] = 1, [GPU_MODE_DEVTOOLS] = 3, [GPU_MODE_PPCIE] = 0
	};
	struct gpumodel_truth t;

	gpumodel_truth(r->m, 0, &t);
	cr_assert_eq(t.cc_active, r->info.cc_capable ? cc[mode] : 0, "%s to %s", name,
		     gpu_mode_names[mode]);
	cr_assert_eq(t.ppcie_active, mode == GPU_MODE_PPCIE, "%s to %s", name,
		     gpu_mode_names[mode]);
	cr_assert_not(t.staged_unapplied, "%s to %s", name, gpu_mode_names[mode]);
	if (strcmp(name, "h100") == 0)
		cr_assert_eq(t.knob[10], mode == GPU_MODE_ON || mode == GPU_MODE_PPCIE ? 2 : 0,
			     "%s to %s", name, gpu_mode_names[mode]);
}

TABLE_TEST(gpu_modes, every_mode_from_every_mode, transitions)
{
	struct rig r;

	for (int to = 0; to < GPU_N_MODES; to++) {
		struct err err = ERR_INIT;
		struct gpu_pair pair;

		rig_new(&r, row->name);
		if (row->can >> row->from & 1)
			cr_assert(gpumodel_mode_set(r.m, 0, gpu_mode_names[row->from]) ||
				  r.info.kind == GPU_KIND_NVSWITCH);
		if (row->can >> to & 1) {
			cr_assert_eq(rig_set(&r, (enum gpu_mode)to, &pair, &err), 0,
				     "%s %s to %s: %s", row->name, gpu_mode_names[row->from],
				     gpu_mode_names[to], err_text(&err));
			cr_assert(gpu_pair_equal(pair, gpu_wanted(&r.info, (enum gpu_mode)to)),
				  "%s", row->name);
			check_truth(&r, row->name, (enum gpu_mode)to);
		} else {
			cr_assert_eq(rig_set(&r, (enum gpu_mode)to, &pair, &err), -1, "%s",
				     row->name);
			cr_assert_eq(err.kind, ERR_UNSUPPORTED, "%s: %s", row->name,
				     err_text(&err));
			cr_assert_eq(r.n_knob_writes, 0, "%s", row->name);
		}
		rig_free(&r);
	}
}

/* The order never passes through devtools without CC, which is the invalid mode. */
static const struct {
	const char *part, *from;
	enum gpu_mode to;
	const char *written;
} orders[] = {
	{ "h100", "off", GPU_MODE_ON, "10=2 8=1 " },
	{ "h100", "off", GPU_MODE_DEVTOOLS, "8=1 6=1 " },
	{ "h100", "off", GPU_MODE_PPCIE, "10=2 45=1 " },
	{ "h100", "on", GPU_MODE_OFF, "10=0 8=0 " },
	{ "h100", "on", GPU_MODE_DEVTOOLS, "10=0 6=1 " },
	{ "h100", "on", GPU_MODE_PPCIE, "8=0 45=1 " },
	{ "h100", "devtools", GPU_MODE_OFF, "6=0 8=0 " },
	{ "h100", "devtools", GPU_MODE_ON, "10=2 6=0 " },
	{ "h100", "devtools", GPU_MODE_PPCIE, "6=0 8=0 10=2 45=1 " },
	{ "h100", "ppcie", GPU_MODE_OFF, "10=0 45=0 " },
	{ "h100", "ppcie", GPU_MODE_ON, "45=0 8=1 " },
	{ "h100", "ppcie", GPU_MODE_DEVTOOLS, "45=0 10=0 8=1 6=1 " },
	{ "b200", "off", GPU_MODE_DEVTOOLS, "8=1 6=1 " },
	{ "b200", "devtools", GPU_MODE_OFF, "6=0 8=0 " },
	{ "b200", "devtools", GPU_MODE_ON, "6=0 " },
	{ "ls10", "off", GPU_MODE_PPCIE, "45=1 " },
	{ "ls10", "ppcie", GPU_MODE_ON, "45=0 " },
	{ "ls10", "ppcie", GPU_MODE_PPCIE, "" },
};

TABLE_TEST(gpu_modes, knobs_are_written_in_order, orders)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_undo undo;

	rig_new(&r, row->part);
	cr_assert(gpumodel_mode_set(r.m, 0, row->from));
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(gpu_stage(&r.gpu, row->to, &undo, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(r.written, row->written, "%s %s to %s: %s", row->part, row->from,
			 gpu_mode_names[row->to], r.written);
	rig_free(&r);
}

static const struct {
	const char *name, *active;
	struct gpu_pair pair;
} queries[] = {
	{ "h100", "off", { GPU_CC_OFF, GPU_PPCIE_OFF } },
	{ "h100", "on", { GPU_CC_ON, GPU_PPCIE_OFF } },
	{ "h100", "devtools", { GPU_CC_DEVTOOLS, GPU_PPCIE_OFF } },
	{ "h100", "ppcie", { GPU_CC_OFF, GPU_PPCIE_ON } },
	{ "h200", "on", { GPU_CC_ON, GPU_PPCIE_OFF } },
	{ "b200", "off", { GPU_CC_OFF, GPU_PPCIE_UNSUPPORTED } },
	{ "b200", "devtools", { GPU_CC_DEVTOOLS, GPU_PPCIE_UNSUPPORTED } },
	{ "gb112", "on", { GPU_CC_ON, GPU_PPCIE_UNSUPPORTED } },
	{ "gb20x", "on", { GPU_CC_ON, GPU_PPCIE_UNSUPPORTED } },
	{ "ls10", "off", { GPU_CC_UNSUPPORTED, GPU_PPCIE_OFF } },
	{ "ls10", "ppcie", { GPU_CC_UNSUPPORTED, GPU_PPCIE_ON } },
	{ "lr10", NULL, { GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED } },
};

TABLE_TEST(gpu_modes, query_tells_the_active_pair, queries)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, row->name);
	cr_assert(!row->active || gpumodel_mode_set(r.m, 0, row->active), "%s", row->name);
	cr_assert_eq(rig_open(&r, &err), 0, "%s: %s", row->name, err_text(&err));
	cr_assert_eq(gpu_query(&r.gpu, &pair, &err), 0, "%s: %s", row->name, err_text(&err));
	cr_assert(gpu_pair_equal(pair, row->pair), "%s %s: %s, %s", row->name, row->active,
		  gpu_cc_names[pair.cc], gpu_ppcie_names[pair.ppcie]);
	cr_assert_eq(r.n_knob_writes, 0);
	rig_free(&r);
}

/* The worked example of a minimal client: five accesses on Hopper, and nothing that changes a mode. */
Test(gpu_modes, query_writes_only_the_priv_ring)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, "h100");
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(gpu_query(&r.gpu, &pair, &err), 0);
	cr_assert_eq(r.n_writes, 2);
	rig_free(&r);
}

Test(gpu_modes, staged_tells_what_a_reset_would_do)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_undo undo;
	bool same;

	rig_new(&r, "h100");
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(gpu_staged(&r.gpu, GPU_MODE_OFF, &same, &err), 0);
	cr_assert(same);
	cr_assert_eq(gpu_stage(&r.gpu, GPU_MODE_ON, &undo, &err), 0);
	cr_assert_eq(undo.n, 2); /* decoupler and CCM; CCD is 0 already */
	cr_assert_eq(gpu_staged(&r.gpu, GPU_MODE_ON, &same, &err), 0);
	cr_assert(same);
	for (int m = 0; m < GPU_N_MODES; m++) {
		if (m == GPU_MODE_ON)
			continue;
		cr_assert_eq(gpu_staged(&r.gpu, (enum gpu_mode)m, &same, &err), 0);
		cr_assert_not(same, "%s", gpu_mode_names[m]);
	}
	rig_free(&r);
}

Test(gpu_modes, staging_twice_writes_once)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_undo undo;

	rig_new(&r, "b200");
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(gpu_stage(&r.gpu, GPU_MODE_DEVTOOLS, &undo, &err), 0);
	cr_assert_eq(r.n_knob_writes, 2);
	cr_assert_eq(gpu_stage(&r.gpu, GPU_MODE_DEVTOOLS, &undo, &err), 0);
	cr_assert_eq(r.n_knob_writes, 2);
	cr_assert_eq(undo.n, 0);
	rig_free(&r);
}

Test(gpu_modes, unstage_puts_back_what_was_there)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpumodel_truth before, after;
	struct gpu_undo undo;

	rig_new(&r, "h100");
	gpumodel_mode_set(r.m, 0, "ppcie");
	gpumodel_truth(r.m, 0, &before);
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(gpu_stage(&r.gpu, GPU_MODE_DEVTOOLS, &undo, &err), 0);
	cr_assert_eq(gpu_unstage(&r.gpu, &undo, &err), 0, "%s", err_text(&err));
	gpumodel_truth(r.m, 0, &after);
	cr_assert_arr_eq(before.knob, after.knob, sizeof(before.knob));
	cr_assert_not(after.staged_unapplied);
	rig_free(&r);
}

/* Firmware without PPCIe: off, on and devtools work, ppcie says why not before anything is written. */
static const struct {
	const char *name;
	enum gpu_mode mode;
	const char *why; /* NULL: works */
} old_firmware[] = {
	{ "h100-noppcie", GPU_MODE_OFF, NULL },
	{ "h100-noppcie", GPU_MODE_ON, NULL },
	{ "h100-noppcie", GPU_MODE_DEVTOOLS, NULL },
	{ "h100-noppcie", GPU_MODE_PPCIE, "firmware without PPCIe" },
	{ "ls10-noppcie", GPU_MODE_PPCIE, "firmware without PPCIe" },
	{ "ls10-noppcie", GPU_MODE_ON, NULL },
	{ "gb20x-nocc", GPU_MODE_OFF, NULL },
	{ "gb20x-nocc", GPU_MODE_ON, "firmware without confidential computing" },
};

TABLE_TEST(gpu_modes, old_firmware_says_so, old_firmware)
{
	struct rig r;
	struct err err = ERR_INIT;
	bool same;
	int code;

	rig_new(&r, row->name);
	cr_assert_eq(rig_open(&r, &err), 0);
	code = gpu_staged(&r.gpu, row->mode, &same, &err);
	cr_assert_eq(code, row->why ? -1 : 0, "%s: %s", row->name, err_text(&err));
	if (row->why) {
		cr_assert_eq(err.kind, ERR_UNSUPPORTED, "%s: %s", row->name, err_text(&err));
		cr_assert(strstr(err_text(&err), row->why), "%s: %s", row->name, err_text(&err));
	} else {
		struct gpu_pair pair;

		cr_assert_eq(rig_set(&r, row->mode, &pair, &err), 0, "%s: %s", row->name,
			     err_text(&err));
	}
	rig_free(&r);
}

/* Knob 10 alone does not make devtools; CCD without CCM is the invalid mode, and any mode cures it. */
Test(gpu_modes, invalid_is_told_and_cured)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;
	uint64_t took_ms;

	rig_new(&r, "h100");
	cr_assert(gpumodel_knob_set(r.m, 0, KNOB_CCD, 1));
	gpumodel_reset(r.m, 0, &took_ms);
	cr_assert_eq(rig_open(&r, &err), 0, "%s", err_text(&err));
	cr_assert_eq(gpu_query(&r.gpu, &pair, &err), 0);
	cr_assert_eq(pair.cc, GPU_CC_INVALID);
	cr_assert_eq(rig_set(&r, GPU_MODE_ON, &pair, &err), 0, "%s", err_text(&err));
	cr_assert_eq(pair.cc, GPU_CC_ON);
	rig_free(&r);
}

Test(gpu_modes, settings_names_every_knob)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_knob knob[GPU_N_KNOBS];

	rig_new(&r, "h100-noppcie");
	gpumodel_mode_set(r.m, 0, "on");
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(gpu_settings(&r.gpu, knob, &err), 0, "%s", err_text(&err));
	cr_assert_eq(knob[KNOB_CCM - 1].value, 1);
	cr_assert_str_eq(gpu_knob_name(knob[KNOB_CCM - 1].id), "CCM");
	cr_assert_eq(knob[KNOB_PPCIE - 1].state, GPU_KNOB_INVALID);
	for (unsigned i = 0; i < GPU_N_KNOBS; i++)
		cr_assert_eq(knob[i].id, i + 1);
	rig_free(&r);
}

/* A device in D3 with runtime power management on is woken, and left as it was found. */
Test(gpu_modes, power_is_put_back)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, "b200");
	str_copy(r.power_control, sizeof(r.power_control), "auto");
	gpumodel_d3_set(r.m, 0, true);
	cr_assert_eq(rig_open(&r, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(r.power_control, "on");
	cr_assert_eq(gpu_query(&r.gpu, &pair, &err), 0, "%s", err_text(&err));
	gpu_close(&r.gpu);
	cr_assert_str_eq(r.power_control, "auto");
	rig_free(&r);
}

/* Each device has its own registers: a mixed node answers for each. */
Test(gpu_modes, mixed_chips_keep_apart)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, "h100:1,b200:1,gb20x:1,ls10:1");
	for (unsigned dev = 0; dev < 4; dev++) {
		r.dev = dev;
		r.info = rig_dev(gpumodel_info(r.m, dev));
		cr_assert_eq(rig_set(&r, r.info.kind == GPU_KIND_GPU ? GPU_MODE_ON : GPU_MODE_OFF,
				     &pair, &err),
			     0, "%u: %s", dev, err_text(&err));
	}
	for (unsigned dev = 0; dev < 3; dev++) {
		r.dev = dev;
		r.info = rig_dev(gpumodel_info(r.m, dev));
		cr_assert_eq(rig_open(&r, &err), 0);
		cr_assert_eq(gpu_query(&r.gpu, &pair, &err), 0);
		cr_assert_eq(pair.cc, GPU_CC_ON, "%u", dev);
	}
	gpumodel_free(r.m);
}

/* Killed between writing a command and reading its answer: the next client gets its own answers. */
static const struct {
	const char *name;
	bool wait; /* for the answer to arrive */
} killed[] = {
	{ "h100", true }, { "h100", false }, { "b200", true }, { "b200", false }, { "ls10", false }
};

static void half_a_command(struct rig *r, unsigned knob)
{
	const uint32_t request[] = { FSP_MCTP_SINGLE, FSP_HEADER_PRC,
				     FSP_PRC_KNOB_READ | FIELD_PREP(FSP_PRC_KNOB, knob) };

	if (r->info.chip->family->transport == GPU_TRANSPORT_MNOC) {
		pci_wr32(&r->pci, FSP_RECEIVE_INFO, FSP_INFO_START | sizeof(request));
		cr_assert(pci_rd32(&r->pci, FSP_RECEIVE_INFO) & FSP_INFO_CREDIT);
		for (size_t i = 0; i < ARRAY_LEN(request); i++)
			pci_wr32(&r->pci, FSP_RECEIVE_DATA, request[i]);
		return;
	}
	pci_wr32(&r->pci, FSP_EMEMC(2),
		 FSP_EMEMC_INC_READ | FSP_EMEMC_INC_WRITE | FSP_EMEM_BASE(2));
	for (size_t i = 0; i < ARRAY_LEN(request); i++)
		pci_wr32(&r->pci, FSP_EMEMD(2), request[i]);
	pci_wr32(&r->pci, FSP_COMMAND_TAIL(2), FSP_EMEM_BASE(2) + 8);
	pci_wr32(&r->pci, FSP_COMMAND_HEAD(2), FSP_EMEM_BASE(2));
}

TABLE_TEST(gpu_modes, a_killed_clients_answer_is_not_ours, killed)
{
	struct rig r;
	struct err err = ERR_INIT;
	uint16_t value = 99;

	rig_new(&r, row->name);
	gpumodel_mode_set(r.m, 0, "on");
	gpumodel_mode_set(r.m, 0, row->name[0] == 'l' ? "ppcie" : "on");
	cr_assert_eq(rig_open(&r, &err), 0);
	half_a_command(&r, row->name[0] == 'l' ? KNOB_PPCIE : KNOB_CCM); /* its answer is 1 */
	if (row->wait)
		clock_sleep_ms(50);
	cr_assert_eq(rig_open(&r, &err), 0);
	cr_assert_eq(fsp_knob_read(&r.gpu, KNOB_CCD, &value, &err), 0, "%s: %s", row->name,
		     err_text(&err));
	cr_assert_eq(value, 0, "%s", row->name);
	rig_free(&r);
}

Test(gpu_modes, stop_is_heeded_between_commands)
{
	struct rig r;
	struct err err = ERR_INIT;
	volatile sig_atomic_t stop = 0;
	struct gpu_undo undo;

	rig_new(&r, "h100");
	r.env.stop = &stop;
	cr_assert_eq(rig_open(&r, &err), 0);
	stop = 1;
	cr_assert_eq(gpu_stage(&r.gpu, GPU_MODE_ON, &undo, &err), -1);
	cr_assert_eq(err.kind, ERR_INTERRUPTED);
	cr_assert_eq(undo.n, 0);
	cr_assert_eq(r.n_knob_writes, 0);
	rig_free(&r);
}

/* The class of NVSwitches with another PMC_BOOT_0: not one, and nothing was written. */
Test(gpu_modes, other_bridges_are_left_alone)
{
	struct rig r;
	struct err err = ERR_INIT;

	rig_new(&r, "nvbridge");
	cr_assert_eq(rig_open(&r, &err), -1);
	cr_assert_eq(err.kind, ERR_UNSUPPORTED, "%s", err_text(&err));
	cr_assert_eq(r.n_writes, 0);
	rig_free(&r);
}

/* An id that no table knows but the user does: PMC_BOOT_0 tells which registers it has. */
Test(gpu_modes, an_unknown_id_is_explained_by_its_registers)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, "h100");
	r.info.chip = NULL;
	r.info.device_id = 0x4000;
	cr_assert_eq(rig_open(&r, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(r.gpu.chip->name, "gh100");
	cr_assert_eq(gpu_query(&r.gpu, &pair, &err), 0);
	cr_assert_eq(pair.ppcie, GPU_PPCIE_OFF);
	rig_free(&r);
}
