/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml - reads a small YAML file into a tree that remembers its lines.
 *
 * In:       text that a person wrote, and the name to use for it in errors.
 * Out:      a tree of scalars, lists and maps.  JSON is YAML, so kubeconfigs in JSON work as well.
 * Owns:     everything in the tree, until yaml_tree_free().
 * Fails:    ERR_INVALID with "FILE:LINE: what"; ERR_SYSTEM when memory is short.
 * Does not: follow anchors and aliases, tags, or a second document: each is an error that says so.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rd.h"

#define YAML_MAX_BYTES (1 << 20)
#define YAML_MAX_NODES 20000
#define YAML_MAX_KEYS  1000 /* in one map */
#define YAML_MAX_DEPTH 32

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
	enum yaml_kind kind;
	unsigned line; /* counted from 1 */
	bool quoted;   /* "true" in quotes is text */
	char *text;    /* scalar; never NULL there */
	char *key;     /* when its parent is a map */
	struct yaml *child, *next;
	char *file; /* the name given to yaml_parse(); the root's */
};

int yaml_parse(const char *file, struct rd text, struct yaml **out, struct err *err) MUST_CHECK;
void yaml_tree_free(struct yaml *root);
DEFINE_AUTO(struct yaml *, yaml_tree_free);

/* The map's member, NULL when absent, null, or when `map` is NULL or no map: chains of it are safe. */
const struct yaml *yaml_get(const struct yaml *map, const char *key);
bool yaml_is_null(const struct yaml *n); /* absent, ~, null, or nothing after the colon */

/* ERR_INVALID "FILE:LINE: text" about this node. */
int yaml_error(struct err *err, const struct yaml *n, const char *fmt, ...) PRINTF(3, 4);

/* --- from a map to a struct, as json_fields_read() does --------------------------------------- */

enum yaml_field_type {
	YAML_FIELD_STR,	     /* const char *: borrowed; any scalar is text */
	YAML_FIELD_BOOL,     /* bool: true or false, not in quotes */
	YAML_FIELD_U64,	     /* uint64_t: decimal */
	YAML_FIELD_DURATION, /* uint64_t: milliseconds, written as 10s, 5m */
	YAML_FIELD_LIST,     /* const struct yaml *: borrowed */
	YAML_FIELD_MAP,	     /* const struct yaml *: borrowed */
};

enum {
	YAML_REQUIRED = 1, /* else absent or null leaves zero, false, NULL */
};

struct yaml_field {
	const char *name;
	enum yaml_field_type type;
	unsigned flags;
	size_t offset, size;
};

#define YAML_FIELD(type_, member, key, kind, flags_)                                               \
	{                                                                                          \
		.name = (key), .type = YAML_FIELD_##kind, .flags = (flags_),                       \
		.offset = offsetof(type_, member), .size = sizeof(((type_ *)0)->member),           \
	}

/* `map` may be NULL or null: then every field is absent. */
int yaml_fields_read(const struct yaml *map, const struct yaml_field *fields, size_t n, void *out,
		     struct err *err) MUST_CHECK;

/* ERR_INVALID for the first key that the table does not know. */
int yaml_fields_only(const struct yaml *map, const struct yaml_field *fields, size_t n,
		     struct err *err) MUST_CHECK;
