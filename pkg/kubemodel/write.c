/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes.  Each ends in one of three ways: a Status that says why not, the object as it was because
 * nothing changed (no new version then, as on the real server), or the object at a new version.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

#define NOT_ALLOWED "the server does not allow this method on the requested resource"

/* The body as a JSON object, or NULL with the answer filled. */
static json_t *body_parse(const struct kubemodel_request *rq, struct kubemodel_answer *a)
{
	json_error_t e;
	json_t *j = json_loadb((const char *)rq->body.p, rq->body.left, 0, &e);

	if (!j)
		km_fail(a, 400, NULL, NULL, "the body is not JSON: line %d column %d: %s", e.line,
			e.column, e.text);
	else if (!json_is_object(j)) {
		km_fail(a, 400, NULL, NULL, "the body is not a JSON object");
		json_decref(j);
		return NULL;
	}
	return j;
}

/* The media type without its parameters. */
static bool content_is(const char *content_type, const char *wanted)
{
	size_t n = strcspn(content_type, "; ");

	return strlen(wanted) == n && !strncmp(content_type, wanted, n);
}

static void answer_object(struct kubemodel_answer *a, const struct km_target *t, int code,
			  json_t *j)
{
	km_answer_json(a, code, t->partial ? km_as_metadata(j) : json_incref(j));
}

static bool fail_conflict(struct kubemodel_answer *a, const struct km_target *t)
{
	return km_fail(a, 409, "Conflict", km_details(t->kind, t->name),
		       "Operation cannot be fulfilled on %s \"%s\": the object has been modified; "
		       "please apply your changes to the latest version and try again",
		       t->kind->plural, t->name);
}

/* Not an object of this kind at all.  A patch that makes it so is invalid, a body is a bad request. */
static bool decode_check(const struct km_target *t, const json_t *obj, struct kubemodel_answer *a)
{
	const char *k = km_text_at(obj, "kind"), *v = km_text_at(obj, "apiVersion");
	char version[64], text[256] = "";

	km_api_version(t->kind, version);
	if ((*k && !str_eq(k, t->kind->kind)) || (*v && !str_eq(v, version)))
		snprintf(text, sizeof(text), "%.60s of %.60s is not %s of %s", k, v, t->kind->kind,
			 version);
	if (!*text && km_check_types(obj, text))
		return true;
	if (str_eq(t->verb, "patch"))
		return km_fail(a, 422, NULL,
			       json_pack("{s:[{s:s, s:s, s:s}]}", "causes", "reason",
					 "FieldValueInvalid", "message", text, "field", "patch"),
			       "patch: Invalid value: %s", text);
	return km_fail(a, 400, NULL, NULL, "the body cannot be decoded: %s", text);
}

/* ---- create ---- */

static bool create_check(struct kubemodel *m, const struct km_target *t, json_t *obj,
			 struct kubemodel_answer *a)
{
	const char *ns = km_text_at(obj, "metadata.namespace");

	if (t->kind->namespaced && !*t->ns)
		return km_fail(a, 405, NULL, NULL, NOT_ALLOWED);
	if (!decode_check(t, obj, a))
		return false;
	if (*ns && !str_eq(ns, t->ns))
		return km_fail(a, 400, NULL, NULL,
			       "the namespace of the object (%s) is not that of the request (%s)",
			       ns, t->ns);
	if (*t->ns && !km_find(m, KM_NAMESPACES, "", t->ns))
		return km_fail(a, 404, NULL, km_details(KM_NAMESPACES, t->ns),
			       "namespaces \"%s\" not found", t->ns);
	if (km_list_of(m, t->kind)->n >= KUBEMODEL_MAX_OBJECTS)
		return km_fail(a, 507, "InsufficientStorage", NULL, "too many %s", t->kind->plural);
	return true;
}

static void create(struct kubemodel *m, const struct km_target *t, json_t *body,
		   struct kubemodel_answer *a)
{
	json_auto_t *obj = NULL;
	const char *name;

	if (!create_check(m, t, body, a))
		return;
	obj = km_prepare_new(m, t->kind, t->ns, body);
	if (!km_validate(a, t->kind, obj))
		return;
	name = km_text_at(obj, "metadata.name");
	if (km_find(m, t->kind, t->ns, name))
		km_fail(a, 409, "AlreadyExists", km_details(t->kind, name),
			"%s \"%s\" already exists", t->kind->plural, name);
	else if (t->q.dry_run)
		answer_object(a, t, 201, obj);
	else
		answer_object(a, t, 201, km_put(m, t->kind, json_incref(obj))->now->json);
}

