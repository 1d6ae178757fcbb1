/* SPDX-License-Identifier: Apache-2.0 */
/* test_gpumodel_faults - what goes wrong on purpose, from when, how often, and that it ends. */
#include <errno.h>

#include "gpumodel_client.h"
#include "table.h"

static const struct {
	const char *name, *fault;
	unsigned dwords; /* of the answer to "read knob 8"; 0: none */
	uint32_t status, nvdm, echo;
} answers[] = {
	{ "none", NULL, 6, 0, 0x15, 0x13 },
	{ "error", "rpc-error=0x77", 5, 0x77, 0x15, 0x13 },
	{ "error on this knob", "rpc-error=0x1e3,knob=8", 5, 0x1e3, 0x15, 0x13 },
	{ "error on another", "rpc-error=0x1e3,knob=10", 6, 0, 0x15, 0x13 },
	{ "error on switches", "rpc-error=0x77,dev=switch", 6, 0, 0x15, 0x13 },
	{ "silent", "no-answer", 0, 0, 0, 0 },
	{ "stuck", "stuck-queue", 0, 0, 0, 0 },
	{ "short", "short-answer", 4, 0, 0x15, 0x13 },
	{ "long", "long-answer", 7, 0, 0x15, 0x13 },
	{ "type", "wrong-answer=type", 6, 0, 0x16, 0x13 },
	{ "echo", "wrong-answer=echo", 6, 0, 0x15, 0x14 },
	{ "length", "wrong-answer=length", 5, 0, 0x15, 0x13 },
	{ "later", "rpc-error=0x77,skip=1", 6, 0, 0x15, 0x13 },
	{ "spent", "rpc-error=0x77,count=0", 6, 0, 0x15, 0x13 },
	{ "after a write", "rpc-error=0x77,from=write", 6, 0, 0x15, 0x13 },
};

TABLE_TEST(gpumodel, answers_go_wrong, answers)
{
	static const char *const parts[] = { "h100", "b200", "ls10" };
	uint32_t in[] = { 0xc0000000, 0x1310de7e, 0x0008020c }, out[8];
	struct err err = ERR_INIT;
	struct client c;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (i == 2 && row->fault && strstr(row->fault, "dev=switch"))
			continue;
		client_open(&c, parts[i]);
		if (row->fault)
			cr_assert_eq(gpumodel_fault_add(c.m, row->fault, &err), 0, "%s",
				     err_text(&err));
		cr_assert_eq(client_rpc(&c, 0, in, 3, out), row->dwords, "%s %s", parts[i],
			     row->name);
		if (row->dwords) {
			cr_assert_eq(out[4], row->dwords > 4 ? row->status : 0, "%s %s", parts[i],
				     row->name);
			cr_assert_eq(out[1] >> 24, row->nvdm, "%s %s", parts[i], row->name);
			cr_assert_eq(out[3], row->echo, "%s %s", parts[i], row->name);
		}
		gpumodel_free(c.m);
	}
	clock_fake_off();
}

Test(gpumodel, counts_run_out_and_moments_come)
{
	struct err err = ERR_INIT;
	struct client c;
	uint32_t value;

	client_open(&c, "h100,h200");
	cr_assert_eq(gpumodel_fault_add(c.m, "rpc-error=0x77,count=2,skip=1", &err), 0);
	cr_assert_eq(knob_read(&c, 0, 8, &value), 0);
	cr_assert_eq(knob_read(&c, 0, 8, &value), 0x77);
	cr_assert_eq(knob_read(&c, 1, 8, &value), 0x77);
	cr_assert_eq(knob_read(&c, 0, 8, &value), 0);
	gpumodel_fault_clear(c.m, NULL);
	cr_assert_eq(gpumodel_fault_add(c.m, "rpc-error=5,from=write", &err), 0);
	cr_assert_eq(knob_read(&c, 0, 8, &value), 0);
	cr_assert_eq(knob_write(&c, 0, 10, 2), 0);
	cr_assert_eq(knob_read(&c, 0, 8, &value), 5);
	cr_assert_eq(knob_read(&c, 1, 8, &value), 0, "the other device has not been written");
	client_close(&c);
}

