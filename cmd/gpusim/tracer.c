/* SPDX-License-Identifier: Apache-2.0 */
/* tracer - starts the command, follows every thread and child of it, and deals out what happens. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "sim.h"

#define OPTIONS                                                                                    \
	(PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |  \
	 PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)
#define SYSCALL_STOP  (SIGTRAP | 0x80)
#define SAVE_EVERY_US 50000
#define LOOK_EVERY_US 200
#define REAP_US	      2000000

static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT };
static volatile pid_t forward_to;

static void on_signal(int signo, siginfo_t *info, void *context UNUSED)
{
	/* what the terminal sends, it sends to the command as well */
	if (signo != SIGCHLD && forward_to > 0 && info->si_code != SI_KERNEL)
		kill(forward_to, signo);
}

/* Blocked but while waiting.  *old is what the command gets back. */
static void signals_block(sigset_t *old)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	sigset_t set;

	sigfillset(&action.sa_mask);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaction(SIGCHLD, &action, NULL);
	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++) {
		sigaddset(&set, forwarded[i]);
		sigaction(forwarded[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &set, old);
}

/* --- start ----------------------------------------------------------------------------------------- */

static void child_run(struct sim *s, char **argv, int go, int failed, const sigset_t *mask)
{
	char byte;
	int code;

	for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
		signal(forwarded[i], SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (ns_mount_proc() < 0)
		complain("/proc stays the host's: %s", strerror(errno));
	if (read(go, &byte, 1) == 1 && filter_install(s->points.active) == 0)
		execvp(argv[0], argv);
	code = errno;
	if (write(failed, &code, sizeof(code)) < 0)
		code = EIO;
	_exit(code == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXEC);
}

static int start(struct sim *s, char **argv, const sigset_t *mask, int *failed, struct err *err)
{
	int go[2], fail[2];

	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(fail, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	s->main_pid = fork();
	if (s->main_pid < 0)
		return err_errno(err, "fork");
	if (s->main_pid == 0)
		child_run(s, argv, go[0], fail[1], mask);
	close(go[0]);
	close(fail[1]);
	*failed = fail[0];
	if (ptrace(PTRACE_SEIZE, s->main_pid, NULL, OPTIONS) < 0) {
		err_errno(err, "tracing the command");
		kill(s->main_pid, SIGKILL);
		close(go[1]);
		return -1;
	}
	space_clear(task_get(s, s->main_pid));
	forward_to = s->main_pid;
	if (write(go[1], "g", 1) != 1)
		err_errno(err, "starting the command");
	close(go[1]);
	return err->kind ? -1 : 0;
}

/* --- what happens to a thread ---------------------------------------------------------------------- */

void tracer_resume(struct sim *s UNUSED, struct task *t, bool to_exit, int signal)
{
	ptrace(to_exit ? PTRACE_SYSCALL : PTRACE_CONT, t->tid, NULL,
	       signal); /* ESRCH: it was killed */
}

/* The flags that a clone was made with; fork and vfork have theirs by name. */
static uint64_t clone_flags(const struct task *t)
{
	struct user_regs_struct r;
	uint64_t flags = 0;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &r) < 0)
		return 0;
	switch (r.orig_rax) {
	case SYS_vfork:
		return CLONE_VM | CLONE_VFORK;
	case SYS_clone:
		return r.rdi;
	case SYS_clone3:
		return task_read(t->tid, r.rdi, &flags, sizeof(flags)) ? flags : 0;
	default:
		return 0;
	}
}

static void on_clone(struct sim *s, struct task *t)
{
	unsigned long tid = 0;
	uint64_t flags = clone_flags(t);
	struct task *child;

	if (ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &tid) < 0)
		return;
	child = task_get(s, (pid_t)tid);
	if (flags & CLONE_VM)
		space_share(child, t);
	else
		space_copy(child, t);
	child->tgid = flags & CLONE_THREAD ? t->tgid : child->tid;
	if (child->seen_stop) {
		child->seen_stop = false;
		tracer_resume(s, child, false, 0);
	}
	tracer_resume(s, t, false, 0);
}

/* The thread that calls exec takes over the number of its process. */
static void on_exec(struct sim *s, struct task *t)
{
	unsigned long former = 0;
	struct task *old;

	ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &former);
	old = task_find(s, (pid_t)former);
	if (old && old != t)
		task_drop(s, old);
	space_clear(t);
	t->tgid = t->tid;
	t->at_exit = EXIT_NOTHING;
	tracer_resume(s, t, false, 0);
}

static void on_stop_event(struct sim *s, struct task *t, int signal)
{
	if (!t->space) {
		t->seen_stop = true; /* until its parent's event says what it shares */
		return;
	}
	if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)
		ptrace(PTRACE_LISTEN, t->tid, NULL, 0);
	else
		tracer_resume(s, t, false, 0);
}

static void on_signal_stop(struct sim *s, struct task *t, int signal)
{
	siginfo_t info;

	if (signal == SIGSEGV && ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &info) == 0 &&
	    info.si_code > 0 && info.si_code != SI_KERNEL &&
	    access_serve(s, t, (uint64_t)info.si_addr)) {
		if (s->points.due)
			s->killed = true;
		signal = 0;
	}
	if (!s->killed)
		tracer_resume(s, t, false, signal);
}

