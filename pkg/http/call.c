/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: its curl handle, its deadlines, its end.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"
#include "http/internal.h"

#define DEADLINE_MS	 30000
#define OPEN_MS		 20000
#define CURL_BUFFER	 (8L << 10)  /* what curl hands over at a time */
#define UPLOAD_BUFFER	 (16L << 10) /* curl's least */
#define KEEPALIVE_S	 30L
#define KEEPALIVE_STEP_S 10L
#define UNACKED_MS	 30000 /* the kernel gives up on a peer that acknowledges nothing */

static void call_forget_easy(struct http_call *call)
{
	struct http_client *c = call->client;

	if (!call->easy)
		return;
	if (call->started) {
		c->in_curl++;
		curl_multi_remove_handle(c->multi, call->easy);
		c->in_curl--;
	}
	curl_easy_cleanup(call->easy);
	call->easy = NULL;
}

static void headers_free(struct curl_slist *list)
{
	for (struct curl_slist *h = list; h; h = h->next)
		if (strncmp(h->data, "Authorization:", 14) == 0)
			explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(list);
}

void call_free(struct http_call *call)
{
	call_forget_easy(call);
	if (call->prev)
		call->prev->next = call->next;
	else
		call->client->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	source_free(call->timer);
	headers_free(call->headers);
	buf_clear(&call->request_body);
	buf_clear(&call->body);
	free(call->path);
	free(call);
}

/* --- deadlines -------------------------------------------------------------------------------- */

static uint64_t next_due_ms(const struct http_call *call)
{
	uint64_t due = call->due_ms;

	if (call->open_due_ms < due)
		due = call->open_due_ms;
	if (call->opened && call->idle_ms && call->heard_ms + call->idle_ms < due)
		due = call->heard_ms + call->idle_ms;
	return due;
}

/* Wakes up at least every idle_ms, so that what is heard need not touch the timer. */
static void arm_deadline(struct http_call *call)
{
	uint64_t due = next_due_ms(call), now = now_ms();

	if (call->idle_ms && due > now + call->idle_ms)
		due = now + call->idle_ms;

	if (due != UINT64_MAX)
		timer_arm(call->timer, due > now ? due - now : 0);
}

/* --- what curl calls -------------------------------------------------------------------------- */

static size_t on_bytes(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *call = arg;
	struct err err = ERR_INIT;
	long status = 0;

	n *= size;
	if (call->cancelled)
		return 0;
	call->client->stats.bytes_in += n;
	call->heard_ms = now_ms();
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (call->on_data && status >= 200 && status < 300) {
		call->on_data(call->arg, rd_of(p, n));
		return call->cancelled ? 0 : n;
	}
	if (buf_add(&call->body, p, n, &err) == 0)
		return n;
	if (call->on_data)
		return n; /* the beginning of an error's text is enough */
	call->too_long = true;
	return 0;
}

/* The line that ends the headers: now a stream is open, however long its first byte takes. */
static void on_headers_end(struct http_call *call)
{
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status >= 300 || call->opened)
		return;
	call->opened = true;
	call->open_due_ms = UINT64_MAX;
	if (call->stream_ms)
		call->due_ms = now_ms() + call->stream_ms;
	arm_deadline(call);
	if (call->on_open)
		call->on_open(call->arg);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_call *call = arg;

	n *= size;
	call->client->stats.bytes_in += n;
	call->heard_ms = now_ms();
	if (call->on_data && !call->cancelled && n <= 2 && (*p == '\r' || *p == '\n'))
		on_headers_end(call);
	return n;
}

