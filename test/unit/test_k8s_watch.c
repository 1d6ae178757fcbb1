/* SPDX-License-Identifier: Apache-2.0 */
/* The reflector and the pods: lists, events, every way a watch can end, and what comes next. */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_server.h"
#include "k8s/internal.h"
#include "table.h"

#define SOON_MS 5000

#define BODY(text)                                                                                 \
	{                                                                                          \
		.bytes = FAKE_STREAM text, .end = FAKE_CLOSE                                       \
	}
#define OPEN(text)                                                                                 \
	{                                                                                          \
		.bytes = FAKE_STREAM text, .end = FAKE_HANG                                        \
	}
#define STATUS(code)                                                                               \
	{                                                                                          \
		.bytes = "HTTP/1.1 " code "\r\nConnection: close\r\n\r\n", .end = FAKE_CLOSE       \
	}
#define META(v, mode)                                                                              \
	"{\"kind\":\"PartialObjectMetadata\",\"metadata\":{\"name\":\"n1\",\"uid\":\"u1\","        \
	"\"resourceVersion\":\"" v "\",\"labels\":{\"nvidia.com/cc.mode\":\"" mode                 \
	"\",\"other\":\"x\"}}}"
#define LIST(v, items)	    "{\"metadata\":{\"resourceVersion\":\"" v "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define BOOKMARK(v)	    EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"" v "\"}}")

struct test {
	struct loop *loop;
	struct fake_server *server;
	struct k8s_config *config;
	struct k8s_client *client;
	struct k8s_reflector *reflector;
	struct k8s_pods *pods;
	unsigned n_nodes, n_links;
	bool exists, up, done, free_in_node;
	char mode[32], version[32];
	struct err why;
	size_t n_pods;
	char pods_text[256];
};

static void set_up(struct test *t, const struct fake_reply *script, size_t n)
{
	struct err err = ERR_INIT;
	char text[512];

	*t = (struct test){ .why = ERR_INIT };
	cr_assert_eq(loop_new(&t->loop, &err), 0);
	t->server = fake_server_new(t->loop, script, n);
	snprintf(text, sizeof(text),
		 "{current-context: c, contexts: [{name: c, context: {cluster: k}}],"
		 " clusters: [{name: k, cluster: {server: \"%s\"}}]}",
		 t->server->url);
	cr_assert_eq(kubeconfig_parse("kc", rd_of(text, strlen(text)), &t->config, &err), 0);
	cr_assert_eq(k8s_client_new(t->loop, t->config, "test/1", "gpucc", &t->client, &err), 0);
	t->client->tuning = (struct k8s_tuning){ .attempt_ms = 20000,
						 .retry_base_ms = 1,
						 .retry_cap_ms = 5,
						 .watch_base_ms = 2,
						 .watch_cap_ms = 10,
						 .watch_min_s = 1,
						 .watch_max_s = 1,
						 .watch_slack_ms = 100,
						 .open_ms = 20000,
						 .early_ms = 3 };
}

static void tear_down(struct test *t)
{
	k8s_reflector_free(t->reflector);
	k8s_pods_free(t->pods);
	k8s_client_free(t->client);
	k8s_config_free(t->config);
	fake_server_free(t->server);
	loop_free(t->loop);
}

static void on_node(void *arg, const struct k8s_node *node)
{
	const char *mode = k8s_map_get(&node->labels, "nvidia.com/cc.mode");
	struct test *t = arg;

	t->n_nodes++;
	t->exists = node->exists;
	snprintf(t->mode, sizeof(t->mode), "%s", mode ? mode : "-");
	snprintf(t->version, sizeof(t->version), "%s", node->version);
	cr_assert_null(k8s_map_get(&node->labels, "other"), "what is not ours is not kept");
	if (t->free_in_node) {
		k8s_reflector_free(t->reflector);
		t->reflector = NULL;
	}
}

static void on_link(void *arg, bool up, const struct err *why)
{
	struct test *t = arg;

	t->n_links++;
	t->up = up;
	t->why = *why;
}

