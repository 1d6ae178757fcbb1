/* SPDX-License-Identifier: Apache-2.0 */
/*
 * k8s - what a node agent needs of Kubernetes: a config, requests that retry, a view of its node
 * that keeps itself up to date, pods, evictions, events.
 *
 * In:       a kubeconfig or the pod's service account; answers of an API server, trusted for their
 *           origin and not for their shape.
 * Out:      callbacks from the event loop.  Objects handed to them are borrowed for their duration.
 * Owns:     each x_new() object until x_free(), which may be called in any callback, its own too.
 *           Free calls, watches and event senders before their client, the client before the loop.
 * Fails:    as http.h says; errors carry the server's own message (Status.message).
 * Does not: log, read the environment, know the program's name.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/http.h"
#include "loop/loop.h"

/* --- where the API server is, and who we are -------------------------------------------------- */

#define K8S_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* What the program found in its flags and environment; NULL where there is nothing.  The first that
 * applies wins: kubeconfig, in-cluster (service_host and service_port), env_kubeconfig (which may be
 * a list with colons), home/.kube/config. */
struct k8s_config_sources {
	const char *kubeconfig; /* --kubeconfig */
	const char *service_host,
		*service_port;		 /* KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT */
	const char *service_account_dir; /* NULL: K8S_SERVICE_ACCOUNT_DIR */
	const char *env_kubeconfig;	 /* KUBECONFIG */
	const char *home;		 /* HOME */
};

struct k8s_config;

/* ERR_INVALID with "FILE:LINE: what" for a kubeconfig that is not well-formed, ERR_UNSUPPORTED for
 * one that wants a plug-in (exec, auth-provider), ERR_NOT_FOUND when there is none at all. */
int k8s_config_load(const struct k8s_config_sources *sources, struct k8s_config **out,
		    struct err *err) MUST_CHECK;
void k8s_config_free(struct k8s_config *c);
DEFINE_AUTO(struct k8s_config *, k8s_config_free);

const char *k8s_config_origin(const struct k8s_config *c); /* the file, or the directory */
const char *k8s_config_server(const struct k8s_config *c); /* https://... */
const char *
k8s_config_namespace(const struct k8s_config *c); /* the context's or account's, or NULL */

/* --- client ----------------------------------------------------------------------------------- */

struct k8s_client;

/* The config is borrowed, must outlive the client, and is where a token that rotates is read anew.
 * `field_manager` goes with each write. */
int k8s_client_new(struct loop *loop, struct k8s_config *config, const char *user_agent,
		   const char *field_manager, struct k8s_client **out, struct err *err) MUST_CHECK;
void k8s_client_free(struct k8s_client *c);
DEFINE_AUTO(struct k8s_client *, k8s_client_free);

enum k8s_restart {
	K8S_RESTART_END,	 /* the server's time was up: the normal case */
	K8S_RESTART_GONE,	 /* 410: list again */
	K8S_RESTART_ERROR_EVENT, /* ERROR event other than 410 */
	K8S_RESTART_HTTP,	 /* refused with a status code */
	K8S_RESTART_NETWORK,
	K8S_RESTART_IDLE,     /* silent for longer than the server promised to stay */
	K8S_RESTART_BAD_DATA, /* not JSON, not an event, line too long */
	K8S_N_RESTARTS
};
extern const char *const k8s_restart_names[K8S_N_RESTARTS]; /* "end", "gone", ... for metrics */

#define K8S_STATS_ROWS 48

struct k8s_stats {
	size_t n;
	struct {
		const char *verb; /* get list watch patch create delete evict; a literal */
		int code;	  /* HTTP status; 0: no answer */
		uint64_t count;
	} requests[K8S_STATS_ROWS]; /* when full, others are counted in the last row */
	uint64_t watch_restarts[K8S_N_RESTARTS];
	struct http_stats http;
};
void k8s_client_stats(const struct k8s_client *c, struct k8s_stats *out);

/* --- one request ------------------------------------------------------------------------------ */

struct k8s_call;

typedef void k8s_on_done(void *arg, const struct http_response *response, const struct err *err);

/* ERR_TRANSIENT and time-outs of one attempt are tried again with backoff, or when the server said
 * (Retry-After), until the deadline; the error is then the last one's.  401 reads the token again
 * and tries once more.  Deleting or evicting what is gone already is a success. */
struct k8s_request {
	const char
		*verb; /* get list patch create delete evict: picks the method, counts in stats */
	const char *path;     /* "/api/v1/nodes/n1?..." */
	const char *what;     /* for errors: "patching node n1" */
	const char *accept;   /* NULL: application/json */
	struct rd body;	      /* JSON; a merge patch for "patch" */
	size_t max_bytes;     /* of the answer; HTTP_MAX_BYTES */
	uint32_t deadline_ms; /* all attempts together; 30 s */
	bool once;	      /* no second attempt */
	k8s_on_done *on_done; /* NULL: nobody waits */
	void *arg;
};

int k8s_start(struct k8s_client *c, const struct k8s_request *request, struct k8s_call **out,
	      struct err *err) MUST_CHECK;
void k8s_cancel(struct k8s_call *call); /* no callback follows; NULL is accepted */

struct k8s_pair {
	const char *key, *value; /* in patches: value NULL deletes the key */
};

/* A JSON merge patch of these keys and nothing else.  The answer's body is PartialObjectMetadata. */
struct k8s_node_patch {
	const char *node;
	const char *if_version; /* only while the node is still at this version, else ERR_CONFLICT;
				   NULL: at any */
	const struct k8s_pair *labels, *annotations;
	size_t n_labels, n_annotations;
	uint32_t deadline_ms;
	k8s_on_done *on_done;
	void *arg;
};
int k8s_patch_node(struct k8s_client *c, const struct k8s_node_patch *patch, struct k8s_call **out,
		   struct err *err) MUST_CHECK;

