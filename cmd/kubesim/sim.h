/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of kubesim share: the server and its connections.
 */
#pragma once
#include <sys/resource.h>

#include "base/buf.h"
#include "base/opts.h"
#include "http.h"
#include "kubemodel/kubemodel.h"
#include "loop/loop.h"

#define SIM_MAX_CONNS	 4096
#define SIM_MAX_REQUESTS 2000 /* log lines that are kept for ctl requests */

struct config {
	const char *listen, *port_file, *kubeconfig_out, *state_dir, *faults_file, *log_file;
	const char *token, *token_file, *operator_ns, *operator_set;
	struct opt_list nodes, labels, faults, stuck;
	uint64_t n_nodes, history, bookmark_ms, watch_ms, leave_ms, return_ms;
	bool with_operator, gone_as_http, no_anonymous;
	char **command; /* NULL: none */
};
/* OPTS_OK: *config is complete and checked.  Else exit: 0 after OPTS_DONE, 2 after OPTS_BAD. */
enum opts_result config_load(struct config *config, int argc, char **argv);

/* Lines about requests, in the file and in memory. */
struct requests {
	int fd;			      /* -1: no file */
	char *line[SIM_MAX_REQUESTS]; /* ring; line of request i is line[i % SIM_MAX_REQUESTS] */
	uint64_t n_lines, count, bytes_in, bytes_out;
};

struct churn {
	char node[64];
	uint64_t count, done, rate, began_ms;
};

struct sim {
	struct config config;
	struct loop *loop;
	struct kubemodel *model;
	struct kubemodel_faults faults; /* of --fault and of control requests */
	struct kubemodel_faults file_faults;
	struct timespec file_mtime;
	off_t file_size;
	struct requests requests;
	struct conn *conns;
	size_t n_conns;
	int listener; /* -1 during an outage */
	uint16_t port;
	struct source *accept, *tick, *outage, *churning;
	struct churn churn;
	uint64_t pumped; /* version up to which watches were served */
	pid_t child;
	struct rlimit files; /* as they were, for the command */
	char token[128], kubeconfig[4096];
};

/* ---- server.c ---- */
int server_open(struct sim *s, struct err *err) MUST_CHECK;
void server_close(struct sim *s);
void server_changed(struct sim *s); /* the model may have moved: serve watches, set the timer */
void server_outage(struct sim *s, uint64_t ms);
void server_drop_watches(struct sim *s);
int server_churn(struct sim *s, const char *node, uint64_t count, uint64_t rate,
		 struct err *err) MUST_CHECK;
/* The faults that hit a request; those that hit the server are done. True: *own is filled. */
bool server_faults(struct sim *s, uint64_t number, const struct http_request *rq,
		   struct kubemodel_fault *own);

/* ---- conn.c ---- */
void conn_accept(struct sim *s, int takes_fd);
void conn_pump_all(struct sim *s);
void conn_reset_all(struct sim *s, bool only_watches);
void conn_close_all(struct sim *s);
void conn_sweep(struct sim *s); /* frees what was closed; call at the end of a callback */

/* ---- control.c: /kubesim/... ---- */
bool control_is(const char *target);
void control_handle(struct sim *s, const struct http_request *rq, struct rd body,
		    struct kubemodel_answer *out);

int token_new(struct sim *s, bool keep_old, struct err *err) MUST_CHECK; /* and write it */

/* ---- requests.c ---- */
int requests_open(struct requests *r, const char *path, struct err *err) MUST_CHECK;
void requests_close(struct requests *r);
void requests_add(struct requests *r, uint64_t number, const char *verb, const char *target,
		  int code, size_t bytes, const char *agent, const char *fault);
int requests_print(const struct sim *s, struct buf *out, struct err *err) MUST_CHECK;
void requests_reset(struct requests *r);

/* ---- kubeconfig.c ---- */
int kubeconfig_write(struct sim *s, struct err *err) MUST_CHECK;
int kubeconfig_read_server(const char *path, char *out, size_t size, struct err *err) MUST_CHECK;
int token_write(struct sim *s, struct err *err) MUST_CHECK; /* where --token-file says */

/* ---- child.c ---- */
int child_start(struct sim *s, struct err *err) MUST_CHECK;

/* ---- ctl.c ---- */
int ctl_main(int argc, char **argv);
