/* SPDX-License-Identifier: Apache-2.0 */
/* print - results for people as tables, for programs as one JSON document. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpucc.h"

const char *const output_names[] = { "text", "json", NULL };

bool table_add(struct table *t, const char *const *text)
{
	struct cell *more = realloc(t->cell, (t->n_rows + 1) * t->n_columns * sizeof(*more));

	if (!more)
		return log_error("out of memory", NULL), false;
	t->cell = more;
	for (size_t i = 0; i < t->n_columns; i++)
		str_copy(more[t->n_rows * t->n_columns + i].text, CELL_BYTES,
			 str_empty(text[i]) ? "-" : text[i]);
	t->n_rows++;
	return true;
}

static void row_print(const size_t *width, size_t n, const char *const *text)
{
	for (size_t i = 0; i + 1 < n; i++)
		printf("%-*s  ", (int)width[i], text[i]);
	printf("%s\n", text[n - 1]); /* nothing trails the last */
}

void table_print(const struct table *t)
{
	size_t width[TABLE_COLUMNS] = { 0 };
	const char *text[TABLE_COLUMNS];

	for (size_t i = 0; i < t->n_columns; i++) {
		width[i] = strlen(t->title[i]);
		for (size_t r = 0; r < t->n_rows; r++) {
			size_t n = strlen(t->cell[r * t->n_columns + i].text);

			width[i] = n > width[i] ? n : width[i];
		}
	}
	row_print(width, t->n_columns, t->title);
	for (size_t r = 0; r < t->n_rows; r++) {
		for (size_t i = 0; i < t->n_columns; i++)
			text[i] = t->cell[r * t->n_columns + i].text;
		row_print(width, t->n_columns, text);
	}
}

void table_clear(struct table *t)
{
	free(t->cell);
	t->cell = NULL;
	t->n_rows = 0;
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

/* healthy: null when the device was not looked at, because it is in use. */
static void put_healthy(struct json_put *w, const struct gpu_dev *dev, const struct gpu_result *r)
{
	if (*dev->in_use) {
		json_put_key(w, "healthy");
		json_put_null(w);
		return;
	}
	json_put_member_bool(w, "healthy", !*r->error);
}

void json_put_device(struct json_put *w, const struct gpu_dev *dev, const struct gpu_result *r)
{
	char vendor[8], device[8];

	snprintf(vendor, sizeof(vendor), "%04x", dev->vendor_id);
	snprintf(device, sizeof(device), "%04x", dev->device_id);
	json_put_member_str(w, "bdf", bdf_str(dev->bdf));
	json_put_member_str(w, "kind", gpu_kind_names[dev->kind]);
	json_put_member_str(w, "vendorId", vendor);
	json_put_member_str(w, "deviceId", device);
	json_put_member_str(w, "chip", or_null(dev->chip_name));
	json_put_member_str(w, "name", or_null(dev->name));
	json_put_member_str(w, "driver", or_null(dev->driver));
	json_put_member_str(w, "ccMode", gpu_cc_names[r->active.cc]);
	json_put_member_str(w, "ppcieMode", gpu_ppcie_names[r->active.ppcie]);
	put_healthy(w, dev, r);
	json_put_member_str(w, "error", or_null(r->error));
}

bool json_print(struct json_put *w, struct buf *text)
{
	struct err err = ERR_INIT;

	if (json_put_done(w, &err) == 0 && buf_adds(text, "\n", &err) == 0 &&
	    fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0)
		return true;
	log_error("cannot write the result", "reason", err_text(&err), NULL);
	return false;
}
