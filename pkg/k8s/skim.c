/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most events of a node are about what others keep there.  Skimming finds out, in one pass over the
 * bytes and without memory, whether anything of ours differs from the event before; only then is the
 * line parsed.  It knows the one form in which API servers write, and gives up on any other.
 */
#include <string.h>

#include "k8s/internal.h"

struct skimmer {
	struct rd left;
	const char *prefix;
	size_t prefix_len;
	struct skim *out;
};

typedef bool on_member(struct skimmer *s, struct rd key);

static bool take(struct skimmer *s, uint8_t c)
{
	if (s->left.left == 0 || *s->left.p != c)
		return false;
	s->left = rd_of(s->left.p + 1, s->left.left - 1);
	return true;
}

/* The bytes between the quotes, escapes as they are. */
static bool raw_string(struct skimmer *s, struct rd *out)
{
	const uint8_t *p, *end;

	if (!take(s, '"'))
		return false;
	end = s->left.p + s->left.left;
	for (p = s->left.p; p < end && *p != '"'; p++)
		if (*p == '\\' && ++p == end)
			return false;
	if (p >= end)
		return false;
	*out = rd_of(s->left.p, (size_t)(p - s->left.p));
	s->left = rd_of(p + 1, (size_t)(end - p) - 1);
	return true;
}

/* A string that reads as it is written. */
static bool plain_string(struct skimmer *s, struct rd *out)
{
	return raw_string(s, out) && !memchr(out->p, '\\', out->left);
}

static bool is(struct rd text, const char *word)
{
	return text.left == strlen(word) && memcmp(text.p, word, text.left) == 0;
}

static bool skip_nested(struct skimmer *s)
{
	struct rd ignored;
	size_t depth = 0;

	do {
		if (s->left.left == 0)
			return false;
		switch (*s->left.p) {
		case '"':
			if (!raw_string(s, &ignored))
				return false;
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			depth--;
			break;
		}
		s->left = rd_of(s->left.p + 1, s->left.left - 1);
	} while (depth > 0);
	return true;
}

static bool skip_value(struct skimmer *s)
{
	struct rd ignored;

	if (s->left.left == 0)
		return false;
	if (*s->left.p == '"')
		return raw_string(s, &ignored);
	if (*s->left.p == '{' || *s->left.p == '[')
		return skip_nested(s);
	while (s->left.left > 0 && !strchr(",}]", *s->left.p))
		s->left = rd_of(s->left.p + 1, s->left.left - 1);
	return true;
}

static bool members(struct skimmer *s, on_member *fn)
{
	struct rd key;

	if (!take(s, '{'))
		return false;
	if (take(s, '}'))
		return true;
	do {
		if (!plain_string(s, &key) || !take(s, ':') || !fn(s, key))
			return false;
	} while (take(s, ','));
	return take(s, '}');
}

/* --- what the members mean -------------------------------------------------------------------- */

static void mix(struct skim *out, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) /* FNV-1a */
		out->hash = (out->hash ^ b[i]) * UINT64_C(0x100000001b3);
	out->hash = (out->hash ^ n) * UINT64_C(0x100000001b3);
}

static bool on_pair(struct skimmer *s, struct rd key)
{
	struct rd value;

	if (!raw_string(s, &value))
		return false;
	if (key.left < s->prefix_len || memcmp(key.p, s->prefix, s->prefix_len) != 0)
		return true;
	mix(s->out, key.p, key.left);
	mix(s->out, value.p, value.left);
	return true;
}

static bool on_metadata(struct skimmer *s, struct rd key)
{
	if (is(key, "name"))
		return plain_string(s, &s->out->name);
	if (is(key, "uid"))
		return plain_string(s, &s->out->uid);
	if (is(key, "resourceVersion"))
		return plain_string(s, &s->out->version);
	if (!is(key, "labels") && !is(key, "annotations"))
		return skip_value(s);
	mix(s->out, key.p, key.left);
	return members(s, on_pair);
}

static bool on_object(struct skimmer *s, struct rd key)
{
	return is(key, "metadata") ? members(s, on_metadata) : skip_value(s);
}

static bool on_event(struct skimmer *s, struct rd key)
{
	if (is(key, "type"))
		return plain_string(s, &s->out->type);
	return is(key, "object") ? members(s, on_object) : skip_value(s);
}

bool event_skim(struct rd line, const char *prefix, struct skim *out)
{
	struct skimmer s = {
		.left = line, .prefix = prefix, .prefix_len = strlen(prefix), .out = out
	};

	*out = (struct skim){ .hash = UINT64_C(0xcbf29ce484222325) };
	return members(&s, on_event) && rd_end(&s.left) && out->version.left > 0;
}
