/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsp - one command, one answer: message headers, what an answer must look like, knobs.  There is no
 * retry: a command that failed once may have been done.
 */
#include "gpu/fsp.h"

#include <stdio.h>

#include "gpu/internal.h"

static const char *dwords_text(const uint32_t *dword, size_t n, char *out, size_t size)
{
	size_t at = 0;

	*out = '\0';
	for (size_t i = 0; i < n && i < 8 && at + 10 < size; i++)
		at += (size_t)snprintf(out + at, size - at, " %08x", dword[i]);
	return out;
}

int fsp_answer_check(const uint32_t *dword, size_t n, size_t payload_dwords, uint32_t *payload,
		     struct err *err)
{
	char text[96];

	dwords_text(dword, n, text, sizeof(text));
	if (n < FSP_ANSWER_HEADER)
		return err_set(err, ERR_DEVICE, "FSP answer of %zu dwords, %d are the least:%s", n,
			       FSP_ANSWER_HEADER, text);
	if (FIELD_GET(FSP_HEADER_NVDM, dword[1]) != FSP_NVDM_RESPONSE)
		return err_set(err, ERR_DEVICE, "FSP answer has type 0x%02x, not 0x%02x:%s",
			       FIELD_GET(FSP_HEADER_NVDM, dword[1]), FSP_NVDM_RESPONSE, text);
	if (dword[3] != FSP_NVDM_PRC)
		return err_set(err, ERR_DEVICE,
			       "FSP answer is to a request of type 0x%x, not 0x%02x:%s", dword[3],
			       FSP_NVDM_PRC, text);
	if (dword[4] == FSP_STATUS_NO_KNOB) {
		err_set(err, ERR_UNSUPPORTED,
			"its firmware does not know this knob (FSP status 0x%x)", dword[4]);
		err->code = (int)FSP_STATUS_NO_KNOB;
		return -1;
	}
	if (dword[4] != FSP_STATUS_OK) {
		err_set(err, ERR_DEVICE, "FSP error 0x%x:%s", dword[4], text);
		err->code = (int)dword[4];
		return -1;
	}
	if (n - FSP_ANSWER_HEADER != payload_dwords)
		return err_set(err, ERR_DEVICE,
			       "FSP answer has %zu dwords of payload, %zu are due:%s",
			       n - FSP_ANSWER_HEADER, payload_dwords, text);
	for (size_t i = 0; i < payload_dwords; i++)
		payload[i] = dword[FSP_ANSWER_HEADER + i];
	return 0;
}

/* A boot that does not complete is only a warning here: FSP may answer all the same. */
static int channel_open(struct gpu *g, struct err *err)
{
	struct err boot = ERR_INIT;

	if (g->rpc_open)
		return 0;
	if (!g->chip->family || g->chip->family->transport == GPU_TRANSPORT_NONE)
		return err_set(err, ERR_UNSUPPORTED, "%s has no FSP", g->chip->name);
	if (gpu_wait_boot(g, &boot) < 0) {
		if (boot.kind != ERR_TIMEOUT) {
			*err = boot;
			return -1;
		}
		gpu_note(g, LOG_WARN, "%s; asking FSP all the same", err_text(&boot));
	}
	if (g->chip->family->transport == GPU_TRANSPORT_EMEM && fsp_emem_open(g, err) < 0)
		return -1;
	g->rpc_open = true;
	return 0;
}

static int call(struct gpu *g, const uint32_t *request, size_t n, size_t payload_dwords,
		uint32_t *payload, struct err *err)
{
	uint32_t answer[16]; /* the longest that we ask for has 6 */
	size_t n_answer;
	int r;

	if (gpu_stopped(g))
		return err_set(err, ERR_INTERRUPTED, "stopped between two commands");
	if (channel_open(g, err) < 0)
		return -1;
	r = g->chip->family->transport == GPU_TRANSPORT_EMEM
		    ? fsp_emem_call(g, request, n, answer, ARRAY_LEN(answer), &n_answer, err)
		    : fsp_mnoc_call(g, request, n, answer, ARRAY_LEN(answer), &n_answer, err);
	if (r < 0)
		g->rpc_open =
			false; /* whoever asks next finds out first where the channel stands */
	else
		r = fsp_answer_check(answer, n_answer, payload_dwords, payload, err);
	if (r < 0 && !fsp_no_such_knob(err))
		gpu_dump(g);
	return r;
}

int fsp_knob_read(struct gpu *g, unsigned id, uint16_t *out, struct err *err)
{
	const uint32_t request[] = { FSP_MCTP_SINGLE, FSP_HEADER_PRC,
				     FSP_PRC_KNOB_READ | FIELD_PREP(FSP_PRC_KNOB, id) };
	uint32_t payload;

	if (call(g, request, ARRAY_LEN(request), 1, &payload, err) < 0)
		return err_wrap(err, "reading knob %u (%s)", id, gpu_knob_name(id));
	*out = (uint16_t)FIELD_GET(FSP_PRC_VALUE, payload);
	return 0;
}

int fsp_knob_write(struct gpu *g, unsigned id, uint16_t value, struct err *err)
{
	const uint32_t request[] = { FSP_MCTP_SINGLE, FSP_HEADER_PRC,
				     FSP_PRC_KNOB_WRITE | FIELD_PREP(FSP_PRC_KNOB, id), value };

	if (call(g, request, ARRAY_LEN(request), 0, NULL, err) < 0)
		return err_wrap(err, "writing %u to knob %u (%s)", value, id, gpu_knob_name(id));
	return 0;
}
