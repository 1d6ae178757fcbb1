/* SPDX-License-Identifier: Apache-2.0 */
/* http: what answers mean, what deadlines do, how connections are used, who may free what when. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "fake_server.h"
#include "http/http.h"
#include "table.h"

#define SOON_MS 5000

struct test {
	struct loop *loop;
	struct fake_server *server;
	struct http_client *client;
	struct http_call *call;
	bool done, opened;
	unsigned n_done;
	struct err err;
	int status;
	uint64_t retry_after_ms;
	struct buf body, stream;
	uint32_t open_ms;
	bool cancel_in_data, free_in_data, free_in_done, start_in_done;
};

static void on_open(void *arg)
{
	((struct test *)arg)->opened = true;
}

static void on_data(void *arg, struct rd bytes)
{
	struct test *t = arg;
	struct err err = ERR_INIT;

	cr_assert_eq(buf_add(&t->stream, bytes.p, bytes.left, &err), 0);
	if (t->cancel_in_data) {
		http_cancel(t->call);
		t->done = true;
	}
	if (t->free_in_data) {
		http_client_free(t->client);
		t->client = NULL;
		t->done = true;
	}
}

static void ask(struct test *t, const char *path, bool stream, uint32_t deadline_ms,
		uint32_t idle_ms);

static void on_done(void *arg, const struct http_response *response, const struct err *err)
{
	struct test *t = arg;
	struct err ignored = ERR_INIT;

	t->n_done++;
	t->err = *err;
	t->status = response->status;
	t->retry_after_ms = response->retry_after_ms;
	buf_reset(&t->body);
	cr_assert_eq(buf_add(&t->body, response->body.p, response->body.left, &ignored), 0);
	if (t->start_in_done) {
		t->start_in_done = false;
		ask(t, "/second", false, 0, 0);
		return;
	}
	if (t->free_in_done) {
		http_client_free(t->client);
		t->client = NULL;
	}
	t->done = true;
}

static void ask(struct test *t, const char *path, bool stream, uint32_t deadline_ms,
		uint32_t idle_ms)
{
	struct http_request r = {
		.method = "GET",
		.path = path,
		.headers = { "Accept: application/json" },
		.max_bytes = 1000,
		.deadline_ms = deadline_ms,
		.open_ms = t->open_ms,
		.idle_ms = idle_ms,
		.on_open = on_open,
		.on_data = stream ? on_data : NULL,
		.on_done = on_done,
		.arg = t,
	};
	struct err err = ERR_INIT;

	t->done = false;
	cr_assert_eq(http_start(t->client, &r, &t->call, &err), 0, "%s", err_text(&err));
	cr_assert_eq(t->n_done + t->done, t->n_done, "no callback from inside http_start()");
}

static void set_up(struct test *t, const struct fake_reply *script, size_t n)
{
	struct http_config config = { .user_agent = "test/1" };
	struct err err = ERR_INIT;

	*t = (struct test){ .body = BUF_INIT(1 << 20),
			    .stream = BUF_INIT(1 << 20),
			    .err = ERR_INIT };
	cr_assert_eq(loop_new(&t->loop, &err), 0);
	t->server = fake_server_new(t->loop, script, n);
	config.url = t->server->url;
	cr_assert_eq(http_client_new(t->loop, &config, &t->client, &err), 0, "%s", err_text(&err));
}

static void tear_down(struct test *t)
{
	http_client_free(t->client);
	fake_server_free(t->server);
	loop_free(t->loop);
	buf_clear(&t->body);
	buf_clear(&t->stream);
}

/* --- one answer ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct fake_reply reply;
	enum err_kind kind;
	int status;
	const char *says;
} answers[] = {
	{ "200", { .bytes = FAKE_OK("2", "{}") }, ERR_NONE, 200, "" },
	{ "byte by byte", { .bytes = FAKE_OK("2", "{}"), .piece = 1 }, ERR_NONE, 200, "" },
	{ "201 without a body", { .bytes = FAKE_EMPTY("201 Created") }, ERR_NONE, 201, "" },
	{ "until the end", { .bytes = FAKE_STREAM "{}", .end = FAKE_CLOSE }, ERR_NONE, 200, "" },
	{ "400", { .bytes = FAKE_EMPTY("400 Bad") }, ERR_INVALID, 400, "400" },
	{ "401", { .bytes = FAKE_EMPTY("401 Who") }, ERR_DENIED, 401, "401" },
	{ "403", { .bytes = FAKE_EMPTY("403 No") }, ERR_DENIED, 403, "403" },
	{ "404", { .bytes = FAKE_EMPTY("404 Where") }, ERR_NOT_FOUND, 404, "404" },
	{ "409", { .bytes = FAKE_EMPTY("409 Conflict") }, ERR_CONFLICT, 409, "409" },
	{ "410", { .bytes = FAKE_EMPTY("410 Gone") }, ERR_GONE, 410, "410" },
	{ "422", { .bytes = FAKE_EMPTY("422 What") }, ERR_INVALID, 422, "422" },
	{ "429", { .bytes = FAKE_EMPTY("429 Slowly") }, ERR_TRANSIENT, 429, "429" },
	{ "500", { .bytes = FAKE_EMPTY("500 Oh") }, ERR_TRANSIENT, 500, "500" },
	{ "504", { .bytes = FAKE_EMPTY("504 Late") }, ERR_TRANSIENT, 504, "504" },
	{ "a redirect is not followed",
	  { .bytes =
		    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" },
	  ERR_INVALID,
	  302,
	  "302" },
	{ "closed before a word", { .end = FAKE_CLOSE }, ERR_TRANSIENT, 0, "mpty reply" },
	{ "reset before a word", { .end = FAKE_RESET }, ERR_TRANSIENT, 0, "" },
	{ "closed in the middle",
	  { .bytes = FAKE_OK("10", "{}"), .end = FAKE_CLOSE },
	  ERR_TRANSIENT,
	  200,
	  "" },
	{ "a chunk cut off",
	  { .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
	    .end = FAKE_CLOSE },
	  ERR_TRANSIENT,
	  200,
	  "" },
	{ "not HTTP",
	  { .bytes = "SSH-2.0-OpenSSH_9.2\r\n", .end = FAKE_CLOSE },
	  ERR_INVALID,
	  0,
	  "HTTP" },
	{ "silence", { .end = FAKE_HANG }, ERR_TIMEOUT, 0, "no answer in time" },
	{ "half an answer, then silence",
	  { .bytes = FAKE_OK("9", "{"), .end = FAKE_HANG },
	  ERR_TIMEOUT,
	  0,
	  "no answer in time" },
};

TABLE_TEST(http, answers_have_a_kind, answers)
{
	struct test t;

	set_up(&t, &row->reply, 1);
	ask(&t, "/x", false, row->kind == ERR_TIMEOUT ? 200 : 20000, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS), "%s", row->name);
	cr_assert_eq(t.err.kind, row->kind, "%s: %s", row->name, err_text(&t.err));
	cr_assert_eq(t.status, row->status, "%s: %d", row->name, t.status);
	cr_assert(strstr(err_text(&t.err), row->says), "%s: %s", row->name, err_text(&t.err));
	cr_assert_eq(t.err.code, row->kind && row->status >= 300 ? row->status : 0, "%s",
		     row->name);
	cr_assert(strstr(t.server->request[0], "User-Agent: test/1\r\n"), "%s", row->name);
	cr_assert_eq(t.n_done, 1);
	tear_down(&t);
}

Test(http, an_answer_over_its_cap_is_refused)
{
	static char big[4096] = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n";
	struct fake_reply script[] = { { .bytes = big, .n = sizeof(big) } };
	struct test t;

	memset(big + strlen(big), 'x', sizeof(big) - strlen(big));
	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_INVALID);
	cr_assert(strstr(err_text(&t.err), "longer than 1000 bytes"), "%s", err_text(&t.err));
	tear_down(&t);
}

static const struct {
	const char *name, *header;
	uint64_t least_ms, most_ms;
} waits[] = {
	{ "none", "", 0, 0 },
	{ "seconds", "Retry-After: 7\r\n", 7000, 7000 },
	{ "zero", "Retry-After: 0\r\n", 0, 0 },
	{ "too long", "Retry-After: 86400\r\n", HTTP_RETRY_AFTER_MAX_MS, HTTP_RETRY_AFTER_MAX_MS },
	{ "nonsense", "Retry-After: soon\r\n", 0, 0 },
	{ "negative", "Retry-After: -5\r\n", 0, 0 },
};

TABLE_TEST(http, tells_when_to_come_back, waits)
{
	char text[256];
	struct fake_reply script[] = { { .bytes = text } };
	struct test t;

	snprintf(text, sizeof(text), "HTTP/1.1 429 Slowly\r\nContent-Length: 0\r\n%s\r\n",
		 row->header);
	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert(t.retry_after_ms >= row->least_ms && t.retry_after_ms <= row->most_ms, "%s: %llu",
		  row->name, (unsigned long long)t.retry_after_ms);
	tear_down(&t);
}

Test(http, nobody_listens)
{
	struct test t;

	set_up(&t, NULL, 0);
	source_free(t.server->source);
	close(t.server->fd);
	t.server->fd = -1;
	t.server->source = NULL;
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_TRANSIENT, "%s", err_text(&t.err));
	tear_down(&t);
}

/* --- streams ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct fake_reply reply;
	uint32_t idle_ms;
	enum err_kind kind;
	const char *bytes, *body;
	bool opened;
} streams[] = {
	{ "whole",
	  { .bytes = FAKE_STREAM "abcdef", .end = FAKE_CLOSE },
	  0,
	  ERR_NONE,
	  "abcdef",
	  "",
	  true },
	{ "in pieces",
	  { .bytes = FAKE_STREAM "abcdef", .piece = 1, .end = FAKE_CLOSE },
	  0,
	  ERR_NONE,
	  "abcdef",
	  "",
	  true },
	{ "refused",
	  { .bytes = "HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnope" },
	  0,
	  ERR_DENIED,
	  "",
	  "nope",
	  false },
	{ "never answered", { .end = FAKE_HANG }, 0, ERR_TIMEOUT, "", "", false },
	{ "opened, then silent",
	  { .bytes = FAKE_STREAM "abc", .end = FAKE_HANG },
	  60,
	  ERR_TIMEOUT,
	  "abc",
	  "",
	  true },
	{ "reset",
	  { .bytes = FAKE_STREAM "abc", .piece = 90, .end = FAKE_RESET },
	  0,
	  ERR_TRANSIENT,
	  NULL,
	  "",
	  true },
};

TABLE_TEST(http, streams_end_with_a_kind, streams)
{
	struct test t;

	set_up(&t, &row->reply, 1);
	t.open_ms = row->reply.bytes ? 0 : 100;
	ask(&t, "/x", true, 0, row->idle_ms);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS), "%s", row->name);
	cr_assert_eq(t.err.kind, row->kind, "%s: %s", row->name, err_text(&t.err));
	if (row->bytes)
		cr_assert_str_eq(buf_str(&t.stream), row->bytes, "%s", row->name);
	cr_assert_str_eq(buf_str(&t.body), row->body, "%s", row->name);
	cr_assert_eq(t.opened, row->opened, "%s", row->name);
	cr_assert_eq(t.n_done, 1);
	tear_down(&t);
}

Test(http, a_stream_that_is_never_silent_for_long_lives)
{
	char text[sizeof(FAKE_STREAM) + 6000] = FAKE_STREAM;
	struct fake_reply script[] = {
		{ .bytes = text, .n = sizeof(text), .piece = 20, .end = FAKE_CLOSE }
	};
	struct test t;

	memset(text + strlen(FAKE_STREAM), 'x', sizeof(text) - strlen(FAKE_STREAM));
	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "/x", true, 0, 150); /* all of it takes longer */
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_NONE, "%s", err_text(&t.err));
	cr_assert_eq(t.stream.len, 6001);
	tear_down(&t);
}

