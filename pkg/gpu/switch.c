/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch - the sequence as a table of steps.  Each step is one batch of jobs over the devices that
 * want it; the batch's end is the barrier.  Whatever fails leads through roll-back to bind.
 */
#include "gpu/switch.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum step { UNBIND, REVIVE, OFF_STAGE, OFF_RESET, STAGE, RESET, ROLLBACK, BIND, DONE, N_STEPS };

const char *const gpu_switch_step_names[] = { "unbind",	 "revive", "ppcie-off", "stage",
					      "unstage", "reset",  "bind",	"done" };

struct device {
	struct gpu_switch_dev in;
	enum gpu_need need;
	bool dirty; /* knobs were written that no reset has latched */
	struct gpu_undo undo;
	struct gpu_result result;
	bool failed;
};

struct gpu_switch {
	struct gpu_switch_spec spec;
	struct gpu_jobs *jobs; /* of the step that runs; NULL between steps */
	struct source *timer;
	enum step step;
	bool interrupted;
	char first_error[512];
	size_t n_job;
	size_t job_dev[GPU_MAX_DEVICES]; /* which device each job is for */
	struct device dev[];
};

void gpu_switch_plan(const struct gpu_switch_dev *dev, size_t n, enum gpu_mode mode,
		     enum gpu_need *out)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		bool there = gpu_pair_equal(dev[i].active, gpu_wanted(dev[i].dev, mode));

		out[i] = !there					 ? GPU_NEED_RESET
			 : dev[i].staged == GPU_STAGED_DIFFERENT ? GPU_NEED_STAGE
								 : GPU_NEED_NOTHING;
		any |= !there;
	}
	for (size_t i = 0; i < n && any && mode == GPU_MODE_PPCIE; i++)
		out[i] = GPU_NEED_RESET;
}

/* --- which devices a step is for ------------------------------------------------------------- */

static bool wants_unbind(const struct gpu_switch *s, const struct device *d)
{
	(void)s;
	return d->need != GPU_NEED_NOTHING && *d->in.dev->driver;
}

static bool wants_revive(const struct gpu_switch *s, const struct device *d)
{
	return !s->spec.no_reset && d->need == GPU_NEED_RESET && d->in.active.cc == GPU_CC_UNKNOWN;
}

static bool wants_ppcie_off(const struct gpu_switch *s, const struct device *d)
{
	return (s->spec.mode == GPU_MODE_ON || s->spec.mode == GPU_MODE_DEVTOOLS) &&
	       !s->spec.no_reset && d->need == GPU_NEED_RESET && d->in.active.ppcie == GPU_PPCIE_ON;
}

static bool wants_stage(const struct gpu_switch *s, const struct device *d)
{
	(void)s;
	return d->need != GPU_NEED_NOTHING;
}

static bool wants_reset(const struct gpu_switch *s, const struct device *d)
{
	return d->need == GPU_NEED_RESET && !s->spec.no_reset;
}

static bool wants_rollback(const struct gpu_switch *s, const struct device *d)
{
	(void)s;
	return d->dirty && d->need == GPU_NEED_RESET;
}

static bool wants_bind(const struct gpu_switch *s, const struct device *d)
{
	struct gpu_record record;
	struct err err = ERR_INIT;

	return gpu_record_load(s->spec.host, d->in.dev->bdf, &record, &err) < 0 || *record.driver;
}

/* --- what a step does ------------------------------------------------------------------------ */

static void job_mode(const struct gpu_switch *s, const struct device *d, struct gpu_job *job)
{
	(void)d;
	job->mode = s->spec.mode;
}

static void job_off(const struct gpu_switch *s, const struct device *d, struct gpu_job *job)
{
	(void)s;
	(void)d;
	job->mode = GPU_MODE_OFF;
}

static void job_any(const struct gpu_switch *s, const struct device *d, struct gpu_job *job)
{
	job_mode(s, d, job);
	job->any_mode = true;
}

/* Knobs that say what is active are better than those we found: these may have been left by somebody
 * who was killed. */
static void job_rollback(const struct gpu_switch *s, const struct device *d, struct gpu_job *job)
{
	(void)s;
	job->undo = d->undo;
	for (int m = 0; m < GPU_N_MODES; m++) {
		if (!gpu_pair_equal(d->in.active, gpu_wanted(d->in.dev, (enum gpu_mode)m)))
			continue;
		job->op = GPU_OP_STAGE;
		job->mode = (enum gpu_mode)m;
		return;
	}
}

