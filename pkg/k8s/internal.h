/* SPDX-License-Identifier: Apache-2.0 */
/* What k8s's files share. */
#pragma once
#include <jansson.h>

#include "base/backoff.h"
#include "k8s/config.h"
#include "k8s/k8s.h"

/* How long things take; tests use shorter ones. */
struct k8s_tuning {
	uint32_t attempt_ms;		      /* of one attempt of a request */
	uint32_t retry_base_ms, retry_cap_ms; /* between attempts of a request */
	uint32_t watch_base_ms, watch_cap_ms; /* between attempts to list or watch */
	uint32_t watch_min_s, watch_max_s;    /* what we ask the server for; drawn each time */
	uint32_t watch_slack_ms;	      /* what it may be late by */
	uint32_t open_ms;		      /* until a watch is answered */
	uint32_t
		early_ms; /* a watch cut short comes back within this, so that not all do at once */
};
extern const struct k8s_tuning k8s_tuning_default;

struct k8s_client {
	struct loop *loop;
	struct http_client *http;
	struct k8s_config *config;
	char *field_manager;
	struct k8s_tuning tuning;
	struct k8s_call *calls;
	struct watch *watches;
	struct k8s_stats stats;
};

void client_count(struct k8s_client *c, const char *verb, int code);
void client_token_refused(struct k8s_client *c); /* after a 401 */

/* Somebody was answered: who waits because the server could not be reached tries again soon. */
void client_server_is_back(struct k8s_client *c);
void calls_server_is_back(struct k8s_client *c);
void watches_server_is_back(struct k8s_client *c);
#define BACK_WITHIN_MS 250 /* not all in the same moment */

/* err becomes "what: the server's own words"; kind and code stay. */
void status_explain(struct err *err, const char *what, const struct http_response *response);

/* --- objects ---------------------------------------------------------------------------------- */

struct meta { /* borrowed from the document */
	const char *name, *ns, *uid, *version, *deletion_time;
	json_t *labels, *annotations, *owners;
};

int meta_read(const json_t *object, struct meta *out, struct err *err) MUST_CHECK;

/* Pairs of text and text whose key begins with `prefix` (NULL: all).  `from` may be NULL. */
int map_read(const json_t *from, const char *where, const char *prefix, struct k8s_map *out,
	     struct err *err) MUST_CHECK;
void map_clear(struct k8s_map *m);

/* <0, 0, >0 as strcmp() where both are numbers; false where they are not. */
bool version_compare(const char *a, const char *b, int *out);

/* --- watch lines ------------------------------------------------------------------------------ */

#define WATCH_LINE_MAX (4 << 20)

struct lines {
	struct buf tail; /* the line that is not whole yet */
};

typedef int on_line(void *arg, struct rd line, struct err *err);

/* Cuts what arrives into lines, however it was cut on its way; empty ones are passed over.  Stops at
 * the first failure, of on_line or (ERR_INVALID) of a line over WATCH_LINE_MAX. */
int lines_feed(struct lines *l, struct rd chunk, on_line *fn, void *arg,
	       struct err *err) MUST_CHECK;
void lines_clear(struct lines *l);

enum event_type { EVENT_ADDED, EVENT_MODIFIED, EVENT_DELETED, EVENT_BOOKMARK, EVENT_ERROR };

struct event { /* object is borrowed from doc */
	enum event_type type;
	json_t *doc, *object;
	const char *version; /* of the object; NULL for ERROR */
	int code;	     /* ERROR: Status.code */
};

/* json_decref(out->doc) when done.  ERR_INVALID for what is no event; an ERROR event is success. */
int event_parse(struct rd line, struct event *out, struct err *err) MUST_CHECK;

struct skim { /* borrowed from the line */
	struct rd type, name, uid, version;
	uint64_t hash; /* of labels and annotations whose key has the prefix, as they are written */
};

/* False: not written as API servers write, so parse it.  True says nothing about what was skipped. */
bool event_skim(struct rd line, const char *prefix, struct skim *out);

/* --- list + watch ----------------------------------------------------------------------------- */

struct watch;

/* Every int function returns 0, or -1 with err when the object is not what it should be: then the
 * watch starts over with a list.  Any of them may free the watch. */
struct watch_ops {
	/* May be NULL.  True: this line tells nothing new but the version, which is now in `version`. */
	bool (*skim)(void *arg, struct rd line, char *version, size_t size);
	void (*begin)(void *arg); /* a list begins: what is not in it is gone */
	int (*object)(void *arg, enum event_type type, const json_t *object, struct err *err);
	void (*settled)(void *arg,
			bool listed); /* after the list, and after each batch of events */
	void (*link)(void *arg, bool up, const struct err *why);
};

struct watch_config {
	const char *path;     /* "/api/v1/nodes" */
	const char *selector; /* "fieldSelector=...", escaped */
	const char *what;     /* for errors: "node n1" */
	bool whole;	      /* whole objects, not only their metadata */
	const struct watch_ops *ops;
	void *arg;
};

int watch_new(struct k8s_client *c, const struct watch_config *config, struct watch **out,
	      struct err *err) MUST_CHECK;
void watch_free(struct watch *w);
