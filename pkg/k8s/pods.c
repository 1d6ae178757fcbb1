/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of a node: who is there, who is leaving, and, when asked, who holds a kind of resource.
 */
#include <string.h>

#include "base/str.h"
#include "json/json.h"
#include "k8s/internal.h"

struct k8s_pods {
	struct watch *watch;
	char *prefix; /* or NULL */
	k8s_on_pods *on_pods;
	k8s_on_link *on_link;
	void *arg;
	struct k8s_pod *pod;
	size_t n, cap;
	bool listed, changed, link_told, link_up;
	unsigned busy;
	bool freed;
};

static void pod_clear(struct k8s_pod *p)
{
	free((char *)p->ns);
	free((char *)p->name);
	free((char *)p->uid);
	free((char *)p->owner_kind);
	free((char *)p->owner_name);
	map_clear(&p->labels);
	*p = (struct k8s_pod){ 0 };
}

static void pods_clear(struct k8s_pods *p)
{
	while (p->n > 0)
		pod_clear(&p->pod[--p->n]);
}

/* --- reading one ------------------------------------------------------------------------------ */

struct owner {
	const char *kind, *name;
	bool controller;
};

static int find_owner(const json_t *owners, struct owner *out, struct err *err)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct owner, kind, "kind", STR, JSON_REQUIRED),
		JSON_FIELD(struct owner, name, "name", STR, JSON_REQUIRED),
		JSON_FIELD(struct owner, controller, "controller", BOOL, 0),
	};
	const json_t *o;
	size_t i;

	json_array_foreach (owners, i, o) {
		if (json_fields_read(o, "metadata.ownerReferences", fields, ARRAY_LEN(fields), out,
				     err) < 0)
			return -1;
		if (out->controller)
			return 0;
	}
	*out = (struct owner){ .kind = "", .name = "" };
	return 0;
}

static bool names_resource(json_t *quantities, const char *prefix)
{
	const char *key;
	json_t *value;

	json_object_foreach (quantities, key, value) {
		const char *n = json_string_value(value);

		if (str_starts(key, prefix) && !str_eq(n, "0"))
			return true;
	}
	return false;
}

static bool wants_resource(const json_t *pod, const char *prefix)
{
	static const char *const lists[] = { "containers", "initContainers" };
	static const char *const kinds[] = { "limits", "requests" };
	const json_t *spec = json_object_get(pod, "spec"), *container;
	size_t i;

	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_array_foreach (json_object_get(spec, lists[l]), i, container) {
			const json_t *resources = json_object_get(container, "resources");

			for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
				if (names_resource(json_object_get(resources, kinds[k]), prefix))
					return true;
		}
	}
	return false;
}

static bool is_finished(const json_t *pod)
{
	const json_t *status = json_object_get(pod, "status");
	const char *phase = json_string_value(json_object_get(status, "phase"));

	return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

static int pod_read(const struct k8s_pods *p, const json_t *object, const struct meta *meta,
		    struct k8s_pod *out, struct err *err)
{
	struct owner owner;

	*out = (struct k8s_pod){ 0 };
	if (find_owner(meta->owners, &owner, err) < 0 ||
	    map_read(meta->labels, "metadata.labels", NULL, &out->labels, err) < 0)
		return -1;
	out->ns = strdup(meta->ns ? meta->ns : "");
	out->name = strdup(meta->name);
	out->uid = strdup(meta->uid ? meta->uid : "");
	out->owner_kind = strdup(owner.kind);
	out->owner_name = strdup(owner.name);
	out->leaving = meta->deletion_time;
	out->finished = p->prefix && is_finished(object);
	out->wants_resource = p->prefix && wants_resource(object, p->prefix);
	if (out->ns && out->name && out->uid && out->owner_kind && out->owner_name)
		return 0;
	pod_clear(out);
	return err_nomem(err);
}

/* --- the set ---------------------------------------------------------------------------------- */

static struct k8s_pod *pod_find(struct k8s_pods *p, const struct meta *meta)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->pod[i].name, meta->name) == 0 &&
		    strcmp(p->pod[i].ns, meta->ns ? meta->ns : "") == 0)
			return &p->pod[i];
	return NULL;
}

static void pod_remove(struct k8s_pods *p, struct k8s_pod *at)
{
	pod_clear(at);
	*at = p->pod[--p->n];
	p->changed = true;
}

static int pod_add(struct k8s_pods *p, struct k8s_pod *pod, struct err *err)
{
	struct k8s_pod *grown;

	if (p->n == K8S_MAX_PODS)
		return err_set(err, ERR_INVALID, "more than %d pods on one node", K8S_MAX_PODS);
	if (p->n == p->cap) {
		grown = reallocarray(p->pod, p->cap + 32, sizeof(*grown));
		if (!grown)
			return err_nomem(err);
		p->pod = grown;
		p->cap += 32;
	}
	p->pod[p->n++] = *pod;
	*pod = (struct k8s_pod){ 0 };
	p->changed = true;
	return 0;
}

