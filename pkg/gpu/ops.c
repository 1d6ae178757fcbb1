/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops - what a child does with its device: opens it through sysfs, does one thing, puts power back,
 * and writes the record.  What is written before a side effect is what the next start needs when we
 * are killed after it.
 */
#include "gpu/ops.h"

#include <string.h>

#include "base/str.h"
#include "gpu/chip.h"

struct session {
	const struct pci_host *host;
	struct pci_device pci;
	struct gpu gpu;
	struct gpu_record record, stored;
	const struct gpu_env *env;
	bool open;
};

static const char *trace_name(void *arg, uint32_t off)
{
	const struct session *s = arg;
	const struct gpu_chip *chip = s->gpu.chip;

	return gpu_reg_name(chip ? chip->family : NULL, off);
}

static void trace_line(void *arg, const char *line)
{
	const struct session *s = arg;

	s->env->note(s->env->arg, LOG_DEBUG, line);
}

static bool record_equal(const struct gpu_record *a, const struct gpu_record *b)
{
	return strcmp(a->driver, b->driver) == 0 && strcmp(a->override_, b->override_) == 0 &&
	       strcmp(a->power_control, b->power_control) == 0 &&
	       gpu_pair_equal(a->active, b->active);
}

static int record_put(struct session *s, struct bdf b, struct err *err)
{
	if (record_equal(&s->record, &s->stored))
		return 0;
	if (gpu_record_save(s->host, b, &s->record, err) < 0)
		return err_wrap(err, "remembering it");
	s->stored = s->record;
	return 0;
}

/* power/control's text is remembered before it is changed.  One that an earlier, killed run left in
 * the record is what has to come back; the register now says `on`. */
static int power_remember(struct session *s, struct bdf b, struct err *err)
{
	struct pci_power now;

	if (pci_power_peek(&s->pci, &now, err) < 0)
		return -1;
	if (*now.control)
		str_copy(s->record.power_control, sizeof(s->record.power_control), now.control);
	return record_put(s, b, err);
}

static void session_close(struct session *s)
{
	struct err err = ERR_INIT;
	struct bdf b = s->pci.bdf;

	if (s->open) {
		if (*s->record.power_control)
			str_copy(s->gpu.power.control, sizeof(s->gpu.power.control),
				 s->record.power_control);
		gpu_close(&s->gpu);
		*s->record.power_control = '\0';
	}
	pci_device_close(&s->pci);
	if (record_put(s, b, &err) < 0 && s->env->note)
		s->env->note(s->env->arg, LOG_WARN, err_text(&err));
}

static int session_open(struct session *s, const struct pci_host *h, const struct gpu_dev *dev,
			const struct gpu_env *env, struct err *err)
{
	*s = (struct session){ .host = h, .env = env, .pci.bdf = dev->bdf };
	if (gpu_record_load(h, dev->bdf, &s->record, err) < 0)
		return -1;
	s->stored = s->record;
	if (pci_sysfs_open(h, dev->bdf, &s->pci, err) < 0)
		return -1;
	if (env->trace && env->note && pci_trace(&s->pci, trace_name, trace_line, s, err) < 0)
		return -1;
	if (power_remember(s, dev->bdf, err) < 0)
		return -1;
	s->open = true; /* from here on there is power to put back */
	return gpu_open(&s->gpu, dev, &s->pci, env, err);
}

static void learn(const struct session *s, struct gpu_result *out)
{
	const struct gpu_chip *chip = s->gpu.chip;

	if (!chip)
		return;
	out->ppcie_capable = chip->ppcie;
	str_copy(out->chip_name, sizeof(out->chip_name), chip->name);
}

static void read_pair(struct session *s, struct gpu_pair pair, struct gpu_result *out)
{
	out->active = pair;
	s->record.active = pair;
}

static int op_query(struct session *s, const struct gpu_job *job, struct gpu_result *out,
		    struct err *err)
{
	struct err odd = ERR_INIT;
	struct gpu_pair pair;
	bool same;

	if (gpu_query(&s->gpu, &pair, err) < 0) {
		out->needs_reset = err->kind == ERR_TIMEOUT;
		return -1;
	}
	read_pair(s, pair, out);
	if (!job->want_staged || !s->gpu.chip->family)
		return 0;
	if (gpu_staged(&s->gpu, job->mode, &same, &odd) == 0) {
		out->staged = same ? GPU_STAGED_SAME : GPU_STAGED_DIFFERENT;
		return 0;
	}
	if (odd.kind == ERR_INTERRUPTED || odd.kind == ERR_UNSUPPORTED) {
		*err = odd; /* the second: no use to begin */
		return -1;
	}
	str_copy(out->staged_error, sizeof(out->staged_error), err_text(&odd));
	return 0;
}

static int op_reset(struct session *s, const struct gpu_job *job, struct gpu_result *out,
		    struct err *err)
{
	struct gpu_pair pair = { 0 };
	struct err odd = ERR_INIT;
	int r;

