/* SPDX-License-Identifier: Apache-2.0 */
/* listen - the little of HTTP that a scraper and a kubelet need: GET, one answer, good-bye. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "base/log.h"
#include "base/str.h"

#define DEADLINE_MS 5000
#define AGAIN_MS    5000
#define BACKLOG	    8

static void hang_up(struct connection *c)
{
	if (c->fd < 0)
		return;
	source_free(c->io);
	timer_disarm(c->deadline);
	close(c->fd);
	c->fd = -1;
	buf_clear(&c->answer);
}

static const char *status_text(int code)
{
	switch (code) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 503:
		return "Service Unavailable";
	default:
		return "Bad Request";
	}
}

/* "GET /path HTTP/1.1": the path without its query, in place; NULL for anything else. */
static char *path_of(char *request, int *code)
{
	char *path = strchr(request, ' '), *end;

	*code = 400;
	if (!path)
		return NULL;
	*path++ = '\0';
	end = path + strcspn(path, " ?\r\n");
	if (!*end || *path != '/')
		return NULL;
	*end = '\0';
	*code = str_eq(request, "GET") ? 200 : 405;
	return *code == 200 ? path : NULL;
}

static int answer(struct connection *c, struct err *err)
{
	AUTO_BUF body = BUF_INIT(METRICS_MAX_ANSWER);
	int code;
	char *path = path_of(c->request, &code);

	if (path)
		code = metrics_answer(c->metrics->app, path, &body, err);
	if (code < 0)
		return -1;
	c->answer = BUF_INIT(METRICS_MAX_ANSWER + 1024);
	if (buf_addf(&c->answer, err,
		     "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
		     "Content-Length: %zu\r\nConnection: close\r\n\r\n",
		     code, status_text(code), body.len) < 0)
		return -1;
	c->sent = 0;
	return buf_add(&c->answer, buf_str(&body), body.len, err);
}

static void on_writable(struct connection *c)
{
	ssize_t n = send(c->fd, c->answer.data + c->sent, c->answer.len - c->sent, MSG_NOSIGNAL);

	if (n < 0 && errno == EAGAIN)
		return;
	c->sent += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->sent == c->answer.len)
		hang_up(c);
}

static void on_readable(struct connection *c)
{
	ssize_t n = recv(c->fd, c->request + c->n, sizeof(c->request) - 1 - c->n, 0);
	struct err err = ERR_INIT;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		hang_up(c);
		return;
	}
	c->n += (size_t)n;
	c->request[c->n] = '\0';
	if (strstr(c->request, "\r\n\r\n") || strstr(c->request, "\n\n")) {
		if (answer(c, &err) < 0 || source_set_events(c->io, EPOLLOUT, &err) < 0)
			hang_up(c);
	} else if (c->n == sizeof(c->request) - 1) {
		hang_up(c);
	}
}

static void on_io(struct source *s, int fd, uint32_t events, void *arg)
{
	struct connection *c = arg;

	(void)s;
	(void)fd;
	if (events & EPOLLOUT)
		on_writable(c);
	else
		on_readable(c);
}

static void on_deadline(struct source *s, void *arg)
{
	(void)s;
	hang_up(arg);
}

static struct connection *free_connection(struct metrics *m)
{
	for (size_t i = 0; i < METRICS_MAX_CONNECTIONS; i++)
		if (m->connection[i].fd < 0)
			return &m->connection[i];
	return NULL;
}

static void on_accept(struct source *s, int fd, uint32_t events, void *arg)
{
	struct metrics *m = arg;
	struct connection *c = free_connection(m);
	struct err err = ERR_INIT;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s;
	(void)events;
	if (peer < 0)
		return;
	if (!c || loop_add_fd(m->app->loop, peer, EPOLLIN, on_io, c, &c->io, &err) < 0) {
		close(peer);
		return;
	}
	c->fd = peer;
	c->n = 0;
	timer_arm(c->deadline, DEADLINE_MS);
}

static int listen_on(const struct listen_address *a, int *out, struct err *err)
{
	AUTO_FD fd = socket(a->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		return err_errno(err, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &a->sa.any, a->len) < 0)
		return err_errno(err, "bind");
	if (listen(fd, BACKLOG) < 0)
		return err_errno(err, "listen");
	*out = TAKE_FD(fd);
	return 0;
}

static int open_listener(struct metrics *m, struct err *err)
{
	if (listen_on(&m->app->config.metrics, &m->fd, err) < 0)
		return -1;
	return loop_add_fd(m->app->loop, m->fd, EPOLLIN, on_accept, m, &m->listener, err);
}

static void on_again(struct source *s, void *arg)
{
	struct metrics *m = arg;
	struct err err = ERR_INIT;

	(void)s;
	if (open_listener(m, &err) < 0)
		timer_arm(m->again, AGAIN_MS);
	else
		log_info("serving metrics", "address", m->app->config.metrics_text, NULL);
}

int metrics_start(struct app *app, struct err *err)
{
	struct metrics *m = &app->metrics;

	m->app = app;
	m->fd = -1;
	if (!app->config.metrics.on || app->config.dry_run || app->config.once)
		return 0;
	m->connection = calloc(METRICS_MAX_CONNECTIONS, sizeof(*m->connection));
	if (!m->connection)
		return err_nomem(err);
	for (size_t i = 0; i < METRICS_MAX_CONNECTIONS; i++) {
		struct connection *c = &m->connection[i];

		c->metrics = m;
		c->fd = -1;
		if (loop_add_timer(app->loop, on_deadline, c, &c->deadline, err) < 0)
			return -1;
	}
	if (loop_add_timer(app->loop, on_again, m, &m->again, err) < 0)
		return -1;
	if (open_listener(m, err) == 0)
		return 0;
	if (err->code != EADDRINUSE)
		return err_wrap(err, "--metrics-address %s", app->config.metrics_text);
	log_warn("metrics address is in use, trying again", "address", app->config.metrics_text,
		 NULL);
	err_clear(err);
	timer_arm(m->again, AGAIN_MS);
	return 0;
}

void metrics_stop(struct app *app)
{
	struct metrics *m = &app->metrics;

	for (size_t i = 0; m->connection && i < METRICS_MAX_CONNECTIONS; i++)
		hang_up(&m->connection[i]);
	free(m->connection);
	m->connection = NULL;
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}
