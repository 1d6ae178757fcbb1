/* SPDX-License-Identifier: Apache-2.0 */
/* YAML: what is taken, what is refused and on which line. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "table.h"
#include "yaml/yaml.h"

static const struct {
	const char *name, *text, *says; /* says NULL: fine */
} texts[] = {
	{ "a map", "a: 1\nb: [x, y]\n", NULL },
	{ "JSON", "{\"a\": {\"b\": [1, 2]}}", NULL },
	{ "a scalar", "hello", NULL },
	{ "comments", "# hi\na: b # there\n", NULL },
	{ "one document marked", "---\na: b\n...\n", NULL },
	{ "nothing", "", "f:1: is empty" },
	{ "comments only", "# nothing\n", "f:1: is empty" },
	{ "twice the same key", "a: 1\nb: 2\na: 3\n", "f:3: \"a\" is here twice" },
	{ "twice, further in", "x:\n- a: 1\n  a: 2\n", "f:3: \"a\" is here twice" },
	{ "an anchor", "a: &x 1\n", "f:1: anchors" },
	{ "an alias", "a: 1\nb: *a\n", "f:2: aliases" },
	{ "a tag", "a: !!binary aGk=\n", "f:1: tags" },
	{ "two documents", "a: 1\n---\nb: 2\n", "f:2: a second document" },
	{ "a map as a key", "a: 1\n? {x: y}\n: z\n", "f:2: a list or map as a key" },
	{ "a tab", "a:\n\t- b\n", "f:2: " },
	{ "bad indent", "a: b\n  c: d\n", "f:2: " },
	{ "an open bracket", "a: [1, 2\nb: c\n", "f:2: " },
	{ "an open quote", "a: \"b\n", "f:2: " },
	{ "NUL", "a: \"x\\0y\"\n", "f:1: a NUL" },
	{ "33 levels", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
	  "f:1: nested" },
	{ "32 levels", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", NULL },
	{ "broken UTF-8", "a: b\nc: \xff\n", "f:2: " },
};

TABLE_TEST(yaml, parses_only_what_it_supports, texts)
{
	AUTO(yaml_tree_free) struct yaml *root = NULL;
	struct err err = ERR_INIT;
	int r = yaml_parse("f", rd_of(row->text, strlen(row->text)), &root, &err);

	cr_assert_eq(r, row->says ? -1 : 0, "%s: %s", row->name, err_text(&err));
	cr_assert_eq(err.kind, row->says ? ERR_INVALID : ERR_NONE, "%s", row->name);
	if (row->says)
		cr_assert(strncmp(err_text(&err), row->says, strlen(row->says)) == 0, "%s: %s",
			  row->name, err_text(&err));
}

static const struct {
	const char *name, *unit;
	size_t n;
	const char *says;
} big[] = {
	{ "more nodes than allowed", "- a\n", YAML_MAX_NODES + 1, "too many values" },
	{ "more bytes than allowed", "# a comment of thirty-two bytes.\n", 40000, "larger than" },
	{ "a bomb of brackets", "[", 100000, "nested too deeply" },
};

TABLE_TEST(yaml, has_ceilings, big)
{
	AUTO_BUF text = BUF_INIT(16 << 20);
	AUTO(yaml_tree_free) struct yaml *root = NULL;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < row->n; i++)
		cr_assert_eq(buf_adds(&text, row->unit, &err), 0);
	cr_assert_eq(yaml_parse("f", buf_rd(&text), &root, &err), -1, "%s", row->name);
	cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
}

Test(yaml, has_a_ceiling_for_keys)
{
	AUTO_BUF text = BUF_INIT(1 << 20);
	AUTO(yaml_tree_free) struct yaml *root = NULL;
	struct err err = ERR_INIT;

	for (int i = 0; i <= YAML_MAX_KEYS; i++)
		cr_assert_eq(buf_addf(&text, &err, "k%d: v\n", i), 0);
	cr_assert_eq(yaml_parse("f", buf_rd(&text), &root, &err), -1);
	cr_assert_str_eq(err_text(&err), "f:1001: too many keys in one map");
}

struct settings {
	const char *text;
	bool on;
	uint64_t count, time_ms;
	const struct yaml *list, *map;
};

