/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to events.  A line that arrives whole is read where it lies; of one that does not, only
 * the incomplete tail is kept, and each byte is looked at once for its end.
 */
#include <string.h>

#include "json/json.h"
#include "k8s/internal.h"

#define KEEP_BYTES (32 << 10) /* a tail that grew beyond is given back after use */

static int add_to_tail(struct lines *l, struct rd part, struct err *err)
{
	l->tail.max = WATCH_LINE_MAX;
	if (part.left > WATCH_LINE_MAX || l->tail.len > WATCH_LINE_MAX - part.left)
		return err_set(err, ERR_INVALID, "a line of the watch is longer than %d bytes",
			       WATCH_LINE_MAX);
	return buf_add(&l->tail, part.p, part.left, err);
}

static int finish_tail(struct lines *l, struct rd part, on_line *fn, void *arg, struct err *err)
{
	struct buf line;
	int r;

	if (add_to_tail(l, part, err) < 0)
		return -1;
	line = l->tail; /* fn may end the watch, and the lines with it */
	l->tail = BUF_INIT(WATCH_LINE_MAX);
	r = fn(arg, buf_rd(&line), err);
	if (r == 0 && line.cap <= KEEP_BYTES) {
		buf_reset(&line);
		l->tail = line;
	} else {
		buf_clear(&line);
	}
	return r;
}

int lines_feed(struct lines *l, struct rd chunk, on_line *fn, void *arg, struct err *err)
{
	while (chunk.left > 0) {
		const uint8_t *end = memchr(chunk.p, '\n', chunk.left);
		struct rd part = { .p = chunk.p,
				   .left = end ? (size_t)(end - chunk.p) : chunk.left };
		int r = 0;

		if (!end)
			return add_to_tail(l, part, err);
		if (l->tail.len > 0)
			r = finish_tail(l, part, fn, arg, err);
		else if (part.left > WATCH_LINE_MAX)
			r = add_to_tail(l, part, err);
		else if (part.left > 0)
			r = fn(arg, part, err);
		if (r < 0)
			return -1;
		chunk = rd_of(end + 1, chunk.left - part.left - 1);
	}
	return 0;
}

void lines_clear(struct lines *l)
{
	buf_clear(&l->tail);
}

/* --- events ----------------------------------------------------------------------------------- */

static const char *const type_names[] = {
	[EVENT_ADDED] = "ADDED",       [EVENT_MODIFIED] = "MODIFIED", [EVENT_DELETED] = "DELETED",
	[EVENT_BOOKMARK] = "BOOKMARK", [EVENT_ERROR] = "ERROR",
};

static int type_of(const char *name, enum event_type *out, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
		if (strcmp(type_names[i], name) == 0) {
			*out = (enum event_type)i;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "an event of no known type");
}

struct raw_event {
	const char *type;
	json_t *object;
};

struct raw_status {
	int64_t code;
};

static int read_event(struct event *ev, struct err *err)
{
	static const struct json_field event_fields[] = {
		JSON_FIELD(struct raw_event, type, "type", STR, JSON_REQUIRED),
		JSON_FIELD(struct raw_event, object, "object", OBJECT, JSON_REQUIRED),
	};
	static const struct json_field status_fields[] = {
		JSON_FIELD(struct raw_status, code, "code", INT, 0),
	};
	struct raw_event raw;
	struct raw_status status;
	struct meta meta;

	if (json_fields_read(ev->doc, "", event_fields, ARRAY_LEN(event_fields), &raw, err) < 0 ||
	    type_of(raw.type, &ev->type, err) < 0)
		return -1;
	ev->object = raw.object;
	if (ev->type == EVENT_ERROR) {
		if (json_fields_read(raw.object, "object", status_fields, ARRAY_LEN(status_fields),
				     &status, err) < 0)
			return -1;
		ev->code = status.code >= 100 && status.code <= 599 ? (int)status.code : 0;
		return 0;
	}
	if (meta_read(raw.object, &meta, err) < 0)
		return -1;
	if (!meta.version)
		return err_set(err, ERR_INVALID, "metadata.resourceVersion: is missing");
	ev->version = meta.version;
	return 0;
}

int event_parse(struct rd line, struct event *out, struct err *err)
{
	struct json_limits limits = JSON_LIMITS;

	*out = (struct event){ 0 };
	limits.bytes = WATCH_LINE_MAX;
	if (json_parse(line, limits, &out->doc, err) < 0 || read_event(out, err) < 0) {
		json_free(out->doc);
		*out = (struct event){ 0 };
		return err_wrap(err, "an event of the watch");
	}
	return 0;
}
