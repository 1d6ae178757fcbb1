/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client: curl's multi interface as a guest of our loop.  curl tells which descriptors and what
 * time-out it wants; we tell it what happened.  User callbacks that come while curl is on the stack
 * may start and cancel calls: such changes wait until curl has returned.
 */
#include <string.h>

#include "http/internal.h"

static unsigned curl_users;

static void drain(struct http_client *c)
{
	CURLMsg *msg;
	int left;

	while (!c->freed && (msg = curl_multi_info_read(c->multi, &left))) {
		struct http_call *call = NULL;
		CURLcode result = msg->data.result; /* msg dies with the handle's removal */

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		call_finish(call, result);
	}
}

static void begin_and_sweep(struct http_client *c)
{
	bool again = true;

	while (again && !c->freed) {
		again = false;
		for (struct http_call *call = c->calls; call && !again; call = call->next) {
			if (call->done || (call->started && !call->cancelled))
				continue;
			again = true; /* the list changes */
			if (call->cancelled)
				call_free(call);
			else
				call_begin(call);
		}
	}
}

void client_round_end(struct http_client *c)
{
	if (c->in_round > 0)
		return;
	c->in_round++;
	drain(c);
	begin_and_sweep(c);
	c->in_round--;
	if (c->freed)
		http_client_free(c);
}

static void act(struct http_client *c, curl_socket_t fd, int events)
{
	int running;

	c->in_curl++;
	curl_multi_socket_action(c->multi, fd, events, &running);
	c->in_curl--;
	client_round_end(c);
}

static void on_socket(struct source *s, int fd, uint32_t events, void *arg)
{
	int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

	(void)s;
	act(arg, fd, what);
}

static void on_curl_timer(struct source *s, void *arg)
{
	(void)s;
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_kick(struct source *s, void *arg)
{
	(void)s;
	client_round_end(arg);
}

void client_kick(struct http_client *c)
{
	timer_arm(c->kick, 0);
}

/* curl watches, changes or forgets a descriptor; `socketp` is the source we assigned to it. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
	struct http_client *c = arg;
	struct source *s = socketp;
	struct err err = ERR_INIT;
	uint32_t events =
		(what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		source_free(s);
		curl_multi_assign(c->multi, fd, NULL);
		return 0;
	}
	if (s)
		return source_set_events(s, events, &err);
	if (loop_add_fd(c->loop, fd, events, on_socket, c, &s, &err) < 0)
		return -1; /* curl then fails the transfers */
	curl_multi_assign(c->multi, fd, s);
	return 0;
}

static int want_timer(CURLM *multi, long ms, void *arg)
{
	struct http_client *c = arg;

	(void)multi;
	if (ms < 0)
		timer_disarm(c->timer);
	else
		timer_arm(c->timer, (uint64_t)ms);
	return 0;
}

static int copy_text(char **out, const char *s, struct err *err)
{
	if (!s)
		return 0;
	*out = strdup(s);
	return *out ? 0 : err_nomem(err);
}

/* One byte more than nothing, so that an empty PEM stays "given". */
static int copy_bytes(struct buf *out, struct rd bytes, struct err *err)
{
	*out = BUF_INIT(1 << 20);
	return bytes.p ? buf_add(out, bytes.p, bytes.left, err) : 0;
}

/* Another name in the certificate: the url gets that name, and the connection goes where it went. */
static int use_server_name(struct http_client *c, CURLU *u, const char *name, struct err *err)
{
	char *host = NULL, *port = NULL, *url = NULL, *text = NULL;
	int r = -1;

	if (curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		goto out;
	if (asprintf(&text, "%s:%s:%s:%s", name, port, host, port) < 0)
		goto out;
	c->connect_to = text;
	if (asprintf(&text, "Host: %s:%s", host, port) < 0)
		goto out;
	c->host_header = text;
	if (curl_url_set(u, CURLUPART_HOST, name, 0) || curl_url_get(u, CURLUPART_URL, &url, 0))
		goto out;
	free(c->url);
	c->url = strdup(url);
	c->connect_to_list = curl_slist_append(NULL, c->connect_to);
	r = c->url && c->connect_to_list ? 0 : -1;
out:
	curl_free(host);
	curl_free(port);
	curl_free(url);
	return r < 0 ? err_set(err, ERR_INVALID, "server name \"%.100s\" cannot be used", name) : 0;
}

static int parse_url(struct http_client *c, const struct http_config *config, CURLU *u,
		     struct err *err)
{
	char *scheme = NULL, *extra = NULL;
	bool known;

	if (curl_url_set(u, CURLUPART_URL, config->url, CURLU_NON_SUPPORT_SCHEME) ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0))
		return err_set(err, ERR_INVALID, "\"%.200s\" is not a url", config->url);
	c->tls = strcmp(scheme, "https") == 0;
	known = c->tls || strcmp(scheme, "http") == 0;
	curl_free(scheme);
	if (!known)
		return err_set(err, ERR_INVALID, "\"%.200s\": only http and https", config->url);
	if (!curl_url_get(u, CURLUPART_QUERY, &extra, 0) ||
	    !curl_url_get(u, CURLUPART_FRAGMENT, &extra, 0) ||
	    !curl_url_get(u, CURLUPART_USER, &extra, 0)) {
		curl_free(extra);
		return err_set(err, ERR_INVALID, "a server's url has no user, query or fragment");
	}
	return config->server_name ? use_server_name(c, u, config->server_name, err) : 0;
}

