/* SPDX-License-Identifier: Apache-2.0 */
/* Children that crash, hang, lie, or do as they are told; groups, deadlines, interruption; records; and
 * the plan of a switch. */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "gpu/child.h"
#include "gpu/switch.h"
#include "sysfs_tree.h"
#include "table.h"

#define N 8

struct outcome {
	struct loop *loop;
	struct gpu_result result[N];
	size_t n, n_notes;
	bool done;
};

static struct gpu_dev devices[N];

static void devices_init(void)
{
	for (unsigned i = 0; i < N; i++)
		devices[i] = (struct gpu_dev){ .bdf = { .bus = (uint8_t)(0x10 + i) } };
}

static void on_done(void *arg, const struct gpu_result *result, size_t n)
{
	struct outcome *o = arg;

	o->n = n;
	memcpy(o->result, result, n * sizeof(*result));
	o->done = true;
	loop_stop(o->loop, 0);
}

static void on_note(void *arg, const struct gpu_dev *dev UNUSED, enum log_level level UNUSED,
		    const char *text UNUSED)
{
	((struct outcome *)arg)->n_notes++;
}

/* What a child does goes by its device's bus number. */
typedef int child_fn(const struct gpu_job *job, struct gpu_result *out, struct err *err);

static struct gpu_jobs *start(struct outcome *o, size_t n, enum gpu_op op, uint64_t deadline_ms,
			      child_fn *fn)
{
	static struct pci_host host = { "/nonexistent", "/", "/nonexistent" };
	struct gpu_job job[N];
	struct gpu_jobs *jobs = NULL;
	struct gpu_jobs_spec spec = { .host = &host,
				      .job = job,
				      .n = n,
				      .on_note = on_note,
				      .on_done = on_done,
				      .arg = o,
				      .run_instead = fn };
	struct err err = ERR_INIT;

	*o = (struct outcome){ 0 };
	cr_assert_eq(loop_new(&o->loop, &err), 0);
	spec.loop = o->loop;
	for (size_t i = 0; i < n; i++)
		job[i] = (struct gpu_job){
			.dev = &devices[i], .op = op, .lock_fd = -1, .deadline_ms = deadline_ms
		};
	cr_assert_eq(gpu_jobs_start(&spec, &jobs, &err), 0, "%s", err_text(&err));
	cr_assert_not(o->done, "on_done comes from the loop only");
	return jobs;
}

static void finish(struct outcome *o)
{
	struct err err = ERR_INIT;
	int code;

	cr_assert_eq(loop_run(o->loop, &code, &err), 0, "%s", err_text(&err));
	cr_assert(o->done);
	loop_free(o->loop);
}

static int fine(const struct gpu_job *job, struct gpu_result *out, struct err *err UNUSED)
{
	out->active.cc = GPU_CC_ON;
	out->undo.n = job->dev->bdf.bus & 7;
	return 0;
}

Test(gpu_jobs, results_come_in_the_order_of_the_jobs)
{
	struct outcome o;

	devices_init();
	start(&o, N, GPU_OP_STAGE, 0, fine);
	finish(&o);
	cr_assert_eq(o.n, N);
	for (unsigned i = 0; i < N; i++) {
		cr_assert(o.result[i].ok, "%s", o.result[i].error);
		cr_assert_eq(o.result[i].bdf.bus, 0x10 + i);
		cr_assert_eq(o.result[i].undo.n, i);
		cr_assert_eq(o.result[i].active.cc, GPU_CC_ON);
	}
}

Test(gpu_jobs, none_is_done_at_once)
{
	struct outcome o;

	start(&o, 0, GPU_OP_QUERY, 0, fine);
	finish(&o);
	cr_assert_eq(o.n, 0);
}

static int bad_child(const struct gpu_job *job, struct gpu_result *out UNUSED, struct err *err)
{
	static const char rubbish[5000] = "rubbish";

	switch (job->dev->bdf.bus) {
	case 0x10:
		kill(getpid(), SIGSEGV);
		break;
	case 0x11:
		_exit(7);
	case 0x12:
		for (;;)
			pause();
	case 0x13: /* the pipe is the only descriptor above stderr */
		for (int fd = 3; fd < 1000; fd++)
			if (fcntl(fd, F_GETFD) >= 0 && write(fd, rubbish, sizeof(rubbish)) < 0)
				_exit(8);
		break;
	case 0x14:
		errno = EIO;
		return err_errno(err, "poking it");
	case 0x15:
		out->active.cc = (enum gpu_cc)77;
		break;
	case 0x16: {
		static const struct gpu_frame_head head = { GPU_FRAME_MAGIC, GPU_FRAME_RESULT, 3 };

		for (int fd = 3; fd < 1000; fd++)
			if (fcntl(fd, F_GETFD) >= 0 && write(fd, &head, sizeof(head)) < 0)
				_exit(8);
		_exit(0);
	}
	default:
		break;
	}
	return 0;
}

