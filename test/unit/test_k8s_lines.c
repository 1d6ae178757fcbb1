/* SPDX-License-Identifier: Apache-2.0 */
/* Watch lines: however they are cut on their way, the same events come out. */
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "json/json.h"
#include "k8s/internal.h"
#include "table.h"

struct seen {
	struct buf lines; /* each in brackets */
	unsigned n, fail_at;
};

static int on_test_line(void *arg, struct rd line, struct err *err)
{
	struct seen *s = arg;

	if (++s->n == s->fail_at)
		return err_set(err, ERR_INVALID, "as told");
	if (buf_adds(&s->lines, "[", err) < 0 || buf_add(&s->lines, line.p, line.left, err) < 0)
		return -1;
	return buf_adds(&s->lines, "]", err);
}

static const char stream[] = "{\"a\":1}\n\n{\"bb\":\"\xc3\xa4\"}\n{}\nlast";

Test(k8s_lines, two_chunks_cut_anywhere)
{
	for (size_t cut = 0; cut <= strlen(stream); cut++) {
		struct lines l = { 0 };
		struct seen s = { .lines = BUF_INIT(1000) };
		struct err err = ERR_INIT;

		cr_assert_eq(lines_feed(&l, rd_of(stream, cut), on_test_line, &s, &err), 0);
		cr_assert_eq(lines_feed(&l, rd_of(stream + cut, strlen(stream) - cut), on_test_line,
					&s, &err),
			     0);
		cr_assert_str_eq(buf_str(&s.lines), "[{\"a\":1}][{\"bb\":\"\xc3\xa4\"}][{}]",
				 "cut at %zu", cut);
		cr_assert_str_eq(buf_str(&l.tail), "last", "cut at %zu", cut);
		lines_clear(&l);
		buf_clear(&s.lines);
	}
}

Test(k8s_lines, chunks_of_any_size)
{
	for (size_t size = 1; size <= sizeof(stream); size++) {
		struct lines l = { 0 };
		struct seen s = { .lines = BUF_INIT(1000) };
		struct err err = ERR_INIT;

		for (size_t at = 0; at < strlen(stream); at += size) {
			size_t left = strlen(stream) - at;

			cr_assert_eq(lines_feed(&l, rd_of(stream + at, left < size ? left : size),
						on_test_line, &s, &err),
				     0);
		}
		cr_assert_str_eq(buf_str(&s.lines), "[{\"a\":1}][{\"bb\":\"\xc3\xa4\"}][{}]",
				 "size %zu", size);
		lines_clear(&l);
		buf_clear(&s.lines);
	}
}

Test(k8s_lines, a_failure_stops_the_batch)
{
	for (size_t cut = 0; cut <= strlen(stream); cut++) {
		struct lines l = { 0 };
		struct seen s = { .lines = BUF_INIT(1000), .fail_at = 2 };
		struct err err = ERR_INIT;
		int r = lines_feed(&l, rd_of(stream, cut), on_test_line, &s, &err);

		if (r == 0)
			r = lines_feed(&l, rd_of(stream + cut, strlen(stream) - cut), on_test_line,
				       &s, &err);
		cr_assert_eq(r, -1);
		cr_assert_str_eq(err_text(&err), "as told");
		cr_assert_eq(s.n, 2);
		lines_clear(&l);
		buf_clear(&s.lines);
	}
}

static int feed_repeated(struct lines *l, size_t chunk, size_t n, struct seen *s, struct err *err)
{
	static char text[65536];

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < n; i++)
		if (lines_feed(l, rd_of(text, chunk), on_test_line, s, err) < 0)
			return -1;
	return lines_feed(l, rd_of("\n", 1), on_test_line, s, err);
}

