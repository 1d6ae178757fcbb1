/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http - reads HTTP/1.1 requests from bytes, and writes the heads of answers.
 *
 * By hand and not by a library, because faults need the raw connection.  Bounded: a head of
 * HTTP_MAX_HEAD, a body of HTTP_MAX_BODY bytes.  Owns nothing.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define HTTP_MAX_HEAD (64u << 10)
#define HTTP_MAX_BODY (4u << 20) /* above the API's own limit, which answers 413 */

struct http_request {
	char method[16], target[8192];
	char accept[1024], content_type[256], authorization[4096], agent[256];
	bool chunked, expects_continue, wants_close;
	uint64_t length;
	size_t head_bytes;
};

/* 1: a whole head was read.  0: more bytes are needed.  -1: not HTTP, or too large. */
int http_head_parse(const struct buf *in, struct http_request *out);

/* The body behind the head into `body`.  1: whole, *consumed says how many bytes of `in` head and
 * body took.  0: more bytes are needed.  -1: malformed or too large. */
int http_body_read(const struct buf *in, const struct http_request *rq, struct buf *body,
		   size_t *consumed);

const char *http_reason(int code);
