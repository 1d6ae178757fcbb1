/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubeconfig files: current context, its cluster, its user.  Each complaint names file and line; no
 * complaint quotes a token or a key.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/file.h"
#include "base/str.h"
#include "k8s/config.h"
#include "yaml/yaml.h"

#define MAX_FILES 16

struct files {
	size_t n;
	struct yaml *root[MAX_FILES];
};

struct cluster {
	const char *server, *ca_file, *ca_data, *server_name, *proxy;
	bool insecure;
};

struct user {
	const char *cert_file, *cert_data, *key_file, *key_data, *token, *token_file;
};

struct context {
	const char *cluster, *user, *ns;
};

static const struct yaml_field cluster_fields[] = {
	YAML_FIELD(struct cluster, server, "server", STR, YAML_REQUIRED),
	YAML_FIELD(struct cluster, ca_file, "certificate-authority", STR, 0),
	YAML_FIELD(struct cluster, ca_data, "certificate-authority-data", STR, 0),
	YAML_FIELD(struct cluster, server_name, "tls-server-name", STR, 0),
	YAML_FIELD(struct cluster, proxy, "proxy-url", STR, 0),
	YAML_FIELD(struct cluster, insecure, "insecure-skip-tls-verify", BOOL, 0),
};

static const struct yaml_field user_fields[] = {
	YAML_FIELD(struct user, cert_file, "client-certificate", STR, 0),
	YAML_FIELD(struct user, cert_data, "client-certificate-data", STR, 0),
	YAML_FIELD(struct user, key_file, "client-key", STR, 0),
	YAML_FIELD(struct user, key_data, "client-key-data", STR, 0),
	YAML_FIELD(struct user, token, "token", STR, 0),
	YAML_FIELD(struct user, token_file, "tokenFile", STR, 0),
};

static const struct yaml_field context_fields[] = {
	YAML_FIELD(struct context, cluster, "cluster", STR, YAML_REQUIRED),
	YAML_FIELD(struct context, user, "user", STR, 0),
	YAML_FIELD(struct context, ns, "namespace", STR, 0),
};

static void files_clear(struct files *f)
{
	while (f->n > 0)
		yaml_tree_free(f->root[--f->n]);
}

/* --- finding ---------------------------------------------------------------------------------- */

/* The `kind` ("cluster") called `name` in the list ("clusters"), from the first file that has it. */
static int find(const struct files *f, const char *list, const char *kind, const char *name,
		const struct yaml **out, struct err *err)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct yaml *l = yaml_get(f->root[i], list);

		if (l && l->kind != YAML_LIST)
			return yaml_error(err, l, "%s: is not a list", list);
		for (const struct yaml *e = l ? l->child : NULL; e; e = e->next) {
			const struct yaml *n = yaml_get(e, "name");

			if (!n || n->kind != YAML_SCALAR)
				return yaml_error(err, e, "%s: an entry without a name", list);
			if (strcmp(n->text, name) != 0)
				continue;
			*out = yaml_get(e, kind);
			if (!*out)
				return yaml_error(err, e, "%s \"%s\" is empty", kind, name);
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "%s: there is no %s \"%.100s\"", f->root[0]->file, kind,
		       name);
}

static int find_context(const struct files *f, struct context *out, struct err *err)
{
	const struct yaml *current = NULL, *context;

	for (size_t i = 0; i < f->n && !current; i++)
		current = yaml_get(f->root[i], "current-context");
	if (!current)
		return err_set(err, ERR_INVALID, "%s: no current-context", f->root[0]->file);
	if (current->kind != YAML_SCALAR)
		return yaml_error(err, current, "current-context: is not a name");
	if (find(f, "contexts", "context", current->text, &context, err) < 0)
		return err_wrap(err, "current-context");
	return yaml_fields_read(context, context_fields, ARRAY_LEN(context_fields), out, err);
}

