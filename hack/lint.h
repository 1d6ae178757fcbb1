/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lint - what the analyzers cannot see from one file: that these functions always return -1, so
 * that what follows `return err_...(...)` in a caller is a failure.  Only "make lint" includes it.
 */
#pragma once
#include "base/err.h"

#define err_set(...)                                                                               \
	({                                                                                         \
		err_set(__VA_ARGS__);                                                              \
		-1;                                                                                \
	})
#define err_errno(...)                                                                             \
	({                                                                                         \
		err_errno(__VA_ARGS__);                                                            \
		-1;                                                                                \
	})
#define err_wrap(...)                                                                              \
	({                                                                                         \
		err_wrap(__VA_ARGS__);                                                             \
		-1;                                                                                \
	})
