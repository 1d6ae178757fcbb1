/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubemodel_client - asks a kubemodel as an HTTP server would, for the unit tests.
 */
#pragma once
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "kubemodel/internal.h"

#define MERGE	     "application/merge-patch+json"
#define PARTIAL	     "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#define PARTIAL_LIST "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

/* A cluster of nodes n1 and n2, which forgets all but the last `history` changes. */
static inline struct kubemodel *cluster(size_t history)
{
	struct kubemodel_config c = KUBEMODEL_CONFIG_INIT;
	struct kubemodel *m;
	struct err err = ERR_INIT;

	c.history = history;
	cr_assert_eq(kubemodel_new(&c, &m, &err), 0, "%s", err_text(&err));
	cr_assert_eq(kubemodel_add_namespace(m, "default", &err), 0);
	cr_assert_eq(kubemodel_add_node(m, "n1", "team=a\ngpu=yes", &err), 0, "%s", err_text(&err));
	cr_assert_eq(kubemodel_add_node(m, "n2", "team=b", &err), 0);
	return m;
}

static inline void ask_into(struct kubemodel *m, const char *method, const char *target,
			    const char *type, const char *accept, const char *body,
			    struct kubemodel_answer *out)
{
	struct kubemodel_request rq = {
		.method = method,
		.target = target,
		.accept = accept,
		.content_type = type,
		.authorization = "",
		.body = rd_of(body, strlen(body)),
	};

	kubemodel_handle(m, &rq, out);
}

/* The answer's code; its JSON into *out, when that is not NULL, for the caller to json_decref(). */
static inline int ask_as(struct kubemodel *m, const char *method, const char *target,
			 const char *type, const char *accept, const char *body, json_t **out)
{
	struct kubemodel_answer a;
	int code;

	ask_into(m, method, target, type, accept, body, &a);
	code = a.code;
	if (out) {
		*out = json_loadb(buf_str(&a.body), a.body.len, 0, NULL);
		cr_assert(*out, "%s %s: not JSON: %s", method, target, buf_str(&a.body));
	}
	kubemodel_answer_clear(&a);
	return code;
}

static inline int ask(struct kubemodel *m, const char *method, const char *target, const char *body,
		      json_t **out)
{
	return ask_as(m, method, target, strcmp(method, "PATCH") == 0 ? MERGE : "application/json",
		      "", body, out);
}

/* Patches and says so when that is refused. */
static inline void patch_node(struct kubemodel *m, const char *name, const char *body)
{
	json_auto_t *j = NULL;
	char target[128];

	snprintf(target, sizeof(target), "/api/v1/nodes/%s", name);
	cr_assert_eq(ask(m, "PATCH", target, body, &j), 200, "%s: %s", body,
		     km_text_at(j, "message"));
}

static inline struct kubemodel_watch *watch_as(struct kubemodel *m, const char *target,
					       const char *accept)
{
	struct kubemodel_answer a;
	struct kubemodel_watch *w;

	ask_into(m, "GET", target, "", accept, "", &a);
	cr_assert(a.watch, "%s: %d %s", target, a.code, buf_str(&a.body));
	w = a.watch;
	a.watch = NULL;
	kubemodel_answer_clear(&a);
	return w;
}

/* "ADDED n1", "BOOKMARK", "ERROR 410", "over", or "" when there is nothing to say now. */
static inline const char *next_line(struct kubemodel_watch *w, char out[128])
{
	struct buf line = BUF_INIT(KUBEMODEL_MAX_ANSWER);
	int r = kubemodel_watch_next(w, &line);
	json_auto_t *j = NULL;
	const char *type;

	*out = '\0';
	if (r > 0) {
		cr_assert_eq(line.data[line.len - 1], '\n');
		j = json_loadb(line.data, line.len, 0, NULL);
		cr_assert(j, "not JSON: %s", line.data);
		type = km_text_at(j, "type");
		if (strcmp(type, "ERROR") == 0)
			snprintf(out, 128, "ERROR %d",
				 (int)json_integer_value(
					 json_object_get(json_object_get(j, "object"), "code")));
		else
			snprintf(out, 128, "%s%s%.60s", type, strcmp(type, "BOOKMARK") ? " " : "",
				 km_text_at(j, "object.metadata.name"));
	} else if (r < 0) {
		snprintf(out, 128, "over");
	}
	buf_clear(&line);
	return out;
}

#define cr_assert_line(w, text)                                                                    \
	do {                                                                                       \
		char line_[128];                                                                   \
		cr_assert_str_eq(next_line(w, line_), text);                                       \
	} while (0)