/* --- values ----------------------------------------------------------------------------------- */

static int copy(char **out, const char *s, struct err *err)
{
	if (!s)
		return 0;
	*out = strdup(s);
	return *out ? 0 : err_nomem(err);
}

/* A path in a kubeconfig is relative to that file. */
static int copy_path(char **out, const struct yaml *map, const char *key, struct err *err)
{
	const struct yaml *n = yaml_get(map, key);
	const char *slash;

	if (!n)
		return 0;
	slash = strrchr(n->file, '/');
	if (n->text[0] == '/' || !slash) {
		if (copy(out, n->text, err) < 0)
			return -1;
	} else if (asprintf(out, "%.*s/%s", (int)(slash - n->file), n->file, n->text) < 0) {
		*out = NULL;
		return err_nomem(err);
	}
	if (access(*out, R_OK) < 0)
		return yaml_error(err, n, "%s: %s: %s", key, *out, strerror(errno));
	return 0;
}

static void ctx_free(EVP_ENCODE_CTX **ctx)
{
	EVP_ENCODE_CTX_free(*ctx);
}

static int decode_base64(const char *text, struct buf *out, struct err *err)
{
	CLEANUP(ctx_free) EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
	size_t n = strlen(text);
	int len = 0, rest = 0;

	if (!ctx)
		return err_nomem(err);
	if (buf_reserve(out, n / 4 * 3 + 64, err) < 0)
		return -1;
	EVP_DecodeInit(ctx);
	if (EVP_DecodeUpdate(ctx, (unsigned char *)out->data, &len, (const unsigned char *)text,
			     (int)n) < 0 ||
	    EVP_DecodeFinal(ctx, (unsigned char *)out->data + len, &rest) < 0)
		return err_set(err, ERR_INVALID, "is not base64");
	out->len = (size_t)(len + rest);
	out->data[out->len] = '\0';
	return 0;
}

/* Inline certificates and keys: base64 of PEM. */
static int copy_pem(struct buf *out, const struct yaml *map, const char *key, struct err *err)
{
	const struct yaml *n = yaml_get(map, key);
	struct err why = ERR_INIT;

	*out = BUF_INIT(PEM_MAX_BYTES);
	if (!n)
		return 0;
	if (decode_base64(n->text, out, &why) < 0)
		return yaml_error(err, n, "%s: %s", key, err_text(&why));
	if (!memmem(out->data, out->len, "-----BEGIN ", 11))
		return yaml_error(err, n, "%s: there is no PEM inside the base64", key);
	return 0;
}

/* --- the two halves --------------------------------------------------------------------------- */

static int take_cluster(const struct yaml *map, struct k8s_config *c, struct err *err)
{
	struct cluster v;

	if (yaml_fields_read(map, cluster_fields, ARRAY_LEN(cluster_fields), &v, err) < 0)
		return -1;
	if (!str_starts(v.server, "https://") && !str_starts(v.server, "http://"))
		return yaml_error(err, yaml_get(map, "server"),
				  "server: \"%s\" does not begin with https:// or http://",
				  v.server);
	if (v.insecure && (v.ca_file || v.ca_data))
		return yaml_error(
			err, map,
			"insecure-skip-tls-verify beside a certificate-authority: which?");
	c->insecure = v.insecure;
	if (copy(&c->server, v.server, err) < 0 || copy(&c->server_name, v.server_name, err) < 0 ||
	    copy(&c->proxy, v.proxy, err) < 0 ||
	    copy_pem(&c->ca_pem, map, "certificate-authority-data", err) < 0)
		return -1;
	return v.ca_data ? 0 : copy_path(&c->ca_file, map, "certificate-authority", err);
}

