/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: a JSON body, or the Status object with which the API says no.  Also the few helpers
 * through which every file here reaches for memory.
 */
#include "internal.h"

#include <stdarg.h>
#include <string.h>

#include "base/str.h"

void *km_must(void *p)
{
	if (!p)
		abort();
	return p;
}

json_t *km_must_json(json_t *j)
{
	return km_must(j);
}

void km_buf_must(int rc)
{
	if (rc < 0)
		abort();
}

const char *km_text_at(const json_t *j, const char *path)
{
	char key[64];

	while (j && *path) {
		size_t n = strcspn(path, ".");

		if (!str_copyn(key, sizeof(key), path, n))
			return "";
		j = json_object_get(j, key);
		path += n + (path[n] == '.');
	}
	return j && json_is_string(j) ? json_string_value(j) : "";
}

static const struct {
	int code;
	const char *reason;
} reasons[] = {
	{ 400, "BadRequest" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "NotFound" },
	{ 405, "MethodNotAllowed" },
	{ 406, "NotAcceptable" },
	{ 409, "Conflict" },
	{ 410, "Expired" },
	{ 413, "RequestEntityTooLarge" },
	{ 415, "UnsupportedMediaType" },
	{ 422, "Invalid" },
	{ 429, "TooManyRequests" },
	{ 500, "InternalError" },
	{ 503, "ServiceUnavailable" },
	{ 504, "Timeout" },
};

static const char *reason_of(int code)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].code == code)
			return reasons[i].reason;
	return "";
}

json_t *km_details(const struct km_kind *kind, const char *name)
{
	json_t *d = km_must_json(json_object());

	if (!str_empty(name))
		json_object_set_new(d, "name", json_string(name));
	if (kind && *kind->group)
		json_object_set_new(d, "group", json_string(kind->group));
	if (kind)
		json_object_set_new(d, "kind", json_string(kind->plural));
	return d;
}

json_t *km_status(int code, const char *reason, json_t *details, const char *message)
{
	json_t *s = km_must_json(json_pack("{s:s, s:s, s:{}, s:s, s:s}", "kind", "Status",
					   "apiVersion", "v1", "metadata", "status",
					   code < 400 ? "Success" : "Failure", "message", message));

	if (!str_empty(reason))
		json_object_set_new(s, "reason", json_string(reason));
	if (details)
		json_object_set_new(s, "details", details);
	json_object_set_new(s, "code", json_integer(code));
	return s;
}

void km_answer_init(struct kubemodel_answer *a)
{
	*a = (struct kubemodel_answer){
		.code = 500,
		.content_type = "application/json",
		.body = BUF_INIT(KUBEMODEL_MAX_ANSWER),
	};
}

void kubemodel_answer_clear(struct kubemodel_answer *a)
{
	buf_clear(&a->body);
	kubemodel_watch_free(a->watch);
	a->watch = NULL;
}

void km_answer_json(struct kubemodel_answer *a, int code, json_t *takes)
{
	json_auto_t *j = km_must_json(takes);
	AUTO_MEM char *text = km_must(json_dumps(j, JSON_COMPACT));
	struct err err = ERR_INIT;

	a->code = code;
	buf_reset(&a->body);
	km_buf_must(buf_adds(&a->body, text, &err));
	km_buf_must(buf_adds(&a->body, "\n", &err));
}

/* What came with the request may be cut in the middle of a character, or never was UTF-8: neither
 * may get into JSON.  In place. */
static char *ascii(char *s)
{
	for (char *p = s; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return s;
}

bool km_fail(struct kubemodel_answer *a, int code, const char *reason, json_t *details,
	     const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	km_answer_json(a, code,
		       km_status(code, reason ? reason : reason_of(code), details, ascii(message)));
	return false;
}

bool km_fail_not_found(struct kubemodel_answer *a, const struct km_target *t)
{
	return km_fail(a, 404, NULL, km_details(t->kind, t->name), "%s%s%s \"%s\" not found",
		       t->kind->plural, *t->kind->group ? "." : "", t->kind->group, t->name);
}

/* `what` begins with the words by which the real server names the kind of error. */
bool km_fail_invalid(struct kubemodel_answer *a, const struct km_kind *kind, const char *name,
		     const char *field, const char *what)
{
	char text[1024];
	json_t *d = km_details(NULL, name);
	const char *reason = str_starts(what, "Required value") ? "FieldValueRequired"
			     : str_starts(what, "Too long")	? "FieldValueTooLong"
								: "FieldValueInvalid";

	snprintf(text, sizeof(text), "%s", what);
	json_object_set_new(d, "kind", json_string(kind->kind));
	json_object_set_new(d, "causes",
			    json_pack("[{s:s, s:s, s:s}]", "reason", reason, "message", ascii(text),
				      "field", field));
	return km_fail(a, 422, NULL, d, "%s \"%s\" is invalid: %s: %s", kind->kind, name, field,
		       what);
}

void kubemodel_answer_status(int code, const char *reason, const char *message,
			     struct kubemodel_answer *out)
{
	km_answer_init(out);
	km_fail(out, code, reason, NULL, "%s", message);
}
