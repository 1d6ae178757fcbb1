/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of faults: what parses, which requests are hit, what a spoiled answer looks like.
 */
#include "kubemodel_client.h"
#include "table.h"

static const struct {
	const char *spec;
	bool ok;
} specs[] = {
	{ "status:503", true },
	{ "status:429,retry-after=2,verb=patch,path=/nodes/,count=3", true },
	{ " hang , n=3-5 ", true },
	{ "huge,bytes=1048576", true },
	{ "slow,bytes=1,ms=5,count=all", true },
	{ "error-event:410,reason=Expired", true },
	{ "outage,ms=500", true },
	{ "", false },
	{ "status", false },
	{ "status:99", false },
	{ "status:600", false },
	{ "status:", false },
	{ "hang:3", false },
	{ "explode", false },
	{ "hang,verb", false },
	{ "hang,verb=", false },
	{ "hang,colour=red", false },
	{ "hang,n=0", false },
	{ "hang,n=5-3", false },
	{ "hang,n=-3", false },
	{ "hang,count=0", false },
	{ "hang,count=-1", false },
	{ "slow,bytes=0", false },
};

TABLE_TEST(kubemodel_fault, specs, specs)
{
	static struct kubemodel_fault f;
	struct err err = ERR_INIT;
	int r = kubemodel_fault_parse(row->spec, &f, &err);

	cr_assert_eq(r, row->ok ? 0 : -1, "'%s': %s", row->spec, err_text(&err));
	cr_assert_eq(err.kind, row->ok ? ERR_NONE : ERR_INVALID, "'%s'", row->spec);
}

static const struct {
	const char *script, *hits; /* one character per request: . none, else first of the action */
} scripts[] = {
	{ "hang", "h......." },
	{ "hang,count=2", "hh......" },
	{ "hang,count=all", "hhhhhhhh" },
	{ "hang,skip=1,count=2", ".hh....." },
	{ "hang,n=3", "..h....." },
	{ "hang,n=3-4,count=all", "..hh...." },
	{ "hang,verb=patch,count=all", ".h.h.h.h" },
	{ "hang,verb=patch,skip=1", "...h...." },
	{ "hang,path=/nodes/n1,count=all", ".h.h.h.h" },
	{ "hang,agent=cc-manager", "h......." },
	{ "hang,agent=someone", "........" },
	{ "hang,n=2\nclose,count=all", "chcccccc" },
	{ "# nothing\n\n  \n", "........" },
	{ "compact,n=2\nhang,n=2", ".h......" },
};

TABLE_TEST(kubemodel_fault, scripts, scripts)
{
	static struct kubemodel_faults fs;
	const struct kubemodel_fault *hit[KUBEMODEL_MAX_FAULTS];
	struct err err = ERR_INIT;
	char got[16] = "";

	cr_assert_eq(kubemodel_faults_parse(row->script, &fs, &err), 0, "%s", err_text(&err));
	for (uint64_t i = 0; i < 8; i++) {
		size_t n = kubemodel_faults_match(&fs, i + 1, i % 2 ? "patch" : "watch",
						  i % 2 ? "/api/v1/nodes/n1" : "/api/v1/nodes",
						  "cc-manager/1", hit);

		got[i] = n && !kubemodel_fault_is_servers(hit[n - 1]) ? hit[n - 1]->spec[0] : '.';
	}
	cr_assert_str_eq(got, row->hits, "%s", row->script);
}

static const struct {
	const char *name, *spec, *body, *result;
} spoils[] = {
	{ "truncated", "truncated", "{\"a\":123}\n", "{\"a\":\n" },
	{ "huge", "huge,bytes=3", "{\"a\":1}\n", "{\"a\":1,\"padding\":\"xxx\"}\n" },
	{ "nested", "nested,depth=3", "{\"a\":1}\n", "{\"a\":1,\"nested\":[[[]]]}\n" },
	{ "one field", "wrong-types,field=a.b", "{\"a\":{\"b\":{}}}\n",
	  "{\"a\":{\"b\":\"text\"}}\n" },
	{ "no such field", "wrong-types,field=a.c", "{\"a\":{\"b\":1}}\n", "{\"a\":{\"b\":1}}\n" },
	{ "all fields", "wrong-types", "{\"kind\":\"x\",\"a\":\"b\",\"c\":1,\"d\":{}}",
	  "{\"kind\":\"x\",\"a\":42,\"c\":\"7\",\"d\":\"text\"}\n" },
	{ "not JSON before", "wrong-types", "ok", "ok" },
	{ "no object before", "huge", "ok", "ok" },
	{ "one that does not spoil", "hang", "{}\n", "{}\n" },
};

TABLE_TEST(kubemodel_fault, spoils, spoils)
{
	static struct kubemodel_fault f;
	struct buf body = BUF_INIT(4096);
	struct err err = ERR_INIT;

	cr_assert_eq(kubemodel_fault_parse(row->spec, &f, &err), 0, "%s", err_text(&err));
	cr_assert_eq(buf_adds(&body, row->body, &err), 0);
	cr_assert_eq(kubemodel_fault_spoil(&f, &body, &err), 0, "%s: %s", row->name,
		     err_text(&err));
	cr_assert_eq(body.len, strlen(row->result), "%s: '%s'", row->name, body.data);
	cr_assert_eq(memcmp(body.data, row->result, body.len), 0, "%s: '%s'", row->name, body.data);
	buf_clear(&body);
}

Test(kubemodel_fault, an_error_event_is_a_line_of_a_watch)
{
	static struct kubemodel_fault f;
	struct buf line = BUF_INIT(4096);
	struct err err = ERR_INIT;
	json_auto_t *j = NULL;

	cr_assert_eq(kubemodel_fault_parse("error-event:500", &f, &err), 0);
	cr_assert_eq(kubemodel_fault_spoil(&f, &line, &err), 0);
	j = json_loadb(line.data, line.len, 0, NULL);
	cr_assert_str_eq(km_text_at(j, "type"), "ERROR");
	cr_assert_str_eq(km_text_at(j, "object.kind"), "Status");
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(j, "object"), "code")),
		     500);
	buf_clear(&line);
}

Test(kubemodel_fault, a_script_is_taken_whole_or_not_at_all)
{
	static struct kubemodel_faults fs;
	struct err err = ERR_INIT;

	cr_assert_eq(kubemodel_faults_parse("hang\nexplode\n", &fs, &err), -1);
	cr_assert_eq(fs.n, 0);
}
