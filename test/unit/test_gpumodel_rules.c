/* SPDX-License-Identifier: Apache-2.0 */
/* test_gpumodel_rules - each thing that a correct client must not do is told, and correct ones are not. */
#include "gpumodel_client.h"
#include "table.h"

static void narrow(struct client *c)
{
	gpumodel_read_sized(c->m, 0, 0, 1);
}
static void wide(struct client *c)
{
	gpumodel_write_sized(c->m, 0, 0x1400, 8, 1);
}
static void crooked(struct client *c)
{
	cr_assert_eq(gpumodel_read(c->m, 0, 2), UINT32_MAX);
}
static void outside(struct client *c)
{
	cr_assert_eq(gpumodel_read(c->m, 0, 0x1000000), UINT32_MAX);
}
static void under_driver(struct client *c)
{
	gpumodel_driver_set(c->m, 0, "nvidia");
	gpumodel_read(c->m, 0, 0);
}
static void under_vfio(struct client *c)
{
	gpumodel_driver_set(c->m, 0, "vfio-pci");
	gpumodel_read(c->m, 0, 0);
}
static void held(struct client *c)
{
	gpumodel_held_set(c->m, 0, true);
	gpumodel_read(c->m, 0, 0);
}
static void in_reset(struct client *c)
{
	uint64_t took;

	gpumodel_reset_begin(c->m, 0, &took);
	cr_assert_eq(gpumodel_read(c->m, 0, 0), UINT32_MAX);
	cr_assert_eq(gpumodel_cfg_read(c->m, 0, 0, 4), UINT32_MAX);
}
static void behind_firewall(struct client *c)
{
	uint64_t took;

	cr_assert_eq(gpumodel_reset(c->m, 1, &took), 0);
	clock_sleep_ms(took + 1);
	cr_assert_eq(gpumodel_read(c->m, 1, 0), UINT32_MAX);
}
static void after_firewall(struct client *c)
{
	uint64_t took;

	cr_assert_eq(gpumodel_reset(c->m, 1, &took), 0);
	clock_sleep_ms(took + 60);
	cr_assert_neq(gpumodel_read(c->m, 1, 0), UINT32_MAX);
}
static void nowhere(struct client *c)
{
	gpumodel_write(c->m, 0, 0x4444, 1);
}
static void read_only(struct client *c)
{
	gpumodel_write(c->m, 0, 0x1182cc, 1);
}
static void head_first(struct client *c)
{
	gpumodel_write(c->m, 0, 0x8f2c10, 0x800);
}
static void emem_while_pending_command(struct client *c)
{
	gpumodel_write(c->m, 0, 0x8f2c14, 0x808);
	gpumodel_write(c->m, 0, 0x8f2ad4, 1);
}
static void emem_before_answer_is_read(struct client *c)
{
	static const uint32_t in[] = { 0xc0000000, 0x1310de7e, 0x0008020c };

	gpumodel_write(c->m, 0, 0x8f2ad0, 0x03000000 | EMEM_BASE);
	for (unsigned i = 0; i < 3; i++)
		gpumodel_write(c->m, 0, 0x8f2ad4, in[i]);
	gpumodel_write(c->m, 0, 0x8f2c14, EMEM_BASE + 8);
	gpumodel_write(c->m, 0, 0x8f2c10, EMEM_BASE);
	clock_sleep_ms(2);
	gpumodel_write(c->m, 0, 0x8f2ad4, 1);
}
static void malformed(struct client *c)
{
	uint32_t in[] = { 0xc0000000, 0x7e, 0x0008020c }, out[8];

	client_rpc(c, 0, in, 3, out);
	cr_assert_eq(out[4], 0x1e1);
}
static void knob_out_of_range(struct client *c)
{
	knob_write(c, 0, 8, 7);
}
static void mnoc_without_credit(struct client *c)
{
	gpumodel_write(c->m, 1, 0x8f1f84, 12 | 1u << 20);
	gpumodel_write(c->m, 1, 0x8f1f88, 0xc0000000);
	cr_assert(gpumodel_read(c->m, 1, 0x8f1f84) & 1u << 25);
}
static void mnoc_without_start(struct client *c)
{
	gpumodel_write(c->m, 1, 0x8f1f88, 0xc0000000);
}
static void mnoc_too_long(struct client *c)
{
	gpumodel_write(c->m, 1, 0x8f1f84, 4164 | 1u << 20);
}
static void mnoc_twice(struct client *c)
{
	gpumodel_write(c->m, 1, 0x8f1f84, 12 | 1u << 20);
	gpumodel_write(c->m, 1, 0x8f1f84, 12 | 1u << 20);
}
static void mnoc_empty(struct client *c)
{
	gpumodel_read(c->m, 1, 0x8f1f08);
}
static void staged_and_trusted(struct client *c)
{
	knob_write(c, 0, 8, 1);
	gpumodel_read(c->m, 0, 0x1182cc);
}
static void staged_by_another(struct client *c)
{
	knob_write(c, 0, 8, 1);
	gpumodel_session(c->m, 0);
	gpumodel_read(c->m, 0, 0x1182cc);
}
static void mode_before_boot(struct client *c)
{
	uint64_t took;

	gpumodel_reset(c->m, 0, &took);
	gpumodel_write(c->m, 0, 0x12004c, 4);
	clock_sleep_ms(took);
	cr_assert_eq(gpumodel_read(c->m, 0, 0x1182cc), 0);
}
static void no_priv_ring(struct client *c)
{
	uint64_t took;

	gpumodel_reset(c->m, 0, &took);
	clock_sleep_ms(took + 200);
	gpumodel_read(c->m, 0, 0x1182cc);
}
static void fabric_half_staged(struct client *c)
{
	uint64_t took;

	knob_write(c, 0, 45, 1);
	gpumodel_reset(c->m, 0, &took);
}
static void fabric_all_staged(struct client *c)
{
	uint64_t took;

	knob_write(c, 0, 45, 1);
	knob_write(c, 2, 45, 1);
	gpumodel_reset(c->m, 0, &took);
	gpumodel_reset(c->m, 2, &took);
}
static void fabric_nothing_staged(struct client *c)
{
	uint64_t took;

	gpumodel_reset(c->m, 0, &took);
}

