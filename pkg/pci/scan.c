/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan - finds the functions of one vendor, with libpci looking at each of them.
 *
 * libpci reports what it cannot read through a callback that must not return, so each function gets
 * an access object and a jump buffer of its own: what is wrong with one never hides another.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "pci/libpci.h"
#include "pci/pci.h"

static struct {
	jmp_buf back;
	struct pci_dev *dev; /* being looked at, whatever happens */
	char text[200];
} trouble; /* libpci's callbacks have no argument of ours */

__attribute__((noreturn)) PRINTF(1, 2) static void on_error(char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(trouble.text, sizeof(trouble.text), fmt, ap);
	va_end(ap);
	longjmp(trouble.back, 1);
}

PRINTF(1, 2) static void on_warning(char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(trouble.text, sizeof(trouble.text), fmt, ap);
	va_end(ap);
}

static void on_debug(char *fmt, ...)
{
	(void)fmt;
}

/* The first trouble with a function is the one that is kept. */
static void complain(struct pci_info *info, const char *text)
{
	if (!*info->error)
		str_copy(info->error, sizeof(info->error), text);
	str_printable(info->error);
}

static void ids_from_libpci(struct pci_dev *d, struct pci_info *info)
{
	pci_fill_info(d, PCI_FILL_IDENT | PCI_FILL_CLASS | PCI_FILL_CLASS_EXT);
	info->vendor = d->vendor_id;
	info->device = d->device_id;
	info->class24 = (uint32_t)d->device_class << 8 | d->prog_if;
	info->ids_known = true;
}

static void bars_from_libpci(struct pci_dev *d, struct pci_info *info)
{
	pci_fill_info(d, PCI_FILL_SUBSYS | PCI_FILL_BASES | PCI_FILL_SIZES);
	info->subsys_vendor = d->subsys_vendor_id;
	info->subsys_device = d->subsys_id;
	info->bar0_addr = d->base_addr[0] & PCI_ADDR_MEM_MASK;
	info->bar0_bytes = d->size[0];
}

static void caps_from_libpci(struct pci_dev *d, struct pci_info *info)
{
	struct pci_cap *pcie = pci_find_cap(d, PCI_CAP_ID_EXP, PCI_CAP_NORMAL);

	info->has_pm = pci_find_cap(d, PCI_CAP_ID_PM, PCI_CAP_NORMAL) != NULL;
	info->has_pcie = pcie != NULL;
	info->has_flr = pcie && (pci_read_long(d, (int)pcie->addr + PCI_EXP_DEVCAP) &
				 PCI_EXP_DEVCAP_FLRESET);
}

/* Runs `fill` with libpci pointed at this tree; what goes wrong becomes the function's error. */
static void with_libpci(const struct pci_host *h, struct pci_info *info,
			void (*fill)(struct pci_dev *, struct pci_info *))
{
	struct pci_access *access = pci_alloc();
	char path[PCI_PATH_BYTES];

	snprintf(path, sizeof(path), "%s/bus/pci", h->sysfs_root);
	access->method = PCI_ACCESS_SYS_BUS_PCI;
	access->error = on_error;
	access->warning = on_warning;
	access->debug = on_debug;
	*trouble.text = '\0';
	trouble.dev = NULL;
	if (!setjmp(trouble.back)) { /* style: its errors cannot return */
		pci_set_param(access, (char *)"sysfs.path", path);
		pci_init(access);
		trouble.dev = pci_get_dev(access, (int)info->bdf.domain, info->bdf.bus,
					  info->bdf.dev, info->bdf.fn);
		fill(trouble.dev, info);
	}
	if (*trouble.text)
		complain(info, trouble.text);
	if (trouble.dev)
		pci_free_dev(trouble.dev);
	pci_cleanup(access);
}

/* libpci reads a file that holds no number as 0, which no vendor, device or class of ours is. */
static bool ids_sane(const struct pci_info *info)
{
	return info->ids_known && info->vendor && info->vendor != 0xffff && info->device &&
	       info->device != 0xffff && info->class24;
}

/* Sysfs' own files first; the modalias tells the same should they be missing. */
static void ids_fill(const struct pci_host *h, struct pci_info *info)
{
	char alias[128];
	struct err err = ERR_INIT;

	with_libpci(h, info, ids_from_libpci);
	if (ids_sane(info))
		return;
	info->ids_known = false;
	if (pci_attr_read(h, info->bdf, "modalias", alias, sizeof(alias), &err) == 0 &&
	    pci_modalias_parse(alias, info, &err) == 0)
		return;
	complain(info, "vendor and device id cannot be read");
}

