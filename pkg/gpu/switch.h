/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch - takes a node's devices from the modes they are in to the wanted one.
 *
 * The whole sequence, in the order that the hardware wants, as jobs with barriers between them:
 *
 *	unbind    those that a vfio driver has; the record remembers it
 *	revive    those whose active pair is not known, as they did not boot: reset, whatever comes
 *	ppcie-off only for on and devtools: devices with PPCIe active are staged off, reset, verified
 *	stage     knobs, on every device that needs it; when one fails, the others get theirs back
 *	reset     all that were staged and are not yet in the mode; boot; verify
 *	bind      to the driver they had; also after a failure, and when interrupted too
 *
 * In:       devices that can do it (gpu_can()), locked by the caller, each with its active pair and
 *           with whether its knobs say the mode (GPU_OP_QUERY with want_staged).  A result with
 *           needs_reset goes in as it is, with its pair unknown.
 * Out:      one result per device, in their order: ok only when the pair that was read is the wanted
 *           one (no_reset: when the knobs were read back).  Devices that need nothing are ok at once.
 * Refuses:  devices in use (looked up again at the start): ERR_BUSY, nothing was touched.
 */
#pragma once
#include "gpu/jobs.h"

enum gpu_need {
	GPU_NEED_NOTHING, /* active and knobs say the mode */
	GPU_NEED_STAGE,	  /* active is right, the knobs are not: staged and unapplied */
	GPU_NEED_RESET,	  /* active differs */
};

struct gpu_switch_dev {
	struct gpu_dev *dev;
	int lock_fd;	 /* -1: none */
	struct gpu_pair active;
	enum gpu_staged_answer staged;
};

/* Pure.  For ppcie every device needs a reset as soon as one does: they share a fabric. */
void gpu_switch_plan(const struct gpu_switch_dev *dev, size_t n, enum gpu_mode mode,
		     enum gpu_need *out);

enum gpu_switch_step {
	GPU_SWITCH_UNBIND,
	GPU_SWITCH_REVIVE,
	GPU_SWITCH_PPCIE_OFF,
	GPU_SWITCH_STAGE,
	GPU_SWITCH_UNSTAGE,
	GPU_SWITCH_RESET,
	GPU_SWITCH_BIND,
	GPU_SWITCH_DONE
};
extern const char *const gpu_switch_step_names[];

struct gpu_switch;

struct gpu_switch_spec {
	struct loop *loop;
	const struct pci_host *host;
	const struct gpu_switch_dev *dev; /* copied; the devices themselves are borrowed */
	size_t n;
	enum gpu_mode mode;
	bool no_reset; /* stage and stop: no ppcie-off round, no reset */
	bool trace;
	void (*on_step)(void *arg, enum gpu_switch_step step); /* or NULL */
	gpu_on_note *on_note;				       /* or NULL */
	gpu_on_done *on_done; /* from the loop; struct gpu_switch is freed after it returned */
	void *arg;
};

int gpu_switch_start(const struct gpu_switch_spec *spec, struct gpu_switch **out,
		     struct err *err) MUST_CHECK;
/* Stops between two transactions; devices that were unbound are bound again; on_done comes. */
void gpu_switch_interrupt(struct gpu_switch *s);
void gpu_switch_free(struct gpu_switch *s); /* kills, without on_done; accepts NULL */
