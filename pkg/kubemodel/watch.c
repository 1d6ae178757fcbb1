/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch is a place in the history.  It is asked for its next line whenever the connection has
 * room, so a slow reader costs nothing until the history has moved past it.
 */
#include "internal.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define LAST_BOOKMARK_MS 2000

struct kubemodel_watch {
	struct kubemodel *m;
	struct kubemodel_watch *next, **prev; /* in m->watches */
	const struct km_kind *kind;
	char ns[KM_MAX_NAME];
	struct km_selector selector;
	enum km_form form;
	uint64_t at;		   /* version of the next event to look at */
	struct km_version **first; /* what there was when it began, sent as ADDED */
	size_t n_first, i_first;
	bool over, bookmarks;
	unsigned bookmarks_owed;
	uint64_t bookmark_at_ms, end_at_ms;
};

static bool watch_matches(const struct kubemodel_watch *w, const struct km_version *v)
{
	return (!*w->ns || str_eq(w->ns, km_text_at(v->json, "metadata.namespace"))) &&
	       km_selector_match(&w->selector, v->json);
}

static void watch_list_first(struct kubemodel_watch *w)
{
	struct km_list *l = km_list_of(w->m, w->kind);

	w->first = km_must(calloc(l->n + 1, sizeof(struct km_version *)));
	for (size_t i = 0; i < l->n; i++)
		if (watch_matches(w, l->item[i]->now)) {
			w->first[w->n_first++] = l->item[i]->now;
			l->item[i]->now->refs++;
		}
}

/* Between bookmarks, and one shortly before the end, so that the next watch begins late. */
static uint64_t bookmark_next(const struct kubemodel_watch *w, uint64_t now)
{
	uint64_t next = now + w->m->config.bookmark_ms;

	return w->end_at_ms > now + LAST_BOOKMARK_MS && w->end_at_ms - LAST_BOOKMARK_MS < next
		       ? w->end_at_ms - LAST_BOOKMARK_MS
		       : next;
}

struct kubemodel_watch *km_watch_new(struct kubemodel *m, const struct km_target *t,
				     const struct km_selector *s, enum km_form form,
				     uint64_t from_version, bool list_first)
{
	struct kubemodel_watch *w = km_must(calloc(1, sizeof(*w)));
	uint64_t now = now_ms();

	w->m = m;
	w->kind = t->kind;
	str_copy(w->ns, sizeof(w->ns), t->ns);
	w->selector = *s;
	w->form = form;
	w->at = from_version + 1;
	w->bookmarks = t->q.bookmarks;
	w->end_at_ms = now + (t->q.timeout_s ? t->q.timeout_s * 1000 : m->config.watch_ms);
	w->bookmark_at_ms = bookmark_next(w, now);
	w->next = m->watches;
	w->prev = &m->watches;
	if (w->next)
		w->next->prev = &w->next;
	m->watches = w;
	if (list_first)
		watch_list_first(w);
	return w;
}

void kubemodel_watch_free(struct kubemodel_watch *w)
{
	if (!w)
		return;
	for (size_t i = w->i_first; i < w->n_first; i++)
		km_version_unref(w->first[i]);
	free(w->first);
	*w->prev = w->next;
	if (w->next)
		w->next->prev = w->prev;
	free(w);
}

static int line_write(struct buf *line, const char *type, const char *object, size_t len)
{
	struct err err = ERR_INIT;

	km_buf_must(buf_addf(line, &err, "{\"type\":\"%s\",\"object\":", type));
	km_buf_must(buf_add(line, object, len, &err));
	km_buf_must(buf_adds(line, "}\n", &err));
	return 1;
}

static int line_write_json(struct buf *line, const char *type, json_t *takes)
{
	json_auto_t *j = takes;
	AUTO_MEM char *text = km_must(json_dumps(j, JSON_COMPACT));

	return line_write(line, type, text, strlen(text));
}

static int line_write_version(const struct kubemodel_watch *w, struct buf *line, const char *type,
			      struct km_version *v)
{
	size_t len;
	const char *text = km_version_text(v, w->form, &len);

