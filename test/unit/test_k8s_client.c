/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: what is tried again and until when, what a refusal says, what we write. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fake_server.h"
#include "k8s/internal.h"
#include "table.h"

#define SOON_MS 5000

struct test {
	struct loop *loop;
	struct fake_server *server;
	struct k8s_config *config;
	struct k8s_client *client;
	struct k8s_call *call;
	char token_file[64];
	bool done, free_in_done;
	unsigned n_done;
	struct err err;
	int status;
};

static void write_token(const struct test *t, const char *token)
{
	struct err err = ERR_INIT;

	cr_assert_eq(file_publish(t->token_file, token, strlen(token), 0600, &err), 0);
}

static void set_up(struct test *t, const struct fake_reply *script, size_t n)
{
	struct err err = ERR_INIT;
	char text[512];
	int fd;

	*t = (struct test){ .err = ERR_INIT, .token_file = "/tmp/gpucc-test-XXXXXX" };
	fd = mkstemp(t->token_file);
	cr_assert_geq(fd, 0);
	close(fd);
	write_token(t, "first");
	cr_assert_eq(loop_new(&t->loop, &err), 0);
	t->server = fake_server_new(t->loop, script, n);
	snprintf(text, sizeof(text),
		 "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
		 " clusters: [{name: k, cluster: {server: \"%s\"}}],"
		 " users: [{name: u, user: {tokenFile: %s}}]}",
		 t->server->url, t->token_file);
	cr_assert_eq(kubeconfig_parse("kc", rd_of(text, strlen(text)), &t->config, &err), 0, "%s",
		     err_text(&err));
	cr_assert_eq(k8s_client_new(t->loop, t->config, "test/1", "gpucc", &t->client, &err), 0);
	t->client->tuning.retry_base_ms = 1;
	t->client->tuning.retry_cap_ms = 5;
}

static void tear_down(struct test *t)
{
	k8s_client_free(t->client);
	k8s_config_free(t->config);
	fake_server_free(t->server);
	loop_free(t->loop);
	unlink(t->token_file);
}

static void on_done(void *arg, const struct http_response *response, const struct err *err)
{
	struct test *t = arg;

	t->n_done++;
	t->done = true;
	t->err = *err;
	t->status = response->status;
	if (t->free_in_done) {
		k8s_client_free(t->client);
		t->client = NULL;
	}
}

static void ask(struct test *t, const char *verb, uint32_t deadline_ms, bool once)
{
	struct k8s_request r = { .verb = verb,
				 .path = "/api/v1/things?x=y",
				 .what = "asking",
				 .deadline_ms = deadline_ms,
				 .once = once,
				 .on_done = on_done,
				 .arg = t };
	struct err err = ERR_INIT;

	t->done = false;
	cr_assert_eq(k8s_start(t->client, &r, &t->call, &err), 0, "%s", err_text(&err));
}

static uint64_t counted(const struct test *t, const char *verb, int code)
{
	struct k8s_stats s;

	k8s_client_stats(t->client, &s);
	for (size_t i = 0; i < s.n; i++)
		if (strcmp(s.requests[i].verb, verb) == 0 && s.requests[i].code == code)
			return s.requests[i].count;
	return 0;
}

/* --- attempts --------------------------------------------------------------------------------- */

#define STATUS(code, body)                                                                         \
	{                                                                                          \
		.bytes = "HTTP/1.1 " code "\r\nConnection: close\r\n\r\n" body, .end = FAKE_CLOSE  \
	}
#define OK                                                                                         \
	{                                                                                          \
		.bytes = FAKE_OK("2", "{}")                                                        \
	}

