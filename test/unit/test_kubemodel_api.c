/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time: codes, Status objects, versions, and what may not be changed.
 */
#include "kubemodel_client.h"
#include "table.h"

#define LONG_LABEL                                                                                 \
	"{\"metadata\":{\"labels\":{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"   \
	"aaaaaaaaaaaaaaaaaaaa\"}}}"

static const struct {
	const char *name, *method, *target, *type, *accept, *body;
	int code;
	const char *reason; /* of the Status; "" for none */
} requests[] = {
	{ "get", "GET", "/api/v1/nodes/n1", "", "", "", 200, "" },
	{ "get nothing", "GET", "/api/v1/nodes/n9", "", "", "", 404, "NotFound" },
	{ "list", "GET", "/api/v1/nodes", "", "", "", 200, "" },
	{ "list in a namespace", "GET", "/api/v1/namespaces/default/pods", "", "", "", 200, "" },
	{ "a namespace itself", "GET", "/api/v1/namespaces/default", "", "", "", 200, "" },
	{ "unknown kind", "GET", "/api/v1/gizmos", "", "", "", 404, "NotFound" },
	{ "pod without namespace", "GET", "/api/v1/pods/p", "", "", "", 404, "NotFound" },
	{ "bad escape", "GET", "/api/v1/nodes/%zz", "", "", "", 400, "BadRequest" },
	{ "escape cut off", "GET", "/api/v1/nodes/%4", "", "", "", 400, "BadRequest" },
	{ "bad version", "GET", "/api/v1/nodes?resourceVersion=x", "", "", "", 400, "BadRequest" },
	{ "version of the future", "GET", "/api/v1/nodes?resourceVersion=99999", "", "", "", 504,
	  "Timeout" },
	{ "protobuf only", "GET", "/api/v1/nodes", "", "application/vnd.kubernetes.protobuf", "",
	  406, "NotAcceptable" },
	{ "first clause that fits", "GET", "/api/v1/nodes", "",
	  "application/vnd.kubernetes.protobuf,application/json", "", 200, "" },
	{ "partial object for a list", "GET", "/api/v1/nodes", "", PARTIAL, "", 406,
	  "NotAcceptable" },
	{ "partial list for an object", "GET", "/api/v1/nodes/n1", "", PARTIAL_LIST, "", 406,
	  "NotAcceptable" },
	{ "streamed list", "GET", "/api/v1/nodes?watch=1&sendInitialEvents=true", "", "", "", 422,
	  "Invalid" },
	{ "patch", "PATCH", "/api/v1/nodes/n1", MERGE, "",
	  "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200, "" },
	{ "patch nothing", "PATCH", "/api/v1/nodes/n9", MERGE, "", "{}", 404, "NotFound" },
	{ "patch of another type", "PATCH", "/api/v1/nodes/n1", "application/json-patch+json", "",
	  "{}", 415, "UnsupportedMediaType" },
	{ "strategic without lists", "PATCH", "/api/v1/nodes/n1",
	  "application/strategic-merge-patch+json", "", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
	  200, "" },
	{ "strategic with a list", "PATCH", "/api/v1/nodes/n1",
	  "application/strategic-merge-patch+json", "", "{\"spec\":{\"taints\":[]}}", 415,
	  "UnsupportedMediaType" },
	{ "not JSON", "PATCH", "/api/v1/nodes/n1", MERGE, "", "{", 400, "BadRequest" },
	{ "not an object", "PATCH", "/api/v1/nodes/n1", MERGE, "", "[]", 400, "BadRequest" },
	{ "label with a space", "PATCH", "/api/v1/nodes/n1", MERGE, "",
	  "{\"metadata\":{\"labels\":{\"a\":\"b c\"}}}", 422, "Invalid" },
	{ "label too long", "PATCH", "/api/v1/nodes/n1", MERGE, "", LONG_LABEL, 422, "Invalid" },
	{ "label a number", "PATCH", "/api/v1/nodes/n1", MERGE, "",
	  "{\"metadata\":{\"labels\":{\"a\":1}}}", 422, "Invalid" },
	{ "labels a list", "PATCH", "/api/v1/nodes/n1", MERGE, "", "{\"metadata\":{\"labels\":[]}}",
	  422, "Invalid" },
	{ "metadata a text", "PATCH", "/api/v1/nodes/n1", MERGE, "", "{\"metadata\":\"x\"}", 422,
	  "Invalid" },
	{ "another name", "PATCH", "/api/v1/nodes/n1", MERGE, "",
	  "{\"metadata\":{\"name\":\"n2\"}}", 400, "BadRequest" },
	{ "old version", "PATCH", "/api/v1/nodes/n1", MERGE, "",
	  "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409, "Conflict" },
	{ "another uid", "PATCH", "/api/v1/nodes/n1", MERGE, "", "{\"metadata\":{\"uid\":\"x\"}}",
	  422, "Invalid" },
	{ "create an event", "POST", "/api/v1/namespaces/default/events", "application/json", "",
	  "{\"metadata\":{\"generateName\":\"e-\"},\"involvedObject\":{\"kind\":\"Node\",\"name\":\"n1\"}}",
	  201, "" },
	{ "event without a name", "POST", "/api/v1/namespaces/default/events", "application/json",
	  "", "{\"metadata\":{},\"involvedObject\":{\"name\":\"n1\"}}", 422, "Invalid" },
	{ "event about nothing", "POST", "/api/v1/namespaces/default/events", "application/json",
	  "", "{\"metadata\":{\"name\":\"e\"}}", 422, "Invalid" },
	{ "event of another namespace", "POST", "/api/v1/namespaces/default/events",
	  "application/json", "",
	  "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"namespace\":\"kube-system\"}}", 422,
	  "Invalid" },
	{ "no such namespace", "POST", "/api/v1/namespaces/none/events", "application/json", "",
	  "{\"metadata\":{\"name\":\"e\"}}", 404, "NotFound" },
	{ "namespaces disagree", "POST", "/api/v1/namespaces/default/events", "application/json",
	  "", "{\"metadata\":{\"name\":\"e\",\"namespace\":\"x\"}}", 400, "BadRequest" },
	{ "create without namespace", "POST", "/api/v1/events", "application/json", "",
	  "{\"metadata\":{\"name\":\"e\"}}", 405, "MethodNotAllowed" },
	{ "there already", "POST", "/api/v1/nodes", "application/json", "",
	  "{\"metadata\":{\"name\":\"n1\"}}", 409, "AlreadyExists" },
	{ "another kind", "POST", "/api/v1/nodes", "application/json", "",
	  "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"n3\"}}", 400, "BadRequest" },
	{ "YAML", "POST", "/api/v1/nodes", "application/yaml", "", "a: b", 415,
	  "UnsupportedMediaType" },
	{ "delete a collection", "DELETE", "/api/v1/nodes", "", "", "", 405, "MethodNotAllowed" },
	{ "evict a node", "POST", "/api/v1/nodes/n1/eviction", "application/json", "", "{}", 404,
	  "NotFound" },
	{ "odd method", "BREW", "/api/v1/nodes/n1", "", "", "{}", 405, "MethodNotAllowed" },
	{ "version", "GET", "/version", "", "", "", 200, "" },
	{ "groups", "GET", "/apis", "", "", "", 200, "" },
	{ "resources", "GET", "/api/v1", "", "", "", 200, "" },
	{ "resources of a group", "GET", "/apis/apps/v1", "", "", "", 200, "" },
};

TABLE_TEST(kubemodel, answers, requests)
{
	struct kubemodel *m = cluster(64);
	json_auto_t *j = NULL;
	int code = ask_as(m, row->method, row->target, row->type, row->accept, row->body, &j);

	cr_assert_eq(code, row->code, "%s: %d %s", row->name, code, km_text_at(j, "message"));
	if (code >= 400) {
		cr_assert_str_eq(km_text_at(j, "reason"), row->reason, "%s", row->name);
		cr_assert_str_eq(km_text_at(j, "kind"), "Status", "%s", row->name);
		cr_assert_eq(json_integer_value(json_object_get(j, "code")), code, "%s", row->name);
	}
	kubemodel_free(m);
}

Test(kubemodel, a_change_takes_one_version_and_none_takes_none)
{
	struct kubemodel *m = cluster(64);
	uint64_t v = kubemodel_version(m);

	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}");
	cr_assert_eq(kubemodel_version(m), v + 1);
	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}");
	cr_assert_eq(kubemodel_version(m), v + 1, "nothing changed");
	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"x\":null,\"y\":null}}}");
	cr_assert_eq(kubemodel_version(m), v + 2);
	kubemodel_free(m);
}