static void reflect(struct test *t)
{
	struct k8s_reflector_config c = { .node = "n1",
					  .key_prefix = "nvidia.com/",
					  .on_node = on_node,
					  .on_link = on_link,
					  .arg = t };
	struct err err = ERR_INIT;

	cr_assert_eq(k8s_reflector_new(t->client, &c, &t->reflector, &err), 0, "%s",
		     err_text(&err));
	cr_assert_null(k8s_reflector_node(t->reflector), "nothing is known yet");
}

static bool wait_requests(struct test *t, size_t n)
{
	struct err err = ERR_INIT;

	for (int i = 0; i < 1000 && t->server->n_requests < n; i++)
		cr_assert_eq(loop_turn(t->loop, 5, &err), 0);
	return t->server->n_requests >= n;
}

static void wait_nodes(struct test *t, unsigned n)
{
	struct err err = ERR_INIT;

	for (int i = 0; i < 1000 && t->n_nodes < n; i++)
		cr_assert_eq(loop_turn(t->loop, 5, &err), 0);
}

static void idle(struct test *t, uint64_t ms)
{
	bool never = false;

	fake_pump(t->loop, &never, ms);
}

static uint64_t restarts(const struct test *t, enum k8s_restart cause)
{
	struct k8s_stats s;

	k8s_client_stats(t->client, &s);
	return s.watch_restarts[cause];
}

/* --- the usual -------------------------------------------------------------------------------- */

Test(k8s_watch, lists_then_watches)
{
	struct fake_reply script[] = { BODY(LIST("5", META("4", "on"))),
				       OPEN(EVENT("MODIFIED", META("6", "off")) BOOKMARK("9")) };
	struct k8s_link link;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	reflect(&t);
	cr_assert(wait_requests(&t, 2));
	idle(&t, 30);
	cr_assert(strstr(t.server->request[0],
			 "GET /api/v1/nodes?fieldSelector=metadata.name%3Dn1&limit=100 "));
	cr_assert(strstr(t.server->request[0], "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"));
	cr_assert(strstr(t.server->request[1],
			 "&watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=5 "));
	cr_assert(strstr(t.server->request[1], "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"));
	cr_assert_eq(t.n_nodes, 2);
	cr_assert_str_eq(t.mode, "off");
	cr_assert_str_eq(t.version, "6");
	k8s_reflector_link(t.reflector, &link);
	cr_assert(link.synced && link.up && t.up);
	cr_assert_eq(t.n_links, 1);
	tear_down(&t);
}

static const struct {
	const char *name;
	struct fake_reply list, watch;
	unsigned calls;
	bool exists;
	const char *mode, *version;
} views[] = {
	{ "a change of others is no news", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("MODIFIED", META("6", "on"))), 1, true, "on", "4" },
	{ "changes that arrive together are one", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("MODIFIED", META("6", "off")) EVENT("MODIFIED", META("7", "devtools"))
		       EVENT("MODIFIED", META("8", "ppcie"))),
	  2, true, "ppcie", "8" },
	{ "changes of others, then ours, then others'", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("MODIFIED", META("6", "on")) EVENT("MODIFIED", META("7", "on"))
		       EVENT("MODIFIED", META("8", "off")) EVENT("MODIFIED", META("9", "off"))),
	  2, true, "off", "9" },
	{ "others', then the node goes", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("MODIFIED", META("6", "on")) EVENT("MODIFIED", META("7", "on"))
		       EVENT("DELETED", META("8", "on"))),
	  2, false, "-", "8" },
	{ "a node that is not there", BODY(LIST("5", "")), OPEN(""), 1, false, "-", "" },
	{ "a node that comes", BODY(LIST("5", "")), OPEN(EVENT("ADDED", META("6", "on"))), 2, true,
	  "on", "6" },
	{ "a node that goes", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("DELETED", META("6", "on"))), 2, false, "-", "6" },
	{ "the label goes", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("MODIFIED",
		     "{\"metadata\":{\"name\":\"n1\",\"uid\":\"u1\",\"resourceVersion\":\"6\"}}")),
	  2, true, "-", "6" },
	{ "another node is not ours", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT("MODIFIED", "{\"metadata\":{\"name\":\"n2\",\"resourceVersion\":\"6\"}}")), 1,
	  true, "on", "4" },
	{ "made anew under the same name", BODY(LIST("5", META("4", "on"))),
	  OPEN(EVENT(
		  "MODIFIED",
		  "{\"metadata\":{\"name\":\"n1\",\"uid\":\"u2\",\"resourceVersion\":\"6\",\"labels\":"
		  "{\"nvidia.com/cc.mode\":\"on\"}}}")),
	  2, true, "on", "6" },
	{ "an event from before the list", BODY(LIST("5", META("5", "on"))),
	  OPEN(EVENT("MODIFIED", META("4", "off"))), 1, true, "on", "5" },
	{ "in small pieces",
	  BODY(LIST("5", META("4", "on"))),
	  { .bytes = FAKE_STREAM EVENT("MODIFIED", META("6", "off")),
	    .piece = 5,
	    .end = FAKE_HANG },
	  2,
	  true,
	  "off",
	  "6" },
	{ "versions that are no numbers", BODY(LIST("z", META("y", "on"))),
	  OPEN(EVENT("MODIFIED", META("a", "off"))), 2, true, "off", "a" },
};