static const struct {
	const char *name;
	struct fake_reply script[4];
	size_t n;
	bool once;
	enum err_kind kind;
	int status;
	size_t attempts;
	const char *says;
} scripts[] = {
	{ "at once", { OK }, 1, false, ERR_NONE, 200, 1, "" },
	{ "500, then fine", { STATUS("500 Oh", ""), OK }, 2, false, ERR_NONE, 200, 2, "" },
	{ "429, 503, then fine",
	  { STATUS("429 S", ""), STATUS("503 U", ""), OK },
	  3,
	  false,
	  ERR_NONE,
	  200,
	  3,
	  "" },
	{ "reset, then fine", { { .end = FAKE_RESET }, OK }, 2, false, ERR_NONE, 200, 2, "" },
	{ "cut off, then fine",
	  { { .bytes = FAKE_OK("9", "{"), .end = FAKE_CLOSE }, OK },
	  2,
	  false,
	  ERR_NONE,
	  200,
	  2,
	  "" },
	{ "silent, then fine", { { .end = FAKE_HANG }, OK }, 2, false, ERR_NONE, 200, 2, "" },
	{ "500 once", { STATUS("500 Oh", "") }, 1, true, ERR_TRANSIENT, 500, 1, "answered 500" },
	{ "400 is final",
	  { STATUS("400 Bad", "{\"message\":\"no good\"}"), OK },
	  2,
	  false,
	  ERR_INVALID,
	  400,
	  1,
	  "asking: no good (HTTP 400)" },
	{ "404 is final",
	  { STATUS("404 W", ""), OK },
	  2,
	  false,
	  ERR_NOT_FOUND,
	  404,
	  1,
	  "asking: " },
	{ "409 is final",
	  { STATUS("409 C", "{\"message\":\"changed\"}"), OK },
	  2,
	  false,
	  ERR_CONFLICT,
	  409,
	  1,
	  "asking: changed (HTTP 409)" },
	{ "403 names what is missing",
	  { STATUS(
		  "403 F",
		  "{\"kind\":\"Status\",\"message\":\"nodes \\\"n\\\" is forbidden: User \\\"u\\\" cannot "
		  "patch resource \\\"nodes\\\"\",\"code\":403}") },
	  1,
	  false,
	  ERR_DENIED,
	  403,
	  1,
	  "asking: not allowed, a role is missing: nodes \"n\" is forbidden: "
	  "User \"u\" cannot patch resource "
	  "\"nodes\" (HTTP 403)" },
	{ "401 once more, then fine", { STATUS("401 W", ""), OK }, 2, false, ERR_NONE, 200, 2, "" },
	{ "401 twice is final",
	  { STATUS("401 W", ""), STATUS("401 W", ""), OK },
	  3,
	  false,
	  ERR_DENIED,
	  401,
	  2,
	  "does not accept our credentials" },
	{ "a message that is no JSON",
	  { STATUS("422 W", "<html>") },
	  1,
	  false,
	  ERR_INVALID,
	  422,
	  1,
	  "answered 422" },
	{ "a message that is a list",
	  { STATUS("422 W", "{\"message\":[1]}") },
	  1,
	  false,
	  ERR_INVALID,
	  422,
	  1,
	  "answered 422" },
};

TABLE_TEST(k8s_client, tries_again_what_may_pass, scripts)
{
	struct test t;

	set_up(&t, row->script, row->n);
	if (row->script[0].end == FAKE_HANG)
		t.client->tuning.attempt_ms = 200;
	ask(&t, "get", 20000, row->once);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS), "%s", row->name);
	cr_assert_eq(t.err.kind, row->kind, "%s: %s", row->name, err_text(&t.err));
	cr_assert_eq(t.status, row->status, "%s", row->name);
	cr_assert_eq(t.server->n_requests, row->attempts, "%s: %zu", row->name,
		     t.server->n_requests);
	cr_assert(strstr(err_text(&t.err), row->says), "%s: %s", row->name, err_text(&t.err));
	cr_assert_geq(counted(&t, "get", row->status), 1, "%s", row->name);
	tear_down(&t);
}

Test(k8s_client, the_deadline_ends_the_attempts)
{
	static struct fake_reply script[FAKE_REQUESTS];
	struct test t;

	for (size_t i = 0; i < FAKE_REQUESTS; i++)
		script[i] = (struct fake_reply)STATUS("503 U", "{\"message\":\"starting\"}");
	set_up(&t, FAKE_SCRIPT(script));
	t.client->tuning.retry_base_ms = 100;
	t.client->tuning.retry_cap_ms = 100;
	ask(&t, "get", 800, false);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_TRANSIENT);
	cr_assert_eq(t.err.code, 503);
	cr_assert(strstr(err_text(&t.err), "starting"), "%s", err_text(&t.err));
	cr_assert(t.server->n_requests >= 2 && t.server->n_requests <= 40, "%zu",
		  t.server->n_requests);
	tear_down(&t);
}

Test(k8s_client, the_servers_wish_is_respected)
{
	struct fake_reply script[] = {
		{ .bytes = "HTTP/1.1 429 S\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n" }, OK
	};
	bool never = false;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "get", 20000, false);
	fake_pump(t.loop, &never, 900);
	cr_assert_eq(t.server->n_requests, 1);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_NONE);
	tear_down(&t);
}

