/* SPDX-License-Identifier: Apache-2.0 */
/* mnoc - the mailbox by which Blackwell takes commands.  Names are the firmware's: "in" is what it
 * receives.  A command is a size with the start bit, then data, 64 bytes for each credit. */
#include <string.h>

#include "gpumodel/internal.h"

#define INFO_SIZE   BITS(19, 0)
#define INFO_START  BIT(20)
#define INFO_READY  BIT(24)
#define INFO_ERROR  BIT(25)
#define INFO_CREDIT BIT(26)

#define CREDIT_BYTES 64
#define GIVE_UP_US   3000000 /* a command half written for so long is dropped */

static const uint32_t port_max[MNOC_PORTS] = { 4160, 1024 };

void mnoc_reset(struct device *d)
{
	memset(d->port, 0, sizeof(d->port));
}

static uint32_t in_info(struct mnoc_port *p)
{
	uint32_t info = p->error ? INFO_ERROR : 0;

	if (p->receiving) {
		if (!p->in_credit)
			p->in_credit = CREDIT_BYTES;
		return info | INFO_CREDIT;
	}
	return p->due_us ? info : info | INFO_READY;
}

static uint32_t out_data(struct gpumodel *m, struct device *d, struct mnoc_port *p)
{
	uint32_t value;

	if (p->out_done >= p->out_size) {
		violation(m, d, V_MNOC, "MNOC data read with no answer there");
		return 0;
	}
	value = p->out[p->out_done / 4];
	p->out_done += 4;
	if (p->out_done >= p->out_size)
		p->out_done = p->out_size = 0;
	return value;
}

uint32_t mnoc_read(struct gpumodel *m, struct device *d, enum reg_id id, unsigned port)
{
	struct mnoc_port *p = &d->port[port];

	switch (id) {
	case REG_MNOC_IN_INFO:
		return in_info(p);
	case REG_MNOC_OUT_INFO:
		return p->out_size ? (p->out_size - p->out_done) | INFO_READY : 0;
	case REG_MNOC_OUT_DATA:
		return out_data(m, d, p);
	default:
		violation(m, d, V_MNOC, "MNOC command data register read");
		return 0;
	}
}

static void command_start(struct gpumodel *m, struct device *d, struct mnoc_port *p, unsigned port,
			  uint32_t value)
{
	uint32_t size = value & INFO_SIZE;

	if (!(value & INFO_START))
		return;
	if (p->receiving || p->due_us)
		violation(m, d, V_MNOC, "MNOC command begun while another one is under way");
	if (size < 8 || size > port_max[port] || size % 4) {
		violation(m, d, V_MNOC, "MNOC command of %u bytes", size);
		p->error = true;
		return;
	}
	p->error = false;
	p->receiving = true;
	p->in_size = size;
	p->in_done = p->in_credit = 0;
	p->give_up_us = model_now_us(m) + GIVE_UP_US;
}

static void command_data(struct gpumodel *m, struct device *d, struct mnoc_port *p, uint32_t value)
{
	if (!p->receiving || !p->in_credit) {
		violation(m, d, V_MNOC, "MNOC data written %s",
			  p->receiving ? "without a credit" : "outside a command");
		p->error = true;
		return;
	}
	p->in[p->in_done / 4] = value;
	p->in_done += 4;
	p->in_credit -= 4;
	if (p->in_done < p->in_size)
		return;
	p->receiving = false;
	p->due_us = model_now_us(m) + fsp_latency_us(m, d, p->in[2]);
}

void mnoc_write(struct gpumodel *m, struct device *d, enum reg_id id, unsigned port, uint32_t value)
{
	struct mnoc_port *p = &d->port[port];

	if (id == REG_MNOC_IN_INFO)
		command_start(m, d, p, port, value);
	else if (id == REG_MNOC_IN_DATA)
		command_data(m, d, p, value);
	else
		violation(m, d, V_MNOC, "MNOC answer register written");
}

static void port_serve(struct gpumodel *m, struct device *d, struct mnoc_port *p)
{
	size_t n_out = 0;

	if (p->out_size)
		return; /* an old answer is still there: the next has to wait until it is drained */
	switch (fsp_command(m, d, p->in, p->in_size / 4, 0, p->out, &n_out)) {
	case FSP_STUCK:
		return;
	case FSP_ANSWERED:
		p->out_size = (uint32_t)n_out * 4;
		p->out_done = 0;
		break;
	case FSP_SILENT:
		break;
	}
	p->due_us = 0;
}

void mnoc_tick(struct gpumodel *m, struct device *d)
{
	uint64_t now = model_now_us(m);

	for (unsigned i = 0; i < MNOC_PORTS; i++) {
		struct mnoc_port *p = &d->port[i];

		if (p->receiving && p->give_up_us <= now)
			p->receiving = false;
		if (p->due_us && p->due_us <= now && device_booted(m, d))
			port_serve(m, d, p);
	}
}
