/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_server - an HTTPS server on loopback in a child process, with a CA made for this test.
 *
 * Its answer to everything: "cn=NAME sni=NAME", what the client showed and asked for, "-" for nothing.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

struct tls_server {
	pid_t pid;
	char url[64]; /* https://127.0.0.1:PORT */
	struct buf ca_pem, client_cert, client_key,
		other_pem; /* other_pem: a CA with nothing to do here */
};

struct tls_server_options {
	const char *san; /* of its certificate: "IP:127.0.0.1", "DNS:other" */
	bool expired, tls_1_1;
};

void tls_server_start(struct tls_server *s, const struct tls_server_options *options);
void tls_server_stop(struct tls_server *s);
