/* SPDX-License-Identifier: Apache-2.0 */
/* faults - things that go wrong on purpose: which, on which device, how often, from which moment. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpumodel/internal.h"

#define SPEC_MAX 256

enum value_kind { VALUE_NONE, VALUE_NUMBER, VALUE_MS, VALUE_HOW, VALUE_ERRNO };

static const struct {
	const char *name;
	enum value_kind value;
} kinds[FAULT_N_KINDS] = {
	[FAULT_RPC_ERROR] = { "rpc-error", VALUE_NUMBER },
	[FAULT_NO_ANSWER] = { "no-answer", VALUE_NONE },
	[FAULT_STUCK_QUEUE] = { "stuck-queue", VALUE_NONE },
	[FAULT_SHORT_ANSWER] = { "short-answer", VALUE_NONE },
	[FAULT_LONG_ANSWER] = { "long-answer", VALUE_NONE },
	[FAULT_WRONG_ANSWER] = { "wrong-answer", VALUE_HOW },
	[FAULT_RPC_SLOW] = { "rpc-slow", VALUE_MS },
	[FAULT_INBAND_DENIED] = { "inband-denied", VALUE_NONE },
	[FAULT_BOOT_NEVER] = { "boot-never", VALUE_NONE },
	[FAULT_MODE_STICKS] = { "mode-sticks", VALUE_NONE },
	[FAULT_ALL_ONES] = { "all-ones", VALUE_NONE },
	[FAULT_BADF] = { "badf", VALUE_NONE },
	[FAULT_SEC_FAULT] = { "sec-fault", VALUE_NONE },
	[FAULT_RECOVERY] = { "recovery", VALUE_NONE },
	[FAULT_RESET_ERRNO] = { "reset-errno", VALUE_ERRNO },
	[FAULT_RESET_SLOW] = { "reset-slow", VALUE_MS },
	[FAULT_HELD] = { "held", VALUE_NONE },
	[FAULT_GONE] = { "gone", VALUE_NONE },
};

static const char *const from_names[FROM_N] = { "start", "write", "reset", "boot" };
static const char *const how_names[] = { "type", "echo", "length" };
static const struct {
	const char *name;
	int number;
} errnos[] = {
	{ "EBUSY", EBUSY },   { "ENOTTY", ENOTTY }, { "EAGAIN", EAGAIN },
	{ "EINVAL", EINVAL }, { "EIO", EIO },	    { "ETIMEDOUT", ETIMEDOUT },
};

static bool value_parse(enum value_kind kind, const char *text, uint32_t *out)
{
	uint64_t number;

	switch (kind) {
	case VALUE_NONE:
		return !text;
	case VALUE_NUMBER:
		*out = 0;
		return text && str_hex(text, UINT32_MAX, &number) &&
		       (*out = (uint32_t)number, true);
	case VALUE_MS:
		return text && str_u64(text, 3600000, &number) && (*out = (uint32_t)number, true);
	case VALUE_HOW:
		for (size_t i = 0; text && i < ARRAY_LEN(how_names); i++)
			if (str_eq(text, how_names[i]))
				return *out = (uint32_t)i, true;
		return false;
	case VALUE_ERRNO:
		for (size_t i = 0; text && i < ARRAY_LEN(errnos); i++)
			if (str_eq(text, errnos[i].name))
				return *out = (uint32_t)errnos[i].number, true;
		return false;
	}
	return false;
}

static bool dev_parse(const struct gpumodel *m, const char *text, int *out)
{
	*out = str_eq(text, "all")	? DEV_ALL
	       : str_eq(text, "gpu")	? DEV_GPUS
	       : str_eq(text, "switch") ? DEV_SWITCHES
					: gpumodel_find(m, text);
	return *out >= 0 || !strchr(text, ':');
}

static bool from_parse(const char *text, enum fault_from *out)
{
	for (unsigned i = 0; i < FROM_N; i++)
		if (str_eq(text, from_names[i])) {
			*out = i;
			return true;
		}
	return false;
}

/* "met=1:3:0": the moments that have come, a bit per device; only in texts of ours. */
static bool met_parse(const char *text, struct fault *f)
{
	char copy[64], *rest = copy, *part;

	if (!str_copy(copy, sizeof(copy), text))
		return false;
	for (unsigned i = FROM_WRITE; i < FROM_N; i++) {
		part = strsep(&rest, ":");
		if (!part || !str_hex(part, UINT64_MAX, &f->seen[i]))
			return false;
	}
	return !rest;
}

