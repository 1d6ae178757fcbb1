/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err - what went wrong: a kind for code to decide on, a text for people.
 *
 * The caller allocates it, so that it works when memory is short.  Fallible functions return 0 or -1
 * and take `struct err *` last; it is never NULL.  `code` is the errno or HTTP status behind it, or
 * a reason of the package that set it (enum pki_reason, enum spdm_reason).
 * Callers put context in front with err_wrap(); when room runs out it is the context that is cut
 * and the cause that stays.  Texts name the object and what was attempted, in lower case.
 */
#pragma once
#include <stdarg.h>
#include <stdint.h>

#include "base/cleanup.h"

enum err_kind {
	ERR_NONE,
	ERR_SYSTEM,	 /* errno, memory */
	ERR_NOT_FOUND,
	ERR_TIMEOUT,
	ERR_INVALID,	 /* input breaks its format; retry is useless */
	ERR_UNSUPPORTED, /* well-formed, but this device or build cannot do it */
	ERR_BUSY,	 /* somebody else holds it */
	ERR_INTERRUPTED, /* we were asked to stop; what was begun can be resumed */
	ERR_DENIED,	 /* HTTP 401, 403, EPERM: not allowed */
	ERR_CONFLICT,	 /* HTTP 409: read again, then retry */
	ERR_GONE,	 /* HTTP 410: resourceVersion too old, list again */
	ERR_TRANSIENT,	 /* network, 429, 5xx: retry with backoff */
	ERR_DEVICE,	 /* a device answered wrongly or not at all */
	ERR_UNTRUSTED,	 /* signature, chain or policy said no; never retried away */
	ERR_N_KINDS
};

struct err {
	enum err_kind kind;
	int code;
	uint16_t at;   /* text is buf + at; buf fills from right to left */
	char buf[512];
};

#define ERR_INIT ((struct err){.kind = ERR_NONE, .at = sizeof(((struct err *)0)->buf) - 1})

/* All return -1, so that `return err_...(...)` is the whole error path. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF(3, 4);
int err_errno(struct err *e, const char *fmt, ...) PRINTF(2, 3); /* "text: strerror(errno)" */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);	 /* "new: old"; keeps kind, code */
int err_nomem(struct err *e);

void err_clear(struct err *e);
const char *err_text(const struct err *e); /* "" when there is none */
const char *err_kind_name(enum err_kind kind);
