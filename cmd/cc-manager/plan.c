/* SPDX-License-Identifier: Apache-2.0 */
/* plan - a list of rules, asked in order: the first that has an answer decides.  What reaches the last
 * rule may be switched. */
#include "plan.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define LABEL "nvidia.com/cc.mode"

const char *const in_force_names[IN_FORCE_N] = {
	[IN_FORCE_OFF] = "off",	    [IN_FORCE_ON] = "on",	[IN_FORCE_DEVTOOLS] = "devtools",
	[IN_FORCE_PPCIE] = "ppcie", [IN_FORCE_MIXED] = "mixed", [IN_FORCE_UNKNOWN] = "unknown",
};

const char *const plan_verdict_names[] = {
	[PLAN_LEAVE] = "leave", [PLAN_KEEP] = "keep",	  [PLAN_SWITCH] = "switch",
	[PLAN_WAIT] = "wait",	[PLAN_REFUSE] = "refuse",
};

/* --- what is in force ------------------------------------------------------------------------- */

static bool is_known(struct gpu_pair p)
{
	return p.cc != GPU_CC_UNKNOWN && p.ppcie != GPU_PPCIE_UNKNOWN;
}

static bool agrees(const struct device *d, enum gpu_mode mode)
{
	struct err err = ERR_INIT;

	return gpu_can(&d->dev, mode, &err) == 0 &&
	       gpu_pair_equal(d->active, gpu_wanted(&d->dev, mode));
}

bool plan_mode_of(const struct device *d, enum gpu_mode *out)
{
	for (*out = GPU_MODE_OFF; *out < GPU_N_MODES; (*out)++)
		if (agrees(d, *out))
			return true;
	return false;
}

enum in_force plan_in_force(const struct device_list *devices, const bool *skip)
{
	bool all[GPU_N_MODES] = { true, true, true, true };

	for (size_t i = 0; i < devices->n; i++) {
		const struct device *d = &devices->item[i];

		if (skip && skip[i])
			continue;
		if (!is_known(d->active))
			return IN_FORCE_UNKNOWN;
		for (enum gpu_mode m = GPU_MODE_OFF; m < GPU_N_MODES; m++)
			all[m] = all[m] && agrees(d, m);
	}
	for (enum gpu_mode m = GPU_MODE_OFF; m < GPU_N_MODES; m++)
		if (all[m])
			return (enum in_force)m;
	return IN_FORCE_MIXED;
}

static bool is_capable(const struct device *d)
{
	return d->dev.cc_capable || d->dev.ppcie_capable;
}

static bool has_capable(const struct device_list *devices)
{
	for (size_t i = 0; i < devices->n; i++)
		if (is_capable(&devices->item[i]))
			return true;
	return false;
}

static bool has_gpu(const struct device_list *devices)
{
	for (size_t i = 0; i < devices->n; i++)
		if (devices->item[i].dev.kind == GPU_KIND_GPU)
			return true;
	return false;
}

/* A GPU without CC is passed over only beside GPUs with it. */
static void mark_skipped(const struct plan_input *in, struct plan *out)
{
	bool beside = false;

	for (size_t i = 0; i < in->devices->n; i++)
		beside |= in->devices->item[i].dev.cc_capable;
	if (in->config->unsupported_gpu != UNSUPPORTED_SKIP || !beside)
		return;
	for (size_t i = 0; i < in->devices->n; i++) {
		const struct gpu_dev *dev = &in->devices->item[i].dev;

		out->skip[i] = dev->kind == GPU_KIND_GPU && !is_capable(&in->devices->item[i]);
	}
}

static const char *mode_text(const struct device *d)
{
	enum gpu_mode mode;

	if (plan_mode_of(d, &mode))
		return gpu_mode_names[mode];
	return is_known(d->active) ? "invalid" : "unknown";
}

/* --- what is asked for ------------------------------------------------------------------------ */

