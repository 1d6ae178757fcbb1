/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of kubemodel share.  Stored JSON is never changed: a new version shares with the
 * old one what did not change (merge_patch()), so 10,000 updates of a node cost little memory.
 */
#pragma once
#include <jansson.h>

#include "kubemodel/kubemodel.h"

#define KM_MAX_NAME	      254 /* DNS subdomain and NUL */
#define KM_MAX_SELECTOR_TERMS 16

/* ---- kinds.c: which resources there are, and what a request asks for ---- */
struct km_kind {
	const char *group, *version; /* "" is the core group */
	const char *plural, *singular, *kind, *short_name;
	bool namespaced, has_status;
};
extern const struct km_kind km_kinds[];
extern const size_t km_n_kinds;
#define KM_NODES      (&km_kinds[0])
#define KM_PODS	      (&km_kinds[1])
#define KM_EVENTS     (&km_kinds[2])
#define KM_NAMESPACES (&km_kinds[3])
#define KM_DAEMONSETS (&km_kinds[4])
#define KM_MAX_KINDS  8

const char *km_api_version(const struct km_kind *kind, char out[64]);

struct km_query {
	bool watch, bookmarks, dry_run, initial_events;
	char version[24]; /* resourceVersion as it came */
	uint64_t timeout_s, limit;
	char labels[1024], fields[512], from[512]; /* from: continue */
};
struct km_target {
	const struct km_kind *kind; /* NULL: not a resource */
	char ns[KM_MAX_NAME], name[KM_MAX_NAME], sub[32];
	char path[1024]; /* decoded, without the query */
	const char *verb;
	bool partial; /* a write is to be answered with metadata only */
	struct km_query q;
};
bool km_target_parse(const char *method, const char *target, struct km_target *out);

/* ---- status.c: answers ---- */
void km_answer_init(struct kubemodel_answer *a);
void km_answer_json(struct kubemodel_answer *a, int code, json_t *takes);
/* details may be NULL and is taken; always returns false, so that a check can end with it */
bool km_fail(struct kubemodel_answer *a, int code, const char *reason, json_t *details,
	     const char *fmt, ...) PRINTF(5, 6);
bool km_fail_not_found(struct kubemodel_answer *a, const struct km_target *t);
bool km_fail_invalid(struct kubemodel_answer *a, const struct km_kind *kind, const char *name,
		     const char *field, const char *what);
json_t *km_status(int code, const char *reason, json_t *details, const char *message);
json_t *km_details(const struct km_kind *kind, const char *name); /* both may be NULL */

/* ---- accept.c: the form in which a client wants its answer ---- */
enum km_as { KM_AS_FULL, KM_AS_METADATA, KM_AS_METADATA_LIST, KM_AS_TABLE, KM_AS_NOTHING };
enum km_as km_accept_parse(const char *accept, bool watch);
bool km_accept_check(const struct km_target *t, enum km_as as, struct kubemodel_answer *a);

/* ---- memory that must be there ---- */
void *km_must(void *p); /* aborts on NULL */
json_t *km_must_json(json_t *j);
void km_buf_must(int rc); /* result of buf_add...() */
/* json_string_value of a path such as "metadata.name"; "" when absent or no string */
const char *km_text_at(const json_t *j, const char *path);

/* ---- patch.c ---- */
json_t *km_merge_patch(json_t *target, json_t *patch); /* RFC 7386; new reference */
bool km_has_list(json_t *j);
/* A copy of `obj` whose metadata can be changed without touching the original. */
json_t *km_copy_for_metadata(json_t *obj, json_t **out_metadata);

/* ---- validate.c: NULL when right, else what is wrong ---- */
const char *km_check_label_value(const char *s);
const char *km_check_qualified_name(const char *s);
const char *km_check_dns_subdomain(const char *s);
/* Members that have to be objects or strings and are not: false, and what is wrong in `text`. */
bool km_check_types(const json_t *obj, char text[256]);
bool km_validate(struct kubemodel_answer *a, const struct km_kind *kind, json_t *obj);

/* ---- selector.c ---- */
enum km_op { KM_EQUAL, KM_NOT_EQUAL, KM_EXISTS, KM_ABSENT };
struct km_term {
	enum km_op op;
	char key[320], value[KM_MAX_NAME];
};
struct km_selector {
	size_t n_labels, n_fields;
	struct km_term label[KM_MAX_SELECTOR_TERMS], field[KM_MAX_SELECTOR_TERMS];
};
bool km_selector_parse(const struct km_kind *kind, const char *labels, const char *fields,
		       struct km_selector *out, struct kubemodel_answer *a);
