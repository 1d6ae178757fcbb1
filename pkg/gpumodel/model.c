/* SPDX-License-Identifier: Apache-2.0 */
/* model - the machine: making it, and the way of a single access to a device, with everything that
 * can be wrong about it. */
#include "gpumodel/gpumodel.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "gpumodel/internal.h"

#define BOOT_MS_DEFAULT	 200
#define RESET_MS_DEFAULT 100
#define FSP_US_DEFAULT	 1000

int gpumodel_new(const char *devices, const struct gpumodel_config *config, struct gpumodel **out,
		 struct err *err)
{
	AUTO(gpumodel_free) struct gpumodel *m = calloc(1, sizeof(*m));

	if (!m)
		return err_nomem(err);
	m->config = *config;
	if (!m->config.boot_ms)
		m->config.boot_ms = BOOT_MS_DEFAULT;
	if (!m->config.reset_ms)
		m->config.reset_ms = RESET_MS_DEFAULT;
	if (!m->config.fsp_us)
		m->config.fsp_us = FSP_US_DEFAULT;
	m->device = calloc(GPUMODEL_MAX_DEVICES, sizeof(*m->device));
	if (!m->device)
		return err_nomem(err);
	if (devices_parse(devices, m, err) < 0)
		return -1;
	*out = TAKE_PTR(m);
	return 0;
}

void gpumodel_free(struct gpumodel *m)
{
	if (m)
		free(m->device);
	free(m);
}

unsigned gpumodel_count(const struct gpumodel *m)
{
	return m->n_devices;
}

const struct gpumodel_info *gpumodel_info(const struct gpumodel *m, unsigned dev)
{
	return &m->device[dev].info;
}

int gpumodel_find(const struct gpumodel *m, const char *bdf)
{
	for (unsigned i = 0; i < m->n_devices; i++)
		if (strcmp(m->device[i].info.bdf, bdf) == 0)
			return (int)i;
	return -1;
}

uint64_t model_now_us(const struct gpumodel *m)
{
	return m->config.now_us ? m->config.now_us(m->config.arg) : now_us();
}

unsigned device_index(const struct gpumodel *m, const struct device *d)
{
	return (unsigned)(d - m->device);
}

bool device_booted(const struct gpumodel *m, const struct device *d)
{
	return !d->boot_stuck && !d->resetting && d->boot_at_us <= model_now_us(m);
}

void device_tick(struct gpumodel *m, struct device *d)
{
	if (d->flr_at_us && d->flr_at_us <= model_now_us(m)) {
		d->flr_at_us = 0;
		device_reset_core(m, d, true, model_now_us(m));
	}
	if (d->resets && device_booted(m, d))
		faults_moment(m, d, FROM_BOOT);
	if (d->part->arch & ARCH_EMEM)
		emem_tick(m, d);
	else if (d->part->arch & ARCH_BLACKWELL)
		mnoc_tick(m, d);
}

void model_trace(struct gpumodel *m, const struct device *d, enum gpumodel_op op, uint32_t offset,
		 unsigned width, uint32_t value, const char *name)
{
	if (m->config.on_access)
		m->config.on_access(&(struct gpumodel_access){ .dev = device_index(m, d),
							       .op = op,
							       .offset = offset,
							       .width = width,
							       .value = value,
							       .name = name },
				    m->config.arg);
}

PRINTF(3, 0)
static void violation_tell(struct gpumodel *m, unsigned dev, const char *fmt, va_list args)
{
	char text[256];

	if (!m->config.on_violation)
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	m->config.on_violation(dev, text, m->config.arg);
}

void violation(struct gpumodel *m, struct device *d, enum violation kind, const char *fmt, ...)
{
	va_list args;

	m->violations++;
	if (d->told[kind]++ >= TOLD_MAX)
		return;
	va_start(args, fmt);
	violation_tell(m, device_index(m, d), fmt, args);
	va_end(args);
}

void gpumodel_violation(struct gpumodel *m, unsigned dev, const char *fmt, ...)
{
	va_list args;

	m->violations++;
	va_start(args, fmt);
	violation_tell(m, dev, fmt, args);
	va_end(args);
}

uint64_t gpumodel_violations(const struct gpumodel *m)
{
	return m->violations;
}

static bool driver_may_share(const char *driver)
{
	return !driver[0] || strstr(driver, "vfio");
}

/* What no client may do, whichever register it is.  True: the access does not reach the device. */
static bool access_lost(struct gpumodel *m, struct device *d, const char *what)
{
	if (!driver_may_share(d->driver))
		violation(m, d, V_DRIVER, "BAR0 %s while driver %s owns the device", what,
			  d->driver);
	if (d->held)
		violation(m, d, V_HELD, "BAR0 %s while somebody has the device open", what);
	if (fault_on(m, d, FAULT_GONE, -1, -1, NULL))
		return true;
	if (d->resetting || d->flr_at_us) {
		violation(m, d, V_RESETTING, "BAR0 %s during a reset", what);
		return true;
	}
	if (cfg_in_d3(d)) {
		violation(m, d, V_D3, "BAR0 %s in D3", what);
		return true;
	}
	if (!cfg_memory_on(d)) {
		violation(m, d, V_MEMORY, "BAR0 %s with memory decoding off", what);
		return true;
	}
	if (d->firewall_at_us > model_now_us(m)) {
		violation(m, d, V_FIREWALL, "BAR0 %s before the BAR firewall opened", what);
		return true;
	}
	return d->part->arch == ARCH_NONE;
}

