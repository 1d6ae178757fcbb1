/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: a few calls that append to a buffer.  No document is built, so a patch or an annotation
 * costs its own bytes and nothing else.
 */
#include <inttypes.h>
#include <string.h>

#include "json/json.h"

struct json_put json_put_to(struct buf *out)
{
	return (struct json_put){ .out = out, .err = ERR_INIT };
}

static bool broken(const struct json_put *w)
{
	return w->err.kind != ERR_NONE;
}

static void raw(struct json_put *w, const char *s, size_t n)
{
	if (!broken(w) && buf_add(w->out, s, n, &w->err) < 0)
		err_wrap(&w->err, "writing JSON");
}

static bool in_object(const struct json_put *w)
{
	return w->depth > 0 && !(w->is_array >> (w->depth - 1) & 1);
}

static void misuse(struct json_put *w, const char *what)
{
	if (!broken(w))
		err_set(&w->err, ERR_INVALID, "writing JSON: %s", what);
}

/* Whatever comes next is a value: a member's after its key, else an element. */
static void before_value(struct json_put *w)
{
	if (in_object(w) && !w->wants_value)
		misuse(w, "value without a key");
	else if (!in_object(w) && w->comma)
		raw(w, ",", 1);
	w->wants_value = false;
	w->comma = true;
}

static void open_level(struct json_put *w, bool array)
{
	before_value(w);
	if (w->depth == JSON_PUT_DEPTH) {
		misuse(w, "nested too deeply");
		return;
	}
	raw(w, array ? "[" : "{", 1);
	w->is_array &= ~(UINT64_C(1) << w->depth);
	w->is_array |= (uint64_t)array << w->depth;
	w->depth++;
	w->comma = false;
}

void json_put_object(struct json_put *w)
{
	open_level(w, false);
}

void json_put_array(struct json_put *w)
{
	open_level(w, true);
}

void json_put_end(struct json_put *w)
{
	if (w->depth == 0 || w->wants_value) {
		misuse(w, "end without a beginning, or after a key");
		return;
	}
	raw(w, in_object(w) ? "}" : "]", 1);
	w->depth--;
	w->comma = true;
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629: no overlong form, no surrogate), else 0. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	static const struct {
		unsigned char lead_from, lead_to, next_from, next_to, len;
	} forms[] = {
		{ 0x00, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	size_t len;

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (s[0] < forms[i].lead_from || s[0] > forms[i].lead_to)
			continue;
		len = forms[i].len;
		if (len == 1)
			return 1;
		if (left < len || s[1] < forms[i].next_from || s[1] > forms[i].next_to)
			return 0;
		for (size_t k = 2; k < len; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)
				return 0;
		return len;
	}
	return 0;
}

static void put_escaped(struct json_put *w, unsigned char c)
{
	static const char named[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
	const char *at = memchr(named, c, sizeof(named) - 1);
	char text[8];

	if (at)
		snprintf(text, sizeof(text), "\\%c", letters[at - named]);
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	raw(w, text, strlen(text));
}

static void put_quoted(struct json_put *w, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t start = 0, i = 0;

	raw(w, "\"", 1);
	while (i < n) {
		size_t len = utf8_len(p + i, n - i);
		bool plain = len > 1 || (len == 1 && p[i] >= 0x20 && p[i] != 0x7f && p[i] != '"' &&
					 p[i] != '\\');

		if (plain) {
			i += len;
			continue;
		}
		raw(w, s + start, i - start);
		if (len == 0)
			raw(w, "\xef\xbf\xbd", 3);
		else
			put_escaped(w, p[i]);
		start = ++i;
	}
	raw(w, s + start, n - start);
	raw(w, "\"", 1);
}

void json_put_key(struct json_put *w, const char *key)
{
	if (!in_object(w) || w->wants_value) {
		misuse(w, "key outside an object, or after a key");
		return;
	}
	if (w->comma)
		raw(w, ",", 1);
	put_quoted(w, key, strlen(key));
	raw(w, ":", 1);
	w->wants_value = true;
}

void json_put_strn(struct json_put *w, const char *s, size_t n)
{
	before_value(w);
	put_quoted(w, s, n);
}

void json_put_str(struct json_put *w, const char *s)
{
	if (s)
		json_put_strn(w, s, strlen(s));
	else
		json_put_null(w);
}

static void put_word(struct json_put *w, const char *word)
{
	before_value(w);
	raw(w, word, strlen(word));
}

void json_put_int(struct json_put *w, int64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, v);
	put_word(w, text);
}

void json_put_bool(struct json_put *w, bool v)
{
	put_word(w, v ? "true" : "false");
}

void json_put_null(struct json_put *w)
{
	put_word(w, "null");
}

static int on_dump(const char *p, size_t n, void *arg)
{
	struct json_put *w = arg;

	raw(w, p, n);
	return broken(w) ? -1 : 0;
}

void json_put_doc(struct json_put *w, const json_t *doc)
{
	if (!doc) {
		json_put_null(w);
		return;
	}
	before_value(w);
	if (json_dump_callback(doc, on_dump, w, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
		misuse(w, "document that cannot be written");
}

int json_put_done(struct json_put *w, struct err *err)
{
	if (w->depth != 0 || w->wants_value)
		misuse(w, "unfinished");
	if (!broken(w))
		return 0;
	*err = w->err;
	return -1;
}

void json_put_member_str(struct json_put *w, const char *key, const char *s)
{
	json_put_key(w, key);
	json_put_str(w, s);
}

void json_put_member_int(struct json_put *w, const char *key, int64_t v)
{
	json_put_key(w, key);
	json_put_int(w, v);
}

void json_put_member_bool(struct json_put *w, const char *key, bool v)
{
	json_put_key(w, key);
	json_put_bool(w, v);
}