static bool same(const struct k8s_pod *a, const struct k8s_pod *b)
{
	return strcmp(a->uid, b->uid) == 0 && a->leaving == b->leaving &&
	       a->finished == b->finished && a->wants_resource == b->wants_resource &&
	       strcmp(a->owner_name, b->owner_name) == 0 && k8s_map_equal(&a->labels, &b->labels);
}

static int pod_put(struct k8s_pods *p, const json_t *object, const struct meta *meta,
		   struct err *err)
{
	struct k8s_pod *have = pod_find(p, meta), fresh;
	int r = 0;

	if (pod_read(p, object, meta, &fresh, err) < 0)
		return -1;
	if (p->prefix && !fresh.wants_resource) {
		if (have)
			pod_remove(p, have);
	} else if (!have) {
		r = pod_add(p, &fresh, err);
	} else if (!same(have, &fresh)) {
		struct k8s_pod old = *have;

		*have = fresh;
		fresh = old;
		p->changed = true;
	}
	pod_clear(&fresh);
	return r;
}

/* --- what the watch tells --------------------------------------------------------------------- */

static void on_begin(void *arg)
{
	struct k8s_pods *p = arg;

	pods_clear(p);
	p->changed = true;
	p->listed = false;
}

static int on_object(void *arg, enum event_type type, const json_t *object, struct err *err)
{
	struct k8s_pods *p = arg;
	struct k8s_pod *have;
	struct meta meta;

	if (meta_read(object, &meta, err) < 0)
		return -1;
	if (!meta.name)
		return err_set(err, ERR_INVALID, "metadata.name: is missing");
	if (type != EVENT_DELETED)
		return pod_put(p, object, &meta, err);
	have = pod_find(p, &meta);
	if (have)
		pod_remove(p, have);
	return 0;
}

static void on_settled(void *arg, bool listed)
{
	struct k8s_pods *p = arg;

	p->listed |= listed;
	if (!p->listed || !p->changed)
		return;
	p->changed = false;
	p->busy++;
	p->on_pods(p->arg, p->pod, p->n);
	if (--p->busy == 0 && p->freed) {
		p->freed = false;
		k8s_pods_free(p);
	}
}

static void on_link(void *arg, bool up, const struct err *why)
{
	struct k8s_pods *p = arg;
	bool news = !p->link_told || up != p->link_up;

	p->link_told = true;
	p->link_up = up;
	if (news && p->on_link)
		p->on_link(p->arg, up, why);
}

static const struct watch_ops ops = {
	.begin = on_begin, .object = on_object, .settled = on_settled, .link = on_link
};

/* --- life ------------------------------------------------------------------------------------- */

static int start_watch(struct k8s_pods *p, struct k8s_client *c,
		       const struct k8s_pods_config *config, struct err *err)
{
	AUTO_BUF path = BUF_INIT(1024);
	AUTO_BUF selector = BUF_INIT(2048);
	AUTO_BUF what = BUF_INIT(1024);
	struct watch_config w = { .whole = config->resource_prefix, .ops = &ops, .arg = p };

	if (buf_adds(&path, "/api/v1", err) < 0 ||
	    (config->ns && (buf_adds(&path, "/namespaces/", err) < 0 ||
			    http_escape(&path, config->ns, err) < 0)) ||
	    buf_adds(&path, "/pods", err) < 0 ||
	    buf_adds(&selector, "fieldSelector=spec.nodeName%3D", err) < 0 ||
	    http_escape(&selector, config->node, err) < 0 ||
	    buf_addf(&what, err, "watching pods%s%s on node %s", config->ns ? " of " : "",
		     config->ns ? config->ns : "", config->node) < 0)
		return -1;
	w.path = path.data;
	w.selector = selector.data;
	w.what = what.data;
	return watch_new(c, &w, &p->watch, err);
}

int k8s_pods_new(struct k8s_client *c, const struct k8s_pods_config *config, struct k8s_pods **out,
		 struct err *err)
{
	struct k8s_pods *p = calloc(1, sizeof(*p));

	if (!p)
		return err_nomem(err);
	p->on_pods = config->on_pods;
	p->on_link = config->on_link;
	p->arg = config->arg;
	if (config->resource_prefix) {
		p->prefix = strdup(config->resource_prefix);
		if (!p->prefix) {
			k8s_pods_free(p);
			return err_nomem(err);
		}
	}
	if (start_watch(p, c, config, err) < 0) {
		k8s_pods_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

void k8s_pods_free(struct k8s_pods *p)
{
	if (!p || p->freed)
		return;
	watch_free(p->watch);
	p->watch = NULL;
	if (p->busy) {
		p->freed = true;
		return; /* on_settled() comes back */
	}
	pods_clear(p);
	free(p->pod);
	free(p->prefix);
	free(p);
}
