/* SPDX-License-Identifier: Apache-2.0 */
/* trace - a line for each access, with the register's name; and gpusim's own words on stderr. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "sim.h"

#define TRACE_BUFFER (256 * 1024)

void complain(const char *fmt, ...)
{
	char text[512];
	va_list args;
	int n = snprintf(text, sizeof(text), "gpusim: ");

	va_start(args, fmt);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, fmt, args);
	va_end(args);
	if ((size_t)n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		return; /* nobody left to tell */
}

int trace_open(struct sim *s, struct err *err)
{
	if (!s->opts.trace)
		return 0;
	s->trace = fopen(s->opts.trace, "we");
	if (!s->trace)
		return err_errno(err, "trace file %s", s->opts.trace);
	setvbuf(s->trace, NULL, _IOFBF, TRACE_BUFFER);
	fprintf(s->trace, "# began at monotonic %.6f\n", (double)s->start_us / 1e6);
	fprintf(s->trace, "# seconds process device what offset value name\n");
	return 0;
}

static void stamp(struct sim *s, const char *bdf)
{
	fprintf(s->trace, "%.6f %d %s ", (double)(now_us() - s->start_us) / 1e6, s->current, bdf);
}

void trace_access(const struct gpumodel_access *a, void *sim)
{
	static const char *const what[GPUMODEL_N_OPS] = { "R",	   "W",	    "cfg-R",
							  "cfg-W", "reset", "firmware" };
	struct sim *s = sim;

	if (!s->trace)
		return;
	stamp(s, gpumodel_info(s->model, a->dev)->bdf);
	switch (a->op) {
	case GPUMODEL_RPC:
		fprintf(s->trace, "firmware %s\n", a->name);
		break;
	case GPUMODEL_RESET:
		fprintf(s->trace, "reset %s\n",
			a->value ? strerrorname_np((int)a->value) : "begins");
		break;
	case GPUMODEL_CFG_READ:
	case GPUMODEL_CFG_WRITE:
		fprintf(s->trace, "%s 0x%03x 0x%0*x\n", what[a->op], a->offset, (int)a->width * 2,
			a->value);
		break;
	default:
		fprintf(s->trace, "%s 0x%06x 0x%08x %s\n", what[a->op], a->offset, a->value,
			a->name);
	}
}

void trace_line(struct sim *s, const char *bdf, const char *what, const char *text)
{
	if (!s->trace)
		return;
	stamp(s, bdf);
	fprintf(s->trace, "%s %s\n", what, text);
}

void trace_violation(unsigned dev, const char *text, void *sim)
{
	struct sim *s = sim;
	const char *bdf = gpumodel_info(s->model, dev)->bdf;

	trace_line(s, bdf, "violation", text);
	if (!s->opts.quiet)
		complain("violation: %s: %s", bdf, text);
}
