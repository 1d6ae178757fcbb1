/* SPDX-License-Identifier: Apache-2.0 */
/* The config from inside: what kubeconfig.c fills, config.c chooses and client.c uses. */
#pragma once
#include <sys/types.h>
#include <time.h>

#include "base/buf.h"
#include "k8s/k8s.h"

#define PEM_MAX_BYTES	(256 << 10)
#define TOKEN_MAX_BYTES (64 << 10)

struct k8s_config {
	char *origin, *server, *ns;
	char *ca_file, *cert_file, *key_file, *server_name, *proxy;
	struct buf ca_pem, cert_pem, key_pem;
	bool insecure;
	char *token_file;
	struct buf token; /* given, or as last read from the file */
	struct {
		struct timespec mtime;
		ino_t ino;
		off_t size;
	} token_seen;
	bool token_stale; /* a 401 says: read it again, whatever its time */
};

struct k8s_config *config_new(struct err *err);

/* Appends the token in use now, nothing when there is none.  Follows the file when it changes; while
 * it cannot be read, the one before it stays. */
int config_token(struct k8s_config *c, struct buf *out, struct err *err) MUST_CHECK;

/* Reads the current context.  `paths` are merged as kubectl does: what comes first wins. */
int kubeconfig_load(const char *const *paths, size_t n, struct k8s_config **out,
		    struct err *err) MUST_CHECK;

/* The same of one text that stands for a file of that name. */
int kubeconfig_parse(const char *path, struct rd text, struct k8s_config **out,
		     struct err *err) MUST_CHECK;
