/* SPDX-License-Identifier: Apache-2.0 */
/* machine - the phase table, the only place where phases change, and when an attempt begins. */
#include "machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "base/log.h"
#include "base/str.h"

#define MINUTE_MS      60000
#define LONG_MS	       180000
#define SWITCH_MS      600000 /* each job has a deadline of its own; this is for all of them */
#define WAIT_POLL_MS   5000   /* --busy-policy=wait */
#define ONCE_LIMIT_MS  60000  /* --once: how long an API server may be away */
#define STOP_LIMIT_MS  8000   /* SIGTERM: then we go, whatever is open */
#define BACK_WITHIN_MS 250    /* not all agents in the same moment */
#define DRIFT_MS       1000
#define WRITE_MS       500

typedef void phase_fn(struct app *app);
typedef bool phase_needed(const struct app *app);

static const struct phase_row {
	const char *name;
	phase_fn *enter;      /* starts work; machine_done() ends it */
	phase_needed *needed; /* else it is passed over; NULL: always */
	uint32_t limit_ms;    /* then ERR_TIMEOUT; 0: its work has limits of its own */
	enum phase on_ok, on_fail;
} phases[N_PHASES] = {
	[IDLE] = { "idle", NULL, NULL, 0, IDLE, IDLE },
	[PLAN] = { "plan", phase_plan, NULL, LONG_MS, ANNOUNCE, RESTORE },
	[ANNOUNCE] = { "announce", phase_announce, phase_disturbs, MINUTE_MS, EVICT, RESTORE },
	[EVICT] = { "evict", phase_evict, phase_evict_needed, 0, SWITCH, RESTORE },
	[SWITCH] = { "switch", phase_switch, phase_switch_needed, SWITCH_MS, VERIFY, RESTORE },
	[VERIFY] = { "verify", phase_verify, phase_verify_needed, MINUTE_MS, RESTORE, RESTORE },
	[RESTORE] = { "restore", phase_restore, phase_restore_needed, LONG_MS, REPORT, RESTORE },
	[REPORT] = { "report", phase_report, NULL, LONG_MS, IDLE, REPORT },
};

const char *phase_name(enum phase phase)
{
	return phases[phase].name;
}

/* --- moving ----------------------------------------------------------------------------------- */

static void log_phase(const struct app *app, enum phase phase)
{
	const struct machine *m = &app->machine;
	char attempt[16];

	snprintf(attempt, sizeof(attempt), "%u", m->attempt);
	log_event(m->quiet ? LOG_DEBUG : LOG_INFO, "phase", "node", app->config.node_name, "mode",
		  m->wanted[0] ? m->wanted : "none", "phase", phases[phase].name, "attempt",
		  attempt, NULL);
}

static void end_attempt(struct app *app);

static void enter(struct app *app, enum phase next)
{
	struct machine *m = &app->machine;

	m->phase = next;
	m->phase_ms = now_ms();
	m->pausing = false;
	timer_disarm(m->limit);
	if (next == IDLE) {
		end_attempt(app);
		return;
	}
	log_phase(app, next);
	if (phases[next].limit_ms)
		timer_arm(m->limit, phases[next].limit_ms);
	report_phase_entered(app);
	phases[next].enter(app);
}

/* RESTORE and REPORT are tried again until the API server takes them. */
static void pause_phase(struct app *app, const struct err *why)
{
	struct machine *m = &app->machine;

	log_warn("trying again", "node", app->config.node_name, "phase", phases[m->phase].name,
		 "error", err_text(why), NULL);
	m->pausing = true;
	timer_disarm(m->limit);
	timer_arm(m->retry, backoff_next_ms(&m->writes));
	if (app->config.once && now_ms() - m->attempt_ms > ONCE_LIMIT_MS)
		app_leave(app, 1);
	machine_look(app); /* a newer label is more urgent */
}

/* When we are told to stop, what was only prepared is undone, and what was begun on devices is left
 * for the next start. */
static bool leaves(const struct app *app, const struct err *err)
{
	const struct machine *m = &app->machine;

	if (!app->stopping)
		return false;
	if (m->phase == PLAN)
		return true;
	return (m->phase == SWITCH || m->phase == VERIFY) && err->kind == ERR_INTERRUPTED;
}

static void on_move(struct source *s, void *arg)
{
	struct app *app = arg;
	struct machine *m = &app->machine;
	const struct phase_row *row = &phases[m->phase];
	struct err err = m->pending;
	enum phase next = row->on_ok;

	(void)s;
	m->pending = ERR_INIT;
	if (leaves(app, &err)) {
		app_leave(app, 0);
		return;
	}
	if (err.kind == ERR_NONE && app->stopping && (m->phase == ANNOUNCE || m->phase == EVICT))
		err_set(&err, ERR_INTERRUPTED, "asked to stop");
	if (err.kind != ERR_NONE) {
		phase_cancel(app); /* nothing of it goes on */
		next = row->on_fail;
		if (next == m->phase) {
			pause_phase(app, &err);
			return;
		}
		if (m->first.kind == ERR_NONE) {
			m->first = err;
			m->failed_in = m->phase;
		}
	}
	while (phases[next].needed && !phases[next].needed(app))
		next = phases[next].on_ok;
	backoff_reset(&m->writes);
	enter(app, next);
}