static const struct {
	unsigned i;
	enum err_kind kind;
	const char *says; /* NULL: fine */
} bad[] = {
	{ 0, ERR_SYSTEM, "0000:10:00.0: stage: its child died of signal 11" },
	{ 1, ERR_SYSTEM, "0000:11:00.0: stage: its child ended with status 7 and no answer" },
	{ 2, ERR_TIMEOUT, "0000:12:00.0: stage: not done in 300 ms" },
	{ 3, ERR_SYSTEM,
	  "0000:13:00.0: stage: its child ended with status 0 and an answer that makes no sense" },
	{ 4, ERR_SYSTEM, "0000:14:00.0: poking it: Input/output error" },
	{ 5, ERR_SYSTEM,
	  "0000:15:00.0: stage: its child ended with status 0 and an answer that makes no sense" },
	{ 6, ERR_SYSTEM, "0000:16:00.0: stage: its child ended with status 0 and no answer" },
	{ 7, ERR_NONE, NULL },
};

Test(gpu_jobs, bad_children_are_errors_of_their_device)
{
	struct outcome o;

	devices_init();
	signal(SIGSEGV, SIG_DFL); /* the test runner catches it */
	start(&o, N, GPU_OP_STAGE, 300, bad_child);
	finish(&o);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const struct gpu_result *r = &o.result[bad[i].i];

		cr_assert_eq(r->ok, !bad[i].says, "%u: %s", bad[i].i, r->error);
		cr_assert_eq(r->error_kind, bad[i].kind, "%u: %s", bad[i].i, r->error);
		cr_assert(!bad[i].says || str_starts(r->error, bad[i].says), "%u: %s", bad[i].i,
			  r->error);
	}
}

static int slow(const struct gpu_job *job UNUSED, struct gpu_result *out, struct err *err UNUSED)
{
	out->took_ms = 0;
	clock_sleep_ms(100);
	return 0;
}

Test(gpu_jobs, eight_take_as_long_as_one)
{
	struct outcome o;
	uint64_t start_ms = now_ms();

	devices_init();
	start(&o, N, GPU_OP_RESET, 0, slow);
	finish(&o);
	cr_assert_lt(now_ms() - start_ms, 500, "%llu ms",
		     (unsigned long long)(now_ms() - start_ms));
}

Test(gpu_jobs, a_shared_reset_is_one_after_another)
{
	struct outcome o;
	uint64_t start_ms = now_ms();

	devices_init();
	devices[0].reset_group = devices[1].reset_group = devices[2].reset_group = 42;
	start(&o, 4, GPU_OP_RESET, 0, slow);
	finish(&o);
	cr_assert_geq(now_ms() - start_ms, 300);
	start_ms = now_ms();
	start(&o, 4, GPU_OP_QUERY, 0, slow); /* anything but a reset disturbs nobody */
	finish(&o);
	cr_assert_lt(now_ms() - start_ms, 300);
}

/* A child that heeds its handler, as gpu_open() and all after it do. */
static int until_stopped(const struct gpu_job *job UNUSED, struct gpu_result *out UNUSED,
			 struct err *err)
{
	pause();
	return err_set(err, ERR_INTERRUPTED, "stopped");
}

Test(gpu_jobs, interruption_reaches_the_running_and_the_waiting)
{
	struct outcome o;
	struct gpu_jobs *jobs;

	devices_init();
	devices[0].reset_group = devices[1].reset_group = 42;
	jobs = start(&o, 2, GPU_OP_RESET, 20000, until_stopped);
	clock_sleep_ms(100);
	gpu_jobs_interrupt(jobs);
	finish(&o);
	cr_assert_eq(o.result[0].error_kind, ERR_INTERRUPTED, "%s", o.result[0].error);
	cr_assert_eq(o.result[1].error_kind, ERR_INTERRUPTED, "%s", o.result[1].error);
	cr_assert(strstr(o.result[1].error, "before it began"), "%s", o.result[1].error);
}

