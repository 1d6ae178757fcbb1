/* SPDX-License-Identifier: Apache-2.0 */
/* save - the whole machine as text and back.  One table of fields serves both ways.  A line is a
 * field's name and its numbers in hex, "COUNT*NUMBER" where one repeats. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpumodel/internal.h"

#define HEADER "gpumodel 1"

enum field_type { F_NUMBER, F_TIME /* us, saved as time left */, F_TEXT };

struct field {
	const char *name;
	size_t offset;
	uint16_t size, n; /* bytes of one, how many */
	enum field_type type;
};

#define MEMBER(m) ((struct device *)0)->m
#define ONE(m)	  #m, offsetof(struct device, m), sizeof(MEMBER(m)), 1
#define MANY(m)	  #m, offsetof(struct device, m), sizeof(MEMBER(m)[0]), ARRAY_LEN(MEMBER(m))

/* Three members of each channel and port carry times; arrays of structs are listed member by member. */
static const struct field fields[] = {
	{ MANY(knob), F_NUMBER },
	{ ONE(cc_active), F_NUMBER },
	{ ONE(ppcie_active), F_NUMBER },
	{ ONE(firewall_active), F_NUMBER },
	{ ONE(boot_stuck), F_NUMBER },
	{ ONE(resetting), F_NUMBER },
	{ ONE(priv_ring), F_NUMBER },
	{ ONE(staged_here), F_NUMBER },
	{ ONE(coupled), F_NUMBER },
	{ ONE(boot_at_us), F_TIME },
	{ ONE(firewall_at_us), F_TIME },
	{ ONE(flr_at_us), F_TIME },
	{ ONE(resets), F_NUMBER },
	{ MANY(scratch), F_NUMBER },
	{ MANY(switch_scratch), F_NUMBER },
	{ ONE(flr_mark), F_NUMBER },
	{ ONE(sbr_mark), F_NUMBER },
	{ ONE(last_reset), F_NUMBER },
	{ MANY(emem), F_NUMBER },
	{ MANY(cfg), F_NUMBER },
	{ ONE(driver), F_TEXT },
	{ ONE(info.reset_method), F_TEXT },
};

#define C_ONE(m) #m, offsetof(struct emem_channel, m), sizeof(((struct emem_channel *)0)->m), 1
static const struct field channel_fields[] = {
	{ C_ONE(cmd_head), F_NUMBER }, { C_ONE(cmd_tail), F_NUMBER },
	{ C_ONE(msg_head), F_NUMBER }, { C_ONE(msg_tail), F_NUMBER },
	{ C_ONE(control), F_NUMBER },  { C_ONE(offset), F_NUMBER },
	{ C_ONE(due_us), F_TIME },     { C_ONE(tail_written), F_NUMBER },
};

#define P_ONE(m)  #m, offsetof(struct mnoc_port, m), sizeof(((struct mnoc_port *)0)->m), 1
#define P_MANY(m) #m, offsetof(struct mnoc_port, m), 4, ARRAY_LEN(((struct mnoc_port *)0)->m)
static const struct field port_fields[] = {
	{ P_ONE(in_size), F_NUMBER },	{ P_ONE(in_done), F_NUMBER },
	{ P_ONE(in_credit), F_NUMBER }, { P_ONE(out_size), F_NUMBER },
	{ P_ONE(out_done), F_NUMBER },	{ P_ONE(receiving), F_NUMBER },
	{ P_ONE(error), F_NUMBER },	{ P_ONE(due_us), F_TIME },
	{ P_ONE(give_up_us), F_TIME },	{ P_MANY(in), F_NUMBER },
	{ P_MANY(out), F_NUMBER },
};

static uint64_t number_get(const void *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size); /* little-endian machines only, as is the rest of the simulator */
	return v;
}

/* 0 stays 0 ("none"); a moment gone by becomes 1 us, so that it is still not "none". */
static uint64_t time_left(uint64_t at_us, uint64_t now_us)
{
	if (at_us == 0 || at_us == NEVER_US)
		return at_us;
	return at_us > now_us ? at_us - now_us : 1;
}

static uint64_t value_of(const struct field *f, const uint8_t *base, unsigned i, uint64_t now_us)
{
	uint64_t v = number_get(base + f->offset + (size_t)i * f->size, f->size);

	return f->type == F_TIME ? time_left(v, now_us) : v;
}

