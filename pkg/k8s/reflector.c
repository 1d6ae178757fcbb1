/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our node as the API server last told it: a few kilobytes, and a call when they changed.
 */
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "json/json.h"
#include "k8s/internal.h"

struct k8s_reflector {
	struct k8s_client *client;
	struct watch *watch;
	char *prefix;
	k8s_on_node *on_node;
	k8s_on_link *on_link;
	void *arg;

	struct k8s_node node;
	char *name, *uid, *version; /* node points to them */
	struct k8s_link link;
	bool link_told;
	bool listing; /* a list is being read: it counts, whatever we had; etcd may be an older one */
	bool listed_it; /* ... and it has the node */
	bool changed;
	uint64_t hash,
		next_hash; /* of the event that `node` is from, of the one being read; 0: unknown */
	unsigned busy;	   /* callbacks of ours are on the stack */
	bool freed;
};

static int replace(char **text, const char *with, struct err *err)
{
	char *copy;

	if (*text && strcmp(*text, with) == 0)
		return 0;
	copy = strdup(with);
	if (!copy)
		return err_nomem(err);
	free(*text);
	*text = copy;
	return 0;
}

static void point(struct k8s_reflector *r)
{
	r->node.name = r->name;
	r->node.uid = r->node.exists ? r->uid : "";
	r->node.version = r->version;
}

static void set_absent(struct k8s_reflector *r)
{
	r->changed |= r->node.exists || !r->link.synced;
	r->node.exists = false;
	map_clear(&r->node.labels);
	map_clear(&r->node.annotations);
	point(r);
}

/* Takes the maps over, one by one, when they differ. */
static bool take_map(struct k8s_map *have, struct k8s_map *fresh)
{
	bool same = k8s_map_equal(have, fresh);
	struct k8s_map old = *have;

	if (!same) {
		*have = *fresh;
		*fresh = old;
	}
	map_clear(fresh);
	return !same;
}

static int set_present(struct k8s_reflector *r, const struct meta *meta, struct err *err)
{
	const char *uid = meta->uid ? meta->uid : "";
	bool other = !r->node.exists || !str_eq(r->uid, uid);
	struct k8s_map labels, annotations;

	if (map_read(meta->labels, "metadata.labels", r->prefix, &labels, err) < 0)
		return -1;
	if (map_read(meta->annotations, "metadata.annotations", r->prefix, &annotations, err) < 0 ||
	    replace(&r->uid, uid, err) < 0) {
		map_clear(&labels);
		map_clear(&annotations);
		return -1;
	}
	r->node.exists = true;
	r->changed |= other;
	r->changed |= take_map(&r->node.labels, &labels);
	r->changed |= take_map(&r->node.annotations, &annotations);
	point(r);
	return 0;
}

static bool is_older(const struct k8s_reflector *r, const char *version)
{
	int order;

	return !r->listing && version_compare(version, r->version, &order) && order <= 0;
}

static int take(struct k8s_reflector *r, const struct meta *meta, bool deleted, struct err *err)
{
	r->hash = 0;
	if (replace(&r->version, meta->version, err) < 0)
		return -1;
	if (!deleted)
		return set_present(r, meta, err);
	set_absent(r);
	return 0;
}

/* --- what the watch tells --------------------------------------------------------------------- */

static void on_begin(void *arg)
{
	struct k8s_reflector *r = arg;

	r->listing = true;
	r->listed_it = false;
}

static int on_object(void *arg, enum event_type type, const json_t *object, struct err *err)
{
	struct k8s_reflector *r = arg;
	struct meta meta;

	if (meta_read(object, &meta, err) < 0)
		return -1;
	if (!str_eq(meta.name, r->name))
		return 0;
	if (!meta.version)
		return err_set(err, ERR_INVALID, "metadata.resourceVersion: is missing");
	r->listed_it = true;
	if (is_older(r, meta.version))
		return 0;
	if (take(r, &meta, type == EVENT_DELETED, err) < 0)
		return -1;
	r->hash = r->listing || type == EVENT_DELETED ? 0 : r->next_hash;
	return 0;
}

static bool text_is(struct rd text, const char *s)
{
	return text.left == strlen(s) && memcmp(text.p, s, text.left) == 0;
}

static bool on_skim(void *arg, struct rd line, char *version, size_t size)
{
	struct k8s_reflector *r = arg;
	struct err ignored = ERR_INIT;
	struct skim s;

	r->next_hash = 0;
	if (!event_skim(line, r->prefix, &s))
		return false;
	r->next_hash = s.hash;
	if (s.hash != r->hash || !r->node.exists || !text_is(s.type, "MODIFIED") ||
	    !text_is(s.name, r->name) || !text_is(s.uid, r->uid) || s.version.left >= size)
		return false;
	str_copyn(version, size, (const char *)s.version.p, s.version.left);
	if (is_older(r, version))
		return true;
	if (replace(&r->version, version, &ignored) < 0)
		return false;
	point(r);
	return true;
}

