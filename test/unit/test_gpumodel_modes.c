/* SPDX-License-Identifier: Apache-2.0 */
/* test_gpumodel_modes - staging, reset, boot and active mode, on each kind of chip. */
#include "gpumodel_client.h"
#include "table.h"

static const struct {
	const char *name, *part;
	uint32_t boot, mode, firmware_waits;
	unsigned knob[4][2]; /* id, value; id 0 ends */
	uint32_t active;     /* of the mode register */
} switches[] = {
	{ "h100 on", "h100", 0x200bc, 0x1182cc, 0, { { 10, 2 }, { 8, 1 } }, 1 },
	{ "h100 devtools", "h100", 0x200bc, 0x1182cc, 0, { { 8, 1 }, { 6, 1 } }, 3 },
	{ "h100 devtools without CC", "h200", 0x200bc, 0x1182cc, 0, { { 6, 1 } }, 2 },
	{ "h100 ppcie", "h100", 0x200bc, 0x1182cc, 0, { { 10, 2 }, { 45, 1 } }, 0x20 },
	{ "h100 held off by knob 34", "h100", 0x200bc, 0x1182cc, 0, { { 34, 1 }, { 8, 1 } }, 0 },
	{ "b200 on", "b200", 0x200bc, 0x590, 1, { { 8, 1 } }, 1 },
	{ "b200 on, firewall", "b200", 0x200bc, 0x590, 1, { { 8, 1 }, { 10, 2 } }, 5 },
	{ "gb20x devtools", "gb20x", 0xad00bc, 0x590, 1, { { 8, 1 }, { 6, 1 } }, 3 },
	{ "by device id", "0x2339", 0x200bc, 0x1182cc, 0, { { 8, 1 } }, 1 },
	{ "ls10 ppcie", "ls10", 0x660bc, 0x28c50, 0, { { 45, 1 } }, 1 },
};

TABLE_TEST(gpumodel, a_mode_is_active_after_the_reset_and_not_before, switches)
{
	struct client c;
	struct gpumodel_truth truth;
	uint64_t took = 0;

	client_open(&c, row->part);
	for (unsigned i = 0; i < 4 && row->knob[i][0]; i++)
		cr_assert_eq(knob_write(&c, 0, row->knob[i][0], row->knob[i][1]), 0, "%s",
			     row->name);
	gpumodel_truth(c.m, 0, &truth);
	cr_assert_eq(truth.cc_active, 0, "%s", row->name);
	cr_assert_eq(truth.staged_unapplied, row->active != 0, "%s", row->name);
	cr_assert_eq(c.n_violations, 0, "%s: %s", row->name, c.last);

	cr_assert_eq(gpumodel_reset(c.m, 0, &took), 0, "%s", row->name);
	cr_assert_eq(took, 100, "%s", row->name);
	clock_sleep_ms(took);
	if (row->firmware_waits) {
		cr_assert(gpumodel_cfg_read(c.m, 0, 0x168, 4) & 1u << 20, "%s: firewall",
			  row->name);
		clock_sleep_ms(50);
		cr_assert_eq(gpumodel_cfg_read(c.m, 0, 0x168, 4) & 1u << 20, 0, "%s", row->name);
		clock_sleep_ms(150);
	} else {
		cr_assert_eq(gpumodel_read(c.m, 0, row->boot), 0, "%s: boot", row->name);
		gpumodel_write(c.m, 0, 0x12004c, 4);
		gpumodel_write(c.m, 0, 0x122204, 2);
		clock_sleep_ms(200);
	}
	cr_assert_eq(gpumodel_read(c.m, 0, row->boot), 0xff, "%s: boot", row->name);
	cr_assert_eq(gpumodel_read(c.m, 0, row->mode), row->active, "%s: mode", row->name);
	gpumodel_truth(c.m, 0, &truth);
	cr_assert(!truth.staged_unapplied, "%s", row->name);
	client_close(&c);
}

static const struct {
	const char *name, *part;
	unsigned knob;
	uint32_t status;
} refusals[] = {
	{ "PPCIe on old firmware", "h100-noppcie", 45, 0x1e3 },
	{ "PPCIe on Blackwell", "b200", 45, 0x1e3 },
	{ "CC on a card without it", "gb20x-nocc", 8, 0x1e3 },
	{ "no such knob", "h100", 48, 0x1e3 },
	{ "knob zero", "h100", 0, 0x1e3 },
	{ "PPCIe", "h100", 45, 0 },
	{ "CC knob of a switch", "ls10", 8, 0 },
	{ "decoupler on Blackwell", "b200", 10, 0 },
};

TABLE_TEST(gpumodel, firmware_knows_its_knobs, refusals)
{
	struct client c;
	uint32_t value;

	client_open(&c, row->part);
	cr_assert_eq(knob_read(&c, 0, row->knob, &value), row->status, "%s", row->name);
	cr_assert_eq(knob_write(&c, 0, row->knob, 0), row->status, "%s", row->name);
	client_close(&c);
}

Test(gpumodel, the_high_half_of_a_value_is_rubbish)
{
	uint32_t in[] = { 0xc0000000, 0x1310de7e, 0x0008020c }, out[8];
	struct client c;

	client_open(&c, "h100,b200");
	for (unsigned dev = 0; dev < 2; dev++) {
		cr_assert_eq(client_rpc(&c, dev, in, 3, out), 6);
		cr_assert_eq(out[1], 0x1510de7e);
		cr_assert_eq(out[3], 0x13);
		cr_assert_eq(out[5], 0x5a5a0000);
	}
	client_close(&c);
}

