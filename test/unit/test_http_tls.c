/* SPDX-License-Identifier: Apache-2.0 */
/* http over TLS: whom we believe, who we say we are, and what no configuration talks us into. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "fake_server.h"
#include "http/http.h"
#include "table.h"
#include "tls_server.h"

enum trust { NOTHING, GIVEN, IN_A_FILE, ANOTHER, GARBAGE, NO_FILE };

struct answer {
	bool done;
	struct err err;
	char body[256];
};

static void on_done(void *arg, const struct http_response *response, const struct err *err)
{
	struct answer *a = arg;

	a->done = true;
	a->err = *err;
	snprintf(a->body, sizeof(a->body), "%.*s", (int)response->body.left,
		 response->body.p ? (const char *)response->body.p : "");
}

static void ask(const struct http_config *config, struct answer *a)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct http_client *c;
	struct http_call *call;
	struct err err = ERR_INIT;
	struct http_request r = { .method = "GET", .path = "/x", .on_done = on_done, .arg = a };

	*a = (struct answer){ .err = ERR_INIT };
	cr_assert_eq(loop_new(&l, &err), 0);
	cr_assert_eq(http_client_new(l, config, &c, &err), 0, "%s", err_text(&err));
	cr_assert_eq(http_start(c, &r, &call, &err), 0, "%s", err_text(&err));
	cr_assert(fake_pump(l, &a->done, 10000));
	http_client_free(c);
}

static void to_file(const struct buf *b, char path[32])
{
	struct err err = ERR_INIT;

	memcpy(path, "/tmp/gpucc-test-XXXXXX", 23);
	close(mkstemp(path));
	cr_assert_eq(file_publish(path, b->data, b->len, 0600, &err), 0);
}

static void set_trust(struct http_config *c, enum trust trust, const struct tls_server *s,
		      char path[32])
{
	static const char garbage[] =
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

	if (trust == GIVEN)
		c->ca_pem = buf_rd(&s->ca_pem);
	if (trust == ANOTHER)
		c->ca_pem = buf_rd(&s->other_pem);
	if (trust == GARBAGE)
		c->ca_pem = rd_of(garbage, strlen(garbage));
	if (trust == NO_FILE)
		c->ca_file = "/no/such/file";
	if (trust != IN_A_FILE)
		return;
	to_file(&s->ca_pem, path);
	c->ca_file = path;
}

static const struct {
	const char *name;
	struct tls_server_options server;
	enum trust trust;
	bool insecure;
	const char *server_name;
	enum err_kind kind;
	const char *says; /* body, or error */
} servers[] = {
	{ "its CA is given",
	  { .san = "IP:127.0.0.1" },
	  GIVEN,
	  false,
	  NULL,
	  ERR_NONE,
	  "cn=- sni=-" },
	{ "its CA is in a file",
	  { .san = "IP:127.0.0.1" },
	  IN_A_FILE,
	  false,
	  NULL,
	  ERR_NONE,
	  "cn=-" },
	{ "another CA",
	  { .san = "IP:127.0.0.1" },
	  ANOTHER,
	  false,
	  NULL,
	  ERR_UNTRUSTED,
	  "certificate" },
	{ "the system's CAs",
	  { .san = "IP:127.0.0.1" },
	  NOTHING,
	  false,
	  NULL,
	  ERR_UNTRUSTED,
	  "certificate" },
	{ "another name", { .san = "DNS:other" }, GIVEN, false, NULL, ERR_UNTRUSTED, "127.0.0.1" },
	{ "the name that is expected",
	  { .san = "DNS:other" },
	  GIVEN,
	  false,
	  "other",
	  ERR_NONE,
	  "sni=other" },
	{ "not the name that is expected",
	  { .san = "IP:127.0.0.1" },
	  GIVEN,
	  false,
	  "other",
	  ERR_UNTRUSTED,
	  "other" },
	{ "expired",
	  { .san = "IP:127.0.0.1", .expired = true },
	  GIVEN,
	  false,
	  NULL,
	  ERR_UNTRUSTED,
	  "expired" },
	{ "nobody asks",
	  { .san = "DNS:other", .expired = true },
	  NOTHING,
	  true,
	  NULL,
	  ERR_NONE,
	  "cn=-" },
	{ "a CA that is none", { .san = "IP:127.0.0.1" }, GARBAGE, false, NULL, ERR_INVALID, "" },
	{ "a CA that is not there",
	  { .san = "IP:127.0.0.1" },
	  NO_FILE,
	  false,
	  NULL,
	  ERR_INVALID,
	  "no/such/file" },
	{ "TLS 1.1",
	  { .san = "IP:127.0.0.1", .tls_1_1 = true },
	  GIVEN,
	  false,
	  NULL,
	  ERR_TRANSIENT,
	  "" },
};