static void replace_socket(struct http_client *c, int old, int with)
{
	for (size_t i = 0; i < HTTP_MAX_SOCKETS; i++) {
		if (c->sockets[i] != old)
			continue;
		c->sockets[i] = with;
		return;
	}
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	unsigned ms = UNACKED_MS;

	(void)purpose;
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (to->family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	replace_socket(arg, -1, fd);
	return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
	replace_socket(arg, fd, -1);
	return close(fd);
}

/* Gives buffers back between records: 34 KiB less for a connection that mostly waits. */
static CURLcode on_tls(CURL *easy, void *ctx, void *arg)
{
	(void)easy;
	(void)arg;
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return CURLE_OK;
}

/* --- set-up ----------------------------------------------------------------------------------- */

static int add_header(struct http_call *call, const char *line, struct err *err)
{
	struct curl_slist *list = curl_slist_append(call->headers, line);

	if (!list)
		return err_nomem(err);
	call->headers = list;
	return 0;
}

static int add_auth(struct http_call *call, struct err *err)
{
	struct http_client *c = call->client;
	AUTO_BUF line = BUF_INIT(64 << 10);
	size_t prefix;
	int r;

	if (!c->auth)
		return 0;
	if (buf_reserve(&line, (16 << 10), err) < 0 || /* so that no copy is left behind */
	    buf_adds(&line, "Authorization: ", err) < 0)
		return -1;
	prefix = line.len;
	r = c->auth(c->auth_arg, &line, err);
	if (r == 0 && line.len > prefix)
		r = strpbrk(line.data, "\r\n")
			    ? err_set(err, ERR_INVALID, "a token of several lines")
			    : add_header(call, line.data, err);
	explicit_bzero(line.data, line.len);
	return r;
}

static int set_headers(struct http_call *call, const struct http_request *request, struct err *err)
{
	const char *host = call->client->host_header;

	for (size_t i = 0; i < HTTP_MAX_HEADERS && request->headers[i]; i++)
		if (add_header(call, request->headers[i], err) < 0)
			return -1;
	if (request->body.left && add_header(call, "Expect:", err) < 0)
		return -1;
	if (host && add_header(call, host, err) < 0)
		return -1;
	return add_auth(call, err);
}

static void set_blob(CURL *easy, CURLoption option, const struct buf *b)
{
	struct curl_blob blob = { .data = b->data, .len = b->len, .flags = CURL_BLOB_NOCOPY };

	if (b->data)
		curl_easy_setopt(easy, option, &blob);
}

static void set_tls(CURL *easy, const struct http_client *c)
{
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L); /* rather share than connect again */
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, c->insecure ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* a CA that rotates is followed */
	curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	if (!c->ca_pem.data)
		curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file);
	set_blob(easy, CURLOPT_CAINFO_BLOB, &c->ca_pem);
	curl_easy_setopt(easy, CURLOPT_SSLCERT, c->cert_file);
	curl_easy_setopt(easy, CURLOPT_SSLKEY, c->key_file);
	set_blob(easy, CURLOPT_SSLCERT_BLOB, &c->cert_pem);
	set_blob(easy, CURLOPT_SSLKEY_BLOB, &c->key_pem);
}

static void set_connection(CURL *easy, struct http_client *c)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROXY, c->proxy ? c->proxy : ""); /* "": the environment's */
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "");			 /* does not count */
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, c->unix_socket);
	curl_easy_setopt(easy, CURLOPT_CONNECT_TO, c->connect_to_list);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, c);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, c);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_STEP_S);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, CURL_BUFFER);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
	if (c->tls)
		set_tls(easy, c);
}

static int set_request(struct http_call *call, const struct http_request *request, struct err *err)
{
	CURL *easy = call->easy;
	char *url;

	if (asprintf(&url, "%s%s", call->client->url, request->path) < 0)
		return err_nomem(err);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	free(url);
	if (request->body.left) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.left);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->request_body.data);
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, call->client->user_agent);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	return 0;
}

static void on_deadline(struct source *s, void *arg);