	return line_write(line, type, text, len);
}

/* An object that no longer matches leaves the watch as it last matched, at the new version. */
static int line_write_left(const struct kubemodel_watch *w, struct buf *line,
			   const struct km_event *e)
{
	json_t *meta, *copy = km_copy_for_metadata(e->before->json, &meta);

	json_object_set(
		meta, "resourceVersion",
		json_object_get(json_object_get(e->now->json, "metadata"), "resourceVersion"));
	if (w->form == KM_METADATA) {
		json_t *partial = km_as_metadata(copy);

		json_decref(copy);
		copy = partial;
	}
	return line_write_json(line, "DELETED", copy);
}

/* 1 when the event is one for this watch. */
static int line_write_event(const struct kubemodel_watch *w, struct buf *line,
			    const struct km_event *e)
{
	bool is = watch_matches(w, e->now), was = e->before && watch_matches(w, e->before);

	if (e->change == KM_DELETED)
		return was ? line_write_version(w, line, "DELETED", e->now) : 0;
	if (is)
		return line_write_version(w, line, was ? "MODIFIED" : "ADDED", e->now);
	return was ? line_write_left(w, line, e) : 0;
}

static int line_write_gone(struct kubemodel_watch *w, struct buf *line)
{
	char text[96];

	w->over = true;
	snprintf(text, sizeof(text), "too old resource version: %llu (%llu)",
		 (unsigned long long)w->at - 1, (unsigned long long)w->m->oldest - 1);
	return line_write_json(line, "ERROR", km_status(410, "Expired", NULL, text));
}

static int line_write_bookmark(struct kubemodel_watch *w, struct buf *line)
{
	char version[24], api[64];
	bool partial = w->form == KM_METADATA;

	if (w->bookmarks_owed)
		w->bookmarks_owed--;
	w->bookmark_at_ms = bookmark_next(w, now_ms());
	snprintf(version, sizeof(version), "%llu", (unsigned long long)w->at - 1);
	return line_write_json(
		line, "BOOKMARK",
		json_pack("{s:s, s:s, s:{s:s, s:n}}", "kind",
			  partial ? "PartialObjectMetadata" : w->kind->kind, "apiVersion",
			  partial ? "meta.k8s.io/v1" : km_api_version(w->kind, api), "metadata",
			  "resourceVersion", version, "creationTimestamp"));
}

static int events_next(struct kubemodel_watch *w, struct buf *line)
{
	struct kubemodel *m = w->m;

	while (w->at <= m->rv) {
		const struct km_event *e = &m->ring[w->at % m->config.history];

		if (w->at < m->oldest)
			return line_write_gone(w, line);
		w->at++;
		if (e->kind == w->kind && line_write_event(w, line, e))
			return 1;
	}
	return 0;
}

int kubemodel_watch_next(struct kubemodel_watch *w, struct buf *line)
{
	uint64_t now = now_ms();

	buf_reset(line);
	if (w->over)
		return -1;
	if (w->i_first < w->n_first) {
		struct km_version *v = w->first[w->i_first++];
		int r = line_write_version(w, line, "ADDED", v);

		km_version_unref(v);
		return r;
	}
	if (events_next(w, line))
		return 1;
	if (w->bookmarks && (w->bookmarks_owed || now >= w->bookmark_at_ms))
		return line_write_bookmark(w, line);
	if (now < w->end_at_ms)
		return 0;
	w->over = true;
	return -1;
}

void kubemodel_bookmarks(struct kubemodel *m, unsigned n)
{
	for (struct kubemodel_watch *w = m->watches; w; w = w->next)
		if (w->bookmarks)
			w->bookmarks_owed += n;
}

uint64_t km_watches_due_ms(const struct kubemodel *m)
{
	uint64_t due = UINT64_MAX;

	for (const struct kubemodel_watch *w = m->watches; w; w = w->next) {
		if (w->over)
			continue;
		if (w->end_at_ms < due)
			due = w->end_at_ms;
		if (w->bookmarks && w->bookmark_at_ms < due)
			due = w->bookmark_at_ms;
	}
	return due;
}
