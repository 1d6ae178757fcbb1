/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device - what all back-ends have in common: bounds, alignment, widths.  A back-end sees only
 * accesses that are well-formed.
 */
#include "pci/pci.h"

static int cfg_check(struct pci_device *d, unsigned off, unsigned bytes, struct err *err)
{
	if (!d->ops)
		return err_set(err, ERR_INVALID, "device is not open");
	if (off % bytes || off + bytes > d->cfg_bytes)
		return err_set(err, ERR_INVALID,
			       "configuration offset 0x%x: outside the %zu bytes that can be seen",
			       off, d->cfg_bytes);
	return 0;
}

static int cfg_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
		    struct err *err)
{
	if (cfg_check(d, off, bytes, err) < 0)
		return -1;
	return d->ops->cfg_read(d, off, bytes, out, err);
}

static int cfg_write(struct pci_device *d, unsigned off, unsigned bytes, uint32_t value,
		     struct err *err)
{
	if (cfg_check(d, off, bytes, err) < 0)
		return -1;
	return d->ops->cfg_write(d, off, bytes, value, err);
}

int pci_cfg_read8(struct pci_device *d, unsigned off, uint8_t *out, struct err *err)
{
	uint32_t v;

	if (cfg_read(d, off, 1, &v, err) < 0)
		return -1;
	*out = (uint8_t)v;
	return 0;
}

int pci_cfg_read16(struct pci_device *d, unsigned off, uint16_t *out, struct err *err)
{
	uint32_t v;

	if (cfg_read(d, off, 2, &v, err) < 0)
		return -1;
	*out = (uint16_t)v;
	return 0;
}

int pci_cfg_read32(struct pci_device *d, unsigned off, uint32_t *out, struct err *err)
{
	return cfg_read(d, off, 4, out, err);
}

int pci_cfg_write8(struct pci_device *d, unsigned off, uint8_t value, struct err *err)
{
	return cfg_write(d, off, 1, value, err);
}

int pci_cfg_write16(struct pci_device *d, unsigned off, uint16_t value, struct err *err)
{
	return cfg_write(d, off, 2, value, err);
}

int pci_cfg_write32(struct pci_device *d, unsigned off, uint32_t value, struct err *err)
{
	return cfg_write(d, off, 4, value, err);
}

int pci_bar0_map(struct pci_device *d, struct err *err)
{
	if (!d->ops)
		return err_set(err, ERR_INVALID, "device is not open");
	return d->bar0_bytes ? 0 : d->ops->bar0_map(d, err);
}

static bool reg_ok(const struct pci_device *d, uint32_t off)
{
	return d->ops && off % 4 == 0 && d->bar0_bytes >= 4 && off <= d->bar0_bytes - 4;
}

uint32_t pci_rd32(struct pci_device *d, uint32_t off)
{
	return reg_ok(d, off) ? d->ops->rd32(d, off) : UINT32_MAX;
}

void pci_wr32(struct pci_device *d, uint32_t off, uint32_t value)
{
	if (reg_ok(d, off))
		d->ops->wr32(d, off, value);
}

int pci_reset(struct pci_device *d, struct err *err)
{
	if (!d->ops)
		return err_set(err, ERR_INVALID, "device is not open");
	return d->ops->reset(d, err);
}

void pci_device_close(struct pci_device *d)
{
	if (d->ops)
		d->ops->close(d);
	d->ops = NULL;
	d->bar0_bytes = 0;
}
