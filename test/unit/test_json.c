/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from strangers is refused for the right reason; JSON of ours reads back as it was meant. */
#include <criterion/criterion.h>
#include <string.h>

#include "json/json.h"
#include "table.h"

static const struct {
	const char *name, *text;
	bool ok;
	const char *says; /* in the error */
} texts[] = {
	{ "an object", "{\"a\":1}", true, NULL },
	{ "a bare value", "7", true, NULL },
	{ "blanks around", " [1, 2] \n", true, NULL },
	{ "64 levels",
	  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
	  "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
	  true, NULL },
	{ "65 levels",
	  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
	  "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
	  false, "deeper than 64 levels at byte 64" },
	{ "brackets in a string are text", "[\"[[[[\\\"[[[[\"]", true, NULL },
	{ "nothing", "", false, "line 1" },
	{ "blanks only", "  ", false, "line 1" },
	{ "cut off", "{\"a\":", false, "line 1" },
	{ "cut off in a string", "{\"a", false, "line 1" },
	{ "cut off in an escape", "[\"\\", false, "line 1" },
	{ "the same key twice", "{\"a\":1,\"b\":2,\"a\":3}", false, "uplicate" },
	{ "something after it", "{} {}", false, "line 1" },
	{ "no JSON", "<html>", false, "line 1" },
	{ "line 3", "{\n\n\"a\"}", false, "line 3" },
	{ "broken UTF-8", "[\"\xc0\x80\"]", false, "decode byte 0xc0" },
	{ "a number beyond 64 bits", "[92233720368547758070]", false, "too big" },
};

TABLE_TEST(json, parses_only_well_formed, texts)
{
	AUTO(json_free) json_t *doc = NULL;
	struct err err = ERR_INIT;
	int r = json_parse(rd_of(row->text, strlen(row->text)), JSON_LIMITS, &doc, &err);

	cr_assert_eq(r, row->ok ? 0 : -1, "%s: %s", row->name, err_text(&err));
	cr_assert_eq(err.kind, row->ok ? ERR_NONE : ERR_INVALID, "%s", row->name);
	cr_assert_eq(doc != NULL, row->ok, "%s", row->name);
	if (row->says)
		cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
}

static int parse_repeated(const char *head, const char *unit, size_t n, const char *tail,
			  struct json_limits limits, struct err *err)
{
	AUTO_BUF text = BUF_INIT(128 << 20);
	AUTO(json_free) json_t *doc = NULL;

	cr_assert_eq(buf_adds(&text, head, err), 0);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(buf_adds(&text, unit, err), 0);
	cr_assert_eq(buf_adds(&text, tail, err), 0);
	return json_parse(buf_rd(&text), limits, &doc, err);
}

Test(json, refuses_64_MiB_without_reading_it)
{
	struct err err = ERR_INIT;

	cr_assert_eq(parse_repeated("[\"", "0123456789abcdef", 4 << 20, "\"]", JSON_LIMITS, &err),
		     -1);
	cr_assert(strstr(err_text(&err), "67108868 bytes"), "%s", err_text(&err));
}

Test(json, refuses_a_million_levels)
{
	struct err err = ERR_INIT;

	cr_assert_eq(parse_repeated("", "[", 1000000, "", JSON_LIMITS, &err), -1);
	cr_assert(strstr(err_text(&err), "deeper"), "%s", err_text(&err));
}

Test(json, refuses_a_million_small_values)
{
	struct err err = ERR_INIT;

	cr_assert_eq(parse_repeated("[0", ",{}", 1000000, "]", JSON_LIMITS, &err), -1);
	cr_assert(strstr(err_text(&err), "more than 200000 values"), "%s", err_text(&err));
}

/* --- fields ----------------------------------------------------------------------------------- */

struct thing {
	char name[6];
	const char *text;
	int64_t count;
	bool on;
	json_t *map, *list;
};

static const struct json_field fields[] = {
	JSON_FIELD(struct thing, name, "name", TEXT, JSON_REQUIRED),
	JSON_FIELD(struct thing, text, "text", STR, 0),
	JSON_FIELD(struct thing, count, "count", INT, 0),
	JSON_FIELD(struct thing, on, "on", BOOL, 0),
	JSON_FIELD(struct thing, map, "map", OBJECT, 0),
	JSON_FIELD(struct thing, list, "list", ARRAY, 0),
};

