/* SPDX-License-Identifier: Apache-2.0 */
/* evict - waits until the pods that stand in the way have left, and asks those to go that nobody else
 * would ask.  Ends once, through a timer, so that no callback runs inside evict_start(). */
#include "evict/evict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"

#define RESOURCE_PREFIX	    "nvidia.com/"
#define MAX_EVICTIONS	    64 /* under way at a time; the next change of the set brings the others */
#define LEFT_BYTES	    256
#define UID_BYTES	    64

struct eviction {
	struct evict *owner;
	struct k8s_call *call; /* NULL: free */
	char uid[UID_BYTES];
};

/* One set of pods that has to become empty. */
struct wait {
	struct k8s_pods *pods; /* NULL: not waited for */
	bool listed, empty;
	char left[LEFT_BYTES]; /* names, for the error */
};

struct evict {
	struct evict_config config;
	struct loop *loop;
	struct k8s_client *client;
	uint64_t deadline_ms;
	struct wait operands, users;
	struct eviction eviction[MAX_EVICTIONS];
	struct source *timeout, *finish;
	struct err link, result;
};

static void finish(struct evict *e)
{
	timer_arm(e->finish, 0);
}

static void fail(struct evict *e, const struct err *why)
{
	if (e->result.kind == ERR_NONE)
		e->result = *why;
	finish(e);
}

static bool is_clear(const struct wait *w)
{
	return !w->pods || (w->listed && w->empty);
}

static void look(struct evict *e)
{
	if (is_clear(&e->operands) && is_clear(&e->users))
		finish(e);
}

static void wait_begin(struct wait *w)
{
	w->listed = true;
	w->empty = true;
	w->left[0] = '\0';
}

static void wait_for(struct wait *w, const struct k8s_pod *pod)
{
	size_t n = strlen(w->left);

	w->empty = false;
	snprintf(w->left + n, sizeof(w->left) - n, "%s%s/%s", n ? ", " : "", pod->ns, pod->name);
}

static void on_operands(void *arg, const struct k8s_pod *pods, size_t n)
{
	struct evict *e = arg;
	bool first = !e->operands.listed;
	unsigned seen = 0;

	wait_begin(&e->operands);
	for (size_t i = 0; i < n; i++) {
		int operand = evict_operand_of(&pods[i]);

		if (operand < 0 || !(e->config.wait_for & EVICT_BIT(operand)))
			continue;
		seen |= EVICT_BIT(operand);
		wait_for(&e->operands, &pods[i]);
	}
	if (first && (e->config.expect & ~seen))
		e->config.on_missing(e->config.arg, e->config.expect & ~seen);
	look(e);
}

static void on_evicted(void *arg, const struct http_response *response, const struct err *err)
{
	struct eviction *v = arg;
	struct evict *e = v->owner;
	struct err why = *err;

	(void)response;
	v->call = NULL;
	/* A budget that stays in the way ends with the time-out, which names the pod. */
	if (err->kind == ERR_NONE || err->kind == ERR_TRANSIENT || err->kind == ERR_TIMEOUT)
		return;
	(void)err_wrap(&why, "draining node %s", e->config.node);
	fail(e, &why);
}

static void evict_pod(struct evict *e, const struct k8s_pod *pod)
{
	struct eviction *slot = NULL;
	uint64_t now = now_ms();
	struct err err = ERR_INIT;

	for (size_t i = 0; i < MAX_EVICTIONS; i++) {
		struct eviction *v = &e->eviction[i];

		if (v->call && str_eq(v->uid, pod->uid))
			return;
		if (!v->call && !slot)
			slot = v;
	}
	if (!slot || e->deadline_ms <= now)
		return;
	slot->owner = e;
	str_copy(slot->uid, sizeof(slot->uid), pod->uid);
	if (k8s_evict_pod(e->client, pod->ns, pod->name, (uint32_t)(e->deadline_ms - now),
			  on_evicted, slot, &slot->call, &err) < 0)
		fail(e, &err);
}

static void on_users(void *arg, const struct k8s_pod *pods, size_t n)
{
	struct evict *e = arg;

	wait_begin(&e->users);
	for (size_t i = 0; i < n; i++) {
		if (!pods[i].wants_resource || pods[i].finished)
			continue;
		wait_for(&e->users, &pods[i]);
		if (!pods[i].leaving)
			evict_pod(e, &pods[i]);
	}
	look(e);
}

/* A server that is away may come back in time; one that says no will not change its mind. */
static void on_link(void *arg, bool up, const struct err *why)
{
	struct evict *e = arg;

	e->link = up ? ERR_INIT : *why;
	if (!up && (why->kind == ERR_DENIED || why->kind == ERR_UNTRUSTED))
		fail(e, why);
}

static void on_timeout(struct source *s, void *arg)
{
	struct evict *e = arg;
	struct err err = e->link;
	unsigned secs = (unsigned)(e->config.timeout_ms / 1000);

	(void)s;
	if (!e->operands.empty && e->operands.listed)
		err_set(&err, ERR_TIMEOUT, "pods of paused operands are still there after %u s: %s", secs,
			e->operands.left);
	else if (!e->users.empty && e->users.listed)
		err_set(&err, ERR_TIMEOUT, "pods that use GPUs are still there after %u s: %s", secs,
			e->users.left);
	else if (err.kind == ERR_NONE)
		err_set(&err, ERR_TIMEOUT, "no list of pods within %u s", secs);
	fail(e, &err);
}

static void on_finish(struct source *s, void *arg)
{
	struct evict *e = arg;
	struct evict_config config = e->config;
	struct err result = e->result;

	(void)s;
	evict_cancel(e);
	config.on_done(config.arg, &result);
}

static int start_wait(struct evict *e, const char *ns, const char *prefix, k8s_on_pods *on_pods,
		      struct wait *w, struct err *err)
{
	struct k8s_pods_config config = {
		.ns = ns,
		.node = e->config.node,
		.resource_prefix = prefix,
		.on_pods = on_pods,
		.on_link = on_link,
		.arg = e,
	};

	return k8s_pods_new(e->client, &config, &w->pods, err);
}

static int begin(struct evict *e, struct err *err)
{
	if (loop_add_timer(e->loop, on_timeout, e, &e->timeout, err) < 0 ||
	    loop_add_timer(e->loop, on_finish, e, &e->finish, err) < 0)
		return -1;
	if (e->config.wait_for &&
	    start_wait(e, e->config.ns, NULL, on_operands, &e->operands, err) < 0)
		return -1;
	if (e->config.drain && start_wait(e, NULL, RESOURCE_PREFIX, on_users, &e->users, err) < 0)
		return -1;
	timer_arm(e->timeout, e->config.timeout_ms);
	look(e); /* nobody to wait for */
	return 0;
}

int evict_start(struct loop *loop, struct k8s_client *client, const struct evict_config *config,
		struct evict **out, struct err *err)
{
	struct evict *e = calloc(1, sizeof(*e));

	if (!e)
		return err_nomem(err);
	e->config = *config;
	e->loop = loop;
	e->client = client;
	e->deadline_ms = now_ms() + config->timeout_ms;
	e->link = ERR_INIT;
	e->result = ERR_INIT;
	if (begin(e, err) < 0) {
		evict_cancel(e);
		return -1;
	}
	*out = e;
	return 0;
}

void evict_cancel(struct evict *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < MAX_EVICTIONS; i++)
		k8s_cancel(e->eviction[i].call);
	k8s_pods_free(e->operands.pods);
	k8s_pods_free(e->users.pods);
	source_free(e->timeout);
	source_free(e->finish);
	free(e);
}
