/* SPDX-License-Identifier: Apache-2.0 */
/* reg - fields of a 32-bit register. */
#pragma once
#include <stdint.h>

#define BITS(hi, lo)	      ((UINT32_MAX << (lo)) & (UINT32_MAX >> (31 - (hi))))
#define BIT(n)		      BITS(n, n)
#define FIELD_GET(mask, reg)  (((reg) & (mask)) / ((mask) & -(mask)))
#define FIELD_PREP(mask, val) (((val) * ((mask) & -(mask))) & (mask))
#define FIELD_FITS(mask, val) (FIELD_GET(mask, FIELD_PREP(mask, val)) == (val))

_Static_assert(FIELD_GET(BITS(7, 4), 0xa5u) == 0xa, "FIELD_GET");
_Static_assert(FIELD_PREP(BITS(7, 4), 0xau) == 0xa0, "FIELD_PREP");

#define REG_ALL_ONES UINT32_MAX /* nobody answers */
static inline int reg_is_bad(uint32_t v)
{
	return v >> 16 == 0xbadf; /* privileged, or an error on the way */
}
