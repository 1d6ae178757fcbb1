/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List, then watch, for ever.  resourceVersion is a text we give back as we got it.  What we know stays
 * valid while the link is down; a 410 or an answer that makes no sense means to list again.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "json/json.h"
#include "k8s/internal.h"

#define PAGE_ITEMS     100 /* objects of one answer to a list */
#define LIST_BYTES     (16 << 20)
#define VERSION_SIZE   128
#define CONTINUE_SIZE  4096
#define LONG_ENOUGH_MS 10000 /* a watch that lived so long proves that the server is well */
#define REFUSED_MOST   3     /* then the version may be at fault, say after etcd was restored */

struct watch {
	struct k8s_client *client;
	struct watch *next_watch, *prev_watch;
	char *path, *selector, *what;
	bool whole;
	const struct watch_ops *ops;
	void *arg;

	struct http_call *http;
	struct source *again;
	struct backoff backoff;
	struct lines lines;
	char version[VERSION_SIZE]; /* "" : list first */
	char next[CONTINUE_SIZE];   /* the rest of a list that comes in pages */
	uint64_t began_ms, asked_ms;
	bool token_read_again;
	bool unreachable; /* nobody answered the last attempt */
	unsigned refused; /* watches in a row that got a status code instead of an answer */
	unsigned spent;	  /* ... or made us list again before they told us anything */

	bool broken; /* something in the stream made no sense; `why` says what */
	bool gone;   /* ... namely 410 */
	bool error_event;
	struct err why;
	unsigned busy; /* callbacks of ours are on the stack */
	bool freed;
};

static void start(struct watch *w);

/* --- life ------------------------------------------------------------------------------------- */

static void link_watch(struct watch *w, struct k8s_client *c)
{
	w->client = c;
	w->next_watch = c->watches;
	if (c->watches)
		c->watches->prev_watch = w;
	c->watches = w;
}

static void unlink_watch(struct watch *w)
{
	if (w->prev_watch)
		w->prev_watch->next_watch = w->next_watch;
	else
		w->client->watches = w->next_watch;
	if (w->next_watch)
		w->next_watch->prev_watch = w->prev_watch;
}

void watches_server_is_back(struct k8s_client *c)
{
	for (struct watch *w = c->watches; w; w = w->next_watch)
		if (w->unreachable && !w->http)
			timer_arm(w->again, jitter_below(BACK_WITHIN_MS));
}

static void release(struct watch *w)
{
	lines_clear(&w->lines);
	free(w->path);
	free(w->selector);
	free(w->what);
	free(w);
}

void watch_free(struct watch *w)
{
	if (!w || w->freed)
		return;
	w->freed = true;
	unlink_watch(w);
	http_cancel(w->http);
	w->http = NULL;
	source_free(w->again);
	if (w->busy == 0)
		release(w);
}

static void enter(struct watch *w)
{
	w->busy++;
}

/* False when the watch is no more. */
static bool leave(struct watch *w)
{
	bool alive = !w->freed;

	if (--w->busy == 0 && !alive)
		release(w);
	return alive;
}

static void on_again(struct source *s, void *arg)
{
	(void)s;
	start(arg);
}

static void again_after(struct watch *w, uint64_t ms)
{
	timer_arm(w->again, ms);
}

/* --- failing ---------------------------------------------------------------------------------- */

/* Tells why the link is down and comes back later.  A token that expired is read anew, once at once. */
static void retry(struct watch *w, const struct http_response *response, const struct err *why)
{
	uint64_t pause = backoff_next_ms(&w->backoff);
	struct err err = *why;

	if (response->retry_after_ms > pause)
		pause = response->retry_after_ms + jitter_below(response->retry_after_ms / 4 + 1);
	if (response->status == 401) {
		client_token_refused(w->client);
		if (!w->token_read_again)
			pause = 0;
		w->token_read_again = true;
	}
	status_explain(&err, w->what, response);
	w->unreachable = response->status == 0 && !w->broken;
	enter(w);
	if (pause > 0)
		w->ops->link(w->arg, false, &err);
	if (leave(w))
		again_after(w, pause);
}