/* What would need a program to run, or means more than "who I am". */
static int refuse_unsupported(const struct yaml *map, struct err *err)
{
	static const struct {
		const char *key, *why;
	} refused[] = {
		{ "exec",
		  "plug-in programs are not run here; use a token, tokenFile or a client certificate" },
		{ "auth-provider",
		  "plug-ins are not supported; use a token, tokenFile or a client certificate" },
		{ "username", "API servers no longer take passwords; use a token" },
		{ "password", "API servers no longer take passwords; use a token" },
		{ "as", "impersonation is not supported" },
		{ "as-uid", "impersonation is not supported" },
		{ "as-groups", "impersonation is not supported" },
	};

	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		const struct yaml *n = yaml_get(map, refused[i].key);

		if (!n)
			continue;
		yaml_error(err, n, "%s: %s", refused[i].key, refused[i].why);
		err->kind = ERR_UNSUPPORTED;
		return -1;
	}
	return 0;
}

static int take_user(const struct yaml *map, struct k8s_config *c, struct err *err)
{
	struct user v;

	if (yaml_fields_read(map, user_fields, ARRAY_LEN(user_fields), &v, err) < 0 ||
	    refuse_unsupported(map, err) < 0)
		return -1;
	if (!(v.cert_file || v.cert_data) != !(v.key_file || v.key_data))
		return yaml_error(err, map, "a client certificate needs its key, and the key it");
	if (v.token && buf_adds(&c->token, v.token, err) < 0)
		return yaml_error(err, yaml_get(map, "token"), "token: too long");
	if (copy_pem(&c->cert_pem, map, "client-certificate-data", err) < 0 ||
	    copy_pem(&c->key_pem, map, "client-key-data", err) < 0 ||
	    (!v.cert_data && copy_path(&c->cert_file, map, "client-certificate", err) < 0) ||
	    (!v.key_data && copy_path(&c->key_file, map, "client-key", err) < 0))
		return -1;
	return copy_path(&c->token_file, map, "tokenFile", err);
}

static int take_context(const struct files *f, struct k8s_config **out, struct err *err)
{
	AUTO(k8s_config_free) struct k8s_config *c = config_new(err);
	const struct yaml *cluster, *user;
	struct context context;

	if (!c || find_context(f, &context, err) < 0 ||
	    find(f, "clusters", "cluster", context.cluster, &cluster, err) < 0 ||
	    take_cluster(cluster, c, err) < 0 || copy(&c->ns, context.ns, err) < 0 ||
	    copy(&c->origin, f->root[0]->file, err) < 0)
		return -1;
	if (!str_empty(context.user) &&
	    (find(f, "users", "user", context.user, &user, err) < 0 || take_user(user, c, err) < 0))
		return -1;
	*out = TAKE_PTR(c);
	return 0;
}

static int add_text(struct files *f, const char *path, struct rd text, struct err *err)
{
	struct yaml *root;

	if (yaml_parse(path, text, &root, err) < 0)
		return -1;
	f->root[f->n++] = root;
	return root->kind == YAML_MAP ? 0 : yaml_error(err, root, "is not a kubeconfig");
}

int kubeconfig_parse(const char *path, struct rd text, struct k8s_config **out, struct err *err)
{
	CLEANUP(files_clear) struct files f = { 0 };

	return add_text(&f, path, text, err) < 0 ? -1 : take_context(&f, out, err);
}

int kubeconfig_load(const char *const *paths, size_t n, struct k8s_config **out, struct err *err)
{
	CLEANUP(files_clear) struct files f = { 0 };

	if (n > MAX_FILES)
		return err_set(err, ERR_INVALID, "more than %d kubeconfig files", MAX_FILES);
	for (size_t i = 0; i < n; i++) {
		AUTO_BUF text = BUF_INIT(YAML_MAX_BYTES);
		int r = file_read(paths[i], &text, err);

		if (r == 0)
			r = add_text(&f, paths[i], buf_rd(&text), err);
		if (text.data)
			explicit_bzero(text.data, text.len);
		if (r < 0)
			return -1;
	}
	return take_context(&f, out, err);
}