Test(gpumodel, a_stuck_queue_gives_its_answer_when_freed)
{
	static const char *const parts[] = { "h100", "b200" };
	uint32_t in[] = { 0xc0000000, 0x1310de7e, 0x0008020c }, out[8];
	struct err err = ERR_INIT;
	struct client c;

	for (size_t i = 0; i < 2; i++) {
		client_open(&c, parts[i]);
		cr_assert_eq(gpumodel_fault_add(c.m, "stuck-queue", &err), 0);
		cr_assert_eq(client_rpc(&c, 0, in, 3, out), 0);
		if (i == 0)
			cr_assert_neq(gpumodel_read(c.m, 0, 0x8f2c10),
				      gpumodel_read(c.m, 0, 0x8f2c14));
		else
			cr_assert_eq(gpumodel_read(c.m, 0, 0x8f1f84) & 1u << 24, 0);
		gpumodel_fault_clear(c.m, "stuck-queue");
		if (i == 0)
			cr_assert_neq(gpumodel_read(c.m, 0, 0x8f2c90),
				      gpumodel_read(c.m, 0, 0x8f2c94));
		else
			cr_assert(client_wait(&c, 0, 0x8f1f04, 1u << 24, 1u << 24));
		gpumodel_free(c.m);
	}
	clock_fake_off();
}

static const struct {
	const char *name, *fault;
	int reset;
	uint64_t took;
	uint32_t boot, mode;
} resets[] = {
	{ "none", NULL, 0, 100, 0xff, 1 },
	{ "busy", "reset-errno=EBUSY", -EBUSY, 0, 0xff, 0 },
	{ "no method", "reset-errno=ENOTTY", -ENOTTY, 0, 0xff, 0 },
	{ "slow", "reset-slow=400", 0, 500, 0xff, 1 },
	{ "sticks", "mode-sticks", 0, 100, 0xff, 0 },
	{ "never boots", "boot-never", 0, 100, 0, 0 },
	{ "all ones", "all-ones,from=reset", 0, 100, UINT32_MAX, UINT32_MAX },
	{ "badf", "badf,from=reset", 0, 100, 0xbadf1100, 0xbadf1100 },
	{ "badf in one place", "badf,reg=0x1182cc", 0, 100, 0xff, 0xbadf1100 },
	{ "sec fault", "sec-fault,from=reset", 0, 100, 0xbadf0200, 0xbadf0200 },
	{ "once", "reset-errno=EBUSY,count=0", 0, 100, 0xff, 1 },
	{ "elsewhere", "reset-errno=EBUSY,dev=0000:05:00.0", 0, 100, 0xff, 1 },
};

TABLE_TEST(gpumodel, resets_go_wrong, resets)
{
	struct err err = ERR_INIT;
	struct client c;
	uint64_t took = 0;

	client_open(&c, "h100-pcie,ls10");
	if (row->fault)
		cr_assert_eq(gpumodel_fault_add(c.m, row->fault, &err), 0, "%s", err_text(&err));
	if (row->fault && !strcmp(row->fault, "boot-never"))
		gpumodel_mode_set(c.m, 0, "off");
	else
		cr_assert_eq(knob_write(&c, 0, 8, 1), 0);
	cr_assert_eq(gpumodel_reset(c.m, 0, &took), row->reset, "%s", row->name);
	cr_assert_eq(took, row->took, "%s", row->name);
	clock_sleep_ms(took + 200);
	gpumodel_write(c.m, 0, 0x12004c, 4);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), row->boot, "%s", row->name);
	gpumodel_session(c.m, 0);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x1182cc), row->mode, "%s", row->name);
	client_close(&c);
}

Test(gpumodel, boots_when_the_fault_is_cleared)
{
	struct err err = ERR_INIT;
	struct client c;

	client_open(&c, "h100");
	cr_assert_eq(gpumodel_fault_add(c.m, "boot-never", &err), 0);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), 0);
	gpumodel_fault_clear(c.m, "boot-never");
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), 0xff);
	client_close(&c);
}

Test(gpumodel, recovery_and_security_faults_show_where_they_are_looked_for)
{
	struct err err = ERR_INIT;
	struct client c;

	client_open(&c, "h100,b200,ls10");
	cr_assert_eq(gpumodel_read(c.m, 1, 0x8aa128) & 0xff, 1);
	cr_assert_eq(gpumodel_fault_add(c.m, "recovery", &err), 0);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x20120), 1u << 30);
	cr_assert_gt(gpumodel_read(c.m, 1, 0x8aa128) & 0xff, 1);
	cr_assert_eq(gpumodel_read(c.m, 2, 0x66120), 1u << 30);
	cr_assert_eq(gpumodel_fault_add(c.m, "sec-fault,dev=gpu", &err), 0);
	cr_assert_eq(gpumodel_read(c.m, 0, 0), 0xbadf0200);
	cr_assert_neq(gpumodel_cfg_read(c.m, 0, 0x2b4, 4), 0);
	cr_assert_neq(gpumodel_cfg_read(c.m, 1, 0x160 + 0x14, 4), 0);
	cr_assert_eq(gpumodel_read(c.m, 2, 0), 0x007000a1);
	client_close(&c);
}

