/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Accept header: in which form a client wants an object, and whether this server has it.
 */
#include "internal.h"

#include <string.h>

#include "base/str.h"

/* What one clause of an Accept header asks for. */
static enum km_as clause_parse(char *clause, bool watch)
{
	char *save = NULL, *part = strtok_r(clause, ";", &save);
	enum km_as as = KM_AS_FULL;

	if (!part)
		return KM_AS_NOTHING;
	part = str_trim(part);
	if (!str_eq(part, "application/json") && !str_eq(part, "application/*") &&
	    !str_eq(part, "*/*"))
		return KM_AS_NOTHING;
	while ((part = strtok_r(NULL, ";", &save))) {
		part = str_trim(part);
		if (str_eq(part, "as=PartialObjectMetadata"))
			as = KM_AS_METADATA;
		else if (str_eq(part, "as=PartialObjectMetadataList"))
			as = KM_AS_METADATA_LIST;
		else if (str_eq(part, "as=Table"))
			as = watch ? KM_AS_NOTHING : KM_AS_TABLE;
		else if (str_starts(part, "as=") ||
			 (str_starts(part, "v=") && !str_eq(part, "v=v1")) ||
			 (str_starts(part, "g=") && !str_eq(part, "g=meta.k8s.io")))
			return KM_AS_NOTHING;
	}
	return as;
}

/* The first clause this server can serve. */
enum km_as km_accept_parse(const char *accept, bool watch)
{
	char text[1024], *save = NULL;
	enum km_as as = KM_AS_NOTHING;

	if (!*accept)
		return KM_AS_FULL;
	str_copy(text, sizeof(text), accept);
	for (char *c = strtok_r(text, ",", &save); c && as == KM_AS_NOTHING;
	     c = strtok_r(NULL, ",", &save))
		as = clause_parse(c, watch);
	return as;
}

bool km_accept_check(const struct km_target *t, enum km_as as, struct kubemodel_answer *a)
{
	bool list = str_eq(t->verb, "list");

	if (as == KM_AS_NOTHING)
		return km_fail(a, 406, NULL, NULL,
			       "only application/json is served, with as=Table or "
			       "as=PartialObjectMetadata(List) of meta.k8s.io/v1");
	if (as == (list ? KM_AS_METADATA : KM_AS_METADATA_LIST))
		return km_fail(a, 406, NULL, NULL, "you requested %s, but the object is %s",
			       list ? "PartialObjectMetadata" : "PartialObjectMetadataList",
			       list ? "a list" : "no list");
	return true;
}
