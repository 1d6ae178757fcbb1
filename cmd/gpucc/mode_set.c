/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode set - refuses all that can be refused, then runs the switch of gpu/switch.h and says what each
 * device is left in.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpucc.h"

struct set_opts {
	struct common common;
	bool no_reset, dry_run;
};

static const struct opt table[] = {
	{ "no-reset", 0, OPT_FLAG, offsetof(struct set_opts, no_reset),
	  .help = "stage the mode and stop: the next reset of a device makes it active" },
	{ "dry-run", 0, OPT_FLAG, offsetof(struct set_opts, dry_run),
	  .help = "say what would be done, change nothing" },
	COMMON_OPTS(struct set_opts),
};

static const struct opts_program program = {
	.name = "gpucc mode set",
	.usage = "off|on|devtools|ppcie [OPTION]...",
	.summary = "Switches GPUs and NVSwitches to a mode: stages it, resets, verifies.",
	.epilog =
		"off and on are confidential computing, devtools is on with debugging, ppcie is Protected PCIe on\n"
		"all GPUs and NVSwitches of the machine.  A device that vfio-pci has is unbound meanwhile; one in\n"
		"use is refused.\n"
		"Exit status: 0 every device was read back in the mode (--no-reset: as staged), 1 not, 2 wrong\n"
		"usage.",
	.opts = table,
	.n_opts = ARRAY_LEN(table),
};

struct run {
	struct node *node;
	const struct set_opts *opts;
	enum gpu_mode mode;
	enum gpu_need need[GPU_MAX_DEVICES];
	struct gpu_switch_dev dev[GPU_MAX_DEVICES];
	struct gpu_switch *sw;
};

/* --- what is refused --------------------------------------------------------------------------*/

static bool refuse(const char *why)
{
	log_error("refused, nothing was changed", "reason", why, NULL);
	return false;
}

static bool devices_can(const struct run *run)
{
	bool ok = true;

	for (size_t i = 0; i < run->node->list.n; i++) {
		const struct gpu_dev *dev = &run->node->list.dev[i];
		struct err err = ERR_INIT;

		if (*dev->in_use)
			err_set(&err, ERR_BUSY, "%s: in use: %s", bdf_str(dev->bdf), dev->in_use);
		else if (*dev->error)
			err_set(&err, ERR_DEVICE, "%s: %s", bdf_str(dev->bdf), dev->error);
		else if (gpu_can(dev, run->mode, &err) == 0)
			continue;
		ok = refuse(err_text(&err));
	}
	return ok;
}

static bool devices_answer(const struct run *run)
{
	bool ok = true;

	for (size_t i = 0; i < run->node->list.n; i++) {
		const struct gpu_result *r = &run->node->result[i];

		if (r->needs_reset && !run->opts->no_reset)
			log_warn("not booted, a reset may help", "bdf", bdf_str(r->bdf), "reason",
				 r->error, NULL);
		else if (*r->error)
			ok = refuse(r->error);
	}
	return ok;
}

/* Never reset a part of an NVLink fabric into another mode than the rest. */
static bool fabric_whole(const struct run *run)
{
	size_t n = 0;
	bool changes = false;

	for (size_t i = 0; i < run->node->list.n; i++) {
		n += run->node->list.dev[i].on_fabric;
		changes |= run->node->list.dev[i].on_fabric && run->need[i] != GPU_NEED_NOTHING;
	}
	if (!changes || n == run->node->n_on_fabric)
		return true;
	return refuse(
		"GPUs and NVSwitches on one NVLink fabric are switched together: leave --device out");
}

static bool something_to_do(const struct run *run)
{
	if (run->node->list.n || run->mode == GPU_MODE_OFF)
		return true;
	return refuse("no NVIDIA GPU or NVSwitch found");
}

/* --- what is printed --------------------------------------------------------------------------*/

static const char *action_of(const struct run *run, size_t i)
{
	static const char *const words[] = {
		[GPU_NEED_NOTHING] = "none", [GPU_NEED_STAGE] = "stage", [GPU_NEED_RESET] = "switch"
	};

	return run->need[i] == GPU_NEED_RESET && run->opts->no_reset ? "stage"
								     : words[run->need[i]];
}

static void print_text(const struct run *run, bool plan)
{
	CLEANUP(table_clear)
	struct table t = {
		.title = { "DEVICE", "KIND", "NAME", "CC", "PPCIE", plan ? "WOULD" : "DONE",
			   "STATUS" },
		.n_columns = 7,
	};

	for (size_t i = 0; i < run->node->list.n; i++) {
		const struct gpu_dev *dev = &run->node->list.dev[i];
		const struct gpu_result *r = &run->node->result[i];
		char bdf[24];

		snprintf(bdf, sizeof(bdf), "%s", bdf_str(dev->bdf));
		if (!table_add(&t, (const char *const[]){ bdf, gpu_kind_names[dev->kind], dev->name,
							  gpu_cc_names[r->active.cc],
							  gpu_ppcie_names[r->active.ppcie],
							  action_of(run, i),
							  *r->error ? r->error : "ok" }))
			return;
	}
	if (run->node->list.n)
		table_print(&t);
	else
		printf("no NVIDIA GPU or NVSwitch found\n");
}

