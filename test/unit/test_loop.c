/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "loop/loop.h"

struct seen {
	struct loop *loop;
	struct source *other;
	int calls, value;
};

static void stop_on_timer(struct source *s UNUSED, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	loop_stop(seen->loop, 7);
}

Test(loop, a_timer_fires_once_and_stops_the_loop)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct err e = ERR_INIT;
	struct seen seen = {0};
	struct source *t;
	uint64_t start = now_ms();
	int code = 0;

	cr_assert_eq(loop_new(&l, &e), 0);
	seen.loop = l;
	cr_assert_eq(loop_add_timer(l, stop_on_timer, &seen, &t, &e), 0);
	timer_arm(t, 30);
	cr_assert_eq(loop_run(l, &code, &e), 0);
	cr_assert(code == 7 && seen.calls == 1);
	cr_assert(now_ms() - start >= 30);
	cr_assert_eq(timer_left_ms(t), UINT64_MAX);
}

static void rearm(struct source *s, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	timer_arm(s, 0);
}

Test(loop, a_timer_armed_with_zero_waits_for_the_next_round)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct err e = ERR_INIT;
	struct seen seen = {0};
	struct source *t;

	cr_assert_eq(loop_new(&l, &e), 0);
	cr_assert_eq(loop_add_timer(l, rearm, &seen, &t, &e), 0);
	timer_arm(t, 0);
	for (int i = 1; i <= 5; i++) {
		cr_assert_eq(loop_turn(l, 100, &e), 0);
		cr_assert_eq(seen.calls, i);
	}
}

static void free_the_other(struct source *s, int fd UNUSED, uint32_t events UNUSED, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	source_free(seen->other);
	source_free(s);
}

static void must_not_run(struct source *s UNUSED, int fd UNUSED, uint32_t events UNUSED, void *arg UNUSED)
{
	cr_assert(false, "a freed source was called");
}

/* Which of the two epoll reports first is its business, so both free the other one. */
Test(loop, a_callback_may_free_itself_and_a_later_one_of_the_batch)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct err e = ERR_INIT;
	struct seen a = {0}, b = {0};
	int p[2], q[2];

	cr_assert_eq(loop_new(&l, &e), 0);
	cr_assert(pipe2(p, O_CLOEXEC) == 0 && pipe2(q, O_CLOEXEC) == 0);
	cr_assert(write(p[1], "x", 1) == 1 && write(q[1], "x", 1) == 1);
	cr_assert_eq(loop_add_fd(l, p[0], EPOLLIN, free_the_other, &a, &b.other, &e), 0);
	cr_assert_eq(loop_add_fd(l, q[0], EPOLLIN, free_the_other, &b, &a.other, &e), 0);
	cr_assert_eq(loop_turn(l, 100, &e), 0);
	cr_assert_eq(a.calls + b.calls, 1);
	cr_assert_eq(loop_turn(l, 0, &e), 0);
	cr_assert_eq(a.calls + b.calls, 1);
}

static void free_descriptor_source(struct source *s UNUSED, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	source_free(seen->other);
}

Test(loop, a_timer_may_free_a_descriptor_that_is_ready)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct err e = ERR_INIT;
	struct seen seen = {0};
	struct source *t;
	int p[2];

	cr_assert_eq(loop_new(&l, &e), 0);
	cr_assert(pipe2(p, O_CLOEXEC) == 0 && write(p[1], "x", 1) == 1);
	cr_assert_eq(loop_add_timer(l, free_descriptor_source, &seen, &t, &e), 0);
	cr_assert_eq(loop_add_fd(l, p[0], EPOLLIN, must_not_run, NULL, &seen.other, &e), 0);
	timer_arm(t, 0);
	cr_assert_eq(loop_turn(l, 100, &e), 0);
	cr_assert_eq(seen.calls, 1);
}

static void note_signal(struct source *s UNUSED, int signo, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->value = signo;
}

Test(loop, signals_arrive_as_calls)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct err e = ERR_INIT;
	struct seen seen = {0};

	cr_assert_eq(loop_new(&l, &e), 0);
	cr_assert_eq(loop_add_signal(l, SIGUSR1, note_signal, &seen, NULL, &e), 0);
	cr_assert_eq(loop_add_signal(l, SIGUSR2, note_signal, &seen, NULL, &e), 0);
	kill(getpid(), SIGUSR2);
	cr_assert_eq(loop_turn(l, 1000, &e), 0);
	cr_assert(seen.calls == 1 && seen.value == SIGUSR2);
}

static void note_child(struct source *s UNUSED, pid_t pid UNUSED, int status, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->value = status;
}

Test(loop, a_child_is_reaped_once)
{
	AUTO(loop_free) struct loop *l = NULL;
	struct err e = ERR_INIT;
	struct seen seen = {0};
	pid_t pid;

	cr_assert_eq(loop_new(&l, &e), 0);
	pid = fork();
	if (pid == 0) {
		loop_after_fork(l);
		_exit(3);
	}
	cr_assert_eq(loop_add_child(l, pid, note_child, &seen, NULL, &e), 0);
	for (int i = 0; i < 50 && !seen.calls; i++)
		cr_assert_eq(loop_turn(l, 100, &e), 0);
	cr_assert(seen.calls == 1 && WIFEXITED(seen.value) && WEXITSTATUS(seen.value) == 3);
	cr_assert_eq(waitpid(pid, NULL, 0), -1);
}
