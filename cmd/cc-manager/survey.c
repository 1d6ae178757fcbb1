/* SPDX-License-Identifier: Apache-2.0 */
/* survey - finds the devices, locks those that nobody uses, asks their modes side by side.  Of a device
 * in use nothing is touched: what this boot's record remembers stands in for reading it. */
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

#define LOCK_AGAIN_MS 250
#define FIRST_LOOK_MS 20
#define LOCK_LIMIT_MS 10000

void survey_host(struct app *app)
{
	struct err err = ERR_INIT;

	if (pci_host_tee(&app->host, &app->tee, &err) < 0)
		log_warn("cannot tell whether this host runs confidential VMs", "error",
			 err_text(&err), NULL);
	err_clear(&err);
	if (pci_host_lockdown(&app->host, &app->lockdown, &err) < 0)
		log_warn("cannot read the kernel's lockdown mode", "error", err_text(&err), NULL);
}

static void finish(struct app *app, const struct err *err)
{
	timer_disarm(app->survey.look);
	app->survey.done(app, err);
}

static bool can_have_modes(const struct gpu_dev *dev)
{
	return dev->kind == GPU_KIND_NVSWITCH || dev->cc_capable || dev->ppcie_capable;
}

static bool is_to_be_read(const struct device *d)
{
	return can_have_modes(&d->dev) && !d->dev.in_use[0] && !d->error[0];
}

/* A device that somebody unbound and did not bind again: an earlier attempt of ours that did not come
 * to its end.  Without a record driver_override tells, which is set before anything is unbound. */
static void look_for_driver(struct app *app, struct device *d, struct gpu_record *record)
{
	char want[PCI_NAME_BYTES] = "";
	struct err err = ERR_INIT;

	if (d->dev.driver[0])
		return;
	if (!record->driver[0] &&
	    pci_driver_override_get(&app->host, d->dev.bdf, want, &err) == 0 && want[0] &&
	    pci_driver_is_vfio(&app->host, d->dev.bdf, want)) {
		str_copy(record->driver, sizeof(record->driver), want);
		str_copy(record->override_, sizeof(record->override_), want);
		if (!app->config.dry_run &&
		    gpu_record_save(&app->host, d->dev.bdf, record, &err) < 0)
			log_warn("cannot remember a driver", "bdf", bdf_str(d->dev.bdf), "error",
				 err_text(&err), NULL);
	}
	d->unbound = record->driver[0] != '\0';
}

static void take_device(struct app *app, const struct gpu_dev *dev, struct device *d)
{
	struct gpu_record record = { 0 };
	struct err err = ERR_INIT;

	*d = (struct device){ .dev = *dev, .lock_fd = -1 };
	d->recorded = (struct gpu_pair){ GPU_CC_UNKNOWN, GPU_PPCIE_UNKNOWN };
	str_copy(d->error, sizeof(d->error), dev->error);
	if (!can_have_modes(dev)) {
		d->active = (struct gpu_pair){ GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED };
		return;
	}
	if (gpu_record_load(&app->host, dev->bdf, &record, &err) < 0) {
		log_warn("cannot read what is remembered", "bdf", bdf_str(dev->bdf), "error",
			 err_text(&err), NULL);
		record = (struct gpu_record){ 0 };
	}
	d->recorded = record.active;
	if (dev->in_use[0]) {
		d->active = d->recorded;
		d->foreign_driver =
			dev->driver[0] && !pci_driver_is_vfio(&app->host, dev->bdf, dev->driver);
		return;
	}
	look_for_driver(app, d, &record);
}

static int scan(struct app *app, struct err *err)
{
	static struct gpu_list found; /* large */
	struct gpu_scan_opts opts = {
		.only = app->config.only_ids,
		.capable = app->config.capable_ids,
	};

	if (gpu_scan(&app->host, &opts, &found, err) < 0)
		return err_wrap(err, "looking for GPUs");
	survey_unlock(app);
	app->devices.n = found.n;
	for (size_t i = 0; i < found.n; i++)
		take_device(app, &found.dev[i], &app->devices.item[i]);
	return 0;
}

/* Also drops what turned out to be a bridge of another kind. */
static void take_results(struct app *app, const struct gpu_result *result, size_t n)
{
	struct device_list *l = &app->devices;
	bool drop[GPU_MAX_DEVICES] = { false };
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct device *d = &l->item[app->survey.at[i]];
		const struct gpu_result *r = &result[i];

		gpu_dev_learn(&d->dev, r);
		d->active = r->active;
		d->staged = r->staged;
		drop[app->survey.at[i]] = r->is_bridge;
		if (r->needs_reset) /* not booted: a switch begins with a reset, and then it shows */
			continue;
		if (!r->ok && r->error_kind == ERR_UNSUPPORTED && r->active.cc == GPU_CC_UNKNOWN)
			d->active = (struct gpu_pair){ GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED };
		else if (!r->ok)
			str_copy(d->error, sizeof(d->error), r->error);
		else if (app->survey.want_staged && r->staged == GPU_STAGED_UNKNOWN)
			str_copy(d->staged_error, sizeof(d->staged_error),
				 r->staged_error[0] ? r->staged_error : "its knobs cannot be read");
	}
	for (size_t i = 0; i < l->n; i++) {
		if (drop[i] && l->item[i].lock_fd >= 0)
			close(l->item[i].lock_fd);
		if (!drop[i])
			l->item[kept++] = l->item[i];
	}
	l->n = kept;
}

