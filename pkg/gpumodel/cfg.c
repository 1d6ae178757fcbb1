/* SPDX-License-Identifier: Apache-2.0 */
/* cfg - configuration space: an image, a mask of what can be written, and the few bits that act. */
#include <string.h>

#include "base/str.h"
#include "gpumodel/internal.h"

#define CFG_COMMAND	 0x04
#define CFG_COMMAND_BITS 0x0547u
#define CFG_MEMORY	 0x0002u
#define CFG_FLR		 0x8000u
#define CFG_EXT_FIRST	 0x100
#define CFG_DVSEC_BITS	 (CFG_DVSEC + 8)
#define CFG_DVSEC_FAULT	 (CFG_DVSEC + 0x14)
#define DVSEC_FIREWALL	 BIT(20)
#define SEC_FAULT_CODE	 0x0000001du
#define CRS		 0xffff0001u /* "ask again" in place of vendor and device */
#define FLR_MS		 100

uint16_t cfg_get16(const struct device *d, uint32_t offset)
{
	return (uint16_t)(d->cfg[offset] | d->cfg[offset + 1] << 8);
}

void cfg_put(struct device *d, uint32_t offset, unsigned width, uint32_t value)
{
	for (unsigned i = 0; i < width; i++)
		d->cfg[offset + i] = (uint8_t)(value >> 8 * i);
}

static uint32_t cfg_get32(const struct device *d, uint32_t offset)
{
	return cfg_get16(d, offset) | (uint32_t)cfg_get16(d, offset + 2) << 16;
}

bool cfg_memory_on(const struct device *d)
{
	return cfg_get16(d, CFG_COMMAND) & CFG_MEMORY;
}

bool cfg_in_d3(const struct device *d)
{
	return (cfg_get16(d, CFG_PMCSR) & 3) == 3;
}

static void bars_put(struct device *d)
{
	for (unsigned i = 0; i < GPUMODEL_BARS; i++) {
		const struct gpumodel_bar *bar = &d->info.bar[i];

		if (!bar->size)
			continue;
		cfg_put(d, 0x10 + 4 * i, 4, (uint32_t)(bar->start | (bar->flags & 0xf)));
		if (bar->flags & 4)
			cfg_put(d, 0x14 + 4 * i, 4, (uint32_t)(bar->start >> 32));
	}
}

static void caps_put(struct device *d)
{
	cfg_put(d, 0x34, 1, CFG_PM);
	cfg_put(d, CFG_PM, 4, 0x0003 << 16 | CFG_PCIE << 8 | 0x01); /* power management */
	cfg_put(d, CFG_PCIE, 4, 0x0002u << 16 | 0x00 << 8 | 0x10);  /* PCI Express endpoint */
	cfg_put(d, CFG_PCIE + 4, 4, d->part->arch & ARCH_FSP ? BIT(28) | 0x8fe1 : 0x8fe1);
	cfg_put(d, CFG_PCIE + 0x0c, 4, 0x00456505); /* x16, 32 GT/s */
	cfg_put(d, CFG_PCIE + 0x12, 2, 0x1105);
	if (d->part->arch & ARCH_BLACKWELL) {
		cfg_put(d, CFG_EXT_FIRST, 4,
			(uint32_t)CFG_DVSEC << 20 | 1 << 16 | 0x0001); /* AER */
		cfg_put(d, CFG_DVSEC, 4, 1 << 16 | 0x0023);
		cfg_put(d, CFG_DVSEC + 4, 4, 0x01800000 | 0x10de);
		cfg_put(d, CFG_DVSEC_BITS, 4, 0);
	} else {
		cfg_put(d, CFG_EXT_FIRST, 4, 1 << 16 | 0x0001);
	}
}

void cfg_init(struct device *d)
{
	memset(d->cfg, 0, sizeof(d->cfg));
	cfg_put(d, 0x00, 2, d->info.vendor);
	cfg_put(d, 0x02, 2, d->info.device);
	cfg_put(d, 0x06, 2, 0x0010); /* has capabilities */
	cfg_put(d, 0x08, 4, d->info.class << 8 | 0xa1);
	cfg_put(d, 0x2c, 2, d->info.subvendor);
	cfg_put(d, 0x2e, 2, d->info.subdevice);
	cfg_put(d, 0x3d, 1, 1);
	bars_put(d);
	caps_put(d);
}

