/* SPDX-License-Identifier: Apache-2.0 */
/* phases - one short function per phase: starts its work, and a callback ends it with machine_done(). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "base/log.h"
#include "base/str.h"

#define DRAINED_AGAIN_MS 250

/* --- plan ------------------------------------------------------------------------------------- */

static void make_plan(struct app *app)
{
	const struct wish *wish = &app->machine.wish;
	struct plan_input in = {
		.label = wish->has_label ? wish->label : NULL,
		.config = &app->config,
		.tee = app->tee,
		.lockdown = app->lockdown,
		.devices = &app->devices,
	};

	plan_make(&in, &app->machine.plan);
}

/* Without a list of devices nothing can be said about them. */
static void plan_nothing(struct app *app, const struct err *why)
{
	struct plan *p = &app->machine.plan;

	app->devices.n = 0;
	*p = (struct plan){
		.verdict = PLAN_REFUSE, .retry = true, .reason = "DeviceError", .why = *why
	};
	p->in_force = IN_FORCE_UNKNOWN;
	machine_done(app, why);
}

static void print_plan(struct app *app)
{
	struct err err = ERR_INIT;

	if (dryrun_print(app, &err) < 0) {
		log_error("cannot print the plan", "error", err_text(&err), NULL);
		app_leave(app, 1);
		return;
	}
	app_leave(app, app->machine.plan.verdict == PLAN_REFUSE ? 1 : 0);
}

static void on_surveyed(struct app *app, const struct err *err)
{
	struct machine *m = &app->machine;

	if (err->kind != ERR_NONE) {
		plan_nothing(app, err);
		return;
	}
	make_plan(app);
	if (app->config.dry_run) {
		print_plan(app);
		return;
	}
	if (m->plan.verdict != PLAN_KEEP && m->plan.verdict != PLAN_LEAVE) {
		m->converged = false;
		ready_set(app, false);
	}
	if (m->plan.verdict == PLAN_WAIT && !m->quiet) {
		log_info("waiting", "node", app->config.node_name, "mode", m->wanted, "reason",
			 err_text(&m->plan.why), NULL);
		k8s_event(app->events, true, EVENT_SWITCHING, err_text(&m->plan.why));
	}
	machine_done(app, m->plan.verdict == PLAN_REFUSE ? &m->plan.why : NULL);
}

/* Knobs are compared with what is wanted; when that is no mode, with off: the answer then still tells
 * whether something is staged that is not in force. */
void phase_plan(struct app *app)
{
	enum gpu_mode mode = GPU_MODE_OFF;

	if (!gpu_mode_parse(app->machine.wanted, &mode))
		mode = GPU_MODE_OFF;
	survey_start(app, mode, app->machine.check_staged, on_surveyed);
}

/* --- announce, evict -------------------------------------------------------------------------- */

bool phase_disturbs(const struct app *app)
{
	const struct plan *p = &app->machine.plan;

	return p->verdict == PLAN_SWITCH && p->disturbs;
}

static void announce(struct app *app)
{
	struct err err = ERR_INIT;

	if (report_announce(app, &err) < 0)
		machine_done(app, &err);
}

static void on_listed(void *arg, unsigned missing)
{
	struct app *app = arg;

	app->missing = missing;
	announce(app);
}

static void on_evicted(void *arg, const struct err *err)
{
	struct app *app = arg;

	app->evict = NULL;
	machine_done(app, err);
}

/* The pods are listed before the operands are paused: afterwards some may be gone already. */
void phase_announce(struct app *app)
{
	struct err err = ERR_INIT;
	unsigned running = app->config.evict ? app_running_operands(app) : 0;
	bool waits = app->config.evict && (running || app_paused_operands(app));
	struct evict_config config = {
		.ns = waits ? app->config.operator_namespace : NULL,
		.node = app->config.node_name,
		.expect = running,
		.drain = app->machine.plan.drain,
		.timeout_ms = app->config.evict_timeout_ms,
		.on_listed = on_listed,
		.on_done = on_evicted,
		.arg = app,
	};

	app->missing = 0;
	if (!waits && !config.drain)
		announce(app);
	else if (evict_start(app->loop, app->client, &config, &app->evict, &err) < 0)
		machine_done(app, &err);
}

bool phase_evict_needed(const struct app *app)
{
	return app->evict != NULL;
}

void phase_evict(struct app *app)
{
	if (app->missing)
		report_missing_pods(app, app->missing);
	evict_go(app->evict, app->config.evict ? app_paused_operands(app) : 0);
}

/* --- switch ----------------------------------------------------------------------------------- */

static void on_note(void *arg, const struct gpu_dev *dev, enum log_level level, const char *text)
{
	(void)arg;
	log_event(level, text, "bdf", bdf_str(dev->bdf), NULL);
}

