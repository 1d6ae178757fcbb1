/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client asks before it asks for objects: version, health, and which resources there are.
 * Enough for kubectl get, label, annotate, describe and delete.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

#define SERVED_MINOR "31"

bool km_path_is_public(const char *path)
{
	static const char *const open[] = { "/version", "/healthz", "/livez", "/readyz" };

	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		if (str_eq(path, open[i]) ||
		    (str_starts(path, open[i]) && path[strlen(open[i])] == '/'))
			return true;
	return false;
}

static json_t *resource(const struct km_kind *k, const char *sub)
{
	bool eviction = strcmp(sub, "eviction") == 0;
	char name[64];
	json_t *r;

	snprintf(name, sizeof(name), "%s%s%s", k->plural, *sub ? "/" : "", sub);
	r = json_pack("{s:s, s:s, s:b, s:s}", "name", name, "singularName", *sub ? "" : k->singular,
		      "namespaced", k->namespaced, "kind", eviction ? "Eviction" : k->kind);
	if (eviction)
		json_object_set_new(r, "verbs", json_pack("[s]", "create"));
	else if (*sub)
		json_object_set_new(r, "verbs", json_pack("[sss]", "get", "patch", "update"));
	else
		json_object_set_new(r, "verbs",
				    json_pack("[sssssss]", "create", "delete", "get", "list",
					      "patch", "update", "watch"));
	if (!*sub && *k->short_name)
		json_object_set_new(r, "shortNames", json_pack("[s]", k->short_name));
	return r;
}

static json_t *resources(const char *group_version)
{
	json_t *list = json_array();
	char api[64];

	for (size_t i = 0; i < km_n_kinds; i++) {
		const struct km_kind *k = &km_kinds[i];

		if (!str_eq(km_api_version(k, api), group_version))
			continue;
		json_array_append_new(list, resource(k, ""));
		if (k->has_status)
			json_array_append_new(list, resource(k, "status"));
		if (k == KM_PODS)
			json_array_append_new(list, resource(k, "eviction"));
	}
	return json_pack("{s:s, s:s*, s:s, s:o}", "kind", "APIResourceList", "apiVersion",
			 strchr(group_version, '/') ? "v1" : NULL, "groupVersion", group_version,
			 "resources", list);
}

static json_t *groups(void)
{
	json_t *list = json_array();
	char api[64];

	for (size_t i = 0; i < km_n_kinds; i++) {
		const struct km_kind *k = &km_kinds[i];

		if (!*k->group) /* each other kind here has a group of its own */
			continue;
		km_api_version(k, api);
		json_array_append_new(list, json_pack("{s:s, s:[{s:s, s:s}], s:{s:s, s:s}}", "name",
						      k->group, "versions", "groupVersion", api,
						      "version", k->version, "preferredVersion",
						      "groupVersion", api, "version", k->version));
	}
	return json_pack("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups",
			 list);
}

static json_t *version(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", SERVED_MINOR,
			 "gitVersion", "v1." SERVED_MINOR ".0+kubesim", "gitTreeState", "clean",
			 "platform", "linux/amd64");
}

static void answer_text(struct kubemodel_answer *a, const char *text)
{
	struct err err = ERR_INIT;

	a->code = 200;
	a->content_type = "text/plain; charset=utf-8";
	km_buf_must(buf_adds(&a->body, text, &err));
}

static bool resources_of_path(const char *path, struct kubemodel_answer *a)
{
	char api[64], wanted[80];

	for (size_t i = 0; i < km_n_kinds; i++) {
		const char *gv = km_api_version(&km_kinds[i], api);

		snprintf(wanted, sizeof(wanted), "/%s/%s", *km_kinds[i].group ? "apis" : "api", gv);
		if (!str_eq(path, wanted))
			continue;
		km_answer_json(a, 200, resources(gv));
		return true;
	}
	return false;
}

void km_answer_unknown(const struct km_target *t, struct kubemodel_answer *a)
{
	char api[64], group[80];

	for (size_t i = 0; i < km_n_kinds; i++) {
		snprintf(group, sizeof(group), "/%s/%s/", *km_kinds[i].group ? "apis" : "api",
			 km_api_version(&km_kinds[i], api));
		if (!str_starts(t->path, group))
			continue;
		km_fail(a, 404, NULL, NULL, "the server could not find the requested resource");
		return;
	}
	answer_text(a, "404 page not found\n");
	a->code = 404;
}

bool km_discovery(const struct km_target *t, struct kubemodel_answer *a)
{
	if (!str_eq(t->verb, "get"))
		return false;
	if (str_eq(t->path, "/version"))
		km_answer_json(a, 200, version());
	else if (km_path_is_public(t->path))
		answer_text(a, "ok");
	else if (str_eq(t->path, "/api"))
		km_answer_json(a, 200,
			       json_pack("{s:s, s:[s]}", "kind", "APIVersions", "versions", "v1"));
	else if (str_eq(t->path, "/apis"))
		km_answer_json(a, 200, groups());
	else
		return resources_of_path(t->path, a);
	return true;
}
