/* SPDX-License-Identifier: Apache-2.0 */
/* gpucc - the jobs of the node agents by hand: a table of sub-commands. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpucc.h"

#define ARGS_MAX 256

static const struct command commands[] = {
	{ "mode", "query", "show the CC and PPCIe modes that are in force", cmd_mode_query },
	{ "mode", "set", "switch modes, with reset and verification", cmd_mode_set },
	{ "mode", "settings", "show every setting of the firmware by name", cmd_mode_settings },
};

struct globals {
	struct common common;
};
static const struct opt globals_table[] = { COMMON_OPTS(struct globals) };

static void list_commands(FILE *f)
{
	fprintf(f, "\nCommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(f, "  %s %-12s %s\n", commands[i].group, commands[i].name,
			commands[i].summary);
}

static bool group_known(const char *group)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eq(group, commands[i].group))
			return true;
	return false;
}

static int complain_command(const struct opts_program *program, const char *group, const char *name)
{
	char allowed[200] = "";
	bool known = group_known(group);

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const char *word = known ? commands[i].name : commands[i].group;
		size_t n = strlen(allowed);

		if (i && !known && str_eq(commands[i].group, commands[i - 1].group))
			continue;
		snprintf(allowed + n, sizeof(allowed) - n, "%s%s", n ? ", " : "", word);
	}
	if (!group)
		opts_complain(program, "which command? allowed: %s", allowed);
	else if (!known)
		opts_complain(program, "unknown command '%s'; allowed: %s", group, allowed);
	else if (!name)
		opts_complain(program, "%s: which command? allowed: %s", group, allowed);
	else
		opts_complain(program, "unknown command '%s %s'; allowed: %s", group, name,
			      allowed);
	return EXIT_USAGE;
}

static const struct command *find(const char *group, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (str_eq(group, commands[i].group) && str_eq(name, commands[i].name))
			return &commands[i];
	return NULL;
}

/* Options may stand before the command too: the sub-command gets them first, then its own. */
static int dispatch(const struct command *command, char **before, int n_before, char **after,
		    int n_after)
{
	char *argv[ARGS_MAX + 1], name[64];
	int argc = 0;

	snprintf(name, sizeof(name), "gpucc %s %s", command->group, command->name);
	argv[argc++] = name;
	for (int i = 0; i < n_before; i++)
		argv[argc++] = before[i];
	for (int i = 0; i < n_after; i++)
		argv[argc++] = after[i];
	argv[argc] = NULL;
	return command->run(argc, argv);
}

static bool wants_help(const char *word)
{
	return str_eq(word, "--help") || str_eq(word, "-h");
}

int main(int argc, char **argv)
{
	static const struct opts_program program = {
		.name = "gpucc",
		.usage = "[OPTION]... COMMAND [OPTION]...",
		.summary =
			"Queries and sets the confidential-computing modes of NVIDIA GPUs and NVSwitches.",
		.epilog = "'gpucc COMMAND --help' says more of each.",
		.opts = globals_table,
		.n_opts = ARRAY_LEN(globals_table),
		.stop_at_first_argument = true,
	};
	char *original[ARGS_MAX];
	const struct command *command;
	struct globals globals = { 0 };
	int n;

	if (argc < 1 || argc >= ARGS_MAX)
		return opts_complain(&program, "more than %d arguments", ARGS_MAX - 1), EXIT_USAGE;
	memcpy(original, argv, (size_t)argc * sizeof(*argv));
	switch (opts_parse(&program, argc, argv, getenv, &globals, &n)) {
	case OPTS_DONE:
		if (wants_help(original[argc > 1 ? 1 : 0]))
			list_commands(stdout);
		return EXIT_OK;
	case OPTS_BAD:
		return EXIT_USAGE;
	case OPTS_OK:
		break;
	}
	if (n == 2 && wants_help(argv[1]) && group_known(argv[0])) {
		list_commands(stdout);
		return EXIT_OK;
	}
	command = n >= 2 ? find(argv[0], argv[1]) : NULL;
	if (!command)
		return complain_command(&program, n ? argv[0] : NULL, n > 1 ? argv[1] : NULL);
	return dispatch(command, original + 1, argc - 1 - n, original + argc - n + 2, n - 2);
}
