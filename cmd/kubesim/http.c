/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of HTTP/1.1 that API clients use: requests with a length or in chunks.
 */
#include "http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

const char *http_reason(int code)
{
	static const struct {
		int code;
		const char *text;
	} rows[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 413, "Request Entity Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Entity" },
		{ 429, "Too Many Requests" },
		{ 500, "Internal Server Error" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].code == code)
			return rows[i].text;
	return "Status";
}

/* Only printable ASCII: targets are percent-encoded, and both end up in JSON lines. */
static bool is_printable(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

static char *printable(char *s)
{
	for (char *p = s; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return s;
}

static bool request_line_parse(char *line, struct http_request *rq)
{
	char *target = strchr(line, ' '), *version = target ? strrchr(line, ' ') : NULL;

	if (!version || version == target)
		return false;
	*target++ = '\0';
	*version++ = '\0';
	return str_eq(version, "HTTP/1.1") && *target == '/' && is_printable(target) &&
	       str_copy(rq->method, sizeof(rq->method), line) &&
	       str_copy(rq->target, sizeof(rq->target), target);
}

static bool header_parse(char *line, struct http_request *rq)
{
	char *colon = strchr(line, ':'), *v;

	if (!colon)
		return false;
	*colon = '\0';
	v = str_trim(colon + 1);
	if (!strcasecmp(line, "Content-Length"))
		return str_u64(v, HTTP_MAX_BODY, &rq->length);
	if (!strcasecmp(line, "Transfer-Encoding"))
		return rq->chunked = !strcasecmp(v, "chunked");
	if (!strcasecmp(line, "Expect"))
		rq->expects_continue = !strcasecmp(v, "100-continue");
	else if (!strcasecmp(line, "Connection"))
		rq->wants_close = !strcasecmp(v, "close");
	else if (!strcasecmp(line, "Accept"))
		str_copy(rq->accept, sizeof(rq->accept), v);
	else if (!strcasecmp(line, "Content-Type"))
		str_copy(rq->content_type, sizeof(rq->content_type), v);
	else if (!strcasecmp(line, "User-Agent"))
		str_copy(rq->agent, sizeof(rq->agent), printable(v));
	else if (!strcasecmp(line, "Authorization"))
		return str_copy(rq->authorization, sizeof(rq->authorization), v);
	return true;
}

int http_head_parse(const struct buf *in, struct http_request *out)
{
	const char *end = in->len ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;
	AUTO_MEM char *head = NULL;
	char *save = NULL, *line;

	if (!end)
		return in->len > HTTP_MAX_HEAD ? -1 : 0;
	*out = (struct http_request){ .head_bytes = (size_t)(end - in->data) + 4 };
	if (out->head_bytes > HTTP_MAX_HEAD || memchr(in->data, '\0', out->head_bytes))
		return -1;
	head = strndup(in->data, out->head_bytes);
	line = head ? strtok_r(head, "\r\n", &save) : NULL;
	if (!line || !request_line_parse(line, out))
		return -1;
	while ((line = strtok_r(NULL, "\r\n", &save)))
		if (!header_parse(line, out))
			return -1;
	return 1;
}

/* One chunk at `at`: 1 and the position behind it, 0 more bytes needed, -1 malformed. */
static int chunk_read(const struct buf *in, size_t *at, struct buf *body, bool *last)
{
	const char *p = in->data + *at;
	const char *eol = memmem(p, in->len - *at, "\r\n", 2);
	char size[20];
	uint64_t n;
	struct err err = ERR_INIT;

	if (!eol)
		return in->len - *at > sizeof(size) ? -1 : 0;
	if (!str_copyn(size, sizeof(size), p, (size_t)(eol - p)) ||
	    !str_hex(size, HTTP_MAX_BODY, &n))
		return -1;
	p = eol + 2;
	if ((size_t)(in->data + in->len - p) < n + 2)
		return 0;
	if (p[n] != '\r' || p[n + 1] != '\n' || buf_add(body, p, n, &err) < 0)
		return -1;
	*last = n == 0;
	*at = (size_t)(p - in->data) + n + 2;
	return 1;
}

int http_body_read(const struct buf *in, const struct http_request *rq, struct buf *body,
		   size_t *consumed)
{
	size_t at = rq->head_bytes;
	struct err err = ERR_INIT;
	bool last = false;

	buf_reset(body);
	while (rq->chunked && !last) {
		int r = chunk_read(in, &at, body, &last);

		if (r <= 0)
			return r;
	}
	if (!rq->chunked) {
		if (in->len - at < rq->length)
			return 0;
		if (buf_add(body, in->data + at, rq->length, &err) < 0)
			return -1;
		at += rq->length;
	}
	*consumed = at;
	return 1;
}
