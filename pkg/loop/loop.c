/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - epoll under one type of source.
 *
 * Timers are due times and one epoll_wait() timeout: no descriptor for each, and base/clock's fake
 * clock moves them in tests.  Signals share one signalfd; children are pidfds.
 */
#include "loop/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"

#define BATCH 32

enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_CHILD };

struct source {
	struct loop *loop;
	struct source *next, *prev;
	enum source_kind kind;
	bool dead;
	int fd; /* watched; SOURCE_CHILD: pidfd, ours */
	bool armed;
	uint64_t due_ms, armed_in; /* armed_in: the round of the arming */
	int signo;
	pid_t pid;
	void *arg;
	union {
		on_fd *fd;
		on_timer *timer;
		on_signal *signal;
		on_child *child;
	} call;
};

struct loop {
	int epoll_fd, signal_fd;
	sigset_t signals, before; /* handled here; mask as it was when the loop was made */
	struct source *all;
	bool stop, have_dead;
	int exit_code;
	uint64_t last_turn_ms, round;
};

int loop_new(struct loop **out, struct err *err)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return err_nomem(err);
	l->signal_fd = -1;
	sigemptyset(&l->signals);
	sigprocmask(SIG_BLOCK, NULL, &l->before);
	l->last_turn_ms = now_ms();
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		err_errno(err, "making an event loop");
		free(l);
		return -1;
	}
	*out = l;
	return 0;
}

static void source_release(struct source *s)
{
	struct loop *l = s->loop;

	if (s->prev)
		s->prev->next = s->next;
	else
		l->all = s->next;
	if (s->next)
		s->next->prev = s->prev;
	if (s->kind == SOURCE_CHILD && s->fd >= 0)
		close(s->fd);
	free(s);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->all)
		source_release(l->all);
	close(l->epoll_fd);
	if (l->signal_fd >= 0) {
		close(l->signal_fd);
		sigprocmask(SIG_SETMASK, &l->before, NULL);
	}
	free(l);
}

static struct source *source_new(struct loop *l, enum source_kind kind, void *arg)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->kind = kind;
	s->arg = arg;
	s->fd = -1;
	s->next = l->all;
	if (l->all)
		l->all->prev = s;
	l->all = s;
	return s;
}

static int epoll_add(struct loop *l, int fd, uint32_t events, struct source *s, struct err *err)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_errno(err, "watching descriptor %d", fd);
	return 0;
}

int loop_add_fd(struct loop *l, int fd, uint32_t events, on_fd *fn, void *arg, struct source **out,
		struct err *err)
{
	struct source *s = source_new(l, SOURCE_FD, arg);

	if (!s)
		return err_nomem(err);
	s->call.fd = fn;
	s->fd = fd;
	if (epoll_add(l, fd, events, s, err) < 0) {
		source_release(s);
		return -1;
	}
	if (out)
		*out = s;
	return 0;
}

int source_set_events(struct source *s, uint32_t events, struct err *err)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	if (epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0)
		return err_errno(err, "watching descriptor %d", s->fd);
	return 0;
}

int loop_add_timer(struct loop *l, on_timer *fn, void *arg, struct source **out, struct err *err)
{
	struct source *s = source_new(l, SOURCE_TIMER, arg);

	if (!s)
		return err_nomem(err);
	s->call.timer = fn;
	if (out)
		*out = s;
	return 0;
}

void timer_arm(struct source *s, uint64_t after_ms)
{
	uint64_t now = now_ms();

	s->armed = true;
	s->armed_in = s->loop->round;
	s->due_ms = after_ms > UINT64_MAX - now ? UINT64_MAX : now + after_ms;
}

void timer_disarm(struct source *s)
{
	s->armed = false;
}

uint64_t timer_left_ms(const struct source *s)
{
	uint64_t now = now_ms();

	if (!s->armed)
		return UINT64_MAX;
	return s->due_ms > now ? s->due_ms - now : 0;
}

int loop_add_signal(struct loop *l, int signo, on_signal *fn, void *arg, struct source **out,
		    struct err *err)
{
	bool first = l->signal_fd < 0;
	struct source *s;

	sigaddset(&l->signals, signo);
	if (sigprocmask(SIG_BLOCK, &l->signals, NULL) < 0)
		return err_errno(err, "blocking signal %d", signo);
	l->signal_fd = signalfd(l->signal_fd, &l->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signal_fd < 0)
		return err_errno(err, "receiving signals");
	if (first && epoll_add(l, l->signal_fd, EPOLLIN, NULL, err) < 0)
		return -1;
	s = source_new(l, SOURCE_SIGNAL, arg);
	if (!s)
		return err_nomem(err);
	s->call.signal = fn;
	s->signo = signo;
	if (out)
		*out = s;
	return 0;
}

