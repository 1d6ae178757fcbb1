/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which config counts: the one asked for, the pod's service account, the user's.  And the token, which
 * in a pod is a file that the kubelet replaces every hour or so.
 */
#include "k8s/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/str.h"

#define MAX_PATHS 16

struct k8s_config *config_new(struct err *err)
{
	struct k8s_config *c = calloc(1, sizeof(*c));

	if (!c) {
		err_nomem(err);
		return NULL;
	}
	c->ca_pem = c->cert_pem = c->key_pem = BUF_INIT(PEM_MAX_BYTES);
	c->token = BUF_INIT(TOKEN_MAX_BYTES);
	return c;
}

static void wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_clear(b);
}

void k8s_config_free(struct k8s_config *c)
{
	if (!c)
		return;
	free(c->origin);
	free(c->server);
	free(c->ns);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	free(c->server_name);
	free(c->proxy);
	free(c->token_file);
	buf_clear(&c->ca_pem);
	buf_clear(&c->cert_pem);
	wipe(&c->key_pem);
	wipe(&c->token);
	free(c);
}

const char *k8s_config_origin(const struct k8s_config *c)
{
	return c->origin;
}

const char *k8s_config_server(const struct k8s_config *c)
{
	return c->server;
}

const char *k8s_config_namespace(const struct k8s_config *c)
{
	return c->ns;
}

/* --- the service account ---------------------------------------------------------------------- */

static int join(char **out, const char *dir, const char *name, struct err *err)
{
	if (asprintf(out, "%s/%s", dir, name) >= 0)
		return 0;
	*out = NULL;
	return err_nomem(err);
}

static const char *account_dir(const struct k8s_config_sources *s)
{
	return s->service_account_dir ? s->service_account_dir : K8S_SERVICE_ACCOUNT_DIR;
}

/* In a pod, and the pod has a token: one without may still bring a kubeconfig. */
static bool in_cluster(const struct k8s_config_sources *s)
{
	AUTO_MEM char *token = NULL;

	if (str_empty(s->service_host) || str_empty(s->service_port))
		return false;
	return asprintf(&token, "%s/token", account_dir(s)) >= 0 && access(token, F_OK) == 0;
}

static int load_in_cluster(const struct k8s_config_sources *s, struct k8s_config **out,
			   struct err *err)
{
	AUTO(k8s_config_free) struct k8s_config *c = config_new(err);
	bool ipv6 = strchr(s->service_host, ':');
	const char *dir = account_dir(s);
	AUTO_BUF ns = BUF_INIT(256);
	AUTO_BUF token = BUF_INIT(TOKEN_MAX_BYTES);
	AUTO_MEM char *ns_file = NULL;
	struct err ignored = ERR_INIT;
	int r;

	if (!c || join(&c->token_file, dir, "token", err) < 0 ||
	    join(&c->ca_file, dir, "ca.crt", err) < 0 || join(&ns_file, dir, "namespace", err) < 0)
		return -1;
	if (access(c->ca_file, R_OK) < 0)
		return err_errno(err, "%s", c->ca_file);
	r = config_token(c, &token, err); /* now, so that a wrong mount is told at once */
	wipe(&token);
	if (r < 0)
		return -1;
	if (asprintf(&c->server, "https://%s%s%s:%s", ipv6 ? "[" : "", s->service_host,
		     ipv6 ? "]" : "", s->service_port) < 0) {
		c->server = NULL;
		return err_nomem(err);
	}
	if (file_read(ns_file, &ns, &ignored) == 0 && ns.len > 0)
		c->ns = strdup(str_trim(ns.data));
	c->origin = strdup(dir);
	if (!c->origin)
		return err_nomem(err);
	*out = TAKE_PTR(c);
	return 0;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* $KUBECONFIG: a list with colons, of which those count that exist. */
static int load_list(const char *list, struct k8s_config **out, struct err *err)
{
	AUTO_MEM char *copy = strdup(list);
	const char *paths[MAX_PATHS];
	char *rest = copy, *path;
	size_t n = 0;

	if (!copy)
		return err_nomem(err);
	while ((path = strsep(&rest, ":"))) {
		if (!*path || access(path, F_OK) < 0)
			continue;
		if (n == MAX_PATHS)
			return err_set(err, ERR_INVALID, "KUBECONFIG names more than %d files",
				       MAX_PATHS);
		paths[n++] = path;
	}
	if (n == 0)
		return err_set(err, ERR_NOT_FOUND, "KUBECONFIG=%.200s: there is no such file",
			       list);
	return kubeconfig_load(paths, n, out, err);
}

int k8s_config_load(const struct k8s_config_sources *s, struct k8s_config **out, struct err *err)
{
	AUTO_MEM char *home_file = NULL;
	const char *path;

	if (!str_empty(s->kubeconfig))
		return kubeconfig_load(&s->kubeconfig, 1, out, err);
	if (in_cluster(s))
		return load_in_cluster(s, out, err);
	if (!str_empty(s->env_kubeconfig))
		return load_list(s->env_kubeconfig, out, err);
	if (!str_empty(s->home)) {
		if (join(&home_file, s->home, ".kube/config", err) < 0)
			return -1;
		path = home_file;
		if (access(path, F_OK) == 0)
			return kubeconfig_load(&path, 1, out, err);
	}
	return err_set(err, ERR_NOT_FOUND,
		       "no way to an API server: no --kubeconfig, no service account, "
		       "no KUBECONFIG, no ~/.kube/config");
}

/* --- the token -------------------------------------------------------------------------------- */

static bool token_file_changed(struct k8s_config *c)
{
	struct stat st;

	if (stat(c->token_file, &st) < 0)
		return c->token.len == 0; /* then reading it tells why */
	if (!c->token_stale && c->token.len > 0 && st.st_ino == c->token_seen.ino &&
	    st.st_size == c->token_seen.size && st.st_mtim.tv_sec == c->token_seen.mtime.tv_sec &&
	    st.st_mtim.tv_nsec == c->token_seen.mtime.tv_nsec)
		return false;
	c->token_seen.mtime = st.st_mtim;
	c->token_seen.ino = st.st_ino;
	c->token_seen.size = st.st_size;
	return true;
}

static int read_token(struct k8s_config *c, struct err *err)
{
	struct buf fresh = BUF_INIT(TOKEN_MAX_BYTES);
	size_t n;

	if (file_read(c->token_file, &fresh, err) < 0) {
		wipe(&fresh);
		c->token_seen.ino = 0; /* look again next time */
		return -1;
	}
	for (n = fresh.len; n > 0 && strchr(" \t\r\n", fresh.data[n - 1]); n--)
		fresh.data[n - 1] = '\0';
	fresh.len = n;
	if (n == 0) {
		wipe(&fresh);
		return err_set(err, ERR_INVALID, "%s: is empty", c->token_file);
	}
	wipe(&c->token);
	c->token = fresh;
	return 0;
}

int config_token(struct k8s_config *c, struct buf *out, struct err *err)
{
	struct err why = ERR_INIT;

	if (c->token_file && token_file_changed(c) && read_token(c, &why) < 0 &&
	    c->token.len == 0) {
		*err = why;
		return err_wrap(err, "the token to show to the API server");
	}
	c->token_stale = false;
	return buf_add(out, c->token.data, c->token.len, err);
}
