/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spdm - an attestation report: the GET_MEASUREMENTS request and the MEASUREMENTS response of SPDM 1.1
 * (DMTF DSP0274 1.1.1, 10.11), with NVIDIA's opaque data at its end.
 *
 * In:       the bytes as the driver gave them; trusted for nothing.
 * Out:      first struct spdm_report, which shows only what its authentication needs; then, after the
 *           signature was verified with the leaf's public key, struct spdm_authentic.  Nothing else
 *           makes one, so no measurement and no field can be used before its signature is known good.
 * Owns:     both are copies; the input may go away at once.
 * Units:    sizes and offsets in bytes, offsets from the start of the report (of the request); the wire's
 *           integers are little-endian, ours in host order.
 * Fails:    ERR_INVALID when the report breaks its format, ERR_UNTRUSTED when its signature does not
 *           verify; err.code is then an enum spdm_reason, and the text begins with its word and names
 *           field and offset.  ERR_SYSTEM when memory is short.
 * Does not: decide on the key (pkg/pki does), compare the nonce, versions or the FWID with anything, nor
 *           know golden values (pkg/attest does).  A switch's identity, a mode, a version in here is what
 *           the device's firmware signed, no more.
 */
#pragma once
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rd.h"

#define SPDM_REPORT_MAX_BYTES 8192
#define SPDM_NONCE_BYTES      32
#define SPDM_SIGNATURE_BYTES  96 /* r, then s: 48 bytes each, big-endian */
#define SPDM_MAX_BLOCKS	      255
#define SPDM_MAX_FIELDS	      128 /* opaque data fields; 20 are usual */
#define SPDM_FWID_BYTES	      48
#define SPDM_TEXT_SIZE	      32 /* of a text field, with its NUL */

enum spdm_reason {
	SPDM_OK,
	SPDM_BAD_LENGTH,    /* "report-length": ends too early or too late */
	SPDM_BAD_FORMAT,    /* "report-format" */
	SPDM_BAD_SIGNATURE, /* "report-signature" */
	SPDM_BAD_FWID,	    /* "fwid": the field is there but is no SHA-384 digest */
};
const char *spdm_reason_word(enum spdm_reason reason);

/* --- untrusted ------------------------------------------------------------------------------- */

struct spdm_report;

/* Framing: request, response header, every block and every opaque field has its place, and nothing
 * is left over.  The request must have asked for all measurements, signed, of slot 0. */
int spdm_report_parse(struct rd in, struct spdm_report **out, struct err *err) MUST_CHECK;
void spdm_report_free(struct spdm_report *r);
DEFINE_AUTO(struct spdm_report *, spdm_report_free);

/* These lead into the report. */
struct rd spdm_report_signed_bytes(const struct spdm_report *r);
struct rd spdm_report_signature(const struct spdm_report *r);
const uint8_t *spdm_report_nonce(const struct spdm_report *r); /* the requester's: ours, if it is fresh */

/* --- authentic ------------------------------------------------------------------------------- */

/* Which of the two sets of opaque fields is spoken.  It follows from the device's certificate chain. */
enum spdm_device { SPDM_GPU, SPDM_SWITCH };

struct spdm_authentic;

/* ECDSA P-384 with SHA-384 over all but the last 96 bytes; r and s in 1..n-1.  Only then the opaque
 * fields are read, so that what an unsigned report says steers nothing. */
int spdm_authenticate(const struct spdm_report *r, enum spdm_device device, EVP_PKEY *leaf,
		      struct spdm_authentic **out, struct err *err) MUST_CHECK;
void spdm_authentic_free(struct spdm_authentic *a);
DEFINE_AUTO(struct spdm_authentic *, spdm_authentic_free);

/* Blocks are numbered 1..n without a gap; a RIM's index i speaks of block i + 1. */
struct spdm_block {
	uint8_t type; /* DMTFSpecMeasurementValueType; bit 7, a raw bit stream, is refused */
	struct rd value;
};
size_t spdm_block_count(const struct spdm_authentic *a);
MUST_CHECK bool spdm_block_get(const struct spdm_authentic *a, size_t index, struct spdm_block *out);

enum spdm_field {
	SPDM_DRIVER_VERSION,
	SPDM_VBIOS_VERSION,
	SPDM_GPU_INFO,
	SPDM_NVDEC0,
	SPDM_MSR_COUNT,
	SPDM_CPR_INFO,
	SPDM_BOARD_ID,
	SPDM_CHIP_SKU,
	SPDM_CHIP_SKU_MOD,
	SPDM_PROJECT,
	SPDM_PROJECT_SKU,
	SPDM_PROJECT_SKU_MOD,
	SPDM_FWID,
	SPDM_PPCIE,
	SPDM_FAR_SWITCHES,
	SPDM_SYS_ENABLE,
	SPDM_DATA_VERSION,
	SPDM_CHIP_INFO,
	SPDM_FEATURE,
	SPDM_DEVICE_PDI,
	SPDM_DISABLED_PORTS,
	SPDM_POSITION,
	SPDM_LOCK,
	SPDM_GPU_PDIS,
	SPDM_N_FIELDS
};
const char *spdm_field_name(enum spdm_field field); /* as the specification spells it */

#define SPDM_GPU_LINKS	  18
#define SPDM_SWITCH_GPUS  8
#define SPDM_SWITCH_PORTS 64
#define SPDM_NO_GPU	  0xff
#define SPDM_DATA_VERSION_MAX 1

enum spdm_feature { SPDM_FEATURE_SPT, SPDM_FEATURE_MPT, SPDM_FEATURE_PPCIE };

struct spdm_pdi {
	uint8_t b[8]; /* in the order of the certificate's serial number; all zero is nobody */
};

/* What the opaque data says.  A member means something only where spdm_has() says so. */
struct spdm_fields {
	uint64_t present; /* bit 1 << enum spdm_field */
	char driver_version[SPDM_TEXT_SIZE];
	char vbios_version[SPDM_TEXT_SIZE]; /* "96.00.9F.00.01" on a GPU; the BIOS's on a switch */
	char chip_sku[SPDM_TEXT_SIZE], chip_sku_mod[SPDM_TEXT_SIZE];
	char project[SPDM_TEXT_SIZE], project_sku[SPDM_TEXT_SIZE], project_sku_mod[SPDM_TEXT_SIZE];
	char chip_info[SPDM_TEXT_SIZE];
	uint64_t gpu_info; /* 0x180 GH100, 0x1a0 GB100 */
	uint32_t cpr_info, board_id;
	uint16_t sys_enable, data_version, disabled_ports, position;
	bool nvdec0_enabled, ppcie_on, locked;
	enum spdm_feature feature; /* present only where the opaque data version defines it */
	uint8_t fwid[SPDM_FWID_BYTES];
	struct rd msr_count;			    /* 32-bit counters */
	struct spdm_pdi far_switch[SPDM_GPU_LINKS]; /* of a GPU; turned round to the switch's own order */
	struct spdm_pdi device_pdi;		    /* of a switch */
	struct spdm_pdi gpu_pdi[SPDM_SWITCH_GPUS];
	uint8_t port_gpu[SPDM_SWITCH_PORTS]; /* index into gpu_pdi or SPDM_NO_GPU */

	/* Fields that were skipped: unknown types, and known ones that nothing is decided on. */
	size_t n_skipped;
	uint16_t skipped[SPDM_MAX_FIELDS];
};
const struct spdm_fields *spdm_fields(const struct spdm_authentic *a);
static inline bool spdm_has(const struct spdm_fields *f, enum spdm_field field)
{
	return f->present >> field & 1;
}