static void on_queried(void *arg, const struct gpu_result *result, size_t n)
{
	struct app *app = arg;
	struct err err = ERR_INIT;

	app->survey.jobs = NULL;
	for (size_t i = 0; i < n; i++)
		if (!result[i].ok && result[i].error_kind == ERR_INTERRUPTED)
			err_set(&err, ERR_INTERRUPTED, "%s", result[i].error);
	if (err.kind == ERR_NONE)
		take_results(app, result, n);
	finish(app, &err);
}

static void on_note(void *arg, const struct gpu_dev *dev, enum log_level level, const char *text)
{
	(void)arg;
	log_event(level, text, "bdf", bdf_str(dev->bdf), NULL);
}

static int query(struct app *app, struct err *err)
{
	struct survey *s = &app->survey;
	struct gpu_job job[GPU_MAX_DEVICES];
	struct err cannot = ERR_INIT;
	struct gpu_jobs_spec spec = {
		.loop = app->loop,
		.host = &app->host,
		.job = job,
		.on_note = on_note,
		.on_done = on_queried,
		.arg = app,
	};

	for (size_t i = 0; i < app->devices.n; i++) {
		struct device *d = &app->devices.item[i];

		if (!is_to_be_read(d))
			continue;
		d->compared = gpu_can(&d->dev, s->mode, &cannot) == 0 ? s->mode : GPU_MODE_OFF;
		s->at[spec.n] = i;
		job[spec.n++] = (struct gpu_job){
			.dev = &d->dev,
			.op = GPU_OP_QUERY,
			.mode = d->compared,
			.want_staged = s->want_staged,
			.lock_fd = d->lock_fd,
		};
	}
	return gpu_jobs_start(&spec, &s->jobs, err);
}

/* Whoever holds a device's lock for long uses it. */
static void take_as_used(struct device *d, const struct err *why)
{
	str_copy(d->dev.in_use, sizeof(d->dev.in_use), err_text(why));
	d->active = d->recorded;
}

/* 0: all locked that are nobody's.  1: somebody else has one, and may let go. */
static int lock_all(struct app *app, bool give_up, struct err *err)
{
	for (size_t i = 0; i < app->devices.n; i++) {
		struct device *d = &app->devices.item[i];
		struct pci_lock lock = PCI_LOCK_INIT;

		if (d->lock_fd >= 0 || !is_to_be_read(d))
			continue;
		if (pci_lock_try(&app->host, d->dev.bdf, &lock, err) == 0) {
			d->lock_fd = lock.fd;
			continue;
		}
		if (err->kind != ERR_BUSY)
			return -1;
		if (!give_up)
			return 1;
		take_as_used(d, err);
		err_clear(err);
	}
	return 0;
}

static void look_again(struct app *app, const struct err *why)
{
	struct survey *s = &app->survey;

	if (!s->said_locked)
		log_info("waiting for a device's lock", "reason", err_text(why), NULL);
	s->said_locked = true;
	timer_arm(s->look, LOCK_AGAIN_MS);
}

/* Everything is looked at anew after a wait: who had the lock may have changed it. */
static void on_look(struct source *source, void *arg)
{
	struct app *app = arg;
	struct err err = ERR_INIT;
	int r = scan(app, &err);

	(void)source;
	if (r == 0)
		r = lock_all(app, now_ms() >= app->survey.lock_deadline_ms, &err);
	if (r > 0)
		look_again(app, &err);
	else if (r < 0 || query(app, &err) < 0)
		finish(app, &err);
}

int survey_init(struct app *app, struct err *err)
{
	return loop_add_timer(app->loop, on_look, app, &app->survey.look, err);
}

void survey_start(struct app *app, enum gpu_mode mode, bool want_staged, survey_done *done)
{
	struct survey *s = &app->survey;

	s->done = done;
	s->mode = mode;
	s->want_staged = want_staged;
	s->said_locked = false;
	s->lock_deadline_ms = now_ms() + LOCK_LIMIT_MS;
	/* the watch of the node goes out first, when both are new */
	timer_arm(s->look, app->link_up ? 0 : FIRST_LOOK_MS);
}

void survey_link_is_up(struct app *app)
{
	if (app->survey.look && timer_left_ms(app->survey.look) != UINT64_MAX &&
	    !app->survey.said_locked)
		timer_arm(app->survey.look, 0);
}

void survey_interrupt(struct app *app)
{
	struct survey *s = &app->survey;
	struct err err = ERR_INIT;

	if (s->jobs) {
		gpu_jobs_interrupt(s->jobs);
		return;
	}
	err_set(&err, ERR_INTERRUPTED, "asked to stop");
	finish(app, &err);
}

void survey_cancel(struct app *app)
{
	if (app->survey.look) /* there was one */
		timer_disarm(app->survey.look);
	gpu_jobs_free(app->survey.jobs);
	app->survey.jobs = NULL;
}

void survey_unlock(struct app *app)
{
	for (size_t i = 0; i < app->devices.n; i++) {
		struct device *d = &app->devices.item[i];

		if (d->lock_fd >= 0)
			close(d->lock_fd);
		d->lock_fd = -1;
	}
}
