/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: requests are read, answered in order, and a watch takes the connection over until
 * it ends.  Faults act here: they cut, stretch or silence what is written.
 */
#include "sim.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

#define OUT_HIGH    (256u << 10) /* a watch is not asked for more above this */
#define OUT_COMPACT (1u << 20)

enum state {
	READING,
	STREAMING, /* a watch */
	SILENT,	   /* nothing is ever said again; only the client can end it */
};
enum then { GO_ON, THEN_RESET, THEN_SILENCE, THEN_CLOSE };

struct conn {
	struct sim *sim;
	struct conn *next, **prev;
	int fd;
	struct source *io, *pace;
	bool dead, reset;
	enum state state;
	struct buf in, out, body;
	size_t out_at;	/* written so far of `out` */
	size_t stop_at; /* of `out`, where `then` happens */
	enum then then;
	struct http_request rq;
	bool has_head, counted; /* counted: not a control request */
	uint64_t number;
	struct kubemodel_fault fault;
	bool has_fault;
	struct kubemodel_watch *watch;
	uint64_t lines, stream_bytes;
	bool more;    /* the watch has more to say than there was room for */
	size_t quota; /* bytes that a slow answer may send before the next tick */
};

static void conn_kill(struct conn *c, bool reset)
{
	c->dead = true;
	c->reset = c->reset || reset;
}

static void conn_free(struct conn *c)
{
	struct linger now = { .l_onoff = 1 };

	if (c->watch && c->counted)
		requests_add(&c->sim->requests, c->number, "watch-end", c->rq.target, 200,
			     c->stream_bytes, c->rq.agent, NULL);
	kubemodel_watch_free(c->watch);
	source_free(c->io);
	source_free(c->pace);
	if (c->reset)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(c->fd);
	buf_clear(&c->in);
	buf_clear(&c->out);
	buf_clear(&c->body);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->sim->n_conns--;
	free(c);
}

void conn_sweep(struct sim *s)
{
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		if (c->dead)
			conn_free(c);
	}
}

void conn_reset_all(struct sim *s, bool only_watches)
{
	for (struct conn *c = s->conns; c; c = c->next)
		if (c->counted && (!only_watches || c->watch))
			conn_kill(c, true);
}

void conn_close_all(struct sim *s)
{
	for (struct conn *c = s->conns; c; c = c->next)
		conn_kill(c, false);
}

/* ---- writing ---- */

static bool has_fault(const struct conn *c, enum kubemodel_action action)
{
	return c->has_fault && c->fault.action == action;
}

static void then_do(struct conn *c)
{
	switch (c->then) {
	case GO_ON:
		break;
	case THEN_RESET:
		conn_kill(c, true);
		break;
	case THEN_CLOSE:
		conn_kill(c, false);
		break;
	case THEN_SILENCE:
		c->state = SILENT;
		break;
	}
}

static void want_events(struct conn *c, bool writing)
{
	struct err err = ERR_INIT;
	uint32_t events = EPOLLRDHUP | (c->state == READING ? (uint32_t)EPOLLIN : 0u) |
			  (writing ? (uint32_t)EPOLLOUT : 0u);

	if (source_set_events(c->io, events, &err) < 0)
		conn_kill(c, true);
}

/* How much may be written now. */
static size_t room(const struct conn *c, size_t end)
{
	size_t n = end - c->out_at;

	return has_fault(c, KUBEMODEL_SLOW) && n > c->quota ? c->quota : n;
}

static void out_settle(struct conn *c)
{
	if (c->out_at == c->out.len) {
		buf_reset(&c->out);
		if (c->out.cap > 2 * OUT_HIGH)
			buf_clear(&c->out);
		c->out_at = 0;
	} else if (c->out_at > OUT_COMPACT && c->then == GO_ON) {
		buf_consume(&c->out, c->out_at);
		c->out_at = 0;
	}
}

