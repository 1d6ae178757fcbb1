/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends a request, reads the answer to its end; or reads a watch line by line.
 */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"

#define MAX_ANSWER (256u << 20)

static int dial(const char *server, int *out, struct err *err)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	const char *colon = strrchr(server, ':');
	char host[64];
	uint64_t port;
	AUTO_FD fd = -1;

	if (!colon || !str_copyn(host, sizeof(host), server, (size_t)(colon - server)) ||
	    !str_u64(colon + 1, 65535, &port) || inet_pton(AF_INET, host, &at.sin_addr) != 1)
		return err_set(err, ERR_INVALID, "server %s: not an IPv4 address and port", server);
	at.sin_port = htons((uint16_t)port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_errno(err, "server %s", server);
	*out = TAKE_FD(fd);
	return 0;
}

static int send_all(int fd, const char *p, size_t n, struct err *err)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_errno(err, "sending the request");
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int ask(const char *server, const char *method, const char *target, const char *content_type,
	       const char *body, int *fd, struct err *err)
{
	AUTO_BUF text = BUF_INIT(MAX_ANSWER);

	if (buf_addf(&text, err,
		     "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: kubesim-ctl\r\n"
		     "Accept: application/json\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		     "Connection: close\r\n\r\n%s",
		     method, target, server, content_type, strlen(body), body) < 0 ||
	    dial(server, fd, err) < 0)
		return -1;
	return send_all(*fd, text.data, text.len, err);
}

/* Adds what has come: 1 something, 0 the end. */
static int receive(int fd, struct buf *in, uint64_t deadline_ms, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char block[65536];
	uint64_t now = now_ms();
	ssize_t n;

	if (now >= deadline_ms || poll(&p, 1, (int)(deadline_ms - now)) == 0)
		return err_set(err, ERR_TIMEOUT, "no answer in time");
	n = recv(fd, block, sizeof(block), 0);
	if (n < 0)
		return err_errno(err, "reading the answer");
	if (n && buf_add(in, block, (size_t)n, err) < 0)
		return -1;
	return n > 0;
}

/* Cuts the head off; 2xx is success. */
static int answer_check(struct buf *in, struct err *err)
{
	char *end = in->len ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;
	json_auto_t *j = NULL;
	const char *message;
	int code = 0;

	if (!end || sscanf(in->data, "HTTP/1.1 %d", &code) != 1)
		return err_set(err, ERR_INVALID, "the answer is not HTTP");
	buf_consume(in, (size_t)(end - in->data) + 4);
	if (code >= 200 && code < 300)
		return 0;
	j = json_loadb(buf_str(in), in->len, 0, NULL);
	message = json_string_value(json_object_get(j, "message"));
	return err_set(err, code == 404 ? ERR_NOT_FOUND : ERR_INVALID, "%s (status %d)",
		       message ? message : "refused", code);
}

int client_request(const char *server, const char *method, const char *target,
		   const char *content_type, const char *body, struct buf *out, struct err *err)
{
	uint64_t deadline_ms = now_ms() + CLIENT_TIMEOUT_MS;
	AUTO_FD fd = -1;
	int r;

	if (ask(server, method, target, content_type, body, &fd, err) < 0)
		return -1;
	while ((r = receive(fd, out, deadline_ms, err)) > 0)
		;
	return r < 0 ? -1 : answer_check(out, err);
}

/* Hands out whole lines; what is no JSON object is HTTP's own (heads, sizes of chunks). */
static int lines_hand_out(struct buf *in, client_on_line *fn, void *arg)
{
	char *eol;
	int r = 0;

	while (!r && in->len && (eol = memchr(in->data, '\n', in->len))) {
		*eol = '\0';
		if (*in->data == '{')
			r = fn(in->data, arg);
		buf_consume(in, (size_t)(eol - in->data) + 1);
	}
	return r;
}

int client_watch(const char *server, const char *target, uint64_t deadline_ms, client_on_line *fn,
		 void *arg, struct err *err)
{
	AUTO_BUF in = BUF_INIT(MAX_ANSWER);
	AUTO_FD fd = -1;
	int r;

	if (ask(server, "GET", target, "application/json", "", &fd, err) < 0)
		return -1;
	while ((r = receive(fd, &in, deadline_ms, err)) > 0)
		if (lines_hand_out(&in, fn, arg))
			return 0;
	return r < 0 ? -1 : err_set(err, ERR_TRANSIENT, "the watch has ended");
}
