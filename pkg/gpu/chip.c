/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip - the tables: device id ranges to chips, chips to register families, boards to names.
 * Ids and ranges as in NVIDIA's gpu-admin-tools v2025.10.20.
 */
#include "gpu/chip.h"

#include "gpu/fsp.h"
#include "gpu/gb202.h"
#include "gpu/gh100.h"
#include "gpu/ls10.h"

const struct gpu_family gh100_family = {
	.transport = GPU_TRANSPORT_EMEM,
	.bar0_bytes = GH100_BAR0_BYTES,
	.boot_status = GH100_BOOT_STATUS,
	.boot_done = GH100_BOOT_DONE,
	.boot_ms = 5000,
	.mode = GH100_MODE,
	.mode_cc = GH100_MODE_CC,
	.mode_ppcie = GH100_MODE_PPCIE,
	.flr_mark = GH100_FLR_MARK,
	.sbr_mark = GH100_SBR_MARK,
	.priv_ring = true,
	.has_decoupler = true,
	.recovery = GH100_BOOT_FLAGS,
	.recovery_bit = GH100_BOOT_FLAGS_RECOVERY,
	.fault_cfg = 0x2b4,
	.dump = {
		{ GH100_BOOT_STATUS, 1, "boot status" },
		{ GH100_BOOT_FLAGS, 1, "boot flags" },
		{ FSP_STATUS(0), 4, "FSP status" },
		{ GH100_LAST_RESET, 1, "last reset" },
		{ GH100_PRC_0, 3, "PRC" },
		{ GH100_PRC_COLD, 1, "PRC cold" },
	},
};

const struct gpu_family gb100_family = {
	.transport = GPU_TRANSPORT_MNOC,
	.bar0_bytes = GB100_BAR0_BYTES,
	.boot_status = GB100_BOOT_STATUS,
	.boot_done = GB100_BOOT_DONE,
	.boot_ms = 10000,
	.mode = GB100_MODE,
	.mode_cc = GB100_MODE_CC,
	.bar_firewall = true,
	.recovery = GB100_RECOVERY,
	.recovery_field = GB100_RECOVERY_STATE,
	.recovery_none = GB100_RECOVERY_NONE,
	.fault_dvsec = GB100_DVSEC_FAULT,
	.dump = {
		{ GB100_BOOT_STATUS, 1, "boot status" },
		{ FSP_STATUS(0), 4, "FSP status" },
	},
};

const struct gpu_family gb202_family = {
	.transport = GPU_TRANSPORT_MNOC,
	.bar0_bytes = GB100_BAR0_BYTES,
	.boot_status = GB202_BOOT_STATUS,
	.boot_done = GB202_BOOT_DONE,
	.boot_ms = 10000,
	.mode = GB100_MODE,
	.mode_cc = GB100_MODE_CC,
	.bar_firewall = true,
	.recovery = GB100_RECOVERY,
	.recovery_field = GB100_RECOVERY_STATE,
	.recovery_none = GB100_RECOVERY_NONE,
	.fault_dvsec = GB100_DVSEC_FAULT,
	.dump = {
		{ GB202_BOOT_STATUS, 1, "boot status" },
		{ FSP_STATUS(0), 4, "FSP status" },
	},
};

const struct gpu_family ls10_family = {
	.transport = GPU_TRANSPORT_EMEM,
	.bar0_bytes = GH100_BAR0_BYTES, /* the registers lie in the first half of its 32 MiB */
	.boot_status = LS10_BOOT_STATUS,
	.boot_done = LS10_BOOT_DONE,
	.boot_ms = 5000,
	.mode = LS10_MODE,
	.mode_ppcie = LS10_MODE_PPCIE,
	.flr_mark = LS10_FLR_MARK,
	.sbr_mark = LS10_SBR_MARK,
	.has_decoupler = true,
	.recovery = LS10_BOOT_FLAGS,
	.recovery_bit = LS10_BOOT_FLAGS_RECOVERY,
	.dump = {
		{ LS10_BOOT_STATUS, 1, "boot status" },
		{ LS10_BOOT_FLAGS, 1, "boot flags" },
		{ LS10_SCRATCH, 16, "scratch" },
		{ FSP_STATUS(0), 4, "FSP status" },
	},
};