Test(k8s_lines, the_longest_line_fits_and_one_byte_more_does_not)
{
	struct seen s = { .lines = BUF_INIT(WATCH_LINE_MAX + 100) };
	struct lines l = { 0 };
	struct err err = ERR_INIT;

	cr_assert_eq(feed_repeated(&l, 65536, WATCH_LINE_MAX / 65536, &s, &err), 0, "%s",
		     err_text(&err));
	cr_assert_eq(s.lines.len, WATCH_LINE_MAX + 2);
	cr_assert_leq(l.tail.cap, 65536, "what a long line took is given back");
	cr_assert_eq(lines_feed(&l, rd_of("y", 1), on_test_line, &s, &err), 0);
	cr_assert_eq(feed_repeated(&l, 65536, WATCH_LINE_MAX / 65536, &s, &err), -1);
	cr_assert_eq(err.kind, ERR_INVALID);
	cr_assert_leq(l.tail.cap, 2 * WATCH_LINE_MAX);
	lines_clear(&l);
	buf_clear(&s.lines);
}

static uint64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t time_of(size_t bytes)
{
	struct seen s = { .lines = BUF_INIT(WATCH_LINE_MAX + 100) };
	struct lines l = { 0 };
	struct err err = ERR_INIT;
	uint64_t begin = cpu_us();

	for (int i = 0; i < 4; i++) {
		buf_reset(&s.lines);
		cr_assert_eq(feed_repeated(&l, 16, bytes / 16, &s, &err), 0);
	}
	lines_clear(&l);
	buf_clear(&s.lines);
	return cpu_us() - begin;
}

/* Quadratic work would take 16 times as long for 4 times as much. */
Test(k8s_lines, cost_is_linear)
{
	uint64_t small = time_of(1 << 20), large = time_of(4 << 20);

	cr_assert_lt(large, 10 * small + 20000, "%llu us for 1 MiB, %llu us for 4 MiB",
		     (unsigned long long)small, (unsigned long long)large);
}

/* --- events ----------------------------------------------------------------------------------- */

#define META "\"metadata\":{\"name\":\"n\",\"resourceVersion\":\"7\"}"

static const struct {
	const char *name, *line;
	bool ok;
	enum event_type type;
	const char *version;
	int code;
	const char *says;
} events[] = {
	{ "added", "{\"type\":\"ADDED\",\"object\":{" META "}}", true, EVENT_ADDED, "7", 0, "" },
	{ "modified", "{\"type\":\"MODIFIED\",\"object\":{" META "}}", true, EVENT_MODIFIED, "7", 0,
	  "" },
	{ "deleted", "{\"object\":{" META "},\"type\":\"DELETED\"}", true, EVENT_DELETED, "7", 0,
	  "" },
	{ "a bookmark",
	  "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}", true,
	  EVENT_BOOKMARK, "9", 0, "" },
	{ "an error", "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}", true,
	  EVENT_ERROR, NULL, 410, "" },
	{ "an error without a code", "{\"type\":\"ERROR\",\"object\":{}}", true, EVENT_ERROR, NULL,
	  0, "" },
	{ "an error with a mad code", "{\"type\":\"ERROR\",\"object\":{\"code\":99999999999}}",
	  true, EVENT_ERROR, NULL, 0, "" },
	{ "an error with a code in quotes", "{\"type\":\"ERROR\",\"object\":{\"code\":\"410\"}}",
	  false, 0, NULL, 0, "object.code: is not an integer" },
	{ "no JSON", "<html>", false, 0, NULL, 0, "JSON" },
	{ "half a line", "{\"type\":\"ADDED\",\"obj", false, 0, NULL, 0, "JSON" },
	{ "no type", "{\"object\":{" META "}}", false, 0, NULL, 0, "type: is missing" },
	{ "no object", "{\"type\":\"ADDED\"}", false, 0, NULL, 0, "object: is missing" },
	{ "an object that is a list", "{\"type\":\"ADDED\",\"object\":[]}", false, 0, NULL, 0,
	  "object: is not an object" },
	{ "a type nobody knows", "{\"type\":\"PATCHED\",\"object\":{" META "}}", false, 0, NULL, 0,
	  "no known type" },
	{ "no metadata", "{\"type\":\"ADDED\",\"object\":{}}", false, 0, NULL, 0,
	  "metadata: is missing" },
	{ "metadata a string", "{\"type\":\"ADDED\",\"object\":{\"metadata\":\"x\"}}", false, 0,
	  NULL, 0, "metadata: is not an object" },
	{ "no version", "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"n\"}}}", false, 0,
	  NULL, 0, "resourceVersion: is missing" },
	{ "a version that is a number",
	  "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":7}}}", false, 0, NULL,
	  0, "metadata.resourceVersion: is not a string" },
	{ "the same key twice", "{\"type\":\"ADDED\",\"type\":\"DELETED\",\"object\":{" META "}}",
	  false, 0, NULL, 0, "uplicate" },
};

