/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vectors - the genuine attestation evidence that tests use where it is present: the folder
 * GPUCC_VECTORS, else ../shared/vectors beside the sources.  It is no part of the sources; without it
 * the tests that need it are skipped by name, and the evidence that tests make themselves remains.
 */
#pragma once
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

#define VECTOR_MAX_BYTES (1 << 20)

static inline const char *vector_path(char out[512], const char *name)
{
	const char *root = getenv("GPUCC_VECTORS");

	snprintf(out, 512, "%s/attestation/%s", root && *root ? root : "../shared/vectors", name);
	return out;
}

#define NEED_VECTORS()                                                                             \
	do {                                                                                       \
		char path_[512];                                                                   \
		if (access(vector_path(path_, "README.md"), R_OK) < 0)                             \
			cr_skip("no attestation vectors: set GPUCC_VECTORS");                      \
	} while (0)

/* Fills `out`, an empty AUTO_BUF. */
static inline void vector_read(const char *name, struct buf *out)
{
	struct err err = ERR_INIT;
	char path[512];

	cr_assert_eq(file_read(vector_path(path, name), out, &err), 0, "%s", err_text(&err));
}

static inline json_t *vector_json(const char *name)
{
	char path[512];
	json_t *doc = json_load_file(vector_path(path, name), 0, NULL);

	cr_assert(doc, "%s: no JSON", path);
	return doc;
}
