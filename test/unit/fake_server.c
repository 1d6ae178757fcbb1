/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted server: reads a request, sends the next reply of the script as it says. */
#include "fake_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"

static void conn_close(struct fake_conn *c, bool reset)
{
	struct linger hard = { .l_onoff = 1 };

	if (c->fd < 0)
		return;
	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	source_free(c->fd_source);
	source_free(c->timer);
	close(c->fd);
	c->fd = -1;
	c->n_in = 0;
	c->reply = NULL;
}

static void reply_ended(struct fake_conn *c)
{
	enum fake_end end = c->reply->end;

	c->reply = NULL;
	if (end == FAKE_HANG)
		source_free(c->fd_source);
	if (end == FAKE_HANG)
		c->fd_source = NULL;
	else if (end != FAKE_KEEP)
		conn_close(c, end == FAKE_RESET);
}

static void send_more(struct fake_conn *c)
{
	const struct fake_reply *r = c->reply;
	size_t all = r->bytes ? (r->n ? r->n : strlen(r->bytes)) : 0;
	size_t left = all - c->sent, now = r->piece && r->piece < left ? r->piece : left;
	ssize_t n = now ? send(c->fd, r->bytes + c->sent, now, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

	if (n < 0 && errno != EAGAIN) {
		conn_close(c, false);
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	if (c->sent < all)
		timer_arm(c->timer, 1);
	else
		reply_ended(c);
}

static void on_send_timer(struct source *s, void *arg)
{
	(void)s;
	send_more(arg);
}

/* Whole when the head is there and as much body as it announces. */
static size_t request_length(const struct fake_conn *c)
{
	const char *end = memmem(c->in, c->n_in, "\r\n\r\n", 4), *length;
	size_t head, body = 0;

	if (!end)
		return 0;
	head = (size_t)(end - c->in) + 4;
	length = memmem(c->in, head, "Content-Length: ", 16);
	if (length)
		body = strtoul(length + 16, NULL, 10);
	return c->n_in >= head + body ? head + body : 0;
}

static void on_request(struct fake_conn *c, size_t n)
{
	static const struct fake_reply silence = { .end = FAKE_HANG };
	struct fake_server *s = c->server;

	cr_assert_lt(s->n_requests, FAKE_REQUESTS);
	str_copyn(s->request[s->n_requests++], FAKE_TEXT, c->in, n);
	c->n_in -= n;
	memmove(c->in, c->in + n, c->n_in);
	c->reply = s->next < s->n_script ? &s->script[s->next++] : &silence;
	c->sent = 0;
	send_more(c);
}

static void on_conn(struct source *source, int fd, uint32_t events, void *arg)
{
	struct fake_conn *c = arg;
	ssize_t n = recv(fd, c->in + c->n_in, sizeof(c->in) - c->n_in, MSG_DONTWAIT);
	size_t whole;

	(void)source;
	(void)events;
	if (n <= 0) {
		conn_close(c, false);
		return;
	}
	c->n_in += (size_t)n;
	while (c->fd >= 0 && !c->reply && (whole = request_length(c)) > 0)
		on_request(c, whole);
}

static void on_accept(struct source *source, int fd, uint32_t events, void *arg)
{
	struct fake_server *s = arg;
	struct err err = ERR_INIT;
	struct fake_conn *c = NULL;

	(void)source;
	(void)events;
	for (size_t i = 0; i < FAKE_CONNS && !c; i++)
		if (s->conn[i].fd < 0)
			c = &s->conn[i];
	cr_assert_not_null(c, "too many connections");
	*c = (struct fake_conn){ .server = s, .fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC) };
	cr_assert_geq(c->fd, 0);
	s->accepted++;
	cr_assert_eq(loop_add_fd(s->loop, c->fd, EPOLLIN, on_conn, c, &c->fd_source, &err), 0);
	cr_assert_eq(loop_add_timer(s->loop, on_send_timer, c, &c->timer, &err), 0);
}

struct fake_server *fake_server_new(struct loop *l, const struct fake_reply *script, size_t n)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct fake_server *s = calloc(1, sizeof(*s));
	socklen_t size = sizeof(at);
	struct err err = ERR_INIT;

	cr_assert_not_null(s);
	s->loop = l;
	s->script = script;
	s->n_script = n;
	for (size_t i = 0; i < FAKE_CONNS; i++)
		s->conn[i].fd = -1;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(s->fd, 16), 0);
	cr_assert_eq(getsockname(s->fd, (struct sockaddr *)&at, &size), 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", ntohs(at.sin_port));
	cr_assert_eq(loop_add_fd(l, s->fd, EPOLLIN, on_accept, s, &s->source, &err), 0);
	return s;
}

void fake_server_free(struct fake_server *s)
{
	for (size_t i = 0; i < FAKE_CONNS; i++)
		conn_close(&s->conn[i], false);
	source_free(s->source);
	close(s->fd);
	free(s);
}

bool fake_pump(struct loop *l, const bool *done, uint64_t most_ms)
{
	uint64_t until = now_ms() + most_ms;
	struct err err = ERR_INIT;

	while (!*done && now_ms() < until)
		cr_assert_eq(loop_turn(l, 5, &err), 0, "%s", err_text(&err));
	return *done;
}
