/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Merge Patch (RFC 7386) on values that are never changed: what the patch does not name is
 * shared between the old value and the new one.
 */
#include "internal.h"

/* Section 2: null deletes, objects merge member by member, all else replaces. */
json_t *km_merge_patch(json_t *target, json_t *patch)
{
	const char *key;
	json_t *value, *out;

	if (!json_is_object(patch))
		return km_must_json(json_deep_copy(patch));
	out = km_must_json(json_is_object(target) ? json_copy(target) : json_object());
	json_object_foreach (patch, key, value) {
		if (json_is_null(value))
			json_object_del(out, key);
		else
			json_object_set_new(out, key,
					    km_merge_patch(json_object_get(out, key), value));
	}
	return out;
}

bool km_has_list(json_t *j)
{
	const char *key;
	json_t *value;

	if (json_is_array(j))
		return true;
	json_object_foreach (j, key, value)
		if (km_has_list(value))
			return true;
	return false;
}

json_t *km_copy_for_metadata(json_t *obj, json_t **out_metadata)
{
	json_t *copy = km_must_json(json_copy(obj));
	json_t *old = json_object_get(copy, "metadata");
	json_t *meta = km_must_json(json_is_object(old) ? json_copy(old) : json_object());

	json_object_set_new(copy, "metadata", meta);
	*out_metadata = meta;
	return copy;
}