Test(gpu_jobs, freeing_kills_and_calls_nobody)
{
	struct outcome o;
	struct gpu_jobs *jobs;
	struct err err = ERR_INIT;

	devices_init();
	jobs = start(&o, 3, GPU_OP_STAGE, 0, until_stopped);
	gpu_jobs_free(jobs);
	cr_assert_eq(loop_turn(o.loop, 10, &err), 0);
	cr_assert_not(o.done);
	loop_free(o.loop);
	clock_sleep_ms(200);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	cr_assert_eq(errno, ECHILD, "a child lives on");
}

static int fds_of_child(const struct gpu_job *job, struct gpu_result *out, struct err *err UNUSED)
{
	for (int fd = 0; fd < 1000; fd++)
		if (fd != STDERR_FILENO && fd != job->lock_fd && fcntl(fd, F_GETFD) >= 0)
			out->undo.n++;
	out->took_ms = 0;
	return 0;
}

Test(gpu_jobs, a_child_holds_its_pipe_and_its_lock_only)
{
	struct outcome o;
	int surplus[20];

	devices_init();
	for (size_t i = 0; i < ARRAY_LEN(surplus); i++)
		surplus[i] = open("/dev/null", O_RDONLY);
	start(&o, 2, GPU_OP_STAGE, 0, fds_of_child);
	finish(&o);
	cr_assert_eq(o.result[0].undo.n, 1);
	cr_assert_eq(o.result[1].undo.n, 1);
	for (size_t i = 0; i < ARRAY_LEN(surplus); i++)
		close(surplus[i]);
}

/* --- records -----------------------------------------------------------------------------------*/

Test(gpu_record, comes_back_in_this_boot_only)
{
	struct tree t;
	struct bdf b = { .bus = 0x41 };
	struct gpu_record in = { .driver = "vfio-pci",
				 .override_ = "",
				 .power_control = "auto",
				 .active = { GPU_CC_ON, GPU_PPCIE_OFF } },
			  out;
	struct err err = ERR_INIT;
	char text[512], *id;

	tree_new(&t);
	cr_assert_eq(gpu_record_load(&t.host, b, &out, &err), 0, "absent is empty");
	cr_assert_str_eq(out.driver, "");
	cr_assert_eq(gpu_record_save(&t.host, b, &in, &err), 0, "%s", err_text(&err));
	cr_assert_eq(gpu_record_load(&t.host, b, &out, &err), 0);
	cr_assert_str_eq(out.driver, "vfio-pci");
	cr_assert_str_eq(out.power_control, "auto");
	cr_assert(gpu_pair_equal(out.active, in.active));
	str_copy(text, sizeof(text), tree_get(&t, "state/0000:41:00.0.json"));
	id = strstr(text, "bootId\":\"") + strlen("bootId\":\"");
	*id = *id == 'f' ? 'e' : 'f';
	tree_put(&t, "state/0000:41:00.0.json", text);
	cr_assert_eq(gpu_record_load(&t.host, b, &out, &err), 0);
	cr_assert_str_eq(out.driver, "");
	tree_free(&t);
}

static const struct {
	const char *name, *text;
} torn[] = {
	{ "empty", "" },
	{ "torn", "{\"bootId\":" },
	{ "no object", "[1,2]" },
	{ "wrong type", "{\"bootId\":7}" },
	{ "binary", "\x01\x02\xff" },
};

TABLE_TEST(gpu_record, a_torn_one_is_none, torn)
{
	struct tree t;
	struct bdf b = { .bus = 0x41 };
	struct gpu_record out;
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_put(&t, "state/0000:41:00.0.json", row->text);
	cr_assert_eq(gpu_record_load(&t.host, b, &out, &err), 0, "%s: %s", row->name,
		     err_text(&err));
	cr_assert_str_eq(out.driver, "");
	cr_assert_eq(out.active.cc, GPU_CC_UNKNOWN);
	tree_free(&t);
}

/* --- what a switch plans -----------------------------------------------------------------------*/

#define OFF                                                                                        \
	{                                                                                          \
		GPU_CC_OFF, GPU_PPCIE_OFF                                                          \
	}
#define ON                                                                                         \
	{                                                                                          \
		GPU_CC_ON, GPU_PPCIE_OFF                                                           \
	}
#define PPCIE                                                                                      \
	{                                                                                          \
		GPU_CC_OFF, GPU_PPCIE_ON                                                           \
	}
#define UNKNOWN                                                                                    \
	{                                                                                          \
		GPU_CC_UNKNOWN, GPU_PPCIE_UNKNOWN                                                  \
	}

