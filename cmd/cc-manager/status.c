/* SPDX-License-Identifier: Apache-2.0 */
/* status - puts the outcome into words for the cluster. */
#include "status.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/str.h"
#include "json/json.h"

#define NO_TEE                                                                                     \
	"; KVM on this host has neither SEV-SNP nor TDX enabled, so the node is not called ready"

static bool is_failed(const struct status_input *in)
{
	return in->failed->kind != ERR_NONE;
}

/* Stopped on the way out: nobody's wish was refused, the next start goes on. */
static bool is_interrupted(const struct status_input *in)
{
	return in->failed->kind == ERR_INTERRUPTED;
}

static bool is_waiting(const struct status_input *in)
{
	return in->plan->verdict == PLAN_WAIT && !is_failed(in);
}

const char *status_state_label(const struct status_input *in)
{
	if (is_interrupted(in) || is_waiting(in))
		return NULL;
	if (is_failed(in))
		return "failed";
	if (in->config->state_label == STATE_LABEL_RESULT)
		return "success";
	return in->plan->in_force < IN_FORCE_MIXED ? in_force_names[in->plan->in_force] : "failed";
}

static bool has_gpu(const struct device_list *devices)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->item[i].dev.kind == GPU_KIND_GPU)
			return true;
	return false;
}

const char *status_ready_label(const struct status_input *in)
{
	if (!has_gpu(in->devices))
		return "";
	switch (in->plan->in_force) {
	case IN_FORCE_ON:
	case IN_FORCE_PPCIE:
		return in->plan->tee_missing ? "" : "true";
	case IN_FORCE_OFF:
		return "false";
	default:
		return "";
	}
}

/* --- the annotation --------------------------------------------------------------------------- */

static void count(const struct device_list *devices, size_t *gpus, size_t *switches)
{
	*gpus = *switches = 0;
	for (size_t i = 0; i < devices->n; i++)
		*(devices->item[i].dev.kind == GPU_KIND_GPU ? gpus : switches) += 1;
}

void status_count_text(const struct device_list *devices, char *out, size_t size)
{
	size_t gpus, switches;

	count(devices, &gpus, &switches);
	snprintf(out, size, "%zu GPU%s", gpus, gpus == 1 ? "" : "s");
	if (switches)
		snprintf(out + strlen(out), size - strlen(out), " and %zu NVSwitch%s", switches,
			 switches == 1 ? "" : "es");
}

static const char *reason(const struct status_input *in)
{
	if (is_interrupted(in))
		return "Interrupted";
	if (is_failed(in))
		return in->plan->verdict == PLAN_REFUSE ? in->plan->reason : "SwitchFailed";
	if (in->planning)
		return "Planning";
	if (in->running)
		return "Switching";
	return in->plan->verdict == PLAN_SWITCH ? "Converged" : in->plan->reason;
}

static void message(const struct status_input *in, char *out, size_t size)
{
	char devices[64];

	status_count_text(in->devices, devices, sizeof(devices));
	if (is_failed(in))
		snprintf(out, size, "%s", err_text(in->failed));
	else if (in->planning)
		snprintf(out, size, "reading the modes of %s", devices);
	else if (is_waiting(in))
		snprintf(out, size, "waiting: %s", err_text(&in->plan->why));
	else if (in->running)
		snprintf(out, size, "switching %s to %s", devices, in->wanted);
	else if (in->plan->verdict == PLAN_LEAVE)
		snprintf(out, size, "no mode is asked for; the hardware is left alone");
	else if (!in->devices->n)
		snprintf(out, size, "there is no NVIDIA GPU on this node");
	else
		snprintf(out, size, "mode %s is in force on %s%s", in->wanted, devices,
			 in->plan->mode != GPU_MODE_OFF && in->plan->tee_missing ? NO_TEE : "");
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

static void put_device(struct json_put *w, const struct device *d)
{
	json_put_object(w);
	json_put_member_str(w, "bdf", bdf_str(d->dev.bdf));
	json_put_member_str(w, "kind", gpu_kind_names[d->dev.kind]);
	json_put_member_str(w, "chip", or_null(d->dev.chip_name));
	json_put_member_str(w, "name", or_null(d->dev.name));
	json_put_member_str(w, "ccMode", gpu_cc_names[d->active.cc]);
	json_put_member_str(w, "ppcieMode", gpu_ppcie_names[d->active.ppcie]);
	json_put_member_str(w, "error", or_null(d->error[0] ? d->error : d->staged_error));
	json_put_end(w);
}

static int render(const struct status_input *in, int64_t attempt, const char *since,
		  struct buf *out, struct err *err)
{
	struct json_put w = json_put_to(out);
	char text[sizeof(in->failed->buf) + 64];

	message(in, text, sizeof(text));
	json_put_object(&w);
	json_put_member_str(&w, "wanted", or_null(in->wanted));
	json_put_member_str(&w, "inForce", in_force_names[in->plan->in_force]);
	json_put_member_str(&w, "phase", in->phase);
	json_put_member_int(&w, "attempt", attempt);
	json_put_member_str(&w, "since", since);
	json_put_member_str(&w, "reason", reason(in));
	json_put_member_str(&w, "message", text);
	json_put_key(&w, "devices");
	json_put_array(&w);
	for (size_t i = 0; i < in->devices->n; i++)
		put_device(&w, &in->devices->item[i]);
	json_put_end(&w);
	json_put_end(&w);
	return json_put_done(&w, err);
}

struct before {
	int64_t attempt;
	char since[CLOCK_RFC3339_SIZE];
};

/* What an earlier annotation says, if it is one of ours. */
static bool read_before(const char *text, struct before *out)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct before, attempt, "attempt", INT, JSON_REQUIRED),
		JSON_FIELD(struct before, since, "since", TEXT, JSON_REQUIRED),
	};
	struct json_limits limits = { .bytes = STATUS_MAX_BYTES, .values = 4096, .depth = 8 };
	AUTO(json_free) json_t *doc = NULL;
	struct err err = ERR_INIT;

	return text && json_parse(rd_of(text, strlen(text)), limits, &doc, &err) == 0 &&
	       json_fields_read(doc, "", fields, ARRAY_LEN(fields), out, &err) == 0;
}

int status_annotation(const struct status_input *in, struct buf *out, struct err *err)
{
	char now[CLOCK_RFC3339_SIZE];
	int64_t attempt = in->attempt;
	struct before before;

	clock_rfc3339(now);
	if (!read_before(in->before, &before))
		return render(in, attempt, now, out, err);
	if (render(in, before.attempt, before.since, out, err) < 0)
		return -1;
	if (!str_eq(buf_str(out), in->before)) {
		buf_reset(out);
		return render(in, attempt, now, out, err);
	}
	if (!is_failed(in) || before.attempt == attempt)
		return 0;
	buf_reset(out);
	return render(in, attempt, before.since, out, err);
}
