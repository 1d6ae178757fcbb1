/* SPDX-License-Identifier: Apache-2.0 */
/* scan - which PCI functions are GPUs and NVSwitches, what they can, and who uses them. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpu/chip.h"
#include "gpu/ls10.h"

#define CLASS_VGA    0x030000
#define CLASS_3D     0x030200
#define CLASS_BRIDGE 0x068000

int gpu_ids_parse(const char *text, struct gpu_ids *out, struct err *err)
{
	struct gpu_ids ids = { 0 };
	char part[16];

	for (const char *p = text; *(p += strspn(p, ", \t"));) {
		size_t n = strcspn(p, ", \t");
		uint64_t id;

		if (!str_copyn(part, sizeof(part), p, n) || !str_hex(part, UINT16_MAX, &id))
			return err_set(err, ERR_INVALID,
				       "'%.*s' is no PCI device id such as 0x2331",
				       (int)(n < 40 ? n : 40), p);
		if (ids.n == GPU_IDS_MAX)
			return err_set(err, ERR_INVALID, "more than %d device ids", GPU_IDS_MAX);
		ids.id[ids.n++] = (uint16_t)id;
		p += n;
	}
	*out = ids;
	return 0;
}

static bool has_id(const struct gpu_ids *ids, uint16_t id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->id[i] == id)
			return true;
	return false;
}

static bool has_bdf(const struct gpu_scan_opts *opts, struct bdf b)
{
	for (size_t i = 0; i < opts->n_only_bdf; i++)
		if (bdf_equal(opts->only_bdf[i], b))
			return true;
	return opts->n_only_bdf == 0;
}

/* A function whose ids cannot be read may be a GPU: it is listed, with an error, so that nobody takes
 * its absence for a good answer. */
static bool is_ours(const struct pci_info *info, const struct gpu_scan_opts *opts)
{
	if (info->is_vf || !has_bdf(opts, info->bdf))
		return false;
	if (!info->ids_known)
		return true;
	if (info->vendor != PCI_VENDOR_NVIDIA)
		return false;
	if (info->class24 == CLASS_BRIDGE) /* other bridges have another BAR0, or none */
		return gpu_chip_guess_switch(info->device) || info->bar0_bytes == LS10_BAR0_BYTES;
	if (info->class24 != CLASS_VGA && info->class24 != CLASS_3D)
		return false;
	return !opts->only.n || has_id(&opts->only, info->device);
}

static void name_fill(struct gpu_dev *dev)
{
	const char *name = dev->kind == GPU_KIND_GPU ? gpu_name_of_id(dev->device_id) : NULL;
	char chip[GPU_NAME_BYTES];
	size_t i;

	if (dev->chip)
		str_copy(dev->chip_name, sizeof(dev->chip_name), dev->chip->name);
	for (i = 0; dev->chip_name[i]; i++)
		chip[i] = (char)toupper((unsigned char)dev->chip_name[i]);
	chip[i] = '\0';
	if (name)
		str_copy(dev->name, sizeof(dev->name), name);
	else if (dev->kind == GPU_KIND_NVSWITCH && dev->chip)
		str_copy(dev->name, sizeof(dev->name), chip);
	else if (dev->chip)
		snprintf(dev->name, sizeof(dev->name), "Generic-%.20s", chip);
}

/* Devices whose reset is that of their bus disturb each other. */
static uint32_t reset_group_of(const struct pci_info *info)
{
	if (info->reset_first != PCI_RESET_BUS && info->reset_first != PCI_RESET_CXL_BUS)
		return 0;
	return (info->bdf.domain << 8 | info->bdf.bus) + 1;
}

static void dev_fill(const struct pci_info *info, const struct gpu_scan_opts *opts,
		     struct gpu_dev *dev)
{
	*dev = (struct gpu_dev){
		.bdf = info->bdf,
		.kind = info->class24 == CLASS_BRIDGE ? GPU_KIND_NVSWITCH : GPU_KIND_GPU,
		.vendor_id = info->vendor,
		.device_id = info->device,
		.subsys_vendor_id = info->subsys_vendor,
		.subsys_id = info->subsys_device,
		.reset_group = reset_group_of(info),
	};
	str_copy(dev->driver, sizeof(dev->driver), info->driver);
	str_copy(dev->iommu_group, sizeof(dev->iommu_group), info->iommu_group);
	dev->chip = dev->kind == GPU_KIND_GPU ? gpu_chip_of_id(info->device)
					      : gpu_chip_guess_switch(info->device);
	if (dev->chip) {
		dev->cc_capable = dev->chip->cc;
		dev->ppcie_capable = dev->chip->ppcie;
	} else if (dev->kind == GPU_KIND_GPU) {
		dev->cc_capable = has_id(&opts->capable, info->device);
	}
	dev->on_fabric = dev->kind == GPU_KIND_NVSWITCH ||
			 gpu_is_on_fabric(info->device, info->subsys_device);
	name_fill(dev);
	if (!info->ids_known)
		str_copy(dev->error, sizeof(dev->error), info->error);
}

