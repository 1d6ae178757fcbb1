/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table - a test that is a table: TABLE_TEST(suite, name, rows) runs its body once per row, each
 * run in a process of its own, with the row as `row`.
 *
 * In:       rows, an array (not a pointer) with at least one element; it may hold what it likes.
 * Fails:    a row that fails does not keep the others from running.  Failures are told apart by
 *           what the assertions print, so rows have a name and assertions name it.
 * Why:      Criterion 2.4.1 copies a parameter into another process, where a pointer in it, even
 *           one to a literal, means nothing.  So the parameter is the row's number.
 *
 *	static const struct { const char *name, *text; bool ok; } cases[] = { ... };
 *	TABLE_TEST(bdf, parses, cases)
 *	{
 *		cr_assert_eq(bdf_parse(row->text, &b), row->ok, "%s", row->name);
 *	}
 */
#pragma once
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stddef.h>

#define TABLE_TEST(suite, name, rows)                                                              \
	static void suite##_##name##_row(const __typeof__((rows)[0]) *row);                        \
	ParameterizedTestParameters(suite, name)                                                   \
	{                                                                                          \
		static size_t numbers[sizeof(rows) / sizeof((rows)[0])];                           \
                                                                                                   \
		for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)                  \
			numbers[i] = i;                                                            \
		return cr_make_param_array(size_t, numbers, sizeof(numbers) / sizeof(numbers[0])); \
	}                                                                                          \
	ParameterizedTest(size_t *number, suite, name)                                             \
	{                                                                                          \
		suite##_##name##_row(&(rows)[*number]);                                            \
	}                                                                                          \
	static void suite##_##name##_row(const __typeof__((rows)[0]) *row)
