/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the opaque data says, read only once it is known who signed it: one table of types for GPUs, one
 * for LS10 switches.  A type outside the table is skipped and recorded, and satisfies nothing.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "spdm/internal.h"

#define ON  0xaa /* of the status bytes; chosen far apart by the firmware */
#define OFF 0x55

/* LS10 firmware 96.10.52 gave the table of GPUs this type, later firmware 26. */
#define SWITCH_TYPE_GPU_PDIS_OLD 4

typedef bool read_fn(struct rd v, void *out);

struct rule {
	uint16_t type;
	enum spdm_field field;
	size_t min, max; /* size of the value */
	read_fn *read;
	size_t offset; /* of the member of struct spdm_fields */
};

/* Letters, digits and dots up to the first NUL, NULs behind it: these texts become parts of URLs. */
static bool read_text(struct rd v, void *out)
{
	char *s = out;
	size_t n = strnlen((const char *)v.p, v.left);

	for (size_t i = 0; i < v.left; i++)
		if (i < n ? !(isascii(v.p[i]) && (isalnum(v.p[i]) || v.p[i] == '.')) : v.p[i] != 0)
			return false;
	memcpy(s, v.p, n); /* the rules' max is below SPDM_TEXT_SIZE */
	s[n] = '\0';
	return true;
}

static bool read_text_not_empty(struct rd v, void *out)
{
	return read_text(v, out) && *(char *)out;
}

/* b3.b2.b1.b0.b4; b5 to b7 are zero. */
static bool read_vbios(struct rd v, void *out)
{
	const uint8_t *b = v.p;

	snprintf(out, SPDM_TEXT_SIZE, "%02X.%02X.%02X.%02X.%02X", b[3], b[2], b[1], b[0], b[4]);
	return b[5] == 0 && b[6] == 0 && b[7] == 0;
}

/* hh.hh.hh.hh.hh, without a NUL. */
static bool read_switch_bios(struct rd v, void *out)
{
	for (size_t i = 0; i < v.left; i++)
		if (i % 3 == 2 ? v.p[i] != '.' : !(isascii(v.p[i]) && isxdigit(v.p[i])))
			return false;
	return read_text(v, out);
}

static bool read_u16(struct rd v, void *out)
{
	return rd_le16(&v, out);
}

static bool read_u32(struct rd v, void *out)
{
	return rd_le32(&v, out);
}

static bool read_u64(struct rd v, void *out)
{
	return rd_le64(&v, out);
}

static bool read_status(struct rd v, void *out)
{
	*(bool *)out = v.p[0] == ON;
	return v.p[0] == ON || v.p[0] == OFF;
}

static bool read_counters(struct rd v, void *out)
{
	*(struct rd *)out = v;
	return v.left % sizeof(uint32_t) == 0;
}

static bool read_fwid(struct rd v, void *out)
{
	memcpy(out, v.p, SPDM_FWID_BYTES);
	return true;
}

/* The far ends of a GPU's links come byte-reversed; here they read as the switches call themselves. */
static bool read_far_switches(struct rd v, void *out)
{
	struct spdm_pdi *far = out;

	for (size_t link = 0; link < SPDM_GPU_LINKS; link++)
		for (size_t i = 0; i < sizeof(far->b); i++)
			far[link].b[i] = v.p[link * sizeof(far->b) + sizeof(far->b) - 1 - i];
	return true;
}

static bool read_data_version(struct rd v, void *out)
{
	return read_u16(v, out) && *(uint16_t *)out <= SPDM_DATA_VERSION_MAX;
}

static bool read_feature(struct rd v, void *out)
{
	uint16_t n;

	if (!rd_le16(&v, &n) || n > SPDM_FEATURE_PPCIE)
		return false;
	*(enum spdm_feature *)out = (enum spdm_feature)n;
	return true;
}

static bool read_pdi(struct rd v, void *out)
{
	memcpy(out, v.p, sizeof(struct spdm_pdi));
	return true;
}

static bool read_position(struct rd v, void *out)
{
	return read_u16(v, out) && *(uint16_t *)out <= 3;
}