static void user_fill(const struct pci_host *h, struct gpu_dev *dev, const struct pci_info *info,
		      const struct pci_holder *holder)
{
	*dev->in_use = '\0';
	if (*info->error)
		snprintf(dev->in_use, sizeof(dev->in_use), "who uses it cannot be told: %.200s",
			 info->error);
	else if (holder->pid)
		snprintf(dev->in_use, sizeof(dev->in_use), "process %d (%s) has %s open",
			 (int)holder->pid, holder->comm, holder->path);
	else if (*dev->driver && !pci_driver_is_vfio(h, dev->bdf, dev->driver))
		snprintf(dev->in_use, sizeof(dev->in_use), "bound to driver %s", dev->driver);
}

/* A device whose driver cannot be read may be anybody's: it counts as in use, and hides no other. */
static void links_read(const struct pci_host *h, struct gpu_dev *dev, struct pci_info *info)
{
	struct err err = ERR_INIT;

	*info = (struct pci_info){ .bdf = dev->bdf };
	info->class24 = dev->kind == GPU_KIND_NVSWITCH ? CLASS_BRIDGE : CLASS_3D;
	if (pci_attr_link(h, dev->bdf, "driver", dev->driver, &err) < 0 ||
	    pci_attr_link(h, dev->bdf, "iommu_group", dev->iommu_group, &err) < 0)
		str_copyn(info->error, sizeof(info->error), err_text(&err),
			  strnlen(err_text(&err), sizeof(info->error) - 1));
	str_copy(info->driver, sizeof(info->driver), dev->driver);
	str_copy(info->iommu_group, sizeof(info->iommu_group), dev->iommu_group);
}

int gpu_scan_users(const struct pci_host *h, struct gpu_dev *dev, size_t n, struct err *err)
{
	AUTO_MEM struct pci_info *info = calloc(n ? n : 1, sizeof(*info));
	AUTO_MEM struct pci_holder *holder = calloc(n ? n : 1, sizeof(*holder));

	if (!info || !holder)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++)
		links_read(h, &dev[i], &info[i]);
	if (pci_holders(h, info, n, holder, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		user_fill(h, &dev[i], &info[i], &holder[i]);
	return 0;
}

static int all_found(const struct gpu_scan_opts *opts, const struct gpu_list *list, struct err *err)
{
	for (size_t i = 0; i < opts->n_only_bdf; i++) {
		bool found = false;

		for (size_t k = 0; k < list->n && !found; k++)
			found = bdf_equal(list->dev[k].bdf, opts->only_bdf[i]);
		if (!found)
			return err_set(err, ERR_NOT_FOUND,
				       "%s is no NVIDIA GPU or NVSwitch of this machine",
				       bdf_str(opts->only_bdf[i]));
	}
	return 0;
}

static void list_clear(struct pci_list *list)
{
	pci_list_clear(list);
}

int gpu_scan(const struct pci_host *h, const struct gpu_scan_opts *opts, struct gpu_list *out,
	     struct err *err)
{
	CLEANUP(list_clear) struct pci_list all = { 0 };

	out->n = 0;
	if (pci_scan(h, PCI_VENDOR_NVIDIA, &all, err) < 0)
		return -1;
	for (size_t i = 0; i < all.n; i++) {
		if (!is_ours(&all.item[i], opts))
			continue;
		if (out->n == GPU_MAX_DEVICES) {
			out->n = 0;
			return err_set(err, ERR_INVALID, "more than %d GPUs and NVSwitches",
				       GPU_MAX_DEVICES);
		}
		dev_fill(&all.item[i], opts, &out->dev[out->n++]);
	}
	if (all_found(opts, out, err) < 0 || gpu_scan_users(h, out->dev, out->n, err) < 0) {
		out->n = 0;
		return -1;
	}
	return 0;
}