static void on_step(void *arg, enum gpu_switch_step step)
{
	const struct app *app = arg;

	log_debug("step", "node", app->config.node_name, "step", gpu_switch_step_names[step], NULL);
}

static struct device *device_at(struct app *app, struct bdf bdf)
{
	for (size_t i = 0; i < app->devices.n; i++)
		if (bdf_equal(app->devices.item[i].dev.bdf, bdf))
			return &app->devices.item[i];
	return NULL;
}

/* A device that was not switched because another one failed is not the cause. */
static bool is_consequence(const char *text)
{
	return strstr(text, ": not switched, as ") != NULL;
}

/* What a device is left in, and the attempt's error: the first cause. */
static void take_result(struct app *app, const struct gpu_result *r, struct err *cause)
{
	struct device *d = device_at(app, r->bdf);

	if (!d)
		return;
	d->active = r->active;
	if (r->ok)
		return;
	str_copy(d->error, sizeof(d->error), r->error);
	if (cause->kind == ERR_NONE ||
	    (is_consequence(err_text(cause)) && !is_consequence(r->error)))
		err_set(cause, r->error_kind, "%s", r->error);
}

static void on_switched(void *arg, const struct gpu_result *result, size_t n)
{
	struct app *app = arg;
	struct err first = ERR_INIT;

	app->gpu_switch = NULL;
	for (size_t i = 0; i < n; i++)
		take_result(app, &result[i], &first);
	app->machine.plan.in_force = plan_in_force(&app->devices, app->machine.plan.skip);
	machine_done(app, &first);
}

static void start_switch(struct app *app)
{
	struct gpu_switch_dev dev[GPU_MAX_DEVICES];
	const struct plan *p = &app->machine.plan;
	struct err err = ERR_INIT;
	struct gpu_switch_spec spec = { .loop = app->loop,
					.host = &app->host,
					.dev = dev,
					.mode = p->mode,
					.on_step = on_step,
					.on_note = on_note,
					.on_done = on_switched,
					.arg = app };

	for (size_t i = 0; i < app->devices.n; i++) {
		struct device *d = &app->devices.item[i];

		if (p->need[i] == GPU_NEED_NOTHING && !d->unbound)
			continue;
		app->machine.touched |= p->need[i] != GPU_NEED_NOTHING;
		dev[spec.n++] = (struct gpu_switch_dev){
			.dev = &d->dev,
			.lock_fd = d->lock_fd,
			.active = d->active,
			.staged = d->staged,
		};
	}
	if (gpu_switch_start(&spec, &app->gpu_switch, &err) < 0)
		machine_done(app, &err);
}

/* Those who used the devices have left: now they can be read and locked.  A process may outlive its pod
 * by a moment. */
static void on_drained(struct app *app, const struct err *err)
{
	struct machine *m = &app->machine;
	struct err why = *err;

	if (why.kind == ERR_NONE)
		make_plan(app);
	if (why.kind == ERR_NONE && m->plan.drain &&
	    now_ms() - m->phase_ms < app->config.evict_timeout_ms) {
		timer_arm(app->drained_again, DRAINED_AGAIN_MS);
		return;
	}
	if (why.kind == ERR_NONE && m->plan.drain)
		err_set(&why, ERR_BUSY, "a device is still in use after draining");
	if (why.kind == ERR_NONE)
		why = m->plan.why;
	if (why.kind != ERR_NONE)
		machine_done(app, &why);
	else
		start_switch(app);
}

static void on_drained_again(struct source *s, void *arg)
{
	(void)s;
	phase_switch(arg);
}

bool phase_switch_needed(const struct app *app)
{
	return app->machine.plan.verdict == PLAN_SWITCH;
}

void phase_switch(struct app *app)
{
	struct machine *m = &app->machine;

	if (m->plan.drain)
		survey_start(app, m->plan.mode, m->check_staged, on_drained);
	else
		start_switch(app);
}

/* --- verify ----------------------------------------------------------------------------------- */

bool phase_verify_needed(const struct app *app)
{
	return app->machine.touched;
}

static void log_device(const struct app *app, const struct device *d)
{
	log_event(d->error[0] ? LOG_WARN : LOG_INFO, "device", "node", app->config.node_name, "bdf",
		  bdf_str(d->dev.bdf), "chip", d->dev.chip_name, "cc", gpu_cc_names[d->active.cc],
		  "ppcie", gpu_ppcie_names[d->active.ppcie], "error", d->error[0] ? d->error : NULL,
		  NULL);
}

/* Each device was read back after its reset, before its driver got it again; here the node as a whole
 * is judged by what was read. */
void phase_verify(struct app *app)
{
	struct machine *m = &app->machine;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < app->devices.n; i++)
		log_device(app, &app->devices.item[i]);
	if (m->plan.in_force != (enum in_force)m->plan.mode)
		err_set(&err, ERR_DEVICE, "mode %s is wanted, but %s is in force", m->wanted,
			in_force_names[m->plan.in_force]);
	machine_done(app, &err);
}