/* --- connections ------------------------------------------------------------------------------ */

Test(http, one_connection_serves_many_requests)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1") },
				       { .bytes = FAKE_OK("1", "2") },
				       { .bytes = FAKE_EMPTY("404 Where") },
				       { .bytes = FAKE_OK("1", "4") } };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	for (int i = 0; i < 4; i++) {
		ask(&t, "/x", false, 0, 0);
		cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	}
	cr_assert_str_eq(buf_str(&t.body), "4");
	cr_assert_eq(t.server->accepted, 1);
	cr_assert_eq(http_client_stats(t.client).connections, 1);
	cr_assert_eq(http_client_stats(t.client).requests, 4);
	tear_down(&t);
}

Test(http, a_connection_that_the_server_closed_meanwhile_costs_nothing)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1"), .end = FAKE_CLOSE },
				       { .bytes = FAKE_OK("1", "2") } };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_NONE, "%s", err_text(&t.err));
	cr_assert_str_eq(buf_str(&t.body), "2");
	tear_down(&t);
}

Test(http, a_silent_connection_is_not_used_again)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1") },
				       { .end = FAKE_HANG },
				       { .bytes = FAKE_OK("1", "3") } };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	for (int i = 0; i < 3; i++) {
		ask(&t, "/x", false, i == 1 ? 100 : 20000, 0);
		cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
		cr_assert_eq(t.err.kind, i == 1 ? ERR_TIMEOUT : ERR_NONE, "%s", err_text(&t.err));
	}
	cr_assert_eq(t.server->accepted, 2);
	tear_down(&t);
}

