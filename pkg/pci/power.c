/* SPDX-License-Identifier: Apache-2.0 */
/*
 * power - keeps a function in D0 while its registers are used.  In D3 they read all ones, and the
 * kernel may see a PCIe error.
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "pci/pci.h"

#define D0_WAIT_MS 10 /* PCI power management 5.4: D3hot to D0 */

static int enter_d0(struct pci_device *d, struct err *err)
{
	unsigned cap;
	uint16_t pmcsr;

	if (pci_cap_find(d, PCI_CAP_ID_PM, &cap, err) < 0)
		return -1;
	if (!cap)
		return 0;
	if (pci_cfg_read16(d, cap + PCI_PM_CTRL, &pmcsr, err) < 0)
		return -1;
	if (!(pmcsr & PCI_PM_CTRL_STATE_MASK))
		return 0;
	pmcsr &=
		(uint16_t) ~(PCI_PM_CTRL_STATE_MASK | PCI_PM_CTRL_PME_STATUS); /* PME status: W1C */
	if (pci_cfg_write16(d, cap + PCI_PM_CTRL, pmcsr, err) < 0)
		return -1;
	clock_sleep_ms(D0_WAIT_MS);
	if (pci_cfg_read16(d, cap + PCI_PM_CTRL, &pmcsr, err) < 0)
		return -1;
	if (pmcsr & PCI_PM_CTRL_STATE_MASK)
		return err_set(err, ERR_DEVICE, "stays in power state D%u",
			       pmcsr & PCI_PM_CTRL_STATE_MASK);
	return 0;
}

int pci_power_peek(struct pci_device *d, struct pci_power *out, struct err *err)
{
	*out = (struct pci_power){ 0 };
	if (!d->ops || !d->ops->power_get)
		return 0;
	if (d->ops->power_get(d, out->control, sizeof(out->control), err) < 0)
		return -1;
	if (strcmp(out->control, "on") == 0)
		*out->control = '\0';
	return 0;
}

int pci_power_on(struct pci_device *d, struct pci_power *saved, struct err *err)
{
	if (pci_power_peek(d, saved, err) < 0)
		return -1;
	if (*saved->control && d->ops->power_set(d, "on", err) < 0) {
		*saved = (struct pci_power){ 0 };
		return -1;
	}
	return enter_d0(d, err);
}

int pci_power_restore(struct pci_device *d, const struct pci_power *saved, struct err *err)
{
	if (!*saved->control || !d->ops || !d->ops->power_set)
		return 0;
	return d->ops->power_set(d, saved->control, err);
}
