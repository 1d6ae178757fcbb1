/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opts - a program's options as a table: parsing, environment, defaults, --help, all from one place.
 *
 * In:    rows that say name, type, default, environment variable, help, and where in the caller's
 *        struct the value goes (offsetof).  Every program gets --help and --version for nothing.
 * Out:   the struct, filled: flag > environment > default.  Strings are borrowed from argv, the
 *        environment or the table.
 * Fails: one line on stderr that names the option and what is allowed; the caller exits with 2,
 *        before any side effect.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define OPT_LIST_MAX 64

enum opt_type {
	OPT_FLAG,     /* bool, no argument */
	OPT_BOOL,     /* bool, true|false */
	OPT_STRING,   /* const char * */
	OPT_CHOICE,   /* int: index into `choices` */
	OPT_U64,      /* uint64_t, at most `max` (0: no limit) */
	OPT_DURATION, /* uint64_t milliseconds: 250ms 30s 10m 1h30m */
	OPT_LIST,     /* struct opt_list; repeat the option */
};

struct opt_list {
	size_t n;
	const char *item[OPT_LIST_MAX];
};

struct opt {
	const char *name; /* without the dashes; NULL: environment only */
	char letter;	  /* or 0 */
	enum opt_type type;
	size_t offset;
	const char *arg; /* name of the argument in the help, "MODE" */
	const char *env; /* or NULL */
	const char *def; /* default as text; NULL: zero, NULL, false */
	const char *const *choices; /* ends with NULL */
	uint64_t max;
	bool required;
	const char *help;
};

struct opts_program {
	const char *name;    /* "cc-manager", "gpucc mode set" */
	const char *usage;   /* "[OPTION]..." or "MODE [OPTION]..." */
	const char *summary; /* one sentence */
	const char *epilog;  /* more help after the options, or NULL */
	const struct opt *opts;
	size_t n_opts;
	bool stop_at_first_argument; /* what follows belongs to somebody else (gpusim run -- COMMAND) */
};

enum opts_result {
	OPTS_OK,
	OPTS_DONE, /* --help or --version was printed: exit 0 */
	OPTS_BAD,  /* the reason was printed: exit 2 */
};

#define EXIT_USAGE 2

/* Positional arguments are moved to the front: argv[0] .. argv[*n_args - 1]; argv[0] on entry is the
 * program's name and is skipped.  `env` is getenv in programs, something else in tests. */
enum opts_result opts_parse(const struct opts_program *program, int argc, char **argv,
			    char *(*env)(const char *), void *into, int *n_args) MUST_CHECK;

void opts_print_help(const struct opts_program *program, void *stdio_file);

/* Prints "PROGRAM: TEXT (see PROGRAM --help)" on stderr and returns OPTS_BAD. */
enum opts_result opts_complain(const struct opts_program *program, const char *fmt, ...) PRINTF(2, 3);

/* Set by the build. */
extern const char gpucc_version[], gpucc_commit[];