/* Where the distributions keep their roots, for a config that names none. */
static const char *system_ca_file(void)
{
	static const char *const files[] = {
		"/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine */
		"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
		"/etc/ssl/ca-bundle.pem",	      /* SUSE */
		"/etc/ssl/cert.pem",
	};

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (access(files[i], R_OK) == 0)
			return files[i];
	return NULL;
}

static int take_config(struct http_client *c, const struct http_config *config, struct err *err)
{
	const char *ca_file = config->ca_file;
	CURLU *u = curl_url();
	size_t n;
	int r;

	if (!u)
		return err_nomem(err);
	if (!ca_file && !config->ca_pem.p && !config->insecure)
		ca_file = system_ca_file();
	c->insecure = config->insecure;
	c->auth = config->auth;
	c->auth_arg = config->auth_arg;
	c->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : 10000;
	r = copy_text(&c->url, config->url, err);
	if (r == 0)
		r = copy_text(&c->name, config->url, err);
	if (r == 0)
		r = parse_url(c, config, u, err);
	curl_url_cleanup(u);
	if (r < 0 || copy_text(&c->unix_socket, config->unix_socket, err) < 0 ||
	    copy_text(&c->proxy, config->proxy, err) < 0 ||
	    copy_text(&c->ca_file, ca_file, err) < 0 ||
	    copy_text(&c->cert_file, config->cert_file, err) < 0 ||
	    copy_text(&c->key_file, config->key_file, err) < 0 ||
	    copy_text(&c->user_agent, config->user_agent, err) < 0 ||
	    copy_bytes(&c->ca_pem, config->ca_pem, err) < 0 ||
	    copy_bytes(&c->cert_pem, config->cert_pem, err) < 0 ||
	    copy_bytes(&c->key_pem, config->key_pem, err) < 0)
		return -1;
	n = strlen(c->url);
	while (n > 0 && c->url[n - 1] == '/')
		c->url[--n] = '\0';
	return 0;
}

static void set_up_multi(struct http_client *c)
{
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 4L);
	curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 6L);
}

int http_client_new(struct loop *loop, const struct http_config *config, struct http_client **out,
		    struct err *err)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (!c)
		return err_nomem(err);
	c->loop = loop;
	memset(c->sockets, 0xff, sizeof(c->sockets));
	if (curl_users++ == 0 && curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		err_set(err, ERR_SYSTEM, "starting curl");
	else if (!(c->multi = curl_multi_init()))
		err_nomem(err);
	else if (take_config(c, config, err) == 0 &&
		 loop_add_timer(loop, on_curl_timer, c, &c->timer, err) == 0 &&
		 loop_add_timer(loop, on_kick, c, &c->kick, err) == 0) {
		set_up_multi(c);
		*out = c;
		return 0;
	}
	http_client_free(c);
	return -1;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	for (struct http_call *call = c->calls; call; call = call->next)
		call->cancelled = true;
	c->freed = true;
	if (c->in_curl || c->in_round)
		return; /* client_round_end() comes back */
	while (c->calls)
		call_free(c->calls);
	if (c->multi)
		curl_multi_cleanup(c->multi); /* takes its sources back through want_socket() */
	source_free(c->timer);
	source_free(c->kick);
	curl_slist_free_all(c->connect_to_list);
	free(c->url);
	free(c->name);
	free(c->unix_socket);
	free(c->proxy);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	free(c->user_agent);
	free(c->connect_to);
	free(c->host_header);
	buf_clear(&c->ca_pem);
	buf_clear(&c->cert_pem);
	if (c->key_pem.data)
		explicit_bzero(c->key_pem.data, c->key_pem.len);
	buf_clear(&c->key_pem);
	free(c);
	if (--curl_users == 0)
		curl_global_cleanup();
}

struct http_stats http_client_stats(const struct http_client *c)
{
	return c->stats;
}

int http_escape(struct buf *out, const char *text, struct err *err)
{
	static const char safe[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
	size_t before = out->len;

	for (; *text; text++) {
		int r = strchr(safe, *text) ? buf_add(out, text, 1, err)
					    : buf_addf(out, err, "%%%02X", (unsigned char)*text);

		if (r < 0) {
			out->len = before;
			return -1;
		}
	}
	return 0;
}