bool plan_wish(const char *label, const struct config *config, enum pci_host_tee tee,
	       const char **out_wanted, enum gpu_mode *out_mode)
{
	*out_mode = GPU_MODE_OFF;
	if (!str_empty(label)) {
		*out_wanted = label;
		return gpu_mode_parse(label, out_mode);
	}
	*out_wanted = config->default_mode;
	if (str_empty(config->default_mode))
		return true;
	/* Nobody asked for more on a host that cannot use it. */
	if (tee == PCI_HOST_TEE_NONE && config->host_tee != HOST_TEE_IGNORE)
		*out_wanted = gpu_mode_names[GPU_MODE_OFF];
	return gpu_mode_parse(*out_wanted, out_mode);
}

/* --- rules: true when they decided ------------------------------------------------------------ */

typedef bool rule(const struct plan_input *in, struct plan *out);

static bool refuse(struct plan *out, const char *reason, bool retry)
{
	out->verdict = PLAN_REFUSE;
	out->reason = reason;
	out->retry = retry;
	return true;
}

static bool no_such_mode(const struct plan_input *in, struct plan *out)
{
	const char *wanted;

	out->wants = plan_wish(in->label, in->config, in->tee, &wanted, &out->mode);
	out->from_default = str_empty(in->label);
	str_copy(out->wanted, sizeof(out->wanted), wanted);
	str_printable(out->wanted);
	if (out->wants)
		return false;
	err_set(&out->why, ERR_INVALID,
		"label " LABEL " is '%s', which is no mode; set it to on, off, devtools or ppcie",
		out->wanted);
	return refuse(out, "ModeInvalid", false);
}

static bool nothing_asked(const struct plan_input *in, struct plan *out)
{
	(void)in;
	if (out->wanted[0])
		return false;
	out->wants = false;
	out->verdict = PLAN_LEAVE;
	out->reason = "NothingWanted";
	return true;
}

static bool no_gpu(const struct plan_input *in, struct plan *out)
{
	if (out->mode == GPU_MODE_OFF || has_gpu(in->devices))
		return false;
	err_set(&out->why, ERR_UNSUPPORTED,
		"mode %s is wanted, but there is no %sGPU on this node; set label " LABEL " to off",
		out->wanted, in->config->only_ids.n ? "NVIDIA GPU of --device-ids " : "NVIDIA ");
	return refuse(out, "NoGpu", false);
}

static bool locked_down(const struct plan_input *in, struct plan *out)
{
	if (in->lockdown == PCI_LOCKDOWN_NONE || !has_capable(in->devices))
		return false;
	err_set(&out->why, ERR_UNSUPPORTED,
		"the kernel's lockdown mode '%s' forbids access to GPU registers; boot without Secure "
		"Boot or with lockdown off",
		pci_lockdown_names[in->lockdown]);
	return refuse(out, "Lockdown", false);
}

static bool host_without_tee(const struct plan_input *in, struct plan *out)
{
	if (out->mode == GPU_MODE_OFF || in->tee != PCI_HOST_TEE_NONE ||
	    in->config->host_tee != HOST_TEE_REQUIRE)
		return false;
	err_set(&out->why, ERR_UNSUPPORTED,
		"mode %s is wanted, but KVM on this host has neither SEV-SNP nor TDX enabled, which "
		"--host-tee=require asks for; enable one, or set label " LABEL " to off",
		out->wanted);
	return refuse(out, "HostTeeMissing", false);
}

static bool device_cannot(const struct plan_input *in, struct plan *out)
{
	for (size_t i = 0; i < in->devices->n; i++) {
		const struct device *d = &in->devices->item[i];

		if (out->skip[i] || gpu_can(&d->dev, out->mode, &out->why) == 0)
			continue;
		err_wrap(&out->why, "mode %s is wanted%s", out->wanted,
			 d->dev.kind == GPU_KIND_GPU && !is_capable(d)
				 ? " (--unsupported-gpu=skip passes over GPUs without CC)"
				 : "");
		return refuse(out, "Unsupported", false);
	}
	return false;
}

/* A device that does not answer, or whose knobs cannot be read: nobody knows what its next reset
 * would make of it. */
