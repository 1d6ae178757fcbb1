/* SPDX-License-Identifier: Apache-2.0 */
/* gpumodel_client - the smallest correct client of the model, for its tests: time stands still but
 * for what the client waits. */
#pragma once
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "gpumodel/gpumodel.h"

#define EMEM_BASE   0x800u /* channel 2 */
#define WAIT_MAX_MS 6000

struct client {
	struct gpumodel *m;
	unsigned n_violations, n_accesses;
	char last[256]; /* violation */
};

UNUSED static void client_on_violation(unsigned dev UNUSED, const char *text, void *arg)
{
	struct client *c = arg;

	c->n_violations++;
	snprintf(c->last, sizeof(c->last), "%s", text);
}

UNUSED static void client_on_access(const struct gpumodel_access *a UNUSED, void *arg)
{
	((struct client *)arg)->n_accesses++;
}

UNUSED static struct gpumodel_config client_config(struct client *c)
{
	return (struct gpumodel_config){ .on_violation = client_on_violation,
					 .on_access = client_on_access,
					 .arg = c };
}

/* A machine with memory decoding on, priv ring initialised, and the clock at one second. */
UNUSED static void client_open(struct client *c, const char *devices)
{
	struct err err = ERR_INIT;
	struct gpumodel_config config = client_config(c);

	memset(c, 0, sizeof(*c));
	clock_fake_set_us(1000000);
	cr_assert_eq(gpumodel_new(devices, &config, &c->m, &err), 0, "%s", err_text(&err));
	for (unsigned i = 0; i < gpumodel_count(c->m); i++) {
		gpumodel_cfg_write(c->m, i, 4, 2, 2);
		if (str_eq(gpumodel_info(c->m, i)->chip, "gh100")) {
			gpumodel_write(c->m, i, 0x12004c, 4);
			gpumodel_write(c->m, i, 0x122204, 2);
		}
	}
}

UNUSED static bool client_wait(struct client *c, unsigned dev, uint32_t reg, uint32_t mask,
			       uint32_t value)
{
	for (unsigned ms = 0; ms < WAIT_MAX_MS; ms++) {
		if ((gpumodel_read(c->m, dev, reg) & mask) == value)
			return true;
		clock_sleep_ms(1);
	}
	return false;
}

/* Dwords of the answer, or 0 when none came. */
UNUSED static unsigned emem_rpc(struct client *c, unsigned dev, const uint32_t *in, unsigned n,
				uint32_t out[8])
{
	uint32_t head = 0, tail = 0, size;

	gpumodel_write(c->m, dev, 0x8f2ad0, 0x03000000 | EMEM_BASE);
	for (unsigned i = 0; i < n; i++)
		gpumodel_write(c->m, dev, 0x8f2ad4, in[i]);
	gpumodel_write(c->m, dev, 0x8f2c14, EMEM_BASE + 4 * (n - 1));
	gpumodel_write(c->m, dev, 0x8f2c10, EMEM_BASE);
	for (unsigned ms = 0; head == tail; ms++) {
		if (ms == WAIT_MAX_MS)
			return 0;
		clock_sleep_ms(1);
		head = gpumodel_read(c->m, dev, 0x8f2c90);
		tail = gpumodel_read(c->m, dev, 0x8f2c94);
	}
	size = (tail - head + 4) / 4;
	gpumodel_write(c->m, dev, 0x8f2ad0, 0x03000000 | EMEM_BASE);
	for (unsigned i = 0; i < size && i < 8; i++)
		out[i] = gpumodel_read(c->m, dev, 0x8f2ad4);
	gpumodel_write(c->m, dev, 0x8f2c94, head);
	return size;
}

UNUSED static unsigned mnoc_rpc(struct client *c, unsigned dev, const uint32_t *in, unsigned n,
				uint32_t out[8])
{
	unsigned size;

	if (!client_wait(c, dev, 0x8f1f84, 1u << 24, 1u << 24))
		return 0;
	gpumodel_write(c->m, dev, 0x8f1f84, 4 * n | 1u << 20);
	for (unsigned i = 0; i < n; i++) {
		if (i % 16 == 0 && !client_wait(c, dev, 0x8f1f84, 1u << 26, 1u << 26))
			return 0;
		gpumodel_write(c->m, dev, 0x8f1f88, in[i]);
	}
	if (!client_wait(c, dev, 0x8f1f04, 1u << 24, 1u << 24))
		return 0;
	size = (gpumodel_read(c->m, dev, 0x8f1f04) & 0xfffff) / 4;
	for (unsigned i = 0; i < size && i < 8; i++)
		out[i] = gpumodel_read(c->m, dev, 0x8f1f08);
	return size;
}

UNUSED static unsigned client_rpc(struct client *c, unsigned dev, const uint32_t *in, unsigned n,
				  uint32_t out[8])
{
	const char *chip = gpumodel_info(c->m, dev)->chip;

	memset(out, 0, 8 * sizeof(*out));
	return strncmp(chip, "gb", 2) == 0 ? mnoc_rpc(c, dev, in, n, out)
					   : emem_rpc(c, dev, in, n, out);
}

/* The status; the value, when there is one, in *value. */
UNUSED static uint32_t knob_read(struct client *c, unsigned dev, unsigned id, uint32_t *value)
{
	uint32_t in[] = { 0xc0000000, 0x1310de7e, id << 16 | 0x020c }, out[8];
	unsigned n = client_rpc(c, dev, in, 3, out);

	cr_assert_geq(n, 5, "knob %u: no answer", id);
	*value = out[5] & 0xffff;
	return out[4];
}

UNUSED static uint32_t knob_write(struct client *c, unsigned dev, unsigned id, uint32_t value)
{
	uint32_t in[] = { 0xc0000000, 0x1310de7e, id << 16 | 0x020d, value }, out[8];

	cr_assert_geq(client_rpc(c, dev, in, 4, out), 5, "knob %u: no answer", id);
	return out[4];
}

UNUSED static void client_close(struct client *c)
{
	gpumodel_free(c->m);
	clock_fake_off();
}