static const struct row {
	enum gpu_switch_step name;
	enum gpu_op op;
	bool (*wants)(const struct gpu_switch *s, const struct device *d);
	void (*fill)(const struct gpu_switch *s, const struct device *d, struct gpu_job *job);
	enum step on_ok, on_fail;
} rows[N_STEPS] = {
	/* clang-format off */
	[UNBIND]    = { GPU_SWITCH_UNBIND,    GPU_OP_UNBIND,  wants_unbind,    job_mode,     REVIVE,    BIND },
	[REVIVE]    = { GPU_SWITCH_REVIVE,    GPU_OP_RESET,   wants_revive,    job_any,      OFF_STAGE, BIND },
	[OFF_STAGE] = { GPU_SWITCH_PPCIE_OFF, GPU_OP_STAGE,   wants_ppcie_off, job_off,      OFF_RESET, ROLLBACK },
	[OFF_RESET] = { GPU_SWITCH_PPCIE_OFF, GPU_OP_RESET,   wants_ppcie_off, job_off,      STAGE,     ROLLBACK },
	[STAGE]     = { GPU_SWITCH_STAGE,     GPU_OP_STAGE,   wants_stage,     job_mode,     RESET,     ROLLBACK },
	[RESET]     = { GPU_SWITCH_RESET,     GPU_OP_RESET,   wants_reset,     job_mode,     BIND,      ROLLBACK },
	[ROLLBACK]  = { GPU_SWITCH_UNSTAGE,   GPU_OP_UNSTAGE, wants_rollback,  job_rollback, BIND,      BIND },
	[BIND]      = { GPU_SWITCH_BIND,      GPU_OP_BIND,    wants_bind,      job_mode,     DONE,      DONE },
	/* clang-format on */
};

static void switch_release(struct gpu_switch *s)
{
	source_free(s->timer);
	free(s);
}

static void error_keep(struct gpu_switch *s, struct device *d, const struct gpu_result *r)
{
	if (!*s->first_error)
		str_copy(s->first_error, sizeof(s->first_error), r->error);
	if (d->failed)
		return; /* its first error is the cause */
	d->failed = true;
	d->result.error_kind = r->error_kind;
	d->result.error_code = r->error_code;
	str_copy(d->result.error, sizeof(d->result.error), r->error);
}

static void result_take(struct gpu_switch *s, struct device *d, const struct gpu_result *r)
{
	if (r->op == GPU_OP_STAGE && s->step != ROLLBACK) {
		d->undo = r->undo;
		/* A child that died may have written, too. */
		d->dirty = d->dirty || r->undo.n > 0 || !r->ok;
	}
	if (r->op == GPU_OP_RESET) {
		if (r->was_reset) /* a mode that did not take effect is still staged */
			d->dirty = !r->ok && r->active.cc != GPU_CC_UNKNOWN;
		/* who died at it, or gave up on it, cannot vouch for what was in force before */
		if (r->was_reset || r->active.cc != GPU_CC_UNKNOWN ||
		    (!r->ok && r->error_kind != ERR_INTERRUPTED))
			d->in.active = r->active;
		if (s->step == REVIVE && s->spec.mode != GPU_MODE_PPCIE &&
		    gpu_pair_equal(r->active, gpu_wanted(d->in.dev, s->spec.mode)))
			d->need = GPU_NEED_STAGE; /* it had been staged, and now is in force */
	}
	if (!r->ok)
		error_keep(s, d, r);
}

static void finish(struct gpu_switch *s)
{
	struct gpu_result result[GPU_MAX_DEVICES];

	if (s->interrupted && !*s->first_error)
		str_copy(s->first_error, sizeof(s->first_error), "it was asked to stop");
	for (size_t i = 0; i < s->spec.n; i++) {
		struct device *d = &s->dev[i];

		d->result.bdf = d->in.dev->bdf;
		d->result.op = s->spec.no_reset ? GPU_OP_STAGE : GPU_OP_RESET;
		d->result.active = d->in.active;
		d->result.ok = !d->failed &&
			       (!*s->first_error || d->need == GPU_NEED_NOTHING ||
				gpu_pair_equal(d->in.active, gpu_wanted(d->in.dev, s->spec.mode)));
		if (!d->result.ok && !*d->result.error) {
			d->result.error_kind = s->interrupted ? ERR_INTERRUPTED : ERR_DEVICE;
			snprintf(d->result.error, sizeof(d->result.error),
				 "%s: not switched, as %.400s", bdf_str(d->in.dev->bdf),
				 s->first_error);
		}
		result[i] = d->result;
	}
	if (s->spec.on_step)
		s->spec.on_step(s->spec.arg, GPU_SWITCH_DONE);
	s->spec.on_done(s->spec.arg, result, s->spec.n);
	switch_release(s);
}

static void step_enter(struct gpu_switch *s, enum step step);

static void on_jobs_done(void *arg, const struct gpu_result *result, size_t n)
{
	struct gpu_switch *s = arg;
	bool ok = true;

	s->jobs = NULL; /* they free themselves */
	for (size_t i = 0; i < n; i++) {
		result_take(s, &s->dev[s->job_dev[i]], &result[i]);
		ok = ok && result[i].ok;
	}
	step_enter(s, ok && !(s->interrupted && s->step < ROLLBACK) ? rows[s->step].on_ok
								    : rows[s->step].on_fail);
}

static void on_note(void *arg, const struct gpu_dev *dev, enum log_level level, const char *text)
{
	const struct gpu_switch *s = arg;

	if (s->spec.on_note)
		s->spec.on_note(s->spec.arg, dev, level, text);
}

