/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events about our node.  Nobody waits for them and nothing depends on them: what cannot be sent is
 * dropped and counted.
 */
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "json/json.h"
#include "k8s/internal.h"

#define EVENTS_PATH    "/api/v1/namespaces/default/events"
#define MAX_MESSAGE    1000 /* the API server takes 1024 bytes */
#define SAME_WITHIN_MS (10 * 60 * 1000)
#define SEND_WITHIN_MS 60000
#define BURST	       20
#define REFILL_MS      6000 /* one more each */
#define REMEMBERED     8
#define MAX_PENDING    32

struct sent {
	uint64_t hash; /* of type, reason, message; 0: none */
	char name[254];
	unsigned count;
	uint64_t last_ms;
};

struct pending {
	struct k8s_events *events;
	struct pending *next, *prev;
	struct k8s_call *call;
	uint64_t hash;
	bool is_again; /* raises a count */
};

struct k8s_events {
	struct k8s_client *client;
	char *component, *node;
	struct sent sent[REMEMBERED];
	struct pending *pending;
	size_t n_pending;
	unsigned tokens;
	uint64_t refilled_ms, dropped;
	struct err last;
};

static void pending_free(struct pending *p)
{
	struct k8s_events *e = p->events;

	if (p->prev)
		p->prev->next = p->next;
	else
		e->pending = p->next;
	if (p->next)
		p->next->prev = p->prev;
	e->n_pending--;
	free(p);
}

static void drop(struct k8s_events *e, const struct err *why)
{
	e->dropped++;
	e->last = *why;
}

/* --- which were sent before ------------------------------------------------------------------- */

static uint64_t hash_add(uint64_t h, const char *s)
{
	do { /* FNV-1a; the NUL keeps ("a", "bc") from being ("ab", "c") */
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	} while (*s++);
	return h;
}

static struct sent *sent_find(struct k8s_events *e, uint64_t hash)
{
	for (size_t i = 0; i < REMEMBERED; i++)
		if (e->sent[i].hash == hash && now_ms() - e->sent[i].last_ms < SAME_WITHIN_MS)
			return &e->sent[i];
	return NULL;
}

static struct sent *sent_oldest(struct k8s_events *e)
{
	struct sent *oldest = &e->sent[0];

	for (size_t i = 1; i < REMEMBERED && oldest->hash; i++)
		if (!e->sent[i].hash || e->sent[i].last_ms < oldest->last_ms)
			oldest = &e->sent[i];
	return oldest;
}

static bool take_token(struct k8s_events *e)
{
	uint64_t more = (now_ms() - e->refilled_ms) / REFILL_MS;

	if (more > 0) {
		e->tokens = more >= BURST - e->tokens ? BURST : e->tokens + (unsigned)more;
		e->refilled_ms += more * REFILL_MS;
	}
	if (e->tokens == 0)
		return false;
	e->tokens--;
	return true;
}

/* --- bodies ----------------------------------------------------------------------------------- */

struct text {
	const char *type, *reason, *message;
};

static int new_body(const struct k8s_events *e, const char *name, const struct text *t,
		    struct buf *out, struct err *err)
{
	struct json_put w = json_put_to(out);
	char now[CLOCK_RFC3339_SIZE];

	clock_rfc3339(now);
	json_put_object(&w);
	json_put_member_str(&w, "apiVersion", "v1");
	json_put_member_str(&w, "kind", "Event");
	json_put_key(&w, "metadata");
	json_put_object(&w);
	json_put_member_str(&w, "name", name);
	json_put_member_str(&w, "namespace", "default");
	json_put_end(&w);
	json_put_key(&w, "involvedObject");
	json_put_object(&w);
	json_put_member_str(&w, "apiVersion", "v1");
	json_put_member_str(&w, "kind", "Node");
	json_put_member_str(&w, "name", e->node);
	json_put_member_str(&w, "uid",
			    e->node); /* as the kubelet: kubectl describe looks for this */
	json_put_end(&w);
	json_put_member_str(&w, "type", t->type);
	json_put_member_str(&w, "reason", t->reason);
	json_put_key(&w, "message");
	json_put_strn(&w, t->message, strnlen(t->message, MAX_MESSAGE));
	json_put_key(&w, "source");
	json_put_object(&w);
	json_put_member_str(&w, "component", e->component);
	json_put_member_str(&w, "host", e->node);
	json_put_end(&w);
	json_put_member_str(&w, "reportingComponent", e->component);
	json_put_member_str(&w, "reportingInstance", e->node);
	json_put_member_str(&w, "firstTimestamp", now);
	json_put_member_str(&w, "lastTimestamp", now);
	json_put_member_int(&w, "count", 1);
	json_put_end(&w);
	return json_put_done(&w, err);
}