int call_setup(struct http_call *call, const struct http_request *request, struct err *err)
{
	struct http_client *c = call->client;
	uint64_t open_ms = request->open_ms ? request->open_ms : OPEN_MS;
	uint64_t most_ms = request->deadline_ms ? request->deadline_ms : DEADLINE_MS;

	call->heard_ms = now_ms();
	call->due_ms = request->on_data ? UINT64_MAX : call->heard_ms + most_ms;
	call->open_due_ms = request->on_data ? call->heard_ms + open_ms : UINT64_MAX;
	call->stream_ms = request->on_data ? request->deadline_ms : 0;
	call->idle_ms = request->idle_ms;
	call->on_open = request->on_open;
	call->on_data = request->on_data;
	call->on_done = request->on_done;
	call->arg = request->arg;
	call->body = BUF_INIT(request->on_data	   ? HTTP_ERROR_BYTES
			      : request->max_bytes ? request->max_bytes
						   : HTTP_MAX_BYTES);
	call->request_body = BUF_INIT(request->body.left);
	call->path = strdup(request->path);
	call->easy = curl_easy_init();
	if (!call->path || !call->easy)
		return err_nomem(err);
	if (buf_add(&call->request_body, request->body.p, request->body.left, err) < 0 ||
	    set_headers(call, request, err) < 0 ||
	    loop_add_timer(c->loop, on_deadline, call, &call->timer, err) < 0)
		return -1;
	set_connection(call->easy, c);
	return set_request(call, request, err);
}

int http_start(struct http_client *c, const struct http_request *request, struct http_call **out,
	       struct err *err)
{
	struct http_call *call = calloc(1, sizeof(*call));

	if (!call)
		return err_nomem(err);
	call->client = c;
	call->next = c->calls;
	if (c->calls)
		c->calls->prev = call;
	c->calls = call;
	if (call_setup(call, request, err) < 0) {
		call_free(call);
		return -1;
	}
	c->stats.requests++;
	client_kick(c);
	*out = call;
	return 0;
}

/* --- a deadline has passed --------------------------------------------------------------------- */

/* A peer that is silent for too long may be gone; its connection must not be used again.  HTTP/1.1
 * connections end with their request.  With HTTP/2 taking the stream away would leave the connection in
 * curl's pool, and curl does not tell which one it was: so all of them are ended, normally one. */
static void end_connections(struct http_client *c)
{
	for (size_t i = 0; c->tls && i < HTTP_MAX_SOCKETS; i++)
		if (c->sockets[i] >= 0)
			shutdown(c->sockets[i], SHUT_RDWR);
}

static void on_deadline(struct source *s, void *arg)
{
	struct http_call *call = arg;
	struct http_client *c = call->client;
	struct err err = ERR_INIT;
	uint64_t now = now_ms();

	(void)s;
	if (now < next_due_ms(call)) { /* something was heard since */
		arm_deadline(call);
		return;
	}
	if (now >= call->due_ms || now >= call->open_due_ms)
		err_set(&err, ERR_TIMEOUT, "%s: no answer in time", c->name);
	else
		err_set(&err, ERR_TIMEOUT, "%s: silent for %llu s", c->name,
			(unsigned long long)(now - call->heard_ms) / 1000);
	end_connections(c);
	c->in_round++;
	call_fail(call, &err);
	c->in_round--;
	client_round_end(c);
}

/* --- beginning and end ------------------------------------------------------------------------ */

void call_begin(struct http_call *call)
{
	struct http_client *c = call->client;
	struct err err = ERR_INIT;

	call->started = true;
	arm_deadline(call);
	if (curl_multi_add_handle(c->multi, call->easy) == CURLM_OK)
		return;
	err_set(&err, ERR_SYSTEM, "%s: curl does not take the request", c->name);
	call->started = false;
	call_fail(call, &err);
}

static void finish(struct http_call *call, const struct http_response *response,
		   const struct err *err)
{
	call->done = true;
	source_free(call->timer);
	call->timer = NULL;
	if (!call->cancelled && call->on_done)
		call->on_done(call->arg, response, err);
	call_free(call);
}

