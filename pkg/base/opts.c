/* SPDX-License-Identifier: Apache-2.0 */
/* opts - walks the command line against a table of options. */
#include "base/opts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define HELP_COLUMN 30
#define HELP_WIDTH  100

struct parse {
	const struct opts_program *program;
	char *into;
	bool *seen;
};

enum opts_result opts_complain(const struct opts_program *program, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s: %s (see %s --help)\n", program->name, str_printable(text), program->name);
	return OPTS_BAD;
}

static void choices_text(const struct opt *o, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; o->choices[i] && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "",
				      *o->choices[i] ? o->choices[i] : "''");
}

static bool choose(const struct opt *o, const char *text, int *out)
{
	for (int i = 0; o->choices[i]; i++)
		if (str_eq(o->choices[i], text)) {
			*out = i;
			return true;
		}
	return false;
}

/* What an option takes, in words, for the message that refuses something else. */
static void allowed_text(const struct opt *o, char *out, size_t size)
{
	switch (o->type) {
	case OPT_CHOICE:
		choices_text(o, out, size);
		break;
	case OPT_U64:
		snprintf(out, size, "a number from 0 to %llu",
			 (unsigned long long)(o->max ? o->max : UINT64_MAX));
		break;
	case OPT_DURATION:
		snprintf(out, size, "a duration such as 250ms, 30s, 10m or 1h30m");
		break;
	default:
		snprintf(out, size, "true or false");
		break;
	}
}

static bool store_list(struct opt_list *list, const char *text)
{
	if (list->n == OPT_LIST_MAX)
		return false;
	list->item[list->n++] = text;
	return true;
}

static bool store(struct parse *p, const struct opt *o, const char *text)
{
	void *at = p->into + o->offset;

	switch (o->type) {
	case OPT_FLAG:
	case OPT_BOOL:
		return str_bool(text, at);
	case OPT_STRING:
		*(const char **)at = text;
		return true;
	case OPT_CHOICE:
		return choose(o, text, at);
	case OPT_U64:
		return str_u64(text, o->max ? o->max : UINT64_MAX, at);
	case OPT_DURATION:
		return str_duration_ms(text, at);
	case OPT_LIST:
		return store_list(at, text);
	}
	return false;
}

static enum opts_result take(struct parse *p, const struct opt *o, const char *from, const char *text)
{
	char allowed[512];

	if (store(p, o, text)) {
		p->seen[o - p->program->opts] = true;
		return OPTS_OK;
	}
	if (o->type == OPT_LIST)
		return opts_complain(p->program, "%s: given more than %d times", from, OPT_LIST_MAX);
	allowed_text(o, allowed, sizeof(allowed));
	return opts_complain(p->program, "%s: '%s' is not allowed; allowed: %s", from, text, allowed);
}

static const struct opt *find_long(const struct opts_program *pr, const char *name, size_t n)
{
	for (size_t i = 0; i < pr->n_opts; i++) {
		const char *have = pr->opts[i].name;

		if (have && strlen(have) == n && strncmp(have, name, n) == 0)
			return &pr->opts[i];
	}
	return NULL;
}

static const struct opt *find_short(const struct opts_program *pr, char letter)
{
	for (size_t i = 0; i < pr->n_opts; i++)
		if (pr->opts[i].letter == letter)
			return &pr->opts[i];
	return NULL;
}

static enum opts_result print_version(const struct opts_program *pr)
{
	printf("%s %s %s\n", pr->name, gpucc_version, gpucc_commit);
	return OPTS_DONE;
}

/* One option at argv[*i]; moves *i over an argument of its own. */
static enum opts_result option(struct parse *p, int argc, char **argv, int *i)
{
	const char *word = argv[*i], *eq = NULL, *value = NULL;
	const struct opt *o;
	char from[80];

	if (str_eq(word, "--help") || str_eq(word, "-h")) {
		opts_print_help(p->program, stdout);
		return OPTS_DONE;
	}
	if (str_eq(word, "--version"))
		return print_version(p->program);
	if (word[1] == '-') {
		eq = strchr(word, '=');
		o = find_long(p->program, word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2));
		value = eq ? eq + 1 : NULL;
	} else {
		o = find_short(p->program, word[1]);
		value = o && o->type != OPT_FLAG && word[2] ? word + 2 : NULL;
		if (word[2] && !value)
			o = NULL;
	}
	if (!o)
		return opts_complain(p->program, "unknown option '%s'", word);
	snprintf(from, sizeof(from), "--%s", o->name);
	if (o->type == OPT_FLAG)
		return value ? opts_complain(p->program, "%s takes no value", from)
			     : take(p, o, from, "true");
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	if (!value)
		return opts_complain(p->program, "%s needs a value", from);
	return take(p, o, from, value);
}

