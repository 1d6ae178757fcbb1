/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stage: a report is cut into its parts, each byte belonging to exactly one of them.  What
 * the parts say is nobody's business before authenticate.c has seen the signature.
 */
#include <stdarg.h>
#include <string.h>

#include "spdm/internal.h"

/* DSP0274 1.1.1, tables 16, 41 to 44. */
#define VERSION_1_1	  0x11
#define GET_MEASUREMENTS  0xe0
#define MEASUREMENTS	  0x60
#define ERROR		  0x7f
#define PARAM1_SIGNED	  0x01
#define PARAM2_ALL_BLOCKS 0xff
#define SLOT_MASK	  0x0f
#define SPECIFICATION_DMTF 0x01
#define TYPE_RAW_BITS	  0x80

#define REQUEST_BYTES	 37
#define NONCE_OFFSET	 4
#define BLOCK_HEAD_BYTES 7 /* up to the value */

/* Opaque data types that no report may hold. */
#define FIELD_ZERO    0
#define FIELD_INVALID 255

const char *spdm_reason_word(enum spdm_reason reason)
{
	static const char *const words[] = {
		[SPDM_OK] = "none",
		[SPDM_BAD_LENGTH] = "report-length",
		[SPDM_BAD_FORMAT] = "report-format",
		[SPDM_BAD_SIGNATURE] = "report-signature",
		[SPDM_BAD_FWID] = "fwid",
	};

	return (size_t)reason < ARRAY_LEN(words) ? words[reason] : "none";
}

int spdm_refuse(struct err *err, enum spdm_reason why, const char *fmt, ...)
{
	enum err_kind kind = why == SPDM_BAD_SIGNATURE ? ERR_UNTRUSTED : ERR_INVALID;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(err, kind, "%s: %s", spdm_reason_word(why), text);
	err->code = why;
	return -1;
}

/* Where a reader stands, from the start of the report. */
static size_t offset_of(const struct spdm_report *r, const struct rd *in)
{
	return (size_t)(in->p - r->bytes);
}

static struct span span_of(const struct spdm_report *r, const struct rd *part)
{
	return (struct span){ .at = (uint16_t)offset_of(r, part), .size = (uint16_t)part->left };
}

static int too_short(const struct spdm_report *r, const struct rd *in, const char *what,
		     struct err *err)
{
	return spdm_refuse(err, SPDM_BAD_LENGTH, "%s at offset %zu does not fit into %zu bytes", what,
			   offset_of(r, in), r->size);
}

struct byte_rule {
	const char *name;
	uint8_t want, mask;
};

/* Bytes with exactly one good value each. */
static int bytes_expect(const struct spdm_report *r, struct rd *in, const struct byte_rule *rules,
			size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = offset_of(r, in);
		uint8_t got;

		if (!rd_u8(in, &got))
			return too_short(r, in, rules[i].name, err);
		if ((got & rules[i].mask) != rules[i].want)
			return spdm_refuse(err, SPDM_BAD_FORMAT, "%s at offset %zu is 0x%02x, not 0x%02x",
					   rules[i].name, at, got, rules[i].want);
	}
	return 0;
}

static int request_parse(const struct spdm_report *r, struct rd *in, struct err *err)
{
	static const struct byte_rule head[] = {
		{ "request version", VERSION_1_1, 0xff },
		{ "request code", GET_MEASUREMENTS, 0xff },
		{ "request param1", PARAM1_SIGNED, 0xff },
		{ "request param2", PARAM2_ALL_BLOCKS, 0xff },
	};
	static const struct byte_rule slot[] = { { "request slot", 0, 0xff } };

	if (in->left < REQUEST_BYTES)
		return too_short(r, in, "the request", err);
	if (bytes_expect(r, in, head, ARRAY_LEN(head), err) < 0)
		return -1;
	if (!rd_skip(in, SPDM_NONCE_BYTES))
		return too_short(r, in, "request nonce", err);
	return bytes_expect(r, in, slot, ARRAY_LEN(slot), err);
}

/* One block; the two sizes in it must agree. */
static int block_parse(struct spdm_report *r, struct rd *in, bool seen[SPDM_MAX_BLOCKS + 1],
		       struct err *err)
{
	size_t at = offset_of(r, in);
	uint8_t index, specification, type;
	uint16_t size, value_size;
	struct rd body, value;

	if (!rd_u8(in, &index) || !rd_u8(in, &specification) || !rd_le16(in, &size) ||
	    !rd_sub(in, size, &body) || !rd_u8(&body, &type) || !rd_le16(&body, &value_size) ||
	    !rd_sub(&body, value_size, &value) || !rd_end(&body))
		return spdm_refuse(err, SPDM_BAD_FORMAT,
				   "measurement block at offset %zu: sizes disagree", at);
	if (index < 1 || index > r->n_blocks || seen[index])
		return spdm_refuse(err, SPDM_BAD_FORMAT,
				   "measurement block at offset %zu: index %u %s", at, index,
				   index < 1 || index > r->n_blocks ? "is out of range" : "again");
	if (specification != SPECIFICATION_DMTF)
		return spdm_refuse(err, SPDM_BAD_FORMAT,
				   "measurement block %u at offset %zu: specification %u, not DMTF",
				   index, at, specification);
	if (type & TYPE_RAW_BITS)
		return spdm_refuse(err, SPDM_BAD_FORMAT,
				   "measurement block %u at offset %zu: a raw bit stream", index, at);
	seen[index] = true;
	r->block[index - 1] = (struct block){ .type = type, .value = span_of(r, &value) };
	return 0;
}