void machine_done(struct app *app, const struct err *err)
{
	struct machine *m = &app->machine;

	m->pending = err ? *err : ERR_INIT;
	timer_arm(m->move, 0);
}

static void on_limit(struct source *s, void *arg)
{
	struct app *app = arg;
	struct err err = ERR_INIT;

	(void)s;
	phase_cancel(app);
	err_set(&err, ERR_TIMEOUT, "phase %s took longer than %u s",
		phases[app->machine.phase].name, phases[app->machine.phase].limit_ms / 1000);
	machine_done(app, &err);
}

/* --- the end of an attempt -------------------------------------------------------------------- */

static bool is_failed(const struct machine *m)
{
	return m->first.kind != ERR_NONE;
}

static void count_switch(struct app *app)
{
	struct machine *m = &app->machine;

	if (m->plan.verdict != PLAN_SWITCH || !m->plan.disturbs)
		return;
	metrics_count_switch(&app->metrics, !is_failed(m), now_ms() - m->attempt_ms);
}

static void schedule(struct app *app)
{
	struct machine *m = &app->machine;
	uint64_t resync_ms = app->config.resync_ms;

	timer_disarm(m->retry);
	m->resync_due = false; /* this attempt was one; a failed one waits for its next */
	/* a quarter earlier at most, so that the agents of a cluster drift apart */
	timer_arm(m->resync, resync_ms - jitter_below(resync_ms / 4 + 1));
	if (m->plan.verdict == PLAN_WAIT && !is_failed(m))
		timer_arm(m->retry, WAIT_POLL_MS);
	else if (is_failed(m) && (m->plan.verdict != PLAN_REFUSE || m->plan.retry))
		timer_arm(m->retry, backoff_next_ms(&m->attempts));
}

static void log_failure(const struct app *app)
{
	const struct machine *m = &app->machine;
	char attempt[16], again[32] = "";
	uint64_t left = timer_left_ms(m->retry);

	snprintf(attempt, sizeof(attempt), "%u", m->attempt);
	if (left != UINT64_MAX)
		snprintf(again, sizeof(again), "%" PRIu64 "s", (left + 999) / 1000);
	log_error("attempt failed", "node", app->config.node_name, "mode", m->wanted, "phase",
		  phases[m->failed_in].name, "attempt", attempt, "again_in",
		  again[0] ? again : NULL, "error", err_text(&m->first), NULL);
}

static bool once_is_over(const struct app *app)
{
	const struct machine *m = &app->machine;

	return m->converged || m->plan.verdict != PLAN_WAIT || is_failed(m) ||
	       now_ms() - m->attempt_ms > app->config.evict_timeout_ms;
}

