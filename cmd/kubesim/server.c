/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listener and the one timer that moves the model: pods that leave and return, watches that
 * have something to say, bookmarks, time-outs.  Also what scripts do to the server as a whole.
 */
#include "sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

#define LATE_MS	      10 /* pause before looking again at a watch that cannot be served now */
#define CHURN_MS      10
#define CHURN_AT_ONCE 500

/* ---- the listener ---- */

static int address_parse(const char *text, struct sockaddr_in *out, struct err *err)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	uint64_t port;

	*out = (struct sockaddr_in){ .sin_family = AF_INET };
	if (!colon || !str_copyn(host, sizeof(host), text, (size_t)(colon - text)) ||
	    !str_u64(colon + 1, 65535, &port) || inet_pton(AF_INET, host, &out->sin_addr) != 1)
		return err_set(err, ERR_INVALID, "%s: not an IPv4 address and port", text);
	if (ntohl(out->sin_addr.s_addr) >> 24 != 127)
		return err_set(err, ERR_INVALID,
			       "%s: only loopback, because tests control it without a password",
			       text);
	out->sin_port = htons((uint16_t)port);
	return 0;
}

static void on_accept(struct source *src, int fd, uint32_t events, void *arg)
{
	struct sim *s = arg;
	int one = 1, conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)src;
	(void)events;
	if (conn < 0)
		return;
	(void)setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conn_accept(s, conn);
	conn_sweep(s);
}

static int listen_on(struct sim *s, const struct sockaddr_in *at, struct err *err)
{
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in got;
	socklen_t size = sizeof(got);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&got, &size) < 0)
		return err_errno(err, "listening on %s", s->config.listen);
	if (loop_add_fd(s->loop, fd, EPOLLIN, on_accept, s, &s->accept, err) < 0)
		return -1;
	s->port = ntohs(got.sin_port);
	s->listener = TAKE_FD(fd);
	return 0;
}

static void listener_close(struct sim *s)
{
	source_free(s->accept);
	s->accept = NULL;
	if (s->listener >= 0)
		close(s->listener);
	s->listener = -1;
}

/* ---- the model's time ---- */

static void tick_arm(struct sim *s)
{
	uint64_t due = kubemodel_due_ms(s->model), now = now_ms();

	if (due == UINT64_MAX)
		timer_disarm(s->tick);
	else
		timer_arm(s->tick, due > now ? due - now : LATE_MS);
}

static void on_tick(struct source *src, void *arg)
{
	struct sim *s = arg;

	(void)src;
	kubemodel_tick(s->model);
	s->pumped = kubemodel_version(s->model);
	conn_pump_all(s);
	conn_sweep(s);
	tick_arm(s);
}

void server_changed(struct sim *s)
{
	if (kubemodel_version(s->model) == s->pumped)
		tick_arm(s);
	else if (timer_left_ms(s->tick) > 0) /* arming it again would put it off again */
		timer_arm(s->tick, 0);
}

/* ---- what scripts do to the server ---- */

