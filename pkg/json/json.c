/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: limits first, by one pass over the bytes that knows strings and brackets and nothing else,
 * then jansson, then tables of fields.  jansson recurses per level and allocates per value, so what
 * would hurt is refused before it sees the text.
 */
#include "json/json.h"

#include <limits.h>
#include <string.h>

#include "base/str.h"

/* Counts commas and opening brackets outside strings: at least as many values as there are. */
static int check_limits(struct rd text, struct json_limits limits, struct err *err)
{
	size_t values = 0;
	unsigned depth = 0;
	bool in_string = false;

	if (text.left > limits.bytes)
		return err_set(err, ERR_INVALID, "JSON of %zu bytes, at most %zu are allowed",
			       text.left, limits.bytes);
	for (size_t i = 0; i < text.left; i++) {
		switch (text.p[i]) {
		case '\\':
			i += in_string;
			break;
		case '"':
			in_string = !in_string;
			break;
		case '{':
		case '[':
			if (!in_string && ++depth > limits.depth)
				return err_set(err, ERR_INVALID,
					       "JSON nested deeper than %u levels at byte %zu",
					       limits.depth, i);
			values += !in_string;
			break;
		case '}':
		case ']':
			depth -= !in_string && depth > 0;
			break;
		case ',':
			values += !in_string;
			break;
		}
	}
	if (values > limits.values)
		return err_set(err, ERR_INVALID, "JSON of more than %zu values", limits.values);
	return 0;
}

int json_parse(struct rd text, struct json_limits limits, json_t **out, struct err *err)
{
	json_error_t why;
	json_t *doc;

	if (check_limits(text, limits, err) < 0)
		return -1;
	doc = json_loadb(text.left ? (const char *)text.p : "", text.left,
			 JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (doc) {
		*out = doc;
		return 0;
	}
	if (json_error_code(&why) == json_error_out_of_memory)
		return err_nomem(err);
	str_printable(why.text); /* it quotes the input */
	return err_set(err, ERR_INVALID, "JSON, line %d, byte %d: %s", why.line, why.position,
		       why.text);
}

static const char *type_name(enum json_field_type type)
{
	static const char *const names[] = {
		[JSON_FIELD_TEXT] = "a string",	   [JSON_FIELD_STR] = "a string",
		[JSON_FIELD_INT] = "an integer",   [JSON_FIELD_BOOL] = "true or false",
		[JSON_FIELD_OBJECT] = "an object", [JSON_FIELD_ARRAY] = "an array",
	};

	return names[type];
}

/* "metadata.name", or "name" at the top */
static int field_error(struct err *err, const char *where, const char *name, const char *what)
{
	return err_set(err, ERR_INVALID, "%s%s%s: %s", where, *where ? "." : "", name, what);
}

static bool is_type(const json_t *v, enum json_field_type type)
{
	switch (type) {
	case JSON_FIELD_TEXT:
	case JSON_FIELD_STR:
		return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
	case JSON_FIELD_INT:
		return json_is_integer(v);
	case JSON_FIELD_BOOL:
		return json_is_boolean(v);
	case JSON_FIELD_OBJECT:
		return json_is_object(v);
	case JSON_FIELD_ARRAY:
		return json_is_array(v);
	}
	return false;
}

static int field_read(const struct json_field *f, json_t *v, const char *where, void *member,
		      struct err *err)
{
	char what[64];

	if (!is_type(v, f->type)) {
		snprintf(what, sizeof(what), "is not %s", type_name(f->type));
		return field_error(err, where, f->name, what);
	}
	switch (f->type) {
	case JSON_FIELD_TEXT:
		if (json_string_length(v) >= f->size) {
			snprintf(what, sizeof(what), "longer than %zu bytes", f->size - 1);
			return field_error(err, where, f->name, what);
		}
		memcpy(member, json_string_value(v), json_string_length(v) + 1);
		break;
	case JSON_FIELD_STR:
		*(const char **)member = json_string_value(v);
		break;
	case JSON_FIELD_INT:
		*(int64_t *)member = json_integer_value(v);
		break;
	case JSON_FIELD_BOOL:
		*(bool *)member = json_is_true(v);
		break;
	case JSON_FIELD_OBJECT:
	case JSON_FIELD_ARRAY:
		*(json_t **)member = v;
		break;
	}
	return 0;
}

static void fields_clear(const struct json_field *fields, size_t n, void *out)
{
	for (size_t i = 0; i < n; i++)
		memset((char *)out + fields[i].offset, 0, fields[i].size);
}

int json_fields_read(const json_t *object, const char *where, const struct json_field *fields,
		     size_t n, void *out, struct err *err)
{
	fields_clear(fields, n, out);
	if (!json_is_object(object))
		return err_set(err, ERR_INVALID, "%s: is not an object",
			       *where ? where : "the document");
	for (size_t i = 0; i < n; i++) {
		const struct json_field *f = &fields[i];
		json_t *v = json_object_get(object, f->name);
		int r = 0;

		if (v && !json_is_null(v))
			r = field_read(f, v, where, (char *)out + f->offset, err);
		else if (f->flags & JSON_REQUIRED)
			r = field_error(err, where, f->name, "is missing");
		if (r < 0) {
			fields_clear(fields, n, out);
			return -1;
		}
	}
	return 0;
}

int json_fields_only(const json_t *object, const char *where, const struct json_field *fields,
		     size_t n, struct err *err)
{
	for (void *it = json_object_iter((json_t *)object); it;
	     it = json_object_iter_next((json_t *)object, it)) {
		char key[80];
		size_t i = 0;

		while (i < n && strcmp(fields[i].name, json_object_iter_key(it)) != 0)
			i++;
		if (i < n)
			continue;
		str_copy(key, sizeof(key), json_object_iter_key(it));
		return field_error(err, where, str_printable(key), "is not known here");
	}
	return 0;
}
