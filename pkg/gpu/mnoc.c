/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mnoc - the way to FSP of Blackwell: a mailbox for each direction, data dword by dword.  Names are
 * FSP's: it receives what we send.  Reading an answer to its end is what acknowledges it.
 */
#include "gpu/fsp.h"
#include "gpu/internal.h"

#define READY_MS  5000
#define CREDIT_MS 1000
#define ANSWER_MS 5000

static int info_read(struct gpu *g, uint32_t off, const char *name, uint32_t *out, struct err *err)
{
	if (gpu_rd(g, off, name, out, err) < 0)
		return -1;
	if (*out & FSP_INFO_ERROR)
		return err_set(err, ERR_DEVICE, "%s reports an error: 0x%06x reads 0x%08x", name,
			       off, *out);
	return 0;
}

/* Polls until `bit` is set; the mailbox's error bit counts only when time is up. */
static int info_wait(struct gpu *g, uint32_t off, const char *name, uint32_t bit, uint64_t limit_ms,
		     uint32_t *out, struct err *err)
{
	struct gpu_poll poll = gpu_poll_for(limit_ms);

	for (;;) {
		if (gpu_rd(g, off, name, out, err) < 0)
			return -1;
		if (*out & bit)
			return 0;
		if (gpu_poll_again(&poll))
			continue;
		if (*out & FSP_INFO_ERROR)
			return err_set(err, ERR_DEVICE, "%s reports an error: 0x%06x reads 0x%08x",
				       name, off, *out);
		return err_set(err, ERR_TIMEOUT, "%s: nothing in %llu ms: 0x%06x reads 0x%08x",
			       name, (unsigned long long)limit_ms, off, *out);
	}
}

/* Reads the answer that FSP_SEND_INFO announced.  What does not fit is read and dropped, so that the
 * mailbox is empty afterwards. */
static int answer_take(struct gpu *g, uint32_t info, uint32_t *out, size_t max, size_t *out_n,
		       struct err *err)
{
	uint32_t bytes = FIELD_GET(FSP_INFO_SIZE, info);
	size_t n = (bytes + 3) / 4;

	if (bytes > FSP_MNOC_BYTES)
		return err_set(err, ERR_DEVICE, "FSP answer of %u bytes: %u is the most", bytes,
			       FSP_MNOC_BYTES);
	for (size_t i = 0; i < n; i++) {
		uint32_t v = pci_rd32(g->pci, FSP_SEND_DATA);

		if (i < max)
			out[i] = v;
	}
	if (info_read(g, FSP_SEND_INFO, "FSP send mailbox", &info, err) < 0)
		return -1;
	if (bytes % 4 || n > max)
		return err_set(err, ERR_DEVICE,
			       "FSP answer of %u bytes is no answer to this request", bytes);
	*out_n = n;
	return 0;
}

/* An answer whose asker was killed would be taken for ours. */
static int stale_drop(struct gpu *g, struct err *err)
{
	uint32_t info, scratch[8];
	struct err odd = ERR_INIT;
	size_t n;

	if (gpu_rd(g, FSP_SEND_INFO, "FSP send mailbox", &info, err) < 0)
		return -1;
	if (!(info & FSP_INFO_READY))
		return 0;
	gpu_note(g, LOG_DEBUG, "dropping an FSP answer that nobody waited for");
	if (answer_take(g, info, scratch, ARRAY_LEN(scratch), &n, &odd) < 0)
		gpu_note(g, LOG_DEBUG, "%s", err_text(&odd));
	return 0;
}

static int message_send(struct gpu *g, const uint32_t *dword, size_t n, struct err *err)
{
	uint32_t info;

	pci_wr32(g->pci, FSP_RECEIVE_INFO,
		 FIELD_PREP(FSP_INFO_SIZE, (uint32_t)(4 * n)) | FSP_INFO_START);
	for (size_t i = 0; i < n; i++) {
		if (4 * i % FSP_MNOC_CREDIT_BYTES == 0 &&
		    info_wait(g, FSP_RECEIVE_INFO, "FSP receive mailbox (credit)", FSP_INFO_CREDIT,
			      CREDIT_MS, &info, err) < 0)
			return -1;
		pci_wr32(g->pci, FSP_RECEIVE_DATA, dword[i]);
	}
	return info_read(g, FSP_RECEIVE_INFO, "FSP receive mailbox", &info, err);
}

int fsp_mnoc_call(struct gpu *g, const uint32_t *request, size_t n, uint32_t *answer, size_t max,
		  size_t *out_n, struct err *err)
{
	uint32_t info;

	if (n < 2 || 4 * n > FSP_MNOC_BYTES)
		return err_set(err, ERR_INVALID, "FSP request of %zu dwords", n);
	/* An error that is there already is an earlier asker's, who was killed or too slow: it must not
	 * keep us out for ever.  If it is more than that, it is still there when we have sent. */
	if (gpu_rd(g, FSP_RECEIVE_INFO, "FSP receive mailbox", &info, err) < 0)
		return -1;
	if (info & FSP_INFO_ERROR)
		gpu_note(g, LOG_DEBUG, "FSP receive mailbox reports an earlier error: 0x%08x", info);
	/* Dropped before, as FSP may wait for that, and after, as one may come while we wait. */
	if (stale_drop(g, err) < 0 ||
	    info_wait(g, FSP_RECEIVE_INFO, "FSP receive mailbox (ready)", FSP_INFO_READY, READY_MS,
		      &info, err) < 0 ||
	    stale_drop(g, err) < 0 || message_send(g, request, n, err) < 0)
		return -1;
	if (info_wait(g, FSP_SEND_INFO, "FSP send mailbox (answer)", FSP_INFO_READY, ANSWER_MS,
		      &info, err) < 0)
		return -1;
	return answer_take(g, info, answer, max, out_n, err);
}
