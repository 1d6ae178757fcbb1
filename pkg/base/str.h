/* SPDX-License-Identifier: Apache-2.0 */
/*
 * str - strict conversions of text: the whole string must be what was asked for, else false.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

static inline bool str_eq(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

MUST_CHECK bool str_u64(const char *s, uint64_t max, uint64_t *out);	 /* decimal */
MUST_CHECK bool str_hex(const char *s, uint64_t max, uint64_t *out);	 /* with or without 0x */
MUST_CHECK bool str_bool(const char *s, bool *out);			 /* true false, any case */
MUST_CHECK bool str_duration_ms(const char *s, uint64_t *out);		 /* 250ms 30s 10m 1h30m */

/* Copies and cuts; false when something had to be cut.  dst is always terminated. */
bool str_copy(char *dst, size_t size, const char *src);
bool str_copyn(char *dst, size_t size, const char *src, size_t n);
char *str_trim(char *s); /* in place: without white space at both ends */

/* Replaces control characters by '?', so that text from strangers can be shown.  In place. */
char *str_printable(char *s);