TABLE_TEST(k8s_watch, the_view_follows, views)
{
	struct fake_reply script[] = { row->list, row->watch };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.client->tuning.watch_min_s = t.client->tuning.watch_max_s = 60;
	reflect(&t);
	cr_assert(wait_requests(&t, 2), "%s", row->name);
	wait_nodes(&t, row->calls);
	idle(&t, 20);
	cr_assert_eq(t.n_nodes, row->calls, "%s: %u", row->name, t.n_nodes);
	cr_assert_eq(t.exists, row->exists, "%s", row->name);
	cr_assert_str_eq(t.mode, row->mode, "%s", row->name);
	cr_assert_str_eq(t.version, row->version, "%s", row->name);
	cr_assert_eq(t.server->n_requests, 2, "%s", row->name);
	tear_down(&t);
}

/* --- every end, and what comes next ----------------------------------------------------------- */

static char long_line[WATCH_LINE_MAX + 4096];

static const struct {
	const char *name;
	struct fake_reply watch;
	enum k8s_restart cause;
	const char *next; /* in the request that follows: a version, or a list */
	bool goes_down;
} ends[] = {
	{ "the usual end", BODY(BOOKMARK("9")), K8S_RESTART_END, "resourceVersion=9 ", false },
	{ "an end before a word", BODY(""), K8S_RESTART_END, "resourceVersion=5 ", false },
	{ "an end in the middle of a line", BODY(BOOKMARK("9") "{\"type\":\"MODI"), K8S_RESTART_END,
	  "resourceVersion=9 ", false },
	{ "410 as an event", BODY(EVENT("ERROR", "{\"code\":410,\"message\":\"too old\"}")),
	  K8S_RESTART_GONE, "limit=", false },
	{ "410 as a status", STATUS("410 Gone"), K8S_RESTART_GONE, "limit=", false },
	{ "500 as an event", BODY(EVENT("ERROR", "{\"code\":500}")), K8S_RESTART_ERROR_EVENT,
	  "limit=", true },
	{ "500 as a status", STATUS("500 Oh"), K8S_RESTART_HTTP, "resourceVersion=5 ", true },
	{ "429 as a status", STATUS("429 S"), K8S_RESTART_HTTP, "resourceVersion=5 ", true },
	{ "403 as a status", STATUS("403 F"), K8S_RESTART_HTTP, "resourceVersion=5 ", true },
	{ "401 as a status", STATUS("401 W"), K8S_RESTART_HTTP, "resourceVersion=5 ", false },
	{ "400 as a status", STATUS("400 B"), K8S_RESTART_HTTP, "limit=", true },
	{ "reset", { .end = FAKE_RESET }, K8S_RESTART_NETWORK, "limit=", true },
	{ "never answered", { .end = FAKE_HANG }, K8S_RESTART_IDLE, "limit=", true },
	{ "silent beyond its time", OPEN(BOOKMARK("9")), K8S_RESTART_IDLE, "limit=", true },
	{ "no JSON", OPEN("<html>\n"), K8S_RESTART_BAD_DATA, "limit=", true },
	{ "not an event", OPEN("{}\n"), K8S_RESTART_BAD_DATA, "limit=", true },
	{ "labels of a wrong type",
	  OPEN(EVENT("MODIFIED",
		     "{\"metadata\":{\"name\":\"n1\",\"resourceVersion\":\"6\",\"labels\":[]}}")),
	  K8S_RESTART_BAD_DATA, "limit=", true },
	{ "a label of a wrong type",
	  OPEN(EVENT("MODIFIED",
		     "{\"metadata\":{\"name\":\"n1\",\"resourceVersion\":\"6\",\"labels\":"
		     "{\"nvidia.com/cc.mode\":7}}}")),
	  K8S_RESTART_BAD_DATA, "limit=", true },
	{ "a line without an end",
	  { .bytes = long_line, .n = sizeof(long_line), .end = FAKE_HANG },
	  K8S_RESTART_BAD_DATA,
	  "limit=",
	  true },
};