#define HOPPER(n)    { .name = n, .family = &gh100_family, .cc = true, .ppcie = true }
#define BLACKWELL(n) { .name = n, .family = &gb100_family, .cc = true }
#define GB20X(n)     { .name = n, .family = &gb202_family, .cc = true }

/* Chipset: bits 28:20 of PMC_BOOT_0; 0 where it is not publicly known. */
static const struct {
	uint16_t first, last, chipset;
	struct gpu_chip chip;
} gpu_chips[] = {
	{ 0x22f0, 0x237f, 0x180, HOPPER("gh100") },
	{ 0x2900, 0x297f, 0x1a0, BLACKWELL("gb100") },
	{ 0x2980, 0x29ff, 0x1a2, BLACKWELL("gb102") },
	{ 0x3180, 0x31ff, 0, BLACKWELL("gb110") },
	{ 0x3200, 0x327f, 0, BLACKWELL("gb112") },
	{ 0x2b80, 0x2bff, 0x1b2, GB20X("gb202") },
	{ 0x2c00, 0x2c7f, 0x1b3, GB20X("gb203") },
	{ 0x2f00, 0x2f7f, 0x1b5, GB20X("gb205") },
	{ 0x2d00, 0x2d7f, 0x1b6, GB20X("gb206") },
	{ 0x2d80, 0x2dff, 0x1b7, GB20X("gb207") },
};

static const struct {
	uint32_t boot0;
	uint16_t device_id; /* for messages while BAR0 cannot be read */
	struct gpu_chip chip;
} switch_chips[] = {
	{ LS10_PMC_BOOT_0, 0x22a3,
	  { .name = "ls10", .family = &ls10_family, .kind = GPU_KIND_NVSWITCH, .ppcie = true } },
	{ LR10_PMC_BOOT_0, 0x1af1, { .name = "lr10", .kind = GPU_KIND_NVSWITCH } },
};

static const struct {
	uint16_t id;
	const char *name;
} names[] = {
	{ 0x2309, "H20" },   { 0x230c, "H20" },	  { 0x230e, "H20" },   { 0x2313, "H100" },
	{ 0x2321, "H100" },  { 0x2322, "H800" },  { 0x2324, "H800" },  { 0x2328, "H20" },
	{ 0x2329, "H20" },   { 0x232c, "H20" },	  { 0x2330, "H100" },  { 0x2331, "H100" },
	{ 0x2335, "H200" },  { 0x2336, "H100" },  { 0x2337, "H100" },  { 0x2338, "H100" },
	{ 0x2339, "H100" },  { 0x233a, "H800" },  { 0x233b, "H200" },  { 0x233d, "H100" },
	{ 0x2342, "GH200" }, { 0x2343, "GH200" }, { 0x2345, "GH200" }, { 0x2348, "GH200" },
	{ 0x2901, "B200" },  { 0x2941, "GB200" }, { 0x27b6, "L2" },    { 0x27b8, "L4" },
	{ 0x26b7, "L20" },   { 0x26ba, "L20" },	  { 0x26b5, "L40" },   { 0x26b9, "L40S" },
	{ 0x26b8, "L40G" },
};

/* SXM modules; superchips, whose fabric is not the node's, are left out. */
static const struct {
	uint16_t id, but[2]; /* these subsystem ids are none */
} sxm[] = {
	{ 0x2324, { 0 } },	{ 0x2328, { 0 } }, { 0x2329, { 0 } }, { 0x232c, { 0 } },
	{ 0x2330, { 0 } },	{ 0x2335, { 0 } }, { 0x2336, { 0 } }, { 0x2337, { 0 } },
	{ 0x2338, { 0 } },	{ 0x2339, { 0 } }, { 0x2901, { 0 } }, { 0x2920, { 0 } },
	{ 0x293d, { 0x18b6 } }, { 0x29f1, { 0 } }, { 0x3182, { 0 } }, { 0x31c2, { 0x21f1 } },
	{ 0x31fe, { 0 } },	{ 0x3224, { 0 } }, { 0x323e, { 0 } },
	{ 0x29bc, { 0x1997, 0x1998 } },
};

