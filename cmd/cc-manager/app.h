/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app - everything that a running cc-manager owns, and what its files offer each other.
 *
 *	main.c      opens it all, in order
 *	agent.c     signals, the API server, the watch of our node, the end
 *	instance.c  one cc-manager per node: the agent's lock
 *	machine.c   the phase table; when an attempt begins and what follows on what
 *	survey.c    who is here, who uses it, in which mode: the devices, under their locks
 *	phases.c    what each phase does
 *	plan.c      decides; pure
 *	status.c    what the cluster is told; pure
 *	report.c    tells it: patches and events
 *	ready.c     the readiness file
 *	metrics.c   /metrics, /healthz, /readyz
 *	dryrun.c    prints a plan
 */
#pragma once
#include "config.h"
#include "evict/evict.h"
#include "gpu/switch.h"
#include "k8s/k8s.h"
#include "loop/loop.h"
#include "machine.h"
#include "metrics.h"
#include "plan.h"
#include "status.h"

#define LABEL_MODE	  "nvidia.com/cc.mode"
#define LABEL_STATE	  "nvidia.com/cc.mode.state"
#define LABEL_READY	  "nvidia.com/cc.ready.state"
#define ANNOTATION_STATUS "nvidia.com/cc.status"
#define ANNOTATION_RETRY  "nvidia.com/cc.retry"

#define EVENT_SWITCHING	    "CCModeSwitching"
#define EVENT_SWITCHED	    "CCModeSwitched"
#define EVENT_SWITCH_FAILED "CCModeSwitchFailed"
#define EVENT_INVALID	    "CCModeInvalid"

struct app;

/* Ends the survey; a device that cannot be read is no error here, its entry says so. */
typedef void survey_done(struct app *app, const struct err *err);

enum ready_file { READY_FILE_UNKNOWN, READY_FILE_GONE, READY_FILE_THERE };

struct survey {
	survey_done *done;
	enum gpu_mode mode; /* that staged knobs are compared with */
	bool want_staged;
	bool said_locked;
	struct source *look;
	uint64_t lock_deadline_ms;
	struct gpu_jobs *jobs;
	size_t at[GPU_MAX_DEVICES]; /* job -> device */
	size_t n_jobs;
};

struct patch; /* report.c */
typedef int report_fill(struct app *app, const struct k8s_node *node, struct patch *p,
			struct buf *text, struct err *err);
typedef void report_sent(struct app *app);

struct report {
	struct k8s_call *call; /* of the phase: announce, restore, report */
	report_fill *fill;
	report_sent *done;
	unsigned conflicts;
	bool changed;		   /* something was written */
	struct k8s_call *progress; /* an annotation in the middle of a long phase */
	bool after_progress;	   /* the phase's patch waits for it */
	struct source *long_phase;
};

struct app {
	struct config config;
	struct loop *loop;
	struct pci_host host;
	int instance_fd;
	struct source *instance_again;

	struct k8s_config *k8s_config;
	struct k8s_client *client;
	struct k8s_reflector *reflector;
	struct k8s_events *events;
	bool link_up; /* the watch of the node runs */

	enum pci_host_tee tee;
	enum pci_lockdown lockdown;
	struct device_list devices;
	struct survey survey;

	struct machine machine;
	struct evict *evict;
	unsigned missing;	      /* operands that should run and have no pod */
	struct source *drained_again; /* who used a device may take a moment to let go */
	struct gpu_switch *gpu_switch;
	struct gpu_jobs *jobs; /* that put knobs back */
	struct report report;
	struct metrics metrics;

	enum ready_file ready_file;
	bool stopping; /* asked to end: no new attempt */
	bool leaving;  /* exit_code is known */
	int exit_code;
	struct source *leave;
	uint64_t leave_deadline_ms;
};

/* --- agent.c */
int stop_on_signals(struct app *app, struct err *err) MUST_CHECK;
int api_open(struct app *app, struct err *err) MUST_CHECK;
void agent_begin(struct app *app); /* no other cc-manager runs: watches the node */
void app_close(struct app *app);
/* Ends the program once what is on its way to the API server has arrived, or soon after. */
void app_leave(struct app *app, int exit_code);

/* --- instance.c */
int instance_lock(struct app *app, struct err *err) MUST_CHECK; /* then calls agent_begin() */

/* --- node: what the reflector has; NULL before the first list */
static inline const struct k8s_node *app_node(const struct app *app)
{
	return app->reflector ? k8s_reflector_node(app->reflector) : NULL;
}
unsigned app_paused_operands(const struct app *app);  /* bits of enum evict_operand; report.c */
unsigned app_running_operands(const struct app *app); /* would be paused */

/* --- survey.c */
void survey_host(struct app *app); /* confidential VMs, lockdown */
int survey_init(struct app *app, struct err *err) MUST_CHECK;
void survey_start(struct app *app, enum gpu_mode mode, bool want_staged, survey_done *done);
void survey_link_is_up(struct app *app);
void survey_interrupt(struct app *app); /* done comes, with ERR_INTERRUPTED */
void survey_cancel(struct app *app);	/* done does not come */
void survey_unlock(struct app *app);	/* lets go of the devices' locks */

/* --- phases.c: each starts its work; machine_done() ends the phase */
int phases_init(struct app *app, struct err *err) MUST_CHECK;
void phase_plan(struct app *app);
void phase_announce(struct app *app);
void phase_evict(struct app *app);
void phase_switch(struct app *app);
void phase_verify(struct app *app);
void phase_restore(struct app *app);
void phase_report(struct app *app);
/* Whether there is anything to do in it. */
bool phase_disturbs(const struct app *app); /* announce */
bool phase_evict_needed(const struct app *app);
bool phase_switch_needed(const struct app *app);
bool phase_verify_needed(const struct app *app);
bool phase_restore_needed(const struct app *app);
/* Gives up what a phase has under way, without a callback. */
void phase_cancel(struct app *app);
/* Asks it to come to an end soon. */
void phase_interrupt(struct app *app);

/* --- report.c: each ends with machine_done() */
int report_init(struct app *app, struct err *err) MUST_CHECK;
void report_phase_entered(struct app *app);
int report_announce(struct app *app, struct err *err) MUST_CHECK;
int report_restore(struct app *app, struct err *err) MUST_CHECK;
int report_status(struct app *app, struct err *err) MUST_CHECK;
bool report_differs(const struct app *app); /* what the node says is not what we would say */
void report_missing_pods(struct app *app, unsigned operands);
void report_cancel(struct app *app);

/* --- ready.c */
void ready_set(struct app *app, bool converged);

/* --- dryrun.c */
int dryrun_print(const struct app *app, struct err *err) MUST_CHECK;