static bool read_lock(struct rd v, void *out)
{
	uint16_t n;

	if (!rd_le16(&v, &n) || n > 1)
		return false;
	*(bool *)out = n == 1;
	return true;
}

static bool read_gpu_pdis(struct rd v, void *out)
{
	struct spdm_fields *f = out;
	const uint8_t *ports = v.p + sizeof(f->gpu_pdi);

	for (size_t i = 0; i < SPDM_SWITCH_PORTS; i++)
		if (ports[i] >= SPDM_SWITCH_GPUS && ports[i] != SPDM_NO_GPU)
			return false;
	memcpy(f->gpu_pdi, v.p, sizeof(f->gpu_pdi));
	memcpy(f->port_gpu, ports, sizeof(f->port_gpu));
	return true;
}

#define AT(member)   offsetof(struct spdm_fields, member)
#define TEXT_MAX     (SPDM_TEXT_SIZE - 1)
#define COUNTERS_MAX 1024
#define COMMON_RULES                                                                               \
	{ 12, SPDM_MSR_COUNT, 0, COUNTERS_MAX, read_counters, AT(msr_count) },                     \
	{ 11, SPDM_NVDEC0, 1, 1, read_status, AT(nvdec0_enabled) },                                \
	{ 13, SPDM_CPR_INFO, 4, 4, read_u32, AT(cpr_info) },                                       \
	{ 14, SPDM_BOARD_ID, 4, 4, read_u32, AT(board_id) },                                       \
	{ 15, SPDM_CHIP_SKU, 0, TEXT_MAX, read_text, AT(chip_sku) },                               \
	{ 16, SPDM_CHIP_SKU_MOD, 0, TEXT_MAX, read_text, AT(chip_sku_mod) },                       \
	{ 17, SPDM_PROJECT, 0, TEXT_MAX, read_text, AT(project) },                                 \
	{ 18, SPDM_PROJECT_SKU, 0, TEXT_MAX, read_text, AT(project_sku) },                         \
	{ 19, SPDM_PROJECT_SKU_MOD, 0, TEXT_MAX, read_text, AT(project_sku_mod) },                 \
	{ 20, SPDM_FWID, SPDM_FWID_BYTES, SPDM_FWID_BYTES, read_fwid, AT(fwid) },                  \
	{ 21, SPDM_PPCIE, 1, 1, read_status, AT(ppcie_on) }

static const struct rule gpu_rules[] = {
	COMMON_RULES,
	{ 3, SPDM_DRIVER_VERSION, 1, TEXT_MAX, read_text_not_empty, AT(driver_version) },
	{ 4, SPDM_GPU_INFO, 8, 8, read_u64, AT(gpu_info) },
	{ 6, SPDM_VBIOS_VERSION, 8, 8, read_vbios, AT(vbios_version) },
	{ 22, SPDM_FAR_SWITCHES, 144, 144, read_far_switches, AT(far_switch) },
	{ 33, SPDM_SYS_ENABLE, 2, 2, read_u16, AT(sys_enable) },
	{ 34, SPDM_DATA_VERSION, 2, 2, read_data_version, AT(data_version) },
	{ 35, SPDM_CHIP_INFO, 1, TEXT_MAX, read_text_not_empty, AT(chip_info) },
	{ 36, SPDM_FEATURE, 2, 2, read_feature, AT(feature) },
};

static const struct rule switch_rules[] = {
	COMMON_RULES,
	{ 6, SPDM_VBIOS_VERSION, 14, 14, read_switch_bios, AT(vbios_version) },
	{ 22, SPDM_DEVICE_PDI, 8, 8, read_pdi, AT(device_pdi) },
	{ 23, SPDM_DISABLED_PORTS, 2, 2, read_u16, AT(disabled_ports) },
	{ 24, SPDM_POSITION, 2, 2, read_position, AT(position) },
	{ 25, SPDM_LOCK, 2, 2, read_lock, AT(locked) },
	{ 26, SPDM_GPU_PDIS, 128, 128, read_gpu_pdis, 0 },
};