/* ---- update and patch ---- */

/* A part of the object that this request may not write stays as it was. */
static void keep(json_t *obj, const char *key, const json_t *old)
{
	json_t *was = json_object_get(old, key);

	if (was)
		json_object_set(obj, key, was);
	else
		json_object_del(obj, key);
}

/* The object that is to be stored: what the request may change from `wish`, the rest from `old`. */
static json_t *object_merge(const struct km_target *t, json_t *old, json_t *wish)
{
	static const char *const fixed[] = { "uid",
					     "creationTimestamp",
					     "deletionTimestamp",
					     "deletionGracePeriodSeconds",
					     "generateName",
					     "resourceVersion" };
	const json_t *old_meta = json_object_get(old, "metadata");
	json_t *meta, *obj = km_copy_for_metadata(wish, &meta);

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		keep(meta, fixed[i], old_meta);
	keep(obj, "kind", old);
	keep(obj, "apiVersion", old);
	if (str_eq(t->sub, "status"))
		keep(obj, "spec", old);
	else if (t->kind->has_status)
		keep(obj, "status", old);
	return obj;
}

static bool change_check(const struct km_target *t, const json_t *old, const json_t *wish,
			 struct kubemodel_answer *a)
{
	const char *version = km_text_at(wish, "metadata.resourceVersion");
	const char *uid = km_text_at(wish, "metadata.uid");
	const char *name = km_text_at(wish, "metadata.name");
	const char *ns = km_text_at(wish, "metadata.namespace");

	if (!decode_check(t, wish, a))
		return false;
	if (!str_eq(name, t->name) || (*ns && !str_eq(ns, t->ns)))
		return km_fail(a, 400, NULL, NULL,
			       "the name of the object (%s) is not that of the request (%s)", name,
			       t->name);
	if (*uid && !str_eq(uid, km_text_at(old, "metadata.uid")) && str_eq(t->verb, "patch"))
		return km_fail_invalid(a, t->kind, name, "metadata.uid",
				       "Invalid value: field is immutable");
	if ((*version && !str_eq(version, km_text_at(old, "metadata.resourceVersion"))) ||
	    (*uid && !str_eq(uid, km_text_at(old, "metadata.uid"))))
		return fail_conflict(a, t);
	return true;
}

/* `wish` is the whole object as the client wants it. */
static void change(struct kubemodel *m, const struct km_target *t, struct km_object *o,
		   json_t *wish, struct kubemodel_answer *a)
{
	json_t *old = o->now->json;
	json_auto_t *obj = NULL;

	if (!change_check(t, old, wish, a))
		return;
	obj = object_merge(t, old, wish);
	if (!km_validate(a, t->kind, obj))
		return;
	if (json_equal(obj, old))
		answer_object(a, t, 200, old);
	else if (t->q.dry_run)
		answer_object(a, t, 200, obj);
	else
		answer_object(a, t, 200, km_put(m, t->kind, json_incref(obj))->now->json);
}

static bool patch_type_check(const char *content_type, json_t *patch, struct kubemodel_answer *a)
{
	if (content_is(content_type, "application/merge-patch+json"))
		return true;
	if (!content_is(content_type, "application/strategic-merge-patch+json"))
		return km_fail(a, 415, NULL, NULL,
			       "the body of the request was in an unknown format - accepted media "
			       "types include: application/merge-patch+json, "
			       "application/strategic-merge-patch+json");
	if (km_has_list(patch))
		return km_fail(a, 415, NULL, NULL,
			       "this server merges no lists: use application/merge-patch+json");
	return true;
}

static void patch(struct kubemodel *m, const struct km_target *t, struct km_object *o,
		  const struct kubemodel_request *rq, json_t *body, struct kubemodel_answer *a)
{
	json_auto_t *wish = NULL;

	if (!patch_type_check(rq->content_type, body, a))
		return;
	wish = km_merge_patch(o->now->json, body);
	change(m, t, o, wish, a);
}

/* ---- delete and evict ---- */

static bool preconditions_check(const struct km_target *t, const struct km_object *o,
				const json_t *options, struct kubemodel_answer *a)
{
	const char *uid = km_text_at(options, "preconditions.uid");
	const char *version = km_text_at(options, "preconditions.resourceVersion");
	json_t *details;

	if ((!*uid || str_eq(uid, km_text_at(o->now->json, "metadata.uid"))) &&
	    (!*version || str_eq(version, km_text_at(o->now->json, "metadata.resourceVersion"))))
		return true;
	details = km_details(NULL, t->name);
	json_object_set_new(details, "kind", json_string(t->kind->kind));
	return km_fail(a, 409, "Conflict", details,
		       "Operation cannot be fulfilled on %s \"%s\": a precondition does not hold",
		       t->kind->kind, t->name);
}

