/* SPDX-License-Identifier: Apache-2.0 */
/* util - checked reads, polls and notes, for everything that talks to a device. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "gpu/internal.h"

#define POLL_FIRST_MS 1
#define POLL_MOST_MS  10

void gpu_note(const struct gpu *g, enum log_level level, const char *fmt, ...)
{
	char text[GPU_TEXT_BYTES];
	va_list ap;

	if (!g->env->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	g->env->note(g->env->arg, level, text);
}

bool gpu_stopped(const struct gpu *g)
{
	return g->env->stop && *g->env->stop;
}

int gpu_rd(struct gpu *g, uint32_t off, const char *name, uint32_t *out, struct err *err)
{
	uint32_t v = pci_rd32(g->pci, off);

	if (v == REG_ALL_ONES)
		return err_set(err, ERR_DEVICE, "device lost: %s (0x%06x) reads all ones", name,
			       off);
	if (reg_is_bad(v))
		return err_set(err, ERR_DEVICE, "%s (0x%06x) cannot be read: 0x%08x", name, off, v);
	*out = v;
	return 0;
}

struct gpu_poll gpu_poll_for(uint64_t limit_ms)
{
	return (struct gpu_poll){ .until_ms = now_ms() + limit_ms,
				  .pause_ms = POLL_FIRST_MS,
				  .most_ms = POLL_MOST_MS };
}

bool gpu_poll_again(struct gpu_poll *p)
{
	uint64_t now = now_ms();

	if (now >= p->until_ms)
		return false;
	clock_sleep_ms(p->pause_ms < p->until_ms - now ? p->pause_ms : p->until_ms - now);
	if (p->pause_ms < p->most_ms)
		p->pause_ms++;
	return true;
}

void gpu_dump(struct gpu *g)
{
	const struct gpu_family *f = g->chip ? g->chip->family : NULL;

	for (size_t i = 0; f && i < GPU_DUMP_MAX && f->dump[i].n; i++) {
		char text[GPU_TEXT_BYTES];
		int n = snprintf(text, sizeof(text), "%s (0x%06x):", f->dump[i].name,
				 f->dump[i].first);

		for (unsigned k = 0; k < f->dump[i].n && n > 0 && (size_t)n < sizeof(text); k++)
			n += snprintf(text + n, sizeof(text) - (size_t)n, " %08x",
				      pci_rd32(g->pci, f->dump[i].first + 4 * k));
		gpu_note(g, LOG_INFO, "%s", text);
	}
}
