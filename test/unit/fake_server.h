/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_server - an HTTP/1.1 server on loopback that answers from a script, inside the test's own loop.
 *
 * In:   replies in the order in which requests arrive, over all connections; after the last, it hangs.
 * Out:  what was asked, how many connections were made.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"

#define FAKE_CONNS    16
#define FAKE_REQUESTS 64
#define FAKE_TEXT     4096

enum fake_end {
	FAKE_KEEP,  /* the connection stays for the next request */
	FAKE_CLOSE, /* after the last byte */
	FAKE_RESET, /* likewise, with RST */
	FAKE_HANG,  /* nothing more on this connection */
};

struct fake_reply {
	const char *bytes; /* NULL: none.  "200" + JSON text is made by fake_json() */
	size_t n;	   /* 0: strlen(bytes) */
	size_t piece;	   /* sent so many at a time, a millisecond apart; 0: at once */
	enum fake_end end;
};

struct fake_server;

struct fake_conn {
	struct fake_server *server;
	int fd;
	struct source *fd_source, *timer;
	char in[FAKE_TEXT];
	size_t n_in;
	const struct fake_reply *reply; /* being sent */
	size_t sent;
};

struct fake_server {
	struct loop *loop;
	int fd;
	struct source *source;
	const struct fake_reply *script;
	size_t n_script, next;
	struct fake_conn conn[FAKE_CONNS];
	unsigned accepted;
	size_t n_requests;
	char request[FAKE_REQUESTS][FAKE_TEXT]; /* head and body */
	char url[64];				/* http://127.0.0.1:PORT */
};

struct fake_server *fake_server_new(struct loop *l, const struct fake_reply *script, size_t n);
void fake_server_free(struct fake_server *s);

/* Turns the loop until *done or the time is up; whether it was done. */
bool fake_pump(struct loop *l, const bool *done, uint64_t most_ms);

#define FAKE_SCRIPT(script) (script), sizeof(script) / sizeof((script)[0])

/* Literals: a whole answer with this body; the head of a stream. */
#define FAKE_OK(len, body)                                                                         \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " len "\r\n\r\n" body
#define FAKE_EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"
#define FAKE_STREAM	   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