static bool device_broken(const struct plan_input *in, struct plan *out)
{
	for (size_t i = 0; i < in->devices->n; i++) {
		const struct device *d = &in->devices->item[i];
		const char *text = d->error[0] ? d->error : d->staged_error;

		if (out->skip[i] || !text[0])
			continue;
		err_set(&out->why, ERR_DEVICE, "%s", text);
		if (!strstr(text, bdf_str(d->dev.bdf)))
			err_wrap(&out->why, "%s", bdf_str(d->dev.bdf));
		return refuse(out, "DeviceError", true);
	}
	return false;
}

static void find_needs(const struct plan_input *in, struct plan *out)
{
	struct gpu_switch_dev dev[GPU_MAX_DEVICES] = { 0 };
	enum gpu_need need[GPU_MAX_DEVICES] = { 0 };
	size_t at[GPU_MAX_DEVICES], n = 0;

	for (size_t i = 0; i < in->devices->n; i++) {
		const struct device *d = &in->devices->item[i];

		if (out->skip[i])
			continue;
		at[n] = i;
		dev[n++] = (struct gpu_switch_dev){
			.dev = (struct gpu_dev *)&d->dev, /* only looked at */
			.lock_fd = -1,
			.active = d->active,
			/* not asked for: then it was equal when last looked at */
			.staged = d->staged == GPU_STAGED_DIFFERENT ? GPU_STAGED_DIFFERENT
								    : GPU_STAGED_SAME,
		};
	}
	gpu_switch_plan(dev, n, out->mode, need);
	for (size_t i = 0; i < n; i++)
		out->need[at[i]] = need[i];
}

static bool all_right(const struct plan_input *in, struct plan *out)
{
	bool unbound = false;

	find_needs(in, out);
	for (size_t i = 0; i < in->devices->n; i++) {
		unbound |= in->devices->item[i].unbound;
		if (out->need[i] != GPU_NEED_NOTHING)
			return false;
	}
	out->verdict = unbound ? PLAN_SWITCH : PLAN_KEEP;
	out->reason = "Converged";
	return true;
}

static bool device_in_use(const struct plan_input *in, struct plan *out)
{
	for (size_t i = 0; i < in->devices->n; i++) {
		const struct device *d = &in->devices->item[i];
		bool refused = d->foreign_driver || in->config->busy_policy == BUSY_FAIL;

		if (out->need[i] == GPU_NEED_NOTHING || !d->dev.in_use[0])
			continue;
		out->reason = "DeviceInUse";
		err_set(&out->why, ERR_BUSY, "%s is in use: %s; its mode is %s%s",
			bdf_str(d->dev.bdf), d->dev.in_use, mode_text(d),
			d->foreign_driver ? "; unbind the driver"
			: refused	  ? "; end what uses it, or choose another --busy-policy"
					  : "");
		if (refused)
			return refuse(out, "DeviceInUse", true);
		out->drain |= in->config->busy_policy == BUSY_DRAIN;
		out->verdict = PLAN_WAIT;
	}
	return out->verdict == PLAN_WAIT && !out->drain;
}

static bool do_switch(const struct plan_input *in, struct plan *out)
{
	out->verdict = PLAN_SWITCH;
	out->reason = "Switching";
	err_clear(&out->why);
	for (size_t i = 0; i < in->devices->n; i++)
		out->disturbs |= out->need[i] == GPU_NEED_RESET;
	return true;
}

static rule *const rules[] = {
	no_such_mode,  nothing_asked, no_gpu,	 locked_down,	host_without_tee,
	device_cannot, device_broken, all_right, device_in_use, do_switch,
};

void plan_make(const struct plan_input *in, struct plan *out)
{
	*out = (struct plan){ .why = ERR_INIT };
	out->tee_missing = in->tee == PCI_HOST_TEE_NONE && in->config->host_tee != HOST_TEE_IGNORE;
	mark_skipped(in, out);
	out->in_force = plan_in_force(in->devices, out->skip);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i](in, out))
			return;
}
