/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs - forks a child for each job, listens to its pipe, waits for its end, and calls on_done when
 * the last one has ended.  A deadline's callback kills; the end of the child ends the job.
 */
#include "gpu/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "gpu/child.h"

#define KILL_GRACE_MS 2000 /* a child that survives SIGKILL so long sits in the kernel */
#define ORPHANS_MAX   64

const char *const gpu_op_names[] = { "query",	"settings", "unbind", "stage",
				     "unstage", "reset",    "bind" };
_Static_assert(ARRAY_LEN(gpu_op_names) == GPU_N_OPS, "a name for each");

/* The longest that goes right: boot 10 s and firewall 5 s, then commands of at most 11 s each. */
static const uint64_t deadlines_ms[GPU_N_OPS] = {
	[GPU_OP_QUERY] = 60000, [GPU_OP_SETTINGS] = 90000, [GPU_OP_UNBIND] = 10000,
	[GPU_OP_STAGE] = 60000, [GPU_OP_UNSTAGE] = 60000,  [GPU_OP_RESET] = 120000,
	[GPU_OP_BIND] = 30000,
};

enum state { WAITING, RUNNING, ENDED };

struct slot {
	struct gpu_jobs *jobs;
	struct gpu_job job;
	enum state state;
	pid_t pid;
	int fd;
	struct source *pipe, *child, *timer;
	bool killed, rubbish, answered;
	size_t have;
	uint8_t bytes[2 * GPU_FRAME_BYTES_MAX];
};

struct gpu_jobs {
	struct gpu_jobs_spec spec;
	struct source *done_timer;
	struct gpu_result *result;
	size_t n, n_ended;
	bool interrupted;
	struct slot slot[];
};

/* Children that were given up while they hung in the kernel; reaped when they come out. */
static pid_t orphans[ORPHANS_MAX];

static void orphan_add(pid_t pid)
{
	for (size_t i = 0; i < ORPHANS_MAX; i++) {
		if (orphans[i])
			continue;
		orphans[i] = pid;
		return;
	}
}

static void orphans_reap(void)
{
	for (size_t i = 0; i < ORPHANS_MAX; i++)
		if (orphans[i] && waitpid(orphans[i], NULL, WNOHANG) != 0)
			orphans[i] = 0;
}

static struct gpu_result *result_of(struct slot *s)
{
	return &s->jobs->result[s - s->jobs->slot];
}

PRINTF(3, 4)
static void result_fail(struct slot *s, enum err_kind kind, const char *fmt, ...)
{
	struct gpu_result *r = result_of(s);
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*r = (struct gpu_result){
		.bdf = s->job.dev->bdf, .op = s->job.op, .error_kind = kind, .undo = r->undo
	};
	snprintf(r->error, sizeof(r->error), "%s: %s: %s", bdf_str(s->job.dev->bdf),
		 gpu_op_names[s->job.op], text);
}

static void start_more(struct gpu_jobs *jobs);

