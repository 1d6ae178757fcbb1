/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

Test(err, reads_from_intention_to_cause)
{
	struct err e = ERR_INIT;

	cr_assert_str_eq(err_text(&e), "");
	errno = EIO;
	cr_assert_eq(err_errno(&e, "0000:41:00.0: enabling memory space"), -1);
	cr_assert_eq(err_wrap(&e, "switching to %s", "on"), -1);
	cr_assert_str_eq(err_text(&e),
			 "switching to on: 0000:41:00.0: enabling memory space: Input/output error");
	cr_assert_eq(e.kind, ERR_SYSTEM);
	cr_assert_eq(e.code, EIO);
}

Test(err, keeps_the_cause_when_room_runs_out)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_DEVICE, "the cause");
	for (int i = 0; i < 100; i++)
		err_wrap(&e, "some long context number %d", i);
	cr_assert(strlen(err_text(&e)) < sizeof(e.buf));
	cr_assert_str_eq(err_text(&e) + strlen(err_text(&e)) - 9, "the cause");
	cr_assert_eq(e.kind, ERR_DEVICE);
}

Test(err, wrapping_nothing_is_still_an_error)
{
	struct err e = ERR_INIT;

	cr_assert_eq(err_wrap(&e, "context"), -1);
	cr_assert_neq(e.kind, ERR_NONE);
}

Test(err, clears)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_GONE, "x");
	err_clear(&e);
	cr_assert_eq(e.kind, ERR_NONE);
	cr_assert_str_eq(err_text(&e), "");
}

Test(err, errno_maps_to_kinds)
{
	static const struct {
		int code;
		enum err_kind kind;
	} rows[] = {{ENOENT, ERR_NOT_FOUND}, {EPERM, ERR_DENIED},   {EBUSY, ERR_BUSY},
		    {ENODEV, ERR_NOT_FOUND}, {EINVAL, ERR_SYSTEM}, {ETIMEDOUT, ERR_TIMEOUT}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;

		errno = rows[i].code;
		err_errno(&e, "x");
		cr_assert_eq(e.kind, rows[i].kind, "errno %d", rows[i].code);
	}
}