static const struct {
	const char *spec;
	bool ok;
} specs[] = {
	{ "rpc-error=0x77,knob=8,count=3,skip=1,dev=0000:1b:00.0,from=reset", true },
	{ "reset-slow=3000,dev=gpu", true },
	{ "held", true },
	{ "all-ones,reg=0x200bc", true },
	{ "", false },
	{ "held=1", false },
	{ "rpc-error", false },
	{ "rpc-error=x", false },
	{ "wrong-answer=taste", false },
	{ "reset-errno=EPERMANENT", false },
	{ "held,dev=0000:ff:00.0", false },
	{ "held,dev=nobody", false },
	{ "held,count=-1", false },
	{ "held,count", false },
	{ "held,colour=red", false },
	{ "held,from=yesterday", false },
	{ "no-answer,knob=48", false },
};

TABLE_TEST(gpumodel, reads_faults_and_writes_them_back, specs)
{
	AUTO_BUF first = BUF_INIT(65536), second = BUF_INIT(65536);
	struct err err = ERR_INIT;
	struct client c;

	client_open(&c, "h100,ls10");
	cr_assert_eq(gpumodel_fault_add(c.m, row->spec, &err), row->ok ? 0 : -1, "'%s'", row->spec);
	cr_assert_eq(err.kind, row->ok ? ERR_NONE : ERR_INVALID, "'%s'", row->spec);
	cr_assert_eq(gpumodel_faults_save(c.m, &first, &err), row->ok ? 0 : 0);
	gpumodel_fault_clear(c.m, NULL);
	err_clear(&err);
	cr_assert_eq(gpumodel_faults_load(c.m, buf_rd(&first), &err), 0);
	cr_assert_eq(gpumodel_faults_save(c.m, &second, &err), 0);
	cr_assert_str_eq(buf_str(&first), buf_str(&second));
	client_close(&c);
}

Test(gpumodel, a_fault_is_added_once_and_begins_anew_when_spent)
{
	AUTO_BUF text = BUF_INIT(4096);
	struct err err = ERR_INIT;
	struct client c;
	uint32_t value;

	client_open(&c, "h100");
	for (unsigned i = 0; i < 2 * GPUMODEL_MAX_FAULTS; i++) {
		cr_assert_eq(gpumodel_fault_add(c.m, "held", &err), 0, "%s", err_text(&err));
		cr_assert_eq(gpumodel_fault_add(c.m, "rpc-error=0x9,count=1", &err), 0, "%s",
			     err_text(&err));
		cr_assert_eq(knob_read(&c, 0, 8, &value), 9);
		cr_assert_eq(knob_read(&c, 0, 8, &value), 0);
	}
	cr_assert_eq(gpumodel_faults_save(c.m, &text, &err), 0);
	cr_assert_str_eq(buf_str(&text), "held,dev=all\nrpc-error=0x9,dev=all,count=0\n");
	client_close(&c);
}

Test(gpumodel, loading_faults_keeps_those_that_stay)
{
	static const char text[] = "rpc-error=0x5,dev=all,from=write\nheld,dev=all\n";
	static const char fewer[] = "rpc-error=0x5,dev=all,from=write\n";
	struct err err = ERR_INIT;
	struct client c;
	uint32_t value;

	client_open(&c, "h100");
	cr_assert_eq(gpumodel_faults_load(c.m, rd_of(text, strlen(text)), &err), 0, "%s",
		     err_text(&err));
	cr_assert(gpumodel_fault_active(c.m, 0, "held"));
	cr_assert_eq(knob_write(&c, 0, 10, 2), 0);
	cr_assert_eq(gpumodel_faults_load(c.m, rd_of(fewer, strlen(fewer)), &err), 0);
	cr_assert(!gpumodel_fault_active(c.m, 0, "held"));
	cr_assert_eq(knob_read(&c, 0, 8, &value), 5, "its moment has come and is not forgotten");
	client_close(&c);
}
