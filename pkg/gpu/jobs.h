/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs - blocking device work, side by side, in child processes, inside the event loop.
 *
 * Each job is one operation on one device in one forked child with a deadline.  So eight devices take
 * as long as one, a write that hangs in the kernel hangs a child, and a crash in register code is an
 * error that names the device.
 *
 * In:       jobs with borrowed devices; both must outlive the jobs.  The caller holds the devices'
 *           locks and has looked at in_use.
 * Out:      one struct gpu_result per job, in the order of the jobs, when the last has ended.
 * Order:    all at once, but jobs of GPU_OP_RESET whose devices share a reset_group: these one after
 *           another.  Between two calls lies a barrier: stage everywhere, then reset anywhere.
 * Owns:     struct gpu_jobs; it frees itself after on_done returned.
 * Children: die with the parent (PR_SET_PDEATHSIG), hold no descriptor but the result pipe, stderr
 *           and the device's lock, and write the state directory's record.
 * Fails:    a child that dies, hangs past its deadline or answers rubbish is a result with ok false.
 */
#pragma once
#include "gpu/gpu.h"
#include "loop/loop.h"

enum gpu_op {
	GPU_OP_QUERY,	 /* active pair, and with want_staged whether knobs say `mode`; ERR_UNSUPPORTED
			    (with the active pair) when the firmware lacks what `mode` needs */
	GPU_OP_SETTINGS, /* knobs */
	GPU_OP_UNBIND,	 /* remembers the driver, sets driver_override to it, unbinds */
	GPU_OP_STAGE,	 /* knobs := mode, read back; undo */
	GPU_OP_UNSTAGE,	 /* knobs := undo */
	GPU_OP_RESET,	 /* reset, boot, active pair must be `mode` (any_mode: may be any) */
	GPU_OP_BIND,	 /* to the driver that the record remembers; nothing remembered: nothing to do */
	GPU_N_OPS
};
extern const char *const gpu_op_names[]; /* "query" ... */

enum gpu_staged_answer { GPU_STAGED_UNKNOWN, GPU_STAGED_SAME, GPU_STAGED_DIFFERENT };

struct gpu_result {
	struct bdf bdf;
	enum gpu_op op;
	bool ok;
	struct gpu_pair active; /* (unknown, unknown) when it was not read */
	enum gpu_staged_answer staged; /* QUERY with want_staged; unknown: staged_error says why */
	bool is_bridge;		 /* QUERY: class 068000, but PMC_BOOT_0 is no NVSwitch's: leave it alone */
	bool needs_reset;	 /* QUERY: failed as boot is not complete, which a reset may cure */
	bool was_reset;		 /* RESET: the reset itself went through, whatever came after */
	bool ppcie_capable;	 /* what the registers say, as name and chip_name */
	char chip_name[GPU_NAME_BYTES], name[GPU_NAME_BYTES];
	char driver[PCI_NAME_BYTES]; /* UNBIND: that it had; BIND: that it has */
	struct gpu_undo undo;	 /* STAGE, also when it failed: what was written */
	struct gpu_knob knob[GPU_N_KNOBS]; /* SETTINGS */
	uint32_t took_ms;
	enum err_kind error_kind;
	int error_code;
	char error[512];	/* "" when ok; names the device */
	char staged_error[GPU_TEXT_BYTES];
};

struct gpu_job {
	const struct gpu_dev *dev;
	enum gpu_op op;
	enum gpu_mode mode;    /* STAGE, RESET; QUERY with want_staged */
	bool want_staged;      /* QUERY */
	bool any_mode;	       /* RESET */
	struct gpu_undo undo;  /* UNSTAGE */
	int lock_fd;	       /* stays open in the child; -1 none */
	uint64_t deadline_ms;  /* from the start of its child; 0: the operation's own */
};

/* Something happened in a child: "staged", "reset", "booted after 203 ms", a warning. */
typedef void gpu_on_note(void *arg, const struct gpu_dev *dev, enum log_level level,
			 const char *text);
typedef void gpu_on_done(void *arg, const struct gpu_result *result, size_t n);

struct gpu_jobs;

struct gpu_jobs_spec {
	struct loop *loop;
	const struct pci_host *host;
	const struct gpu_job *job; /* copied */
	size_t n;
	bool trace; /* every register access as a note at LOG_DEBUG */
	gpu_on_note *on_note; /* or NULL */
	gpu_on_done *on_done; /* called from the loop, never from gpu_jobs_start(), also for n == 0 */
	void *arg;
	/* For tests: runs in the child in place of the operation. */
	int (*run_instead)(const struct gpu_job *job, struct gpu_result *out, struct err *err);
};

/* `out` is valid until on_done returns. */
int gpu_jobs_start(const struct gpu_jobs_spec *spec, struct gpu_jobs **out,
		   struct err *err) MUST_CHECK;
/* Asks all children to stop between two transactions (ERR_INTERRUPTED); those not started yet never
 * start.  on_done still comes. */
void gpu_jobs_interrupt(struct gpu_jobs *jobs);
/* Kills what still runs, without on_done.  Accepts NULL. */
void gpu_jobs_free(struct gpu_jobs *jobs);

/* Puts what a result learned from the registers (chip, name, capability) into the device. */
void gpu_dev_learn(struct gpu_dev *dev, const struct gpu_result *result);