static void slot_close(struct slot *s)
{
	source_free(s->pipe);
	source_free(s->child);
	source_free(s->timer);
	s->pipe = s->child = s->timer = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void slot_end(struct slot *s)
{
	struct gpu_jobs *jobs = s->jobs;

	slot_close(s);
	s->state = ENDED;
	if (++jobs->n_ended == jobs->n)
		timer_arm(jobs->done_timer, 0);
	else
		start_more(jobs);
}

static void frame_take(struct slot *s, enum gpu_frame_kind kind, struct rd body)
{
	const struct gpu_jobs_spec *spec = &s->jobs->spec;
	enum log_level level;
	char text[GPU_TEXT_BYTES];

	if (kind == GPU_FRAME_NOTE && gpu_frame_note_parse(body, &level, text)) {
		if (spec->on_note)
			spec->on_note(spec->arg, s->job.dev, level, text);
		return;
	}
	if (kind == GPU_FRAME_RESULT && !s->answered &&
	    gpu_frame_result_parse(body, &s->job, result_of(s)))
		s->answered = true;
	else
		s->rubbish = true;
}

static void frames_take(struct slot *s)
{
	struct rd in = rd_of(s->bytes, s->have), body;
	enum gpu_frame_kind kind;
	int r = 0;

	while (!s->rubbish && (r = gpu_frame_next(&in, &kind, &body)) > 0)
		frame_take(s, kind, body);
	if (r < 0)
		s->rubbish = true;
	memmove(s->bytes, in.p, in.left);
	s->have = in.left;
}

/* Until the pipe is empty; false at its end. */
static bool pipe_drain(struct slot *s)
{
	for (;;) {
		ssize_t n = read(s->fd, s->bytes + s->have, sizeof(s->bytes) - s->have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		s->have += (size_t)n;
		frames_take(s);
		if (s->rubbish) /* from here on nothing can be believed */
			s->have = 0;
	}
}

static void on_pipe(struct source *src, int fd, uint32_t events, void *arg)
{
	struct slot *s = arg;

	(void)fd;
	(void)events;
	if (pipe_drain(s))
		return;
	source_free(src);
	s->pipe = NULL;
}

/* Who keeps a device from being unbound. */
static void holder_tell(struct slot *s, char *out, size_t size)
{
	struct gpu_dev now = *s->job.dev;
	struct err err = ERR_INIT;

	*out = '\0';
	if (s->job.op == GPU_OP_UNBIND && gpu_scan_users(s->jobs->spec.host, &now, 1, &err) == 0 &&
	    *now.in_use)
		snprintf(out, size, "; %.200s", now.in_use);
}

static uint64_t deadline_ms(const struct slot *s)
{
	return s->job.deadline_ms ? s->job.deadline_ms : deadlines_ms[s->job.op];
}

static void timeout_tell(struct slot *s, bool gone)
{
	char holder[GPU_TEXT_BYTES];

	holder_tell(s, holder, sizeof(holder));
	result_fail(s, ERR_TIMEOUT, "not done in %llu ms%s%s", (unsigned long long)deadline_ms(s),
		    gone ? "" : "; it hangs in the kernel", holder);
}

static void on_exit_of(struct source *src, pid_t pid, int status, void *arg)
{
	struct slot *s = arg;

	(void)src;
	(void)pid;
	s->child = NULL; /* the loop frees it */
	pipe_drain(s);
	if (s->killed && !s->answered)
		timeout_tell(s, true);
	else if (WIFSIGNALED(status) && !s->answered)
		result_fail(s, ERR_SYSTEM, "its child died of signal %d (%s)", WTERMSIG(status),
			    strsignal(WTERMSIG(status)));
	else if (s->rubbish || !s->answered)
		result_fail(s, ERR_SYSTEM, "its child ended with status %d and %s",
			    WEXITSTATUS(status),
			    s->rubbish ? "an answer that makes no sense" : "no answer");
	slot_end(s);
}

static void on_deadline(struct source *src, void *arg)
{
	struct slot *s = arg;

	if (s->killed) {
		timeout_tell(s, false);
		orphan_add(s->pid);
		slot_end(s);
		return;
	}
	s->killed = true;
	kill(s->pid, SIGKILL);
	timer_arm(src, KILL_GRACE_MS);
}

static int slot_fork(struct slot *s, int fd[2], struct err *err)
{
	pid_t parent = getpid();

	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_errno(err, "making a pipe");
	s->pid = fork();
	if (s->pid == 0)
		gpu_child_main(&s->jobs->spec, &s->job, fd[1], parent);
	if (s->pid > 0 && fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	err_errno(err, "starting a child");
	close(fd[0]);
	close(fd[1]);
	return -1;
}

static int slot_start(struct slot *s, struct err *err)
{
	struct loop *loop = s->jobs->spec.loop;
	int fd[2];

	if (slot_fork(s, fd, err) < 0)
		return -1;
	close(fd[1]);
	s->fd = fd[0];
	s->state = RUNNING;
	if (loop_add_fd(loop, s->fd, EPOLLIN, on_pipe, s, &s->pipe, err) < 0 ||
	    loop_add_timer(loop, on_deadline, s, &s->timer, err) < 0 ||
	    loop_add_child(loop, s->pid, on_exit_of, s, &s->child, err) < 0) {
		kill(s->pid, SIGKILL);
		orphan_add(s->pid);
		return -1;
	}
	timer_arm(s->timer, deadline_ms(s));
	return 0;
}

static bool group_busy(const struct gpu_jobs *jobs, const struct slot *of)
{
	uint32_t group = of->job.dev->reset_group;

	if (of->job.op != GPU_OP_RESET || !group)
		return false;
	for (size_t i = 0; i < jobs->n; i++)
		if (jobs->slot[i].state == RUNNING && jobs->slot[i].job.op == GPU_OP_RESET &&
		    jobs->slot[i].job.dev->reset_group == group)
			return true;
	return false;
}

/* The first that may start; NULL when all that is left has to wait. */
static struct slot *startable(struct gpu_jobs *jobs)
{
	for (size_t i = 0; i < jobs->n; i++)
		if (jobs->slot[i].state == WAITING && !group_busy(jobs, &jobs->slot[i]))
			return &jobs->slot[i];
	return NULL;
}

static void start_more(struct gpu_jobs *jobs)
{
	struct slot *s = startable(jobs);
	struct err err = ERR_INIT;

	for (; s; s = startable(jobs)) {
		if (!jobs->interrupted && slot_start(s, &err) == 0)
			continue;
		if (jobs->interrupted)
			result_fail(s, ERR_INTERRUPTED, "stopped before it began");
		else
			result_fail(s, err.kind, "%s", err_text(&err));
		slot_close(s);
		s->state = ENDED;
		if (++jobs->n_ended == jobs->n)
			timer_arm(jobs->done_timer, 0);
	}
}

static void jobs_release(struct gpu_jobs *jobs)
{
	for (size_t i = 0; i < jobs->n; i++)
		slot_close(&jobs->slot[i]);
	source_free(jobs->done_timer);
	free(jobs->result);
	free(jobs);
}

static void on_done(struct source *src, void *arg)
{
	struct gpu_jobs *jobs = arg;

	(void)src;
	jobs->spec.on_done(jobs->spec.arg, jobs->result, jobs->n);
	jobs_release(jobs);
}

int gpu_jobs_start(const struct gpu_jobs_spec *spec, struct gpu_jobs **out, struct err *err)
{
	struct gpu_jobs *jobs = calloc(1, sizeof(*jobs) + spec->n * sizeof(*jobs->slot));

	orphans_reap();
	if (!jobs)
		return err_nomem(err);
	jobs->spec = *spec;
	jobs->n = spec->n;
	for (size_t i = 0; i < spec->n; i++)
		jobs->slot[i] = (struct slot){ .jobs = jobs, .job = spec->job[i], .fd = -1 };
	jobs->result = calloc(spec->n ? spec->n : 1, sizeof(*jobs->result));
	if (!jobs->result ||
	    loop_add_timer(spec->loop, on_done, jobs, &jobs->done_timer, err) < 0) {
		if (!jobs->result)
			err_nomem(err);
		jobs_release(jobs);
		return -1;
	}
	if (!jobs->n)
		timer_arm(jobs->done_timer, 0);
	start_more(jobs);
	*out = jobs;
	return 0;
}

void gpu_jobs_interrupt(struct gpu_jobs *jobs)
{
	jobs->interrupted = true;
	for (size_t i = 0; i < jobs->n; i++)
		if (jobs->slot[i].state == RUNNING)
			kill(jobs->slot[i].pid, SIGTERM);
	start_more(jobs);
}

void gpu_jobs_free(struct gpu_jobs *jobs)
{
	if (!jobs)
		return;
	for (size_t i = 0; i < jobs->n; i++) {
		if (jobs->slot[i].state != RUNNING)
			continue;
		kill(jobs->slot[i].pid, SIGKILL);
		orphan_add(jobs->slot[i].pid);
	}
	jobs_release(jobs);
	orphans_reap();
}

void gpu_dev_learn(struct gpu_dev *dev, const struct gpu_result *result)
{
	if (!*result->chip_name)
		return;
	str_copy(dev->chip_name, sizeof(dev->chip_name), result->chip_name);
	dev->ppcie_capable = result->ppcie_capable;
	if (*result->name)
		str_copy(dev->name, sizeof(dev->name), result->name);
}