static const struct yaml_field fields[] = {
	YAML_FIELD(struct settings, text, "text", STR, YAML_REQUIRED),
	YAML_FIELD(struct settings, on, "on", BOOL, 0),
	YAML_FIELD(struct settings, count, "count", U64, 0),
	YAML_FIELD(struct settings, time_ms, "time", DURATION, 0),
	YAML_FIELD(struct settings, list, "list", LIST, 0),
	YAML_FIELD(struct settings, map, "map", MAP, 0),
};

static const struct {
	const char *name, *text, *says;
} settings[] = {
	{ "all there", "text: a\non: true\ncount: 7\ntime: 10s\nlist: []\nmap: {}\n", NULL },
	{ "null is absent", "text: a\non: null\ncount: ~\nlist:\n", NULL },
	{ "numbers are text where text is wanted", "text: 12\n", NULL },
	{ "missing", "on: true\n", "f:1: \"text\" is missing" },
	{ "text a list", "on: true\ntext: [a]\n", "f:2: text: is a list and not a single value" },
	{ "on in quotes", "text: a\non: \"true\"\n", "f:2: on: \"true\" is not true or false" },
	{ "on as yes", "text: a\non: yes\n", "f:2: on: \"yes\" is not true or false" },
	{ "count negative", "text: a\ncount: -1\n", "f:2: count: \"-1\" is not a number" },
	{ "time without unit", "text: a\ntime: 10\n", "f:2: time: \"10\" is not a time" },
	{ "list a map", "text: a\nlist: {}\n", "f:2: list: is a map and not a list" },
	{ "map a word", "text: a\nmap: b\n", "f:2: map: is a single value and not a map" },
	{ "no map at all", "- a\n", "f:1: this is not a map" },
};

TABLE_TEST(yaml, reads_fields_of_exact_types, settings)
{
	AUTO(yaml_tree_free) struct yaml *root = NULL;
	struct err err = ERR_INIT;
	struct settings s;
	int r;

	memset(&s, 0x5a, sizeof(s));
	cr_assert_eq(yaml_parse("f", rd_of(row->text, strlen(row->text)), &root, &err), 0, "%s: %s",
		     row->name, err_text(&err));
	r = yaml_fields_read(root, fields, ARRAY_LEN(fields), &s, &err);
	cr_assert_eq(r, row->says ? -1 : 0, "%s: %s", row->name, err_text(&err));
	if (!row->says)
		return;
	cr_assert(strncmp(err_text(&err), row->says, strlen(row->says)) == 0, "%s: %s", row->name,
		  err_text(&err));
	cr_assert_null(s.text, "%s: reads as empty", row->name);
}

Test(yaml, fields_have_their_values)
{
	static const char text[] = "text: \"a b\"\non: true\ncount: 7\ntime: 1m30s\nlist: [x, y]\n";
	AUTO(yaml_tree_free) struct yaml *root = NULL;
	struct err err = ERR_INIT;
	struct settings s;

	cr_assert_eq(yaml_parse("f", rd_of(text, strlen(text)), &root, &err), 0);
	cr_assert_eq(yaml_fields_read(root, fields, ARRAY_LEN(fields), &s, &err), 0);
	cr_assert_str_eq(s.text, "a b");
	cr_assert(s.on);
	cr_assert_eq(s.count, 7);
	cr_assert_eq(s.time_ms, 90000);
	cr_assert_str_eq(s.list->child->next->text, "y");
	cr_assert_eq(s.list->line, 5);
	cr_assert_null(s.map);
	cr_assert_null(yaml_get(NULL, "x"));
	cr_assert_null(yaml_get(s.list, "x"));
}

Test(yaml, names_the_key_that_nobody_knows)
{
	static const char text[] = "text: a\ntxet: b\n";
	AUTO(yaml_tree_free) struct yaml *root = NULL;
	struct err err = ERR_INIT;

	cr_assert_eq(yaml_parse("f", rd_of(text, strlen(text)), &root, &err), 0);
	cr_assert_eq(yaml_fields_only(root, fields, ARRAY_LEN(fields), &err), -1);
	cr_assert_str_eq(err_text(&err), "f:2: \"txet\" is not known here");
}
