/* SPDX-License-Identifier: Apache-2.0 */
/* What http's two files share: client.c drives curl from the loop, call.c is one request's life. */
#pragma once
#include <curl/curl.h>

#include "http/http.h"

#define HTTP_MAX_SOCKETS 16

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct source *timer; /* curl's own time-outs */
	struct source *kick;  /* calls to hand to curl in the next round */
	struct http_call *calls;

	char *url;  /* what curl gets; with a server_name that stands for the host */
	char *name; /* the url as it was given: for errors */
	char *unix_socket, *proxy, *ca_file, *cert_file, *key_file, *user_agent;
	char *connect_to, *host_header; /* both only with a server_name */
	struct curl_slist *connect_to_list;
	struct buf ca_pem, cert_pem, key_pem;
	bool tls, insecure;
	http_auth *auth;
	void *auth_arg;
	uint32_t connect_timeout_ms;

	int sockets[HTTP_MAX_SOCKETS]; /* open ones; -1 for none */
	struct http_stats stats;
	unsigned in_curl;  /* curl is on the stack: its lists must not change */
	unsigned in_round; /* we are on the stack: do not free the client under us */
	bool freed;
};

struct http_call {
	struct http_client *client;
	struct http_call *next, *prev;
	CURL *easy;
	struct curl_slist *headers;
	struct source *timer;	      /* the nearer of deadline and silence */
	uint64_t due_ms, open_due_ms; /* UINT64_MAX for none */
	uint64_t stream_ms;	      /* a stream's, once it is open */
	uint64_t idle_ms, heard_ms;   /* idle_ms: 0 for none */
	char *path;
	struct buf request_body, body;
	bool started, opened, done; /* given to curl; answered with 2xx; on_done is running */
	bool cancelled;		    /* nobody listens any more; swept when curl is off the stack */
	bool too_long;
	http_on_open *on_open;
	http_on_data *on_data;
	http_on_done *on_done;
	void *arg;
	char why[CURL_ERROR_SIZE];
};

void client_kick(struct http_client *c);
void client_round_end(struct http_client *c); /* may free the client */

int call_setup(struct http_call *call, const struct http_request *request, struct err *err);
void call_begin(struct http_call *call);
void call_finish(struct http_call *call, CURLcode result);
void call_fail(struct http_call *call, const struct err *why);
void call_free(struct http_call *call);
