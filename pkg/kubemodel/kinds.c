/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request line to "which verb on which object": the table of kinds, the path, the query.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

const struct km_kind km_kinds[] = {
	{ "", "v1", "nodes", "node", "Node", "no", false, true },
	{ "", "v1", "pods", "pod", "Pod", "po", true, true },
	{ "", "v1", "events", "event", "Event", "ev", true, false },
	{ "", "v1", "namespaces", "namespace", "Namespace", "ns", false, true },
	{ "apps", "v1", "daemonsets", "daemonset", "DaemonSet", "ds", true, true },
	{ "node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass", "", false, false },
};
const size_t km_n_kinds = ARRAY_LEN(km_kinds);
_Static_assert(ARRAY_LEN(km_kinds) <= KM_MAX_KINDS, "room for each kind's objects");

const char *km_api_version(const struct km_kind *kind, char out[64])
{
	snprintf(out, 64, "%s%s%s", kind->group, *kind->group ? "/" : "", kind->version);
	return out;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding; false when it is malformed, holds a NUL or does not fit. */
static bool url_decode(const char *s, size_t n, bool plus_is_space, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '%') {
			int hi = i + 2 < n ? hex_digit(s[i + 1]) : -1;
			int lo = hi >= 0 ? hex_digit(s[i + 2]) : -1;

			if (lo < 0)
				return false;
			c = (char)(hi << 4 | lo);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (!c || len + 1 >= size)
			return false;
		out[len++] = c;
	}
	out[len] = '\0';
	return true;
}

static bool query_bool(const char *v)
{
	return str_eq(v, "1") || str_eq(v, "true") || str_eq(v, "True");
}

/* A parameter nobody here knows is ignored, as the real server does. */
static bool query_set(struct km_query *q, const char *key, const char *v)
{
	if (str_eq(key, "watch"))
		q->watch = query_bool(v);
	else if (str_eq(key, "allowWatchBookmarks"))
		q->bookmarks = query_bool(v);
	else if (str_eq(key, "sendInitialEvents"))
		q->initial_events = query_bool(v);
	else if (str_eq(key, "dryRun"))
		q->dry_run = str_eq(v, "All");
	else if (str_eq(key, "timeoutSeconds"))
		return str_u64(v, 86400, &q->timeout_s);
	else if (str_eq(key, "limit"))
		return str_u64(v, UINT32_MAX, &q->limit);
	else if (str_eq(key, "resourceVersion"))
		return str_copy(q->version, sizeof(q->version), v);
	else if (str_eq(key, "labelSelector"))
		return str_copy(q->labels, sizeof(q->labels), v);
	else if (str_eq(key, "fieldSelector"))
		return str_copy(q->fields, sizeof(q->fields), v);
	else if (str_eq(key, "continue"))
		return str_copy(q->from, sizeof(q->from), v);
	return true;
}

static bool query_parse(const char *s, struct km_query *q)
{
	while (*s) {
		size_t n = strcspn(s, "&"), k = strcspn(s, "=&");
		char key[64], value[1024];

		if (k > n)
			k = n;
		if (!url_decode(s, k, true, key, sizeof(key)) ||
		    !url_decode(s + k + (k < n), n - k - (k < n), true, value, sizeof(value)) ||
		    !query_set(q, key, value))
			return false;
		s += n + (s[n] == '&');
	}
	return true;
}

/* The next part of a path, decoded, "" at its end. */
static bool part_next(const char **p, char *out, size_t size)
{
	size_t n;

	while (**p == '/')
		(*p)++;
	n = strcspn(*p, "/");
	if (!url_decode(*p, n, false, out, size))
		return false;
	*p += n;
	return true;
}

static const struct km_kind *kind_find(const char *group, const char *version, const char *plural)
{
	for (size_t i = 0; i < km_n_kinds; i++)
		if (str_eq(km_kinds[i].group, group) && str_eq(km_kinds[i].version, version) &&
		    str_eq(km_kinds[i].plural, plural))
			return &km_kinds[i];
	return NULL;
}

/* After /api/v1 or /apis/GROUP/VERSION: [namespaces/NS/]PLURAL[/NAME[/SUB]] */
static bool resource_parse(const char *p, const char *group, const char *version,
			   struct km_target *t)
{
	char plural[64], rest[8];
	const char *ahead = p;

	if (!part_next(&ahead, plural, sizeof(plural)))
		return false;
	if (str_eq(plural, "namespaces")) {
		const char *after;
		char next[64];

		if (!part_next(&ahead, t->ns, sizeof(t->ns)))
			return false;
		after = ahead;
		if (!part_next(&after, next, sizeof(next)))
			return false;
		if (*next && kind_find(group, version, next) && !str_eq(next, "namespaces"))
			p = ahead; /* inside a namespace; else the namespace itself */
		else
			*t->ns = '\0';
	}
	if (!part_next(&p, plural, sizeof(plural)) || !part_next(&p, t->name, sizeof(t->name)) ||
	    !part_next(&p, t->sub, sizeof(t->sub)))
		return false;
	t->kind = kind_find(group, version, plural);
	if (!part_next(&p, rest, sizeof(rest)) || *rest)
		t->kind = NULL;
	if (t->kind && (t->kind->namespaced ? *t->name && !*t->ns : *t->ns))
		t->kind = NULL;
	return true;
}

static bool path_parse(const char *path, struct km_target *t)
{
	char group[64] = "", version[32], first[16];

	if (!part_next(&path, first, sizeof(first)))
		return true; /* something else, longer than "apis": not ours */
	if (str_eq(first, "apis")) {
		if (!part_next(&path, group, sizeof(group)))
			return false;
	} else if (!str_eq(first, "api")) {
		return true;
	}
	if (!part_next(&path, version, sizeof(version)))
		return false;
	return resource_parse(path, group, version, t);
}

static const char *verb_of(const char *method, const struct km_target *t)
{
	if (str_eq(method, "GET") || str_eq(method, "HEAD"))
		return t->kind && !*t->name    ? t->q.watch ? "watch" : "list"
		       : t->kind && t->q.watch ? "watch"
					       : "get";
	if (str_eq(method, "POST"))
		return "create";
	if (str_eq(method, "PUT"))
		return "update";
	if (str_eq(method, "PATCH"))
		return "patch";
	if (str_eq(method, "DELETE"))
		return *t->name ? "delete" : "deletecollection";
	return "unknown";
}

bool km_target_parse(const char *method, const char *target, struct km_target *t)
{
	size_t n = strcspn(target, "?");
	char raw[1024];

	*t = (struct km_target){ .verb = "unknown" };
	if (n >= sizeof(raw) || !url_decode(target, n, false, t->path, sizeof(t->path)))
		return false;
	memcpy(raw, target, n);
	raw[n] = '\0';
	if (!path_parse(raw, t) || (target[n] && !query_parse(target + n + 1, &t->q)))
		return false;
	t->verb = verb_of(method, t);
	return true;
}

const char *kubemodel_verb(const char *method, const char *target)
{
	struct km_target t;

	km_target_parse(method, target, &t);
	return t.verb;
}