int loop_add_child(struct loop *l, pid_t pid, on_child *fn, void *arg, struct source **out,
		   struct err *err)
{
	struct source *s = source_new(l, SOURCE_CHILD, arg);

	if (!s)
		return err_nomem(err);
	s->call.child = fn;
	s->pid = pid;
	s->fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by definition */
	if (s->fd < 0) {
		err_errno(err, "watching child %d", pid);
		source_release(s);
		return -1;
	}
	if (epoll_add(l, s->fd, EPOLLIN, s, err) < 0) {
		source_release(s);
		return -1;
	}
	if (out)
		*out = s;
	return 0;
}

void source_free(struct source *s)
{
	if (!s || s->dead)
		return;
	s->dead = true;
	s->armed = false;
	s->loop->have_dead = true;
	if (s->kind == SOURCE_FD || s->kind == SOURCE_CHILD)
		epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
}

static void sweep(struct loop *l)
{
	if (!l->have_dead)
		return;
	l->have_dead = false;
	for (struct source *s = l->all, *next; s; s = next) {
		next = s->next;
		if (s->dead)
			source_release(s);
	}
}

static void dispatch_signals(struct loop *l)
{
	struct signalfd_siginfo info;

	while (read(l->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		for (struct source *s = l->all; s; s = s->next)
			if (!s->dead && s->kind == SOURCE_SIGNAL && s->signo == (int)info.ssi_signo)
				s->call.signal(s, s->signo, s->arg);
}

static void dispatch_child(struct source *s)
{
	pid_t pid = s->pid;
	int status = 0;

	if (waitpid(pid, &status, WNOHANG) == 0)
		return;
	source_free(s);
	s->call.child(s, pid, status, s->arg);
}

/* In the order of their time, those due when the round began: one that a callback arms with 0 waits
 * for the next round.  Callbacks may add and free sources, so each search starts anew. */
static void dispatch_timers(struct loop *l)
{
	uint64_t now = now_ms();

	l->round++;
	for (;;) {
		struct source *first = NULL;

		for (struct source *s = l->all; s; s = s->next)
			if (s->kind == SOURCE_TIMER && !s->dead && s->armed && s->due_ms <= now &&
			    s->armed_in < l->round && (!first || s->due_ms < first->due_ms))
				first = s;
		if (!first)
			return;
		first->armed = false;
		first->call.timer(first, first->arg);
	}
}

static int wait_ms(const struct loop *l, uint64_t most_ms)
{
	uint64_t now = now_ms(), wait = most_ms;

	for (const struct source *s = l->all; s; s = s->next) {
		uint64_t left;

		if (s->kind != SOURCE_TIMER || s->dead || !s->armed)
			continue;
		left = s->due_ms > now ? s->due_ms - now : 0;
		if (left < wait)
			wait = left;
	}
	return wait > INT32_MAX ? (most_ms == UINT64_MAX && wait == UINT64_MAX ? -1 : INT32_MAX)
				: (int)wait;
}

int loop_turn(struct loop *l, uint64_t most_ms, struct err *err)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(l->epoll_fd, ev, BATCH, wait_ms(l, most_ms));

	if (n < 0 && errno != EINTR)
		return err_errno(err, "waiting for events");
	l->last_turn_ms = now_ms();
	dispatch_timers(l);
	for (int i = 0; i < n; i++) {
		struct source *s = ev[i].data.ptr;

		if (!s)
			dispatch_signals(l);
		else if (!s->dead && s->kind == SOURCE_FD)
			s->call.fd(s, s->fd, ev[i].events, s->arg);
		else if (!s->dead)
			dispatch_child(s);
	}
	sweep(l);
	return 0;
}

int loop_run(struct loop *l, int *exit_code, struct err *err)
{
	l->stop = false;
	while (!l->stop)
		if (loop_turn(l, UINT64_MAX, err) < 0)
			return -1;
	*exit_code = l->exit_code;
	return 0;
}

void loop_stop(struct loop *l, int exit_code)
{
	l->stop = true;
	l->exit_code = exit_code;
}

uint64_t loop_last_turn_ms(const struct loop *l)
{
	return l->last_turn_ms;
}

void loop_after_fork(struct loop *l)
{
	close(l->epoll_fd);
	if (l->signal_fd >= 0)
		close(l->signal_fd);
	for (struct source *s = l->all; s; s = s->next)
		if (s->kind == SOURCE_CHILD && s->fd >= 0)
			close(s->fd);
	sigprocmask(SIG_SETMASK, &l->before, NULL);
}
