/* SPDX-License-Identifier: Apache-2.0 */
/* fsp - the firmware: knobs that survive resets, and the commands that read and write them. */
#include <stdio.h>
#include <string.h>

#include "gpumodel/internal.h"

#define MCTP_ONE_PACKET 0xc0000000u
#define MCTP_SOM_EOM	BITS(31, 30)
#define NVDM_REQUEST	0x1310de7eu
#define NVDM_RESPONSE	0x1510de7eu
#define NVDM_PRC	0x13u
#define GARBAGE		0x5a5a0000u /* the high half of a value means nothing */

#define PRC_KNOB_READ  0x020cu
#define PRC_KNOB_WRITE 0x020du
#define PRC_COUPLE     0x00010104u
#define PRC_ECC	       0x01u
#define PRC_NVLINK     0x0au

/* 0x1e3 is the firmware's own number; the others stand for "some error". */
#define STATUS_OK	     0u
#define STATUS_BAD_COMMAND   0x1e1u
#define STATUS_BAD_KNOB	     0x1e3u
#define STATUS_INBAND_DENIED 0x1e4u
#define STATUS_NOT_ALLOWED   0x1e5u

struct answer {
	uint32_t status;
	uint32_t payload;
	unsigned n_payload; /* 0 or 1 */
};

static const struct {
	const char *name;
	uint16_t allowed; /* bit per value that a client may write */
} knobs[GPUMODEL_N_KNOBS] = {
	[5] = { "CCD_ALLOW_INB", 3 },
	[6] = { "CCD", 3 },
	[7] = { "CCM_ALLOW_INB", 3 },
	[8] = { "CCM", 3 },
	[9] = { "BAR0_DECOUPLER_ALLOW_INB", 3 },
	[10] = { "BAR0_DECOUPLER", 7 },
	[35] = { "FORCE_RESET_COUPLING_ALLOW_INB", 3 },
	[36] = { "FORCE_RESET_COUPLING", 3 },
	[44] = { "PPCIE_ALLOW_INB", 3 },
	[45] = { "PPCIE", 3 },
	[46] = { "CECA_ALLOW_INB", 3 },
	[47] = { "CECA", 3 },
};

const char *gpumodel_knob_name(unsigned id)
{
	return id < GPUMODEL_N_KNOBS && knobs[id].name ? knobs[id].name : "";
}

/* The knob that says whether the host may write this one: the odd one below it, for those in pairs. */
static unsigned allow_knob(unsigned id)
{
	switch (id) {
	case KNOB_A:
	case KNOB_B:
	case KNOB_CCD:
	case KNOB_CCM:
	case KNOB_DECOUPLER:
	case KNOB_C:
	case KNOB_COUPLING:
	case KNOB_PPCIE:
	case 47:
		return id - 1;
	default:
		return 0;
	}
}

bool fsp_knob_valid(const struct device *d, unsigned id)
{
	if (id == 0 || id >= GPUMODEL_N_KNOBS || !(d->part->arch & ARCH_FSP))
		return false;
	if (id == KNOB_PPCIE || id == KNOB_PPCIE_ALLOWED)
		return (d->part->arch & ARCH_EMEM) && !(d->part->flags & P_NO_PPCIE);
	if (id >= 5 && id <= 8)
		return !(d->part->flags & P_NO_CC);
	return true;
}

void fsp_knobs_init(struct device *d)
{
	for (unsigned id = 1; id < GPUMODEL_N_KNOBS; id++)
		if (allow_knob(id))
			d->knob[allow_knob(id)] = 1;
}

/* From here on a read of the active mode by the same client would mislead it. */
static void staged(struct gpumodel *m, struct device *d)
{
	d->staged_here = device_unapplied(d);
	faults_moment(m, d, FROM_WRITE);
}

static struct answer knob_write(struct gpumodel *m, struct device *d, unsigned id, uint32_t value)
{
	if (!fsp_knob_valid(d, id))
		return (struct answer){ .status = STATUS_BAD_KNOB };
	if (fault_strike(m, d, FAULT_INBAND_DENIED, (int)id, -1, NULL) ||
	    (allow_knob(id) && !d->knob[allow_knob(id)]))
		return (struct answer){ .status = STATUS_INBAND_DENIED };
	if (knobs[id].allowed && (value > 15 || !(knobs[id].allowed >> value & 1)))
		violation(m, d, V_OTHER, "knob %u (%s) written with %u", id, gpumodel_knob_name(id),
			  value);
	d->knob[id] = (uint16_t)value;
	staged(m, d);
	return (struct answer){ .status = STATUS_OK };
}

static struct answer couple(struct device *d, unsigned channel)
{
	if (d->part->arch != ARCH_HOPPER || channel != 1)
		return (struct answer){ .status = STATUS_BAD_COMMAND };
	if (!d->knob[KNOB_COUPLING])
		return (struct answer){ .status = STATUS_NOT_ALLOWED };
	d->coupled = true;
	return (struct answer){ .status = STATUS_OK };
}