bool km_selector_match(const struct km_selector *s, const json_t *obj);

/* ---- store.c ---- */
enum km_form { KM_FULL, KM_METADATA, KM_ITEM /* in a typed list: no kind */, KM_N_FORMS };
struct km_version {
	unsigned refs;
	uint64_t rv;
	json_t *json;
	char *text[KM_N_FORMS]; /* made when first asked for */
	size_t len[KM_N_FORMS];
};
struct km_object {
	const struct km_kind *kind;
	char *key; /* "namespace/name", "/name" */
	struct km_version *now;
	uint64_t gone_at_ms; /* a pod that leaves; 0: stays */
};
struct km_list {
	struct km_object **item; /* sorted by key */
	size_t n, cap;
};
enum km_change { KM_ADDED, KM_MODIFIED, KM_DELETED };
struct km_event {
	enum km_change change;
	const struct km_kind *kind;
	struct km_version *now, *before; /* before: NULL for ADDED */
};
struct km_token {
	char text[128];
	bool valid;
};
#define KM_MAX_TOKENS 8
struct kubemodel {
	struct kubemodel_config config;
	struct km_token token[KM_MAX_TOKENS]; /* the newest ones */
	size_t n_tokens;
	bool token_wanted;
	struct km_list list[KM_MAX_KINDS];
	struct km_event *ring; /* change of version v is ring[v % config.history] */
	uint64_t rv, oldest;   /* oldest version still in the ring */
	uint64_t n_names;      /* counts what names and uids are made of */
	struct kubemodel_watch *watches;
	struct km_operator *op; /* NULL: none */
	uint64_t pods_due_ms;	/* the first pod that leaves */
};
struct km_operator;
struct km_list *km_list_of(struct kubemodel *m, const struct km_kind *kind);
struct km_object *km_find(struct kubemodel *m, const struct km_kind *kind, const char *ns,
			  const char *name);
size_t km_list_at(const struct km_list *l, const char *key, bool *found);
/* Creates or replaces; takes obj.  Returns the object, now at a new version. */
struct km_object *km_put(struct kubemodel *m, const struct km_kind *kind, json_t *takes);
void km_remove(struct kubemodel *m, struct km_object *o);
void km_leave(struct kubemodel *m, struct km_object *pod, uint64_t after_ms); /* terminating */
const char *km_version_text(struct km_version *v, enum km_form form, size_t *len);
void km_version_unref(struct km_version *v);
json_t *km_as_metadata(json_t *obj); /* PartialObjectMetadata */
/* uid, creationTimestamp, name from generateName: what the server adds to a new object */
json_t *km_prepare_new(struct kubemodel *m, const struct km_kind *kind, const char *ns,
		       json_t *obj);
void km_random_suffix(struct kubemodel *m, char out[6]);

/* ---- watch.c ---- */
struct kubemodel_watch *km_watch_new(struct kubemodel *m, const struct km_target *t,
				     const struct km_selector *s, enum km_form form,
				     uint64_t from_version, bool list_first);
uint64_t km_watches_due_ms(const struct kubemodel *m);

/* ---- write.c: create, update, patch, delete and evict, all that makes a new version ---- */
void km_write_request(struct kubemodel *m, const struct km_target *t,
		      const struct kubemodel_request *rq, struct kubemodel_answer *a);

/* ---- discovery.c: /version, /api, /apis, health; false when the path is none of them ---- */
bool km_discovery(const struct km_target *t, struct kubemodel_answer *a);
void km_answer_unknown(const struct km_target *t, struct kubemodel_answer *a); /* 404 */
bool km_path_is_public(const char *path);

/* ---- table.c: what kubectl get prints ---- */
json_t *km_table(const struct km_kind *kind, struct km_object **item, size_t n);

/* ---- operator.c ---- */
void km_operator_node_changed(struct kubemodel *m, const char *node);
void km_operator_pod_gone(struct kubemodel *m);
void km_operator_tick(struct kubemodel *m, uint64_t now);
uint64_t km_operator_due_ms(const struct kubemodel *m);
void km_operator_free(struct km_operator *op);
