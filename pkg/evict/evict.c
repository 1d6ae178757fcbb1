/* SPDX-License-Identifier: Apache-2.0 */
/* evict - knows the pods that stand in the way, waits until they have left, and asks those to go that
 * nobody else would ask.  What it has to tell goes through a timer, so that no callback runs inside
 * evict_start() or evict_go(). */
#include "evict/evict.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"

#define RESOURCE_PREFIX "nvidia.com/"
#define MAX_EVICTIONS	64 /* under way at a time; the next change of the set brings the others */
#define LIST_MS		30000 /* for the list that comes before on_listed */
#define NAME_BYTES	96
#define UID_BYTES	64

struct eviction {
	struct evict *owner;
	struct k8s_call *call; /* NULL: free */
	char uid[UID_BYTES];
};

struct evict {
	struct evict_config config;
	struct loop *loop;
	struct k8s_client *client;
	bool told, going; /* on_listed was called, evict_go() was */
	uint64_t deadline_ms;

	struct k8s_pods *pods; /* of the operands; NULL: none is waited for */
	bool listed;
	unsigned wait_for, present;		/* bits of operands */
	char pod[EVICT_N_OPERANDS][NAME_BYTES]; /* one of each that is present, for the error */

	struct k8s_pods *users; /* NULL: nobody is drained */
	bool users_listed;
	size_t n_users;
	char user[NAME_BYTES];
	struct eviction eviction[MAX_EVICTIONS];

	struct source *timeout, *news;
	struct err link, result;
};

static void fail(struct evict *e, const struct err *why)
{
	if (e->result.kind == ERR_NONE)
		e->result = *why;
	timer_arm(e->news, 0);
}

static bool is_over(const struct evict *e)
{
	return e->result.kind != ERR_NONE || (e->going && !(e->present & e->wait_for) &&
					      (!e->users || (e->users_listed && !e->n_users)));
}

static void on_news(struct source *s, void *arg)
{
	struct evict *e = arg;
	struct evict_config config = e->config;
	struct err result = e->result;

	(void)s;
	if (is_over(e)) {
		evict_cancel(e);
		config.on_done(config.arg, &result);
	} else if (!e->told && (e->listed || !e->pods)) {
		e->told = true;
		timer_disarm(e->timeout);
		config.on_listed(config.arg, config.expect & ~e->present);
	}
}

static void on_operands(void *arg, const struct k8s_pod *pods, size_t n)
{
	struct evict *e = arg;

	e->listed = true;
	e->present = 0;
	for (size_t i = 0; i < n; i++) {
		int operand = evict_operand_of(&pods[i]);

		if (operand < 0)
			continue;
		e->present |= EVICT_BIT(operand);
		str_copy(e->pod[operand], NAME_BYTES, pods[i].name);
	}
	timer_arm(e->news, 0);
}

/* --- draining --------------------------------------------------------------------------------- */

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
	err_wrap(&why, "draining node %s", e->config.node);
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

	e->users_listed = true;
	e->n_users = 0;
	for (size_t i = 0; i < n; i++) {
		if (!pods[i].wants_resource || pods[i].finished)
			continue;
		e->n_users++;
		snprintf(e->user, sizeof(e->user), "%.40s/%.50s", pods[i].ns, pods[i].name);
		if (!pods[i].leaving)
			evict_pod(e, &pods[i]);
	}
	timer_arm(e->news, 0);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* A server that is away may come back in time; one that says no will not change its mind. */
static void on_link(void *arg, bool up, const struct err *why)
{
	struct evict *e = arg;

	e->link = up ? ERR_INIT : *why;
	if (!up && (why->kind == ERR_DENIED || why->kind == ERR_UNTRUSTED))
		fail(e, why);
}

static void left_text(const struct evict *e, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (int i = 0; i < EVICT_N_OPERANDS && n < size; i++)
		if (e->present & e->wait_for & EVICT_BIT(i))
			n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", e->pod[i]);
}

static void on_timeout(struct source *s, void *arg)
{
	struct evict *e = arg;
	struct err err = e->link;
	double seconds = (double)e->config.timeout_ms / 1000;
	char left[256];

	(void)s;
	left_text(e, left, sizeof(left));
	if (e->going && *left)
		err_set(&err, ERR_TIMEOUT, "pods of paused operands are still there after %g s: %s",
			seconds, left);
	else if (e->going && e->n_users)
		err_set(&err, ERR_TIMEOUT,
			"%zu pods that use GPUs are still there after %g s, %s among them",
			e->n_users, seconds, e->user);
	else if (err.kind == ERR_NONE)
		err_set(&err, ERR_TIMEOUT, "no list of pods in time");
	fail(e, &err);
}

static int begin(struct evict *e, struct err *err)
{
	struct k8s_pods_config config = {
		.ns = e->config.ns,
		.node = e->config.node,
		.on_pods = on_operands,
		.on_link = on_link,
		.arg = e,
	};

	if (loop_add_timer(e->loop, on_timeout, e, &e->timeout, err) < 0 ||
	    loop_add_timer(e->loop, on_news, e, &e->news, err) < 0)
		return -1;
	timer_arm(e->timeout, LIST_MS);
	if (e->config.ns)
		return k8s_pods_new(e->client, &config, &e->pods, err);
	timer_arm(e->news, 0);
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
	e->link = e->result = ERR_INIT;
	if (begin(e, err) < 0) {
		evict_cancel(e);
		return -1;
	}
	*out = e;
	return 0;
}

void evict_go(struct evict *e, unsigned wait_for)
{
	struct err err = ERR_INIT;
	struct k8s_pods_config config = {
		.node = e->config.node,
		.resource_prefix = RESOURCE_PREFIX,
		.on_pods = on_users,
		.on_link = on_link,
		.arg = e,
	};

	e->going = true;
	e->wait_for = wait_for;
	e->deadline_ms = now_ms() + e->config.timeout_ms;
	timer_arm(e->timeout, e->config.timeout_ms);
	timer_arm(e->news, 0);
	if (e->config.drain && k8s_pods_new(e->client, &config, &e->users, &err) < 0)
		fail(e, &err);
}

void evict_cancel(struct evict *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < MAX_EVICTIONS; i++)
		k8s_cancel(e->eviction[i].call);
	k8s_pods_free(e->pods);
	k8s_pods_free(e->users);
	source_free(e->timeout);
	source_free(e->news);
	free(e);
}
