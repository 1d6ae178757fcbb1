/* SPDX-License-Identifier: Apache-2.0 */
/* trace - stands in front of a back-end and says each access aloud, by the register's name. */
#include <stdio.h>

#include "base/clock.h"
#include "pci/pci.h"

struct trace {
	struct pci_device inner;
	pci_reg_name *name_of;
	pci_trace_emit *emit;
	void *arg;
	uint64_t start_us;
};

static void say(struct trace *t, const char *what, uint32_t off, const char *name,
		const char *arrow, uint32_t value)
{
	char line[160];
	uint64_t us = now_us() - t->start_us;

	snprintf(line, sizeof(line), "+%llu.%03llums %s 0x%06x %s %s 0x%08x",
		 (unsigned long long)us / 1000, (unsigned long long)us % 1000, what, off,
		 name ? name : "-", arrow, value);
	t->emit(t->arg, line);
}

static int trace_cfg_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
			  struct err *err)
{
	struct trace *t = d->ctx;

	if (t->inner.ops->cfg_read(&t->inner, off, bytes, out, err) < 0)
		return -1;
	say(t, "cfg read ", off, NULL, "=", *out);
	return 0;
}

static int trace_cfg_write(struct pci_device *d, unsigned off, unsigned bytes, uint32_t value,
			   struct err *err)
{
	struct trace *t = d->ctx;

	say(t, "cfg write", off, NULL, ":=", value);
	return t->inner.ops->cfg_write(&t->inner, off, bytes, value, err);
}

static int trace_bar0_map(struct pci_device *d, struct err *err)
{
	struct trace *t = d->ctx;

	if (t->inner.ops->bar0_map(&t->inner, err) < 0)
		return -1;
	d->bar0_bytes = t->inner.bar0_bytes;
	return 0;
}

static uint32_t trace_rd32(struct pci_device *d, uint32_t off)
{
	struct trace *t = d->ctx;
	uint32_t v = t->inner.ops->rd32(&t->inner, off);

	say(t, "read ", off, t->name_of(t->arg, off), "=", v);
	return v;
}

static void trace_wr32(struct pci_device *d, uint32_t off, uint32_t value)
{
	struct trace *t = d->ctx;

	say(t, "write", off, t->name_of(t->arg, off), ":=", value);
	t->inner.ops->wr32(&t->inner, off, value);
}

static int trace_reset(struct pci_device *d, struct err *err)
{
	struct trace *t = d->ctx;

	t->emit(t->arg, "reset");
	return t->inner.ops->reset(&t->inner, err);
}

static int trace_power_get(struct pci_device *d, char *out, size_t size, struct err *err)
{
	struct trace *t = d->ctx;

	*out = '\0';
	return t->inner.ops->power_get ? t->inner.ops->power_get(&t->inner, out, size, err) : 0;
}

static int trace_power_set(struct pci_device *d, const char *text, struct err *err)
{
	struct trace *t = d->ctx;

	return t->inner.ops->power_set ? t->inner.ops->power_set(&t->inner, text, err) : 0;
}

static void trace_close(struct pci_device *d)
{
	struct trace *t = d->ctx;

	pci_device_close(&t->inner);
	free(t);
	d->ctx = NULL;
}

static const struct pci_ops trace_ops = {
	.name = "trace",
	.cfg_read = trace_cfg_read,
	.cfg_write = trace_cfg_write,
	.bar0_map = trace_bar0_map,
	.rd32 = trace_rd32,
	.wr32 = trace_wr32,
	.reset = trace_reset,
	.power_get = trace_power_get,
	.power_set = trace_power_set,
	.close = trace_close,
};

int pci_trace(struct pci_device *d, pci_reg_name *name_of, pci_trace_emit *emit, void *arg,
	      struct err *err)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (!t)
		return err_nomem(err);
	*t = (struct trace){
		.inner = *d, .name_of = name_of, .emit = emit, .arg = arg, .start_us = now_us()
	};
	d->ops = &trace_ops;
	d->ctx = t;
	return 0;
}
