/* SPDX-License-Identifier: Apache-2.0 */
/* err - the text grows from right to left, so the first cause is what never gets lost. */
#include "base/err.h"

#include <errno.h>
#include <string.h>

static void put_front(struct err *e, const char *text)
{
	size_t n = strlen(text);

	if (n > e->at)
		n = e->at;
	e->at = (uint16_t)(e->at - n);
	memcpy(e->buf + e->at, text, n);
}

static void start(struct err *e, enum err_kind kind, int code)
{
	e->kind = kind;
	e->code = code;
	e->at = sizeof(e->buf) - 1;
	e->buf[e->at] = '\0';
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	char text[sizeof(e->buf)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	start(e, kind, 0);
	put_front(e, text);
	return -1;
}

static enum err_kind kind_of_errno(int code)
{
	switch (code) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EBUSY:
		return ERR_BUSY;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	default:
		return ERR_SYSTEM;
	}
}

int err_errno(struct err *e, const char *fmt, ...)
{
	int code = errno;
	char text[sizeof(e->buf)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	start(e, kind_of_errno(code), code);
	put_front(e, strerror(code));
	put_front(e, ": ");
	put_front(e, text);
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char text[sizeof(e->buf)];
	va_list ap;

	if (e->kind == ERR_NONE)
		start(e, ERR_SYSTEM, 0);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_front(e, ": ");
	put_front(e, text);
	return -1;
}

int err_nomem(struct err *e)
{
	start(e, ERR_SYSTEM, ENOMEM);
	put_front(e, "out of memory");
	return -1;
}

void err_clear(struct err *e)
{
	start(e, ERR_NONE, 0);
}

const char *err_text(const struct err *e)
{
	return e->kind == ERR_NONE ? "" : e->buf + e->at;
}

const char *err_kind_name(enum err_kind kind)
{
	static const char *const names[ERR_N_KINDS] = {
		[ERR_NONE] = "none",
		[ERR_SYSTEM] = "system",
		[ERR_NOT_FOUND] = "not-found",
		[ERR_TIMEOUT] = "timeout",
		[ERR_INVALID] = "invalid",
		[ERR_UNSUPPORTED] = "unsupported",
		[ERR_BUSY] = "busy",
		[ERR_INTERRUPTED] = "interrupted",
		[ERR_DENIED] = "denied",
		[ERR_CONFLICT] = "conflict",
		[ERR_GONE] = "gone",
		[ERR_TRANSIENT] = "transient",
		[ERR_DEVICE] = "device",
		[ERR_UNTRUSTED] = "untrusted",
	};

	return (unsigned)kind < ERR_N_KINDS ? names[kind] : "unknown";
}
