/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may find where it expected an answer: half of it, a web page, 64 MiB, 100,000
 * brackets, a number where an object belongs.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

static const char web_page[] = "<html><head><title>502 Bad Gateway</title></head>"
			       "<body>the upstream is away</body></html>\n";

static int replace(struct buf *body, const char *text, size_t len, struct err *err)
{
	buf_reset(body);
	return buf_add(body, text, len, err);
}

/* Cuts the last '}' (and what follows) off, so that a member can be added. */
static bool reopen(struct buf *body)
{
	size_t n = body->len;

	while (n && body->data[n - 1] != '}')
		n--;
	if (!n)
		return false;
	body->len = n - 1;
	return true;
}

static int fill(struct buf *body, char c, size_t n, struct err *err)
{
	char block[4096];

	memset(block, c, sizeof(block));
	while (n) {
		size_t now = n < sizeof(block) ? n : sizeof(block);

		if (buf_add(body, block, now, err) < 0)
			return -1;
		n -= now;
	}
	return 0;
}

static int huge(struct buf *body, size_t n, struct err *err)
{
	if (!reopen(body))
		return 0;
	if (buf_reserve(body, n + 32, err) < 0 || buf_adds(body, ",\"padding\":\"", err) < 0 ||
	    fill(body, 'x', n, err) < 0)
		return -1;
	return buf_adds(body, "\"}\n", err);
}

static int nested(struct buf *body, size_t depth, struct err *err)
{
	if (!reopen(body))
		return 0;
	if (buf_adds(body, ",\"nested\":", err) < 0 || fill(body, '[', depth, err) < 0 ||
	    fill(body, ']', depth, err) < 0)
		return -1;
	return buf_adds(body, "}\n", err);
}

static json_t *other_type(const json_t *j)
{
	if (json_is_string(j))
		return json_integer(42);
	if (json_is_object(j))
		return json_string("text");
	if (json_is_array(j))
		return json_pack("{s:s}", "is", "no list");
	return json_string("7");
}

/* Puts another type where `path` leads; nothing when it leads nowhere. */
static void retype_at(json_t *obj, const char *path)
{
	const char *dot = strchr(path, '.');
	char key[128];
	json_t *v;

	if (!str_copyn(key, sizeof(key), path, dot ? (size_t)(dot - path) : strlen(path)))
		return;
	v = json_object_get(obj, key);
	if (!v)
		return;
	if (dot)
		retype_at(v, dot + 1);
	else
		json_object_set_new(obj, key, other_type(v));
}

static void retype_all(json_t *obj)
{
	const char *key;
	json_t *v;
	void *next;

	json_object_foreach_safe (obj, next, key, v)
		if (!str_eq(key, "kind") && !str_eq(key, "apiVersion"))
			json_object_set_new(obj, key, other_type(v));
}

static int wrong_types(struct buf *body, const char *field, struct err *err)
{
	json_auto_t *j = json_loadb(buf_str(body), body->len, 0, NULL);
	AUTO_MEM char *text = NULL;

	if (!j)
		return 0; /* not JSON to begin with, as /healthz */
	if (*field)
		retype_at(j, field);
	else
		retype_all(j);
	text = km_must(json_dumps(j, JSON_COMPACT));
	if (replace(body, text, strlen(text), err) < 0)
		return -1;
	return buf_adds(body, "\n", err);
}

static int error_event(struct buf *line, int code, const char *reason, struct err *err)
{
	json_auto_t *j = km_must_json(json_pack(
		"{s:s, s:o}", "type", "ERROR", "object",
		km_status(code, *reason ? reason : "InternalError", NULL, "scripted error")));
	AUTO_MEM char *text = km_must(json_dumps(j, JSON_COMPACT));

	if (replace(line, text, strlen(text), err) < 0)
		return -1;
	return buf_adds(line, "\n", err);
}

int kubemodel_fault_spoil(const struct kubemodel_fault *f, struct buf *body, struct err *err)
{
	switch (f->action) {
	case KUBEMODEL_TRUNCATED: /* as a line it still ends */
		body->len /= 2;
		return buf_adds(body, "\n", err);
	case KUBEMODEL_NOT_JSON:
		return replace(body, web_page, strlen(web_page), err);
	case KUBEMODEL_HUGE:
		return huge(body, f->bytes, err);
	case KUBEMODEL_NESTED:
		return nested(body, f->depth, err);
	case KUBEMODEL_WRONG_TYPES:
		return wrong_types(body, f->field, err);
	case KUBEMODEL_ERROR_EVENT:
		return error_event(body, (int)f->code, f->reason, err);
	default:
		return 0;
	}
}
