/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - reads JSON that strangers wrote, writes JSON that we mean.
 *
 * In:       text of any length and shape; trusted for nothing.
 * Out:      a jansson document (json_t, json_decref() when done), or, through a table of fields, a
 *           struct with exact types.  Or, the other way, compact text in a struct buf.
 * Owns:     nothing.  What a table borrows (STR, OBJECT, ARRAY) lives as long as the document.
 * Fails:    ERR_INVALID, naming the field ("metadata.name: ...") or the byte; ERR_SYSTEM when memory
 *           is short.  Structs and documents then read as empty.
 * Does not: guess.  A number in quotes is not a number, twice the same key is an error, text after
 *           the document is an error.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"

/* What a document may cost us, checked by one linear pass before anything is built from it. */
struct json_limits {
	size_t bytes;
	size_t values; /* members and elements, all levels together: each costs some 100 bytes */
	unsigned depth;
};

#define JSON_LIMITS ((struct json_limits){ .bytes = 4 << 20, .values = 200000, .depth = 64 })

static inline void json_free(json_t *doc)
{
	json_decref(doc);
}
DEFINE_AUTO(json_t *, json_free);

int json_parse(struct rd text, struct json_limits limits, json_t **out, struct err *err) MUST_CHECK;

/* --- from a document to a struct ------------------------------------------------------------- */

enum json_field_type {
	JSON_FIELD_TEXT,   /* char[]: a copy; a longer text is an error */
	JSON_FIELD_STR,	   /* const char *: borrowed, without NUL inside */
	JSON_FIELD_INT,	   /* int64_t */
	JSON_FIELD_BOOL,   /* bool */
	JSON_FIELD_OBJECT, /* json_t *: borrowed */
	JSON_FIELD_ARRAY,  /* json_t *: borrowed */
};

enum {
	JSON_REQUIRED = 1, /* else absent or null leaves zero, false, NULL, "" */
};

struct json_field {
	const char *name;
	enum json_field_type type;
	unsigned flags;
	size_t offset, size;
};

/*	static const struct json_field fields[] = {
 *		JSON_FIELD(struct pod, name, "name", TEXT, JSON_REQUIRED),
 *	};
 */
#define JSON_FIELD(type_, member, key, kind, flags_)                                               \
	{                                                                                          \
		.name = (key), .type = JSON_FIELD_##kind, .flags = (flags_),                       \
		.offset = offsetof(type_, member), .size = sizeof(((type_ *)0)->member),           \
	}

/* Fills the table's members of `out` from `object`; other keys are ignored.  `where` names the object
 * in errors ("" for the document itself).  Anything but an object is an error too. */
int json_fields_read(const json_t *object, const char *where, const struct json_field *fields,
		     size_t n, void *out, struct err *err) MUST_CHECK;

/* ERR_INVALID for the first key of `object` that the table does not know. */
int json_fields_only(const json_t *object, const char *where, const struct json_field *fields,
		     size_t n, struct err *err) MUST_CHECK;

/* --- to text --------------------------------------------------------------------------------- */

/* Compact JSON, piece by piece; commas, quoting and escapes are taken care of.  Failure sticks and is
 * told once, by json_put_done().
 *
 *	struct json_put w = json_put_to(&buf);
 *	json_put_object(&w);
 *	json_put_key(&w, "labels");
 *	json_put_object(&w);
 *	json_put_member_str(&w, "nvidia.com/cc.mode", "on");
 *	json_put_end(&w);
 *	json_put_end(&w);
 *	if (json_put_done(&w, err) < 0) ...
 */
#define JSON_PUT_DEPTH 64

struct json_put {
	struct buf *out;
	unsigned depth;
	uint64_t is_array; /* bit per level */
	bool comma, wants_value;
	struct err err;
};

struct json_put json_put_to(struct buf *out);
void json_put_object(struct json_put *w);
void json_put_array(struct json_put *w);
void json_put_end(struct json_put *w); /* of the innermost object or array */
void json_put_key(struct json_put *w, const char *key);
void json_put_str(struct json_put *w,
		  const char *s); /* NULL is null; broken UTF-8 becomes U+FFFD */
void json_put_strn(struct json_put *w, const char *s, size_t n);
void json_put_int(struct json_put *w, int64_t v);
void json_put_bool(struct json_put *w, bool v);
void json_put_null(struct json_put *w);
void json_put_doc(struct json_put *w, const json_t *doc); /* NULL is null */
int json_put_done(struct json_put *w, struct err *err) MUST_CHECK;

void json_put_member_str(struct json_put *w, const char *key, const char *s);
void json_put_member_int(struct json_put *w, const char *key, int64_t v);
void json_put_member_bool(struct json_put *w, const char *key, bool v);
