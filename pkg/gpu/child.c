/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child - one operation, run after the fork: dies with its parent, holds only what it must, reports
 * in frames and leaves by _exit().
 */
#include "gpu/child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "gpu/ops.h"

static volatile sig_atomic_t stop;

static void on_term(int signo)
{
	(void)signo;
	stop = 1;
}

static void signals_set(void)
{
	struct sigaction term = { .sa_handler = on_term }, ignore = { .sa_handler = SIG_IGN },
			 normal = { .sa_handler = SIG_DFL };

	sigaction(SIGTERM, &term, NULL);
	sigaction(SIGINT, &ignore, NULL); /* a terminal's goes to all; the parent decides */
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGCHLD, &normal, NULL);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Everything but stderr, the pipe and the device's lock. */
static void descriptors_close(int pipe_fd, int lock_fd)
{
	int keep[] = { STDERR_FILENO, pipe_fd, lock_fd < 0 ? STDERR_FILENO : lock_fd };
	unsigned from = 0;

	qsort(keep, ARRAY_LEN(keep), sizeof(*keep), by_number);
	for (size_t i = 0; i < ARRAY_LEN(keep); i++) {
		if ((unsigned)keep[i] > from)
			close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	close_range(from, ~0u, 0);
}

static void frame_write(int fd, enum gpu_frame_kind kind, const void *body, size_t n)
{
	char frame[GPU_FRAME_BYTES_MAX];
	const struct gpu_frame_head head = { .magic = GPU_FRAME_MAGIC,
					     .kind = (uint16_t)kind,
					     .bytes = (uint16_t)n };
	ssize_t w;

	memcpy(frame, &head, sizeof(head));
	memcpy(frame + sizeof(head), body, n);
	do
		w = write(fd, frame, sizeof(head) + n);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		_exit(EXIT_FAILURE); /* nobody listens any more */
}

static void on_note(void *arg, enum log_level level, const char *text)
{
	struct gpu_frame_note note = { .level = (uint32_t)level };

	str_copy(note.text, sizeof(note.text), text);
	frame_write(*(const int *)arg, GPU_FRAME_NOTE, &note, sizeof(note));
}

static const char *doing(const struct gpu_job *job, char out[64])
{
	static const char *const words[GPU_N_OPS] = {
		[GPU_OP_QUERY] = "reading its mode",	  [GPU_OP_SETTINGS] = "reading its knobs",
		[GPU_OP_UNBIND] = "taking its driver",	  [GPU_OP_UNSTAGE] = "unstaging",
		[GPU_OP_BIND] = "giving its driver back",
	};

	if (words[job->op])
		snprintf(out, 64, "%s", words[job->op]);
	else
		snprintf(out, 64, "%s %s", job->op == GPU_OP_STAGE ? "staging" : "resetting to",
			 gpu_mode_names[job->mode]);
	return out;
}

static int run(const struct gpu_jobs_spec *spec, const struct gpu_job *job, int *pipe_fd,
	       struct gpu_result *out, struct err *err)
{
	const struct gpu_env env = {
		.stop = &stop, .note = on_note, .arg = pipe_fd, .trace = spec->trace
	};
	char what[64];

	if (spec->run_instead)
		return spec->run_instead(job, out, err);
	if (gpu_op_run(spec->host, job, &env, out, err) < 0)
		return err_wrap(err, "%s", doing(job, what));
	return 0;
}

_Noreturn void gpu_child_main(const struct gpu_jobs_spec *spec, const struct gpu_job *job,
			      int pipe_fd, pid_t parent)
{
	struct gpu_result result = { .bdf = job->dev->bdf, .op = job->op };
	struct err err = ERR_INIT;
	uint64_t start_ms = now_ms();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE); /* it died before we asked to die with it */
	signals_set();
	loop_after_fork(spec->loop);
	descriptors_close(pipe_fd, job->lock_fd);
	result.ok = run(spec, job, &pipe_fd, &result, &err) == 0;
	if (!result.ok) {
		result.error_kind = err.kind;
		result.error_code = err.code;
		err_wrap(&err, "%s", bdf_str(job->dev->bdf));
		str_copy(result.error, sizeof(result.error), err_text(&err));
	}
	result.took_ms = (uint32_t)(now_ms() - start_ms);
	frame_write(pipe_fd, GPU_FRAME_RESULT, &result, sizeof(result));
	_exit(EXIT_SUCCESS);
}

int gpu_frame_next(struct rd *in, enum gpu_frame_kind *kind, struct rd *body)
{
	struct gpu_frame_head head;
	struct rd rest = *in;

	if (in->left < sizeof(head))
		return 0;
	memcpy(&head, in->p, sizeof(head));
	if (head.magic != GPU_FRAME_MAGIC || sizeof(head) + head.bytes > GPU_FRAME_BYTES_MAX)
		return -1;
	if (!rd_skip(&rest, sizeof(head)) || !rd_sub(&rest, head.bytes, body))
		return 0;
	*kind = (enum gpu_frame_kind)head.kind;
	*in = rest;
	return 1;
}

bool gpu_frame_note_parse(struct rd body, enum log_level *level, char text[GPU_TEXT_BYTES])
{
	struct gpu_frame_note note;

	if (body.left != sizeof(note))
		return false;
	memcpy(&note, body.p, sizeof(note));
	if (note.level >= LOG_N_LEVELS || !memchr(note.text, '\0', sizeof(note.text)))
		return false;
	*level = (enum log_level)note.level;
	str_copy(text, GPU_TEXT_BYTES, str_printable(note.text));
	return true;
}

/* A bool of rubbish must not be read as one. */
#define BOOL_OK(body, member) ((body).p[offsetof(struct gpu_result, member)] <= 1)
#define TEXT_OK(r, member)    (memchr((r)->member, '\0', sizeof((r)->member)) != NULL)

bool gpu_frame_result_parse(struct rd body, const struct gpu_job *job, struct gpu_result *out)
{
	struct gpu_result r;

	if (body.left != sizeof(r) || !BOOL_OK(body, ok) || !BOOL_OK(body, is_bridge) ||
	    !BOOL_OK(body, needs_reset) || !BOOL_OK(body, was_reset) ||
	    !BOOL_OK(body, ppcie_capable))
		return false;
	memcpy(&r, body.p, sizeof(r));
	if (!bdf_equal(r.bdf, job->dev->bdf) || r.op != job->op ||
	    (unsigned)r.active.cc >= GPU_N_CC || (unsigned)r.active.ppcie >= GPU_N_PPCIE ||
	    (unsigned)r.staged > GPU_STAGED_DIFFERENT || r.undo.n > GPU_UNDO_MAX ||
	    (unsigned)r.error_kind >= ERR_N_KINDS)
		return false;
	if (!TEXT_OK(&r, chip_name) || !TEXT_OK(&r, name) || !TEXT_OK(&r, driver) ||
	    !TEXT_OK(&r, error) || !TEXT_OK(&r, staged_error) || r.ok != (*r.error == '\0'))
		return false;
	*out = r;
	return true;
}
