/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we keep of objects: metadata, and of labels and annotations those that are asked for.
 */
#include <string.h>

#include "base/str.h"
#include "json/json.h"
#include "k8s/internal.h"

int meta_read(const json_t *object, struct meta *out, struct err *err)
{
	static const struct json_field fields[] = {
		JSON_FIELD(struct meta, name, "name", STR, 0),
		JSON_FIELD(struct meta, ns, "namespace", STR, 0),
		JSON_FIELD(struct meta, uid, "uid", STR, 0),
		JSON_FIELD(struct meta, version, "resourceVersion", STR, 0),
		JSON_FIELD(struct meta, deletion_time, "deletionTimestamp", STR, 0),
		JSON_FIELD(struct meta, labels, "labels", OBJECT, 0),
		JSON_FIELD(struct meta, annotations, "annotations", OBJECT, 0),
		JSON_FIELD(struct meta, owners, "ownerReferences", ARRAY, 0),
	};
	const json_t *metadata = json_object_get(object, "metadata");

	if (!metadata)
		return err_set(err, ERR_INVALID, "metadata: is missing");
	return json_fields_read(metadata, "metadata", fields, ARRAY_LEN(fields), out, err);
}

/* --- maps ------------------------------------------------------------------------------------- */

struct sizes {
	size_t pairs, bytes;
};

static bool wanted(const char *key, const char *prefix)
{
	return !prefix || str_starts(key, prefix);
}

static int measure(json_t *from, const char *where, const char *prefix, struct sizes *out,
		   struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach (from, key, value) {
		if (!wanted(key, prefix))
			continue;
		if (!json_is_string(value) ||
		    strlen(json_string_value(value)) != json_string_length(value))
			return err_set(err, ERR_INVALID, "%s: a value that is not a string", where);
		out->pairs++;
		out->bytes += strlen(key) + json_string_length(value) + 2;
	}
	if (out->pairs > K8S_MAP_MAX_PAIRS || out->bytes > K8S_MAP_MAX_BYTES)
		return err_set(err, ERR_INVALID, "%s: too many or too long", where);
	return 0;
}

static char *place(char **at, const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = memcpy(*at, s, n);

	*at += n;
	return copy;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct k8s_pair *)a)->key, ((const struct k8s_pair *)b)->key);
}

/* One block: the pairs, then their texts. */
int map_read(const json_t *from, const char *where, const char *prefix, struct k8s_map *out,
	     struct err *err)
{
	struct sizes sizes = { 0 };
	const char *key;
	json_t *value;
	char *at;

	*out = (struct k8s_map){ 0 };
	if (!from)
		return 0;
	if (measure((json_t *)from, where, prefix, &sizes, err) < 0)
		return -1;
	if (sizes.pairs == 0)
		return 0;
	out->pair = malloc(sizes.pairs * sizeof(*out->pair) + sizes.bytes);
	if (!out->pair)
		return err_nomem(err);
	at = (char *)(out->pair + sizes.pairs);
	json_object_foreach ((json_t *)from, key, value) {
		if (!wanted(key, prefix))
			continue;
		out->pair[out->n].key = place(&at, key);
		out->pair[out->n].value = place(&at, json_string_value(value));
		out->n++;
	}
	qsort(out->pair, out->n, sizeof(*out->pair), by_key);
	return 0;
}

void map_clear(struct k8s_map *m)
{
	free(m->pair);
	*m = (struct k8s_map){ 0 };
}

const char *k8s_map_get(const struct k8s_map *m, const char *key)
{
	const struct k8s_pair wish = { .key = key }, *found = NULL;

	if (m->n > 0)
		found = bsearch(&wish, m->pair, m->n, sizeof(*m->pair), by_key);
	return found ? found->value : NULL;
}

bool k8s_map_equal(const struct k8s_map *a, const struct k8s_map *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->pair[i].key, b->pair[i].key) != 0 ||
		    strcmp(a->pair[i].value, b->pair[i].value) != 0)
			return false;
	return true;
}

static bool is_number(const char *s)
{
	return s && *s && strspn(s, "0123456789") == strlen(s) && (s[0] != '0' || !s[1]);
}

bool version_compare(const char *a, const char *b, int *out)
{
	size_t na, nb;

	if (!is_number(a) || !is_number(b))
		return false;
	na = strlen(a);
	nb = strlen(b);
	*out = na != nb ? (na < nb ? -1 : 1) : strcmp(a, b);
	return true;
}