static size_t jobs_make(struct gpu_switch *s, enum step step, struct gpu_job *job)
{
	const struct row *row = &rows[step];
	size_t n = 0;

	for (size_t i = 0; i < s->spec.n; i++) {
		const struct device *d = &s->dev[i];

		if (!row->wants(s, d))
			continue;
		job[n] = (struct gpu_job){ .dev = d->in.dev,
					   .op = row->op,
					   .lock_fd = d->in.lock_fd };
		row->fill(s, d, &job[n]);
		s->job_dev[n++] = i;
	}
	return n;
}

/* A step that could not even begin fails for all its devices. */
static void step_broken(struct gpu_switch *s, size_t n, const struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct device *d = &s->dev[s->job_dev[i]];
		struct gpu_result r = { .error_kind = err->kind };

		snprintf(r.error, sizeof(r.error), "%s: %.400s", bdf_str(d->in.dev->bdf),
			 err_text(err));
		error_keep(s, d, &r);
	}
	step_enter(s, rows[s->step].on_fail);
}

static void step_enter(struct gpu_switch *s, enum step step)
{
	struct gpu_job job[GPU_MAX_DEVICES];
	struct gpu_jobs_spec spec = { .loop = s->spec.loop,
				      .host = s->spec.host,
				      .job = job,
				      .trace = s->spec.trace,
				      .on_note = on_note,
				      .on_done = on_jobs_done,
				      .arg = s };
	struct err err = ERR_INIT;

	for (; step != DONE && !(spec.n = jobs_make(s, step, job)); step = rows[step].on_ok)
		;
	s->step = step;
	if (step == DONE) {
		timer_arm(s->timer, 0);
		return;
	}
	if (s->spec.on_step)
		s->spec.on_step(s->spec.arg, rows[step].name);
	if (gpu_jobs_start(&spec, &s->jobs, &err) < 0)
		step_broken(s, spec.n, &err);
}

static void on_timer_fired(struct source *src, void *arg)
{
	struct gpu_switch *s = arg;

	(void)src;
	if (s->step == DONE)
		finish(s);
	else
		step_enter(s, s->interrupted ? BIND : UNBIND);
}

/* Nothing of a device in use is touched. */
static int all_free(const struct gpu_switch *s, struct err *err)
{
	AUTO_MEM struct gpu_dev *now = calloc(s->spec.n ? s->spec.n : 1, sizeof(*now));

	if (!now)
		return err_nomem(err);
	for (size_t i = 0; i < s->spec.n; i++)
		now[i] = *s->dev[i].in.dev;
	if (gpu_scan_users(s->spec.host, now, s->spec.n, err) < 0)
		return -1;
	for (size_t i = 0; i < s->spec.n; i++) {
		struct gpu_dev *dev = s->dev[i].in.dev;

		str_copy(dev->driver, sizeof(dev->driver), now[i].driver);
		str_copy(dev->in_use, sizeof(dev->in_use), now[i].in_use);
		if (*dev->in_use && s->dev[i].need != GPU_NEED_NOTHING)
			return err_set(err, ERR_BUSY, "%s: in use: %s", bdf_str(dev->bdf),
				       dev->in_use);
	}
	return 0;
}

static int switch_plan(struct gpu_switch *s, struct err *err)
{
	struct gpu_switch_dev dev[GPU_MAX_DEVICES];
	enum gpu_need need[GPU_MAX_DEVICES];

	for (size_t i = 0; i < s->spec.n; i++) {
		dev[i] = s->spec.dev[i];
		if (gpu_can(dev[i].dev, s->spec.mode, err) < 0)
			return -1;
	}
	gpu_switch_plan(dev, s->spec.n, s->spec.mode, need);
	for (size_t i = 0; i < s->spec.n; i++) {
		s->dev[i].in = dev[i];
		s->dev[i].need = need[i];
	}
	return all_free(s, err);
}

int gpu_switch_start(const struct gpu_switch_spec *spec, struct gpu_switch **out, struct err *err)
{
	struct gpu_switch *s;

	if (spec->n > GPU_MAX_DEVICES)
		return err_set(err, ERR_INVALID, "more than %d devices", GPU_MAX_DEVICES);
	s = calloc(1, sizeof(*s) + spec->n * sizeof(*s->dev));
	if (!s)
		return err_nomem(err);
	s->spec = *spec;
	s->step = N_STEPS; /* not begun */
	if (switch_plan(s, err) < 0 ||
	    loop_add_timer(spec->loop, on_timer_fired, s, &s->timer, err) < 0) {
		free(s);
		return -1;
	}
	timer_arm(s->timer, 0);
	*out = s;
	return 0;
}

void gpu_switch_interrupt(struct gpu_switch *s)
{
	s->interrupted = true;
	if (s->jobs && s->step < ROLLBACK)
		gpu_jobs_interrupt(s->jobs);
}

void gpu_switch_free(struct gpu_switch *s)
{
	if (!s)
		return;
	gpu_jobs_free(s->jobs);
	switch_release(s);
}