static void conn_flush(struct conn *c)
{
	size_t end = c->then == GO_ON ? c->out.len : c->stop_at, n;
	bool blocked = false;

	while (!c->dead && !blocked && c->state != SILENT && (n = room(c, end)) > 0) {
		ssize_t w = send(c->fd, c->out.data + c->out_at, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (w < 0) {
			blocked = errno == EAGAIN;
			if (!blocked && errno != EINTR)
				conn_kill(c, true);
			continue;
		}
		c->out_at += (size_t)w;
		c->sim->requests.bytes_out += c->counted ? (uint64_t)w : 0;
		if (has_fault(c, KUBEMODEL_SLOW))
			c->quota -= (size_t)w;
	}
	if (c->dead)
		return;
	if (has_fault(c, KUBEMODEL_SLOW) && (c->out_at < end || c->more))
		timer_arm(c->pace, c->fault.ms);
	if (c->then != GO_ON && c->out_at == end)
		then_do(c);
	out_settle(c);
	want_events(c, blocked || (c->more && !has_fault(c, KUBEMODEL_SLOW)));
}

/* Answers are dropped rather than half kept when they are beyond all measure. */
static void out_add(struct conn *c, const void *p, size_t n)
{
	struct err err = ERR_INIT;

	if (buf_add(&c->out, p, n, &err) < 0)
		conn_kill(c, true);
}

static void out_adds(struct conn *c, const char *s)
{
	out_add(c, s, strlen(s));
}

/* ---- plain answers ---- */

/* Which part of the answer is written, and what comes after it. */
static void fault_cut(struct conn *c, size_t head, size_t body)
{
	size_t begin = c->out.len - head - body;

	if (!c->has_fault)
		return;
	c->stop_at = c->out.len;
	switch (c->fault.action) {
	case KUBEMODEL_RESET_MIDDLE:
	case KUBEMODEL_HALF_LINE:
		c->stop_at = begin + head + body / 2;
		c->then = c->fault.action == KUBEMODEL_HALF_LINE ? THEN_SILENCE : THEN_RESET;
		break;
	case KUBEMODEL_RESET_APPLIED:
	case KUBEMODEL_HANG_APPLIED:
		c->stop_at = begin;
		c->then = c->fault.action == KUBEMODEL_HANG_APPLIED ? THEN_SILENCE : THEN_RESET;
		break;
	case KUBEMODEL_CLOSE:
		c->then = THEN_CLOSE;
		break;
	default:
		break;
	}
}

static void answer_write(struct conn *c, struct kubemodel_answer *a)
{
	char head[512], retry[48] = "";
	struct err err = ERR_INIT;
	int n;

	if (c->has_fault && kubemodel_fault_spoil(&c->fault, &a->body, &err) < 0) {
		conn_kill(c, true);
		return;
	}
	if (a->retry_after_s)
		snprintf(retry, sizeof(retry), "Retry-After: %u\r\n", a->retry_after_s);
	n = snprintf(head, sizeof(head),
		     "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s%sContent-Length: %zu\r\n\r\n",
		     a->code, http_reason(a->code), a->content_type, retry,
		     c->rq.wants_close ? "Connection: close\r\n" : "", a->body.len);
	out_add(c, head, (size_t)n);
	if (str_eq(c->rq.method, "HEAD"))
		buf_reset(&a->body);
	out_add(c, buf_str(&a->body), a->body.len);
	if (c->rq.wants_close) {
		c->then = THEN_CLOSE;
		c->stop_at = c->out.len;
	}
	fault_cut(c, (size_t)n, a->body.len);
}

/* ---- watches ---- */

static void chunk_write(struct conn *c, const struct buf *line)
{
	char size[32];

	snprintf(size, sizeof(size), "%zx\r\n", line->len);
	out_adds(c, size);
	out_add(c, line->data, line->len);
	out_adds(c, "\r\n");
	c->lines++;
	c->stream_bytes += line->len;
}

static void stream_end(struct conn *c)
{
	out_adds(c, "0\r\n\r\n");
	if (c->counted)
		requests_add(&c->sim->requests, c->number, "watch-end", c->rq.target, 200,
			     c->stream_bytes, c->rq.agent, NULL);
	kubemodel_watch_free(c->watch);
	c->watch = NULL;
	c->state = READING;
	if (c->rq.wants_close && c->then == GO_ON) {
		c->then = THEN_CLOSE;
		c->stop_at = c->out.len;
	}
}

/* The line that the fault waited for. */
static void stream_hit(struct conn *c, struct buf *line)
{
	struct err err = ERR_INIT;

	if (kubemodel_fault_spoil(&c->fault, line, &err) < 0) {
		conn_kill(c, true);
		return;
	}
	chunk_write(c, line);
	c->stop_at = c->out.len;
	if (c->fault.action == KUBEMODEL_HALF_LINE || c->fault.action == KUBEMODEL_RESET_MIDDLE) {
		c->stop_at -= line->len / 2 + 2;
		c->then = c->fault.action == KUBEMODEL_HALF_LINE ? THEN_SILENCE : THEN_RESET;
	} else if (c->fault.action == KUBEMODEL_CLOSE) {
		c->then = THEN_CLOSE;
	}
}

static void stream_pump(struct conn *c)
{
	AUTO_BUF line = BUF_INIT(KUBEMODEL_MAX_ANSWER);

	c->more = false;
	while (!c->dead && c->watch && c->then == GO_ON) {
		bool hit = c->has_fault && c->lines + 1 == c->fault.event;
		int r;

		c->more = c->out.len - c->out_at >= OUT_HIGH;
		if (c->more)
			break;
		if (hit && c->fault.action == KUBEMODEL_ERROR_EVENT) {
			stream_hit(c, &line);
			stream_end(c);
			break;
		}
		r = kubemodel_watch_next(c->watch, &line);
		if (r < 0)
			stream_end(c);
		if (r <= 0)
			break;
		if (hit)
			stream_hit(c, &line);
		else
			chunk_write(c, &line);
	}
}

static void stream_begin(struct conn *c, struct kubemodel_answer *a)
{
	out_adds(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n");
	c->watch = TAKE_PTR(a->watch);
	c->state = STREAMING;
	c->lines = 0;
	c->stream_bytes = 0;
	if (has_fault(c, KUBEMODEL_HANG_APPLIED) || has_fault(c, KUBEMODEL_RESET_APPLIED)) {
		c->stop_at = c->out.len;
		c->then = has_fault(c, KUBEMODEL_HANG_APPLIED) ? THEN_SILENCE : THEN_RESET;
	}
	stream_pump(c);
}

void conn_pump_all(struct sim *s)
{
	for (struct conn *c = s->conns; c; c = c->next) {
		if (c->dead || !c->watch || c->state != STREAMING)
			continue;
		stream_pump(c);
		conn_flush(c);
	}
}

/* ---- requests ---- */

/* True when the request is not to be carried out. */
static bool fault_prevents(struct conn *c, struct kubemodel_answer *a)
{
	char text[96];

	if (!c->has_fault)
		return false;
	switch (c->fault.action) {
	case KUBEMODEL_RESET_BEFORE:
	case KUBEMODEL_RESET_AFTER:
		conn_kill(c, true);
		return true;
	case KUBEMODEL_HANG:
		c->state = SILENT;
		return true;
	case KUBEMODEL_STATUS:
		snprintf(text, sizeof(text), "scripted answer to request %llu",
			 (unsigned long long)c->number);
		kubemodel_answer_status((int)c->fault.code,
					*c->fault.reason ? c->fault.reason : NULL, text, a);
		a->retry_after_s = (unsigned)c->fault.retry_after_s;
		return true;
	default:
		return false;
	}
}

static void handle(struct conn *c, struct kubemodel_answer *a)
{
	struct kubemodel_request rq = {
		.method = c->rq.method,
		.target = c->rq.target,
		.accept = c->rq.accept,
		.content_type = c->rq.content_type,
		.authorization = c->rq.authorization,
		.body = buf_rd(&c->body),
	};

	if (!c->counted && str_starts(rq.target, "/kubesim/direct/")) {
		rq.target += strlen("/kubesim/direct");
		kubemodel_handle_trusted(c->sim->model, &rq, a);
	} else if (!c->counted) {
		control_handle(c->sim, &c->rq, rq.body, a);
	} else if (!fault_prevents(c, a)) {
		kubemodel_handle(c->sim->model, &rq, a);
	}
}

static void request_log(struct conn *c, const struct kubemodel_answer *a, size_t bytes_in)
{
	if (!c->counted)
		return;
	c->sim->requests.bytes_in += bytes_in;
	requests_add(&c->sim->requests, c->number, kubemodel_verb(c->rq.method, c->rq.target),
		     c->rq.target, c->dead || c->state == SILENT ? 0 : a->code, a->body.len,
		     c->rq.agent, c->has_fault ? c->fault.spec : NULL);
}

/* A whole request is here: `bytes` of c->in. */
static void request_run(struct conn *c, size_t bytes)
{
	CLEANUP(kubemodel_answer_clear) struct kubemodel_answer a = { 0 };

	handle(c, &a);
	request_log(c, &a, bytes);
	buf_consume(&c->in, bytes);
	c->has_head = false;
	if (!c->dead && c->state != SILENT) {
		if (a.watch)
			stream_begin(c, &a);
		else
			answer_write(c, &a);
	}
	server_changed(c->sim);
}

/* The head is here: it gets its number, and the script is asked. */
static void head_begin(struct conn *c)
{
	c->has_head = true;
	c->counted = !control_is(c->rq.target);
	c->has_fault = false;
	c->quota = 0;
	if (c->counted) {
		c->number = ++c->sim->requests.count;
		c->has_fault = server_faults(c->sim, c->number, &c->rq, &c->fault);
	}
	if (has_fault(c, KUBEMODEL_RESET_BEFORE)) {
		struct kubemodel_answer none = { 0 };

		conn_kill(c, true);
		request_log(c, &none, 0);
	} else if (c->rq.expects_continue && !has_fault(c, KUBEMODEL_HANG)) {
		out_adds(c, "HTTP/1.1 100 Continue\r\n\r\n");
	}
}

static void refuse(struct conn *c)
{
	out_adds(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
	c->then = THEN_CLOSE;
	c->stop_at = c->out.len;
}

static void conn_process(struct conn *c)
{
	while (!c->dead && c->state == READING && c->then == GO_ON) {
		size_t bytes;
		int r;

		if (!c->has_head) {
			r = http_head_parse(&c->in, &c->rq);
			if (r < 0)
				refuse(c);
			if (r <= 0)
				break;
			head_begin(c);
			continue;
		}
		r = http_body_read(&c->in, &c->rq, &c->body, &bytes);
		if (r < 0)
			refuse(c);
		if (r <= 0)
			break;
		request_run(c, bytes);
		if (has_fault(c, KUBEMODEL_SLOW))
			break; /* the next request waits behind the slow answer */
	}
}

/* ---- events ---- */

static void conn_read(struct conn *c)
{
	char block[65536];
	struct err err = ERR_INIT;
	ssize_t n = recv(c->fd, block, sizeof(block), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || buf_add(&c->in, block, (size_t)n, &err) < 0) {
		conn_kill(c, n != 0);
		return;
	}
	conn_process(c);
}

static void on_io(struct source *src, int fd, uint32_t events, void *arg)
{
	struct conn *c = arg;
	struct sim *s = c->sim;

	(void)src;
	(void)fd;
	if (events & (EPOLLHUP | EPOLLERR) ||
	    (events & EPOLLRDHUP && (c->state != READING || !(events & EPOLLIN))))
		conn_kill(c, false);
	if (!c->dead && events & EPOLLIN && c->state == READING)
		conn_read(c);
	if (!c->dead && c->state == STREAMING)
		stream_pump(c);
	if (!c->dead)
		conn_flush(c);
	conn_sweep(s);
}

static void on_pace(struct source *src, void *arg)
{
	struct conn *c = arg;
	struct sim *s = c->sim;

	(void)src;
	c->quota = c->fault.bytes;
	if (c->state == STREAMING)
		stream_pump(c);
	conn_flush(c);
	if (!c->dead && c->out.len == 0 && c->state == READING) {
		c->has_fault = false;
		conn_process(c);
		conn_flush(c);
	}
	conn_sweep(s);
}

void conn_accept(struct sim *s, int takes_fd)
{
	struct conn *c = s->n_conns < SIM_MAX_CONNS ? calloc(1, sizeof(*c)) : NULL;
	struct err err = ERR_INIT;

	if (!c) {
		close(takes_fd);
		return;
	}
	c->sim = s;
	c->fd = takes_fd;
	c->in = BUF_INIT(HTTP_MAX_HEAD + 2 * HTTP_MAX_BODY);
	c->body = BUF_INIT(HTTP_MAX_BODY);
	c->out = BUF_INIT(2u * KUBEMODEL_MAX_ANSWER);
	c->next = s->conns;
	c->prev = &s->conns;
	if (c->next)
		c->next->prev = &c->next;
	s->conns = c;
	s->n_conns++;
	if (loop_add_fd(s->loop, takes_fd, EPOLLIN | EPOLLRDHUP, on_io, c, &c->io, &err) < 0 ||
	    loop_add_timer(s->loop, on_pace, c, &c->pace, &err) < 0)
		conn_kill(c, true);
}