static void on_stop(struct sim *s, pid_t tid, int status)
{
	struct task *t = task_get(s, tid);
	int signal = WSTOPSIG(status);

	switch (status >> 16) {
	case PTRACE_EVENT_SECCOMP:
		syscall_enter(s, t);
		break;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_clone(s, t);
		break;
	case PTRACE_EVENT_EXEC:
		on_exec(s, t);
		break;
	case PTRACE_EVENT_STOP:
		on_stop_event(s, t, signal);
		break;
	default:
		if (signal == SYSCALL_STOP)
			syscall_leave(s, t);
		else
			on_signal_stop(s, t, signal);
	}
}

static void on_status(struct sim *s, pid_t tid, int status)
{
	struct task *t;

	if (WIFSTOPPED(status)) {
		on_stop(s, tid, status);
		return;
	}
	if (tid == s->main_pid) {
		s->main_done = true;
		s->main_status = status;
	}
	ops_forget(s, tid);
	t = task_find(s, tid);
	if (t)
		task_drop(s, t);
}

/* --- the loop -------------------------------------------------------------------------------------- */

static void report(struct err *err)
{
	complain("%s", err_text(err));
	err_clear(err);
}

/* Has somebody changed the faults?  Asked often, so looked at only now and then. */
static void faults_follow(struct sim *s)
{
	struct err err = ERR_INIT;
	uint64_t now = now_us();

	if (now - s->looked_us < LOOK_EVERY_US)
		return;
	s->looked_us = now;
	if (!state_faults_changed(s))
		return;
	if (state_faults_reload(s, &err) < 0)
		report(&err);
	tree_faults(s);
}

static void housekeeping(struct sim *s)
{
	struct err err = ERR_INIT;

	if (gpumodel_faults_serial(s->model) != s->faults_serial) {
		if (state_faults_store(s, &err) < 0)
			report(&err);
		tree_faults(s);
	}
	if (s->dirty && now_us() - s->saved_us > SAVE_EVERY_US && state_save(s, &err) < 0)
		report(&err);
}

/* Until a child, a signal, a change of the faults, or the next thing that is due. */
static void wait_for_something(struct sim *s, const sigset_t *mask)
{
	struct pollfd pfd = { .fd = s->bell_fd, .events = POLLIN };
	uint64_t now = now_us(), next = ops_next_us(s);
	struct timespec ts;

	if (s->dirty && s->saved_us + SAVE_EVERY_US < next)
		next = s->saved_us + SAVE_EVERY_US;
	if (next < now)
		next = now;
	ts.tv_sec = (time_t)((next - now) / 1000000);
	ts.tv_nsec = (long)((next - now) % 1000000 * 1000);
	if (ppoll(&pfd, 1, next == UINT64_MAX ? NULL : &ts, mask) > 0) {
		s->looked_us = 0;
		faults_follow(s);
	}
	if (s->trace)
		fflush(s->trace);
}

static void loop(struct sim *s, const sigset_t *mask)
{
	int status;

	while (!s->main_done && !s->killed) {
		pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);

		if (tid < 0 && errno == ECHILD)
			return;
		if (tid > 0) {
			faults_follow(s);
			on_status(s, tid, status);
		}
		ops_run(s);
		housekeeping(s);
		if (tid <= 0 && !s->killed)
			wait_for_something(s, mask);
	}
}

/* Nothing of the command is left behind. */
static void kill_all(struct sim *s)
{
	uint64_t until = now_us() + REAP_US;
	int status;
	pid_t tid;

	for (unsigned i = 0; i < GPUMODEL_MAX_DEVICES; i++) {
		holder_stop(s->holder[i]);
		s->holder[i] = 0;
	}
	for (unsigned i = 0; i < TASK_BUCKETS; i++)
		for (struct task *t = s->task[i]; t; t = t->next)
			kill(t->tgid, SIGKILL);
	if (s->init_pid > 0)
		kill(s->init_pid, SIGKILL);
	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) >= 0 && now_us() < until) {
		if (tid == 0) {
			clock_sleep_ms(1);
			continue;
		}
		if (WIFSTOPPED(status)) {
			kill(tid, SIGKILL);
			ptrace(PTRACE_CONT, tid, NULL, 0);
		}
	}
	for (unsigned i = 0; i < TASK_BUCKETS; i++)
		while (s->task[i])
			task_drop(s, s->task[i]);
}

int tracer_run(struct sim *s, char **argv, struct err *err)
{
	sigset_t mask;
	int failed = -1, code = 0;

	signals_block(&mask);
	if (start(s, argv, &mask, &failed, err) < 0)
		return -1;
	loop(s, &mask);
	forward_to = 0;
	kill_all(s);
	if (read(failed, &code, sizeof(code)) == (ssize_t)sizeof(code)) {
		errno = code;
		err_errno(err, "%s", argv[0]);
	}
	close(failed);
	return err->kind ? -1 : 0;
}
