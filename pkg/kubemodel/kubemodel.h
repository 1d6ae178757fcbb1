/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubemodel - what a Kubernetes API server does, without a socket: objects, versions, watches.
 *
 * In:       one request at a time, as an HTTP server has read it, and the clock of base/clock.
 * Out:      one answer; for a watch a cursor that hands out one line of the stream at a time.
 * Owns:     its objects and their history.  An answer is the caller's until kubemodel_answer_clear().
 * Units:    times in ms of now_ms(); sizes in bytes.
 * Fails:    wrong requests are answered as the real server does, with a Status object.  Out of
 *           memory it aborts: it is a simulator, and nobody could go on with half a cluster.
 * Does not: listen, log, store on disk, authorize (RBAC), convert versions, merge lists
 *           (a strategic merge patch that holds a list is refused), keep a list consistent from
 *           page to page.
 *
 * Kinds: nodes, pods (with eviction), events, namespaces, daemonsets, runtimeclasses.
 * Three parts: the API, the GPU Operator on top of it, and the language of scripted faults, which
 * an HTTP server asks at each request what is to go wrong.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"

#define KUBEMODEL_MAX_BODY    (3u << 20)   /* a request's body, as the real server's limit */
#define KUBEMODEL_MAX_ANSWER  (256u << 20) /* an answer's body or one line of a watch */
#define KUBEMODEL_MAX_OBJECTS 200000u	   /* of one kind */
#define KUBEMODEL_MAX_TARGET  8192u	   /* path and query of a request */

struct kubemodel;
struct kubemodel_watch;

struct kubemodel_config {
	const char *token;    /* bearer token that is asked for; NULL or "": none */
	size_t history;	      /* changes kept for watches; older ones are 410 Gone */
	uint64_t bookmark_ms; /* pause between bookmarks of a watch that allows them */
	uint64_t watch_ms;    /* longest watch without timeoutSeconds */
	uint64_t grace_ms;    /* how long a deleted or evicted pod takes to leave */
	bool anonymous;	      /* let requests in that bring no token at all; a wrong one is 401 */
	bool gone_as_http;    /* 410 for a watch as HTTP status; else 200 and an ERROR event */
};
#define KUBEMODEL_CONFIG_INIT                                                                      \
	((struct kubemodel_config){                                                                \
		.history = 8192,                                                                   \
		.bookmark_ms = 60000,                                                              \
		.watch_ms = 1800000,                                                               \
		.grace_ms = 50,                                                                    \
	})

/* Strings are never NULL; "" is an absent header. */
struct kubemodel_request {
	const char *method, *target; /* "GET", "/api/v1/nodes?watch=1" */
	const char *accept, *content_type, *authorization;
	struct rd body;
};

struct kubemodel_answer {
	int code;
	unsigned retry_after_s; /* 0: no such header */
	const char *content_type;
	struct buf body;
	struct kubemodel_watch *watch; /* not NULL: a stream follows, body is empty */
};

int kubemodel_new(const struct kubemodel_config *config, struct kubemodel **out,
		  struct err *err) MUST_CHECK;
void kubemodel_free(struct kubemodel *m); /* after all its watches */
DEFINE_AUTO(struct kubemodel *, kubemodel_free);

/* Answers one request.  `out` need not be initialised. */
void kubemodel_handle(struct kubemodel *m, const struct kubemodel_request *rq,
		      struct kubemodel_answer *out);
/* The same, whatever token came along: for the tests' own access. */
void kubemodel_handle_trusted(struct kubemodel *m, const struct kubemodel_request *rq,
			      struct kubemodel_answer *out);
void kubemodel_answer_clear(struct kubemodel_answer *a); /* frees the watch too */

/* Answers with a Status object, as the server does when it is in trouble; reason NULL: by code. */
void kubemodel_answer_status(int code, const char *reason, const char *message,
			     struct kubemodel_answer *out);

/* The verb as audit logs spell it: get list watch create update patch delete deletecollection. */
const char *kubemodel_verb(const char *method, const char *target);

/*
 * One line of a watch's stream (JSON and '\n') into `line`, which is emptied first.
 * 1: a line.  0: nothing now.  -1: the stream is over.
 */
int kubemodel_watch_next(struct kubemodel_watch *w, struct buf *line);
void kubemodel_watch_free(struct kubemodel_watch *w);

/* Moves what waits for its time: pods that leave, operands that return.  Call when due. */
void kubemodel_tick(struct kubemodel *m);
uint64_t
kubemodel_due_ms(const struct kubemodel *m); /* of tick and of watches; UINT64_MAX: never */
uint64_t kubemodel_version(const struct kubemodel *m); /* resourceVersion of the last change */

/* What tests do to a server. */
void kubemodel_compact(struct kubemodel *m);		   /* forget all history now */
void kubemodel_bookmarks(struct kubemodel *m, unsigned n); /* each watch gets n of them now */
void kubemodel_set_token(struct kubemodel *m, const char *token, bool keep_old);
void kubemodel_expire_token(struct kubemodel *m); /* no token is good until one is set */
void kubemodel_set_gone_as_http(struct kubemodel *m, bool on);

/* A node as a kubelet registers it; labels as "k=v" lines in one text, may be "". */
int kubemodel_add_node(struct kubemodel *m, const char *name, const char *labels,
		       struct err *err) MUST_CHECK;