/* --- callbacks that change things ------------------------------------------------------------- */

Test(http, a_cancelled_call_says_nothing)
{
	struct fake_reply script[] = { { .end = FAKE_HANG }, { .bytes = FAKE_OK("1", "2") } };
	bool never = false;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "/x", false, 0, 0);
	for (int i = 0; i < 500 && t.server->n_requests == 0; i++)
		fake_pump(t.loop, &never, 10);
	cr_assert_eq(t.server->n_requests, 1);
	http_cancel(t.call);
	ask(&t, "/x", false, 0, 0);
	http_cancel(t.call); /* before curl has it */
	fake_pump(t.loop, &never, 30);
	cr_assert_eq(t.n_done, 0);
	tear_down(&t);
}

Test(http, a_call_may_be_cancelled_in_its_own_data)
{
	struct fake_reply script[] = { { .bytes = FAKE_STREAM "abcdef", .end = FAKE_HANG },
				       { .bytes = FAKE_OK("1", "2") } };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.cancel_in_data = true;
	ask(&t, "/x", true, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.n_done, 1, "only the second");
	tear_down(&t);
}

Test(http, the_client_may_be_freed_in_data)
{
	struct fake_reply script[] = { { .bytes = FAKE_STREAM "abcdef", .end = FAKE_HANG } };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.free_in_data = true;
	ask(&t, "/x", true, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.n_done, 0);
	tear_down(&t);
}

