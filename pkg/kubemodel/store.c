/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects and their history.  Every change takes the next version and one place in a ring of
 * events, which watches read at their own pace; who falls out of the ring is told 410 Gone.
 */
#include "internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define FIRST_VERSION 1000 /* a cluster is never new when an agent comes to it */

int kubemodel_new(const struct kubemodel_config *config, struct kubemodel **out, struct err *err)
{
	struct kubemodel *m;

	if (!config->history)
		return err_set(err, ERR_INVALID, "history: at least one change must be kept");
	m = km_must(calloc(1, sizeof(*m)));
	m->config = *config;
	m->config.token = NULL; /* the caller's; copied below */
	m->ring = km_must(calloc(config->history, sizeof(*m->ring)));
	m->rv = FIRST_VERSION;
	m->oldest = FIRST_VERSION + 1;
	m->pods_due_ms = UINT64_MAX;
	if (!str_empty(config->token))
		kubemodel_set_token(m, config->token, false);
	*out = m;
	return 0;
}

static void event_clear(struct km_event *e)
{
	km_version_unref(e->now);
	km_version_unref(e->before);
	*e = (struct km_event){ 0 };
}

static void object_free(struct km_object *o)
{
	km_version_unref(o->now);
	free(o->key);
	free(o);
}

void kubemodel_free(struct kubemodel *m)
{
	if (!m)
		return;
	for (size_t k = 0; k < KM_MAX_KINDS; k++) {
		for (size_t i = 0; i < m->list[k].n; i++)
			object_free(m->list[k].item[i]);
		free(m->list[k].item);
	}
	for (size_t i = 0; i < m->config.history; i++)
		event_clear(&m->ring[i]);
	free(m->ring);
	km_operator_free(m->op);
	free(m);
}

static struct km_version *version_new(json_t *takes, uint64_t rv)
{
	struct km_version *v = km_must(calloc(1, sizeof(*v)));

	v->refs = 1;
	v->rv = rv;
	v->json = km_must_json(takes);
	return v;
}

static struct km_version *version_ref(struct km_version *v)
{
	if (v)
		v->refs++;
	return v;
}

void km_version_unref(struct km_version *v)
{
	if (!v || --v->refs)
		return;
	json_decref(v->json);
	for (size_t i = 0; i < KM_N_FORMS; i++)
		free(v->text[i]);
	free(v);
}

json_t *km_as_metadata(json_t *obj)
{
	return km_must_json(json_pack("{s:s, s:s, s:O}", "kind", "PartialObjectMetadata",
				      "apiVersion", "meta.k8s.io/v1", "metadata",
				      json_object_get(obj, "metadata")));
}

const char *km_version_text(struct km_version *v, enum km_form form, size_t *len)
{
	if (!v->text[form]) {
		json_auto_t *j = form == KM_METADATA ? km_as_metadata(v->json)
						     : km_must_json(json_copy(v->json));

		if (form == KM_ITEM) {
			json_object_del(j, "kind");
			json_object_del(j, "apiVersion");
		}
		v->text[form] = km_must(json_dumps(j, JSON_COMPACT));
		v->len[form] = strlen(v->text[form]);
	}
	*len = v->len[form];
	return v->text[form];
}

struct km_list *km_list_of(struct kubemodel *m, const struct km_kind *kind)
{
	return &m->list[kind - km_kinds];
}

/* Where `key` is, or where it would have to be inserted. */
size_t km_list_at(const struct km_list *l, const char *key, bool *found)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(l->item[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found = lo < l->n && str_eq(l->item[lo]->key, key);
	return lo;
}

static char *key_of(const char *ns, const char *name, char out[2 * KM_MAX_NAME])
{
	snprintf(out, 2 * KM_MAX_NAME, "%s/%s", ns, name);
	return out;
}

struct km_object *km_find(struct kubemodel *m, const struct km_kind *kind, const char *ns,
			  const char *name)
{
	struct km_list *l = km_list_of(m, kind);
	char key[2 * KM_MAX_NAME];
	bool found;
	size_t i = km_list_at(l, key_of(ns, name, key), &found);

	return found ? l->item[i] : NULL;
}

static void event_add(struct kubemodel *m, enum km_change change, const struct km_kind *kind,
		      struct km_version *now, struct km_version *before)
{
	struct km_event *e = &m->ring[m->rv % m->config.history];

	if (m->rv >= m->oldest + m->config.history)
		m->oldest = m->rv - m->config.history + 1;
	event_clear(e);
	*e = (struct km_event){ change, kind, version_ref(now), version_ref(before) };
}

/* A copy of `obj` that carries the next version. */
static struct km_version *version_next(struct kubemodel *m, json_t *obj)
{
	char text[24];
	json_t *meta, *copy = km_copy_for_metadata(obj, &meta);

	snprintf(text, sizeof(text), "%llu", (unsigned long long)++m->rv);
	json_object_set_new(meta, "resourceVersion", json_string(text));
	return version_new(copy, m->rv);
}

static struct km_object *object_insert(struct km_list *l, const struct km_kind *kind, size_t at,
				       const char *key)
{
	struct km_object *o = km_must(calloc(1, sizeof(*o)));

	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->item = km_must(realloc(l->item, l->cap * sizeof(struct km_object *)));
	}
	memmove(&l->item[at + 1], &l->item[at], (l->n - at) * sizeof(struct km_object *));
	l->item[at] = o;
	l->n++;
	o->kind = kind;
	o->key = km_must(strdup(key));
	return o;
}

