/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we write: merge patches of a node's labels and annotations, evictions of pods.
 */
#include <string.h>

#include "json/json.h"
#include "k8s/internal.h"

#define BODY_MAX_BYTES (1 << 20)
#define ONLY_METADATA                                                                              \
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

static void put_pairs(struct json_put *w, const char *key, const struct k8s_pair *pairs, size_t n)
{
	if (n == 0)
		return;
	json_put_key(w, key);
	json_put_object(w);
	for (size_t i = 0; i < n; i++)
		json_put_member_str(w, pairs[i].key, pairs[i].value);
	json_put_end(w);
}

static int patch_body(const struct k8s_node_patch *p, struct buf *out, struct err *err)
{
	struct json_put w = json_put_to(out);

	json_put_object(&w);
	json_put_key(&w, "metadata");
	json_put_object(&w);
	if (p->if_version)
		json_put_member_str(&w, "resourceVersion", p->if_version);
	put_pairs(&w, "labels", p->labels, p->n_labels);
	put_pairs(&w, "annotations", p->annotations, p->n_annotations);
	json_put_end(&w);
	json_put_end(&w);
	return json_put_done(&w, err);
}

int k8s_patch_node(struct k8s_client *c, const struct k8s_node_patch *patch, struct k8s_call **out,
		   struct err *err)
{
	AUTO_BUF body = BUF_INIT(BODY_MAX_BYTES);
	AUTO_BUF path = BUF_INIT(1024);
	AUTO_BUF what = BUF_INIT(1024);
	struct k8s_request r = {
		.verb = "patch",
		.accept = ONLY_METADATA,
		.deadline_ms = patch->deadline_ms,
		.on_done = patch->on_done,
		.arg = patch->arg,
	};

	if (patch_body(patch, &body, err) < 0 || buf_adds(&path, "/api/v1/nodes/", err) < 0 ||
	    http_escape(&path, patch->node, err) < 0 ||
	    buf_addf(&what, err, "patching node %s", patch->node) < 0)
		return err_wrap(err, "patching a node");
	r.path = path.data;
	r.what = what.data;
	r.body = buf_rd(&body);
	return k8s_start(c, &r, out, err);
}

static int eviction_body(const char *ns, const char *name, struct buf *out, struct err *err)
{
	struct json_put w = json_put_to(out);

	json_put_object(&w);
	json_put_member_str(&w, "apiVersion", "policy/v1");
	json_put_member_str(&w, "kind", "Eviction");
	json_put_key(&w, "metadata");
	json_put_object(&w);
	json_put_member_str(&w, "name", name);
	json_put_member_str(&w, "namespace", ns);
	json_put_end(&w);
	json_put_end(&w);
	return json_put_done(&w, err);
}

int k8s_evict_pod(struct k8s_client *c, const char *ns, const char *name, uint32_t deadline_ms,
		  k8s_on_done *on_done, void *arg, struct k8s_call **out, struct err *err)
{
	AUTO_BUF body = BUF_INIT(BODY_MAX_BYTES);
	AUTO_BUF path = BUF_INIT(2048);
	AUTO_BUF what = BUF_INIT(1024);
	struct k8s_request r = {
		.verb = "evict", .deadline_ms = deadline_ms, .on_done = on_done, .arg = arg
	};

	if (eviction_body(ns, name, &body, err) < 0 ||
	    buf_adds(&path, "/api/v1/namespaces/", err) < 0 || http_escape(&path, ns, err) < 0 ||
	    buf_adds(&path, "/pods/", err) < 0 || http_escape(&path, name, err) < 0 ||
	    buf_adds(&path, "/eviction", err) < 0 ||
	    buf_addf(&what, err, "evicting pod %s/%s", ns, name) < 0)
		return err_wrap(err, "evicting a pod");
	r.path = path.data;
	r.what = what.data;
	r.body = buf_rd(&body);
	return k8s_start(c, &r, out, err);
}
