/* SPDX-License-Identifier: Apache-2.0 */
/* gpusim - runs any program on simulated GPUs and NVSwitches. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "sim.h"

static const char *const tee_names[] = { "none", "snp", "tdx", NULL };
static const char *const lockdown_names[] = { "none", "integrity", "confidentiality", NULL };
static const char *const when_names[] = { "before", "after", NULL };

#define AT(member) .offset = offsetof(struct options, member)

static const struct opt run_opts[] = {
	{ .name = "devices",
	  .type = OPT_STRING,
	  AT(devices),
	  .arg = "LIST",
	  .help = "PART[:COUNT][@BDF],...  such as h100:8,ls10:4; `gpusim parts` lists them" },
	{ .name = "state",
	  .type = OPT_STRING,
	  AT(state_dir),
	  .arg = "DIR",
	  .help = "where the machine lives on between runs (default: a folder that is removed)" },
	{ .name = "boot-ms",
	  .type = OPT_U64,
	  AT(boot_ms),
	  .arg = "N",
	  .def = "200",
	  .max = 3600000,
	  .help = "from the end of a reset to boot complete" },
	{ .name = "reset-ms",
	  .type = OPT_U64,
	  AT(reset_ms),
	  .arg = "N",
	  .def = "100",
	  .max = 3600000,
	  .help = "how long a write to `reset` takes" },
	{ .name = "rpc-ms",
	  .type = OPT_U64,
	  AT(rpc_ms),
	  .arg = "N",
	  .def = "1",
	  .max = 3600000,
	  .help = "how long the firmware takes for a command" },
	{ .name = "driver",
	  .type = OPT_STRING,
	  AT(driver),
	  .arg = "NAME",
	  .def = "none",
	  .help = "bound to each GPU and switch of a new machine: vfio-pci, nvidia, none" },
	{ .name = "mode",
	  .type = OPT_STRING,
	  AT(mode),
	  .arg = "MODE",
	  .help = "of a new machine's devices: off, on, devtools, ppcie" },
	{ .name = "knob",
	  .type = OPT_LIST,
	  AT(knobs),
	  .arg = "ID=VALUE",
	  .help = "staged on a new machine's devices; repeat" },
	{ .name = "d3", .type = OPT_FLAG, AT(d3), .help = "a new machine's devices sleep in D3" },
	{ .name = "fault",
	  .type = OPT_LIST,
	  AT(faults),
	  .arg = "SPEC",
	  .help = "something that goes wrong, such as rpc-error=0x77,knob=8,count=1; repeat" },
	{ .name = "trace",
	  .type = OPT_STRING,
	  AT(trace),
	  .arg = "FILE",
	  .help = "a line for each access, with register names" },
	{ .name = "strict",
	  .type = OPT_FLAG,
	  AT(strict),
	  .help = "exit 96 when the command did something that no client may do" },
	{ .name = "quiet", .type = OPT_FLAG, AT(quiet), .help = "violations only in the trace" },
	{ .name = "kill-at",
	  .type = OPT_U64,
	  AT(kill_at),
	  .arg = "N",
	  .help = "kill the command at its Nth point; gpusim then exits 137" },
	{ .name = "kill-kind",
	  .type = OPT_STRING,
	  AT(kill_kinds),
	  .arg = "KINDS",
	  .help = "what counts as a point: reg,sysfs,file,send,log (default: all)" },
	{ .name = "kill-when",
	  .type = OPT_CHOICE,
	  AT(kill_when),
	  .arg = "WHEN",
	  .def = "before",
	  .choices = when_names,
	  .help = "relative to the point's effect" },
	{ .name = "count-points",
	  .type = OPT_FLAG,
	  AT(count_points),
	  .help = "print the number of points as JSON on stderr at the end" },
	{ .name = "host-tee",
	  .type = OPT_CHOICE,
	  AT(host_tee),
	  .arg = "TEE",
	  .def = "none",
	  .choices = tee_names,
	  .help = "what the host's processor can do" },
	{ .name = "lockdown",
	  .type = OPT_CHOICE,
	  AT(lockdown),
	  .arg = "MODE",
	  .def = "none",
	  .choices = lockdown_names,
	  .help = "of the kernel; all but none forbid register access" },
};

static const struct opts_program run_program = {
	.name = "gpusim run",
	.usage = "--devices LIST [OPTION]... -- COMMAND [ARGUMENT]...",
	.summary =
		"Runs a command on a machine with simulated NVIDIA devices: its /sys shows them, its "
		"accesses to their registers are answered.  Exits with the command's status (128 and the "
		"signal's number when it was killed), 125 when the simulator fails.",
	.epilog = faults_help,
	.opts = run_opts,
	.n_opts = ARRAY_LEN(run_opts),
	.stop_at_first_argument = true,
};

static int exit_code(const struct sim *s)
{
	if (s->killed)
		return EXIT_KILLED;
	if (s->opts.strict && gpumodel_violations(s->model))
		return EXIT_STRICT;
	return WIFEXITED(s->main_status) ? WEXITSTATUS(s->main_status)
					 : 128 + WTERMSIG(s->main_status);
}

/* The run itself; its errors are gpusim's own. */
static int machine_run(struct sim *s, char **argv, struct err *err)
{
	if (points_init(s, err) < 0 || trace_open(s, err) < 0 || state_open(s, err) < 0 ||
	    tree_enter(s, err) < 0 || tracer_run(s, argv, err) < 0)
		return -1;
	if (s->trace)
		fclose(s->trace);
	s->trace = NULL;
	if (s->opts.count_points)
		points_print(s, stderr);
	state_resets_finish(s);
	return state_save(s, err);
}

