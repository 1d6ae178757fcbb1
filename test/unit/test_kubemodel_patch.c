/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge patches: the test cases of RFC 7386's appendix, and that the original never changes.
 */
#include "kubemodel_client.h"
#include "table.h"

static const struct {
	const char *name, *target, *patch, *result;
} cases[] = {
	{ "replace", "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
	{ "add", "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
	{ "delete", "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
	{ "delete one", "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
	{ "list by text", "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
	{ "text by list", "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
	{ "inside", "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
	  "{\"a\":{\"b\":\"d\"}}" },
	{ "lists are values", "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
	{ "whole lists", "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
	{ "list by object", "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
	{ "null", "{\"a\":\"foo\"}", "null", "null" },
	{ "text", "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
	{ "null stays", "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
	{ "object by list", "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
	{ "deep null", "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
};

TABLE_TEST(kubemodel, merges_as_rfc7386, cases)
{
	json_auto_t *target = json_loads(row->target, JSON_DECODE_ANY, NULL);
	json_auto_t *patch = json_loads(row->patch, JSON_DECODE_ANY, NULL);
	json_auto_t *expect = json_loads(row->result, JSON_DECODE_ANY, NULL);
	json_auto_t *before = json_deep_copy(target);
	json_auto_t *got = km_merge_patch(target, patch);

	cr_assert(json_equal(got, expect), "%s", row->name);
	cr_assert(json_equal(target, before), "%s: the original was changed", row->name);
}

static const struct {
	const char *name, *value;
	bool ok;
} values[] = {
	{ "empty", "", true },
	{ "one", "a", true },
	{ "inner marks", "v1.2-rc_3", true },
	{ "63 characters", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  true },
	{ "64 characters", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  false },
	{ "space", "a b", false },
	{ "begins with a dash", "-a", false },
	{ "ends with a dot", "a.", false },
	{ "slash", "a/b", false },
	{ "only a mark", "_", false },
	{ "umlaut", "\xc3\xa4", false },
};

TABLE_TEST(kubemodel, label_values, values)
{
	cr_assert_eq(km_check_label_value(row->value) == NULL, row->ok, "%s", row->name);
}

static const struct {
	const char *name, *key;
	bool ok;
} keys[] = {
	{ "plain", "app", true },
	{ "with a prefix", "nvidia.com/cc.mode", true },
	{ "upper case name", "nvidia.com/GPU", true },
	{ "upper case prefix", "NVIDIA.com/x", false },
	{ "no name", "nvidia.com/", false },
	{ "no prefix", "/cc", false },
	{ "two slashes", "a/b/c", false },
	{ "empty", "", false },
	{ "prefix ends with a dot", "a./b", false },
	{ "prefix part ends with a dash", "a-.b/c", false },
};

TABLE_TEST(kubemodel, label_keys, keys)
{
	cr_assert_eq(km_check_qualified_name(row->key) == NULL, row->ok, "%s", row->name);
}

static const struct {
	const char *name, *labels, *fields;
	bool n1, n2;
	int code; /* 0: it parses */
} selectors[] = {
	{ "nothing", "", "", true, true, 0 },
	{ "equal", "team=a", "", true, false, 0 },
	{ "double equal", "team==b", "", false, true, 0 },
	{ "not equal", "team!=a", "", false, true, 0 },
	{ "absent is not equal", "gpu!=yes", "", false, true, 0 },
	{ "exists", "gpu", "", true, false, 0 },
	{ "absent", "!gpu", "", false, true, 0 },
	{ "both terms", "team=a,gpu=yes", "", true, false, 0 },
	{ "spaces", " team = a , gpu ", "", true, false, 0 },
	{ "by name", "", "metadata.name=n2", false, true, 0 },
	{ "not by name", "", "metadata.name!=n2", true, false, 0 },
	{ "labels and fields", "team=a", "metadata.name=n2", false, false, 0 },
	{ "sets are refused", "team in (a,b)", "", false, false, 400 },
	{ "bad value", "team=a b", "", false, false, 400 },
	{ "bang in the middle", "a!b", "", false, false, 400 },
	{ "unknown field", "", "spec.nodeName=n1", false, false, 400 },
	{ "field without value", "", "metadata.name", false, false, 400 },
};

TABLE_TEST(kubemodel, selectors, selectors)
{
	static struct km_selector s;
	struct kubemodel *m = cluster(64);
	struct kubemodel_answer a;
	bool ok;

	km_answer_init(&a);
	ok = km_selector_parse(KM_NODES, row->labels, row->fields, &s, &a);
	cr_assert_eq(ok, row->code == 0, "%s", row->name);
	if (ok) {
		cr_assert_eq(km_selector_match(&s, km_find(m, KM_NODES, "", "n1")->now->json),
			     row->n1, "%s: n1", row->name);
		cr_assert_eq(km_selector_match(&s, km_find(m, KM_NODES, "", "n2")->now->json),
			     row->n2, "%s: n2", row->name);
	} else {
		cr_assert_eq(a.code, row->code, "%s", row->name);
	}
	kubemodel_answer_clear(&a);
	kubemodel_free(m);
}
