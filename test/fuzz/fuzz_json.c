/* SPDX-License-Identifier: Apache-2.0 */
/* What parses is within its limits, and reads back the same after it was written. */
#include <assert.h>
#include <stdlib.h>

#include "json/json.h"

#define LIMITS ((struct json_limits){ .bytes = 1 << 16, .values = 5000, .depth = 32 })

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(json_free) json_t *doc = NULL, *again = NULL;
	AUTO_BUF text = BUF_INIT(1 << 20);
	struct json_put w = json_put_to(&text);
	struct err err = ERR_INIT;

	if (json_parse(rd_of(data, size), LIMITS, &doc, &err) < 0) {
		assert(err.kind == ERR_INVALID);
		assert(!doc);
		return 0;
	}
	json_put_array(&w);
	json_put_strn(&w, (const char *)data, size < 200 ? size : 200);
	json_put_doc(&w, doc);
	json_put_end(&w);
	if (json_put_done(&w, &err) < 0)
		abort();
	again = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	assert(again);
	assert(json_equal(doc, json_array_get(again, 1)));
	return 0;
}