static const struct {
	const char *name, *text, *says; /* says NULL: fine */
} things[] = {
	{ "all there",
	  "{\"name\":\"abcde\",\"text\":\"t\",\"count\":-3,\"on\":true,\"map\":{},\"list\":[]}",
	  NULL },
	{ "only what must be", "{\"name\":\"a\"}", NULL },
	{ "null is absent", "{\"name\":\"a\",\"text\":null,\"map\":null}", NULL },
	{ "others are ignored", "{\"name\":\"a\",\"zzz\":[{}]}", NULL },
	{ "name missing", "{}", "spec.name: is missing" },
	{ "name null", "{\"name\":null}", "spec.name: is missing" },
	{ "name too long", "{\"name\":\"abcdef\"}", "spec.name: longer than 5 bytes" },
	{ "name a number", "{\"name\":1}", "spec.name: is not a string" },
	{ "NUL inside", "{\"name\":\"a\\u0000b\"}", "JSON" },
	{ "count quoted", "{\"name\":\"a\",\"count\":\"1\"}", "spec.count: is not an integer" },
	{ "count a real", "{\"name\":\"a\",\"count\":1.0}", "spec.count: is not an integer" },
	{ "on a number", "{\"name\":\"a\",\"on\":1}", "spec.on: is not true or false" },
	{ "map a list", "{\"name\":\"a\",\"map\":[]}", "spec.map: is not an object" },
	{ "list a map", "{\"name\":\"a\",\"list\":{}}", "spec.list: is not an array" },
	{ "not an object", "[]", "spec: is not an object" },
};

TABLE_TEST(json, reads_fields_of_exact_types, things)
{
	static const struct thing nothing;
	AUTO(json_free) json_t *doc = NULL;
	struct err err = ERR_INIT;
	struct thing t;
	int r = json_parse(rd_of(row->text, strlen(row->text)), JSON_LIMITS, &doc, &err);

	memset(&t, 0x5a, sizeof(t));
	if (r == 0)
		r = json_fields_read(doc, "spec", fields, ARRAY_LEN(fields), &t, &err);
	cr_assert_eq(r, row->says ? -1 : 0, "%s: %s", row->name, err_text(&err));
	if (row->says) {
		cr_assert_eq(err.kind, ERR_INVALID, "%s", row->name);
		cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	}
	if (row->says && doc) {
		cr_assert_str_eq(t.name, "", "%s: reads as empty", row->name);
		cr_assert_eq(t.map, nothing.map, "%s", row->name);
		cr_assert_eq(t.count, 0, "%s", row->name);
	}
}

Test(json, fields_have_their_values)
{
	static const char text[] = "{\"name\":\"abcde\",\"text\":\"t\",\"count\":-3,\"on\":true}";
	AUTO(json_free) json_t *doc = NULL;
	struct err err = ERR_INIT;
	struct thing t;

	cr_assert_eq(json_parse(rd_of(text, strlen(text)), JSON_LIMITS, &doc, &err), 0);
	cr_assert_eq(json_fields_read(doc, "", fields, ARRAY_LEN(fields), &t, &err), 0);
	cr_assert_str_eq(t.name, "abcde");
	cr_assert_str_eq(t.text, "t");
	cr_assert_eq(t.count, -3);
	cr_assert(t.on);
	cr_assert_null(t.list);
}

Test(json, names_the_key_that_nobody_knows)
{
	static const char text[] = "{\"name\":\"a\",\"nmae\":\"b\"}";
	AUTO(json_free) json_t *doc = NULL;
	struct err err = ERR_INIT;

	cr_assert_eq(json_parse(rd_of(text, strlen(text)), JSON_LIMITS, &doc, &err), 0);
	cr_assert_eq(json_fields_only(doc, "spec", fields, ARRAY_LEN(fields), &err), -1);
	cr_assert_str_eq(err_text(&err), "spec.nmae: is not known here");
}

/* --- writing ---------------------------------------------------------------------------------- */

