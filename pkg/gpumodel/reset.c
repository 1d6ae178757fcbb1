/* SPDX-License-Identifier: Apache-2.0 */
/* reset - what a reset does: staged modes become active, the firmware forgets what was pending, and
 * boot begins.  Also the truth about a device, past its registers. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "gpumodel/internal.h"

/* Any of these nonzero keeps CC and PPCIe off. */
static bool modes_blocked(const struct device *d)
{
	return d->knob[KNOB_A] || d->knob[KNOB_B] || d->knob[KNOB_C];
}

unsigned device_cc_staged(const struct device *d)
{
	if (!d->info.cc_capable || modes_blocked(d))
		return 0;
	return (d->knob[KNOB_CCM] & 1u) | (d->knob[KNOB_CCD] & 1u) << 1;
}

bool device_ppcie_staged(const struct device *d)
{
	return d->info.ppcie_capable && !modes_blocked(d) && (d->knob[KNOB_PPCIE] & 1);
}

static bool firewall_staged(const struct device *d)
{
	return (d->part->arch & ARCH_BLACKWELL) && d->knob[KNOB_DECOUPLER] == 2;
}

bool device_unapplied(const struct device *d)
{
	return d->cc_active != device_cc_staged(d) || d->ppcie_active != device_ppcie_staged(d) ||
	       d->firewall_active != firewall_staged(d);
}

void device_latch(struct gpumodel *m, struct device *d)
{
	if (!fault_strike(m, d, FAULT_MODE_STICKS, -1, -1, NULL)) {
		d->cc_active = (uint8_t)device_cc_staged(d);
		d->ppcie_active = device_ppcie_staged(d);
		d->firewall_active = firewall_staged(d);
	}
	d->staged_here = false;
}

void device_reset_core(struct gpumodel *m, struct device *d, bool flr, uint64_t boots_from_us)
{
	d->resets++;
	device_latch(m, d);
	emem_reset(d);
	mnoc_reset(d);
	memset(d->scratch, 0, sizeof(d->scratch));
	memset(d->switch_scratch, 0, sizeof(d->switch_scratch));
	d->flr_mark = 0;
	if (!flr)
		d->sbr_mark = 0;
	d->last_reset = flr ? 1 : 2;
	d->priv_ring = 0;
	if (!flr)
		d->coupled = false;
	d->boot_stuck = fault_strike(m, d, FAULT_BOOT_NEVER, -1, -1, NULL);
	d->boot_at_us = boots_from_us + 1000 * m->config.boot_ms;
	d->firewall_at_us = boots_from_us + 250 * m->config.boot_ms; /* a quarter of the way */
	if (!(d->part->arch & ARCH_BLACKWELL))
		d->firewall_at_us = 0;
}

/* Does this reset change d's mode while another device of the board is not staged to follow? */
static bool fabric_split(const struct gpumodel *m, const struct device *d)
{
	bool ppcie = device_ppcie_staged(d), cc_changes = device_cc_staged(d) != d->cc_active;

	if (!d->sxm || !(d->part->arch & ARCH_FSP))
		return false;
	for (unsigned i = 0; i < m->n_devices; i++) {
		const struct device *o = &m->device[i];

		if (o == d || !o->sxm || !(o->part->arch & ARCH_FSP))
			continue;
		if (ppcie != d->ppcie_active && o->info.ppcie_capable &&
		    device_ppcie_staged(o) != ppcie)
			return true;
		if (cc_changes && o->info.kind == GPUMODEL_GPU && d->info.kind == GPUMODEL_GPU &&
		    device_cc_staged(o) != device_cc_staged(d))
			return true;
	}
	return false;
}

static int reset_refused(struct gpumodel *m, struct device *d)
{
	uint32_t value;

	if (fault_on(m, d, FAULT_GONE, -1, -1, NULL))
		return -ENODEV;
	if (!d->info.reset_method[0])
		return -ENOTTY;
	if (d->resetting)
		return -EAGAIN;
	if (fault_strike(m, d, FAULT_RESET_ERRNO, -1, -1, &value))
		return -(int)value;
	return 0;
}

int gpumodel_reset_begin(struct gpumodel *m, unsigned dev, uint64_t *took_ms)
{
	struct device *d = &m->device[dev];
	uint32_t slow_ms = 0;
	int r;

	device_tick(m, d);
	faults_moment(m, d, FROM_RESET);
	r = reset_refused(m, d);
	if (fault_strike(m, d, FAULT_RESET_SLOW, -1, -1, &slow_ms))
		*took_ms = slow_ms + (r ? 0 : m->config.reset_ms);
	else
		*took_ms = r ? 0 : m->config.reset_ms;
	model_trace(m, d, GPUMODEL_RESET, 0, 0, (uint32_t)-r, "reset");
	if (r < 0)
		return r;
	if (d->held || (d->driver[0] && !str_starts(d->driver, "vfio")))
		violation(m, d, V_HELD, "reset while %s",
			  d->held ? "somebody has the device open" : "a driver owns the device");
	if (fabric_split(m, d))
		violation(m, d, V_FABRIC,
			  "reset with the mode staged on only a part of the NVLink fabric");
	d->resetting = true;
	return 0;
}

