/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict - makes room on a node: pauses the GPU Operator's operands, waits for their pods to leave,
 * evicts pods that hold GPUs when asked to, and says how everything is put back.
 *
 * An operand runs where its label nvidia.com/gpu.deploy.NAME is exactly `true`.  Pausing replaces that
 * by a text that says who paused; the text alone is enough to undo it, so whoever restarts needs to
 * remember nothing.
 *
 * In:       deploy labels as the node has them; an API client.
 * Out:      label values to write (the caller's patch); one callback when the pods are gone.
 * Owns:     struct evict, until its callback returns or evict_cancel().
 * Fails:    ERR_TIMEOUT naming the pods that are left; what k8s.h says for requests.
 * Does not: write labels, log, send events.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "k8s/k8s.h"
#include "loop/loop.h"

#define EVICT_PAUSE_TEXT  "paused-for-cc-mode-change"
#define EVICT_VALUE_BYTES 64 /* a label value has at most 63 characters */

enum evict_operand {
	EVICT_VFIO_MANAGER,
	EVICT_SANDBOX_VALIDATOR,
	EVICT_SANDBOX_DEVICE_PLUGIN,
	EVICT_KATA_SANDBOX_DEVICE_PLUGIN,
	EVICT_VGPU_MANAGER,
	EVICT_VGPU_DEVICE_MANAGER,
	EVICT_N_OPERANDS
};
#define EVICT_BIT(operand) (1u << (operand))

extern const char *const evict_operand_names[EVICT_N_OPERANDS];	 /* "vfio-manager" */
extern const char *const evict_operand_labels[EVICT_N_OPERANDS]; /* "nvidia.com/gpu.deploy...." */

/* What pausing makes of a label's value; NULL: leave it as it is (absent, `false`, paused, own). */
const char *evict_pause_value(const char *value);

/* Carries our text, alone or as upstream's VALUE_paused-for-...; NULL (absent) does not. */
bool evict_is_paused(const char *value);

/* What was there before the pause, into `out`; false when `value` is not paused. */
bool evict_restored_value(const char *value, char out[EVICT_VALUE_BYTES]) MUST_CHECK;

/* The operand that a pod belongs to, by its controller or either form of its label; -1: none. */
int evict_operand_of(const struct k8s_pod *pod);

/* --- waiting ---------------------------------------------------------------------------------- */

struct evict;

/* The pods are known; `missing` are the operands in `expect` that have none. */
typedef void evict_on_listed(void *arg, unsigned missing);
/* err->kind is ERR_NONE when all are gone.  Also before on_listed, when there can be no list. */
typedef void evict_on_done(void *arg, const struct err *err);

struct evict_config {
	const char *ns; /* where the operands' pods are; NULL: no operand is waited for */
	const char *node;
	unsigned expect;     /* bits of the operands that should have a pod at first */
	bool drain;	     /* evict this node's pods that request nvidia.com/ resources, too */
	uint64_t timeout_ms; /* from evict_go() on */
	evict_on_listed *on_listed;
	evict_on_done *on_done;
	void *arg;
};

/* Lists the pods and follows them; so who pauses after on_listed misses no pod that leaves at once.
 * Strings in `config` are borrowed until the end. */
int evict_start(struct loop *loop, struct k8s_client *client, const struct evict_config *config,
		struct evict **out, struct err *err) MUST_CHECK;
/* From now on the pods of these operands (bits) have to leave, and users are evicted.  After on_listed. */
void evict_go(struct evict *e, unsigned wait_for);
void evict_cancel(struct evict *e); /* no callback follows; NULL is accepted */
