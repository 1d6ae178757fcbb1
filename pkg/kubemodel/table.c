/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables, the form in which kubectl get asks for objects: columns for nodes, pods and events, the
 * name alone for the rest.
 */
#include "internal.h"

#include <string.h>
#include <time.h>

#include "base/str.h"

/* "5m", "3h", "2d": the age of a timestamp of ours */
static const char *age(const char *stamp, char out[24])
{
	struct tm tm = { 0 };
	long long s;

	if (!strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm))
		return "<unknown>";
	s = (long long)time(NULL) - (long long)timegm(&tm);
	if (s < 0)
		s = 0;
	if (s < 120)
		snprintf(out, 24, "%llds", s);
	else if (s < 7200)
		snprintf(out, 24, "%lldm", s / 60);
	else if (s < 172800)
		snprintf(out, 24, "%lldh", s / 3600);
	else
		snprintf(out, 24, "%lldd", s / 86400);
	return out;
}

static const char *node_status(const json_t *obj)
{
	const json_t *conditions = json_object_get(json_object_get(obj, "status"), "conditions");
	size_t i;
	json_t *c;

	json_array_foreach (conditions, i, c)
		if (str_eq(km_text_at(c, "type"), "Ready") &&
		    str_eq(km_text_at(c, "status"), "True"))
			return "Ready";
	return "NotReady";
}

static const char *cell(const char *column, const json_t *obj, char age_text[24], char text[512])
{
	if (str_eq(column, "Name"))
		return km_text_at(obj, "metadata.name");
	if (str_eq(column, "Age"))
		return age(km_text_at(obj, "metadata.creationTimestamp"), age_text);
	if (str_eq(column, "Version"))
		return km_text_at(obj, "status.nodeInfo.kubeletVersion");
	if (str_eq(column, "Roles"))
		return "<none>";
	if (str_eq(column, "Node"))
		return km_text_at(obj, "spec.nodeName");
	if (str_eq(column, "Type"))
		return km_text_at(obj, "type");
	if (str_eq(column, "Reason"))
		return km_text_at(obj, "reason");
	if (str_eq(column, "Message"))
		return km_text_at(obj, "message");
	if (str_eq(column, "Object")) {
		snprintf(text, 512, "%.60s/%.250s", km_text_at(obj, "involvedObject.kind"),
			 km_text_at(obj, "involvedObject.name"));
		return text;
	}
	if (str_eq(km_text_at(obj, "kind"), "Node"))
		return node_status(obj);
	return *km_text_at(obj, "metadata.deletionTimestamp") ? "Terminating"
							      : km_text_at(obj, "status.phase");
}

static const char *const *columns_of(const struct km_kind *kind)
{
	static const char *const node[] = { "Name", "Status", "Roles", "Age", "Version", NULL };
	static const char *const pod[] = { "Name", "Status", "Node", "Age", NULL };
	static const char *const event[] = { "Age", "Type", "Reason", "Object", "Message", NULL };
	static const char *const other[] = { "Name", "Age", NULL };

	return kind == KM_NODES ? node : kind == KM_PODS ? pod : kind == KM_EVENTS ? event : other;
}

static json_t *row(const char *const *columns, json_t *obj)
{
	json_t *cells = json_array();
	char age_text[24], text[512];

	for (; *columns; columns++)
		json_array_append_new(cells, json_string(cell(*columns, obj, age_text, text)));
	return json_pack("{s:o, s:o}", "cells", cells, "object", km_as_metadata(obj));
}

json_t *km_table(const struct km_kind *kind, struct km_object **item, size_t n)
{
	const char *const *columns = columns_of(kind);
	json_t *definitions = json_array(), *rows = json_array();

	for (size_t i = 0; columns[i]; i++)
		json_array_append_new(definitions,
				      json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", columns[i],
						"type", "string", "format",
						str_eq(columns[i], "Name") ? "name" : "",
						"description", "", "priority", 0));
	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, row(columns, item[i]->now->json));
	return json_pack("{s:s, s:s, s:{s:s}, s:o, s:o}", "kind", "Table", "apiVersion",
			 "meta.k8s.io/v1", "metadata", "resourceVersion",
			 n ? km_text_at(item[0]->now->json, "metadata.resourceVersion") : "",
			 "columnDefinitions", definitions, "rows", rows);
}