Test(kubemodel, status_and_fixed_fields_stay)
{
	struct kubemodel *m = cluster(64);
	json_auto_t *before = NULL, *after = NULL;

	ask(m, "GET", "/api/v1/nodes/n1", "", &before);
	patch_node(m, "n1",
		   "{\"status\":{\"phase\":\"x\"},\"metadata\":{\"creationTimestamp\":\"x\","
		   "\"deletionTimestamp\":\"y\"}}");
	ask(m, "GET", "/api/v1/nodes/n1", "", &after);
	cr_assert(json_equal(before, after));
	json_decref(after);
	cr_assert_eq(ask(m, "PATCH", "/api/v1/nodes/n1/status",
			 "{\"status\":{\"phase\":\"x\"},\"spec\":{\"podCIDR\":\"x\"}}", NULL),
		     200);
	ask(m, "GET", "/api/v1/nodes/n1", "", &after);
	cr_assert_str_eq(km_text_at(after, "status.phase"), "x");
	cr_assert_str_eq(km_text_at(after, "spec.podCIDR"), "10.244.0.0/24");
	kubemodel_free(m);
}

Test(kubemodel, annotations_have_a_limit)
{
	static char body[300000];
	struct kubemodel *m = cluster(64);
	int n = snprintf(body, sizeof(body), "{\"metadata\":{\"annotations\":{\"a\":\"");

	memset(body + n, 'x', 262144);
	strcpy(body + n + 262144, "\"}}}");
	cr_assert_eq(ask(m, "PATCH", "/api/v1/nodes/n1", body, NULL), 422);
	body[n + 262000] = '"';
	strcpy(body + n + 262001, "}}}");
	cr_assert_eq(ask(m, "PATCH", "/api/v1/nodes/n1", body, NULL), 200);
	kubemodel_free(m);
}