/* Pods leave in their own time, unless they are told to go at once. */
static void pod_delete(struct kubemodel *m, const struct km_target *t, struct km_object *o,
		       const json_t *options, struct kubemodel_answer *a)
{
	const json_t *grace = json_object_get(options, "gracePeriodSeconds");
	json_auto_t *last = json_incref(o->now->json);

	if (t->q.dry_run) {
		answer_object(a, t, 200, last);
	} else if (json_is_integer(grace) && json_integer_value(grace) == 0) {
		km_remove(m, o);
		answer_object(a, t, 200, last);
	} else {
		if (!o->gone_at_ms)
			km_leave(m, o, m->config.grace_ms);
		answer_object(a, t, 200, o->now->json);
	}
}

/* What has gone at once is no longer shown, only named. */
static void answer_deleted(struct kubemodel_answer *a, const struct km_target *t,
			   const json_t *last)
{
	json_t *details = km_details(t->kind, t->name);

	json_object_set_new(details, "uid", json_string(km_text_at(last, "metadata.uid")));
	km_answer_json(a, 200, km_status(200, NULL, details, ""));
}

static void object_delete(struct kubemodel *m, const struct km_target *t, struct km_object *o,
			  const json_t *options, struct kubemodel_answer *a)
{
	json_auto_t *last = json_incref(o->now->json);

	if (!preconditions_check(t, o, options, a))
		return;
	if (t->kind == KM_PODS) {
		pod_delete(m, t, o, options, a);
		return;
	}
	if (!t->q.dry_run)
		km_remove(m, o);
	answer_deleted(a, t, last);
}

static void evict(struct kubemodel *m, const struct km_target *t, struct km_object *o,
		  const json_t *body, struct kubemodel_answer *a)
{
	const char *name = km_text_at(body, "metadata.name");

	if (!str_eq(km_text_at(body, "kind"), "Eviction") ||
	    !str_eq(km_text_at(body, "apiVersion"), "policy/v1")) {
		km_fail(a, 400, NULL, NULL, "the body is not an Eviction of policy/v1");
	} else if (*name && !str_eq(name, t->name)) {
		km_fail(a, 400, NULL, NULL, "name in URL does not match name in Eviction object");
	} else if (preconditions_check(t, o, json_object_get(body, "deleteOptions"), a)) {
		pod_delete(m, t, o, json_object_get(body, "deleteOptions"), a);
		km_answer_json(a, 201, km_status(201, NULL, NULL, ""));
	}
}

/* ---- which of them ---- */

/* Everything below an existing object. */
static void write_object(struct kubemodel *m, const struct km_target *t,
			 const struct kubemodel_request *rq, json_t *body,
			 struct kubemodel_answer *a)
{
	struct km_object *o = km_find(m, t->kind, t->ns, t->name);
	bool whole = !*t->sub || (str_eq(t->sub, "status") && t->kind->has_status);

	if (!o)
		km_fail_not_found(a, t);
	else if (str_eq(t->verb, "create") && t->kind == KM_PODS && str_eq(t->sub, "eviction"))
		evict(m, t, o, body, a);
	else if (str_eq(t->verb, "patch") && whole)
		patch(m, t, o, rq, body, a);
	else if (str_eq(t->verb, "update") && whole)
		change(m, t, o, body, a);
	else if (str_eq(t->verb, "delete") && !*t->sub)
		object_delete(m, t, o, body, a);
	else if (whole)
		km_fail(a, 405, NULL, NULL, NOT_ALLOWED);
	else
		km_answer_unknown(t, a);
}

void km_write_request(struct kubemodel *m, const struct km_target *t,
		      const struct kubemodel_request *rq, struct kubemodel_answer *a)
{
	bool may_be_empty = str_starts(t->verb, "delete");
	json_auto_t *body = NULL;

	if (!(may_be_empty && !rq->body.left)) {
		if (!str_eq(t->verb, "patch") && *rq->content_type &&
		    !content_is(rq->content_type, "application/json")) {
			km_fail(a, 415, NULL, NULL, "only application/json is understood, not %s",
				rq->content_type);
			return;
		}
		body = body_parse(rq, a);
		if (!body)
			return;
	}
	if (*t->name)
		write_object(m, t, rq, body, a);
	else if (str_eq(t->verb, "create"))
		create(m, t, body, a);
	else
		km_fail(a, 405, NULL, NULL, NOT_ALLOWED);
}