/* --- list ------------------------------------------------------------------------------------- */

struct list_meta {
	char version[VERSION_SIZE], next[CONTINUE_SIZE];
};

struct list {
	json_t *metadata, *items;
};

static int read_list(const json_t *doc, json_t **items, struct list_meta *meta, struct err *err)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct list, metadata, "metadata", OBJECT, JSON_REQUIRED),
		JSON_FIELD(struct list, items, "items", ARRAY, 0),
	};
	static const struct json_field meta_fields[] = {
		JSON_FIELD(struct list_meta, version, "resourceVersion", TEXT, JSON_REQUIRED),
		JSON_FIELD(struct list_meta, next, "continue", TEXT, 0),
	};
	struct list list;

	if (json_fields_read(doc, "", fields, ARRAY_LEN(fields), &list, err) < 0 ||
	    json_fields_read(list.metadata, "metadata", meta_fields, ARRAY_LEN(meta_fields), meta,
			     err) < 0)
		return -1;
	if (!*meta->version)
		return err_set(err, ERR_INVALID, "metadata.resourceVersion: is empty");
	*items = list.items;
	return 0;
}

static int take_page(struct watch *w, const struct http_response *response, struct err *err)
{
	struct json_limits limits = { .bytes = LIST_BYTES, .values = 1000000, .depth = 64 };
	AUTO(json_free) json_t *doc = NULL;
	bool first = !*w->next;
	struct list_meta meta;
	json_t *items, *item;
	size_t i;

	if (json_parse(response->body, limits, &doc, err) < 0 ||
	    read_list(doc, &items, &meta, err) < 0)
		return -1;
	if (first && w->ops->begin)
		w->ops->begin(w->arg);
	json_array_foreach (items, i, item) {
		if (w->freed)
			return 0;
		if (w->ops->object(w->arg, EVENT_ADDED, item, err) < 0)
			return -1;
	}
	memcpy(w->next, meta.next, sizeof(w->next));
	if (!*w->next)
		memcpy(w->version, meta.version, sizeof(w->version));
	return 0;
}

static void list_failed(struct watch *w, const struct http_response *response,
			const struct err *why)
{
	*w->next = '\0';
	retry(w, response, why);
}

static void on_list_done(void *arg, const struct http_response *response, const struct err *result)
{
	struct watch *w = arg;
	struct err err = *result;
	bool ok;

	w->http = NULL;
	client_count(w->client, "list", response->status);
	enter(w);
	ok = err.kind == ERR_NONE && take_page(w, response, &err) == 0;
	if (!leave(w))
		return;
	if (!ok) {
		list_failed(w, response, &err);
		return;
	}
	w->token_read_again = false;
	enter(w);
	if (!*w->next)
		w->ops->settled(w->arg, true);
	if (leave(w))
		start(w);
}

static int list_path(const struct watch *w, struct buf *out, struct err *err)
{
	if (buf_addf(out, err, "%s?%s&limit=%d", w->path, w->selector, PAGE_ITEMS) < 0)
		return -1;
	if (!*w->next)
		return 0;
	if (buf_adds(out, "&continue=", err) < 0)
		return -1;
	return http_escape(out, w->next, err);
}

/* --- watch ------------------------------------------------------------------------------------ */

static void on_open(void *arg)
{
	struct watch *w = arg;
	struct err none = ERR_INIT;

	w->token_read_again = false;
	w->refused = 0;
	w->unreachable = false;
	client_server_is_back(w->client);
	mem_give_back(); /* what the list and the handshake took; from here on we mostly wait */
	enter(w);
	w->ops->link(w->arg, true, &none);
	leave(w);
}