Test(k8s_client, a_wish_beyond_the_deadline_ends_it_at_once)
{
	struct fake_reply script[] = {
		{ .bytes = "HTTP/1.1 429 S\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n" }, OK
	};
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "get", 5000, false);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.server->n_requests, 1);
	cr_assert_eq(t.err.code, 429);
	tear_down(&t);
}

Test(k8s_client, a_token_that_expired_is_read_anew)
{
	struct fake_reply script[] = { STATUS("401 W", ""), OK };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "get", 0, false);
	write_token(&t, "second");
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_NONE, "%s", err_text(&t.err));
	cr_assert(strstr(t.server->request[0], "\r\nAuthorization: Bearer first\r\n"));
	cr_assert(strstr(t.server->request[1], "\r\nAuthorization: Bearer second\r\n"));
	tear_down(&t);
}

Test(k8s_client, nothing_is_called_after_cancelling)
{
	struct fake_reply script[] = { STATUS("503 U", ""), OK };
	bool never = false;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.client->tuning.retry_base_ms = 400;
	t.client->tuning.retry_cap_ms = 400;
	ask(&t, "get", 0, false);
	for (int i = 0; i < 500 && t.server->n_requests == 0; i++)
		fake_pump(t.loop, &never, 10);
	fake_pump(t.loop, &never, 20); /* now it waits for its second attempt */
	cr_assert_eq(t.server->n_requests, 1);
	k8s_cancel(t.call);
	fake_pump(t.loop, &never, 500);
	cr_assert_eq(t.n_done, 0);
	cr_assert_eq(t.server->n_requests, 1);
	tear_down(&t);
}

Test(k8s_client, the_client_may_be_freed_at_the_end)
{
	struct fake_reply script[] = { OK };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.free_in_done = true;
	ask(&t, "get", 0, false);
	ask(&t, "list", 0, false);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.n_done, 1);
	tear_down(&t);
}

/* --- what we write ---------------------------------------------------------------------------- */

Test(k8s_client, patches_only_what_it_is_told)
{
	static const struct k8s_pair labels[] = { { "nvidia.com/cc.mode.state", "success" },
						  { "nvidia.com/x", NULL } };
	static const struct k8s_pair annotations[] = { { "nvidia.com/cc.status", "{\"a\":1}" } };
	struct fake_reply script[] = { OK };
	struct k8s_node_patch p = { .node = "n1",
				    .if_version = "77",
				    .labels = labels,
				    .n_labels = 2,
				    .annotations = annotations,
				    .n_annotations = 1,
				    .on_done = on_done };
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	p.arg = &t;
	cr_assert_eq(k8s_patch_node(t.client, &p, &t.call, &err), 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert(strncmp(t.server->request[0],
			  "PATCH /api/v1/nodes/n1?fieldManager=gpucc HTTP/1.1\r\n", 52) == 0,
		  "%s", t.server->request[0]);
	cr_assert(
		strstr(t.server->request[0], "\r\nContent-Type: application/merge-patch+json\r\n"));
	cr_assert(strstr(t.server->request[0], "\r\nUser-Agent: test/1\r\n"));
	cr_assert(strstr(t.server->request[0], "as=PartialObjectMetadata;"));
	cr_assert(
		strstr(t.server->request[0],
		       "\r\n\r\n{\"metadata\":{\"resourceVersion\":\"77\","
		       "\"labels\":{\"nvidia.com/cc.mode.state\":"
		       "\"success\",\"nvidia.com/x\":null},\"annotations\":{\"nvidia.com/cc.status\":"
		       "\"{\\\"a\\\":1}\"}}}"),
		"%s", t.server->request[0]);
	tear_down(&t);
}

static const struct {
	const char *name;
	struct fake_reply script[2];
	enum err_kind kind;
	size_t attempts;
} evictions[] = {
	{ "done", { STATUS("201 C", "{}") }, ERR_NONE, 1 },
	{ "gone already", { STATUS("404 N", "") }, ERR_NONE, 1 },
	{ "a budget in the way, then done",
	  { STATUS("429 T", ""), STATUS("201 C", "") },
	  ERR_NONE,
	  2 },
	{ "not allowed", { STATUS("403 F", "") }, ERR_DENIED, 1 },
};

TABLE_TEST(k8s_client, evicts, evictions)
{
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, row->script, 2);
	cr_assert_eq(k8s_evict_pod(t.client, "ns", "p", 20000, on_done, &t, &t.call, &err), 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS), "%s", row->name);
	cr_assert_eq(t.err.kind, row->kind, "%s: %s", row->name, err_text(&t.err));
	cr_assert_eq(t.server->n_requests, row->attempts, "%s", row->name);
	cr_assert(strstr(t.server->request[0],
			 "POST /api/v1/namespaces/ns/pods/p/eviction?fieldManager=gpucc "));
	cr_assert(
		strstr(t.server->request[0], "\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\""));
	tear_down(&t);
}