static int again_body(unsigned count, struct buf *out, struct err *err)
{
	struct json_put w = json_put_to(out);
	char now[CLOCK_RFC3339_SIZE];

	json_put_object(&w);
	json_put_member_str(&w, "lastTimestamp", clock_rfc3339(now));
	json_put_member_int(&w, "count", count);
	json_put_end(&w);
	return json_put_done(&w, err);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void on_done(void *arg, const struct http_response *response, const struct err *result)
{
	struct pending *p = arg;
	struct sent *s = sent_find(p->events, p->hash);

	/* A second attempt finds what the first one made. */
	if (result->kind != ERR_NONE && !(response->status == 409 && !p->is_again)) {
		drop(p->events, result);
		if (s)
			s->hash = 0; /* the next one is a new event */
	}
	pending_free(p);
}

static int send_body(struct pending *p, const char *verb, const char *path, struct rd body,
		     struct err *err)
{
	struct k8s_request r = {
		.verb = verb,
		.path = path,
		.what = "sending an event",
		.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
			  "application/json",
		.body = body,
		.deadline_ms = SEND_WITHIN_MS,
		.on_done = on_done,
		.arg = p,
	};

	return k8s_start(p->events->client, &r, &p->call, err);
}

static int send_again(struct pending *p, struct sent *s, struct err *err)
{
	AUTO_BUF body = BUF_INIT(1024);
	AUTO_BUF path = BUF_INIT(1024);

	p->is_again = true;
	if (again_body(s->count + 1, &body, err) < 0 ||
	    buf_addf(&path, err, "%s/%s", EVENTS_PATH, s->name) < 0 ||
	    send_body(p, "patch", path.data, buf_rd(&body), err) < 0)
		return -1;
	s->count++;
	s->last_ms = now_ms();
	return 0;
}

static int send_new(struct pending *p, const struct text *t, struct err *err)
{
	struct k8s_events *e = p->events;
	struct sent *s = sent_oldest(e);
	AUTO_BUF body = BUF_INIT(16 << 10);

	*s = (struct sent){ .hash = p->hash, .count = 1, .last_ms = now_ms() };
	snprintf(s->name, sizeof(s->name), "%.220s.%016llx", e->node,
		 (unsigned long long)jitter_below(UINT64_MAX));
	if (new_body(e, s->name, t, &body, err) == 0 &&
	    send_body(p, "create", EVENTS_PATH, buf_rd(&body), err) == 0)
		return 0;
	s->hash = 0;
	return -1;
}

static struct pending *pending_new(struct k8s_events *e, uint64_t hash)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->events = e;
	p->hash = hash;
	p->next = e->pending;
	if (e->pending)
		e->pending->prev = p;
	e->pending = p;
	e->n_pending++;
	return p;
}

void k8s_event(struct k8s_events *e, bool warning, const char *reason, const char *message)
{
	struct text t = { warning ? "Warning" : "Normal", reason, message };
	uint64_t hash =
		hash_add(hash_add(hash_add(UINT64_C(0xcbf29ce484222325), t.type), reason), message);
	struct sent *s = sent_find(e, hash);
	struct err err = ERR_INIT;
	struct pending *p;

	if (e->n_pending == MAX_PENDING || !take_token(e)) {
		err_set(&err, ERR_TRANSIENT, "too many events in a short time");
		drop(e, &err);
		return;
	}
	p = pending_new(e, hash);
	if (!p) {
		err_nomem(&err);
		drop(e, &err);
		return;
	}
	if ((s ? send_again(p, s, &err) : send_new(p, &t, &err)) == 0)
		return;
	pending_free(p);
	drop(e, &err);
}

size_t k8s_events_pending(const struct k8s_events *e)
{
	return e->n_pending;
}

uint64_t k8s_events_dropped(const struct k8s_events *e, struct err *last)
{
	if (last)
		*last = e->last;
	return e->dropped;
}

int k8s_events_new(struct k8s_client *c, const char *component, const char *node,
		   struct k8s_events **out, struct err *err)
{
	struct k8s_events *e = calloc(1, sizeof(*e));

	if (!e)
		return err_nomem(err);
	e->client = c;
	e->last = ERR_INIT;
	e->tokens = BURST;
	e->refilled_ms = now_ms();
	e->component = strdup(component);
	e->node = strdup(node);
	if (!e->component || !e->node) {
		k8s_events_free(e);
		return err_nomem(err);
	}
	*out = e;
	return 0;
}

void k8s_events_free(struct k8s_events *e)
{
	if (!e)
		return;
	while (e->pending) {
		k8s_cancel(e->pending->call);
		pending_free(e->pending);
	}
	free(e->component);
	free(e->node);
	free(e);
}
