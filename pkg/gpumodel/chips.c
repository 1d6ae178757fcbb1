/* SPDX-License-Identifier: Apache-2.0 */
/* chips - the parts that can be simulated, and the reading of a device string into devices. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpumodel/internal.h"

#define CLASS_3D     0x030200u
#define CLASS_VGA    0x030000u
#define CLASS_BRIDGE 0x068000u
#define CLASS_AUDIO  0x040300u
#define CLASS_NIC    0x020000u

#define MIB	 (1ull << 20)
#define GIB	 (1ull << 30)
#define FLAGS_32 0x00040200ull /* memory, not prefetchable */
#define FLAGS_64 0x0014220cull /* memory, prefetchable, 64 bit */

#define GH 0x180000a1u
#define GB 0x1a0000a1u
#define G2 0x1b2000a1u

static const struct part parts[] = {
	{ "h100", "gh100", "H100", "H100 SXM", ARCH_HOPPER, 0x2330, 0x16c1, CLASS_3D, GH, P_SXM },
	{ "h100-pcie", "gh100", "H100", "H100 PCIe card", ARCH_HOPPER, 0x2331, 0x1626, CLASS_3D, GH,
	  0 },
	{ "h100-noppcie", "gh100", "H100", "H100 SXM, firmware without PPCIe", ARCH_HOPPER, 0x2330,
	  0x16c1, CLASS_3D, GH, P_SXM | P_NO_PPCIE },
	{ "h200", "gh100", "H200", "H200 SXM", ARCH_HOPPER, 0x2335, 0x18be, CLASS_3D, GH, P_SXM },
	{ "h800", "gh100", "H800", "H800 SXM", ARCH_HOPPER, 0x2324, 0x17a6, CLASS_3D, GH, P_SXM },
	{ "h20", "gh100", "H20", "H20 SXM", ARCH_HOPPER, 0x2329, 0x198b, CLASS_3D, GH, P_SXM },
	{ "gh200", "gh100", "GH200", "Grace Hopper", ARCH_HOPPER, 0x2342, 0x16eb, CLASS_3D, GH, 0 },
	{ "b200", "gb100", "B200", "B200 SXM", ARCH_GB100, 0x2901, 0x1999, CLASS_3D, GB, P_SXM },
	{ "b300", "gb110", "Generic-GB110", "B300 SXM", ARCH_GB100, 0x3182, 0x20e6, CLASS_3D, GB,
	  P_SXM },
	{ "gb200", "gb100", "GB200", "Grace Blackwell", ARCH_GB100, 0x2941, 0x2046, CLASS_3D, GB,
	  0 },
	{ "gb102", "gb102", "Generic-GB102", "Blackwell, chip gb102", ARCH_GB100, 0x29bc, 0x1997,
	  CLASS_3D, GB, 0 },
	{ "gb112", "gb112", "Generic-GB112", "Blackwell, chip gb112", ARCH_GB100, 0x3224, 0x215f,
	  CLASS_3D, GB, 0 },
	{ "gb20x", "gb202", "Generic-GB202", "Blackwell, chip gb202", ARCH_GB202, 0x2bb5, 0x204e,
	  CLASS_3D, G2, 0 },
	{ "rtxpro6000", "gb202", "Generic-GB202", "RTX PRO 6000 Blackwell", ARCH_GB202, 0x2bb5,
	  0x204e, CLASS_3D, G2, 0 },
	{ "gb20x-nocc", "gb202", "Generic-GB202", "a gb202 whose firmware has no CC", ARCH_GB202,
	  0x2b85, 0x205a, CLASS_VGA, G2, P_NO_CC },
	{ "gb203", "gb203", "Generic-GB203", "Blackwell, chip gb203", ARCH_GB202, 0x2c31, 0x2051,
	  CLASS_VGA, G2, 0 },
	{ "a100", "ga100", "A100", "A100 SXM, no CC", ARCH_AMPERE, 0x20b2, 0x1463, CLASS_3D,
	  0x170000a1u, 0 },
	{ "l40s", "ad102", "L40S", "L40S, no CC", ARCH_AMPERE, 0x26b9, 0x1851, CLASS_3D,
	  0x192000a1u, 0 },
	{ "ls10", "ls10", "NVSwitch_gen3", "NVSwitch of H100 boards", ARCH_LS10, 0x22a3, 0x1796,
	  CLASS_BRIDGE, 0x007000a1u, P_SXM },
	{ "ls10-noppcie", "ls10", "NVSwitch_gen3", "the same, firmware without PPCIe", ARCH_LS10,
	  0x22a3, 0x1796, CLASS_BRIDGE, 0x007000a1u, P_SXM | P_NO_PPCIE },
	{ "lr10", "lr10", "LR10", "NVSwitch of A100 boards, no PPCIe", ARCH_LR10, 0x1af1, 0x1463,
	  CLASS_BRIDGE, 0x006000a1u, P_SXM },
	{ "nvbridge", "", "bridge", "another NVIDIA bridge of the switches' class", ARCH_LR10,
	  0x1af9, 0, CLASS_BRIDGE, 0x012340a1u, 0 },
	{ "nvaudio", "", "audio", "the audio function of an NVIDIA card", ARCH_NONE, 0x22e8, 0,
	  CLASS_AUDIO, 0, 0 },
	{ "nic", "", "ConnectX-7", "somebody else's device", ARCH_NONE, 0x1021, 0, CLASS_NIC, 0,
	  P_FOREIGN },
};