Test(kubemodel, partial_objects_carry_metadata_only)
{
	struct kubemodel *m = cluster(64);
	json_auto_t *one = NULL, *list = NULL, *full = NULL;
	const json_t *item;

	cr_assert_eq(ask_as(m, "GET", "/api/v1/nodes/n1", "", PARTIAL, "", &one), 200);
	cr_assert_str_eq(km_text_at(one, "kind"), "PartialObjectMetadata");
	cr_assert_str_eq(km_text_at(one, "metadata.labels.team"), "a");
	cr_assert_null(json_object_get(one, "status"));
	cr_assert_eq(ask_as(m, "GET", "/api/v1/nodes", "", PARTIAL_LIST, "", &list), 200);
	cr_assert_str_eq(km_text_at(list, "kind"), "PartialObjectMetadataList");
	item = json_array_get(json_object_get(list, "items"), 1);
	cr_assert_str_eq(km_text_at(item, "metadata.name"), "n2");
	cr_assert_null(json_object_get(item, "spec"));
	ask(m, "GET", "/api/v1/nodes", "", &full);
	item = json_array_get(json_object_get(full, "items"), 1);
	cr_assert_null(json_object_get(item, "kind"), "items of a typed list carry no kind");
	cr_assert_not_null(json_object_get(item, "status"));
	kubemodel_free(m);
}

