/* SPDX-License-Identifier: Apache-2.0 */
/* test_gpumodel_save - a machine that was saved goes on where it stood; broken texts are refused. */
#include "gpumodel_client.h"
#include "table.h"

#define SAVED_MAX (4u << 20)

/* Saves, and loads where the clock may stand elsewhere: after a reboot of the host it begins anew. */
static void reload_at(struct client *c, uint64_t clock_us)
{
	AUTO_BUF text = BUF_INIT(SAVED_MAX), again = BUF_INIT(SAVED_MAX);
	struct gpumodel_config config = client_config(c);
	struct gpumodel *old = c->m;
	struct err err = ERR_INIT;

	cr_assert_eq(gpumodel_save(old, &text, &err), 0, "%s", err_text(&err));
	if (clock_us)
		clock_fake_set_us(clock_us);
	cr_assert_eq(gpumodel_load(buf_rd(&text), &config, &c->m, &err), 0, "%s", err_text(&err));
	gpumodel_free(old);
	cr_assert_eq(gpumodel_save(c->m, &again, &err), 0);
	cr_assert_str_eq(buf_str(&text), buf_str(&again));
}

static void reload(struct client *c)
{
	reload_at(c, 0);
}

Test(gpumodel, goes_on_after_a_reload_at_any_point)
{
	static const uint32_t in[] = { 0xc0000000, 0x1310de7e, 0x0008020d, 1 };
	struct client c;
	uint64_t took;

	client_open(&c, "h100,ls10");
	gpumodel_write(c.m, 0, 0x8f2ad0, 0x03000800);
	for (unsigned i = 0; i < 4; i++) {
		gpumodel_write(c.m, 0, 0x8f2ad4, in[i]);
		reload(&c);
	}
	gpumodel_write(c.m, 0, 0x8f2c14, 0x80c);
	reload(&c);
	gpumodel_write(c.m, 0, 0x8f2c10, 0x800);
	reload(&c);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x8f2c90), gpumodel_read(c.m, 0, 0x8f2c94),
		     "no answer yet");
	clock_sleep_ms(1);
	reload(&c);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x8f2c94), 0x810);
	gpumodel_write(c.m, 0, 0x8f2c94, 0x800);
	gpumodel_driver_set(c.m, 1, "vfio-pci");
	cr_assert_eq(gpumodel_reset_begin(c.m, 0, &took), 0);
	reload(&c);
	cr_assert(gpumodel_resetting(c.m, 0), "saving does not end a reset");
	clock_sleep_ms(took);
	gpumodel_reset_end(c.m, 0);
	clock_sleep_ms(100);
	reload(&c);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), 0);
	reload_at(&c, 1);
	clock_sleep_ms(99);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), 0);
	clock_sleep_ms(1);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x200bc), 0xff);
	gpumodel_write(c.m, 0, 0x12004c, 4);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x1182cc), 1);
	cr_assert_str_eq(gpumodel_driver(c.m, 1), "vfio-pci");
	cr_assert_eq(c.n_violations, 0, "%s", c.last);
	client_close(&c);
}

Test(gpumodel, goes_on_in_the_middle_of_a_mailbox)
{
	static const uint32_t in[] = { 0xc0000000, 0x1310de7e, 0x0006020c };
	struct client c;

	client_open(&c, "b200");
	gpumodel_write(c.m, 0, 0x8f1f84, 12 | 1u << 20);
	for (unsigned i = 0; i < 3; i++) {
		reload(&c);
		cr_assert(gpumodel_read(c.m, 0, 0x8f1f84) & 1u << 26);
		gpumodel_write(c.m, 0, 0x8f1f88, in[i]);
	}
	reload(&c);
	clock_sleep_ms(1);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x8f1f04), 0x01000018);
	for (unsigned left = 6; left; left--) {
		reload(&c);
		cr_assert_eq(gpumodel_read(c.m, 0, 0x8f1f04), 0x01000000 | 4 * left);
		gpumodel_read(c.m, 0, 0x8f1f08);
	}
	cr_assert_eq(gpumodel_read(c.m, 0, 0x8f1f04), 0);
	client_close(&c);
}

