/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripted faults: reading a line of the script, and finding the faults that hit a request.
 */
#include "kubemodel.h"

#include <string.h>

#include "base/str.h"

static const struct {
	const char *name;
	bool takes_code;
} actions[KUBEMODEL_N_ACTIONS] = {
	[KUBEMODEL_STATUS] = { "status", true },
	[KUBEMODEL_RESET_BEFORE] = { "reset-before", false },
	[KUBEMODEL_RESET_AFTER] = { "reset-after", false },
	[KUBEMODEL_RESET_APPLIED] = { "reset-applied", false },
	[KUBEMODEL_RESET_MIDDLE] = { "reset-middle", false },
	[KUBEMODEL_HANG] = { "hang", false },
	[KUBEMODEL_HANG_APPLIED] = { "hang-applied", false },
	[KUBEMODEL_SLOW] = { "slow", false },
	[KUBEMODEL_HALF_LINE] = { "half-line", false },
	[KUBEMODEL_TRUNCATED] = { "truncated", false },
	[KUBEMODEL_NOT_JSON] = { "not-json", false },
	[KUBEMODEL_HUGE] = { "huge", false },
	[KUBEMODEL_NESTED] = { "nested", false },
	[KUBEMODEL_WRONG_TYPES] = { "wrong-types", false },
	[KUBEMODEL_CLOSE] = { "close", false },
	[KUBEMODEL_ERROR_EVENT] = { "error-event", true },
	[KUBEMODEL_COMPACT] = { "compact", false },
	[KUBEMODEL_DROP_WATCHES] = { "drop-watches", false },
	[KUBEMODEL_EXPIRE_TOKEN] = { "expire-token", false },
	[KUBEMODEL_OUTAGE] = { "outage", false },
};

enum option_type { TEXT, NUMBER, RANGE, COUNT };

#define OPTION(key, type, member, max)                                                             \
	{                                                                                          \
		key, type, offsetof(struct kubemodel_fault, member),                               \
			sizeof(((struct kubemodel_fault *)0)->member), max                         \
	}
static const struct option {
	const char *key;
	enum option_type type;
	size_t offset, size;
	uint64_t max;
} options[] = {
	OPTION("verb", TEXT, verb, 0),
	OPTION("path", TEXT, path, 0),
	OPTION("agent", TEXT, agent, 0),
	OPTION("reason", TEXT, reason, 0),
	OPTION("field", TEXT, field, 0),
	OPTION("n", RANGE, first, 0),
	OPTION("count", COUNT, count, 0),
	OPTION("skip", NUMBER, skip, UINT32_MAX),
	OPTION("event", NUMBER, event, UINT32_MAX),
	OPTION("retry-after", NUMBER, retry_after_s, 86400),
	OPTION("bytes", NUMBER, bytes, 200u << 20),
	OPTION("ms", NUMBER, ms, 3600000),
	OPTION("depth", NUMBER, depth, 10000000),
};

static int action_parse(const char *s, struct kubemodel_fault *f, struct err *err)
{
	const char *colon = strchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : strlen(s);

	for (size_t i = 0; i < KUBEMODEL_N_ACTIONS; i++) {
		if (strlen(actions[i].name) != n || strncmp(actions[i].name, s, n) != 0)
			continue;
		f->action = (enum kubemodel_action)i;
		if (actions[i].takes_code != (colon != NULL) ||
		    (colon && (!str_u64(colon + 1, 599, &f->code) || f->code < 200)))
			return err_set(err, ERR_INVALID, "%s: %s", s,
				       actions[i].takes_code ? "wants :CODE, 200 to 599"
							     : "takes no argument");
		return 0;
	}
	return err_set(err, ERR_INVALID, "%s: no such fault", s);
}

/* "3" or "3-5" */
static bool range_parse(const char *s, struct kubemodel_fault *f)
{
	const char *dash = strchr(s, '-');
	char from[24];

	if (!dash)
		return str_u64(s, UINT32_MAX, &f->first) && (f->last = f->first) > 0;
	return str_copyn(from, sizeof(from), s, (size_t)(dash - s)) &&
	       str_u64(from, UINT32_MAX, &f->first) && str_u64(dash + 1, UINT32_MAX, &f->last) &&
	       f->first > 0 && f->first <= f->last;
}

static bool value_parse(const struct option *o, const char *value, struct kubemodel_fault *f)
{
	char *member = (char *)f + o->offset;

	switch (o->type) {
	case TEXT:
		return *value && str_copy(member, o->size, value);
	case NUMBER:
		return str_u64(value, o->max, (uint64_t *)(void *)member);
	case RANGE:
		return range_parse(value, f);
	case COUNT:
		if (str_eq(value, "all")) {
			f->count = 0;
			return true;
		}
		return str_u64(value, UINT32_MAX, &f->count) && f->count > 0;
	}
	return false;
}

