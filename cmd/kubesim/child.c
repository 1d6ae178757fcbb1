/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kubesim ... -- COMMAND`: the command runs with KUBECONFIG set, kubesim ends as it ends.
 */
#include "sim.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_exit_of_child(struct source *src, pid_t pid, int status, void *arg)
{
	struct sim *s = arg;

	(void)src;
	(void)pid;
	s->child = 0;
	loop_stop(s->loop, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int child_start(struct sim *s, struct err *err)
{
	pid_t pid;

	if (!s->config.command)
		return 0;
	pid = fork();
	if (pid < 0)
		return err_errno(err, "starting %s", s->config.command[0]);
	if (pid == 0) {
		loop_after_fork(s->loop);
		(void)setrlimit(RLIMIT_NOFILE, &s->files);
		if (setenv("KUBECONFIG", s->kubeconfig, 1) == 0)
			execvp(s->config.command[0], s->config.command);
		fprintf(stderr, "kubesim: %s: %s\n", s->config.command[0], strerror(errno));
		_exit(127);
	}
	s->child = pid;
	return loop_add_child(s->loop, pid, on_exit_of_child, s, NULL, err);
}