/* --- events ----------------------------------------------------------------------------------- */

static void send_all(struct test *t, struct k8s_events *e)
{
	bool never = false;

	for (int i = 0; i < 2000 && k8s_events_pending(e) > 0; i++)
		fake_pump(t->loop, &never, 5);
	cr_assert_eq(k8s_events_pending(e), 0);
}

Test(k8s_client, an_event_that_repeats_raises_a_count)
{
	struct fake_reply script[] = { OK, OK, OK };
	struct k8s_events *e;
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	cr_assert_eq(k8s_events_new(t.client, "cc-manager", "n1", &e, &err), 0);
	k8s_event(e, false, "CCModeSwitching", "off to on");
	send_all(&t, e);
	k8s_event(e, false, "CCModeSwitching", "off to on");
	send_all(&t, e);
	k8s_event(e, true, "CCModeSwitching", "off to on");
	send_all(&t, e);
	cr_assert_eq(t.server->n_requests, 3);
	cr_assert(strstr(t.server->request[0],
			 "POST /api/v1/namespaces/default/events?fieldManager=gpucc "));
	cr_assert(strstr(t.server->request[0],
			 "\"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Node\","
			 "\"name\":\"n1\",\"uid\":\"n1\"},\"type\":\"Normal\""));
	cr_assert(strstr(t.server->request[1], "PATCH /api/v1/namespaces/default/events/n1."));
	cr_assert(strstr(t.server->request[1], "\"count\":2}"));
	cr_assert(strstr(t.server->request[2], "\"type\":\"Warning\""), "%s", t.server->request[2]);
	cr_assert_eq(k8s_events_dropped(e, NULL), 0);
	k8s_events_free(e);
	tear_down(&t);
}

Test(k8s_client, an_event_that_arrived_after_all_counts_as_sent)
{
	struct fake_reply script[] = { { .end = FAKE_RESET },
				       STATUS("409 C", "{\"reason\":\"AlreadyExists\"}") };
	struct k8s_events *e;
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	cr_assert_eq(k8s_events_new(t.client, "cc-manager", "n1", &e, &err), 0);
	k8s_event(e, false, "R", "m");
	send_all(&t, e);
	cr_assert_eq(t.server->n_requests, 2);
	cr_assert_eq(k8s_events_dropped(e, NULL), 0);
	k8s_events_free(e);
	tear_down(&t);
}

Test(k8s_client, a_burst_of_events_is_cut)
{
	static struct fake_reply script[FAKE_REQUESTS];
	struct k8s_events *e;
	struct err err = ERR_INIT, last;
	struct test t;
	char text[16];

	for (size_t i = 0; i < FAKE_REQUESTS; i++)
		script[i] = (struct fake_reply)OK;
	set_up(&t, FAKE_SCRIPT(script));
	cr_assert_eq(k8s_events_new(t.client, "cc-manager", "n1", &e, &err), 0);
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "%d", i);
		k8s_event(e, false, "R", text);
	}
	send_all(&t, e);
	cr_assert_eq(t.server->n_requests, 20);
	cr_assert_eq(k8s_events_dropped(e, &last), 30);
	cr_assert_eq(last.kind, ERR_TRANSIENT);
	k8s_event(e, false, "R", "freed before it was sent");
	k8s_events_free(e);
	tear_down(&t);
}

Test(k8s_client, an_event_that_is_refused_is_dropped_and_told)
{
	struct fake_reply script[] = { STATUS("403 F", "{\"message\":\"no\"}"), OK };
	struct k8s_events *e;
	struct err err = ERR_INIT, last;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	cr_assert_eq(k8s_events_new(t.client, "cc-manager", "n1", &e, &err), 0);
	k8s_event(e, false, "R", "m");
	send_all(&t, e);
	cr_assert_eq(k8s_events_dropped(e, &last), 1);
	cr_assert_eq(last.kind, ERR_DENIED);
	k8s_event(e, false, "R", "m");
	send_all(&t, e);
	cr_assert(strncmp(t.server->request[1], "POST ", 5) == 0,
		  "a new one, as the first is not there");
	k8s_events_free(e);
	tear_down(&t);
}
