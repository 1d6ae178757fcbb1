/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors (k=v, k==v, k!=v, k, !k) and field selectors (path=value, path!=value), as the
 * query of a LIST or WATCH brings them.  Set-based label terms are refused, not misread.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

static const struct {
	const char *plural, *path;
} fields[] = {
	{ "nodes", "spec.unschedulable" },
	{ "pods", "spec.nodeName" },
	{ "pods", "spec.restartPolicy" },
	{ "pods", "spec.serviceAccountName" },
	{ "pods", "status.phase" },
	{ "pods", "status.podIP" },
	{ "events", "involvedObject.kind" },
	{ "events", "involvedObject.namespace" },
	{ "events", "involvedObject.name" },
	{ "events", "involvedObject.uid" },
	{ "events", "reason" },
	{ "events", "reportingComponent" },
	{ "events", "type" },
};

static bool field_is_known(const struct km_kind *kind, const char *path)
{
	if (str_eq(path, "metadata.name") ||
	    (kind->namespaced && str_eq(path, "metadata.namespace")))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (str_eq(fields[i].plural, kind->plural) && str_eq(fields[i].path, path))
			return true;
	return false;
}

/* One term, n bytes long, into `out`; false when it is no term. */
static bool term_parse(const char *s, size_t n, struct km_term *out)
{
	char text[640], *op, *value;

	if (!str_copyn(text, sizeof(text), s, n))
		return false;
	op = strpbrk(text, "=!");
	if (op == text && *op == '!') {
		out->op = KM_ABSENT;
		*out->value = '\0';
		return str_copy(out->key, sizeof(out->key), str_trim(text + 1));
	}
	if (!op) {
		out->op = KM_EXISTS;
		*out->value = '\0';
		return str_copy(out->key, sizeof(out->key), str_trim(text));
	}
	if (op[0] == '!' && op[1] != '=')
		return false;
	out->op = op[0] == '!' ? KM_NOT_EQUAL : KM_EQUAL;
	value = op + (op[0] == '!' || op[1] == '=' ? 2 : 1);
	*op = '\0';
	return str_copy(out->key, sizeof(out->key), str_trim(text)) &&
	       str_copy(out->value, sizeof(out->value), str_trim(value));
}

static bool terms_parse(const char *s, struct km_term term[KM_MAX_SELECTOR_TERMS], size_t *n)
{
	*n = 0;
	while (*s) {
		size_t len = strcspn(s, ",");

		if (*n == KM_MAX_SELECTOR_TERMS || !term_parse(s, len, &term[*n]))
			return false;
		(*n)++;
		s += len + (s[len] == ',');
	}
	return true;
}

static bool labels_are_valid(const struct km_selector *s)
{
	for (size_t i = 0; i < s->n_labels; i++)
		if (km_check_qualified_name(s->label[i].key) ||
		    km_check_label_value(s->label[i].value))
			return false;
	return true;
}

bool km_selector_parse(const struct km_kind *kind, const char *labels, const char *field_text,
		       struct km_selector *out, struct kubemodel_answer *a)
{
	if (!terms_parse(labels, out->label, &out->n_labels) || !labels_are_valid(out))
		return km_fail(a, 400, NULL, NULL, "unable to parse labelSelector \"%s\"", labels);
	if (!terms_parse(field_text, out->field, &out->n_fields))
		return km_fail(a, 400, NULL, NULL, "unable to parse fieldSelector \"%s\"",
			       field_text);
	for (size_t i = 0; i < out->n_fields; i++) {
		if (out->field[i].op == KM_EXISTS || out->field[i].op == KM_ABSENT)
			return km_fail(a, 400, NULL, NULL, "unable to parse fieldSelector \"%s\"",
				       field_text);
		if (!field_is_known(kind, out->field[i].key))
			return km_fail(a, 400, NULL, NULL,
				       "field label not supported: \"%s\" for %s",
				       out->field[i].key, kind->plural);
	}
	return true;
}

static bool term_match(const struct km_term *t, const char *value)
{
	switch (t->op) {
	case KM_EQUAL:
		return str_eq(value, t->value);
	case KM_NOT_EQUAL: /* an absent label is not equal either */
		return !str_eq(value, t->value);
	case KM_EXISTS:
		return value != NULL;
	case KM_ABSENT:
		return value == NULL;
	}
	return false;
}

bool km_selector_match(const struct km_selector *s, const json_t *obj)
{
	const json_t *labels;

	for (size_t i = 0; i < s->n_fields; i++)
		if (!term_match(&s->field[i], km_text_at(obj, s->field[i].key)))
			return false;
	if (!s->n_labels)
		return true;
	labels = json_object_get(json_object_get(obj, "metadata"), "labels");
	for (size_t i = 0; i < s->n_labels; i++)
		if (!term_match(&s->label[i],
				json_string_value(json_object_get(labels, s->label[i].key))))
			return false;
	return true;
}
