/* SPDX-License-Identifier: Apache-2.0 */
/* log - formats one event into one line and writes it with one call. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES	8192
#define VALUE_MAX_BYTES 1024 /* longer values are cut, and end in "..." */

const char *const log_level_names[] = {"debug", "info", "warn", "error", NULL};
const char *const log_format_names[] = {"text", "json", NULL};

static const char *program = "gpucc";
static enum log_level threshold = LOG_INFO;
static enum log_format style = LOG_TEXT;

struct line {
	char text[LINE_MAX_BYTES];
	size_t n;
};

void log_init(const char *name, enum log_level least, enum log_format format)
{
	program = name;
	threshold = least;
	style = format;
}

bool log_wants(enum log_level level)
{
	return level >= threshold;
}

/* What does not fit whole is left out whole, so that a JSON line stays JSON. */
static bool put(struct line *l, const char *s, size_t n)
{
	if (n > sizeof(l->text) - 2 - l->n) /* 2: the closing brace and the newline */
		return false;
	memcpy(l->text + l->n, s, n);
	l->n += n;
	return true;
}

static bool put_text(struct line *l, const char *s)
{
	return put(l, s, strlen(s));
}

static bool put_escaped(struct line *l, unsigned char c)
{
	char esc[8];

	if (c == '"' || c == '\\')
		return put(l, (char[]){'\\', (char)c}, 2);
	if (c == '\n')
		return put_text(l, "\\n");
	if (c >= 0x20 && c != 0x7f)
		return put(l, (char[]){(char)c}, 1);
	snprintf(esc, sizeof(esc), "\\u%04x", c);
	return put_text(l, esc);
}

/* A JSON string; the same escapes serve quoted text values. */
static bool put_quoted(struct line *l, const char *s)
{
	size_t n = strnlen(s, VALUE_MAX_BYTES);

	if (!put(l, "\"", 1))
		return false;
	while (s[n] && n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--; /* never cut inside a UTF-8 character */
	for (size_t i = 0; i < n; i++)
		if (!put_escaped(l, (unsigned char)s[i]))
			return false;
	return put_text(l, s[n] ? "...\"" : "\"");
}

static bool put_value(struct line *l, const char *v)
{
	if (*v && !strpbrk(v, " \t\r\n\"\\=\x1b") && strlen(v) < VALUE_MAX_BYTES)
		return put_text(l, v);
	return put_quoted(l, v);
}

static void put_pair(struct line *l, const char *key, const char *value)
{
	size_t before = l->n;
	bool whole;

	if (style == LOG_JSON)
		whole = put_text(l, ",") && put_quoted(l, key) && put_text(l, ":") &&
			put_quoted(l, value);
	else
		whole = put_text(l, " ") && put_text(l, key) && put_text(l, "=") &&
			put_value(l, value);
	if (!whole)
		l->n = before;
}

static void put_head(struct line *l, enum log_level level, const char *msg)
{
	static const char *const tags[] = {"DEBUG ", "INFO  ", "WARN  ", "ERROR "};
	char when[CLOCK_RFC3339_SIZE];

	clock_rfc3339_ms(when);
	if (style == LOG_TEXT) {
		put_text(l, when);
		put_text(l, " ");
		put_text(l, tags[level]);
		put_text(l, msg);
		return;
	}
	put_text(l, "{\"time\":");
	put_quoted(l, when);
	put_pair(l, "level", log_level_names[level]);
	put_pair(l, "program", program);
	put_pair(l, "msg", msg);
}

static void write_line(struct line *l)
{
	size_t done = 0;

	if (style == LOG_JSON)
		l->text[l->n++] = '}';
	l->text[l->n++] = '\n';
	while (done < l->n) {
		ssize_t w = write(STDERR_FILENO, l->text + done, l->n - done);

		if (w < 0 && errno != EINTR)
			return; /* nowhere to complain to */
		if (w > 0)
			done += (size_t)w;
	}
}

void log_event(enum log_level level, const char *msg, ...)
{
	struct line l = {.n = 0};
	va_list ap;

	if (!log_wants(level))
		return;
	put_head(&l, level, msg);
	va_start(ap, msg);
	for (;;) {
		const char *key = va_arg(ap, const char *), *value;

		if (!key)
			break;
		value = va_arg(ap, const char *);
		if (value)
			put_pair(&l, key, value);
	}
	va_end(ap);
	write_line(&l);
}
