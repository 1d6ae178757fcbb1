/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking things up in a tree, and filling structs from it, with errors that say the line.
 */
#include <string.h>

#include "base/str.h"
#include "yaml/yaml.h"

bool yaml_is_null(const struct yaml *n)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	if (!n)
		return true;
	if (n->kind != YAML_SCALAR || n->quoted)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(n->text, words[i]) == 0)
			return true;
	return false;
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
	if (!map || map->kind != YAML_MAP)
		return NULL;
	for (const struct yaml *c = map->child; c; c = c->next)
		if (strcmp(c->key, key) == 0)
			return yaml_is_null(c) ? NULL : c;
	return NULL;
}

int yaml_error(struct err *err, const struct yaml *n, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(err, ERR_INVALID, "%s:%u: %s", n->file, n->line, str_printable(what));
}

static int read_scalar(const struct yaml_field *f, const struct yaml *n, void *member,
		       struct err *err)
{
	switch (f->type) {
	case YAML_FIELD_STR:
		*(const char **)member = n->text;
		return 0;
	case YAML_FIELD_BOOL:
		if (!n->quoted && (str_eq(n->text, "true") || str_eq(n->text, "false"))) {
			*(bool *)member = str_eq(n->text, "true");
			return 0;
		}
		return yaml_error(err, n, "%s: \"%s\" is not true or false", f->name, n->text);
	case YAML_FIELD_U64:
		if (!n->quoted && str_u64(n->text, UINT64_MAX, member))
			return 0;
		return yaml_error(err, n, "%s: \"%s\" is not a number", f->name, n->text);
	case YAML_FIELD_DURATION:
		if (str_duration_ms(n->text, member))
			return 0;
		return yaml_error(err, n, "%s: \"%s\" is not a time such as 30s", f->name, n->text);
	case YAML_FIELD_LIST:
	case YAML_FIELD_MAP:
		break;
	}
	return 0;
}

static int read_field(const struct yaml_field *f, const struct yaml *n, void *member,
		      struct err *err)
{
	static const char *const names[] = {
		[YAML_SCALAR] = "single value", [YAML_LIST] = "list", [YAML_MAP] = "map"
	};
	enum yaml_kind wanted = f->type == YAML_FIELD_LIST  ? YAML_LIST
				: f->type == YAML_FIELD_MAP ? YAML_MAP
							    : YAML_SCALAR;

	if (n->kind != wanted)
		return yaml_error(err, n, "%s: is a %s and not a %s", f->name, names[n->kind],
				  names[wanted]);
	if (wanted == YAML_SCALAR)
		return read_scalar(f, n, member, err);
	*(const struct yaml **)member = n;
	return 0;
}

static void fields_clear(const struct yaml_field *fields, size_t n, void *out)
{
	for (size_t i = 0; i < n; i++)
		memset((char *)out + fields[i].offset, 0, fields[i].size);
}

int yaml_fields_read(const struct yaml *map, const struct yaml_field *fields, size_t n, void *out,
		     struct err *err)
{
	fields_clear(fields, n, out);
	if (map && map->kind != YAML_MAP && !yaml_is_null(map))
		return yaml_error(err, map, "%s%s is not a map", map->key ? map->key : "",
				  map->key ? ":" : "this");
	for (size_t i = 0; i < n; i++) {
		const struct yaml_field *f = &fields[i];
		const struct yaml *v = yaml_get(map, f->name);
		int r = 0;

		if (v)
			r = read_field(f, v, (char *)out + f->offset, err);
		else if (f->flags & YAML_REQUIRED && map)
			r = yaml_error(err, map, "\"%s\" is missing", f->name);
		else if (f->flags & YAML_REQUIRED)
			r = err_set(err, ERR_INVALID, "\"%s\" is missing", f->name);
		if (r < 0) {
			fields_clear(fields, n, out);
			return -1;
		}
	}
	return 0;
}

int yaml_fields_only(const struct yaml *map, const struct yaml_field *fields, size_t n,
		     struct err *err)
{
	for (const struct yaml *c = map && map->kind == YAML_MAP ? map->child : NULL; c;
	     c = c->next) {
		size_t i = 0;

		while (i < n && strcmp(fields[i].name, c->key) != 0)
			i++;
		if (i == n)
			return yaml_error(err, c, "\"%.80s\" is not known here", c->key);
	}
	return 0;
}