TABLE_TEST(k8s_watch, every_end_has_a_cause_and_a_continuation, ends)
{
	struct fake_reply script[] = { BODY(LIST("5", META("4", "on"))), row->watch };
	struct test t;

	memset(long_line, 'x', sizeof(long_line));
	memcpy(long_line, FAKE_STREAM, strlen(FAKE_STREAM));
	set_up(&t, FAKE_SCRIPT(script));
	if (!row->watch.bytes && row->watch.end == FAKE_HANG)
		t.client->tuning.open_ms = 100;
	reflect(&t);
	cr_assert(wait_requests(&t, 3), "%s", row->name);
	cr_assert(strstr(t.server->request[2], row->next), "%s: %s", row->name,
		  t.server->request[2]);
	cr_assert_eq(restarts(&t, row->cause), 1, "%s", row->name);
	cr_assert_eq(t.why.kind != ERR_NONE, row->goes_down, "%s: %s", row->name, err_text(&t.why));
	if (row->goes_down)
		cr_assert(strncmp(err_text(&t.why), "watching node n1: ", 18) == 0, "%s",
			  err_text(&t.why));
	cr_assert_eq(t.n_nodes, 1, "%s", row->name);
	cr_assert_str_eq(t.mode, "on", "%s: what was known stays known", row->name);
	tear_down(&t);
}

/* --- lists that fail -------------------------------------------------------------------------- */

#define DIGITS "12345678901234567890123456789012345678901234567890"

static char huge_list[HTTP_MAX_BYTES];

