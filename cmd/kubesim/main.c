/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubesim - a Kubernetes API server small enough for a unit test, with faults on demand.
 */
#include "sim.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"

static void on_stop(struct source *src, int signo, void *arg)
{
	struct sim *s = arg;

	(void)src;
	if (s->child)
		kill(s->child, signo); /* its end is ours */
	else
		loop_stop(s->loop, 0);
}

static int nodes_make(struct sim *s, const char *labels, struct err *err)
{
	char name[32];

	for (uint64_t i = 1; i <= s->config.n_nodes; i++) {
		snprintf(name, sizeof(name), "node-%llu", (unsigned long long)i);
		if (kubemodel_add_node(s->model, name, labels, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < s->config.nodes.n; i++)
		if (kubemodel_add_node(s->model, s->config.nodes.item[i], labels, err) < 0)
			return -1;
	return 0;
}

/* The cluster as it was left, or a new one. */
static int cluster_make(struct sim *s, struct err *err)
{
	AUTO_BUF saved = BUF_INIT(KUBEMODEL_MAX_ANSWER);
	AUTO_BUF labels = BUF_INIT(65536);
	const struct config *c = &s->config;
	char path[4096];

	snprintf(path, sizeof(path), "%s/cluster.json", c->state_dir ? c->state_dir : "");
	if (c->state_dir && access(path, F_OK) == 0) {
		if (file_read(path, &saved, err) < 0 ||
		    kubemodel_load(s->model, buf_rd(&saved), err) < 0)
			return err_wrap(err, "%s", path);
		return 0;
	}
	if (c->with_operator && !str_eq(c->operator_set, "none") &&
	    buf_adds(&labels, kubemodel_operator_labels(c->operator_set), err) < 0)
		return -1;
	for (size_t i = 0; i < c->labels.n; i++)
		if (buf_addf(&labels, err, "%s\n", c->labels.item[i]) < 0)
			return -1;
	if (kubemodel_add_namespace(s->model, "default", err) < 0 ||
	    kubemodel_add_namespace(s->model, "kube-system", err) < 0)
		return -1;
	return nodes_make(s, buf_str(&labels), err);
}

static int cluster_save(struct sim *s, struct err *err)
{
	AUTO_BUF text = BUF_INIT(KUBEMODEL_MAX_ANSWER);
	char path[4096];

	if (!s->config.state_dir)
		return 0;
	snprintf(path, sizeof(path), "%s/cluster.json", s->config.state_dir);
	if (kubemodel_save(s->model, &text, err) < 0 ||
	    file_mkdirs(s->config.state_dir, 0755, err) < 0)
		return -1;
	return file_publish(path, text.data, text.len, 0644, err);
}

static int operator_start(struct sim *s, struct err *err)
{
	const struct config *c = &s->config;
	struct kubemodel_operator op = { c->operator_ns, c->leave_ms, c->return_ms };

	if (!c->with_operator)
		return 0;
	if (kubemodel_operator_start(s->model, &op, err) < 0)
		return -1;
	for (size_t i = 0; i < c->stuck.n; i++)
		if (kubemodel_operator_stick(s->model, c->stuck.item[i], true, err) < 0)
			return -1;
	return 0;
}

static int model_make(struct sim *s, struct err *err)
{
	const struct config *c = &s->config;
	struct kubemodel_config mc = KUBEMODEL_CONFIG_INIT;

	mc.history = c->history;
	mc.bookmark_ms = c->bookmark_ms;
	mc.watch_ms = c->watch_ms;
	mc.grace_ms = c->leave_ms;
	mc.anonymous = !c->no_anonymous; /* kubectl sends no token over plain HTTP */
	mc.gone_as_http = c->gone_as_http;
	if (kubemodel_new(&mc, &s->model, err) < 0 || cluster_make(s, err) < 0 ||
	    operator_start(s, err) < 0)
		return -1;
	for (size_t i = 0; i < c->faults.n; i++)
		if (kubemodel_fault_parse(c->faults.item[i], &s->faults.fault[i], err) < 0)
			return -1;
	s->faults.n = c->faults.n;
	if (!c->token)
		return token_new(s, false, err);
	str_copy(s->token, sizeof(s->token), c->token);
	kubemodel_set_token(s->model, s->token, false);
	return token_write(s, err);
}

/* Where the kubeconfig goes: where it was asked for, else into a folder for the command. */
static int kubeconfig_place(struct sim *s, char folder[64], struct err *err)
{
	if (s->config.kubeconfig_out) {
		if (!str_copy(s->kubeconfig, sizeof(s->kubeconfig), s->config.kubeconfig_out))
			return err_set(err, ERR_INVALID, "--kubeconfig-out: too long");
		return 0;
	}
	if (!s->config.command)
		return 0;
	snprintf(folder, 64, "/tmp/kubesim.XXXXXX");
	if (!mkdtemp(folder)) {
		*folder = '\0';
		return err_errno(err, "a folder for the kubeconfig");
	}
	snprintf(s->kubeconfig, sizeof(s->kubeconfig), "%s/kubeconfig", folder);
	return 0;
}

static int serve(struct sim *s, char folder[64], int *exit_code, struct err *err)
{
	if (requests_open(&s->requests, s->config.log_file, err) < 0 ||
	    loop_new(&s->loop, err) < 0 ||
	    loop_add_signal(s->loop, SIGINT, on_stop, s, NULL, err) < 0 ||
	    loop_add_signal(s->loop, SIGTERM, on_stop, s, NULL, err) < 0 ||
	    model_make(s, err) < 0 || server_open(s, err) < 0 ||
	    kubeconfig_place(s, folder, err) < 0 || kubeconfig_write(s, err) < 0 ||
	    child_start(s, err) < 0 || loop_run(s->loop, exit_code, err) < 0)
		return -1;
	return cluster_save(s, err);
}

static void sim_clear(struct sim *s, const char *folder)
{
	server_close(s);
	kubemodel_free(s->model);
	requests_close(&s->requests);
	loop_free(s->loop);
	if (*folder) {
		unlink(s->kubeconfig);
		rmdir(folder);
	}
}

int main(int argc, char **argv)
{
	static struct sim s = { .listener = -1, .requests.fd = -1 };
	struct err err = ERR_INIT;
	char folder[64] = "";
	int exit_code = 0;

	if (argc > 1 && str_eq(argv[1], "ctl"))
		return ctl_main(argc - 1, argv + 1);
	switch (config_load(&s.config, argc, argv)) {
	case OPTS_DONE:
		return EXIT_SUCCESS;
	case OPTS_BAD:
		return EXIT_USAGE;
	case OPTS_OK:
		break;
	}
	if (getrlimit(RLIMIT_NOFILE, &s.files) == 0) { /* hundreds of watches at once */
		struct rlimit more = { s.files.rlim_max, s.files.rlim_max };

		(void)setrlimit(RLIMIT_NOFILE, &more);
	}
	if (serve(&s, folder, &exit_code, &err) < 0) {
		fprintf(stderr, "kubesim: %s\n", err_text(&err));
		exit_code = EXIT_FAILURE;
	}
	sim_clear(&s, folder);
	return exit_code;
}