Test(gpumodel, a_half_written_command_is_dropped_in_time)
{
	struct client c;
	uint32_t value;

	client_open(&c, "b200");
	gpumodel_write(c.m, 0, 0x8f1f84, 12 | 1u << 20);
	cr_assert(gpumodel_read(c.m, 0, 0x8f1f84) & 1u << 26);
	gpumodel_write(c.m, 0, 0x8f1f88, 0xc0000000);
	cr_assert_eq(gpumodel_read(c.m, 0, 0x8f1f84) & 1u << 24, 0);
	clock_sleep_ms(1000);
	cr_assert_eq(knob_read(&c, 0, 8, &value), 0);
	cr_assert_eq(c.n_violations, 0, "%s", c.last);
	client_close(&c);
}

Test(gpumodel, machines_of_every_part_are_saved)
{
	const char *name, *describe;
	struct client c;

	for (unsigned i = 0; (name = gpumodel_part_name(i, &describe)); i++) {
		client_open(&c, name);
		reload(&c);
		cr_assert_str_eq(gpumodel_info(c.m, 0)->part, name);
		client_close(&c);
	}
	client_open(&c, "none");
	reload(&c);
	client_close(&c);
}

static const struct {
	const char *name, *text;
} broken[] = {
	{ "empty", "" },
	{ "another header", "gpumodel 2\nend\n" },
	{ "cut off", "gpumodel 1\ndevice h100 0000:1b:00.0\n" },
	{ "more after the end", "gpumodel 1\nend\nend\n" },
	{ "field without a device", "gpumodel 1\nresets 1\nend\n" },
	{ "unknown field", "gpumodel 1\ndevice h100 0000:1b:00.0\ncolour 1\nend\n" },
	{ "unknown part", "gpumodel 1\ndevice h101 0000:1b:00.0\nend\n" },
	{ "two parts", "gpumodel 1\ndevice h100,h100 0000:1b:00.0\nend\n" },
	{ "no address", "gpumodel 1\ndevice h100\nend\n" },
	{ "number too large", "gpumodel 1\ndevice h100 0000:1b:00.0\ncc_active 100\nend\n" },
	{ "mode that is none", "gpumodel 1\ndevice h100 0000:1b:00.0\ncc_active 4\nend\n" },
	{ "too few numbers", "gpumodel 1\ndevice h100 0000:1b:00.0\nknob 1 2\nend\n" },
	{ "too many numbers", "gpumodel 1\ndevice h100 0000:1b:00.0\nknob 31*0\nend\n" },
	{ "run too long", "gpumodel 1\ndevice h100 0000:1b:00.0\nknob ffff*0\nend\n" },
	{ "channel too high", "gpumodel 1\ndevice h100 0000:1b:00.0\nchannel 8\nend\n" },
	{ "mailbox past its end",
	  "gpumodel 1\ndevice b200 0000:1b:00.0\nport 0\nin_size 8\nin_done 2000\nreceiving 1\nend\n" },
	{ "answer past its end",
	  "gpumodel 1\ndevice b200 0000:1b:00.0\nport 0\nout_size 100\nend\n" },
};

TABLE_TEST(gpumodel, refuses_broken_states, broken)
{
	struct gpumodel_config config = { 0 };
	struct gpumodel *m = NULL;
	struct err err = ERR_INIT;

	cr_assert_eq(gpumodel_load(rd_of(row->text, strlen(row->text)), &config, &m, &err), -1,
		     "%s", row->name);
	cr_assert_eq(err.kind, ERR_INVALID, "%s: %s", row->name, err_text(&err));
	cr_assert_null(m);
}