static enum opts_result defaults(struct parse *p)
{
	for (size_t i = 0; i < p->program->n_opts; i++) {
		const struct opt *o = &p->program->opts[i];

		if (o->def && !store(p, o, o->def))
			return opts_complain(p->program, "default of --%s is broken", o->name);
	}
	return OPTS_OK;
}

static enum opts_result environment(struct parse *p, char *(*env)(const char *))
{
	for (size_t i = 0; i < p->program->n_opts; i++) {
		const struct opt *o = &p->program->opts[i];
		const char *text = o->env && !p->seen[i] ? env(o->env) : NULL;

		if (text && take(p, o, o->env, text) != OPTS_OK)
			return OPTS_BAD;
	}
	return OPTS_OK;
}

static enum opts_result required(struct parse *p)
{
	for (size_t i = 0; i < p->program->n_opts; i++) {
		const struct opt *o = &p->program->opts[i];

		if (!o->required || p->seen[i])
			continue;
		if (o->env)
			return opts_complain(p->program, "--%s (or the environment variable %s) is required",
					     o->name, o->env);
		return opts_complain(p->program, "--%s is required", o->name);
	}
	return OPTS_OK;
}

static enum opts_result command_line(struct parse *p, int argc, char **argv, int *n_args)
{
	bool literal = false;

	*n_args = 0;
	for (int i = 1; i < argc; i++) {
		if (!literal && str_eq(argv[i], "--")) {
			literal = true;
			continue;
		}
		if (!literal && argv[i][0] == '-' && argv[i][1]) {
			enum opts_result r = option(p, argc, argv, &i);

			if (r != OPTS_OK)
				return r;
			continue;
		}
		argv[(*n_args)++] = argv[i];
		literal |= p->program->stop_at_first_argument;
	}
	return OPTS_OK;
}

enum opts_result opts_parse(const struct opts_program *program, int argc, char **argv,
			    char *(*env)(const char *), void *into, int *n_args)
{
	AUTO_MEM bool *seen = calloc(program->n_opts + 1, sizeof(*seen));
	struct parse p = {program, into, seen};
	enum opts_result r;

	if (!seen)
		return opts_complain(program, "out of memory");
	if ((r = defaults(&p)) != OPTS_OK || (r = command_line(&p, argc, argv, n_args)) != OPTS_OK ||
	    (r = environment(&p, env)) != OPTS_OK)
		return r;
	return required(&p);
}

/* Wraps `text` at HELP_WIDTH, each line from HELP_COLUMN on. */
static void print_wrapped(FILE *f, const char *text, size_t column)
{
	const size_t width = HELP_WIDTH - HELP_COLUMN;

	fprintf(f, "%*s", column < HELP_COLUMN ? (int)(HELP_COLUMN - column) : 0, "");
	if (column >= HELP_COLUMN)
		fprintf(f, "\n%*s", HELP_COLUMN, "");
	while (strlen(text) > width) {
		size_t n = width;

		while (n && text[n] != ' ')
			n--;
		if (!n)
			n = width;
		fprintf(f, "%.*s\n%*s", (int)n, text, HELP_COLUMN, "");
		text += n + (text[n] == ' ');
	}
	fprintf(f, "%s\n", text);
}

static void print_option(FILE *f, const struct opt *o)
{
	char head[128], text[2048], allowed[512];
	int n = 0;

	if (o->name)
		n = snprintf(head, sizeof(head), "  %c%c%s--%s%s%s", o->letter ? '-' : ' ',
			     o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			     o->type == OPT_FLAG ? "" : " ", o->type == OPT_FLAG ? "" : o->arg);
	else
		n = snprintf(head, sizeof(head), "      %s=%s", o->env, o->arg);
	fputs(head, f);
	n = (int)strlen(head);
	snprintf(text, sizeof(text), "%s", o->help);
	if (o->type == OPT_CHOICE) {
		choices_text(o, allowed, sizeof(allowed));
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "; one of: %s", allowed);
	}
	if (o->def && o->type != OPT_FLAG)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " [default: %s]",
			 *o->def ? o->def : "empty");
	if (o->env && o->name)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " [env: %s]", o->env);
	if (o->required)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " [required]");
	print_wrapped(f, text, (size_t)n);
}

void opts_print_help(const struct opts_program *program, void *stdio_file)
{
	static const struct opt common[] = {
		{.name = "help", .letter = 'h', .help = "show this help and exit"},
		{.name = "version", .help = "show name, version and commit, and exit"},
	};
	FILE *f = stdio_file;

	fprintf(f, "Usage: %s %s\n\n%s\n\nOptions:\n", program->name, program->usage, program->summary);
	for (size_t i = 0; i < program->n_opts; i++)
		print_option(f, &program->opts[i]);
	for (size_t i = 0; i < ARRAY_LEN(common); i++)
		print_option(f, &common[i]);
	if (program->epilog)
		fprintf(f, "\n%s\n", program->epilog);
}