static int error_event(struct watch *w, const struct event *ev, struct err *err)
{
	const char *message = json_string_value(json_object_get(ev->object, "message"));
	char shown[200] = "";

	if (message)
		str_copy(shown, sizeof(shown), message);
	w->error_event = true;
	w->gone = ev->code == 410;
	err_set(err, w->gone ? ERR_GONE : ERR_TRANSIENT, "the watch ended with an error: %s (%d)",
		str_printable(shown), ev->code);
	err->code = ev->code;
	return -1;
}

static int take_event(void *arg, struct rd line, struct err *err)
{
	struct watch *w = arg;
	struct event ev;
	int r = 0;

	if (w->freed)
		return 0;
	if (w->ops->skim && w->ops->skim(w->arg, line, w->version, sizeof(w->version))) {
		w->spent = 0;
		return 0;
	}
	if (event_parse(line, &ev, err) < 0)
		return -1;
	if (ev.type == EVENT_ERROR)
		r = error_event(w, &ev, err);
	else if (!str_copy(w->version, sizeof(w->version), ev.version))
		r = err_set(err, ERR_INVALID, "metadata.resourceVersion: too long");
	else if (ev.type != EVENT_BOOKMARK)
		r = w->ops->object(w->arg, ev.type, ev.object, err);
	if (r == 0)
		w->spent = 0;
	json_free(ev.doc);
	return r;
}

static void on_watch_done(void *arg, const struct http_response *response,
			  const struct err *result);

static void on_bytes(void *arg, struct rd bytes)
{
	struct watch *w = arg;
	struct http_response none = { .content_type = "" };

	enter(w);
	w->broken = lines_feed(&w->lines, bytes, take_event, w, &w->why) < 0;
	if (!w->freed)
		w->ops->settled(w->arg, false);
	if (!leave(w) || !w->broken)
		return;
	http_cancel(w->http);
	on_watch_done(w, &none, &w->why);
}

static enum k8s_restart cause_of(const struct watch *w, const struct http_response *response,
				 const struct err *err)
{
	if (w->gone || err->kind == ERR_GONE)
		return K8S_RESTART_GONE;
	if (w->error_event)
		return K8S_RESTART_ERROR_EVENT;
	if (w->broken)
		return K8S_RESTART_BAD_DATA;
	if (err->kind == ERR_NONE)
		return K8S_RESTART_END;
	if (response->status >= 300)
		return K8S_RESTART_HTTP;
	return err->kind == ERR_TIMEOUT ? K8S_RESTART_IDLE : K8S_RESTART_NETWORK;
}

/* The usual end is the time-out we asked for, drawn at random: go on at once.  Earlier ends hit many
 * agents in the same moment (a server that restarts): spread them. */
static void resume(struct watch *w)
{
	uint64_t lived = now_ms() - w->began_ms;

	if (lived + w->client->tuning.watch_slack_ms / 10 >= w->asked_ms)
		again_after(w, 0);
	else if (lived >= LONG_ENOUGH_MS)
		again_after(w, jitter_below(w->client->tuning.early_ms));
	else
		again_after(w, backoff_next_ms(&w->backoff));
}

/* Once is normal, after a server's restart too; again and again is a server to be gentle with. */
static void list_again(struct watch *w)
{
	if (w->spent++ == 0)
		again_after(w, jitter_below(w->client->tuning.early_ms));
	else
		again_after(w, backoff_next_ms(&w->backoff));
}

/* A server that was out of reach may come back with an older etcd.  It does not refuse to watch from a
 * version of its future, it stays silent: so ask what there is. */
static bool version_is_spent(struct watch *w, enum k8s_restart cause, const struct err *err)
{
	if (cause == K8S_RESTART_HTTP)
		w->refused++;
	return cause == K8S_RESTART_GONE || cause == K8S_RESTART_ERROR_EVENT ||
	       cause == K8S_RESTART_BAD_DATA || cause == K8S_RESTART_NETWORK ||
	       cause == K8S_RESTART_IDLE || err->kind == ERR_INVALID ||
	       w->refused >= REFUSED_MOST;
}