static const struct {
	const char *name;
	enum gpu_mode mode;
	struct gpu_pair a, b;
	enum gpu_staged_answer staged_a;
	enum gpu_need need_a, need_b;
} plans[] = {
	{ "all right", GPU_MODE_ON, ON, ON, GPU_STAGED_SAME, GPU_NEED_NOTHING, GPU_NEED_NOTHING },
	{ "one of two", GPU_MODE_ON, OFF, ON, GPU_STAGED_DIFFERENT, GPU_NEED_RESET,
	  GPU_NEED_NOTHING },
	{ "staged and unapplied", GPU_MODE_OFF, OFF, OFF, GPU_STAGED_DIFFERENT, GPU_NEED_STAGE,
	  GPU_NEED_NOTHING },
	{ "staged, to be applied", GPU_MODE_ON, OFF, ON, GPU_STAGED_SAME, GPU_NEED_RESET,
	  GPU_NEED_NOTHING },
	{ "ppcie is not off", GPU_MODE_OFF, PPCIE, OFF, GPU_STAGED_DIFFERENT, GPU_NEED_RESET,
	  GPU_NEED_NOTHING },
	{ "a fabric goes together", GPU_MODE_PPCIE, OFF, PPCIE, GPU_STAGED_DIFFERENT,
	  GPU_NEED_RESET, GPU_NEED_RESET },
	{ "a fabric that is right", GPU_MODE_PPCIE, PPCIE, PPCIE, GPU_STAGED_SAME, GPU_NEED_NOTHING,
	  GPU_NEED_NOTHING },
	{ "not booted", GPU_MODE_OFF, UNKNOWN, OFF, GPU_STAGED_UNKNOWN, GPU_NEED_RESET,
	  GPU_NEED_NOTHING },
};

TABLE_TEST(gpu_switch, plans, plans)
{
	struct gpu_dev dev = { .cc_capable = true, .ppcie_capable = true };
	const struct gpu_switch_dev d[] = { { &dev, -1, row->a, row->staged_a },
					    { &dev, -1, row->b, GPU_STAGED_SAME } };
	enum gpu_need need[2];

	gpu_switch_plan(d, 2, row->mode, need);
	cr_assert_eq(need[0], row->need_a, "%s", row->name);
	cr_assert_eq(need[1], row->need_b, "%s", row->name);
}

static const struct {
	const char *name;
	struct gpu_dev dev;
	unsigned can; /* bit per mode */
	struct gpu_pair on;
} cans[] = {
	{ "H100", { .cc_capable = true, .ppcie_capable = true }, 0xf, ON },
	{ "B200", { .cc_capable = true }, 0x7, { GPU_CC_ON, GPU_PPCIE_UNSUPPORTED } },
	{ "A100", { .kind = GPU_KIND_GPU }, 0x1, { GPU_CC_ON, GPU_PPCIE_UNSUPPORTED } },
	{ "LS10",
	  { .kind = GPU_KIND_NVSWITCH, .ppcie_capable = true },
	  0xf,
	  { GPU_CC_UNSUPPORTED, GPU_PPCIE_OFF } },
	{ "LR10",
	  { .kind = GPU_KIND_NVSWITCH },
	  0x7,
	  { GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED } },
};

TABLE_TEST(gpu_switch, devices_can, cans)
{
	for (int m = 0; m < GPU_N_MODES; m++) {
		struct err err = ERR_INIT;

		cr_assert_eq(gpu_can(&row->dev, (enum gpu_mode)m, &err) == 0, row->can >> m & 1,
			     "%s %s", row->name, gpu_mode_names[m]);
		cr_assert_eq(err.kind, row->can >> m & 1 ? ERR_NONE : ERR_UNSUPPORTED, "%s",
			     row->name);
	}
	cr_assert(gpu_pair_equal(gpu_wanted(&row->dev, GPU_MODE_ON), row->on), "%s", row->name);
}

static const struct {
	const char *text;
	size_t n;
	bool ok;
} ids[] = {
	{ "0x2331,0x2322", 2, true }, { "2331 2322", 2, true },	     { "", 0, true },
	{ " ,, ", 0, true },	      { "0x2331,", 1, true },	     { "h100", 0, false },
	{ "0x12331", 0, false },      { "0x2331;0x2322", 0, false }, { "0x", 0, false },
};

TABLE_TEST(gpu_switch, device_ids, ids)
{
	struct gpu_ids out = { 0 };
	struct err err = ERR_INIT;

	cr_assert_eq(gpu_ids_parse(row->text, &out, &err), row->ok ? 0 : -1, "'%s'", row->text);
	cr_assert_eq(out.n, row->n, "'%s'", row->text);
}
