/* SPDX-License-Identifier: Apache-2.0 */
/* table - rows reach their test whole, though Criterion runs it in another process. */
#include "table.h"
#include <string.h>

static const struct {
	const char *name, *text;
	size_t len;
} cases[] = {
	{ "empty", "", 0 },
	{ "one", "a", 1 },
	{ "several", "abc", 3 },
};

TABLE_TEST(table, rows_hold_pointers, cases)
{
	cr_assert_eq(strlen(row->text), row->len, "%s", row->name);
}
