/* SPDX-License-Identifier: Apache-2.0 */
/* points - numbers everything the command does to the world, so that it can be killed at each. */
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "sim.h"

static const char *const names[POINT_N] = { "reg", "sysfs", "file", "send", "log" };

int points_init(struct sim *s, struct err *err)
{
	char copy[64], *rest = copy, *name;
	struct points *p = &s->points;

	p->at = s->opts.kill_at;
	p->after = s->opts.kill_when == KILL_AFTER;
	p->active = p->at || s->opts.count_points;
	if (!s->opts.kill_kinds) {
		p->kinds = (1u << POINT_N) - 1;
		return 0;
	}
	if (!str_copy(copy, sizeof(copy), s->opts.kill_kinds))
		return err_set(err, ERR_INVALID, "--kill-kind: too long");
	while ((name = strsep(&rest, ","))) {
		unsigned kind = 0;

		while (kind < POINT_N && !str_eq(name, names[kind]))
			kind++;
		if (kind == POINT_N)
			return err_set(
				err, ERR_INVALID,
				"--kill-kind: '%s' is not one of reg, sysfs, file, send, log",
				str_printable(name));
		p->kinds |= 1u << kind;
	}
	return 0;
}

bool point_reached(struct sim *s, enum point kind)
{
	struct points *p = &s->points;

	if (!p->active || !(p->kinds >> kind & 1))
		return false;
	p->count[kind]++;
	if (++p->total != p->at)
		return false;
	if (p->after) {
		p->due = true;
		return false;
	}
	s->killed = true;
	return true;
}

void points_print(const struct sim *s, FILE *f)
{
	fprintf(f, "{\"points\":%" PRIu64, s->points.total);
	for (unsigned kind = 0; kind < POINT_N; kind++)
		fprintf(f, ",\"%s\":%" PRIu64, names[kind], s->points.count[kind]);
	fprintf(f, "}\n");
}