const char *spdm_field_name(enum spdm_field field)
{
	static const char *const names[SPDM_N_FIELDS] = {
		[SPDM_DRIVER_VERSION] = "DRIVER_VERSION",
		[SPDM_VBIOS_VERSION] = "VBIOS_VERSION",
		[SPDM_GPU_INFO] = "GPU_INFO",
		[SPDM_NVDEC0] = "NVDEC0_STATUS",
		[SPDM_MSR_COUNT] = "MSRSCNT",
		[SPDM_CPR_INFO] = "CPRINFO",
		[SPDM_BOARD_ID] = "BOARD_ID",
		[SPDM_CHIP_SKU] = "CHIP_SKU",
		[SPDM_CHIP_SKU_MOD] = "CHIP_SKU_MOD",
		[SPDM_PROJECT] = "PROJECT",
		[SPDM_PROJECT_SKU] = "PROJECT_SKU",
		[SPDM_PROJECT_SKU_MOD] = "PROJECT_SKU_MOD",
		[SPDM_FWID] = "FWID",
		[SPDM_PPCIE] = "PROTECTED_PCIE_STATUS",
		[SPDM_FAR_SWITCHES] = "SWITCH_PDI",
		[SPDM_SYS_ENABLE] = "SYS_ENABLE_STATUS",
		[SPDM_DATA_VERSION] = "OPAQUE_DATA_VERSION",
		[SPDM_CHIP_INFO] = "CHIP_INFO",
		[SPDM_FEATURE] = "FEATURE_FLAG",
		[SPDM_DEVICE_PDI] = "DEVICE_PDI",
		[SPDM_DISABLED_PORTS] = "DISABLED_PORTS",
		[SPDM_POSITION] = "SWITCH_POSITION_ID",
		[SPDM_LOCK] = "SWITCH_LOCK_STATUS",
		[SPDM_GPU_PDIS] = "SWITCH_GPU_PDIS",
	};

	return (size_t)field < SPDM_N_FIELDS ? names[field] : "unknown";
}

static const struct rule *rule_find(enum spdm_device device, uint16_t type)
{
	const struct rule *rules = device == SPDM_GPU ? gpu_rules : switch_rules;
	size_t n = device == SPDM_GPU ? ARRAY_LEN(gpu_rules) : ARRAY_LEN(switch_rules);

	for (size_t i = 0; i < n; i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

static bool report_has(const struct spdm_report *r, uint16_t type)
{
	for (size_t i = 0; i < r->n_fields; i++)
		if (r->field[i].type == type)
			return true;
	return false;
}

/* The type under which the tables know a field. */
static uint16_t type_today(const struct spdm_report *r, enum spdm_device device, const struct field *f)
{
	const uint16_t now = 26;

	return device == SPDM_SWITCH && f->type == SWITCH_TYPE_GPU_PDIS_OLD && !report_has(r, now) ? now
												   : f->type;
}

/* CHIP_INFO and FEATURE_FLAG are defined from opaque data version 1 on; before, their bytes are no answer. */
static void forget_undefined(struct spdm_fields *out)
{
	const uint64_t later = UINT64_C(1) << SPDM_CHIP_INFO | UINT64_C(1) << SPDM_FEATURE;

	if (out->data_version < 1)
		out->present &= ~later;
}

int spdm_fields_read(const struct spdm_report *r, enum spdm_device device, struct spdm_fields *out,
		     struct err *err)
{
	*out = (struct spdm_fields){ 0 };
	for (size_t i = 0; i < r->n_fields; i++) {
		const struct field *f = &r->field[i];
		const struct rule *rule = rule_find(device, type_today(r, device, f));
		struct rd v = span_rd(r, f->value);

		if (!rule) {
			out->skipped[out->n_skipped++] = f->type;
			continue;
		}
		if (v.left < rule->min || v.left > rule->max ||
		    !rule->read(v, (char *)out + rule->offset))
			return spdm_refuse(err, rule->field == SPDM_FWID ? SPDM_BAD_FWID : SPDM_BAD_FORMAT,
					   "opaque field %u %s at offset %u: bad %s (%u bytes)", f->type,
					   spdm_field_name(rule->field), f->value.at,
					   v.left < rule->min || v.left > rule->max ? "size" : "value",
					   f->value.size);
		out->present |= UINT64_C(1) << rule->field;
	}
	forget_undefined(out);
	return 0;
}
