/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates from nothing, then a child that serves one connection after the other. */
#include "tls_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MAX_PEM (16 << 10)

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	cr_assert_not_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static struct identity make(const char *cn, const struct identity *issuer, const char *san,
			    long from_s, long to_s)
{
	static long serial = 1;
	struct identity id = { .key = EVP_EC_gen("P-256"), .cert = X509_new() };
	X509_NAME *name = X509_get_subject_name(id.cert);

	cr_assert(id.key && id.cert);
	X509_set_version(id.cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), to_s);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : name);
	X509_set_pubkey(id.cert, id.key);
	if (!issuer)
		add_extension(id.cert, id.cert, NID_basic_constraints, "critical,CA:TRUE");
	if (san)
		add_extension(id.cert, issuer->cert, NID_subject_alt_name, san);
	cr_assert_gt(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()), 0);
	return id;
}

static void identity_clear(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
}

static struct buf pem_of(X509 *cert, EVP_PKEY *key)
{
	struct buf out = BUF_INIT(MAX_PEM);
	BIO *bio = BIO_new(BIO_s_mem());
	struct err err = ERR_INIT;
	char *p;
	long n;

	if (cert)
		PEM_write_bio_X509(bio, cert);
	else
		PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &p);
	cr_assert_eq(buf_add(&out, p, (size_t)n, &err), 0);
	BIO_free(bio);
	return out;
}

/* --- the child -------------------------------------------------------------------------------- */

static void answer(SSL *ssl)
{
	const char *sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	X509 *client = SSL_get0_peer_certificate(ssl);
	char request[4096], cn[64] = "-", body[256], head[128];
	int n = 0, got;

	do {
		got = SSL_read(ssl, request + n, (int)sizeof(request) - 1 - n);
		n += got > 0 ? got : 0;
		request[n] = '\0';
	} while (got > 0 && !strstr(request, "\r\n\r\n"));
	if (client)
		X509_NAME_get_text_by_NID(X509_get_subject_name(client), NID_commonName, cn,
					  sizeof(cn));
	snprintf(body, sizeof(body), "cn=%s sni=%s", cn, sni ? sni : "-");
	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
		 strlen(body));
	SSL_write(ssl, head, (int)strlen(head));
	SSL_write(ssl, body, (int)strlen(body));
	SSL_shutdown(ssl);
}

static _Noreturn void serve(int fd, SSL_CTX *ctx)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		SSL *ssl = SSL_new(ctx);

		SSL_set_fd(ssl, client);
		if (SSL_accept(ssl) == 1)
			answer(ssl);
		SSL_free(ssl);
		close(client);
	}
}

static int any_client(int ok, X509_STORE_CTX *ctx)
{
	(void)ok;
	(void)ctx;
	return 1; /* the test looks at the name */
}

static SSL_CTX *context(const struct identity *server, bool tls_1_1)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	cr_assert_not_null(ctx);
	if (tls_1_1) {
		SSL_CTX_set_security_level(ctx, 0);
		SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
		SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	}
	SSL_CTX_use_certificate(ctx, server->cert);
	SSL_CTX_use_PrivateKey(ctx, server->key);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, any_client);
	return ctx;
}

static int listen_on_loopback(struct tls_server *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(at);

	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, 16), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	snprintf(s->url, sizeof(s->url), "https://127.0.0.1:%u", ntohs(at.sin_port));
	return fd;
}

void tls_server_start(struct tls_server *s, const struct tls_server_options *options)
{
	struct identity ca = make("test CA", NULL, NULL, -3600, 3600);
	struct identity other = make("another CA", NULL, NULL, -3600, 3600);
	struct identity server =
		make("server", &ca, options->san, -3600, options->expired ? -60 : 3600);
	struct identity client = make("client", &ca, NULL, -3600, 3600);
	SSL_CTX *ctx = context(&server, options->tls_1_1);
	int fd;

	*s = (struct tls_server){
		.ca_pem = pem_of(ca.cert, NULL),
		.other_pem = pem_of(other.cert, NULL),
		.client_cert = pem_of(client.cert, NULL),
		.client_key = pem_of(NULL, client.key),
	};
	fd = listen_on_loopback(s);
	s->pid = fork();
	cr_assert_geq(s->pid, 0);
	if (s->pid == 0)
		serve(fd, ctx);
	close(fd);
	SSL_CTX_free(ctx);
	identity_clear(&ca);
	identity_clear(&other);
	identity_clear(&server);
	identity_clear(&client);
}

void tls_server_stop(struct tls_server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	buf_clear(&s->ca_pem);
	buf_clear(&s->other_pem);
	buf_clear(&s->client_cert);
	buf_clear(&s->client_key);
}