static void on_watch_done(void *arg, const struct http_response *response, const struct err *result)
{
	struct watch *w = arg;
	enum k8s_restart cause = cause_of(w, response, result);

	w->http = NULL;
	lines_clear(&w->lines); /* half a line of a stream that ended is nothing */
	client_count(w->client, "watch", w->broken ? 200 : response->status);
	w->client->stats.watch_restarts[cause]++;
	if (now_ms() - w->began_ms >= LONG_ENOUGH_MS) {
		backoff_reset(&w->backoff);
		w->spent = 0;
	}
	if (version_is_spent(w, cause, result)) {
		w->version[0] = '\0';
		w->refused = 0;
	}
	if (cause == K8S_RESTART_END)
		resume(w);
	else if (cause == K8S_RESTART_GONE)
		list_again(w);
	else
		retry(w, response, result);
}

static int watch_path(struct watch *w, uint64_t seconds, struct buf *out, struct err *err)
{
	if (buf_addf(out, err,
		     "%s?%s&watch=1&allowWatchBookmarks=true&timeoutSeconds=%llu"
		     "&resourceVersion=",
		     w->path, w->selector, (unsigned long long)seconds) < 0)
		return -1;
	return http_escape(out, w->version, err);
}

/* --- starting --------------------------------------------------------------------------------- */

static const char *accept_header(bool whole, bool list)
{
	if (whole)
		return "Accept: application/json";
	return list ? "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
		    : "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
}

static int start_list(struct watch *w, struct err *err)
{
	AUTO_BUF path = BUF_INIT(64 << 10);
	struct http_request r = {
		.method = "GET",
		.headers = { accept_header(w->whole, true) },
		.max_bytes = LIST_BYTES,
		.deadline_ms = w->client->tuning.attempt_ms,
		.on_done = on_list_done,
		.arg = w,
	};

	w->broken = false;
	if (list_path(w, &path, err) < 0)
		return -1;
	r.path = path.data;
	return http_start(w->client->http, &r, &w->http, err);
}

static int start_watch(struct watch *w, struct err *err)
{
	const struct k8s_tuning *t = &w->client->tuning;
	uint64_t seconds = t->watch_min_s + jitter_below(t->watch_max_s - t->watch_min_s + 1);
	AUTO_BUF path = BUF_INIT(64 << 10);
	struct http_request r = {
		.method = "GET",
		.headers = { accept_header(w->whole, false) },
		.deadline_ms = (uint32_t)(seconds * 1000 + t->watch_slack_ms),
		.open_ms = t->open_ms,
		.on_open = on_open,
		.on_data = on_bytes,
		.on_done = on_watch_done,
		.arg = w,
	};

	w->broken = w->gone = w->error_event = false;
	w->why = ERR_INIT;
	w->began_ms = now_ms();
	w->asked_ms = seconds * 1000;
	if (watch_path(w, seconds, &path, err) < 0)
		return -1;
	r.path = path.data;
	return http_start(w->client->http, &r, &w->http, err);
}

static void start(struct watch *w)
{
	struct http_response none = { .content_type = "" };
	struct err err = ERR_INIT;
	int r = *w->version && !*w->next ? start_watch(w, &err) : start_list(w, &err);

	if (r < 0)
		retry(w, &none, &err);
}

int watch_new(struct k8s_client *c, const struct watch_config *config, struct watch **out,
	      struct err *err)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return err_nomem(err);
	link_watch(w, c);
	w->whole = config->whole;
	w->ops = config->ops;
	w->arg = config->arg;
	w->backoff = (struct backoff){ .base_ms = c->tuning.watch_base_ms,
				       .cap_ms = c->tuning.watch_cap_ms };
	w->path = strdup(config->path);
	w->selector = strdup(config->selector);
	w->what = strdup(config->what);
	if (!w->path || !w->selector || !w->what) {
		watch_free(w);
		return err_nomem(err);
	}
	if (loop_add_timer(c->loop, on_again, w, &w->again, err) < 0 || start_list(w, err) < 0) {
		watch_free(w);
		return err_wrap(err, "%s", config->what);
	}
	*out = w;
	return 0;
}