static int blocks_parse(struct spdm_report *r, struct rd *record, struct err *err)
{
	bool seen[SPDM_MAX_BLOCKS + 1] = { false };

	for (size_t i = 0; i < r->n_blocks; i++)
		if (block_parse(r, record, seen, err) < 0)
			return -1;
	if (!rd_end(record))
		return spdm_refuse(err, SPDM_BAD_FORMAT,
				   "measurement record: %zu bytes after the last of %zu blocks at offset %zu",
				   record->left, r->n_blocks, offset_of(r, record));
	return 0;
}

static int field_parse(struct spdm_report *r, struct rd *in, struct err *err)
{
	size_t at = offset_of(r, in);
	uint16_t type, size;
	struct rd value;

	if (!rd_le16(in, &type) || !rd_le16(in, &size) || !rd_sub(in, size, &value))
		return spdm_refuse(err, SPDM_BAD_FORMAT,
				   "opaque field at offset %zu ends behind the opaque data", at);
	if (type == FIELD_ZERO || type == FIELD_INVALID)
		return spdm_refuse(err, SPDM_BAD_FORMAT, "opaque field at offset %zu: type %u", at, type);
	for (size_t i = 0; i < r->n_fields; i++)
		if (r->field[i].type == type)
			return spdm_refuse(err, SPDM_BAD_FORMAT,
					   "opaque field at offset %zu: type %u again", at, type);
	if (r->n_fields == SPDM_MAX_FIELDS)
		return spdm_refuse(err, SPDM_BAD_FORMAT, "more than %d opaque fields", SPDM_MAX_FIELDS);
	r->field[r->n_fields++] = (struct field){ .type = type, .value = span_of(r, &value) };
	return 0;
}

static int response_head_parse(struct spdm_report *r, struct rd *in, struct rd *record, struct err *err)
{
	static const struct byte_rule head[] = {
		{ "response version", VERSION_1_1, 0xff },
		{ "response code", MEASUREMENTS, 0xff },
		{ "response param1", 0, 0xff },
		{ "response param2", 0, SLOT_MASK },
	};
	uint8_t blocks, high;
	uint16_t low;

	if (in->left > 1 && in->p[1] == ERROR)
		return spdm_refuse(err, SPDM_BAD_FORMAT, "the response is an SPDM ERROR");
	if (bytes_expect(r, in, head, ARRAY_LEN(head), err) < 0)
		return -1;
	if (!rd_u8(in, &blocks) || !rd_le16(in, &low) || !rd_u8(in, &high))
		return too_short(r, in, "the response's header", err);
	if (blocks == 0)
		return spdm_refuse(err, SPDM_BAD_FORMAT, "no measurement block at offset %zu",
				   offset_of(r, in) - 4);
	r->n_blocks = blocks;
	if (!rd_sub(in, (size_t)high << 16 | low, record))
		return too_short(r, in, "measurement record", err);
	return 0;
}

static int response_parse(struct spdm_report *r, struct rd *in, struct err *err)
{
	struct rd record, opaque;
	uint16_t size;

	if (response_head_parse(r, in, &record, err) < 0 || blocks_parse(r, &record, err) < 0)
		return -1;
	if (!rd_skip(in, SPDM_NONCE_BYTES) || !rd_le16(in, &size))
		return too_short(r, in, "responder nonce", err);
	if (size == 0)
		return spdm_refuse(err, SPDM_BAD_FORMAT, "no opaque data at offset %zu",
				   offset_of(r, in));
	if (!rd_sub(in, size, &opaque))
		return too_short(r, in, "opaque data", err);
	while (!rd_end(&opaque))
		if (field_parse(r, &opaque, err) < 0)
			return -1;
	if (in->left != SPDM_SIGNATURE_BYTES)
		return spdm_refuse(err, SPDM_BAD_LENGTH, "%zu bytes at offset %zu, not the %d of a signature",
				   in->left, offset_of(r, in), SPDM_SIGNATURE_BYTES);
	return 0;
}

int spdm_report_parse(struct rd in, struct spdm_report **out, struct err *err)
{
	AUTO(spdm_report_free) struct spdm_report *r = NULL;
	struct rd all;

	if (in.left == 0 || in.left > SPDM_REPORT_MAX_BYTES)
		return spdm_refuse(err, SPDM_BAD_LENGTH, "%zu bytes, not 1 to %d", in.left,
				   SPDM_REPORT_MAX_BYTES);
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(err);
	memcpy(r->bytes, in.p, in.left);
	r->size = in.left;
	all = rd_of(r->bytes, r->size);
	if (request_parse(r, &all, err) < 0 || response_parse(r, &all, err) < 0)
		return -1;
	*out = TAKE_PTR(r);
	return 0;
}

void spdm_report_free(struct spdm_report *r)
{
	free(r);
}

struct rd spdm_report_signed_bytes(const struct spdm_report *r)
{
	return rd_of(r->bytes, r->size - SPDM_SIGNATURE_BYTES);
}

struct rd spdm_report_signature(const struct spdm_report *r)
{
	return rd_of(r->bytes + r->size - SPDM_SIGNATURE_BYTES, SPDM_SIGNATURE_BYTES);
}

const uint8_t *spdm_report_nonce(const struct spdm_report *r)
{
	return r->bytes + NONCE_OFFSET;
}