/* Parts named by a bare device id, "0x2339", take their chip from these ranges. */
static const struct {
	uint16_t first, last;
	const char *part;
} ranges[] = {
	{ 0x22f0, 0x237f, "h100" },  { 0x2900, 0x297f, "b200" },  { 0x2980, 0x29ff, "gb102" },
	{ 0x3180, 0x31ff, "b300" },  { 0x3200, 0x327f, "gb112" }, { 0x2b80, 0x2bff, "gb20x" },
	{ 0x2c00, 0x2d7f, "gb203" }, { 0x2d80, 0x2dff, "gb203" }, { 0x2f00, 0x2f7f, "gb203" },
	{ 0x2080, 0x20ff, "a100" },  { 0x2680, 0x27ff, "l40s" },
};

const char *gpumodel_part_name(unsigned i, const char **describe)
{
	if (i >= ARRAY_LEN(parts))
		return NULL;
	*describe = parts[i].describe;
	return parts[i].name;
}

static const struct part *part_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (strcmp(parts[i].name, name) == 0)
			return &parts[i];
	return NULL;
}

static bool part_of_id(const char *name, struct part *out)
{
	const struct part *like = NULL;
	uint64_t id;

	if (!str_starts(name, "0x") || !str_hex(name, 0xffff, &id))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ranges) && !like; i++)
		if (id >= ranges[i].first && id <= ranges[i].last)
			like = part_find(ranges[i].part);
	if (!like)
		return false;
	*out = *like;
	out->device = (uint16_t)id;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "dddd:bb:dd.f" in lower case; the shape is a mask. */
static bool bdf_valid(const char *s)
{
	const char *shape = "hhhh:hh:hh.o";

	for (; *shape; shape++, s++) {
		int digit = hex_digit(*s);

		if (*shape == 'h'   ? digit < 0
		    : *shape == 'o' ? digit < 0 || digit > 7
				    : *s != *shape)
			return false;
	}
	return *s == '\0';
}

static void bars_init(struct device *d, unsigned index)
{
	struct gpumodel_bar *bar = d->info.bar;
	uint64_t at = 0x200000000000ull + index * (512 * GIB),
		 low = 0x80000000ull + index * (32 * MIB);

	switch (d->part->arch) {
	case ARCH_NONE:
		bar[0] = (struct gpumodel_bar){ low, 16 * 1024, FLAGS_32 };
		break;
	case ARCH_AMPERE:
		bar[0] = (struct gpumodel_bar){ low, 16 * MIB, FLAGS_32 };
		bar[1] = (struct gpumodel_bar){ at, 128 * GIB, FLAGS_64 };
		bar[3] = (struct gpumodel_bar){ at + 256 * GIB, 32 * MIB, FLAGS_64 };
		break;
	case ARCH_LR10:
		bar[0] = (struct gpumodel_bar){ low, 32 * MIB, FLAGS_32 };
		break;
	case ARCH_LS10:
		bar[0] = (struct gpumodel_bar){ at, 32 * MIB, FLAGS_64 };
		break;
	default:
		bar[0] = (struct gpumodel_bar){ at + 384 * GIB, 16 * MIB, FLAGS_64 };
		bar[2] = (struct gpumodel_bar){ at, 256 * GIB, FLAGS_64 };
		bar[4] = (struct gpumodel_bar){ at + 400 * GIB, 32 * MIB, FLAGS_64 };
	}
}

int device_init(struct device *d, const char *part, const char *bdf, struct err *err)
{
	struct gpumodel_info *info = &d->info;
	const struct part *p = part_find(part);

	if (!p && part_of_id(part, &d->own_part))
		p = &d->own_part;
	if (!p)
		return err_set(err, ERR_INVALID, "no simulated part is called '%s'", part);
	if (!bdf_valid(bdf))
		return err_set(err, ERR_INVALID, "'%s' is not a PCI address like 0000:1b:00.0",
			       bdf);
	if (!str_copy(d->part_name, sizeof(d->part_name), part))
		return err_set(err, ERR_INVALID, "part '%s': name too long", part);
	d->part = p;
	d->sxm = p->flags & P_SXM;
	str_copy(info->bdf, sizeof(info->bdf), bdf);
	info->part = d->part_name;
	info->chip = p->chip;
	info->name = p->product;
	info->kind = p->class == CLASS_BRIDGE ? GPUMODEL_SWITCH
		     : p->arch & ARCH_GPU     ? GPUMODEL_GPU
					      : GPUMODEL_OTHER;
	info->cc_capable = p->arch & (ARCH_HOPPER | ARCH_BLACKWELL);
	info->ppcie_capable = p->arch & ARCH_EMEM;
	info->vendor = p->flags & P_FOREIGN ? 0x15b3 : 0x10de;
	info->device = p->device;
	info->subvendor = info->vendor;
	info->subdevice = p->subdevice;
	info->class = p->class;
	str_copy(info->reset_method, sizeof(info->reset_method),
		 p->arch & ARCH_FSP	? "flr bus"
		 : p->arch == ARCH_NONE ? ""
					: "bus");
	return 0;
}