static struct answer prc(struct gpumodel *m, struct device *d, const uint32_t *in, size_t n,
			 unsigned channel)
{
	unsigned id = in[2] >> 16;

	if ((in[2] & 0xffff) == PRC_KNOB_READ && n == 3) {
		if (!fsp_knob_valid(d, id))
			return (struct answer){ .status = STATUS_BAD_KNOB };
		return (struct answer){ .payload = GARBAGE | d->knob[id], .n_payload = 1 };
	}
	if ((in[2] & 0xffff) == PRC_KNOB_WRITE && n == 4)
		return knob_write(m, d, id, in[3]);
	if (in[2] == PRC_COUPLE && n == 3)
		return couple(d, channel);
	if ((in[2] & 0xff) == PRC_ECC || (in[2] & 0xff) == PRC_NVLINK)
		return (struct answer){ .status = STATUS_OK };
	return (struct answer){ .status = STATUS_BAD_COMMAND };
}

static int knob_of(uint32_t dword)
{
	uint32_t command = dword & 0xffff;

	return command == PRC_KNOB_READ || command == PRC_KNOB_WRITE ? (int)(dword >> 16) : -1;
}

uint64_t fsp_latency_us(struct gpumodel *m, struct device *d, uint32_t knob_dword)
{
	uint32_t slow_ms;

	if (fault_strike(m, d, FAULT_RPC_SLOW, knob_of(knob_dword), -1, &slow_ms))
		return m->config.fsp_us + 1000ull * slow_ms;
	return m->config.fsp_us;
}

static void command_trace(struct gpumodel *m, struct device *d, const uint32_t *in, size_t n,
			  const struct answer *a)
{
	int id = n > 2 ? knob_of(in[2]) : -1;
	char text[96];

	if (!m->config.on_access)
		return;
	if (id < 0)
		snprintf(text, sizeof(text), "command 0x%08x: status 0x%x", n > 2 ? in[2] : 0,
			 a->status);
	else if (n == 3)
		snprintf(text, sizeof(text), "knob %d %s is %u: status 0x%x", id,
			 gpumodel_knob_name((unsigned)id), a->payload & 0xffff, a->status);
	else
		snprintf(text, sizeof(text), "knob %d %s := %u: status 0x%x", id,
			 gpumodel_knob_name((unsigned)id), in[3], a->status);
	model_trace(m, d, GPUMODEL_RPC, (uint32_t)(id < 0 ? 0 : id), 4, a->status, text);
}

/* The faults that spoil an answer on its way. */
static size_t answer_spoil(struct gpumodel *m, struct device *d, int knob, uint32_t out[8],
			   size_t n)
{
	uint32_t how;

	if (fault_strike(m, d, FAULT_SHORT_ANSWER, knob, -1, NULL))
		return 4;
	if (fault_strike(m, d, FAULT_LONG_ANSWER, knob, -1, NULL))
		out[n++] = 0xdeadbeef;
	if (fault_strike(m, d, FAULT_WRONG_ANSWER, knob, -1, &how)) {
		if (how == 0)
			out[1] = 0x1610de7e;
		else if (how == 1)
			out[3] = 0x14;
		else if (n == 6)
			n = 5;
		else
			out[n++] = 0;
	}
	return n;
}

enum fsp_answer fsp_command(struct gpumodel *m, struct device *d, const uint32_t *in, size_t n_in,
			    unsigned channel, uint32_t out[8], size_t *n_out)
{
	int knob = n_in > 2 ? knob_of(in[2]) : -1;
	struct answer a = { .status = STATUS_BAD_COMMAND };
	size_t n = 5;

	if (fault_on(m, d, FAULT_STUCK_QUEUE, knob, -1, NULL))
		return FSP_STUCK;
	if (fault_strike(m, d, FAULT_NO_ANSWER, knob, -1, NULL))
		return FSP_SILENT;
	if (fault_strike(m, d, FAULT_RPC_ERROR, knob, -1, &a.status))
		;
	else if (n_in < 3 || (in[0] & MCTP_SOM_EOM) != MCTP_SOM_EOM || in[1] != NVDM_REQUEST)
		violation(m, d, V_OTHER, "malformed firmware command");
	else
		a = prc(m, d, in, n_in, channel);
	command_trace(m, d, in, n_in, &a);
	out[0] = MCTP_ONE_PACKET;
	out[1] = NVDM_RESPONSE;
	out[2] = 0;
	out[3] = NVDM_PRC;
	out[4] = a.status;
	if (a.status == STATUS_OK && a.n_payload)
		out[n++] = a.payload;
	*n_out = answer_spoil(m, d, knob, out, n);
	return FSP_ANSWERED;
}