static const struct {
	const char *name;
	struct fake_reply list;
	const char *says;
} lists[] = {
	{ "500", STATUS("500 Oh"), "answered 500" },
	{ "reset", { .end = FAKE_RESET }, "" },
	{ "silence", { .end = FAKE_HANG }, "no answer in time" },
	{ "no JSON", BODY("<html>"), "JSON" },
	{ "cut off", { .bytes = FAKE_OK("500", "{\"metadata\":{"), .end = FAKE_CLOSE }, "" },
	{ "a list", BODY("[]"), "is not an object" },
	{ "no metadata", BODY("{\"items\":[]}"), "metadata: is missing" },
	{ "no version", BODY("{\"metadata\":{},\"items\":[]}"),
	  "metadata.resourceVersion: is missing" },
	{ "an empty version", BODY(LIST("", "")), "metadata.resourceVersion: is empty" },
	{ "a version without end", BODY(LIST(DIGITS DIGITS DIGITS, "")),
	  "resourceVersion: longer than" },
	{ "items an object", BODY("{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":{}}"),
	  "items: is not an array" },
	{ "an item that is a number", BODY(LIST("5", "7")), "metadata: is missing" },
	{ "labels a string",
	  BODY(LIST("5",
		    "{\"metadata\":{\"name\":\"n1\",\"resourceVersion\":\"1\",\"labels\":\"x\"}}")),
	  "labels: is not an object" },
	{ "nested deeply",
	  BODY("{\"metadata\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
	  "nested deeper" },
	{ "without end", { .bytes = huge_list, .n = sizeof(huge_list), .end = FAKE_HANG }, "" },
};

TABLE_TEST(k8s_watch, a_list_that_fails_is_asked_again, lists)
{
	struct fake_reply script[] = { row->list, BODY(LIST("5", META("4", "on"))), OPEN("") };
	struct test t;

	memset(huge_list, 'x', sizeof(huge_list));
	memcpy(huge_list, FAKE_STREAM, strlen(FAKE_STREAM));
	set_up(&t, FAKE_SCRIPT(script));
	if (row->list.end == FAKE_HANG)
		t.client->tuning.attempt_ms = 100;
	reflect(&t);
	cr_assert(wait_requests(&t, 2), "%s", row->name);
	cr_assert(t.n_nodes == 0 && t.n_links == 1 && !t.up, "%s", row->name);
	cr_assert_neq(t.why.kind, ERR_NONE, "%s", row->name);
	cr_assert(strstr(err_text(&t.why), row->says), "%s: %s", row->name, err_text(&t.why));
	cr_assert(wait_requests(&t, 3), "%s", row->name);
	for (int i = 0; i < 1000 && t.n_links < 2; i++)
		idle(&t, 5);
	cr_assert(t.n_nodes == 1 && t.n_links == 2 && t.up, "%s", row->name);
	tear_down(&t);
}

Test(k8s_watch, never_gives_up_and_slows_down)
{
	static struct fake_reply script[40];
	struct test t;

	for (size_t i = 0; i < ARRAY_LEN(script); i++)
		script[i] = (struct fake_reply)STATUS("503 U");
	set_up(&t, FAKE_SCRIPT(script));
	t.client->tuning.watch_base_ms = 10;
	t.client->tuning.watch_cap_ms = 50;
	reflect(&t);
	idle(&t, 500);
	cr_assert(t.server->n_requests >= 4 && t.server->n_requests <= 26, "%zu",
		  t.server->n_requests);
	cr_assert_eq(t.n_links, 1, "said once");
	tear_down(&t);
}

Test(k8s_watch, a_version_that_is_always_too_old_is_not_a_busy_loop)
{
	static struct fake_reply script[60];
	struct test t;

	for (size_t i = 0; i < ARRAY_LEN(script); i += 2) {
		script[i] = (struct fake_reply)BODY(LIST("5", META("4", "on")));
		script[i + 1] = (struct fake_reply)STATUS("410 Gone");
	}
	set_up(&t, FAKE_SCRIPT(script));
	t.client->tuning.watch_base_ms = 10;
	t.client->tuning.watch_cap_ms = 50;
	reflect(&t);
	idle(&t, 500);
	cr_assert(t.server->n_requests >= 4 && t.server->n_requests <= 50, "%zu",
		  t.server->n_requests);
	tear_down(&t);
}

Test(k8s_watch, a_version_that_the_server_keeps_refusing_is_dropped)
{
	struct fake_reply script[] = { BODY(LIST("5", META("4", "on"))),
				       STATUS("504 L"),
				       STATUS("504 L"),
				       STATUS("504 L"),
				       BODY(LIST("3", META("2", "off"))),
				       OPEN("") };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	reflect(&t);
	cr_assert(wait_requests(&t, 6));
	cr_assert(strstr(t.server->request[4], "limit="));
	cr_assert_str_eq(t.mode, "off", "a list counts, even one of an older etcd");
	tear_down(&t);
}

static void on_call_done(void *arg, const struct http_response *response, const struct err *err)
{
	struct test *t = arg;

	(void)response;
	t->why = *err;
	t->done = true;
}

Test(k8s_watch, an_answer_to_one_wakes_all_who_wait_for_the_server)
{
	struct fake_reply script[] = { { .end = FAKE_RESET },
				       BODY(LIST("5", META("4", "on"))),
				       OPEN(""),
				       { .bytes = FAKE_OK("2", "{}") } };
	struct k8s_request r = { .verb = "get",
				 .path = "/x",
				 .what = "asking",
				 .deadline_ms = 60000,
				 .on_done = on_call_done };
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.client->tuning.retry_base_ms = t.client->tuning.retry_cap_ms = 30000;
	r.arg = &t;
	cr_assert_eq(k8s_start(t.client, &r, NULL, &err), 0);
	cr_assert(wait_requests(&t, 1));
	idle(&t, 20); /* now it waits for more than ten seconds */
	reflect(&t);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.why.kind, ERR_NONE, "%s", err_text(&t.why));
	tear_down(&t);
}