bool gpu_is_on_fabric(uint16_t device_id, uint16_t subsys_id)
{
	for (size_t i = 0; i < ARRAY_LEN(sxm); i++)
		if (sxm[i].id == device_id)
			return !subsys_id || (subsys_id != sxm[i].but[0] && subsys_id != sxm[i].but[1]);
	return false;
}

const struct gpu_chip *gpu_chip_of_id(uint16_t device_id)
{
	for (size_t i = 0; i < ARRAY_LEN(gpu_chips); i++)
		if (device_id >= gpu_chips[i].first && device_id <= gpu_chips[i].last)
			return &gpu_chips[i].chip;
	return NULL;
}

const struct gpu_chip *gpu_chip_of_chipset(uint32_t boot0)
{
	for (size_t i = 0; i < ARRAY_LEN(gpu_chips); i++)
		if (gpu_chips[i].chipset &&
		    FIELD_GET(PMC_BOOT_0_CHIPSET, boot0) == gpu_chips[i].chipset)
			return &gpu_chips[i].chip;
	return NULL;
}

const struct gpu_chip *gpu_chip_of_switch(uint32_t boot0)
{
	for (size_t i = 0; i < ARRAY_LEN(switch_chips); i++)
		if (boot0 == switch_chips[i].boot0)
			return &switch_chips[i].chip;
	return NULL;
}

const struct gpu_chip *gpu_chip_guess_switch(uint16_t device_id)
{
	for (size_t i = 0; i < ARRAY_LEN(switch_chips); i++)
		if (device_id == switch_chips[i].device_id)
			return &switch_chips[i].chip;
	return NULL;
}

const char *gpu_name_of_id(uint16_t device_id)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].id == device_id)
			return names[i].name;
	return NULL;
}

static const struct {
	uint32_t off;
	const char *name;
} common_names[] = {
	{ PMC_BOOT_0, "PMC_BOOT_0" },
	{ FSP_COMMAND_HEAD(2), "FSP_COMMAND_HEAD(2)" },
	{ FSP_COMMAND_TAIL(2), "FSP_COMMAND_TAIL(2)" },
	{ FSP_MESSAGE_HEAD(2), "FSP_MESSAGE_HEAD(2)" },
	{ FSP_MESSAGE_TAIL(2), "FSP_MESSAGE_TAIL(2)" },
	{ FSP_EMEMC(2), "FSP_EMEMC(2)" },
	{ FSP_EMEMD(2), "FSP_EMEMD(2)" },
	{ FSP_RECEIVE_INFO, "FSP_RECEIVE_INFO" },
	{ FSP_RECEIVE_DATA, "FSP_RECEIVE_DATA" },
	{ FSP_SEND_INFO, "FSP_SEND_INFO" },
	{ FSP_SEND_DATA, "FSP_SEND_DATA" },
	{ GH100_PRIV_RING_COMMAND, "PRIV_RING_COMMAND" },
	{ GH100_PRIV_RING_SYSTEM, "PRIV_RING_SYSTEM" },
};

const char *gpu_reg_name(const struct gpu_family *family, uint32_t off)
{
	for (size_t i = 0; i < ARRAY_LEN(common_names); i++)
		if (common_names[i].off == off)
			return common_names[i].name;
	if (!family)
		return NULL;
	if (off == family->mode)
		return "MODE";
	if (off == family->boot_status)
		return "BOOT_STATUS";
	if (off == family->recovery)
		return "RECOVERY";
	if (off == family->flr_mark)
		return "FLR_MARK";
	if (off == family->sbr_mark)
		return "SBR_MARK";
	for (size_t i = 0; i < GPU_DUMP_MAX && family->dump[i].n; i++)
		if (off >= family->dump[i].first && off < family->dump[i].first + 4 * family->dump[i].n)
			return family->dump[i].name;
	return NULL;
}