TABLE_TEST(http_tls, believes_only_who_can_prove_it, servers)
{
	struct http_config c = { .insecure = row->insecure, .server_name = row->server_name };
	struct tls_server s;
	struct answer a;
	char path[32] = "";

	tls_server_start(&s, &row->server);
	c.url = s.url;
	set_trust(&c, row->trust, &s, path);
	ask(&c, &a);
	cr_assert_eq(a.err.kind, row->kind, "%s: %s: %s", row->name, err_kind_name(a.err.kind),
		     err_text(&a.err));
	cr_assert(strstr(row->kind == ERR_NONE ? a.body : err_text(&a.err), row->says), "%s: %s %s",
		  row->name, a.body, err_text(&a.err));
	if (*path)
		unlink(path);
	tls_server_stop(&s);
}

Test(http_tls, shows_the_certificate_it_was_given)
{
	static const struct tls_server_options options = { .san = "IP:127.0.0.1" };
	struct http_config c = { 0 };
	struct tls_server s;
	struct answer a;
	char cert[32], key[32];

	tls_server_start(&s, &options);
	c.url = s.url;
	c.ca_pem = buf_rd(&s.ca_pem);
	c.cert_pem = buf_rd(&s.client_cert);
	c.key_pem = buf_rd(&s.client_key);
	ask(&c, &a);
	cr_assert_str_eq(a.body, "cn=client sni=-", "%s", err_text(&a.err));

	to_file(&s.client_cert, cert);
	to_file(&s.client_key, key);
	c.cert_pem = c.key_pem = (struct rd){ 0 };
	c.cert_file = cert;
	c.key_file = key;
	ask(&c, &a);
	cr_assert_str_eq(a.body, "cn=client sni=-", "%s", err_text(&a.err));

	c.cert_file = key; /* not a certificate */
	ask(&c, &a);
	cr_assert_eq(a.err.kind, ERR_INVALID, "%s", err_text(&a.err));
	unlink(cert);
	unlink(key);
	tls_server_stop(&s);
}

Test(http_tls, goes_through_the_proxy_that_is_configured)
{
	static const struct fake_reply script[] = { { .bytes = FAKE_OK("2", "{}") } };
	AUTO(loop_free) struct loop *l = NULL;
	struct http_config config = { .url = "http://api.invalid:8080" };
	struct answer a = { .err = ERR_INIT };
	struct http_request r = { .method = "GET", .path = "/x", .on_done = on_done, .arg = &a };
	struct fake_server *proxy;
	struct http_client *c;
	struct http_call *call;
	struct err err = ERR_INIT;

	setenv("no_proxy", "*", 1); /* does not count either */
	cr_assert_eq(loop_new(&l, &err), 0);
	proxy = fake_server_new(l, FAKE_SCRIPT(script));
	config.proxy = proxy->url;
	cr_assert_eq(http_client_new(l, &config, &c, &err), 0);
	cr_assert_eq(http_start(c, &r, &call, &err), 0);
	cr_assert(fake_pump(l, &a.done, 5000));
	cr_assert_eq(a.err.kind, ERR_NONE, "%s", err_text(&a.err));
	cr_assert(strstr(proxy->request[0], "GET http://api.invalid:8080/x HTTP/1.1\r\n"));
	http_client_free(c);
	fake_server_free(proxy);
}