static int option_parse(char *s, struct kubemodel_fault *f, struct err *err)
{
	char *equals = strchr(s, '=');

	if (!equals)
		return err_set(err, ERR_INVALID, "%s: options are KEY=VALUE", s);
	*equals = '\0';
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (str_eq(options[i].key, s))
			return value_parse(&options[i], equals + 1, f)
				       ? 0
				       : err_set(err, ERR_INVALID, "%s=%s: not a value for it", s,
						 equals + 1);
	return err_set(err, ERR_INVALID,
		       "%s: no such option; there are verb path agent n skip count event reason "
		       "retry-after bytes ms depth field",
		       s);
}

static const struct kubemodel_fault defaults = {
	.count = 1,
	.event = 1,
	.ms = 100,
	.depth = 100000,
};

int kubemodel_fault_parse(const char *spec, struct kubemodel_fault *out, struct err *err)
{
	struct kubemodel_fault f = defaults;
	char text[sizeof(f.spec)], *save = NULL, *part;

	if (!str_copy(text, sizeof(text), spec) || !str_copy(f.spec, sizeof(f.spec), spec))
		return err_set(err, ERR_INVALID, "fault %.60s...: too long", spec);
	part = strtok_r(text, ",", &save);
	if (!part)
		return err_set(err, ERR_INVALID, "fault: empty");
	if (action_parse(str_trim(part), &f, err) < 0)
		return err_wrap(err, "fault");
	if (f.action == KUBEMODEL_SLOW)
		f.bytes = 1;
	if (f.action == KUBEMODEL_HUGE)
		f.bytes = 64u << 20;
	while ((part = strtok_r(NULL, ",", &save)))
		if (option_parse(str_trim(part), &f, err) < 0)
			return err_wrap(err, "fault %s", f.spec);
	if (f.action == KUBEMODEL_SLOW && (!f.bytes || !f.ms))
		return err_set(err, ERR_INVALID, "fault %s: bytes and ms are at least 1", f.spec);
	*out = f;
	return 0;
}

int kubemodel_faults_parse(const char *text, struct kubemodel_faults *out, struct err *err)
{
	AUTO_MEM struct kubemodel_faults *fs = calloc(1, sizeof(*fs));
	char line[512];

	if (!fs)
		return err_nomem(err);
	while (*text) {
		size_t n = strcspn(text, "\n");
		char *s = line;

		if (!str_copyn(line, sizeof(line), text, n))
			return err_set(err, ERR_INVALID, "fault %.60s...: too long", line);
		s = str_trim(line);
		text += n + (text[n] == '\n');
		if (!*s || *s == '#')
			continue;
		if (fs->n == KUBEMODEL_MAX_FAULTS)
			return err_set(err, ERR_INVALID, "more than %d faults",
				       KUBEMODEL_MAX_FAULTS);
		if (kubemodel_fault_parse(s, &fs->fault[fs->n], err) < 0)
			return -1;
		fs->n++;
	}
	*out = *fs;
	return 0;
}

bool kubemodel_fault_is_servers(const struct kubemodel_fault *f)
{
	return f->action >= KUBEMODEL_COMPACT;
}

static bool fault_fits(const struct kubemodel_fault *f, uint64_t number, const char *verb,
		       const char *target, const char *agent)
{
	return (!*f->verb || str_eq(f->verb, verb)) && (!*f->path || strstr(target, f->path)) &&
	       (!*f->agent || strstr(agent, f->agent)) &&
	       (!f->last || (number >= f->first && number <= f->last));
}

size_t kubemodel_faults_match(struct kubemodel_faults *fs, uint64_t number, const char *verb,
			      const char *target, const char *agent,
			      const struct kubemodel_fault *out[KUBEMODEL_MAX_FAULTS])
{
	const struct kubemodel_fault *own = NULL;
	size_t n = 0;

	for (size_t i = 0; i < fs->n; i++) {
		struct kubemodel_fault *f = &fs->fault[i];
		bool servers = kubemodel_fault_is_servers(f);

		if ((f->count && f->hits >= f->count) || (own && !servers) ||
		    !fault_fits(f, number, verb, target, agent))
			continue;
		if (f->seen++ < f->skip)
			continue;
		f->hits++;
		if (servers)
			out[n++] = f;
		else
			own = f;
	}
	if (own)
		out[n++] = own;
	return n;
}