/* What a read sees beyond the image: faults, the firewall bit, a reset under way. */
static uint8_t cfg_byte(struct gpumodel *m, struct device *d, uint32_t offset)
{
	bool firewall = d->firewall_at_us > model_now_us(m);
	bool sec_fault = fault_on(m, d, FAULT_SEC_FAULT, -1, -1, NULL);
	uint8_t value = d->cfg[offset];
	unsigned shift = 8 * (offset & 3);

	if (fault_on(m, d, FAULT_GONE, -1, -1, NULL) || d->resetting)
		return 0xff;
	if (d->flr_at_us)
		return offset < 4 ? (uint8_t)(CRS >> shift) : 0xff;
	if ((d->part->arch & ARCH_BLACKWELL) && (offset & ~3u) == CFG_DVSEC_BITS && firewall)
		value |= (uint8_t)(DVSEC_FIREWALL >> shift);
	if (sec_fault && (d->part->arch & ARCH_BLACKWELL) && (offset & ~3u) == CFG_DVSEC_FAULT)
		value = (uint8_t)(SEC_FAULT_CODE >> shift);
	if (sec_fault && d->part->arch == ARCH_HOPPER && (offset & ~3u) == CFG_SECFAULT_HOPPER)
		value = (uint8_t)(SEC_FAULT_CODE >> shift);
	return value;
}

uint32_t gpumodel_cfg_read(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width)
{
	struct device *d = &m->device[dev];
	uint32_t value = 0;

	if (width > 4 || offset >= GPUMODEL_CFG_BYTES || offset + width > GPUMODEL_CFG_BYTES)
		return ALL_ONES;
	device_tick(m, d);
	for (unsigned i = 0; i < width; i++)
		value |= (uint32_t)cfg_byte(m, d, offset + i) << 8 * i;
	model_trace(m, d, GPUMODEL_CFG_READ, offset, width, value, "");
	return value;
}

void gpumodel_cfg_peek(struct gpumodel *m, unsigned dev, uint8_t out[GPUMODEL_CFG_BYTES])
{
	struct device *d = &m->device[dev];

	device_tick(m, d);
	for (uint32_t i = 0; i < GPUMODEL_CFG_BYTES; i++)
		out[i] = cfg_byte(m, d, i);
}

/* Bits of each dword that a write changes. */
static uint32_t writable(const struct device *d, uint32_t offset)
{
	const struct gpumodel_bar *bar;

	switch (offset) {
	case CFG_COMMAND:
		return CFG_COMMAND_BITS;
	case 0x0c:
	case 0x3c:
		return 0xff;
	case CFG_PMCSR:
		return 0x0103;
	case CFG_DEVCTL:
		return 0x7fff; /* without the FLR bit, which does not stay */
	}
	if (offset < 0x10 || offset >= 0x28)
		return 0;
	bar = &d->info.bar[(offset - 0x10) / 4];
	if (bar->size)
		return (uint32_t) ~(bar->size - 1) & ~0xfu;
	if (offset > 0x10 && (bar[-1].flags & 4) && bar[-1].size)
		return (uint32_t)(~(bar[-1].size - 1) >> 32);
	return 0;
}

/* Function-level reset by hand: configuration space goes back to its start, BARs included. */
static void flr_begin(struct gpumodel *m, struct device *d)
{
	faults_moment(m, d, FROM_RESET);
	cfg_init(d);
	memset(d->cfg + 0x10, 0, 0x18);
	d->flr_at_us = model_now_us(m) + 1000 * FLR_MS;
}

void gpumodel_cfg_write(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width,
			uint32_t value)
{
	struct device *d = &m->device[dev];
	uint32_t at = offset & ~3u, shift = 8 * (offset & 3), mask, old;

	if ((width != 1 && width != 2 && width != 4) || offset % width ||
	    offset >= GPUMODEL_CFG_BYTES)
		return;
	device_tick(m, d);
	model_trace(m, d, GPUMODEL_CFG_WRITE, offset, width, value, "");
	if (d->resetting || d->flr_at_us || fault_on(m, d, FAULT_GONE, -1, -1, NULL))
		return;
	mask = (width == 4 ? ALL_ONES : BIT(8 * width) - 1) << shift;
	value = (value << shift) & mask;
	old = cfg_get32(d, at);
	if (at == CFG_DEVCTL && (value & CFG_FLR) && (d->part->arch & ARCH_FSP)) {
		flr_begin(m, d);
		return;
	}
	mask &= writable(d, at);
	cfg_put(d, at, 4, (old & ~mask) | (value & mask));
}