/* --- restore ---------------------------------------------------------------------------------- */

/* Knobs that say something else than what is in force would take effect with the next reset, such as
 * that of a VM that starts. */
static bool wants_repair(const struct device *d, enum gpu_mode *mode)
{
	bool has_modes =
		d->active.cc != GPU_CC_UNSUPPORTED || d->active.ppcie != GPU_PPCIE_UNSUPPORTED;

	if (!has_modes || d->lock_fd < 0 || d->dev.in_use[0] || !plan_mode_of(d, mode))
		return false;
	if (d->staged == GPU_STAGED_SAME)
		return *mode != d->compared;
	return d->staged == GPU_STAGED_DIFFERENT;
}

static bool is_undone(const struct app *app)
{
	return machine_failed(app) || app->machine.plan.verdict == PLAN_WAIT;
}

static size_t repairs(const struct app *app, struct gpu_job *job)
{
	size_t n = 0;

	/* a switch that fails puts knobs back itself */
	if (!is_undone(app) || app->machine.touched || app->machine.repaired)
		return 0;
	for (size_t i = 0; i < app->devices.n; i++) {
		const struct device *d = &app->devices.item[i];
		enum gpu_mode mode;

		if (!wants_repair(d, &mode))
			continue;
		job[n++] = (struct gpu_job){
			.dev = &d->dev, .op = GPU_OP_STAGE, .mode = mode, .lock_fd = d->lock_fd
		};
	}
	return n;
}

/* The devices are done with; telling the cluster may take long. */
static void restore_operands(struct app *app)
{
	struct err err = ERR_INIT;

	survey_unlock(app);
	if (report_restore(app, &err) < 0)
		machine_done(app, &err);
}

static void on_repaired(void *arg, const struct gpu_result *result, size_t n)
{
	struct app *app = arg;

	app->jobs = NULL;
	for (size_t i = 0; i < n; i++) {
		struct device *d = device_at(app, result[i].bdf);

		if (result[i].ok && d)
			d->staged = GPU_STAGED_UNKNOWN;
		else if (!result[i].ok)
			log_warn("a device keeps a mode staged that is not in force", "bdf",
				 bdf_str(result[i].bdf), "error", result[i].error, NULL);
	}
	restore_operands(app);
}

bool phase_restore_needed(const struct app *app)
{
	struct gpu_job job[GPU_MAX_DEVICES];

	return app_paused_operands(app) || repairs(app, job);
}

void phase_restore(struct app *app)
{
	struct gpu_job job[GPU_MAX_DEVICES];
	struct err err = ERR_INIT;
	struct gpu_jobs_spec spec = { .loop = app->loop,
				      .host = &app->host,
				      .job = job,
				      .on_note = on_note,
				      .on_done = on_repaired,
				      .arg = app };

	spec.n = repairs(app, job);
	app->machine.repaired = true;
	if (!spec.n || gpu_jobs_start(&spec, &app->jobs, &err) < 0)
		restore_operands(app);
}

/* --- report ----------------------------------------------------------------------------------- */

void phase_report(struct app *app)
{
	struct err err = ERR_INIT;

	survey_unlock(app);
	if (report_status(app, &err) < 0)
		machine_done(app, &err);
}

/* --- all of them ------------------------------------------------------------------------------ */

int phases_init(struct app *app, struct err *err)
{
	if (survey_init(app, err) < 0 || report_init(app, err) < 0)
		return -1;
	return loop_add_timer(app->loop, on_drained_again, app, &app->drained_again, err);
}

/* --- giving up -------------------------------------------------------------------------------- */

void phase_cancel(struct app *app)
{
	if (!app->drained_again) /* made last: nothing was ever begun */
		return;
	timer_disarm(app->drained_again);
	survey_cancel(app);
	report_cancel(app);
	evict_cancel(app->evict);
	app->evict = NULL;
	gpu_switch_free(app->gpu_switch);
	app->gpu_switch = NULL;
	gpu_jobs_free(app->jobs);
	app->jobs = NULL;
}

void phase_interrupt(struct app *app)
{
	struct err err = ERR_INIT;

	err_set(&err, ERR_INTERRUPTED, "asked to stop");
	if (app->gpu_switch) {
		gpu_switch_interrupt(app->gpu_switch);
	} else if (app->jobs) {
		gpu_jobs_interrupt(app->jobs);
	} else if (app->machine.phase == PLAN ||
		   (app->machine.phase == SWITCH && app->machine.plan.drain)) {
		survey_interrupt(app);
	} else if (app->evict && !app->report.call) { /* a patch on its way is waited for */
		evict_cancel(app->evict);
		app->evict = NULL;
		machine_done(app, &err);
	}
}
