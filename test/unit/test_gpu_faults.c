/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault the register model has, while modes are set: the error is of the right kind and names
 * the cause; and when the fault is gone, the same call works. */
#include "gpu_on_model.h"
#include "table.h"

static const struct {
	const char *name, *part, *fault;
	enum err_kind kind;
	const char *says;
} faults[] = {
	{ "hopper rpc error", "h100", "rpc-error=0x77,knob=8", ERR_DEVICE,
	  "reading knob 8 (CCM): FSP error 0x77" },
	{ "hopper no answer", "h100", "no-answer,count=1", ERR_TIMEOUT,
	  "FSP gave no answer in 5 s" },
	{ "hopper stuck", "h100", "stuck-queue", ERR_TIMEOUT, "FSP gave no answer" },
	{ "hopper short", "h100", "short-answer", ERR_DEVICE, "FSP answer of 4 dwords" },
	{ "hopper long", "h100", "long-answer", ERR_DEVICE, "dwords of payload" },
	{ "hopper type", "h100", "wrong-answer=type", ERR_DEVICE, "FSP answer has type" },
	{ "hopper echo", "h100", "wrong-answer=echo", ERR_DEVICE, "to a request of type" },
	{ "hopper length", "h100", "wrong-answer=length", ERR_DEVICE, "FSP answer" },
	{ "hopper in-band", "h100", "inband-denied", ERR_DEVICE, "writing" },
	{ "hopper boot", "h100", "boot-never,from=reset", ERR_TIMEOUT,
	  "boot not complete after 5 s: 0x0200bc" },
	{ "hopper sticks", "h100", "mode-sticks", ERR_DEVICE, "the mode did not change: (CC off" },
	{ "hopper ones", "h100", "all-ones", ERR_DEVICE, "device lost" },
	{ "hopper ones in mode", "h100", "all-ones,reg=0x1182cc", ERR_DEVICE,
	  "device lost: mode register" },
	{ "hopper badf in mode", "h100", "badf,reg=0x1182cc", ERR_DEVICE,
	  "cannot be read: 0xbadf" },
	{ "hopper ones after reset", "h100", "all-ones,from=reset", ERR_DEVICE, "device lost" },
	{ "hopper badf", "h100", "badf", ERR_DEVICE, "cannot be read: 0xbadf1100" },
	{ "hopper security fault", "h100", "sec-fault", ERR_DEVICE, "security fault" },
	{ "hopper recovery", "h100", "recovery", ERR_DEVICE, "in recovery mode" },
	{ "hopper reset busy", "h100", "reset-errno=EBUSY", ERR_BUSY, "busy" },
	{ "hopper reset none", "h100", "reset-errno=ENOTTY", ERR_SYSTEM, "reset" },
	{ "hopper gone", "h100", "gone", ERR_DEVICE, "device lost" },
	{ "blackwell rpc error", "b200", "rpc-error=0x77,knob=8", ERR_DEVICE, "FSP error 0x77" },
	{ "blackwell no answer", "b200", "no-answer,count=1", ERR_TIMEOUT,
	  "FSP send mailbox (answer): nothing in 5000 ms" },
	{ "blackwell stuck", "b200", "stuck-queue", ERR_TIMEOUT, "FSP" },
	{ "blackwell short", "b200", "short-answer", ERR_DEVICE, "FSP answer of 4 dwords" },
	{ "blackwell long", "b200", "long-answer", ERR_DEVICE, "dwords of payload" },
	{ "blackwell type", "b200", "wrong-answer=type", ERR_DEVICE, "FSP answer has type" },
	{ "blackwell length", "b200", "wrong-answer=length", ERR_DEVICE, "FSP answer" },
	{ "blackwell boot", "b200", "boot-never,from=reset", ERR_TIMEOUT,
	  "boot not complete after 10 s: 0x0200bc" },
	{ "gb202 boot", "gb20x", "boot-never,from=reset", ERR_TIMEOUT,
	  "boot not complete after 10 s: 0xad00bc" },
	{ "blackwell sticks", "b200", "mode-sticks", ERR_DEVICE,
	  "(CC off) is in force, (CC on) is wanted" },
	{ "blackwell ones", "b200", "all-ones", ERR_DEVICE, "device lost" },
	{ "blackwell recovery", "b200", "recovery", ERR_DEVICE, "in recovery mode" },
	{ "blackwell gone", "b200", "gone", ERR_DEVICE, "device lost" },
	{ "switch recovery", "ls10", "recovery", ERR_DEVICE, "in recovery mode" },
	{ "switch no answer", "ls10", "no-answer,count=1", ERR_TIMEOUT, "FSP gave no answer" },
};

TABLE_TEST(gpu_faults, name_their_cause_and_heal, faults)
{
	enum gpu_mode mode = row->part[0] == 'l' ? GPU_MODE_PPCIE : GPU_MODE_ON;
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, row->part);
	rig_fault(&r, row->fault);
	cr_assert_eq(rig_set(&r, mode, &pair, &err), -1, "%s", row->name);
	cr_assert_eq(err.kind, row->kind, "%s: %s: %s", row->name, err_kind_name(err.kind),
		     err_text(&err));
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	gpumodel_fault_clear(r.m, NULL);
	if (strcmp(row->fault, "gone") == 0) /* somebody plugs it in again */
		clock_sleep_ms(1000);
	cr_assert_eq(rig_set(&r, mode, &pair, &err), 0, "%s, healed: %s", row->name,
		     err_text(&err));
	rig_free(&r);
}

/* Waits that end well: slow firmware, slow boot, garbage while the chip wakes up. */
static const struct {
	const char *name, *part, *fault;
} slow[] = {
	{ "hopper slow firmware", "h100", "rpc-slow=900" },
	{ "blackwell slow firmware", "b200", "rpc-slow=900" },
	{ "badf at one boot read", "h100", "badf,reg=0x200bc,count=3,from=reset" },
	{ "all ones at one boot read", "h100", "all-ones,reg=0x200bc,count=3,from=reset" },
	{ "badf at wake-up", "h100", "badf,reg=0,count=3,from=reset" },
};

TABLE_TEST(gpu_faults, short_ones_are_sat_out, slow)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, row->part);
	rig_fault(&r, row->fault);
	cr_assert_eq(rig_set(&r, GPU_MODE_ON, &pair, &err), 0, "%s: %s", row->name, err_text(&err));
	rig_free(&r);
}

Test(gpu_faults, a_failure_dumps_the_firmwares_registers)
{
	struct rig r;
	struct err err = ERR_INIT;
	struct gpu_pair pair;

	rig_new(&r, "h100");
	rig_fault(&r, "rpc-error=0x42");
	cr_assert_eq(rig_set(&r, GPU_MODE_ON, &pair, &err), -1);
	cr_assert(strstr(r.notes, "FSP status (0x8f0320):"), "%s", r.notes);
	rig_free(&r);
}