static void reset_finish(struct gpumodel *m, struct device *d, uint64_t now_us)
{
	bool flr = str_starts(d->info.reset_method, "flr");

	d->resetting = false;
	cfg_put(d, CFG_PMCSR, 2, cfg_get16(d, CFG_PMCSR) & ~3u);
	device_reset_core(m, d, flr, now_us);
}

void gpumodel_reset_end(struct gpumodel *m, unsigned dev)
{
	if (m->device[dev].resetting)
		reset_finish(m, &m->device[dev], model_now_us(m));
}

bool gpumodel_resetting(const struct gpumodel *m, unsigned dev)
{
	return m->device[dev].resetting;
}

int gpumodel_reset(struct gpumodel *m, unsigned dev, uint64_t *took_ms)
{
	int r = gpumodel_reset_begin(m, dev, took_ms);

	if (r == 0)
		reset_finish(m, &m->device[dev], model_now_us(m) + 1000 * *took_ms);
	return r;
}

int gpumodel_reset_method_set(struct gpumodel *m, unsigned dev, const char *method)
{
	struct device *d = &m->device[dev];
	bool flr = d->part->arch & ARCH_FSP;

	if (str_eq(method, "") || str_eq(method, "bus") ||
	    (flr &&
	     (str_eq(method, "flr") || str_eq(method, "flr bus") || str_eq(method, "bus flr")))) {
		str_copy(d->info.reset_method, sizeof(d->info.reset_method), method);
		return 0;
	}
	if (str_eq(method, "default")) {
		str_copy(d->info.reset_method, sizeof(d->info.reset_method),
			 flr			      ? "flr bus"
			 : d->part->arch == ARCH_NONE ? ""
						      : "bus");
		return 0;
	}
	return -EINVAL;
}

const char *gpumodel_cc_name(unsigned mode)
{
	static const char *const names[] = { "off", "on", "invalid", "devtools" };

	return names[mode & 3];
}

void gpumodel_truth(struct gpumodel *m, unsigned dev, struct gpumodel_truth *out)
{
	struct device *d = &m->device[dev];

	device_tick(m, d);
	*out = (struct gpumodel_truth){
		.cc_supported = d->info.cc_capable && fsp_knob_valid(d, KNOB_CCM),
		.ppcie_supported = d->info.ppcie_capable && fsp_knob_valid(d, KNOB_PPCIE),
		.cc_active = d->cc_active,
		.cc_staged = device_cc_staged(d),
		.ppcie_active = d->ppcie_active,
		.ppcie_staged = device_ppcie_staged(d),
		.staged_unapplied = device_unapplied(d),
		.booted = device_booted(m, d),
		.recovery = fault_on(m, d, FAULT_RECOVERY, -1, -1, NULL),
		.d3 = cfg_in_d3(d),
		.memory_on = cfg_memory_on(d),
		.held = d->held,
		.resets = d->resets,
	};
	memcpy(out->knob, d->knob, sizeof(out->knob));
	for (unsigned id = 0; id < GPUMODEL_N_KNOBS; id++)
		out->knob_valid[id] = fsp_knob_valid(d, id);
}

bool gpumodel_knob_set(struct gpumodel *m, unsigned dev, unsigned id, uint16_t value)
{
	if (!fsp_knob_valid(&m->device[dev], id))
		return false;
	m->device[dev].knob[id] = value;
	return true;
}

bool gpumodel_mode_set(struct gpumodel *m, unsigned dev, const char *mode)
{
	struct device *d = &m->device[dev];
	bool on = str_eq(mode, "on"), devtools = str_eq(mode, "devtools"),
	     ppcie = str_eq(mode, "ppcie");

	if (!on && !devtools && !ppcie && !str_eq(mode, "off"))
		return false;
	if ((on || devtools) && !fsp_knob_valid(d, KNOB_CCM))
		return false;
	if (ppcie && !fsp_knob_valid(d, KNOB_PPCIE))
		return false;
	if (!(d->part->arch & ARCH_FSP))
		return true; /* off is what it always is */
	d->knob[KNOB_A] = d->knob[KNOB_B] = d->knob[KNOB_C] = 0;
	d->knob[KNOB_CCM] = on || devtools;
	d->knob[KNOB_CCD] = devtools;
	d->knob[KNOB_PPCIE] = ppcie;
	if (d->part->arch == ARCH_HOPPER)
		d->knob[KNOB_DECOUPLER] = on || ppcie ? 2 : 0;
	d->cc_active = (uint8_t)device_cc_staged(d);
	d->ppcie_active = device_ppcie_staged(d);
	d->firewall_active = firewall_staged(d);
	return true;
}