Test(gpumodel, a_knob_closed_to_the_host_is_refused)
{
	struct client c;

	client_open(&c, "h100");
	cr_assert(gpumodel_knob_set(c.m, 0, 7, 0));
	cr_assert_eq(knob_write(&c, 0, 8, 1), 0x1e4);
	cr_assert_eq(knob_write(&c, 0, 45, 1), 0);
	client_close(&c);
}

Test(gpumodel, reset_marks_tell_flr_from_bus_reset)
{
	struct client c;
	uint64_t took;

	client_open(&c, "h100");
	for (unsigned bus = 0; bus < 2; bus++) {
		cr_assert_eq(gpumodel_reset_method_set(c.m, 0, bus ? "bus" : "flr"), 0);
		gpumodel_write(c.m, 0, 0x1458, 1);
		gpumodel_write(c.m, 0, 0x91288, 1);
		cr_assert_eq(gpumodel_reset(c.m, 0, &took), 0);
		clock_sleep_ms(took);
		cr_assert_eq(gpumodel_read(c.m, 0, 0x1458), 0);
		cr_assert_eq(gpumodel_read(c.m, 0, 0x91288), !bus);
	}
	client_close(&c);
}

Test(gpumodel, flr_by_hand_forgets_the_bars)
{
	struct client c;

	client_open(&c, "h100");
	cr_assert_eq(knob_write(&c, 0, 8, 1), 0);
	cr_assert_neq(gpumodel_cfg_read(c.m, 0, 0x10, 4), 0);
	gpumodel_cfg_write(c.m, 0, 0x78 + 8, 2, 0x8000);
	cr_assert_eq(gpumodel_cfg_read(c.m, 0, 0, 4), 0xffff0001);
	clock_sleep_ms(100);
	cr_assert_eq(gpumodel_cfg_read(c.m, 0, 0, 4), 0x233010de);
	cr_assert_eq(gpumodel_cfg_read(c.m, 0, 0x10, 4), 0);
	gpumodel_cfg_write(c.m, 0, 4, 2, 2);
	gpumodel_write(c.m, 0, 0x12004c, 4);
	clock_sleep_ms(200);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x1182cc), 1);
	client_close(&c);
}

Test(gpumodel, power_and_decoding_gate_bar0)
{
	struct client c;

	client_open(&c, "b200");
	gpumodel_d3_set(c.m, 0, true);
	cr_assert_eq(gpumodel_read(c.m, 0, 0), UINT32_MAX);
	cr_assert_eq(c.n_violations, 1);
	gpumodel_cfg_write(c.m, 0, 0x64, 2, 0);
	cr_assert_neq(gpumodel_read(c.m, 0, 0), UINT32_MAX);
	gpumodel_cfg_write(c.m, 0, 4, 2, 0);
	cr_assert_eq(gpumodel_read(c.m, 0, 0), UINT32_MAX);
	cr_assert_eq(c.n_violations, 2);
	client_close(&c);
}

Test(gpumodel, chips_without_firmware_modes_answer_little)
{
	struct client c;

	client_open(&c, "a100,lr10,nvbridge,nic,nvaudio");
	cr_assert_eq(gpumodel_read(c.m, 0, 0), 0x170000a1);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), 0xbadf1100);
	cr_assert_eq(gpumodel_read(c.m, 1, 0), 0x006000a1);
	cr_assert_eq(gpumodel_read(c.m, 2, 0), 0x012340a1);
	cr_assert_eq(gpumodel_info(c.m, 3)->vendor, 0x15b3);
	cr_assert_eq(gpumodel_info(c.m, 4)->class, 0x040300);
	client_close(&c);
}

static const struct {
	const char *text;
	unsigned count; /* 0 with ok false: refused */
	bool ok;
	const char *first;
} lists[] = {
	{ "h100:8,ls10:4", 12, true, "0000:1b:00.0" },
	{ "", 0, true, NULL },
	{ "none", 0, true, NULL },
	{ "h100@0001:02:00.0", 1, true, "0001:02:00.0" },
	{ "h100:2@0001:02:00.0,h200@0001:04:00.0", 3, true, "0001:02:00.0" },
	{ "h100:64", 64, true, "0000:1b:00.0" },
	{ "0x2bb5", 1, true, "0000:1b:00.0" },
	{ "h100:65", 0, false, NULL },
	{ "h100:63,ls10:2", 0, false, NULL },
	{ "h100:", 0, false, NULL },
	{ "h100,,ls10", 0, false, NULL },
	{ "0x1234", 0, false, NULL },
	{ "h100@1b:00.0", 0, false, NULL },
	{ "h100@0000:1b:00.8", 0, false, NULL },
	{ "h100@0000:1b:00.0,h100@0000:1b:00.0", 0, false, NULL },
	{ "h100:2@0000:ff:00.0", 0, false, NULL },
	{ "voodoo2", 0, false, NULL },
};

TABLE_TEST(gpumodel, reads_device_lists, lists)
{
	struct gpumodel_config config = { 0 };
	struct gpumodel *m = NULL;
	struct err err = ERR_INIT;
	int r = gpumodel_new(row->text, &config, &m, &err);

	cr_assert_eq(r, row->ok ? 0 : -1, "%s: %s", row->text, err_text(&err));
	if (row->ok) {
		cr_assert_eq(gpumodel_count(m), row->count, "%s", row->text);
		cr_assert(!row->first || str_eq(gpumodel_info(m, 0)->bdf, row->first), "%s",
			  row->text);
	} else {
		cr_assert_eq(err.kind, ERR_INVALID, "%s", row->text);
	}
	gpumodel_free(m);
}