static void reset_fill(const struct pci_host *h, struct pci_info *info)
{
	char path[PCI_PATH_BYTES], text[128];
	struct err err = ERR_INIT;

	if (pci_attr_read(h, info->bdf, "reset_method", text, sizeof(text), &err) == 0) {
		info->reset_first = pci_reset_method_first(text);
		return;
	}
	/* Before Linux 5.15 there is only `reset`; assume what shares most. */
	if (pci_path(h, info->bdf, "reset", path, &err) == 0 && access(path, F_OK) == 0)
		info->reset_first = info->has_flr ? PCI_RESET_FLR : PCI_RESET_BUS;
}

static void links_fill(const struct pci_host *h, struct pci_info *info)
{
	char physfn[PCI_NAME_BYTES];
	struct err err = ERR_INIT;

	if (pci_attr_link(h, info->bdf, "driver", info->driver, &err) < 0 ||
	    pci_attr_link(h, info->bdf, "iommu_group", info->iommu_group, &err) < 0 ||
	    pci_attr_link(h, info->bdf, "physfn", physfn, &err) < 0)
		complain(info, err_text(&err));
	else
		info->is_vf = *physfn != '\0';
}

static int by_bdf(const void *a, const void *b)
{
	return bdf_compare(((const struct pci_info *)a)->bdf, ((const struct pci_info *)b)->bdf);
}

static int add(struct pci_list *list, const struct pci_info *info, struct err *err)
{
	struct pci_info *more = realloc(list->item, (list->n + 1) * sizeof(*more));

	if (!more)
		return err_nomem(err);
	list->item = more;
	list->item[list->n++] = *info;
	return 0;
}

/* A function that was unplugged while we looked is no broken one. */
static bool is_there(const struct pci_host *h, struct bdf b)
{
	char path[PCI_PATH_BYTES];
	struct err err = ERR_INIT;

	return pci_path(h, b, "", path, &err) < 0 || access(path, F_OK) == 0;
}

/* The ids decide who is looked at closely: a foreign function costs three small reads. */
static int look_at(const struct pci_host *h, struct bdf b, uint16_t vendor, struct pci_list *list,
		   struct err *err)
{
	struct pci_info info = { .bdf = b };

	ids_fill(h, &info);
	if (info.ids_known ? vendor && info.vendor != vendor : !is_there(h, b))
		return 0;
	with_libpci(h, &info, bars_from_libpci);
	with_libpci(h, &info, caps_from_libpci);
	links_fill(h, &info);
	reset_fill(h, &info);
	return add(list, &info, err);
}

static void dir_close(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

void pci_list_clear(struct pci_list *list)
{
	free(list->item);
	*list = (struct pci_list){ 0 };
}

int pci_scan(const struct pci_host *h, uint16_t vendor, struct pci_list *out, struct err *err)
{
	char path[PCI_PATH_BYTES];
	CLEANUP(pci_list_clear) struct pci_list list = { 0 };
	CLEANUP(dir_close) DIR *dir = NULL;
	const struct dirent *e;
	unsigned seen = 0;

	*out = (struct pci_list){ 0 };
	if (snprintf(path, sizeof(path), "%s/bus/pci/devices", h->sysfs_root) >= (int)sizeof(path))
		return err_set(err, ERR_INVALID, "%.200s: path is too long", h->sysfs_root);
	dir = opendir(path);
	if (!dir)
		return err_errno(err, "%s", path);
	while ((e = readdir(dir))) {
		struct bdf b;
		struct err odd = ERR_INIT;

		if (e->d_name[0] == '.' || bdf_parse(e->d_name, &b, &odd) < 0 ||
		    b.domain > INT32_MAX)
			continue; /* the kernel makes no such names */
		if (++seen > PCI_SCAN_MAX)
			return err_set(err, ERR_INVALID, "%s: more than %d functions", path,
				       PCI_SCAN_MAX);
		if (look_at(h, b, vendor, &list, err) < 0)
			return -1;
	}
	if (list.n)
		qsort(list.item, list.n, sizeof(*list.item), by_bdf);
	*out = list;
	list = (struct pci_list){ 0 };
	return 0;
}
