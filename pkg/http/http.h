/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http - requests and streams to one server, inside the event loop.
 *
 * One client is one server: address, trust, identity.  Over https requests and streams share one
 * HTTP/2 connection where the server speaks it; http:// is HTTP/1.1, a connection for each
 * request under way.  Connections are kept and used again.
 *
 * In:       a request whose strings are copied, and callbacks.
 * Out:      on_data for a stream's bytes as they arrive; on_done, exactly once, unless the call was
 *           cancelled.  Callbacks come from the loop, never from inside http_start().
 * Owns:     the call, until on_done returns or http_cancel().
 * Units:    milliseconds, bytes.
 * Fails:    by kind.  Status 401 and 403: ERR_DENIED; 404: ERR_NOT_FOUND; 409: ERR_CONFLICT;
 *           410: ERR_GONE; 408, 429, 5xx and all that goes wrong on the network: ERR_TRANSIENT;
 *           a deadline: ERR_TIMEOUT; a server that cannot prove who it is: ERR_UNTRUSTED; other
 *           status codes and answers over their cap: ERR_INVALID.  err->code is the status, else 0.
 * Does not: retry, follow redirects, read the environment (so no *_proxy variable counts), log.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"
#include "loop/loop.h"

struct http_client;
struct http_call;

/* Appends the value of the Authorization header ("Bearer ...") to `out`, or nothing for none.  Asked
 * for each request, so that a token that rotates is followed. */
typedef int http_auth(void *arg, struct buf *out, struct err *err);

/* Strings and bytes are copied, but for arg.  NULL and zero mean "none" or the default. */
struct http_config {
	const char *url;	 /* scheme://host[:port][/prefix] */
	const char *unix_socket; /* connect there, whatever the host in url */
	const char *proxy;	 /* http://host:port, with a CONNECT for https */
	const char *server_name; /* name in the certificate and for SNI, when it is not the url's */
	const char *ca_file;
	struct rd ca_pem;
	const char *cert_file, *key_file; /* who we are */
	struct rd cert_pem, key_pem;
	bool insecure; /* do not ask the server to prove who it is */
	const char *user_agent;
	http_auth *auth;
	void *auth_arg;
	uint32_t connect_timeout_ms; /* 10 s */
};

struct http_response {
	int status;	/* 0: there was none */
	struct rd body; /* what there is of it; of a stream only the body of an error status */
	const char *content_type; /* "" for none */
	uint64_t
		retry_after_ms; /* the server's wish, at most HTTP_RETRY_AFTER_MAX_MS; 0 for none */
};

typedef void http_on_open(void *arg);
typedef void http_on_data(void *arg, struct rd bytes);
/* err->kind is ERR_NONE for a 2xx answer that arrived whole.  Everything is borrowed. */
typedef void http_on_done(void *arg, const struct http_response *response, const struct err *err);

#define HTTP_MAX_BYTES		(4 << 20)
#define HTTP_ERROR_BYTES	(64 << 10) /* of the body of a failed stream */
#define HTTP_RETRY_AFTER_MAX_MS 60000
#define HTTP_MAX_HEADERS	8

struct http_request {
	const char *method; /* "GET" */
	const char *path;   /* below the client's url, with its query: "/api/v1/nodes?limit=1" */
	const char *headers[HTTP_MAX_HEADERS + 1]; /* "Accept: text/plain", ... NULL */
	struct rd body;
	size_t max_bytes;      /* of the answer; HTTP_MAX_BYTES */
	uint32_t deadline_ms;  /* for all of it; 30 s.  A stream's: once it is open; none */
	uint32_t open_ms;      /* until a stream's answer begins; 20 s */
	uint32_t idle_ms;      /* a stream's longest silence from then on; none */
	http_on_open *on_open; /* a stream's 2xx headers are there */
	http_on_data *on_data; /* makes it a stream: 2xx bytes go there, without a cap */
	http_on_done *on_done;
	void *arg;
};

int http_client_new(struct loop *loop, const struct http_config *config, struct http_client **out,
		    struct err *err) MUST_CHECK;
void http_client_free(struct http_client *c); /* cancels what is under way */
DEFINE_AUTO(struct http_client *, http_client_free);

int http_start(struct http_client *c, const struct http_request *request, struct http_call **out,
	       struct err *err) MUST_CHECK;
/* No callback follows.  Allowed in any callback, the call's own too; NULL is accepted. */
void http_cancel(struct http_call *call);

/* A deadline says that the connection may be dead without telling; then it is closed, with all
 * that runs on it, so that the next request does not try it again. */

struct http_stats {
	uint64_t requests, connections, bytes_out, bytes_in; /* bytes with headers, before TLS */
};
struct http_stats http_client_stats(const struct http_client *c);

/* Appends `text` with all but A-Z a-z 0-9 - _ . ~ as %XX, for one part of a path or query. */
int http_escape(struct buf *out, const char *text, struct err *err) MUST_CHECK;
