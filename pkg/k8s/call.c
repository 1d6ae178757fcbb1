/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: attempts until it worked, is refused for good, or its time is up.
 */
#include <string.h>

#include "base/clock.h"
#include "json/json.h"
#include "k8s/internal.h"

#define DEADLINE_MS 30000

struct verb {
	const char *name, *method, *content_type;
	bool field_manager;
	enum err_kind fine; /* what was wanted is so already */
};

static const struct verb verbs[] = {
	{ "get", "GET", NULL, false, ERR_NONE },
	{ "list", "GET", NULL, false, ERR_NONE },
	{ "patch", "PATCH", "Content-Type: application/merge-patch+json", true, ERR_NONE },
	{ "create", "POST", "Content-Type: application/json", true, ERR_NONE },
	{ "evict", "POST", "Content-Type: application/json", true, ERR_NOT_FOUND },
	{ "delete", "DELETE", "Content-Type: application/json", false, ERR_NOT_FOUND },
};

struct k8s_call {
	struct k8s_client *client;
	struct k8s_call *next, *prev;
	const struct verb *verb;
	char *path, *what, *accept;
	struct buf body;
	size_t max_bytes;
	uint64_t due_ms;
	struct backoff backoff;
	bool once, token_read_again;
	bool unreachable; /* nobody answered the last attempt */
	bool done;	  /* on_done is running, the client has forgotten it */
	struct http_call *http;
	struct source *again;
	k8s_on_done *on_done;
	void *arg;
};

static void unlink_call(struct k8s_call *call)
{
	if (call->prev)
		call->prev->next = call->next;
	else
		call->client->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
}

static void call_free(struct k8s_call *call)
{
	if (!call->done)
		unlink_call(call);
	http_cancel(call->http);
	source_free(call->again);
	buf_clear(&call->body);
	free(call->path);
	free(call->what);
	free(call->accept);
	free(call);
}

static void finish(struct k8s_call *call, const struct http_response *response, struct err *err)
{
	unlink_call(call); /* on_done may free the client */
	call->done = true;
	status_explain(err, call->what, response);
	if (call->on_done)
		call->on_done(call->arg, response, err);
	call_free(call);
}

static bool worth_another(const struct k8s_call *call, const struct err *err)
{
	return !call->once && (err->kind == ERR_TRANSIENT || err->kind == ERR_TIMEOUT);
}

/* The server's wish, a little stretched so that not all who heard it come back together. */
static uint64_t pause_ms(struct k8s_call *call, const struct http_response *response)
{
	uint64_t ms = backoff_next_ms(&call->backoff);

	if (response->retry_after_ms)
		ms = response->retry_after_ms + jitter_below(response->retry_after_ms / 4 + 1);
	return ms;
}

static void on_http_done(void *arg, const struct http_response *response, const struct err *result)
{
	struct k8s_call *call = arg;
	struct err err = *result;
	uint64_t pause = 0;

	call->http = NULL;
	call->unreachable = response->status == 0;
	client_count(call->client, call->verb->name, response->status);
	if (err.kind == ERR_NONE)
		client_server_is_back(call->client);
	if (err.kind == call->verb->fine)
		err_clear(&err);
	if (response->status == 401 && !call->token_read_again) {
		call->token_read_again = true;
		client_token_refused(call->client);
	} else if (worth_another(call, &err)) {
		pause = pause_ms(call, response);
	} else {
		finish(call, response, &err);
		return;
	}
	/* An attempt with no time to be answered would only hide why the one before was refused. */
	if (now_ms() + pause + call->backoff.base_ms >= call->due_ms)
		finish(call, response, &err);
	else
		timer_arm(call->again, pause);
}

static int attempt(struct k8s_call *call, struct err *err)
{
	uint64_t now = now_ms(), left = call->due_ms > now ? call->due_ms - now : 1;
	uint32_t most = call->client->tuning.attempt_ms;
	struct http_request r = {
		.method = call->verb->method,
		.path = call->path,
		.headers = { call->accept, call->body.len ? call->verb->content_type : NULL },
		.body = buf_rd(&call->body),
		.max_bytes = call->max_bytes,
		.deadline_ms = left < most ? (uint32_t)left : most,
		.on_done = on_http_done,
		.arg = call,
	};

	return http_start(call->client->http, &r, &call->http, err);
}

static void on_again(struct source *s, void *arg)
{
	struct http_response none = { .content_type = "" };
	struct k8s_call *call = arg;
	struct err err = ERR_INIT;

	(void)s;
	if (attempt(call, &err) < 0)
		finish(call, &none, &err);
}

void calls_server_is_back(struct k8s_client *c)
{
	for (struct k8s_call *call = c->calls; call; call = call->next)
		if (call->unreachable && !call->http)
			timer_arm(call->again, jitter_below(BACK_WITHIN_MS));
}

static const struct verb *verb_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int set_up(struct k8s_call *call, const struct k8s_request *r, struct err *err)
{
	struct k8s_client *c = call->client;
	bool named;

	call->verb = verb_of(r->verb);
	if (!call->verb)
		return err_set(err, ERR_INVALID, "\"%s\" is not a verb", r->verb);
	named = call->verb->field_manager;
	call->what = strdup(r->what);
	if (!call->what)
		return err_nomem(err);
	if (asprintf(&call->accept, "Accept: %s", r->accept ? r->accept : "application/json") < 0) {
		call->accept = NULL;
		return err_nomem(err);
	}
	if (asprintf(&call->path, "%s%s%s", r->path,
		     !named		    ? ""
		     : strchr(r->path, '?') ? "&fieldManager="
					    : "?fieldManager=",
		     named ? c->field_manager : "") < 0) {
		call->path = NULL;
		return err_nomem(err);
	}
	call->body = BUF_INIT(r->body.left);
	if (buf_add(&call->body, r->body.p, r->body.left, err) < 0)
		return -1;
	call->max_bytes = r->max_bytes;
	call->due_ms = now_ms() + (r->deadline_ms ? r->deadline_ms : DEADLINE_MS);
	call->backoff = (struct backoff){ .base_ms = c->tuning.retry_base_ms,
					  .cap_ms = c->tuning.retry_cap_ms };
	call->once = r->once;
	call->on_done = r->on_done;
	call->arg = r->arg;
	return loop_add_timer(c->loop, on_again, call, &call->again, err);
}

int k8s_start(struct k8s_client *c, const struct k8s_request *request, struct k8s_call **out,
	      struct err *err)
{
	struct k8s_call *call = calloc(1, sizeof(*call));

	if (!call)
		return err_nomem(err);
	call->client = c;
	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	if (set_up(call, request, err) < 0 || attempt(call, err) < 0) {
		call_free(call);
		return err_wrap(err, "%s", request->what);
	}
	if (out)
		*out = call;
	return 0;
}

void k8s_cancel(struct k8s_call *call)
{
	if (call && !call->done)
		call_free(call);
}
