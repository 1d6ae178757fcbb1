/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emem - the way to FSP of Hopper and LS10: two queues whose packets lie in a memory window.
 *
 * Command and answer share the window's bytes, so an answer that nobody read (its asker was killed)
 * must be read before the next command is written.  Tails are inclusive.
 */
#include "gpu/fsp.h"
#include "gpu/internal.h"

#define CHANNEL	   FSP_CHANNEL_PRC
#define RESUME_MS  5000
#define COMMAND_MS 1000
#define ANSWER_MS  5000
#define TORN_MAX   16
#define STALE_MAX  16 /* answers that may lie about; more is a device that babbles */

struct queue {
	uint32_t head, tail;
};

static int queue_read(struct gpu *g, uint32_t head, uint32_t tail, const char *name,
		      struct queue *out, struct err *err)
{
	if (gpu_rd(g, head, name, &out->head, err) < 0 ||
	    gpu_rd(g, tail, name, &out->tail, err) < 0)
		return -1;
	return 0;
}

static int command_read(struct gpu *g, struct queue *out, struct err *err)
{
	return queue_read(g, FSP_COMMAND_HEAD(CHANNEL), FSP_COMMAND_TAIL(CHANNEL),
			  "FSP command queue", out, err);
}

static bool is_empty(struct queue q)
{
	return q.head == q.tail;
}

/* FSP moves both pointers while we read them one after the other, so a packet that is just arriving
 * can show an old head beside a new tail: a pair counts once two readings in a row agree. */
static int message_read(struct gpu *g, struct queue *out, struct err *err)
{
	struct queue again;

	for (int i = 0; i < TORN_MAX; i++) {
		if (queue_read(g, FSP_MESSAGE_HEAD(CHANNEL), FSP_MESSAGE_TAIL(CHANNEL),
			       "FSP message queue", &again, err) < 0)
			return -1;
		if (is_empty(again) || (i && again.head == out->head && again.tail == out->tail)) {
			*out = again;
			return 0;
		}
		*out = again;
	}
	return err_set(err, ERR_DEVICE,
		       "FSP message queue does not come to rest: head 0x%x, tail 0x%x", out->head,
		       out->tail);
}

static void window_rewind(struct gpu *g)
{
	pci_wr32(g->pci, FSP_EMEMC(CHANNEL),
		 FSP_EMEMC_INC_WRITE | FSP_EMEMC_INC_READ | FSP_EMEM_BASE(CHANNEL));
}

/* Takes the packet of message queue `q`: at most `max` dwords are kept.  It is acknowledged before
 * anybody looks at it, so a bad one leaves the channel usable. */
static int packet_take(struct gpu *g, struct queue q, uint32_t *out, size_t max, size_t *out_n,
		       struct err *err)
{
	uint32_t bytes = q.tail - q.head + 4; /* wraps when the pointers make no sense */
	size_t n = bytes / 4;

	if (bytes % 4 || bytes > FSP_CHANNEL_BYTES || n > max) {
		pci_wr32(g->pci, FSP_MESSAGE_TAIL(CHANNEL), q.head);
		return err_set(err, ERR_DEVICE,
			       "FSP answer has no valid size: head 0x%x, tail 0x%x", q.head,
			       q.tail);
	}
	window_rewind(g);
	for (size_t i = 0; i < n; i++)
		out[i] = pci_rd32(g->pci, FSP_EMEMD(CHANNEL));
	pci_wr32(g->pci, FSP_MESSAGE_TAIL(CHANNEL), q.head);
	*out_n = n;
	return 0;
}

/* Reads and drops an answer that is there; *had says whether there was one. */
static int stale_drop(struct gpu *g, bool *had, struct err *err)
{
	uint32_t dword[FSP_CHANNEL_BYTES / 4];
	struct err odd = ERR_INIT;
	struct queue q;
	size_t n;

	if (message_read(g, &q, err) < 0)
		return -1;
	*had = !is_empty(q);
	if (!*had)
		return 0;
	gpu_note(g, LOG_DEBUG, "dropping an FSP answer that nobody waited for");
	if (packet_take(g, q, dword, ARRAY_LEN(dword), &n, &odd) < 0)
		gpu_note(g, LOG_DEBUG, "%s", err_text(&odd));
	return 0;
}

