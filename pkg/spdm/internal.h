/* SPDX-License-Identifier: Apache-2.0 */
/* spdm inside: where the parts of a report lie, and how a refusal is told. */
#pragma once
#include "spdm/spdm.h"

/* Offsets instead of pointers, so that a copy of the struct is a copy of the report. */
struct span {
	uint16_t at, size;
};

struct block {
	uint8_t type;
	struct span value;
};

struct field {
	uint16_t type;
	struct span value;
};

struct spdm_report {
	size_t size, n_blocks, n_fields;
	struct block block[SPDM_MAX_BLOCKS]; /* by index - 1 */
	struct field field[SPDM_MAX_FIELDS]; /* as they came */
	uint8_t bytes[SPDM_REPORT_MAX_BYTES];
};

struct spdm_authentic {
	struct spdm_report report;
	struct spdm_fields fields;
};

static inline struct rd span_rd(const struct spdm_report *r, struct span s)
{
	return rd_of(r->bytes + s.at, s.size);
}

/* -1; the text is "word: ...". */
int spdm_refuse(struct err *err, enum spdm_reason why, const char *fmt, ...) PRINTF(3, 4);

int spdm_fields_read(const struct spdm_report *r, enum spdm_device device, struct spdm_fields *out,
		     struct err *err) MUST_CHECK;