/* --- our own writes --------------------------------------------------------------------------- */

static const struct {
	const char *name, *body;
	int result;
	unsigned calls;
	const char *mode;
} offers[] = {
	{ "newer", META("8", "off"), 0, 2, "off" },
	{ "newer, nothing of ours", META("8", "on"), 0, 1, "on" },
	{ "older", META("3", "off"), 0, 1, "on" },
	{ "the same", META("4", "off"), 0, 1, "on" },
	{ "no number", META("x", "off"), 0, 1, "on" },
	{ "no JSON", "nope", -1, 1, "on" },
	{ "another node", "{\"metadata\":{\"name\":\"n2\",\"resourceVersion\":\"8\"}}", -1, 1,
	  "on" },
	{ "no metadata", "{}", -1, 1, "on" },
};

TABLE_TEST(k8s_watch, answers_to_patches_are_taken_when_newer, offers)
{
	struct fake_reply script[] = { BODY(LIST("5", META("4", "on"))), OPEN("") };
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	reflect(&t);
	cr_assert(wait_requests(&t, 2));
	idle(&t, 10);
	cr_assert_eq(k8s_reflector_offer(t.reflector, rd_of(row->body, strlen(row->body)), &err),
		     row->result, "%s: %s", row->name, err_text(&err));
	cr_assert_eq(t.n_nodes, row->calls, "%s", row->name);
	cr_assert_str_eq(t.mode, row->mode, "%s", row->name);
	tear_down(&t);
}

Test(k8s_watch, after_an_offer_older_events_are_passed_over)
{
	struct fake_reply script[] = {
		BODY(LIST("5", META("4", "on"))),
		{ .bytes = FAKE_STREAM EVENT("MODIFIED", META("6", "devtools"))
			  EVENT("MODIFIED", META("9", "ppcie")),
		  .piece = 250,
		  .end = FAKE_HANG },
	};
	static const char offer[] = META("8", "off");
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	reflect(&t);
	while (!t.n_nodes)
		cr_assert_eq(loop_turn(t.loop, 5, &err), 0);
	cr_assert_eq(k8s_reflector_offer(t.reflector, rd_of(offer, strlen(offer)), &err), 0);
	wait_nodes(&t, 3);
	cr_assert_eq(t.n_nodes, 3, "the list, the offer, the last event: %u", t.n_nodes);
	cr_assert_str_eq(t.mode, "ppcie");
	tear_down(&t);
}

Test(k8s_watch, may_be_freed_when_told_something)
{
	struct fake_reply script[] = { BODY(LIST("5", META("4", "on"))), OPEN("") };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.free_in_node = true;
	reflect(&t);
	wait_nodes(&t, 1);
	idle(&t, 30);
	cr_assert_eq(t.n_nodes, 1);
	cr_assert_eq(t.server->n_requests, 1, "no watch follows");
	tear_down(&t);
}

Test(k8s_watch, may_be_freed_in_the_middle_of_a_batch)
{
	struct fake_reply script[] = { BODY(LIST("5", "")),
				       OPEN(EVENT("ADDED", META("6", "on"))
						    EVENT("MODIFIED", META("7", "off"))) };
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	reflect(&t);
	while (!t.n_nodes)
		cr_assert_eq(loop_turn(t.loop, 5, &err), 0);
	t.free_in_node = true;
	wait_nodes(&t, 2);
	idle(&t, 20);
	cr_assert_eq(t.n_nodes, 2);
	tear_down(&t);
}

/* --- pods ------------------------------------------------------------------------------------- */

#define POD(name, extra)                                                                           \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"u-" name              \
	"\",\"resourceVersion\":\"3\"" extra "}}"
#define OWNER                                                                                      \
	",\"ownerReferences\":[{\"kind\":\"X\",\"name\":\"x\"},"                                   \
	"{\"kind\":\"DaemonSet\",\"name\":\"d\",\"controller\":true}]"

