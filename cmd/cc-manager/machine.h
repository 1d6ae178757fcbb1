/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine - the story of cc-manager as one table of phases.
 *
 * An attempt takes the node from the label as it is now to labels that tell the truth.  Only the
 * machine moves from phase to phase: it logs each move and keeps the first error, which is what
 * `report` tells the cluster.  Whatever happens leads through `restore`.  What changes midway is seen
 * when the attempt has ended: the newest label counts.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"
#include "loop/loop.h"
#include "plan.h"

struct app;

enum phase { IDLE, PLAN, ANNOUNCE, EVICT, SWITCH, VERIFY, RESTORE, REPORT, N_PHASES };
const char *phase_name(enum phase phase); /* "plan" ... */

/* What an attempt was made for. */
struct wish {
	bool has_label;
	char label[64]; /* nvidia.com/cc.mode */
	uint64_t call;	/* hash of nvidia.com/cc.retry and of the node's uid */
};

struct machine {
	enum phase phase;
	bool begun;	/* there was an attempt */
	bool pausing;	/* in RESTORE or REPORT, until it is tried again */
	bool converged; /* the last attempt ended well, and no plan since says otherwise */
	bool quiet;	/* one more look at a device that is held: nothing to log */

	struct wish wish;
	unsigned attempt;	       /* for this wish */
	uint64_t attempt_ms, phase_ms; /* begin of each */
	char wanted[64];
	struct plan plan;
	bool check_staged; /* knobs are not known to be what we left them at */
	bool touched;	   /* this attempt changed devices */
	bool repaired;	   /* knobs were put back, as far as they could be */
	struct err first;  /* the first error of this attempt */
	enum phase failed_in;

	struct err pending;   /* machine_done()'s, until the move */
	struct source *move;  /* zero timer */
	struct source *limit; /* of the phase */
	struct source *retry; /* a failed attempt, a failed write */
	struct source *resync;
	struct source *drift;	 /* somebody changed what we wrote, or operands are paused */
	struct source *patience; /* for the first list, where we are not to stay */
	struct backoff attempts; /* between attempts */
	struct backoff writes;	 /* between tries of restore and report */
	struct backoff drifts;	 /* so that two managers of one node do not race */
	bool retry_due, resync_due, drift_due;
};

int machine_init(struct app *app, struct err *err) MUST_CHECK;

/* Ends the phase, in the next round of the loop; err NULL or without a kind: it went well. */
void machine_done(struct app *app, const struct err *err);

/* Something may have changed: begins an attempt when there is a reason for one. */
void machine_look(struct app *app);

void machine_server_is_back(struct app *app);

/* SIGTERM: comes to an end that the next start can go on from. */
void machine_stop(struct app *app);

bool machine_failed(const struct app *app); /* this attempt, so far */