static bool key_parse(const struct gpumodel *m, const char *key, const char *value, struct fault *f)
{
	uint64_t number = 0;

	if (!value)
		return false;
	if (str_eq(key, "dev"))
		return dev_parse(m, value, &f->dev) && f->dev >= DEV_SWITCHES &&
		       (f->dev != DEV_ALL || str_eq(value, "all"));
	if (str_eq(key, "from"))
		return from_parse(value, &f->from);
	if (str_eq(key, "met"))
		return met_parse(value, f);
	if (str_eq(key, "count") && str_u64(value, INT32_MAX, &number))
		return f->count = (int64_t)number, true;
	if (str_eq(key, "skip") && str_u64(value, INT32_MAX, &f->skip))
		return true;
	if (str_eq(key, "knob") && str_u64(value, GPUMODEL_N_KNOBS - 1, &number))
		return f->knob = (int32_t)number, true;
	if (str_eq(key, "reg") && str_hex(value, UINT32_MAX, &number))
		return f->reg = (int64_t)number, true;
	return false;
}

static int fault_parse(const struct gpumodel *m, const char *spec, struct fault *f, struct err *err)
{
	char copy[SPEC_MAX], *rest = copy, *part, *value;
	bool found = false;

	if (!str_copy(copy, sizeof(copy), spec))
		return err_set(err, ERR_INVALID, "fault: longer than %d bytes", SPEC_MAX - 1);
	str_printable(copy);
	*f = (struct fault){ .dev = DEV_ALL, .knob = -1, .reg = -1, .count = -1 };
	part = strsep(&rest, ",");
	value = strchr(part, '=');
	if (value)
		*value++ = '\0';
	for (unsigned k = 0; k < FAULT_N_KINDS && !found; k++)
		if (str_eq(part, kinds[k].name)) {
			f->kind = k;
			found = true;
		}
	if (!found)
		return err_set(err, ERR_INVALID, "no fault is called '%s'", part);
	if (!value_parse(kinds[f->kind].value, value, &f->value))
		return err_set(err, ERR_INVALID, "fault %s: value '%s'", part, value ? value : "");
	while ((part = strsep(&rest, ","))) {
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		if (!key_parse(m, part, value, f))
			return err_set(err, ERR_INVALID, "fault %s: '%s=%s'", kinds[f->kind].name,
				       part, value ? value : "");
	}
	return 0;
}

static bool fault_covers(const struct gpumodel *m, const struct fault *f, const struct device *d)
{
	switch (f->dev) {
	case DEV_ALL:
		return true;
	case DEV_GPUS:
		return d->info.kind == GPUMODEL_GPU;
	case DEV_SWITCHES:
		return d->info.kind == GPUMODEL_SWITCH;
	default:
		return f->dev == (int)device_index(m, d);
	}
}

static bool fault_armed(const struct gpumodel *m, const struct fault *f, const struct device *d)
{
	return fault_covers(m, f, d) &&
	       (f->from == FROM_START || (f->seen[f->from] >> device_index(m, d) & 1));
}

static struct fault *fault_match(struct gpumodel *m, const struct device *d, enum fault_kind kind,
				 int knob, int64_t reg)
{
	for (unsigned i = 0; i < m->n_faults; i++) {
		struct fault *f = &m->fault[i];

		if (f->kind == kind && f->count != 0 && (f->knob < 0 || f->knob == knob) &&
		    (f->reg < 0 || f->reg == reg) && fault_armed(m, f, d))
			return f;
	}
	return NULL;
}

bool fault_on(struct gpumodel *m, const struct device *d, enum fault_kind kind, int knob,
	      int64_t reg, uint32_t *value)
{
	const struct fault *f = m->n_faults ? fault_match(m, d, kind, knob, reg) : NULL;

	if (!f || f->skip)
		return false;
	if (value)
		*value = f->value;
	return true;
}

