/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf - bytes that grow, up to a ceiling named at the start.
 *
 * Owns its memory.  data is always followed by a NUL that len does not count, so text can be used
 * as a C string.  Fails with ERR_INVALID when the ceiling would be crossed (the content stays as it
 * was), ERR_SYSTEM when memory is short.
 */
#pragma once
#include <stddef.h>

#include "base/err.h"
#include "base/rd.h"

struct buf {
	char *data; /* NULL while nothing was ever added */
	size_t len, cap, max;
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

int buf_add(struct buf *b, const void *p, size_t n, struct err *err) MUST_CHECK;
int buf_adds(struct buf *b, const char *s, struct err *err) MUST_CHECK;
int buf_addf(struct buf *b, struct err *err, const char *fmt, ...) MUST_CHECK PRINTF(3, 4);
int buf_reserve(struct buf *b, size_t more, struct err *err) MUST_CHECK;
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */
void buf_reset(struct buf *b);		   /* empty, memory kept */
void buf_clear(struct buf *b);		   /* empty, memory given back */

static inline const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}
static inline struct rd buf_rd(const struct buf *b)
{
	return rd_of(b->data, b->len);
}

#define AUTO_BUF CLEANUP(buf_clear) struct buf /* AUTO_BUF text = BUF_INIT(4096); */