static void count(struct http_call *call)
{
	struct http_stats *s = &call->client->stats;
	long connects = 0, request_bytes = 0;
	curl_off_t upload = 0;

	curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
	curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &upload);
	s->connections += (uint64_t)connects;
	s->bytes_out += (uint64_t)request_bytes + (uint64_t)upload;
}

void call_fail(struct http_call *call, const struct err *why)
{
	struct http_response response = { .content_type = "" };

	count(call);
	call_forget_easy(call);
	finish(call, &response, why);
}

static void status_error(const struct http_call *call, int status, struct err *err)
{
	static const struct {
		int from, to;
		enum err_kind kind;
	} kinds[] = {
		{ 401, 401, ERR_DENIED },    { 403, 403, ERR_DENIED },
		{ 404, 404, ERR_NOT_FOUND }, { 408, 408, ERR_TRANSIENT },
		{ 409, 409, ERR_CONFLICT },  { 410, 410, ERR_GONE },
		{ 429, 429, ERR_TRANSIENT }, { 500, 599, ERR_TRANSIENT },
	};
	enum err_kind kind = ERR_INVALID;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (status >= kinds[i].from && status <= kinds[i].to)
			kind = kinds[i].kind;
	err_set(err, kind, "%s answered %d", call->client->name, status);
	err->code = status;
}

static void curl_error(const struct http_call *call, CURLcode result, struct err *err)
{
	static const struct {
		CURLcode code;
		enum err_kind kind;
	} kinds[] = {
		{ CURLE_PEER_FAILED_VERIFICATION, ERR_UNTRUSTED },
		{ CURLE_SSL_ISSUER_ERROR, ERR_UNTRUSTED },
		{ CURLE_SSL_CACERT_BADFILE, ERR_INVALID },
		{ CURLE_SSL_CERTPROBLEM, ERR_INVALID },
		{ CURLE_URL_MALFORMAT, ERR_INVALID },
		{ CURLE_UNSUPPORTED_PROTOCOL, ERR_INVALID },
		{ CURLE_OUT_OF_MEMORY, ERR_SYSTEM },
	};
	enum err_kind kind = ERR_TRANSIENT;
	char why[CURL_ERROR_SIZE];

	if (call->too_long) {
		err_set(err, ERR_INVALID, "%s: an answer longer than %zu bytes", call->client->name,
			call->body.max);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (result == kinds[i].code)
			kind = kinds[i].kind;
	str_copy(why, sizeof(why), call->why[0] ? call->why : curl_easy_strerror(result));
	err_set(err, kind, "%s: %s", call->client->name, str_printable(str_trim(why)));
}

void call_finish(struct http_call *call, CURLcode result)
{
	struct http_response response = { .body = buf_rd(&call->body), .content_type = "" };
	struct err err = ERR_INIT;
	curl_off_t retry_after = 0;
	char type[64] = "", *t = NULL;
	long status = 0;

	count(call);
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after);
	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &t);
	if (t)
		str_copy(type, sizeof(type), t);
	response.content_type = type;
	response.status = (int)status;
	if (retry_after > 0)
		response.retry_after_ms = retry_after < HTTP_RETRY_AFTER_MAX_MS / 1000
						  ? (uint64_t)retry_after * 1000
						  : HTTP_RETRY_AFTER_MAX_MS;
	if (status >= 300 ||
	    (status > 0 && status < 200)) /* the code tells more than a broken body */
		status_error(call, (int)status, &err);
	else if (result != CURLE_OK)
		curl_error(call, result, &err);
	call_forget_easy(call);
	finish(call, &response, &err);
}

void http_cancel(struct http_call *call)
{
	struct http_client *c = call ? call->client : NULL;

	if (!call || call->done)
		return;
	call->cancelled = true;
	if (c->in_curl)
		client_kick(c);
	else
		call_free(call);
}