static void on_outage_over(struct source *src, void *arg)
{
	struct sim *s = arg;
	struct err err = ERR_INIT;
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(s->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	if (listen_on(s, &at, &err) < 0)
		timer_arm(src, LATE_MS); /* the port may still be on its way out */
}

void server_outage(struct sim *s, uint64_t ms)
{
	listener_close(s);
	conn_reset_all(s, false);
	timer_arm(s->outage, ms);
}

void server_drop_watches(struct sim *s)
{
	conn_reset_all(s, true);
}

/* In steps that a watch can follow, however short the history. */
static void on_churn(struct source *src, void *arg)
{
	struct sim *s = arg;
	struct churn *c = &s->churn;
	struct err err = ERR_INIT;
	uint64_t half = s->config.history / 2;
	uint64_t step = half < CHURN_AT_ONCE ? half + 1 : CHURN_AT_ONCE;
	uint64_t due = c->rate ? (now_ms() - c->began_ms) * c->rate / 1000 : c->count;

	if (due > c->done + step)
		due = c->done + step;
	for (; c->done < due && c->done < c->count; c->done++)
		if (kubemodel_churn_node(s->model, c->node, (unsigned)c->done, &err) < 0)
			c->count = c->done; /* the node has gone: so has the work */
	if (c->done < c->count)
		timer_arm(src, c->rate ? CHURN_MS : 0);
	server_changed(s);
}

int server_churn(struct sim *s, const char *node, uint64_t count, uint64_t rate, struct err *err)
{
	if (s->churn.done < s->churn.count)
		return err_set(err, ERR_BUSY, "node %s is still being updated", s->churn.node);
	if (kubemodel_churn_node(s->model, node, 1, err) < 0)
		return -1;
	s->churn = (struct churn){ .count = count, .done = 1, .rate = rate, .began_ms = now_ms() };
	str_copy(s->churn.node, sizeof(s->churn.node), node);
	timer_arm(s->churning, 0);
	return 0;
}

/* The script's file is read again when it was written since. */
static void faults_refresh(struct sim *s)
{
	AUTO_BUF text = BUF_INIT(1u << 20);
	struct err err = ERR_INIT;
	struct stat st;

	if (!s->config.faults_file || stat(s->config.faults_file, &st) < 0 ||
	    (st.st_mtim.tv_sec == s->file_mtime.tv_sec &&
	     st.st_mtim.tv_nsec == s->file_mtime.tv_nsec && st.st_size == s->file_size))
		return;
	s->file_mtime = st.st_mtim;
	s->file_size = st.st_size; /* two writes may share a tick of the file's clock */
	if (file_read(s->config.faults_file, &text, &err) < 0 ||
	    kubemodel_faults_parse(buf_str(&text), &s->file_faults, &err) < 0)
		fprintf(stderr, "kubesim: %s: %s; the old faults stay\n", s->config.faults_file,
			err_text(&err));
}

static void server_fault_do(struct sim *s, const struct kubemodel_fault *f)
{
	switch (f->action) {
	case KUBEMODEL_COMPACT:
		kubemodel_compact(s->model);
		break;
	case KUBEMODEL_DROP_WATCHES:
		server_drop_watches(s);
		break;
	case KUBEMODEL_EXPIRE_TOKEN:
		kubemodel_expire_token(s->model);
		break;
	case KUBEMODEL_OUTAGE:
		server_outage(s, f->ms);
		break;
	default:
		break;
	}
}

bool server_faults(struct sim *s, uint64_t number, const struct http_request *rq,
		   struct kubemodel_fault *own)
{
	const char *verb = kubemodel_verb(rq->method, rq->target);
	struct kubemodel_faults *sets[] = { &s->faults, &s->file_faults };
	bool has_own = false;

	faults_refresh(s);
	for (size_t k = 0; k < ARRAY_LEN(sets); k++) {
		const struct kubemodel_fault *hit[KUBEMODEL_MAX_FAULTS];
		size_t n =
			kubemodel_faults_match(sets[k], number, verb, rq->target, rq->agent, hit);

		for (size_t i = 0; i < n; i++) {
			if (kubemodel_fault_is_servers(hit[i])) {
				server_fault_do(s, hit[i]);
			} else if (!has_own) {
				*own = *hit[i];
				has_own = true;
			}
		}
	}
	return has_own;
}

/* ---- from beginning to end ---- */

int server_open(struct sim *s, struct err *err)
{
	struct sockaddr_in at;

	faults_refresh(s);
	if (address_parse(s->config.listen, &at, err) < 0 || listen_on(s, &at, err) < 0 ||
	    loop_add_timer(s->loop, on_tick, s, &s->tick, err) < 0 ||
	    loop_add_timer(s->loop, on_churn, s, &s->churning, err) < 0 ||
	    loop_add_timer(s->loop, on_outage_over, s, &s->outage, err) < 0)
		return -1;
	server_changed(s);
	return 0;
}

void server_close(struct sim *s)
{
	listener_close(s);
	conn_close_all(s);
	conn_sweep(s);
}
