/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan - the deciding part: what the label asks for, what this machine is and what its devices are in
 * make a plan, or a refusal that names the device and the cure.
 *
 * Pure: reads its input, writes its output, touches nothing else.  All that can be refused is refused
 * here, before any side effect.
 *
 * In:       struct plan_input; devices and texts are borrowed and must outlive the plan.
 * Out:      struct plan.  It never fails: a refusal is a plan, too.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "config.h"
#include "gpu/switch.h"

/* What is in force on the whole node. */
enum in_force {
	IN_FORCE_OFF = GPU_MODE_OFF,
	IN_FORCE_ON = GPU_MODE_ON,
	IN_FORCE_DEVTOOLS = GPU_MODE_DEVTOOLS,
	IN_FORCE_PPCIE = GPU_MODE_PPCIE,
	IN_FORCE_MIXED,
	IN_FORCE_UNKNOWN,
	IN_FORCE_N
};
extern const char *const in_force_names[IN_FORCE_N];

/* A device and what we know of it. */
struct device {
	struct gpu_dev dev;
	struct gpu_pair recorded; /* in this boot; else unknown */
	struct gpu_pair active;	  /* read, or when in use recorded in this boot; else unknown */
	enum gpu_staged_answer staged; /* do its knobs say `compared`? */
	enum gpu_mode compared;	       /* the wanted mode, or off where it cannot be that */
	bool foreign_driver; /* in use because of its driver, which does not go by itself */
	bool unbound;	     /* was taken from its driver by an attempt that did not end */
	char error[GPU_TEXT_BYTES *
		   2]; /* what made it impossible to read, or went wrong since; "" none */
	char staged_error[GPU_TEXT_BYTES];
	int lock_fd;
};

struct device_list {
	size_t n;
	struct device item[GPU_MAX_DEVICES];
};

struct plan_input {
	const char *label; /* nvidia.com/cc.mode; NULL when absent */
	const struct config *config;
	enum pci_host_tee tee;
	enum pci_lockdown lockdown;
	const struct device_list *devices;
};

enum plan_verdict {
	PLAN_LEAVE,  /* nothing is asked for: the hardware is left alone */
	PLAN_KEEP,   /* it is as it should be */
	PLAN_SWITCH, /* something has to be done to devices */
	PLAN_WAIT,   /* a device is held, and we were told to wait */
	PLAN_REFUSE,
};
extern const char *const plan_verdict_names[];

struct plan {
	enum plan_verdict verdict;
	bool wants; /* `mode` is meaningful: something valid is asked for */
	enum gpu_mode mode;
	char wanted[64]; /* as asked for, also when it is no mode; "" nothing is asked for */
	bool from_default;
	enum in_force in_force;
	bool tee_missing;   /* not to be called ready, whatever is in force */
	bool drain;	    /* evict the pods that use the devices */
	bool disturbs;	    /* operands have to leave: devices are reset */
	bool retry;	    /* a refusal that may vanish by itself */
	const char *reason; /* one word for the status annotation */
	struct err why;	    /* of WAIT and REFUSE */
	enum gpu_need need[GPU_MAX_DEVICES];
	bool skip[GPU_MAX_DEVICES]; /* --unsupported-gpu=skip: not ours to switch */
};

void plan_make(const struct plan_input *in, struct plan *out);

/* What all devices together are in; no device counts as off. */
enum in_force plan_in_force(const struct device_list *devices, const bool *skip);

/* The mode that a device's own pair stands for; false for none (unknown, invalid). */
bool plan_mode_of(const struct device *d, enum gpu_mode *out) MUST_CHECK;

/* What the label asks for, before anything is looked at: false when it is no mode.  *out_wanted is ""
 * when nothing is asked for. */
bool plan_wish(const char *label, const struct config *config, enum pci_host_tee tee,
	       const char **out_wanted, enum gpu_mode *out_mode);