static bool all_zero(const struct field *f, const uint8_t *base)
{
	for (size_t i = 0; i < (size_t)f->size * f->n; i++)
		if (base[f->offset + i])
			return false;
	return true;
}

static int field_save(const struct field *f, const uint8_t *base, uint64_t now_us, struct buf *out,
		      struct err *err)
{
	if (all_zero(f, base))
		return 0;
	if (buf_addf(out, err, "%s", f->name) < 0)
		return -1;
	if (f->type == F_TEXT)
		return buf_addf(out, err, " %s\n", (const char *)base + f->offset);
	for (unsigned i = 0, run; i < f->n; i += run) {
		uint64_t v = value_of(f, base, i, now_us);

		for (run = 1; i + run < f->n && value_of(f, base, i + run, now_us) == v;)
			run++;
		if ((run > 1 ? buf_addf(out, err, " %x*%" PRIx64, run, v)
			     : buf_addf(out, err, " %" PRIx64, v)) < 0)
			return -1;
	}
	return buf_adds(out, "\n", err);
}

static int fields_save(const struct field *f, size_t n, const void *base, uint64_t now_us,
		       struct buf *out, struct err *err)
{
	for (size_t i = 0; i < n; i++)
		if (field_save(&f[i], base, now_us, out, err) < 0)
			return -1;
	return 0;
}

static int device_save(const struct device *d, uint64_t now_us, struct buf *out, struct err *err)
{
	if (buf_addf(out, err, "device %s %s\n", d->part_name, d->info.bdf) < 0 ||
	    fields_save(fields, ARRAY_LEN(fields), d, now_us, out, err) < 0)
		return -1;
	for (unsigned i = 0; i < EMEM_CHANNELS && (d->part->arch & ARCH_EMEM); i++)
		if (buf_addf(out, err, "channel %x\n", i) < 0 ||
		    fields_save(channel_fields, ARRAY_LEN(channel_fields), &d->channel[i], now_us,
				out, err) < 0)
			return -1;
	for (unsigned i = 0; i < MNOC_PORTS && (d->part->arch & ARCH_BLACKWELL); i++)
		if (buf_addf(out, err, "port %x\n", i) < 0 ||
		    fields_save(port_fields, ARRAY_LEN(port_fields), &d->port[i], now_us, out,
				err) < 0)
			return -1;
	return 0;
}

int gpumodel_save(struct gpumodel *m, struct buf *out, struct err *err)
{
	uint64_t now = model_now_us(m);

	if (buf_adds(out, HEADER "\n", err) < 0)
		return -1;
	for (unsigned i = 0; i < m->n_devices; i++) {
		device_tick(m, &m->device[i]);
		if (device_save(&m->device[i], now, out, err) < 0)
			return -1;
	}
	return buf_adds(out, "end\n", err);
}

/* "3*ff" or "ff" */
static bool run_parse(char *word, uint64_t *run, uint64_t *value)
{
	char *star = strchr(word, '*');

	*run = 1;
	if (star) {
		*star = '\0';
		if (!str_hex(word, UINT16_MAX, run))
			return false;
		word = star + 1;
	}
	return str_hex(word, UINT64_MAX, value);
}

static bool numbers_load(const struct field *f, uint8_t *base, uint64_t now_us, char *words)
{
	uint64_t at = 0, run, v;
	char *word;

	while ((word = strsep(&words, " "))) {
		if (!run_parse(word, &run, &v) || run > f->n - at)
			return false;
		if (f->size < 8 && v >> 8 * f->size)
			return false;
		if (f->type == F_TIME && v != 0 && v != NEVER_US)
			v = v > NEVER_US - now_us - 1 ? NEVER_US - 1 : v + now_us;
		for (; run; run--, at++)
			memcpy(base + f->offset + at * f->size, &v, f->size);
	}
	return at == f->n;
}

static bool field_load(const struct field *table, size_t n, void *base, uint64_t now_us,
		       const char *name, char *rest)
{
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &table[i];

		if (!str_eq(f->name, name))
			continue;
		if (f->type == F_TEXT)
			return str_copy((char *)base + f->offset, f->size, rest ? rest : "");
		return rest && numbers_load(f, base, now_us, rest);
	}
	return false;
}

/* Where the lines that follow belong. */
struct place {
	struct device *device;
	struct emem_channel *channel;
	struct mnoc_port *port;
	bool end;
};