static void on_pods(void *arg, const struct k8s_pod *pods, size_t n)
{
	struct test *t = arg;
	size_t at = 0;

	t->n_nodes++;
	t->n_pods = n;
	t->pods_text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(t->pods_text + at, sizeof(t->pods_text) - at, "%s%s%s%s ",
				       pods[i].name, pods[i].leaving ? "!" : "",
				       *pods[i].owner_kind ? "@" : "", pods[i].owner_name);
	if (t->free_in_node) {
		k8s_pods_free(t->pods);
		t->pods = NULL;
	}
}

static void watch_pods(struct test *t, const char *prefix)
{
	struct k8s_pods_config c = {
		.ns = "ns", .node = "n1", .resource_prefix = prefix, .on_pods = on_pods, .arg = t
	};
	struct err err = ERR_INIT;

	cr_assert_eq(k8s_pods_new(t->client, &c, &t->pods, &err), 0, "%s", err_text(&err));
}

Test(k8s_watch, pods_come_and_go)
{
	struct fake_reply script[] = {
		BODY(LIST("5", POD("a", OWNER) "," POD("b", ""))),
		OPEN(EVENT("MODIFIED",
			   POD("a", OWNER ",\"deletionTimestamp\":\"2026-11-20T00:00:00Z\""))
			     EVENT("DELETED", POD("b", "")) EVENT("ADDED", POD("c", ""))),
	};
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	watch_pods(&t, NULL);
	cr_assert(wait_requests(&t, 2));
	cr_assert_str_eq(t.pods_text, "a@d b ");
	wait_nodes(&t, 2);
	cr_assert(strstr(t.server->request[0],
			 "GET /api/v1/namespaces/ns/pods?fieldSelector=spec.nodeName%3Dn1&"));
	cr_assert_str_eq(t.pods_text, "a!@d c ");
	cr_assert_eq(t.n_nodes, 2);
	tear_down(&t);
}

Test(k8s_watch, a_list_of_pods_may_be_all_that_is_wanted)
{
	struct fake_reply script[] = { BODY(LIST("5", POD("a", ""))), OPEN("") };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.free_in_node = true;
	watch_pods(&t, NULL);
	wait_nodes(&t, 1);
	idle(&t, 30);
	cr_assert_eq(t.server->n_requests, 1);
	cr_assert_eq(t.n_pods, 1);
	tear_down(&t);
}

Test(k8s_watch, a_list_may_come_in_pages)
{
	struct fake_reply script[] = {
		BODY("{\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"a/b=\"},\"items\":[" POD(
			"a", "") "]}"),
		BODY("{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" POD("b", "") "]}"),
		OPEN(""),
	};
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	watch_pods(&t, NULL);
	cr_assert(wait_requests(&t, 3));
	cr_assert(strstr(t.server->request[1], "&continue=a%2Fb%3D "), "%s", t.server->request[1]);
	cr_assert_str_eq(t.pods_text, "a b ");
	cr_assert_eq(t.n_nodes, 1, "only the whole list is told");
	tear_down(&t);
}

#define SPEC(where, what, n)                                                                       \
	",\"spec\":{\"" where "\":[{\"name\":\"c\",\"resources\":{\"" what                         \
	"\":{\"nvidia.com/pgpu\":\"" n "\"}}}]}}"
#define WHOLE(name, spec)                                                                          \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"resourceVersion\":\"3\"}" spec

#define HOLDERS                                                                                    \
	WHOLE("a", SPEC("containers", "limits", "1"))                                              \
	"," WHOLE("b", SPEC("containers", "limits", "0")) "," WHOLE(                               \
		"c",                                                                               \
		SPEC("initContainers", "requests",                                                 \
		     "2")) "," WHOLE("d",                                                          \
				     "}") "," WHOLE("e",                                           \
						    ",\"spec\":{\"containers\":{\"odd\":[]}}}")

Test(k8s_watch, knows_which_pods_hold_a_resource)
{
	struct fake_reply script[] = {
		BODY(LIST("5", HOLDERS)),
		OPEN(""),
	};
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	watch_pods(&t, "nvidia.com/");
	cr_assert(wait_requests(&t, 2));
	cr_assert_str_eq(t.pods_text, "a c ");
	cr_assert(strstr(t.server->request[0], "\r\nAccept: application/json\r\n"));
	tear_down(&t);
}