TABLE_TEST(k8s_lines, events_are_typed, events)
{
	struct err err = ERR_INIT;
	struct event ev;
	int r = event_parse(rd_of(row->line, strlen(row->line)), &ev, &err);

	cr_assert_eq(r, row->ok ? 0 : -1, "%s: %s", row->name, err_text(&err));
	cr_assert_eq(err.kind, row->ok ? ERR_NONE : ERR_INVALID, "%s", row->name);
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	cr_assert_eq(ev.type, row->type, "%s", row->name);
	cr_assert_eq(ev.code, row->code, "%s", row->name);
	if (row->version)
		cr_assert_str_eq(ev.version, row->version, "%s", row->name);
	else
		cr_assert_null(ev.version, "%s", row->name);
	json_free(ev.doc);
}

/* --- maps ------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *json, *says; /* says NULL: fine */
	size_t n;
} maps[] = {
	{ "ours and others", "{\"b/z\":\"1\",\"a/x\":\"2\",\"b/a\":\"\",\"c\":\"3\"}", NULL, 2 },
	{ "none of ours", "{\"a/x\":\"2\"}", NULL, 0 },
	{ "empty", "{}", NULL, 0 },
	{ "others may be odd", "{\"a/x\":7}", NULL, 0 },
	{ "ours a number", "{\"b/x\":7}", "labels: a value that is not a string", 0 },
	{ "ours null", "{\"b/x\":null}", "labels: a value that is not a string", 0 },
};

TABLE_TEST(k8s_lines, maps_keep_what_was_asked_for, maps)
{
	AUTO(json_free) json_t *doc = json_loads(row->json, 0, NULL);
	struct err err = ERR_INIT;
	struct k8s_map m;
	int r = map_read(doc, "labels", "b/", &m, &err);

	cr_assert_eq(r, row->says ? -1 : 0, "%s: %s", row->name, err_text(&err));
	if (row->says)
		cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	cr_assert_eq(m.n, row->n, "%s", row->name);
	if (row->n == 2) {
		cr_assert_str_eq(m.pair[0].key, "b/a");
		cr_assert_str_eq(k8s_map_get(&m, "b/z"), "1");
		cr_assert_str_eq(k8s_map_get(&m, "b/a"), "");
	}
	cr_assert_null(k8s_map_get(&m, "b/b"));
	map_clear(&m);
}

Test(k8s_lines, maps_have_a_ceiling)
{
	AUTO(json_free) json_t *doc = json_object();
	struct err err = ERR_INIT;
	struct k8s_map m;
	char key[32];

	for (int i = 0; i <= K8S_MAP_MAX_PAIRS; i++) {
		snprintf(key, sizeof(key), "b/%d", i);
		json_object_set_new(doc, key, json_string("v"));
	}
	cr_assert_eq(map_read(doc, "labels", "b/", &m, &err), -1);
	cr_assert_str_eq(err_text(&err), "labels: too many or too long");
}

static const struct {
	const char *a, *b;
	bool comparable;
	int sign;
} versions[] = {
	{ "1", "2", true, -1 },	    { "10", "9", true, 1 },
	{ "7", "7", true, 0 },	    { "18446744073709551616", "18446744073709551617", true, -1 },
	{ "", "1", false, 0 },	    { "1", "", false, 0 },
	{ "abc", "abd", false, 0 }, { "1.5", "2", false, 0 },
	{ "01", "2", false, 0 },    { "0", "1", true, -1 },
};