bool fault_strike(struct gpumodel *m, const struct device *d, enum fault_kind kind, int knob,
		  int64_t reg, uint32_t *value)
{
	struct fault *f = m->n_faults ? fault_match(m, d, kind, knob, reg) : NULL;

	if (!f)
		return false;
	if (f->skip) {
		f->skip--;
		m->faults_serial++;
		return false;
	}
	if (f->count > 0) {
		f->count--;
		m->faults_serial++;
	}
	if (value)
		*value = f->value;
	return true;
}

void faults_moment(struct gpumodel *m, const struct device *d, enum fault_from moment)
{
	uint64_t bit = 1ull << device_index(m, d);

	for (unsigned i = 0; i < m->n_faults; i++) {
		struct fault *f = &m->fault[i];

		/* "boot" is the first boot complete after a reset that happened under the fault */
		if (moment == FROM_BOOT && !(f->seen[FROM_RESET] & bit))
			continue;
		if (!(f->seen[moment] & bit) && f->from != FROM_START)
			m->faults_serial++;
		f->seen[moment] |= bit;
	}
}

/* A fault that holds from the start acts on a boot that is already over. */
static void fault_begins(struct gpumodel *m, const struct fault *f)
{
	if (f->kind != FAULT_BOOT_NEVER || f->from != FROM_START || f->skip)
		return;
	for (unsigned i = 0; i < m->n_devices; i++)
		if (fault_covers(m, f, &m->device[i]) && (m->device[i].part->arch & ARCH_FSP))
			m->device[i].boot_stuck =
				fault_strike(m, &m->device[i], f->kind, -1, -1, NULL);
}

static void fault_ends(struct gpumodel *m, const struct fault *f)
{
	for (unsigned i = 0; f->kind == FAULT_BOOT_NEVER && i < m->n_devices; i++)
		if (fault_covers(m, f, &m->device[i]))
			m->device[i].boot_stuck = false;
}

static int fault_push(struct gpumodel *m, const struct fault *f, struct err *err)
{
	if (m->n_faults == GPUMODEL_MAX_FAULTS)
		return err_set(err, ERR_INVALID, "more than %d faults", GPUMODEL_MAX_FAULTS);
	m->fault[m->n_faults++] = *f;
	m->faults_serial++;
	return 0;
}

static void fault_remove(struct gpumodel *m, unsigned i)
{
	struct fault old = m->fault[i];

	memmove(&m->fault[i], &m->fault[i + 1], (--m->n_faults - i) * sizeof(m->fault[0]));
	m->faults_serial++;
	fault_ends(m, &old);
}

/* The moments are not in the text: two faults are the same when the rest is. */
static bool fault_same(const struct fault *a, const struct fault *b)
{
	return a->kind == b->kind && a->from == b->from && a->value == b->value &&
	       a->dev == b->dev && a->knob == b->knob && a->reg == b->reg && a->count == b->count &&
	       a->skip == b->skip;
}

int gpumodel_fault_add(struct gpumodel *m, const char *spec, struct err *err)
{
	struct fault f;

	if (fault_parse(m, spec, &f, err) < 0)
		return -1;
	for (unsigned i = m->n_faults; i-- > 0;) {
		struct fault old = m->fault[i];

		if (fault_same(&old, &f))
			return 0;
		if (old.count == 0 &&
		    (old.count = f.count, old.skip = f.skip, fault_same(&old, &f)))
			fault_remove(m, i); /* it is spent, and begins anew */
	}
	if (fault_push(m, &f, err) < 0)
		return -1;
	fault_begins(m, &m->fault[m->n_faults - 1]);
	return 0;
}

void gpumodel_fault_clear(struct gpumodel *m, const char *name)
{
	for (unsigned i = m->n_faults; i-- > 0;)
		if (!name || str_eq(name, kinds[m->fault[i].kind].name))
			fault_remove(m, i);
}

bool gpumodel_fault_active(struct gpumodel *m, unsigned dev, const char *name)
{
	for (unsigned k = 0; k < FAULT_N_KINDS; k++)
		if (str_eq(name, kinds[k].name))
			return fault_on(m, &m->device[dev], k, -1, -1, NULL);
	return false;
}

uint64_t gpumodel_faults_serial(const struct gpumodel *m)
{
	return m->faults_serial;
}