/* policy/v1 eviction.  A disruption budget in the way (429) is waited for until the deadline, then
 * ERR_TRANSIENT with code 429. */
int k8s_evict_pod(struct k8s_client *c, const char *ns, const char *name, uint32_t deadline_ms,
		  k8s_on_done *on_done, void *arg, struct k8s_call **out,
		  struct err *err) MUST_CHECK;

/* --- what we keep of objects ------------------------------------------------------------------ */

#define K8S_MAP_MAX_PAIRS 512
#define K8S_MAP_MAX_BYTES (512 << 10)

struct k8s_map { /* sorted by key */
	size_t n;
	struct k8s_pair *pair;
};
const char *k8s_map_get(const struct k8s_map *m, const char *key); /* NULL when absent */
bool k8s_map_equal(const struct k8s_map *a, const struct k8s_map *b);

/* --- our node, kept up to date ---------------------------------------------------------------- */

struct k8s_node {
	bool exists; /* false: deleted, or never there; then all else is empty */
	const char *name, *uid;
	const char
		*version; /* resourceVersion: what `labels` were read at; others' writes that touch
				   nothing of ours move it too */
	struct k8s_map labels, annotations; /* only keys that start with the prefix */
};

struct k8s_reflector;

/* After the first list, and from then on each time that something of `node` changed.  Several changes
 * that arrive together may be one call, with the newest. */
typedef void k8s_on_node(void *arg, const struct k8s_node *node);
/* The link came up (why->kind is ERR_NONE) or went down.  A watch that ends in the usual way and is
 * taken up again is neither. */
typedef void k8s_on_link(void *arg, bool up, const struct err *why);

struct k8s_reflector_config {
	const char *node;
	const char *key_prefix; /* "nvidia.com/" */
	k8s_on_node *on_node;
	k8s_on_link *on_link; /* may be NULL */
	void *arg;
};

/* Lists at once, then watches for ever: it never gives up. */
int k8s_reflector_new(struct k8s_client *c, const struct k8s_reflector_config *config,
		      struct k8s_reflector **out, struct err *err) MUST_CHECK;
void k8s_reflector_free(struct k8s_reflector *r);
DEFINE_AUTO(struct k8s_reflector *, k8s_reflector_free);

struct k8s_link {
	bool synced;	   /* the first list has arrived */
	bool up;	   /* the watch runs, or has just ended in the usual way */
	uint64_t since_ms; /* when `up` last changed, on the monotonic clock */
	struct err why;	   /* while it is down */
};
void k8s_reflector_link(const struct k8s_reflector *r, struct k8s_link *out);
const struct k8s_node *k8s_reflector_node(const struct k8s_reflector *r); /* NULL before the list */

/* Takes over the node as the answer to a patch of it had it, so that our own writes are seen at once.
 * From then on events of the watch that are older are passed over, as is an answer older than what we
 * have: versions that are numbers compare as such.  Where they are not, nothing is taken over, and the
 * watch tells.  Calls on_node before it returns when something changed. */
int k8s_reflector_offer(struct k8s_reflector *r, struct rd body, struct err *err) MUST_CHECK;

/* --- pods on a node --------------------------------------------------------------------------- */

struct k8s_pod {
	const char *ns, *name, *uid;
	const char *owner_kind, *owner_name; /* the controller; "" for none */
	bool leaving;			     /* has a deletionTimestamp */
	bool finished;	     /* phase Succeeded or Failed; only with resource_prefix */
	bool wants_resource; /* see resource_prefix */
	struct k8s_map labels;
};

struct k8s_pods;

/* The whole set: once when the list has arrived, then each time that it changed. */
typedef void k8s_on_pods(void *arg, const struct k8s_pod *pods, size_t n);

struct k8s_pods_config {
	const char *ns;	  /* NULL: all namespaces */
	const char *node; /* spec.nodeName */
	/* When set, whole pods are fetched, wants_resource says which request a resource whose name
	 * starts so, and pods that do not are left out of the set. */
	const char *resource_prefix;
	k8s_on_pods *on_pods;
	k8s_on_link *on_link; /* may be NULL */
	void *arg;
};

#define K8S_MAX_PODS 4096 /* on one node; more is an error of the list */

/* Lists at once, then watches until freed.  Freed in the first on_pods it is a list and no watch. */
int k8s_pods_new(struct k8s_client *c, const struct k8s_pods_config *config, struct k8s_pods **out,
		 struct err *err) MUST_CHECK;
void k8s_pods_free(struct k8s_pods *p);
DEFINE_AUTO(struct k8s_pods *, k8s_pods_free);

/* --- events on a node ------------------------------------------------------------------------- */

struct k8s_events;

/* Sends events about `node` in the namespace "default", as the kubelet does.  The same event again
 * within ten minutes raises a count instead of making another; bursts over 20 are dropped. */
int k8s_events_new(struct k8s_client *c, const char *component, const char *node,
		   struct k8s_events **out, struct err *err) MUST_CHECK;
void k8s_events_free(struct k8s_events *e); /* drops what is not sent yet */
DEFINE_AUTO(struct k8s_events *, k8s_events_free);

/* Returns at once; what cannot be sent within a minute is dropped and counted. */
void k8s_event(struct k8s_events *e, bool warning, const char *reason, const char *message);
size_t
k8s_events_pending(const struct k8s_events *e); /* not yet answered: wait for 0 before exit */
uint64_t k8s_events_dropped(const struct k8s_events *e, struct err *last);