static bool print_json(const struct run *run)
{
	AUTO_BUF text = BUF_INIT(1 << 20);
	struct json_put w = json_put_to(&text);

	json_put_object(&w);
	json_put_member_str(&w, "wanted", gpu_mode_names[run->mode]);
	json_put_member_bool(&w, "reset", !run->opts->no_reset);
	json_put_member_bool(&w, "dryRun", run->opts->dry_run);
	json_put_key(&w, "devices");
	json_put_array(&w);
	for (size_t i = 0; i < run->node->list.n; i++) {
		json_put_object(&w);
		json_put_device(&w, &run->node->list.dev[i], &run->node->result[i]);
		json_put_member_str(&w, "action", action_of(run, i));
		json_put_end(&w);
	}
	json_put_end(&w);
	json_put_end(&w);
	return json_print(&w, &text);
}

static bool print(const struct run *run)
{
	if (run->opts->common.output == OUTPUT_JSON)
		return print_json(run);
	print_text(run, run->opts->dry_run);
	return true;
}

/* --- the switch -------------------------------------------------------------------------------*/

static void plan(struct run *run)
{
	for (size_t i = 0; i < run->node->list.n; i++)
		run->dev[i] = (struct gpu_switch_dev){
			.dev = &run->node->list.dev[i],
			.lock_fd = run->node->lock[i].fd,
			.active = run->node->result[i].active,
			.staged = run->node->result[i].staged,
		};
	gpu_switch_plan(run->dev, run->node->list.n, run->mode, run->need);
}

static void on_step(void *arg, enum gpu_switch_step step)
{
	(void)arg;
	if (step != GPU_SWITCH_DONE)
		log_info("step", "step", gpu_switch_step_names[step], NULL);
}

static void on_done(void *arg, const struct gpu_result *result, size_t n)
{
	struct run *run = arg;

	run->sw = NULL;
	for (size_t i = 0; i < n; i++)
		run->node->result[i] = result[i];
	loop_stop(run->node->loop, 0);
}

static void on_signal_stop(struct source *src, int signo, void *arg)
{
	struct run *run = arg;

	(void)src;
	log_warn("stopping after the current step", "signal", strsignal(signo), NULL);
	if (run->sw)
		gpu_switch_interrupt(run->sw);
}

static bool switch_run(struct run *run)
{
	struct node *node = run->node;
	struct gpu_switch_spec spec = { .loop = node->loop,
					.host = &node->host,
					.dev = run->dev,
					.n = node->list.n,
					.mode = run->mode,
					.no_reset = run->opts->no_reset,
					.trace = node->trace,
					.on_step = on_step,
					.on_note = on_note_log,
					.on_done = on_done,
					.arg = run };
	struct err err = ERR_INIT;
	int exit_code;

	if (loop_add_signal(node->loop, SIGINT, on_signal_stop, run, NULL, &err) < 0 ||
	    loop_add_signal(node->loop, SIGTERM, on_signal_stop, run, NULL, &err) < 0 ||
	    gpu_switch_start(&spec, &run->sw, &err) < 0)
		return refuse(err_text(&err));
	if (loop_run(node->loop, &exit_code, &err) == 0)
		return true;
	log_error("the event loop broke", "reason", err_text(&err), NULL);
	gpu_switch_free(run->sw);
	return false;
}

static bool all_ok(const struct run *run)
{
	bool ok = true;

	for (size_t i = 0; i < run->node->list.n; i++) {
		const struct gpu_result *r = &run->node->result[i];

		if (r->ok)
			continue;
		log_error("not switched", "bdf", bdf_str(r->bdf), "reason", r->error, NULL);
		ok = false;
	}
	return ok;
}

static int set(struct run *run)
{
	if (!something_to_do(run) || !node_lockdown_allows(run->node) || !devices_can(run))
		return EXIT_FAILED;
	node_lock(run->node, run->opts->common.wait_ms);
	if (!devices_can(run) || !node_run(run->node, GPU_OP_QUERY, run->mode, true))
		return EXIT_FAILED;
	node_drop_bridges(run->node);
	if (!devices_can(run) || !devices_answer(run))
		return EXIT_FAILED;
	plan(run);
	if (!fabric_whole(run))
		return EXIT_FAILED;
	if (run->opts->dry_run)
		return print(run) ? EXIT_OK : EXIT_FAILED;
	if (!switch_run(run) || !print(run))
		return EXIT_FAILED;
	return all_ok(run) ? EXIT_OK : EXIT_FAILED;
}

int cmd_mode_set(int argc, char **argv)
{
	struct set_opts opts = { 0 };
	AUTO_NODE node = { 0 };
	struct run run = { .node = &node, .opts = &opts };
	int n, code;

	if ((code = command_begin(&program, argc, argv, &opts, &opts.common, &n)) >= 0)
		return code;
	if (!n)
		return opts_complain(&program, "which mode? allowed: off, on, devtools, ppcie"),
		       EXIT_USAGE;
	if (!gpu_mode_parse(argv[0], &run.mode))
		return opts_complain(&program, "'%s' is no mode; allowed: off, on, devtools, ppcie",
				     argv[0]),
		       EXIT_USAGE;
	if (n > 1)
		return opts_complain(&program, "unexpected argument '%s'", argv[1]), EXIT_USAGE;
	return node_open(&node, &opts.common) ? set(&run) : EXIT_FAILED;
}