static const struct {
	const char *name, *text; /* NULL: allowed */
	void (*run)(struct client *c);
} rules[] = {
	{ "narrow", "read of 1 bytes", narrow },
	{ "wide", "write of 8 bytes", wide },
	{ "not aligned", "not aligned", crooked },
	{ "outside", "outside", outside },
	{ "nvidia bound", "driver nvidia", under_driver },
	{ "vfio-pci bound", NULL, under_vfio },
	{ "held", "has the device open", held },
	{ "in reset", "during a reset", in_reset },
	{ "behind the firewall", "firewall", behind_firewall },
	{ "after the firewall", NULL, after_firewall },
	{ "nowhere", "no register is known", nowhere },
	{ "read-only", "read-only", read_only },
	{ "head first", "head written before the tail", head_first },
	{ "EMEM, command pending", "command queue is not empty", emem_while_pending_command },
	{ "EMEM, answer pending", "pending answer", emem_before_answer_is_read },
	{ "malformed", "malformed", malformed },
	{ "knob value", "knob 8 (CCM) written with 7", knob_out_of_range },
	{ "MNOC without credit", "without a credit", mnoc_without_credit },
	{ "MNOC without start", "outside a command", mnoc_without_start },
	{ "MNOC too long", "4164 bytes", mnoc_too_long },
	{ "MNOC twice", "another one is under way", mnoc_twice },
	{ "MNOC empty", "no answer there", mnoc_empty },
	{ "mode trusted", "between staging", staged_and_trusted },
	{ "mode read by another", NULL, staged_by_another },
	{ "mode before boot", "before boot is complete", mode_before_boot },
	{ "no priv ring", "priv ring", no_priv_ring },
	{ "half a fabric", "part of the NVLink fabric", fabric_half_staged },
	{ "a whole fabric", NULL, fabric_all_staged },
	{ "an idle fabric", NULL, fabric_nothing_staged },
};

TABLE_TEST(gpumodel, tells_what_is_wrong, rules)
{
	struct client c;

	client_open(&c, "h100,b200,ls10");
	row->run(&c);
	cr_assert_eq(c.n_violations != 0, row->text != NULL, "%s: '%s'", row->name, c.last);
	cr_assert_eq(gpumodel_violations(c.m), c.n_violations, "%s", row->name);
	cr_assert(!row->text || strstr(c.last, row->text), "%s: '%s'", row->name, c.last);
	client_close(&c);
}

Test(gpumodel, repeats_itself_only_so_often)
{
	struct client c;

	client_open(&c, "h100");
	gpumodel_cfg_write(c.m, 0, 4, 2, 0);
	for (unsigned i = 0; i < 100; i++)
		gpumodel_read(c.m, 0, 0);
	cr_assert_eq(c.n_violations, 20);
	cr_assert_eq(gpumodel_violations(c.m), 100);
	client_close(&c);
}
