/* SPDX-License-Identifier: Apache-2.0 */
/* driver - which driver a function has, and giving it another.  Each write is checked by the link. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "pci/pci.h"

bool pci_driver_is_vfio(const struct pci_host *h, struct bdf b, const char *driver)
{
	char path[PCI_PATH_BYTES];
	struct err err = ERR_INIT;

	if (str_starts(driver, "nvidia")) /* nvidia-vgpu-vfio uses the device itself */
		return false;
	if (str_ends(driver, "vfio-pci") || str_ends(driver, "vfio_pci"))
		return true;
	return *driver && pci_path(h, b, "vfio-dev", path, &err) == 0 && access(path, F_OK) == 0;
}

int pci_driver_current(const struct pci_host *h, struct bdf b, char out[PCI_NAME_BYTES],
		       struct err *err)
{
	return pci_attr_link(h, b, "driver", out, err);
}

int pci_driver_override_get(const struct pci_host *h, struct bdf b, char out[PCI_NAME_BYTES],
			    struct err *err)
{
	if (pci_attr_read(h, b, "driver_override", out, PCI_NAME_BYTES, err) < 0)
		return -1;
	if (strcmp(out, "(null)") == 0) /* as the kernel prints none */
		*out = '\0';
	return 0;
}

int pci_driver_override_set(const struct pci_host *h, struct bdf b, const char *driver,
			    struct err *err)
{
	return pci_attr_write(h, b, "driver_override", *driver ? driver : "\n", err);
}

int pci_driver_unbind(const struct pci_host *h, struct bdf b, struct err *err)
{
	char driver[PCI_NAME_BYTES], now[PCI_NAME_BYTES];

	if (pci_driver_current(h, b, driver, err) < 0)
		return -1;
	if (!*driver)
		return 0;
	if (pci_attr_write(h, b, "driver/unbind", bdf_str(b), err) < 0)
		return err_wrap(err, "unbinding from %s", driver);
	if (pci_driver_current(h, b, now, err) < 0)
		return -1;
	if (*now)
		return err_set(err, ERR_BUSY, "unbinding from %s: now bound to %s", driver, now);
	return 0;
}

static int probe(const struct pci_host *h, struct bdf b, const char *driver, struct err *err)
{
	char path[PCI_PATH_BYTES], now[PCI_NAME_BYTES];

	if (snprintf(path, sizeof(path), "%s/bus/pci/drivers_probe", h->sysfs_root) >=
	    (int)sizeof(path))
		return err_set(err, ERR_INVALID, "%.200s: path is too long", h->sysfs_root);
	if (file_write_attr(path, bdf_str(b), err) < 0 || pci_driver_current(h, b, now, err) < 0)
		return -1;
	if (strcmp(now, driver) == 0)
		return 0;
	snprintf(path, sizeof(path), "%s/bus/pci/drivers/%s", h->sysfs_root, driver);
	return err_set(err, ERR_SYSTEM, "%s%s",
		       *now ? "now bound to " : "it did not take the device",
		       *now			 ? now
		       : access(path, F_OK) == 0 ? ""
						 : " (driver is not loaded)");
}

int pci_driver_bind(const struct pci_host *h, struct bdf b, const char *driver, struct err *err)
{
	char now[PCI_NAME_BYTES], before[PCI_NAME_BYTES];
	struct err ignored = ERR_INIT;
	int r;

	if (pci_driver_current(h, b, now, err) < 0)
		return -1;
	if (strcmp(now, driver) == 0)
		return 0;
	if (*now)
		return err_set(err, ERR_BUSY, "binding to %s: bound to %s", driver, now);
	if (pci_driver_override_get(h, b, before, err) < 0)
		return -1;
	if (strcmp(before, driver) == 0)
		return probe(h, b, driver, err) < 0 ? err_wrap(err, "binding to %s", driver) : 0;
	if (pci_driver_override_set(h, b, driver, err) < 0)
		return err_wrap(err, "binding to %s", driver);
	r = probe(h, b, driver, err);
	if (pci_driver_override_set(h, b, before, r < 0 ? &ignored : err) < 0 || r < 0)
		return err_wrap(err, "binding to %s", driver);
	return 0;
}