/* The addresses that a board gives its devices; further ones go on in the next domain. */
static void bdf_default(enum gpumodel_kind kind, unsigned nth, char out[16])
{
	static const uint8_t gpu[] = { 0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf };
	static const uint8_t nvswitch[] = { 0x05, 0x06, 0x07, 0x08 };
	static const uint8_t other[] = { 0xe1, 0xe2, 0xe3, 0xe4 };
	const uint8_t *bus = kind == GPUMODEL_GPU      ? gpu
			     : kind == GPUMODEL_SWITCH ? nvswitch
						       : other;
	unsigned n = kind == GPUMODEL_GPU ? ARRAY_LEN(gpu) : ARRAY_LEN(other);

	snprintf(out, 16, "%04x:%02x:00.0", nth / n, bus[nth % n]);
}

static bool bdf_next(const char *bdf, char out[16])
{
	unsigned domain, bus, slot, function;

	if (sscanf(bdf, "%4x:%2x:%2x.%1x", &domain, &bus, &slot, &function) != 4 || bus == 0xff)
		return false;
	snprintf(out, 16, "%04x:%02x:%02x.%x", domain & 0xffff, (bus + 1) & 0xff, slot & 0xff,
		 function & 7);
	return true;
}

static void bdf_unused(const struct gpumodel *m, enum gpumodel_kind kind, char out[16])
{
	for (unsigned nth = 0; nth < 4 * GPUMODEL_MAX_DEVICES; nth++) {
		bdf_default(kind, nth, out);
		if (gpumodel_find(m, out) < 0)
			return;
	}
}

static enum gpumodel_kind kind_of(const char *part)
{
	struct device probe = { 0 };
	struct err ignored = ERR_INIT;

	return device_init(&probe, part, "0000:00:00.0", &ignored) < 0 ? GPUMODEL_OTHER
								       : probe.info.kind;
}

static int device_add(struct gpumodel *m, const char *part, const char *bdf, struct err *err)
{
	struct device *d = &m->device[m->n_devices];

	if (m->n_devices == GPUMODEL_MAX_DEVICES)
		return err_set(err, ERR_INVALID, "more than %d devices", GPUMODEL_MAX_DEVICES);
	if (gpumodel_find(m, bdf) >= 0)
		return err_set(err, ERR_INVALID, "two devices at %s", bdf);
	memset(d, 0, sizeof(*d));
	if (device_init(d, part, bdf, err) < 0)
		return -1;
	bars_init(d, m->n_devices);
	d->info.iommu_group = 10 + m->n_devices;
	d->info.numa_node = m->n_devices & 1;
	fsp_knobs_init(d);
	cfg_init(d);
	emem_reset(d);
	mnoc_reset(d);
	m->n_devices++;
	return 0;
}

/* One element: PART[:COUNT][@BDF].  The text is cut up in place. */
static int element_parse(char *text, struct gpumodel *m, struct err *err)
{
	char *at = strchr(text, '@'), *colon, bdf[16] = "";
	uint64_t count = 1;

	if (at) {
		*at = '\0';
		if (!bdf_valid(at + 1))
			return err_set(err, ERR_INVALID,
				       "'%s' is not a PCI address like 0000:1b:00.0",
				       str_printable(at + 1));
		str_copy(bdf, sizeof(bdf), at + 1);
	}
	colon = strchr(text, ':');
	if (colon) {
		*colon = '\0';
		if (!str_u64(colon + 1, GPUMODEL_MAX_DEVICES, &count))
			return err_set(err, ERR_INVALID, "'%s' is not a number up to %d",
				       str_printable(colon + 1), GPUMODEL_MAX_DEVICES);
	}
	for (uint64_t i = 0; i < count; i++) {
		if (!at)
			bdf_unused(m, kind_of(text), bdf);
		else if (i && !bdf_next(bdf, bdf))
			return err_set(err, ERR_INVALID, "no bus left after %s", bdf);
		if (device_add(m, str_printable(text), bdf, err) < 0)
			return -1;
	}
	return 0;
}

int devices_parse(const char *text, struct gpumodel *m, struct err *err)
{
	char copy[1024], *rest = copy, *element;

	if (!str_copy(copy, sizeof(copy), text))
		return err_set(err, ERR_INVALID, "device list longer than %zu bytes",
			       sizeof(copy) - 1);
	if (str_empty(copy) || str_eq(copy, "none"))
		return 0; /* a machine without devices */
	while ((element = strsep(&rest, ",")))
		if (element_parse(element, m, err) < 0)
			return err_wrap(err, "device list");
	return 0;
}