static int fault_print(const struct gpumodel *m, const struct fault *f, struct buf *out,
		       struct err *err)
{
	const char *dev = f->dev == DEV_GPUS	   ? "gpu"
			  : f->dev == DEV_SWITCHES ? "switch"
			  : f->dev < 0		   ? "all"
						   : m->device[f->dev].info.bdf;
	const char *name = kinds[f->kind].name;
	int r = 0;

	switch (kinds[f->kind].value) {
	case VALUE_NONE:
		r = buf_addf(out, err, "%s", name);
		break;
	case VALUE_NUMBER:
		r = buf_addf(out, err, "%s=0x%x", name, f->value);
		break;
	case VALUE_MS:
		r = buf_addf(out, err, "%s=%u", name, f->value);
		break;
	case VALUE_HOW:
		r = buf_addf(out, err, "%s=%s", name, how_names[f->value]);
		break;
	case VALUE_ERRNO:
		for (size_t i = 0; i < ARRAY_LEN(errnos); i++)
			if (errnos[i].number == (int)f->value)
				r = buf_addf(out, err, "%s=%s", name, errnos[i].name);
		break;
	}
	if (r < 0 || buf_addf(out, err, ",dev=%s", dev) < 0 ||
	    (f->from != FROM_START && buf_addf(out, err, ",from=%s", from_names[f->from]) < 0) ||
	    (f->count >= 0 && buf_addf(out, err, ",count=%" PRId64, f->count) < 0) ||
	    (f->skip && buf_addf(out, err, ",skip=%" PRIu64, f->skip) < 0) ||
	    (f->knob >= 0 && buf_addf(out, err, ",knob=%d", f->knob) < 0) ||
	    (f->reg >= 0 && buf_addf(out, err, ",reg=0x%" PRIx64, f->reg) < 0) ||
	    (f->from != FROM_START && f->seen[FROM_WRITE] + f->seen[FROM_RESET] &&
	     buf_addf(out, err, ",met=%" PRIx64 ":%" PRIx64 ":%" PRIx64, f->seen[FROM_WRITE],
		      f->seen[FROM_RESET], f->seen[FROM_BOOT]) < 0))
		return -1;
	return buf_adds(out, "\n", err);
}

int gpumodel_faults_save(const struct gpumodel *m, struct buf *out, struct err *err)
{
	for (unsigned i = 0; i < m->n_faults; i++)
		if (fault_print(m, &m->fault[i], out, err) < 0)
			return -1;
	return 0;
}

static int faults_parse(const struct gpumodel *m, struct rd text, struct fault *out, unsigned *n,
			struct err *err)
{
	struct rd line;
	char spec[SPEC_MAX];

	while (rd_line(&text, &line)) {
		if (line.left == 0)
			continue;
		if (*n == GPUMODEL_MAX_FAULTS)
			return err_set(err, ERR_INVALID, "more than %d faults",
				       GPUMODEL_MAX_FAULTS);
		if (!str_copyn(spec, sizeof(spec), (const char *)line.p, line.left))
			return err_set(err, ERR_INVALID, "fault: longer than %d bytes",
				       SPEC_MAX - 1);
		if (fault_parse(m, spec, &out[*n], err) < 0)
			return -1;
		(*n)++;
	}
	return 0;
}

int gpumodel_faults_load(struct gpumodel *m, struct rd text, struct err *err)
{
	struct fault wanted[GPUMODEL_MAX_FAULTS];
	unsigned n = 0;

	if (faults_parse(m, text, wanted, &n, err) < 0)
		return -1;
	for (unsigned i = m->n_faults; i-- > 0;) {
		bool kept = false;

		for (unsigned k = 0; k < n && !kept; k++)
			if (fault_same(&m->fault[i], &wanted[k])) {
				memmove(&wanted[k], &wanted[k + 1], (--n - k) * sizeof(wanted[0]));
				kept = true;
			}
		if (!kept)
			fault_remove(m, i);
	}
	for (unsigned k = 0; k < n; k++) {
		if (fault_push(m, &wanted[k], err) < 0)
			return -1;
		fault_begins(m, &m->fault[m->n_faults - 1]);
	}
	return 0;
}