Test(http, the_client_may_be_freed_at_the_end_and_by_a_deadline)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1") }, { .end = FAKE_HANG } };

	for (int i = 0; i < 2; i++) {
		struct test t;

		set_up(&t, script + i, 1);
		t.free_in_done = true;
		ask(&t, "/x", false, 200, 0);
		cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
		cr_assert_eq(t.n_done, 1);
		tear_down(&t);
	}
}

Test(http, the_next_request_may_begin_at_the_end_of_one)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1") },
				       { .bytes = FAKE_OK("1", "2") } };
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	t.start_in_done = true;
	ask(&t, "/first", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.n_done, 2);
	cr_assert(strncmp(t.server->request[1], "GET /second HTTP/1.1\r\n", 22) == 0);
	tear_down(&t);
}

/* --- small things ----------------------------------------------------------------------------- */

Test(http, sends_a_body_as_it_is)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1") } };
	struct http_request r = { .method = "PATCH",
				  .path = "/n",
				  .headers = { "Content-Type: a/b" },
				  .body = rd_of("{\"a\":1}", 7),
				  .on_done = on_done };
	struct err err = ERR_INIT;
	struct test t;

	set_up(&t, FAKE_SCRIPT(script));
	r.arg = &t;
	cr_assert_eq(http_start(t.client, &r, &t.call, &err), 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert(strncmp(t.server->request[0], "PATCH /n HTTP/1.1\r\n", 19) == 0);
	cr_assert(strstr(t.server->request[0], "\r\nContent-Type: a/b\r\n"));
	cr_assert(strstr(t.server->request[0], "\r\n\r\n{\"a\":1}"));
	tear_down(&t);
}

static const struct {
	const char *name, *url, *says;
} urls[] = {
	{ "http", "http://127.0.0.1:1/prefix/", NULL },
	{ "https", "https://[::1]:6443", NULL },
	{ "nonsense", "not a url", "is not a url" },
	{ "another scheme", "ftp://x", "only http and https" },
	{ "a password", "https://me:secret@x", "no user" },
	{ "a query", "https://x/?a=b", "no user, query" },
};

TABLE_TEST(http, takes_only_a_servers_url, urls)
{
	AUTO(loop_free) struct loop *l = NULL;
	AUTO(http_client_free) struct http_client *c = NULL;
	struct http_config config = { .url = row->url };
	struct err err = ERR_INIT;
	int r;

	cr_assert_eq(loop_new(&l, &err), 0);
	r = http_client_new(l, &config, &c, &err);
	cr_assert_eq(r, row->says ? -1 : 0, "%s: %s", row->name, err_text(&err));
	if (row->says)
		cr_assert(strstr(err_text(&err), row->says), "%s: %s", row->name, err_text(&err));
	cr_assert(!strstr(err_text(&err), "secret"));
}

Test(http, escapes_what_a_path_could_not_hold)
{
	AUTO_BUF out = BUF_INIT(100);
	struct err err = ERR_INIT;

	cr_assert_eq(http_escape(&out, "a-b_c.d~/?&=%\xc3\xa4 ", &err), 0);
	cr_assert_str_eq(buf_str(&out), "a-b_c.d~%2F%3F%26%3D%25%C3%A4%20");
}

Test(http, the_environments_proxy_does_not_count)
{
	struct fake_reply script[] = { { .bytes = FAKE_OK("1", "1") } };
	struct test t;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	set_up(&t, FAKE_SCRIPT(script));
	ask(&t, "/x", false, 0, 0);
	cr_assert(fake_pump(t.loop, &t.done, SOON_MS));
	cr_assert_eq(t.err.kind, ERR_NONE, "%s", err_text(&t.err));
	tear_down(&t);
}