int kubemodel_add_namespace(struct kubemodel *m, const char *name, struct err *err) MUST_CHECK;
/* What others write on a node all day: heartbeats in its status, now and then an annotation. */
int kubemodel_churn_node(struct kubemodel *m, const char *name, unsigned nth,
			 struct err *err) MUST_CHECK;

/* All objects as a JSON document, and back; versions go on from where they were. */
int kubemodel_save(const struct kubemodel *m, struct buf *out, struct err *err) MUST_CHECK;
int kubemodel_load(struct kubemodel *m, struct rd in, struct err *err) MUST_CHECK;

/* ---- the GPU Operator: an operand's pods exist while its deploy label is exactly "true" ---- */

#define KUBEMODEL_MAX_OPERANDS 16
struct kubemodel_operator {
	const char *ns;		      /* operator namespace */
	uint64_t leave_ms, return_ms; /* how long a pod takes to go, and to come back */
};
/* Makes the namespace and the operands' DaemonSets, and deals with the nodes there are and come. */
int kubemodel_operator_start(struct kubemodel *m, const struct kubemodel_operator *config,
			     struct err *err) MUST_CHECK;
void kubemodel_operator_pace(struct kubemodel *m, uint64_t leave_ms, uint64_t return_ms);
/* A stuck operand's pods get their deletionTimestamp and never leave. */
int kubemodel_operator_stick(struct kubemodel *m, const char *operand, bool stuck,
			     struct err *err) MUST_CHECK;
/* Node labels of a workload set ("kata", "kubevirt", "vgpu"), as "k=v" lines; NULL: no such set. */
const char *kubemodel_operator_labels(const char *set);

/* ---- scripted faults ----
 *
 * A fault is one line: an action, then options, separated by commas.
 *
 *	status:429,retry-after=2,verb=patch,path=/nodes/,count=3
 *
 * Which requests: verb=, path= (part of path and query), agent= (part of the User-Agent), n=3 or
 * n=3-5 (request number), skip=N (let N matching ones pass), count=N (default 1; count=all).
 */
enum kubemodel_action {
	KUBEMODEL_STATUS,	 /* status:CODE[,reason=][,retry-after=]: not done, answered so */
	KUBEMODEL_RESET_BEFORE,	 /* connection reset before the body is read */
	KUBEMODEL_RESET_AFTER,	 /* read, not done, connection reset */
	KUBEMODEL_RESET_APPLIED, /* done, connection reset instead of an answer */
	KUBEMODEL_RESET_MIDDLE,	 /* done, reset in the middle of the answer */
	KUBEMODEL_HANG,		 /* not done, never answered */
	KUBEMODEL_HANG_APPLIED,	 /* done, never answered */
	KUBEMODEL_SLOW,		 /* slow,bytes=N,ms=N: so many bytes in so many ms */
	KUBEMODEL_HALF_LINE,	 /* half of the answer or of the watch's line, then silence */
	KUBEMODEL_TRUNCATED,	 /* half of the JSON as a complete answer or line */
	KUBEMODEL_NOT_JSON,	 /* a proxy's web page instead */
	KUBEMODEL_HUGE,		 /* huge,bytes=N: padded, default 64 MiB */
	KUBEMODEL_NESTED,	 /* nested,depth=N: with so many brackets, default 100000 */
	KUBEMODEL_WRONG_TYPES,	 /* [field=a.b]: that member, or all, of another JSON type */
	KUBEMODEL_CLOSE,	 /* answered, then closed without saying so */
	KUBEMODEL_ERROR_EVENT,	 /* error-event:CODE: in a watch, an ERROR line, then its end */
	/* From here on: done to the server when such a request comes, which then goes its way. */
	KUBEMODEL_COMPACT,
	KUBEMODEL_DROP_WATCHES, /* all streams are reset */
	KUBEMODEL_EXPIRE_TOKEN,
	KUBEMODEL_OUTAGE, /* outage,ms=N: everything reset, nobody listens for so long */
	KUBEMODEL_N_ACTIONS
};

#define KUBEMODEL_MAX_FAULTS 64
struct kubemodel_fault {
	enum kubemodel_action action;
	uint64_t code, retry_after_s, bytes, ms, depth;
	uint64_t event;	      /* which line of a watch is hit; from 1 */
	uint64_t first, last; /* request numbers; last 0: any */
	uint64_t skip, count; /* count 0: all */
	uint64_t seen, hits;
	char verb[24], path[256], agent[64], reason[64], field[128];
	char spec[512]; /* as it was given */
};
struct kubemodel_faults {
	size_t n;
	struct kubemodel_fault fault[KUBEMODEL_MAX_FAULTS];
};

int kubemodel_fault_parse(const char *spec, struct kubemodel_fault *out,
			  struct err *err) MUST_CHECK;
/* Lines; blank ones and those that begin with '#' are passed over.  All or nothing. */
int kubemodel_faults_parse(const char *text, struct kubemodel_faults *out,
			   struct err *err) MUST_CHECK;
/* Counts the request and says which faults hit it: any number of a server's, at most one of the
 * request's own, which is the last of the result. */
size_t kubemodel_faults_match(struct kubemodel_faults *fs, uint64_t number, const char *verb,
			      const char *target, const char *agent,
			      const struct kubemodel_fault *out[KUBEMODEL_MAX_FAULTS]);
bool kubemodel_fault_is_servers(const struct kubemodel_fault *f);
/* Spoils a body or a line of a watch in place, where the action is one that spoils. */
int kubemodel_fault_spoil(const struct kubemodel_fault *f, struct buf *body,
			  struct err *err) MUST_CHECK;
