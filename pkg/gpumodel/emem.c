/* SPDX-License-Identifier: Apache-2.0 */
/* emem - the queues in the firmware's memory, by which Hopper and LS10 take commands.  A doorbell
 * is a write to a command head; nothing else makes the firmware look. */
#include <string.h>

#include "gpumodel/internal.h"

#define EMEMC_OFFSET BITS(23, 0)
#define EMEMC_INC_W  BIT(24)
#define EMEMC_INC_R  BIT(25)

static uint32_t base_of(unsigned channel)
{
	return channel * EMEM_CHANNEL_BYTES;
}

/* After a reset nothing is pending, but the pointers stand anywhere: only equality means something. */
void emem_reset(struct device *d)
{
	memset(d->emem, 0, sizeof(d->emem));
	memset(d->channel, 0, sizeof(d->channel));
	for (unsigned c = 0; c < EMEM_CHANNELS; c++) {
		uint32_t stray = d->resets ? base_of(c) + 4 * (uint32_t)(d->resets % 8) : 0;

		d->channel[c].cmd_head = d->channel[c].cmd_tail = stray;
		d->channel[c].msg_head = d->channel[c].msg_tail = stray;
	}
}

static bool queue_pending(uint32_t head, uint32_t tail)
{
	return head != tail;
}

uint32_t emem_read(struct gpumodel *m UNUSED, struct device *d, enum reg_id id, unsigned channel)
{
	struct emem_channel *c = &d->channel[channel];
	uint32_t value;

	switch (id) {
	case REG_CMD_HEAD:
		return c->cmd_head;
	case REG_CMD_TAIL:
		return c->cmd_tail;
	case REG_MSG_HEAD:
		return c->msg_head;
	case REG_MSG_TAIL:
		return c->msg_tail;
	case REG_EMEMC:
		return (c->control & ~EMEMC_OFFSET) | c->offset;
	default:
		value = d->emem[c->offset / 4 % EMEM_DWORDS];
		if (c->control & EMEMC_INC_R)
			c->offset = (c->offset + 4) & EMEMC_OFFSET;
		return value;
	}
}

static void data_write(struct gpumodel *m, struct device *d, unsigned channel, uint32_t value)
{
	struct emem_channel *c = &d->channel[channel];

	if (queue_pending(c->cmd_head, c->cmd_tail))
		violation(m, d, V_EMEM_BUSY,
			  "EMEM written on channel %u while its command queue is not empty",
			  channel);
	if (queue_pending(c->msg_head, c->msg_tail))
		violation(m, d, V_EMEM_PENDING,
			  "EMEM written on channel %u before a pending answer was read", channel);
	d->emem[c->offset / 4 % EMEM_DWORDS] = value;
	if (c->control & EMEMC_INC_W)
		c->offset = (c->offset + 4) & EMEMC_OFFSET;
}

static void doorbell(struct gpumodel *m, struct device *d, unsigned channel)
{
	struct emem_channel *c = &d->channel[channel];
	uint32_t request = d->emem[(base_of(channel) + 8) / 4];

	if (!c->tail_written)
		violation(m, d, V_HEAD_FIRST, "command head written before the tail on channel %u",
			  channel);
	c->tail_written = false;
	if (d->part->arch == ARCH_HOPPER && !d->priv_ring)
		violation(m, d, V_PRIV_RING,
			  "firmware command before the priv ring was initialised");
	if (queue_pending(c->cmd_head, c->cmd_tail))
		c->due_us = model_now_us(m) + fsp_latency_us(m, d, request);
	else
		c->due_us = 0;
}

void emem_write(struct gpumodel *m, struct device *d, enum reg_id id, unsigned channel,
		uint32_t value)
{
	struct emem_channel *c = &d->channel[channel];

	switch (id) {
	case REG_CMD_HEAD:
		c->cmd_head = value;
		doorbell(m, d, channel);
		break;
	case REG_CMD_TAIL:
		c->cmd_tail = value;
		c->tail_written = true;
		break;
	case REG_MSG_HEAD:
		c->msg_head = value;
		break;
	case REG_MSG_TAIL:
		c->msg_tail = value;
		break;
	case REG_EMEMC:
		c->control = value;
		c->offset = value & EMEMC_OFFSET;
		break;
	default:
		data_write(m, d, channel, value);
	}
}

/* The firmware takes a command: head catches up with tail, the answer overwrites the request. */
static void channel_serve(struct gpumodel *m, struct device *d, unsigned channel)
{
	struct emem_channel *c = &d->channel[channel];
	uint32_t bytes = c->cmd_tail - c->cmd_head + 4, in[EMEM_CHANNEL_BYTES / 4], out[8];
	size_t n_out = 0, first = base_of(channel) / 4;

	if (!queue_pending(c->cmd_head, c->cmd_tail)) {
		c->due_us =
			0; /* taken back: a client that resumes a stuck queue writes tail, then head */
		return;
	}
	if (bytes < 8 || bytes > EMEM_CHANNEL_BYTES || bytes % 4) {
		violation(m, d, V_OTHER, "command of %u bytes on channel %u", bytes, channel);
		bytes = 8;
	}
	memcpy(in, &d->emem[first], bytes);
	switch (fsp_command(m, d, in, bytes / 4, channel, out, &n_out)) {
	case FSP_STUCK:
		return; /* stays due: it is looked at again with every access */
	case FSP_ANSWERED:
		memcpy(&d->emem[first], out, n_out * 4);
		c->msg_head = base_of(channel);
		c->msg_tail = base_of(channel) + 4 * ((uint32_t)n_out - 1);
		break;
	case FSP_SILENT:
		break;
	}
	c->cmd_head = c->cmd_tail;
	c->due_us = 0;
}

void emem_tick(struct gpumodel *m, struct device *d)
{
	for (unsigned c = 0; c < EMEM_CHANNELS; c++)
		if (d->channel[c].due_us && d->channel[c].due_us <= model_now_us(m) &&
		    device_booted(m, d))
			channel_serve(m, d, c);
}
