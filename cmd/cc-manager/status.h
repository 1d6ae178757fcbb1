/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status - what the node's labels and the status annotation say.  Pure.
 *
 * In:       the plan, the devices as they were left, how far the attempt got.
 * Out:      two label values and the annotation's JSON.
 * Fails:    ERR_SYSTEM when memory is short.
 */
#pragma once
#include "base/buf.h"
#include "plan.h"

#define STATUS_MAX_BYTES (64 << 10)

struct status_input {
	const struct config *config;
	const struct plan *plan;
	const struct device_list *devices;
	const char *wanted; /* "" nothing */
	const char *phase;  /* the phase that runs, failed, or "report" */
	unsigned attempt;
	bool running, planning;	  /* in the middle of an attempt; in its first phase */
	const struct err *failed; /* kind ERR_NONE: nothing */
	const char *before;	  /* the annotation as the node has it; NULL: none */
};

/* nvidia.com/cc.mode.state; NULL: leave what is there. */
const char *status_state_label(const struct status_input *in);
/* nvidia.com/cc.ready.state when nothing runs */
const char *status_ready_label(const struct status_input *in);

/* `since` stays as in `before` while nothing but the count of attempts changed, so that text that says
 * the same is the same text. */
int status_annotation(const struct status_input *in, struct buf *out, struct err *err) MUST_CHECK;

/* "8 GPUs and 4 NVSwitches" */
void status_count_text(const struct device_list *devices, char *out, size_t size);