Test(kubemodel, lists_come_in_pages)
{
	struct kubemodel *m = cluster(64);
	json_auto_t *page = NULL;
	char target[256];
	struct err err = ERR_INIT;

	cr_assert_eq(kubemodel_add_node(m, "n0", "", &err), 0);
	ask(m, "GET", "/api/v1/nodes?limit=2", "", &page);
	cr_assert_eq(json_array_size(json_object_get(page, "items")), 2);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(page, "metadata"),
							"remainingItemCount")),
		     1);
	snprintf(target, sizeof(target), "/api/v1/nodes?limit=2&continue=%s",
		 km_text_at(page, "metadata.continue"));
	json_decref(page);
	ask(m, "GET", target, "", &page);
	cr_assert_eq(json_array_size(json_object_get(page, "items")), 1);
	cr_assert_str_eq(
		km_text_at(json_array_get(json_object_get(page, "items"), 0), "metadata.name"),
		"n2");
	cr_assert_str_eq(km_text_at(page, "metadata.continue"), "");
	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}");
	kubemodel_compact(m);
	cr_assert_eq(ask(m, "GET", target, "", NULL), 410);
	kubemodel_free(m);
}

Test(kubemodel, dry_runs_change_nothing)
{
	struct kubemodel *m = cluster(64);
	uint64_t v = kubemodel_version(m);

	cr_assert_eq(ask(m, "PATCH", "/api/v1/nodes/n1?dryRun=All",
			 "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}", NULL),
		     200);
	cr_assert_eq(ask(m, "DELETE", "/api/v1/nodes/n1?dryRun=All", "", NULL), 200);
	cr_assert_eq(ask(m, "POST", "/api/v1/nodes?dryRun=All", "{\"metadata\":{\"name\":\"n3\"}}",
			 NULL),
		     201);
	cr_assert_eq(kubemodel_version(m), v);
	kubemodel_free(m);
}

static int ask_with_token(struct kubemodel *m, const char *authorization)
{
	struct kubemodel_request rq = { "GET", "/api/v1/nodes", "", "", authorization, { 0 } };
	struct kubemodel_answer a;
	int code;

	kubemodel_handle(m, &rq, &a);
	code = a.code;
	kubemodel_answer_clear(&a);
	return code;
}

Test(kubemodel, tokens)
{
	struct kubemodel *m = cluster(64);

	cr_assert_eq(ask_with_token(m, ""), 200, "none is asked for yet");
	kubemodel_set_token(m, "one", false);
	cr_assert_eq(ask_with_token(m, ""), 401);
	cr_assert_eq(ask_with_token(m, "Bearer one"), 200);
	cr_assert_eq(ask_with_token(m, "Basic one"), 401);
	kubemodel_set_token(m, "two", true);
	cr_assert_eq(ask_with_token(m, "Bearer one"), 200, "both are good for a while");
	kubemodel_set_token(m, "three", false);
	cr_assert_eq(ask_with_token(m, "Bearer one"), 401);
	cr_assert_eq(ask_with_token(m, "Bearer three"), 200);
	kubemodel_expire_token(m);
	cr_assert_eq(ask_with_token(m, "Bearer three"), 401);
	cr_assert_eq(ask(m, "GET", "/readyz/ping", "", NULL), 200, "health needs none");
	kubemodel_free(m);
}

Test(kubemodel, saved_clusters_come_back)
{
	struct kubemodel *m = cluster(64), *other;
	struct kubemodel_config c = KUBEMODEL_CONFIG_INIT;
	struct buf text = BUF_INIT(1u << 20);
	struct err err = ERR_INIT;
	json_auto_t *node = NULL;

	patch_node(m, "n1", "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}");
	cr_assert_eq(kubemodel_save(m, &text, &err), 0, "%s", err_text(&err));
	cr_assert_eq(kubemodel_new(&c, &other, &err), 0);
	cr_assert_eq(kubemodel_load(other, buf_rd(&text), &err), 0, "%s", err_text(&err));
	cr_assert_geq(kubemodel_version(other), kubemodel_version(m));
	ask(other, "GET", "/api/v1/nodes/n1", "", &node);
	cr_assert_str_eq(km_text_at(node, "metadata.labels.x"), "1");
	cr_assert_eq(kubemodel_load(other, rd_of("{}", 2), &err), -1);
	cr_assert_eq(err.kind, ERR_INVALID);
	buf_clear(&text);
	kubemodel_free(m);
	kubemodel_free(other);
}
