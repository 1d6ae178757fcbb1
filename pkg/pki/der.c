/* SPDX-License-Identifier: Apache-2.0 */
/* DER by hand, on a bounded reader, for the few extensions that OpenSSL has no type for (X.690, 8 and 10). */
#include "pki/internal.h"

static bool take_length(struct rd *in, size_t *out)
{
	uint8_t first, byte;
	size_t n = 0;

	if (!rd_u8(in, &first))
		return false;
	if (first < 0x80) {
		*out = first;
		return true;
	}
	if (first != 0x81 && first != 0x82) /* indefinite, or more than any certificate has */
		return false;
	for (int i = first & 0x7f; i > 0; i--) {
		if (!rd_u8(in, &byte))
			return false;
		n = n << 8 | byte;
	}
	*out = n;
	return n >= (first == 0x81 ? 0x80u : 0x100u);
}

bool der_take_whole(struct rd *in, uint8_t tag, struct rd *whole)
{
	struct rd r = *in, value;
	uint8_t got;
	size_t n;

	if (!rd_u8(&r, &got) || got != tag || !take_length(&r, &n) || !rd_sub(&r, n, &value))
		return false;
	return rd_sub(in, in->left - r.left, whole);
}

bool der_take(struct rd *in, uint8_t tag, struct rd *value)
{
	struct rd whole;
	uint8_t got;
	size_t n;

	return der_take_whole(in, tag, &whole) && rd_u8(&whole, &got) && take_length(&whole, &n) &&
	       rd_sub(&whole, n, value);
}