static int late_answer_wait(struct gpu *g, struct err *err)
{
	struct gpu_poll poll = gpu_poll_for(RESUME_MS);
	bool had;

	gpu_note(g, LOG_DEBUG,
		 "FSP channel was left in the middle of a command: waiting for its answer");
	do {
		if (stale_drop(g, &had, err) < 0)
			return -1;
		if (gpu_stopped(g))
			return err_set(err, ERR_INTERRUPTED,
				       "stopped while resuming the FSP channel");
	} while (!had && gpu_poll_again(&poll));
	return 0;
}

/* After a client that was killed: let the answer come, then start afresh. */
int fsp_emem_open(struct gpu *g, struct err *err)
{
	struct queue command, message;

	if (command_read(g, &command, err) < 0 || message_read(g, &message, err) < 0)
		return -1;
	if (is_empty(command) && is_empty(message))
		return 0;
	if (late_answer_wait(g, err) < 0)
		return -1;
	pci_wr32(g->pci, FSP_COMMAND_TAIL(CHANNEL), FSP_EMEM_BASE(CHANNEL));
	pci_wr32(g->pci, FSP_COMMAND_HEAD(CHANNEL), FSP_EMEM_BASE(CHANNEL));
	pci_wr32(g->pci, FSP_MESSAGE_TAIL(CHANNEL), FSP_EMEM_BASE(CHANNEL));
	pci_wr32(g->pci, FSP_MESSAGE_HEAD(CHANNEL), FSP_EMEM_BASE(CHANNEL));
	return 0;
}

static int command_room(struct gpu *g, struct err *err)
{
	struct gpu_poll poll = gpu_poll_for(COMMAND_MS);
	unsigned dropped = 0;
	struct queue command;
	bool had;

	for (;;) {
		if (command_read(g, &command, err) < 0 || stale_drop(g, &had, err) < 0)
			return -1;
		if (is_empty(command) && !had)
			return 0;
		if (had && ++dropped > STALE_MAX)
			return err_set(err, ERR_DEVICE, "FSP sends answers without end");
		if (!had && !gpu_poll_again(&poll))
			return err_set(err, ERR_TIMEOUT,
				       "FSP does not take commands: after %d ms the command "
				       "queue still has head 0x%x, tail 0x%x",
				       COMMAND_MS, command.head, command.tail);
	}
}

static void packet_send(struct gpu *g, const uint32_t *dword, size_t n)
{
	window_rewind(g);
	for (size_t i = 0; i < n; i++)
		pci_wr32(g->pci, FSP_EMEMD(CHANNEL), dword[i]);
	pci_wr32(g->pci, FSP_COMMAND_TAIL(CHANNEL), FSP_EMEM_BASE(CHANNEL) + 4 * ((uint32_t)n - 1));
	pci_wr32(g->pci, FSP_COMMAND_HEAD(CHANNEL), FSP_EMEM_BASE(CHANNEL));
}

static int answer_wait(struct gpu *g, struct queue *out, struct err *err)
{
	struct gpu_poll poll = gpu_poll_for(ANSWER_MS);
	struct queue command;

	for (;;) {
		if (message_read(g, out, err) < 0)
			return -1;
		if (!is_empty(*out))
			return 0;
		if (gpu_poll_again(&poll))
			continue;
		if (command_read(g, &command, err) < 0)
			return -1;
		return err_set(err, ERR_TIMEOUT,
			       "FSP gave no answer in %d s: command queue 0x%x/0x%x, "
			       "message queue 0x%x/0x%x",
			       ANSWER_MS / 1000, command.head, command.tail, out->head, out->tail);
	}
}

int fsp_emem_call(struct gpu *g, const uint32_t *request, size_t n, uint32_t *answer, size_t max,
		  size_t *out_n, struct err *err)
{
	struct queue message;

	if (n < 2 || n > FSP_CHANNEL_BYTES / 4)
		return err_set(err, ERR_INVALID, "FSP request of %zu dwords", n);
	if (command_room(g, err) < 0)
		return -1;
	packet_send(g, request, n);
	if (answer_wait(g, &message, err) < 0)
		return -1;
	return packet_take(g, message, answer, max, out_n, err);
}