static const struct {
	const char *name, *in;
	size_t n;
	const char *out;
} strings[] = {
	{ "plain", "on", 2, "\"on\"" },
	{ "quotes", "a\"b\\", 4, "\"a\\\"b\\\\\"" },
	{ "controls", "\n\t\x01\x7f", 4, "\"\\n\\t\\u0001\\u007f\"" },
	{ "NUL", "a\0b", 3, "\"a\\u0000b\"" },
	{ "umlaut", "\xc3\xa4", 2, "\"\xc3\xa4\"" },
	{ "emoji", "\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"" },
	{ "cut umlaut", "a\xc3", 2, "\"a\xef\xbf\xbd\"" },
	{ "overlong", "\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "surrogate", "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "empty", "", 0, "\"\"" },
};

TABLE_TEST(json, writes_strings_that_read_back, strings)
{
	AUTO_BUF out = BUF_INIT(1024);
	AUTO(json_free) json_t *doc = NULL;
	struct err err = ERR_INIT;
	struct json_put w = json_put_to(&out);

	json_put_strn(&w, row->in, row->n);
	cr_assert_eq(json_put_done(&w, &err), 0, "%s", row->name);
	cr_assert_str_eq(buf_str(&out), row->out, "%s: %s", row->name, buf_str(&out));
	doc = json_loadb(out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	cr_assert_not_null(doc, "%s: jansson reads it", row->name);
}

Test(json, writes_nested_documents)
{
	AUTO_BUF out = BUF_INIT(1024);
	AUTO(json_free) json_t *doc = json_pack("{s:[i,b]}", "x", 1, 0);
	struct err err = ERR_INIT;
	struct json_put w = json_put_to(&out);

	json_put_object(&w);
	json_put_member_str(&w, "a", "b");
	json_put_member_str(&w, "gone", NULL);
	json_put_key(&w, "list");
	json_put_array(&w);
	json_put_int(&w, -5);
	json_put_bool(&w, true);
	json_put_array(&w);
	json_put_end(&w);
	json_put_object(&w);
	json_put_end(&w);
	json_put_end(&w);
	json_put_key(&w, "doc");
	json_put_doc(&w, doc);
	json_put_member_int(&w, "n", INT64_MIN);
	json_put_member_bool(&w, "last", false);
	json_put_end(&w);
	cr_assert_eq(json_put_done(&w, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(buf_str(&out), "{\"a\":\"b\",\"gone\":null,\"list\":[-5,true,[],{}],"
					"\"doc\":{\"x\":[1,false]},\"n\":-9223372036854775808,"
					"\"last\":false}");
}

static void value_without_key(struct json_put *w)
{
	json_put_object(w);
	json_put_int(w, 1);
	json_put_end(w);
}

static void key_without_value(struct json_put *w)
{
	json_put_object(w);
	json_put_key(w, "a");
	json_put_end(w);
}

static void unfinished(struct json_put *w)
{
	json_put_array(w);
}

static void too_many_ends(struct json_put *w)
{
	json_put_array(w);
	json_put_end(w);
	json_put_end(w);
}

static void too_deep(struct json_put *w)
{
	for (int i = 0; i < JSON_PUT_DEPTH + 1; i++)
		json_put_array(w);
	for (int i = 0; i < JSON_PUT_DEPTH + 1; i++)
		json_put_end(w);
}

static void too_long(struct json_put *w)
{
	json_put_str(w, "a text that is longer than the buffer may become at its most");
}

static const struct {
	const char *name;
	void (*write)(struct json_put *w);
} mistakes[] = {
	{ "value without a key", value_without_key },
	{ "key without a value", key_without_value },
	{ "unfinished", unfinished },
	{ "too many ends", too_many_ends },
	{ "too deep", too_deep },
	{ "too long", too_long },
};

TABLE_TEST(json, mistakes_in_writing_are_told_at_the_end, mistakes)
{
	AUTO_BUF out = BUF_INIT(row->write == too_long ? 32 : 1024);
	struct err err = ERR_INIT;
	struct json_put w = json_put_to(&out);

	row->write(&w);
	cr_assert_eq(json_put_done(&w, &err), -1, "%s", row->name);
	cr_assert_eq(err.kind, ERR_INVALID, "%s", row->name);
}