static bool device_load(struct gpumodel *m, char *rest, struct place *at, struct err *err)
{
	char *part = strsep(&rest, " "), element[64];
	int n;

	if (!part || !rest)
		return false;
	n = snprintf(element, sizeof(element), "%s@%s", part, rest);
	if (n < 0 || (size_t)n >= sizeof(element) || strpbrk(element, ",") || str_empty(part))
		return false;
	if (devices_parse(element, m, err) < 0)
		return false;
	*at = (struct place){ .device = &m->device[m->n_devices - 1] };
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) /* what is zero has no line */
		memset((uint8_t *)at->device + fields[i].offset, 0,
		       (size_t)fields[i].size * fields[i].n);
	return true;
}

static bool line_load(struct gpumodel *m, char *line, struct place *at, uint64_t now_us,
		      struct err *err)
{
	char *rest = line, *name = strsep(&rest, " ");
	uint64_t i;

	if (at->end)
		return false;
	if (str_eq(name, "end"))
		return at->end = true;
	if (str_eq(name, "device"))
		return device_load(m, rest, at, err);
	if (!at->device)
		return false;
	if (str_eq(name, "channel") || str_eq(name, "port")) {
		bool channel = *name == 'c';

		if (!rest || !str_hex(rest, channel ? EMEM_CHANNELS - 1 : MNOC_PORTS - 1, &i))
			return false;
		at->channel = channel ? &at->device->channel[i] : NULL;
		at->port = channel ? NULL : &at->device->port[i];
		return true;
	}
	if (at->channel)
		return field_load(channel_fields, ARRAY_LEN(channel_fields), at->channel, now_us,
				  name, rest);
	if (at->port)
		return field_load(port_fields, ARRAY_LEN(port_fields), at->port, now_us, name,
				  rest);
	return field_load(fields, ARRAY_LEN(fields), at->device, now_us, name, rest);
}

/* What the rest of the model takes for granted and a text may have wrong. */
static bool device_sane(struct device *d)
{
	int r = d->cc_active > 3 || d->ppcie_active > 1;

	for (unsigned i = 0; i < MNOC_PORTS; i++) {
		const struct mnoc_port *p = &d->port[i];

		r |= p->in_size > sizeof(p->in) || p->in_size % 4 || p->in_done % 4 ||
		     p->in_credit % 4 || p->out_done % 4 || p->out_size > sizeof(p->out) ||
		     p->out_done > p->out_size || (p->receiving && p->in_done >= p->in_size);
	}
	return !r;
}

static int text_load(struct gpumodel *m, struct rd text, struct err *err)
{
	AUTO_MEM char *copy = NULL;
	struct place at = { 0 };
	struct rd line;
	unsigned n = 0;

	if (!rd_line(&text, &line) || line.left != strlen(HEADER) ||
	    memcmp(line.p, HEADER, line.left) != 0)
		return err_set(err, ERR_INVALID, "saved state: the first line is not '%s'", HEADER);
	copy = malloc(text.left + 1);
	if (!copy)
		return err_nomem(err);
	while (rd_line(&text, &line)) {
		n++;
		memcpy(copy, line.p, line.left);
		copy[line.left] = '\0';
		if (memchr(line.p, '\0', line.left) ||
		    !line_load(m, copy, &at, model_now_us(m), err))
			return err->kind ? err_wrap(err, "saved state: line %u", n + 1)
					 : err_set(err, ERR_INVALID, "saved state: line %u", n + 1);
	}
	if (!at.end)
		return err_set(err, ERR_INVALID, "saved state: cut off");
	return 0;
}

int gpumodel_load(struct rd text, const struct gpumodel_config *config, struct gpumodel **out,
		  struct err *err)
{
	AUTO(gpumodel_free) struct gpumodel *m = NULL;

	if (text.left > GPUMODEL_SAVE_MAX)
		return err_set(err, ERR_INVALID, "saved state: more than %u bytes",
			       GPUMODEL_SAVE_MAX);
	if (gpumodel_new("", config, &m, err) < 0 || text_load(m, text, err) < 0)
		return -1;
	for (unsigned i = 0; i < m->n_devices; i++)
		if (!device_sane(&m->device[i]))
			return err_set(err, ERR_INVALID, "saved state: %s does not make sense",
				       m->device[i].info.bdf);
	*out = TAKE_PTR(m);
	return 0;
}