	s->record.active = pair; /* not known from now on */
	if (record_put(s, s->pci.bdf, err) < 0)
		return -1;
	if (gpu_reset(&s->gpu, &out->was_reset, err) < 0) {
		/* Refused, or half done: what is in force is what can be read now, or nobody knows. */
		if (!out->was_reset && err->kind != ERR_INTERRUPTED &&
		    gpu_query(&s->gpu, &pair, &odd) == 0)
			read_pair(s, pair, out);
		return -1;
	}
	if (s->env->note)
		s->env->note(s->env->arg, LOG_INFO, "reset");
	r = job->any_mode ? gpu_query(&s->gpu, &pair, err)
			  : gpu_verify(&s->gpu, job->mode, &pair, err);
	read_pair(s, pair, out);
	return r;
}

static int with_device(struct session *s, const struct gpu_job *job, struct gpu_result *out,
		       struct err *err)
{
	switch (job->op) {
	case GPU_OP_QUERY:
		return op_query(s, job, out, err);
	case GPU_OP_SETTINGS:
		return gpu_settings(&s->gpu, out->knob, err);
	case GPU_OP_STAGE:
		return gpu_stage(&s->gpu, job->mode, &out->undo, err);
	case GPU_OP_UNSTAGE:
		return gpu_unstage(&s->gpu, &job->undo, err);
	case GPU_OP_RESET:
		return op_reset(s, job, out, err);
	default:
		return err_set(err, ERR_INVALID, "no such operation: %d", (int)job->op);
	}
}

static int op_with_device(const struct pci_host *h, const struct gpu_job *job,
			  const struct gpu_env *env, struct gpu_result *out, struct err *err)
{
	CLEANUP(session_close) struct session s = { .env = env };
	int r = session_open(&s, h, job->dev, env, err);

	learn(&s, out);
	if (r < 0 && err->kind == ERR_UNSUPPORTED && job->op == GPU_OP_QUERY &&
	    job->dev->kind == GPU_KIND_NVSWITCH) {
		err_clear(err); /* class 068000, but no NVSwitch */
		out->is_bridge = true;
		out->active = (struct gpu_pair){ GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED };
		return 0;
	}
	return r < 0 ? r : with_device(&s, job, out, err);
}

/* The record says what to bind again before anything is unbound; driver_override keeps every other
 * driver away until then. */
static int op_unbind(const struct pci_host *h, const struct gpu_job *job, struct gpu_result *out,
		     struct err *err)
{
	struct bdf b = job->dev->bdf;
	struct gpu_record record;
	char override_[PCI_NAME_BYTES];

	if (pci_driver_current(h, b, out->driver, err) < 0)
		return -1;
	if (!*out->driver)
		return 0;
	if (!pci_driver_is_vfio(h, b, out->driver))
		return err_set(err, ERR_BUSY, "bound to driver %s", out->driver);
	if (pci_driver_override_get(h, b, override_, err) < 0 ||
	    gpu_record_load(h, b, &record, err) < 0)
		return -1;
	str_copy(record.driver, sizeof(record.driver), out->driver);
	str_copy(record.override_, sizeof(record.override_), override_);
	if (gpu_record_save(h, b, &record, err) < 0)
		return err_wrap(err, "remembering its driver");
	if (strcmp(override_, out->driver) != 0 &&
	    pci_driver_override_set(h, b, out->driver, err) < 0)
		return -1;
	return pci_driver_unbind(h, b, err);
}

static int op_bind(const struct pci_host *h, const struct gpu_job *job, struct gpu_result *out,
		   struct err *err)
{
	struct bdf b = job->dev->bdf;
	struct gpu_record record;
	char override_[PCI_NAME_BYTES];

	if (gpu_record_load(h, b, &record, err) < 0 ||
	    pci_driver_current(h, b, out->driver, err) < 0)
		return -1;
	if (*record.driver && *out->driver && strcmp(out->driver, record.driver) != 0) {
		*record.driver = *record.override_ =
			'\0'; /* somebody bound it since, and knows better */
		return gpu_record_save(h, b, &record, err);
	}
	if (*record.driver) {
		if (pci_driver_bind(h, b, record.driver, err) < 0 ||
		    pci_driver_override_get(h, b, override_, err) < 0)
			return -1;
		if (strcmp(override_, record.override_) != 0 &&
		    pci_driver_override_set(h, b, record.override_, err) < 0)
			return -1;
		*record.driver = *record.override_ = '\0';
		if (gpu_record_save(h, b, &record, err) < 0)
			return -1;
	}
	return pci_driver_current(h, b, out->driver, err);
}

/* Nothing that we know about has modes: leave its registers alone. */
static bool has_registers(const struct gpu_dev *dev)
{
	return dev->kind == GPU_KIND_NVSWITCH || dev->chip || dev->cc_capable;
}

int gpu_op_run(const struct pci_host *h, const struct gpu_job *job, const struct gpu_env *env,
	       struct gpu_result *out, struct err *err)
{
	if (job->op == GPU_OP_UNBIND)
		return op_unbind(h, job, out, err);
	if (job->op == GPU_OP_BIND)
		return op_bind(h, job, out, err);
	if (*job->dev->error)
		return err_set(err, ERR_DEVICE, "%s", job->dev->error);
	if (has_registers(job->dev))
		return op_with_device(h, job, env, out, err);
	out->active = (struct gpu_pair){ GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED };
	if (job->op == GPU_OP_QUERY || (job->mode == GPU_MODE_OFF && job->op != GPU_OP_SETTINGS))
		return 0;
	return err_set(err, ERR_UNSUPPORTED, "has no confidential computing");
}