static void tell(struct k8s_reflector *r)
{
	r->busy++;
	if (r->changed && r->link.synced) {
		r->changed = false;
		r->on_node(r->arg, &r->node);
	}
	if (--r->busy == 0 && r->freed) {
		r->freed = false;
		k8s_reflector_free(r);
	}
}

static void on_settled(void *arg, bool listed)
{
	struct k8s_reflector *r = arg;

	if (listed)
		r->listing = false;
	if (listed && !r->listed_it)
		set_absent(r);
	if (listed && !r->link.synced) {
		r->link.synced = true;
		r->changed = true;
	}
	tell(r);
}

static void on_link(void *arg, bool up, const struct err *why)
{
	struct k8s_reflector *r = arg;
	bool news = !r->link_told || up != r->link.up;

	r->link.why = *why;
	if (!news)
		return;
	r->link_told = true;
	r->link.up = up;
	r->link.since_ms = now_ms();
	if (r->on_link)
		r->on_link(r->arg, up, &r->link.why);
}

static const struct watch_ops ops = {
	.skim = on_skim,
	.begin = on_begin,
	.object = on_object,
	.settled = on_settled,
	.link = on_link,
};

/* --- life ------------------------------------------------------------------------------------- */

static int start_watch(struct k8s_reflector *r, struct err *err)
{
	AUTO_BUF selector = BUF_INIT(2048);
	AUTO_BUF what = BUF_INIT(1024);
	struct watch_config config = { .path = "/api/v1/nodes", .ops = &ops, .arg = r };

	if (buf_adds(&selector, "fieldSelector=metadata.name%3D", err) < 0 ||
	    http_escape(&selector, r->name, err) < 0 ||
	    buf_addf(&what, err, "watching node %s", r->name) < 0)
		return -1;
	config.selector = selector.data;
	config.what = what.data;
	return watch_new(r->client, &config, &r->watch, err);
}

int k8s_reflector_new(struct k8s_client *c, const struct k8s_reflector_config *config,
		      struct k8s_reflector **out, struct err *err)
{
	struct k8s_reflector *r = calloc(1, sizeof(*r));

	if (!r)
		return err_nomem(err);
	r->client = c;
	r->on_node = config->on_node;
	r->on_link = config->on_link;
	r->arg = config->arg;
	r->link.since_ms = now_ms();
	r->link.why = ERR_INIT;
	if (replace(&r->name, config->node, err) < 0 ||
	    replace(&r->prefix, config->key_prefix ? config->key_prefix : "", err) < 0 ||
	    replace(&r->uid, "", err) < 0 || replace(&r->version, "", err) < 0 ||
	    start_watch(r, err) < 0) {
		k8s_reflector_free(r);
		return -1;
	}
	point(r);
	*out = r;
	return 0;
}

void k8s_reflector_free(struct k8s_reflector *r)
{
	if (!r || r->freed)
		return;
	watch_free(r->watch);
	r->watch = NULL;
	if (r->busy) {
		r->freed = true;
		return; /* tell() comes back */
	}
	map_clear(&r->node.labels);
	map_clear(&r->node.annotations);
	free(r->name);
	free(r->uid);
	free(r->version);
	free(r->prefix);
	free(r);
}

void k8s_reflector_link(const struct k8s_reflector *r, struct k8s_link *out)
{
	*out = r->link;
}

const struct k8s_node *k8s_reflector_node(const struct k8s_reflector *r)
{
	return r->link.synced ? &r->node : NULL;
}

/* --- our own writes --------------------------------------------------------------------------- */

int k8s_reflector_offer(struct k8s_reflector *r, struct rd body, struct err *err)
{
	AUTO(json_free) json_t *doc = NULL;
	struct meta meta;
	int order;

	if (json_parse(body, JSON_LIMITS, &doc, err) < 0 || meta_read(doc, &meta, err) < 0)
		return err_wrap(err, "the answer to a patch of node %s", r->name);
	if (!str_eq(meta.name, r->name) || !meta.version)
		return err_set(err, ERR_INVALID,
			       "the answer to a patch of node %s is about another", r->name);
	if (!r->link.synced || !r->node.exists ||
	    !version_compare(meta.version, r->version, &order) || order <= 0)
		return 0;
	if (take(r, &meta, false, err) < 0)
		return -1;
	tell(r);
	return 0;
}