TABLE_TEST(k8s_lines, versions_compare_where_they_are_numbers, versions)
{
	int order = 0;

	cr_assert_eq(version_compare(row->a, row->b, &order), row->comparable, "%s %s", row->a,
		     row->b);
	if (row->comparable)
		cr_assert_eq((order > 0) - (order < 0), row->sign, "%s %s", row->a, row->b);
}

/* --- skimming --------------------------------------------------------------------------------- */

#define NODE(version, labels, more)                                                                     \
	"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"X\",\"metadata\":{\"name\":\"n\",\"uid\":\"u\"," \
	"\"resourceVersion\":\"" version "\",\"labels\":{" labels "}" more "}}}"
#define MODE(v) "\"nvidia.com/cc.mode\":\"" v "\""

static const struct {
	const char *name, *a, *b;
	bool skimmed, same; /* `same` where both were skimmed */
} skims[] = {
	{ "only the version", NODE("1", MODE("on"), ""), NODE("2", MODE("on"), ""), true, true },
	{ "labels of others", NODE("1", "\"a\":\"1\"," MODE("on"), ""),
	  NODE("2", MODE("on") ",\"z\":\"2\"", ""), true, true },
	{ "other fields",
	  NODE("1", MODE("on"), ",\"managedFields\":[{\"a\":[1,{\"b\":\"]}\\\"\"}]}],\"x\":null"),
	  NODE("2", MODE("on"), ""), true, true },
	{ "our value", NODE("1", MODE("on"), ""), NODE("2", MODE("off"), ""), true, false },
	{ "our label goes", NODE("1", MODE("on"), ""), NODE("2", "", ""), true, false },
	{ "ours under another key", NODE("1", MODE("on"), ""),
	  NODE("2", "\"nvidia.com/x\":\"on\"", ""), true, false },
	{ "a label becomes an annotation", NODE("1", MODE("on"), ",\"annotations\":{}"),
	  NODE("2", "", ",\"annotations\":{" MODE("on") "}"), true, false },
	{ "the cut between key and value", NODE("1", "\"nvidia.com/a\":\"bc\"", ""),
	  NODE("2", "\"nvidia.com/ab\":\"c\"", ""), true, false },
	{ "an escape in a value", NODE("1", MODE("o\\u006e"), ""), NODE("2", MODE("on"), ""), true,
	  false },
	{ "an escape in a key", NODE("1", "\"nvidia.co\\u006d/x\":\"1\"", ""), NODE("2", "", ""),
	  false, false },
	{ "blanks", NODE("1", MODE("on") " ", ""), NODE("2", MODE("on"), ""), false, false },
	{ "a label that is no string", NODE("1", "\"a\":1", ""), NODE("2", "", ""), false, false },
	{ "cut off", "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"",
	  NODE("2", "", ""), false, false },
	{ "no version", "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{}}}", NODE("2", "", ""),
	  false, false },
	{ "something after it", NODE("1", "", "") "x", NODE("2", "", ""), false, false },
	{ "an open string", "{\"type\":\"MODI\\", NODE("2", "", ""), false, false },
};

TABLE_TEST(k8s_lines, skimming_sees_what_is_ours, skims)
{
	struct skim a, b;
	bool both = event_skim(rd_of(row->a, strlen(row->a)), "nvidia.com/", &a) &&
		    event_skim(rd_of(row->b, strlen(row->b)), "nvidia.com/", &b);

	cr_assert_eq(both, row->skimmed, "%s", row->name);
	if (!both)
		return;
	cr_assert_eq(a.hash == b.hash, row->same, "%s", row->name);
	cr_assert(a.version.left == 1 && *a.version.p == '1', "%s", row->name);
	cr_assert(a.name.left == 1 && a.uid.left == 1 && *b.type.p == 'M', "%s", row->name);
}
