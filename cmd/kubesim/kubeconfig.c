/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files by which clients find the server: a kubeconfig, a token, a port.
 */
#include "sim.h"

#include <string.h>

#include "base/file.h"
#include "base/str.h"

int token_write(struct sim *s, struct err *err)
{
	return !s->config.token_file
		       ? 0
		       : file_publish(s->config.token_file, s->token, strlen(s->token), 0600, err);
}

static int user_write(struct sim *s, struct buf *out, struct err *err)
{
	if (s->config.token_file)
		return buf_addf(out, err, "    tokenFile: %s\n", s->config.token_file);
	return buf_addf(out, err, "    token: %s\n", s->token);
}

int kubeconfig_write(struct sim *s, struct err *err)
{
	AUTO_BUF text = BUF_INIT(16384);
	char port[16];

	snprintf(port, sizeof(port), "%u\n", s->port);
	if (s->config.port_file &&
	    file_publish(s->config.port_file, port, strlen(port), 0644, err) < 0)
		return -1;
	if (!*s->kubeconfig)
		return 0;
	if (buf_addf(&text, err,
		     "apiVersion: v1\nkind: Config\ncurrent-context: kubesim\nclusters:\n"
		     "- name: kubesim\n  cluster:\n    server: http://127.0.0.1:%u\n"
		     "contexts:\n- name: kubesim\n  context:\n    cluster: kubesim\n"
		     "    user: kubesim\nusers:\n- name: kubesim\n  user:\n",
		     s->port) < 0 ||
	    user_write(s, &text, err) < 0)
		return -1;
	return file_publish(s->kubeconfig, text.data, text.len, 0600, err);
}

/* Only what kubeconfig_write() wrote is read here; agents have a real reader. */
int kubeconfig_read_server(const char *path, char *out, size_t size, struct err *err)
{
	static const char key[] = "server: http://";
	AUTO_BUF text = BUF_INIT(1u << 20);
	const char *at;

	if (file_read(path, &text, err) < 0)
		return -1;
	at = strstr(buf_str(&text), key);
	if (!at)
		return err_set(err, ERR_INVALID, "%s: no %s... in it: not written by kubesim", path,
			       key);
	at += strlen(key);
	if (!str_copyn(out, size, at, strcspn(at, "/ \r\n")))
		return err_set(err, ERR_INVALID, "%s: the server's address is too long", path);
	return 0;
}