static void end_attempt(struct app *app)
{
	struct machine *m = &app->machine;

	survey_unlock(app);
	m->converged = !is_failed(m) && m->plan.verdict != PLAN_WAIT;
	m->check_staged = is_failed(m);
	m->quiet = false;
	if (m->converged)
		backoff_reset(&m->attempts);
	ready_set(app, m->converged);
	count_switch(app);
	schedule(app);
	if (is_failed(m))
		log_failure(app);
	if (app->stopping)
		app_leave(app, 0);
	else if (app->config.once && once_is_over(app))
		app_leave(app, m->converged ? 0 : 1);
	else
		machine_look(app);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, const char *s) /* FNV-1a */
{
	for (; s && *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return h;
}

static struct wish wish_of(const struct k8s_node *node)
{
	const char *label = k8s_map_get(&node->labels, LABEL_MODE);
	struct wish w = { .has_label = label != NULL };

	if (label)
		str_copy(w.label, sizeof(w.label), label);
	w.call = hash(0xcbf29ce484222325, node->uid);
	w.call = hash(w.call, k8s_map_get(&node->annotations, ANNOTATION_RETRY));
	return w;
}

static bool wish_equal(const struct wish *a, const struct wish *b)
{
	return a->has_label == b->has_label && str_eq(a->label, b->label) && a->call == b->call;
}

static void begin(struct app *app, const struct wish *wish, bool again)
{
	struct machine *m = &app->machine;
	enum gpu_mode mode;
	const char *wanted;

	if (!m->begun || !wish_equal(&m->wish, wish)) {
		backoff_reset(&m->attempts);
		backoff_reset(&m->drifts);
		m->attempt = 0;
		again = true;
	}
	if (again || m->attempt == 0)
		m->attempt++;
	m->quiet = m->begun && !is_failed(m) && m->plan.verdict == PLAN_WAIT && m->attempt > 1;
	if (!m->quiet || !m->attempt_ms)
		m->attempt_ms = now_ms();
	m->begun = true;
	m->wish = *wish;
	survey_host(app);
	plan_wish(wish->has_label ? wish->label : NULL, &app->config, app->tee, &wanted, &mode);
	str_copy(m->wanted, sizeof(m->wanted), wanted);
	m->retry_due = m->resync_due = m->drift_due = false;
	m->touched = m->repaired = false;
	m->first = ERR_INIT;
	m->failed_in = IDLE;
	timer_disarm(m->retry);
	timer_disarm(m->drift);
	timer_disarm(m->move);
	enter(app, PLAN);
}

void machine_look(struct app *app)
{
	struct machine *m = &app->machine;
	const struct k8s_node *node = app_node(app);
	struct wish wish;

	if (app->stopping || !node || !node->exists || (m->phase != IDLE && !m->pausing))
		return;
	wish = wish_of(node);
	if (!m->begun || !wish_equal(&wish, &m->wish)) {
		begin(app, &wish, true);
		return;
	}
	if (m->pausing)
		return;
	if (m->retry_due || m->resync_due || m->drift_due) {
		if (m->resync_due)
			m->check_staged = true;
		begin(app, &wish, m->retry_due);
	} else if (report_differs(app) && timer_left_ms(m->drift) == UINT64_MAX) {
		timer_arm(m->drift, backoff_next_ms(&m->drifts));
	}
}

/* What waits because the API server was away does not sit out its pause. */
void machine_server_is_back(struct app *app)
{
	struct machine *m = &app->machine;
	bool lost = m->pausing || (m->phase == IDLE && m->first.kind == ERR_TRANSIENT);

	if (lost && timer_left_ms(m->retry) != UINT64_MAX)
		timer_arm(m->retry, jitter_below(BACK_WITHIN_MS));
}

static void on_retry(struct source *s, void *arg)
{
	struct app *app = arg;
	struct machine *m = &app->machine;

	(void)s;
	if (m->pausing) {
		enter(app, m->phase);
		return;
	}
	m->retry_due = true;
	machine_look(app);
}

/* --once and --dry-run do not wait for ever for a server that is away. */
static void on_patience(struct source *s, void *arg)
{
	struct app *app = arg;

	(void)s;
	if (app->machine.begun)
		return;
	log_error("the node's labels could not be read in time", "node", app->config.node_name,
		  NULL);
	app_leave(app, 1);
}

static void on_resync(struct source *s, void *arg)
{
	struct app *app = arg;

	(void)s;
	backoff_reset(&app->machine.drifts);
	app->machine.resync_due = true;
	machine_look(app);
}

static void on_drift(struct source *s, void *arg)
{
	struct app *app = arg;

	(void)s;
	app->machine.drift_due = app->machine.phase == IDLE && report_differs(app);
	machine_look(app);
}

void machine_stop(struct app *app)
{
	struct machine *m = &app->machine;

	if (app->stopping)
		return;
	app->stopping = true;
	app->leave_deadline_ms = now_ms() + STOP_LIMIT_MS;
	timer_arm(app->leave, STOP_LIMIT_MS);
	if (m->phase == IDLE || m->pausing)
		app_leave(app, 0);
	else
		phase_interrupt(app);
}

bool machine_failed(const struct app *app)
{
	return is_failed(&app->machine);
}

int machine_init(struct app *app, struct err *err)
{
	struct machine *m = &app->machine;

	m->first = m->pending = m->plan.why = ERR_INIT;
	m->plan.in_force = IN_FORCE_UNKNOWN;
	m->check_staged = true;
	m->attempts = (struct backoff){ app->config.retry_base_ms, app->config.retry_cap_ms, 0 };
	m->writes = (struct backoff){ WRITE_MS, MINUTE_MS / 2, 0 };
	m->drifts = (struct backoff){ DRIFT_MS, MINUTE_MS, 0 };
	if (loop_add_timer(app->loop, on_move, app, &m->move, err) < 0 ||
	    loop_add_timer(app->loop, on_limit, app, &m->limit, err) < 0 ||
	    loop_add_timer(app->loop, on_retry, app, &m->retry, err) < 0 ||
	    loop_add_timer(app->loop, on_resync, app, &m->resync, err) < 0)
		return -1;
	if (loop_add_timer(app->loop, on_drift, app, &m->drift, err) < 0 ||
	    loop_add_timer(app->loop, on_patience, app, &m->patience, err) < 0)
		return -1;
	if (app->config.once || app->config.dry_run)
		timer_arm(m->patience, ONCE_LIMIT_MS);
	return 0;
}