static int run_command(int argc, char **argv)
{
	AUTO_MEM struct sim *s = calloc(1, sizeof(*s));
	struct err err = ERR_INIT;
	int n = 0, code;

	if (!s)
		return EXIT_GPUSIM;
	s->lock_fd = s->bell_fd = -1;
	s->start_us = now_us();
	switch (opts_parse(&run_program, argc, argv, getenv, &s->opts, &n)) {
	case OPTS_OK:
		break;
	case OPTS_DONE:
		return 0;
	case OPTS_BAD:
		return EXIT_USAGE;
	}
	if (n == 0) {
		opts_complain(&run_program, "no command given");
		return EXIT_USAGE;
	}
	argv[n] = NULL;
	if (machine_run(s, argv, &err) < 0) {
		complain("%s", err_text(&err));
		code = err.code == ENOENT && s->main_pid ? EXIT_NOT_FOUND
		       : s->main_pid			 ? EXIT_CANNOT_EXEC
		       : err.kind == ERR_INVALID	 ? EXIT_USAGE
							 : EXIT_GPUSIM;
	} else {
		code = exit_code(s);
	}
	state_close(s);
	return code;
}

static int parts_command(int argc UNUSED, char **argv UNUSED)
{
	const char *name, *describe;

	for (unsigned i = 0; (name = gpumodel_part_name(i, &describe)); i++)
		printf("%-14s %s\n", name, describe);
	puts("0xDDDD         any other GPU, by its PCI device id");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", run_command, "run a command on simulated devices" },
	{ "fault", faults_command, "add, clear or list faults, also while a command runs" },
	{ "show", show_command, "print the true state of a machine's devices" },
	{ "parts", parts_command, "list what can be simulated" },
};

static void usage(FILE *f)
{
	fputs("Usage: gpusim COMMAND [OPTION]...\n\nSimulated GPUs and NVSwitches for any program.\n\n"
	      "Commands (each with --help):\n",
	      f);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";

	log_init("gpusim", LOG_INFO, LOG_TEXT);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eq(word, commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (str_eq(word, "--version")) {
		printf("gpusim %s %s\n", gpucc_version, gpucc_commit);
		return 0;
	}
	if (str_eq(word, "--help") || str_eq(word, "-h")) {
		usage(stdout);
		return 0;
	}
	fprintf(stderr, "gpusim: unknown command '%s' (see gpusim --help)\n", word);
	return EXIT_USAGE;
}
