/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front door: token, then read requests (get, list, watch).  Writes are in write.c.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

static void answer_version(struct kubemodel_answer *a, struct km_version *v, enum km_form form)
{
	size_t len;
	const char *text = km_version_text(v, form, &len);
	struct err err = ERR_INIT;

	a->code = 200;
	km_buf_must(buf_add(&a->body, text, len, &err));
	km_buf_must(buf_adds(&a->body, "\n", &err));
}

static void get(struct kubemodel *m, const struct km_target *t, enum km_as as,
		struct kubemodel_answer *a)
{
	struct km_object *o = km_find(m, t->kind, t->ns, t->name);

	if (!o)
		km_fail_not_found(a, t);
	else if (as == KM_AS_TABLE)
		km_answer_json(a, 200, km_table(t->kind, &o, 1));
	else
		answer_version(a, o->now, as == KM_AS_METADATA ? KM_METADATA : KM_FULL);
}

/* ---- list ---- */

struct page {
	struct km_object **item;
	size_t n, left; /* left: matching ones beyond the limit */
};

static void page_free(struct page *p)
{
	free(p->item);
}

/* The matching objects after q.from, at most q.limit. */
static void page_collect(struct kubemodel *m, const struct km_target *t,
			 const struct km_selector *s, const char *after, struct page *out)
{
	struct km_list *l = km_list_of(m, t->kind);
	bool found = false;
	size_t i = *after ? km_list_at(l, after, &found) : 0;

	out->item = km_must(calloc(l->n + 1, sizeof(struct km_object *)));
	for (i += found; i < l->n; i++) {
		json_t *j = l->item[i]->now->json;

		if ((*t->ns && !str_eq(t->ns, km_text_at(j, "metadata.namespace"))) ||
		    !km_selector_match(s, j))
			continue;
		if (t->q.limit && out->n == t->q.limit)
			out->left++;
		else
			out->item[out->n++] = l->item[i];
	}
}

/* continue is "VERSION:KEY"; one from before the last compaction has expired. */
static bool continue_parse(struct kubemodel *m, const char *from, const char **after,
			   struct kubemodel_answer *a)
{
	const char *colon = strchr(from, ':');
	char text[24];
	uint64_t version;

	*after = "";
	if (!*from)
		return true;
	if (!colon || !str_copyn(text, sizeof(text), from, (size_t)(colon - from)) ||
	    !str_u64(text, UINT64_MAX, &version))
		return km_fail(a, 400, NULL, NULL, "continue key is not valid");
	if (version + 1 < m->oldest)
		return km_fail(a, 410, "Expired", NULL,
			       "The provided continue parameter is too old to display a consistent "
			       "list result");
	*after = colon + 1;
	return true;
}

static void list_write(struct kubemodel *m, const struct km_target *t, enum km_as as,
		       const struct page *p, struct kubemodel_answer *a)
{
	bool partial = as == KM_AS_METADATA_LIST;
	struct buf *b = &a->body;
	struct err err = ERR_INIT;
	char api[64];

	km_buf_must(buf_addf(b, &err, "{\"kind\":\"%sList\",\"apiVersion\":\"%s\",\"metadata\":{",
			     partial ? "PartialObjectMetadata" : t->kind->kind,
			     partial ? "meta.k8s.io/v1" : km_api_version(t->kind, api)));
	km_buf_must(buf_addf(b, &err, "\"resourceVersion\":\"%llu\"", (unsigned long long)m->rv));
	if (p->left)
		km_buf_must(buf_addf(b, &err,
				     ",\"continue\":\"%llu:%s\",\"remainingItemCount\":%zu",
				     (unsigned long long)m->rv, p->item[p->n - 1]->key, p->left));
	km_buf_must(buf_adds(b, "},\"items\":[", &err));
	for (size_t i = 0; i < p->n; i++) {
		size_t len;
		const char *text =
			km_version_text(p->item[i]->now, partial ? KM_METADATA : KM_ITEM, &len);

		km_buf_must(buf_adds(b, i ? "," : "", &err));
		km_buf_must(buf_add(b, text, len, &err));
	}
	km_buf_must(buf_adds(b, "]}\n", &err));
	a->code = 200;
}

static bool version_parse(const struct km_target *t, uint64_t *out, struct kubemodel_answer *a)
{
	bool watching = str_eq(t->verb, "watch");

	*out = 0;
	if (!*t->q.version || str_u64(t->q.version, UINT64_MAX - 1, out))
		return true;
	/* For a watch the real server says 500 and no reason. */
	return km_fail(a, watching ? 500 : 400, watching ? "" : NULL, NULL,
		       "invalid resourceVersion \"%s\"", t->q.version);
}

static void list(struct kubemodel *m, const struct km_target *t, enum km_as as,
		 struct kubemodel_answer *a)
{
	CLEANUP(page_free) struct page page = { 0 };
	struct km_selector s;
	const char *after;
	uint64_t version;

