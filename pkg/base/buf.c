/* SPDX-License-Identifier: Apache-2.0 */
/* buf - doubling growth below a ceiling. */
#include "base/buf.h"

#include <string.h>

int buf_reserve(struct buf *b, size_t more, struct err *err)
{
	size_t cap = b->cap ? b->cap : 64;
	char *p;

	if (more > b->max || b->len > b->max - more)
		return err_set(err, ERR_INVALID, "longer than the allowed %zu bytes", b->max);
	if (b->data && b->len + more < b->cap)
		return 0;
	while (cap <= b->len + more)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p)
		return err_nomem(err);
	b->data = p;
	b->cap = cap;
	b->data[b->len] = '\0';
	return 0;
}

int buf_add(struct buf *b, const void *p, size_t n, struct err *err)
{
	if (buf_reserve(b, n, err) < 0)
		return -1;
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

int buf_adds(struct buf *b, const char *s, struct err *err)
{
	return buf_add(b, s, strlen(s), err);
}

int buf_addf(struct buf *b, struct err *err, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || buf_reserve(b, (size_t)n, err) < 0) {
		va_end(again);
		return n < 0 ? err_set(err, ERR_INVALID, "text cannot be formatted") : -1;
	}
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		buf_reset(b);
		return;
	}
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

void buf_clear(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT(b->max);
}
