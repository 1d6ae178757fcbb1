/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rd - reads bytes that a stranger wrote: a window on memory that someone else owns.
 *
 * A read succeeds whole or changes nothing, and returns a bool that the compiler makes you look at;
 * reads chain with &&.  Nothing is copied: pointers lead into the input, which must live as long.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct rd {
	const uint8_t *p;
	size_t left;
};

static inline struct rd rd_of(const void *p, size_t n)
{
	return (struct rd){.p = p, .left = n};
}
static inline bool rd_end(const struct rd *r)
{
	return r->left == 0;
}

MUST_CHECK bool rd_u8(struct rd *r, uint8_t *out);
MUST_CHECK bool rd_le16(struct rd *r, uint16_t *out);
MUST_CHECK bool rd_le32(struct rd *r, uint32_t *out);
MUST_CHECK bool rd_le64(struct rd *r, uint64_t *out);
MUST_CHECK bool rd_be16(struct rd *r, uint16_t *out);
MUST_CHECK bool rd_be32(struct rd *r, uint32_t *out);
MUST_CHECK bool rd_skip(struct rd *r, size_t n);
MUST_CHECK bool rd_sub(struct rd *r, size_t n, struct rd *out);	    /* cuts off the next n bytes */
MUST_CHECK bool rd_line(struct rd *r, struct rd *out);		    /* up to and without '\n'; the
								       last line needs none */