struct km_object *km_put(struct kubemodel *m, const struct km_kind *kind, json_t *takes)
{
	json_auto_t *obj = takes;
	struct km_list *l = km_list_of(m, kind);
	struct km_version *next = version_next(m, obj), *before = NULL;
	const char *name = km_text_at(obj, "metadata.name");
	char key[2 * KM_MAX_NAME];
	struct km_object *o;
	bool found;
	size_t at = km_list_at(
		l, key_of(kind->namespaced ? km_text_at(obj, "metadata.namespace") : "", name, key),
		&found);

	o = found ? l->item[at] : object_insert(l, kind, at, key);
	before = o->now;
	o->now = next;
	event_add(m, before ? KM_MODIFIED : KM_ADDED, kind, next, before);
	km_version_unref(before);
	if (kind == KM_NODES)
		km_operator_node_changed(m, name);
	return o;
}

void km_remove(struct kubemodel *m, struct km_object *o)
{
	struct km_list *l = km_list_of(m, o->kind);
	bool found;
	size_t at = km_list_at(l, o->key, &found);
	struct km_version *last = version_next(m, o->now->json);

	memmove(&l->item[at], &l->item[at + 1], (l->n - at - 1) * sizeof(struct km_object *));
	l->n--;
	event_add(m, KM_DELETED, o->kind, last, o->now);
	km_version_unref(last);
	if (o->kind == KM_PODS)
		km_operator_pod_gone(m);
	object_free(o);
}

void km_leave(struct kubemodel *m, struct km_object *pod, uint64_t after_ms)
{
	json_t *meta, *copy = km_copy_for_metadata(pod->now->json, &meta);
	char when[CLOCK_RFC3339_SIZE];

	json_object_set_new(meta, "deletionTimestamp", json_string(clock_rfc3339(when)));
	json_object_set_new(meta, "deletionGracePeriodSeconds", json_integer(30));
	pod = km_put(m, pod->kind, copy);
	pod->gone_at_ms = after_ms == UINT64_MAX ? UINT64_MAX : now_ms() + after_ms;
	if (pod->gone_at_ms < m->pods_due_ms)
		m->pods_due_ms = pod->gone_at_ms;
}

/* Pods whose time has come; the next of them is remembered. */
static void pods_tick(struct kubemodel *m, uint64_t now)
{
	struct km_list *pods = km_list_of(m, KM_PODS);

	if (now < m->pods_due_ms)
		return;
	m->pods_due_ms = UINT64_MAX;
	for (size_t i = pods->n; i-- > 0;) {
		uint64_t at = pods->item[i]->gone_at_ms;

		if (at && at <= now)
			km_remove(m, pods->item[i]);
		else if (at && at < m->pods_due_ms)
			m->pods_due_ms = at;
	}
}

void kubemodel_tick(struct kubemodel *m)
{
	uint64_t now = now_ms();

	pods_tick(m, now);
	km_operator_tick(m, now);
}

uint64_t kubemodel_due_ms(const struct kubemodel *m)
{
	uint64_t due = m->pods_due_ms, op = km_operator_due_ms(m), w = km_watches_due_ms(m);

	due = op < due ? op : due;
	return w < due ? w : due;
}

uint64_t kubemodel_version(const struct kubemodel *m)
{
	return m->rv;
}

void kubemodel_compact(struct kubemodel *m)
{
	m->oldest = m->rv + 1;
}

void km_random_suffix(struct kubemodel *m, char out[6])
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789"; /* no words by chance */
	uint64_t n = ++m->n_names * 2654435761u + 48611;

	for (int i = 0; i < 5; i++, n /= sizeof(alphabet) - 1)
		out[i] = alphabet[n % (sizeof(alphabet) - 1)];
	out[5] = '\0';
}

json_t *km_prepare_new(struct kubemodel *m, const struct km_kind *kind, const char *ns, json_t *obj)
{
	json_t *meta, *copy = km_copy_for_metadata(obj, &meta);
	const char *stem = km_text_at(meta, "generateName");
	char text[KM_MAX_NAME + 8], suffix[6], when[CLOCK_RFC3339_SIZE], version[64];

	if (!*km_text_at(meta, "name") && *stem) {
		km_random_suffix(m, suffix);
		snprintf(text, sizeof(text), "%.240s%s", stem, suffix);
		json_object_set_new(meta, "name", json_string(text));
	}
	if (kind->namespaced)
		json_object_set_new(meta, "namespace", json_string(ns));
	snprintf(text, sizeof(text), "6b756265-7369-4d00-8000-%012llx",
		 (unsigned long long)++m->n_names);
	json_object_set_new(meta, "uid", json_string(text));
	json_object_set_new(meta, "creationTimestamp", json_string(clock_rfc3339(when)));
	json_object_set_new(copy, "kind", json_string(kind->kind));
	json_object_set_new(copy, "apiVersion", json_string(km_api_version(kind, version)));
	return copy;
}
