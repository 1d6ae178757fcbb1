/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caps - walks the two capability lists of configuration space.  A device that is broken, or that a
 * stranger made, may link them into a loop or out of bounds: the walk counts its steps.
 */
#include <linux/pci_regs.h>

#include "pci/pci.h"

#define STEPS_MAX	 64   /* 192 bytes hold no more than 48 */
#define EXT_STEPS_MAX	 1024 /* 3840 bytes hold no more than 960 */
#define EXT_CAP_ID_DVSEC 0x23 /* PCIe base specification 7.9.6 */
#define DVSEC_HEADER1	 4
#define DVSEC_HEADER2	 8

int pci_cap_find(struct pci_device *d, uint8_t id, unsigned *out, struct err *err)
{
	uint16_t status, header;
	uint8_t at;

	*out = 0;
	if (pci_cfg_read16(d, PCI_STATUS, &status, err) < 0 ||
	    pci_cfg_read8(d, PCI_CAPABILITY_LIST, &at, err) < 0)
		return -1;
	if (!(status & PCI_STATUS_CAP_LIST))
		return 0;
	if (at == 0xff)
		return err_set(err, ERR_DEVICE, "device lost: configuration space reads all ones");
	for (int steps = 0; (at &= 0xfc) != 0; steps++, at = (uint8_t)(header >> 8)) {
		if (at < PCI_STD_HEADER_SIZEOF || steps == STEPS_MAX)
			return err_set(err, ERR_DEVICE,
				       "capability list is broken at configuration offset 0x%02x",
				       at);
		if (pci_cfg_read16(d, at, &header, err) < 0)
			return -1;
		if ((header & 0xff) == id) {
			*out = at;
			return 0;
		}
	}
	return 0;
}

static int is_dvsec(struct pci_device *d, unsigned at, uint16_t vendor, uint16_t id, bool *out,
		    struct err *err)
{
	uint16_t v, i;

	if (at + DVSEC_HEADER2 + 2 > d->cfg_bytes)
		return err_set(err, ERR_DEVICE, "vendor capability at 0x%03x is cut off", at);
	if (pci_cfg_read16(d, at + DVSEC_HEADER1, &v, err) < 0 ||
	    pci_cfg_read16(d, at + DVSEC_HEADER2, &i, err) < 0)
		return -1;
	*out = v == vendor && i == id;
	return 0;
}

int pci_dvsec_find(struct pci_device *d, uint16_t vendor, uint16_t id, unsigned *out,
		   struct err *err)
{
	unsigned at = PCI_CFG_SPACE_SIZE;
	uint32_t header;
	bool found;

	*out = 0;
	if (d->cfg_bytes <= PCI_CFG_SPACE_SIZE)
		return 0;
	for (int steps = 0; at; steps++, at = PCI_EXT_CAP_NEXT(header)) {
		if (at < PCI_CFG_SPACE_SIZE || at + 4 > d->cfg_bytes || steps == EXT_STEPS_MAX)
			return err_set(
				err, ERR_DEVICE,
				"extended capability list is broken at configuration offset 0x%03x",
				at);
		if (pci_cfg_read32(d, at, &header, err) < 0)
			return -1;
		if (header == 0 || header == UINT32_MAX)
			return 0;
		if (PCI_EXT_CAP_ID(header) != EXT_CAP_ID_DVSEC)
			continue;
		if (is_dvsec(d, at, vendor, id, &found, err) < 0)
			return -1;
		if (found) {
			*out = at;
			return 0;
		}
	}
	return 0;
}