static bool offset_refused(struct gpumodel *m, struct device *d, uint32_t offset)
{
	if (offset % 4 == 0 && offset < d->info.bar[0].size)
		return false;
	violation(m, d, V_WIDTH, "BAR0 access at 0x%x, which is %s", offset,
		  offset % 4 ? "not aligned" : "outside");
	return true;
}

/* The faults under which a read does not show the register. */
static bool read_spoiled(struct gpumodel *m, struct device *d, uint32_t offset, uint32_t *value)
{
	if (fault_on(m, d, FAULT_SEC_FAULT, -1, -1, NULL))
		*value = BAD_SEC_FAULT;
	else if (fault_strike(m, d, FAULT_ALL_ONES, -1, offset, NULL))
		*value = ALL_ONES;
	else if (fault_strike(m, d, FAULT_BADF, -1, offset, NULL))
		*value = BAD_READ;
	else
		return false;
	return true;
}

uint32_t gpumodel_read(struct gpumodel *m, unsigned dev, uint32_t offset)
{
	struct device *d = &m->device[dev];
	const struct reg *reg;
	uint32_t value = ALL_ONES;
	unsigned index = 0;

	if (offset_refused(m, d, offset))
		return ALL_ONES;
	device_tick(m, d);
	reg = reg_find(d->part->arch, offset, &index);
	if (!access_lost(m, d, "read") && !read_spoiled(m, d, offset, &value))
		value = reg ? reg_read(m, d, reg, index) : BAD_READ;
	model_trace(m, d, GPUMODEL_READ, offset, 4, value, reg ? reg->name : "");
	return value;
}

void gpumodel_write(struct gpumodel *m, unsigned dev, uint32_t offset, uint32_t value)
{
	struct device *d = &m->device[dev];
	const struct reg *reg;
	unsigned index = 0;

	if (offset_refused(m, d, offset))
		return;
	device_tick(m, d);
	reg = reg_find(d->part->arch, offset, &index);
	model_trace(m, d, GPUMODEL_WRITE, offset, 4, value, reg ? reg->name : "");
	if (access_lost(m, d, "write") || fault_on(m, d, FAULT_SEC_FAULT, -1, -1, NULL) ||
	    fault_on(m, d, FAULT_ALL_ONES, -1, offset, NULL))
		return;
	if (reg)
		reg_write(m, d, reg, index, value);
	else
		violation(m, d, V_OFFSET, "write of 0x%x to 0x%x, where no register is known",
			  value, offset);
}

uint64_t gpumodel_read_sized(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width)
{
	uint32_t first = offset & ~3u, last = (offset + width - 1) & ~3u;
	unsigned __int128 bytes = 0;

	if (width == 4 && first == offset)
		return gpumodel_read(m, dev, offset);
	violation(m, &m->device[dev], V_WIDTH, "BAR0 read of %u bytes at 0x%x", width, offset);
	for (uint32_t at = first; at <= last; at += 4)
		bytes |= (unsigned __int128)gpumodel_read(m, dev, at) << 8 * (at - first);
	bytes >>= 8 * (offset - first);
	return width >= 8 ? (uint64_t)bytes : (uint64_t)bytes & ((1ull << 8 * width) - 1);
}

void gpumodel_write_sized(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width,
			  uint64_t value)
{
	uint32_t first = offset & ~3u, last = (offset + width - 1) & ~3u;
	unsigned __int128 bytes = (unsigned __int128)value << 8 * (offset - first);

	if (width == 4 && first == offset) {
		gpumodel_write(m, dev, offset, (uint32_t)value);
		return;
	}
	violation(m, &m->device[dev], V_WIDTH, "BAR0 write of %u bytes at 0x%x", width, offset);
	for (uint32_t at = first; at <= last; at += 4, bytes >>= 32)
		gpumodel_write(m, dev, at, (uint32_t)bytes); /* byte enables are not modelled */
}

void gpumodel_driver_set(struct gpumodel *m, unsigned dev, const char *driver)
{
	str_copy(m->device[dev].driver, sizeof(m->device[dev].driver), driver ? driver : "");
}

const char *gpumodel_driver(const struct gpumodel *m, unsigned dev)
{
	return m->device[dev].driver[0] ? m->device[dev].driver : NULL;
}

void gpumodel_held_set(struct gpumodel *m, unsigned dev, bool held)
{
	m->device[dev].held = held;
}

void gpumodel_d3_set(struct gpumodel *m, unsigned dev, bool d3)
{
	struct device *d = &m->device[dev];

	cfg_put(d, CFG_PMCSR, 2, (cfg_get16(d, CFG_PMCSR) & ~3u) | (d3 ? 3 : 0));
}

bool gpumodel_d3(const struct gpumodel *m, unsigned dev)
{
	return cfg_in_d3(&m->device[dev]);
}

void gpumodel_session(struct gpumodel *m, unsigned dev)
{
	m->device[dev].staged_here = false;
}