	if (!km_selector_parse(t->kind, t->q.labels, t->q.fields, &s, a) ||
	    !version_parse(t, &version, a) || !continue_parse(m, t->q.from, &after, a))
		return;
	if (version > m->rv) {
		km_fail(a, 504, NULL,
			json_pack("{s:[{s:s, s:s}], s:i}", "causes", "reason",
				  "ResourceVersionTooLarge", "message",
				  "Too large resource version", "retryAfterSeconds", 1),
			"Too large resource version: %llu, current: %llu",
			(unsigned long long)version, (unsigned long long)m->rv);
		a->retry_after_s = 1;
		return;
	}
	page_collect(m, t, &s, after, &page);
	if (as == KM_AS_TABLE)
		km_answer_json(a, 200, km_table(t->kind, page.item, page.n));
	else
		list_write(m, t, as, &page, a);
}

/* ---- watch ---- */

static void watch(struct kubemodel *m, struct km_target *t, enum km_as as,
		  struct kubemodel_answer *a)
{
	bool from_now = !*t->q.version || str_eq(t->q.version, "0");
	struct km_selector s;
	uint64_t version;

	if (*t->name) /* GET of one object with watch=1 */
		snprintf(t->q.fields, sizeof(t->q.fields), "metadata.name=%s", t->name);
	if (!km_selector_parse(t->kind, t->q.labels, t->q.fields, &s, a) ||
	    !version_parse(t, &version, a))
		return;
	if (t->q.initial_events) {
		km_fail(a, 422, "Invalid", NULL,
			"sendInitialEvents: Forbidden: this server does not stream lists");
		return;
	}
	if (from_now)
		version = m->rv;
	if (version + 1 < m->oldest && m->config.gone_as_http) {
		km_fail(a, 410, "Expired", NULL, "too old resource version: %llu (%llu)",
			(unsigned long long)version, (unsigned long long)m->oldest - 1);
		return;
	}
	a->code = 200;
	a->watch = km_watch_new(m, t, &s, as == KM_AS_METADATA ? KM_METADATA : KM_FULL, version,
				from_now);
}

/* ---- the door ---- */

void kubemodel_set_token(struct kubemodel *m, const char *token, bool keep_old)
{
	if (!keep_old)
		kubemodel_expire_token(m);
	memmove(&m->token[1], &m->token[0], sizeof(m->token) - sizeof(m->token[0]));
	m->token[0].valid = str_copy(m->token[0].text, sizeof(m->token[0].text), token);
	m->token_wanted = true;
}

void kubemodel_expire_token(struct kubemodel *m)
{
	m->token_wanted = true;
	for (size_t i = 0; i < KM_MAX_TOKENS; i++)
		m->token[i].valid = false;
}

void kubemodel_set_gone_as_http(struct kubemodel *m, bool on)
{
	m->config.gone_as_http = on;
}

static bool token_ok(const struct kubemodel *m, const char *authorization)
{
	if (!m->token_wanted || (m->config.anonymous && !*authorization))
		return true;
	if (!str_starts(authorization, "Bearer "))
		return false;
	for (size_t i = 0; i < KM_MAX_TOKENS; i++)
		if (m->token[i].valid && str_eq(m->token[i].text, authorization + 7))
			return true;
	return false;
}

static void read_request(struct kubemodel *m, struct km_target *t, const char *accept,
			 struct kubemodel_answer *a)
{
	bool watching = str_eq(t->verb, "watch");
	enum km_as as = km_accept_parse(accept, watching);

	if (!km_accept_check(t, as, a))
		return;
	if (*t->sub && !(str_eq(t->sub, "status") && t->kind->has_status))
		km_fail(a, 404, NULL, NULL, "the server could not find the requested resource");
	else if (watching)
		watch(m, t, as, a);
	else if (*t->name)
		get(m, t, as, a);
	else
		list(m, t, as, a);
}

static void write_request(struct kubemodel *m, struct km_target *t,
			  const struct kubemodel_request *rq, struct kubemodel_answer *a)
{
	enum km_as as = km_accept_parse(rq->accept, false);

	t->partial = as == KM_AS_METADATA;
	if (km_accept_check(t, as, a))
		km_write_request(m, t, rq, a);
}

static void handle(struct kubemodel *m, const struct kubemodel_request *rq, bool trusted,
		   struct kubemodel_answer *a)
{
	struct km_target t;

	km_answer_init(a);
	if (!km_target_parse(rq->method, rq->target, &t))
		km_fail(a, 400, NULL, NULL, "the request's path or query is malformed");
	else if (!trusted && !km_path_is_public(t.path) && !token_ok(m, rq->authorization))
		km_fail(a, 401, NULL, NULL, "Unauthorized");
	else if (rq->body.left > KUBEMODEL_MAX_BODY)
		km_fail(a, 413, NULL, NULL, "limit is %u", KUBEMODEL_MAX_BODY);
	else if (!t.kind && !km_discovery(&t, a))
		km_answer_unknown(&t, a);
	else if (t.kind && (str_eq(rq->method, "GET") || str_eq(rq->method, "HEAD")))
		read_request(m, &t, rq->accept, a);
	else if (t.kind)
		write_request(m, &t, rq, a);
}

void kubemodel_handle(struct kubemodel *m, const struct kubemodel_request *rq,
		      struct kubemodel_answer *out)
{
	handle(m, rq, false, out);
}

void kubemodel_handle_trusted(struct kubemodel *m, const struct kubemodel_request *rq,
			      struct kubemodel_answer *out)
{
	handle(m, rq, true, out);
}
