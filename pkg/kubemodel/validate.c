/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API server refuses in an object: names, labels, annotations, and events in the wrong
 * namespace.  Agents meet these rules first when a label's text comes from a person.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

#define MAX_LABEL	63
#define MAX_PREFIX	253
#define MAX_ANNOTATIONS (256u << 10) /* all keys and values of an object together */

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Letters, digits, '-', '_' and '.', the first and the last a letter or a digit. */
static bool is_label_text(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && (!strchr("-_.", s[i]) || i == 0 || i + 1 == n))
			return false;
	return true;
}

const char *km_check_label_value(const char *s)
{
	size_t n = strlen(s);

	if (n > MAX_LABEL)
		return "must be no more than 63 characters";
	if (!is_label_text(s, n))
		return "a valid label must be empty or letters, digits, '-', '_' and '.', with a "
		       "letter or a digit at both ends";
	return NULL;
}

const char *km_check_dns_subdomain(const char *s)
{
	size_t n = strlen(s);
	bool edge = true; /* at the start of a part */

	if (!n || n > MAX_PREFIX)
		return "must be 1 to 253 characters";
	for (size_t i = 0; i < n; i++) {
		bool lower = (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'z');
		bool last = i + 1 == n || s[i + 1] == '.';

		if (s[i] == '.' ? edge : !lower && (s[i] != '-' || edge || last))
			return "a lowercase RFC 1123 subdomain has lower case letters, digits, "
			       "'-' and '.', with a letter or a digit at the ends of each part";
		edge = s[i] == '.';
	}
	return edge ? "a lowercase RFC 1123 subdomain does not end with '.'" : NULL;
}

const char *km_check_qualified_name(const char *s)
{
	const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s;
	char prefix[MAX_PREFIX + 2];
	size_t n = strlen(name);

	if (slash) {
		if (!str_copyn(prefix, sizeof(prefix), s, (size_t)(slash - s)) || !*prefix)
			return "prefix part must be 1 to 253 characters";
		if (km_check_dns_subdomain(prefix))
			return "prefix part must be a lowercase RFC 1123 subdomain";
	}
	if (!n || n > MAX_LABEL)
		return "name part must be 1 to 63 characters";
	if (!is_label_text(name, n))
		return "name part must consist of letters, digits, '-', '_' and '.', with a letter "
		       "or a digit at both ends";
	return NULL;
}

/* A map of strings, or nothing. */
static bool is_string_map(const json_t *map, const char *field, char text[256])
{
	const char *key;
	json_t *v;

	if (map && !json_is_null(map) && !json_is_object(map)) {
		snprintf(text, 256, "metadata.%s is not an object", field);
		return false;
	}
	json_object_foreach ((json_t *)map, key, v) {
		if (json_is_string(v))
			continue;
		snprintf(text, 256, "metadata.%s[%.100s] is not a string", field, key);
		return false;
	}
	return true;
}

bool km_check_types(const json_t *obj, char text[256])
{
	const json_t *meta = json_object_get(obj, "metadata");

	if (!json_is_object(meta)) {
		snprintf(text, 256, "metadata is not an object");
		return false;
	}
	return is_string_map(json_object_get(meta, "labels"), "labels", text) &&
	       is_string_map(json_object_get(meta, "annotations"), "annotations", text);
}

static bool check_labels(struct kubemodel_answer *a, const struct km_kind *kind, const char *name,
			 json_t *labels)
{
	char text[1024];
	const char *key;
	json_t *v;

	json_object_foreach (labels, key, v) {
		const char *why = km_check_qualified_name(key), *what = key;

		if (!why)
			why = km_check_label_value(what = json_string_value(v));
		if (!why)
			continue;
		snprintf(text, sizeof(text), "Invalid value: \"%.400s\": %s", what, why);
		return km_fail_invalid(a, kind, name, "metadata.labels", text);
	}
	return true;
}

static bool check_annotations(struct kubemodel_answer *a, const struct km_kind *kind,
			      const char *name, json_t *annotations)
{
	size_t total = 0;
	char text[1024];
	const char *key;
	json_t *v;

	json_object_foreach (annotations, key, v) {
		const char *why = km_check_qualified_name(key);

		total += strlen(key) + json_string_length(v);
		if (!why)
			continue;
		snprintf(text, sizeof(text), "Invalid value: \"%.400s\": %s", key, why);
		return km_fail_invalid(a, kind, name, "metadata.annotations", text);
	}
	if (total > MAX_ANNOTATIONS)
		return km_fail_invalid(a, kind, name, "metadata.annotations",
				       "Too long: may not be more than 262144 bytes");
	return true;
}

/* An event about a node, which has no namespace, belongs into "default". */
static bool check_event(struct kubemodel_answer *a, const char *name, json_t *obj)
{
	const char *ns = km_text_at(obj, "metadata.namespace");
	const char *about = km_text_at(obj, "involvedObject.namespace");
	char text[512];

	if (!json_is_object(json_object_get(obj, "involvedObject")))
		return km_fail_invalid(a, KM_EVENTS, name, "involvedObject", "Required value");
	if (str_eq(*about ? about : "default", ns))
		return true;
	snprintf(text, sizeof(text), "Invalid value: \"%s\": does not match event.namespace",
		 about);
	return km_fail_invalid(a, KM_EVENTS, name, "involvedObject.namespace", text);
}

bool km_validate(struct kubemodel_answer *a, const struct km_kind *kind, json_t *obj)
{
	json_t *meta = json_object_get(obj, "metadata");
	const char *name = km_text_at(meta, "name"), *why = km_check_dns_subdomain(name);
	json_t *labels = json_object_get(meta, "labels");
	json_t *annotations = json_object_get(meta, "annotations");
	char text[512];

	if (!*name)
		return km_fail_invalid(a, kind, name, "metadata.name",
				       "Required value: name or generateName is required");
	if (why) {
		snprintf(text, sizeof(text), "Invalid value: \"%.300s\": %s", name, why);
		return km_fail_invalid(a, kind, name, "metadata.name", text);
	}
	return check_labels(a, kind, name, labels) &&
	       check_annotations(a, kind, name, annotations) &&
	       (kind != KM_EVENTS || check_event(a, name, obj));
}
