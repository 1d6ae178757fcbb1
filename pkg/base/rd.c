/* SPDX-License-Identifier: Apache-2.0 */
/* rd - the only place with pointer arithmetic on untrusted bytes. */
#include "base/rd.h"

#include <string.h>

bool rd_sub(struct rd *r, size_t n, struct rd *out)
{
	if (r->left < n)
		return false;
	*out = rd_of(r->p, n);
	if (n) {
		r->p += n;
		r->left -= n;
	}
	return true;
}

bool rd_skip(struct rd *r, size_t n)
{
	struct rd unused;

	return rd_sub(r, n, &unused);
}

static bool take_le(struct rd *r, size_t n, uint64_t *out)
{
	struct rd b;

	if (!rd_sub(r, n, &b))
		return false;
	*out = 0;
	for (size_t i = n; i-- > 0;)
		*out = *out << 8 | b.p[i];
	return true;
}

static bool take_be(struct rd *r, size_t n, uint64_t *out)
{
	struct rd b;

	if (!rd_sub(r, n, &b))
		return false;
	*out = 0;
	for (size_t i = 0; i < n; i++)
		*out = *out << 8 | b.p[i];
	return true;
}

#define READER(name, type, take)                                                                   \
	bool name(struct rd *r, type *out)                                                         \
	{                                                                                          \
		uint64_t v;                                                                        \
                                                                                                   \
		if (!take(r, sizeof(type), &v))                                                    \
			return false;                                                              \
		*out = (type)v;                                                                    \
		return true;                                                                       \
	}

READER(rd_u8, uint8_t, take_le)
READER(rd_le16, uint16_t, take_le)
READER(rd_le32, uint32_t, take_le)
READER(rd_le64, uint64_t, take_le)
READER(rd_be16, uint16_t, take_be)
READER(rd_be32, uint32_t, take_be)

bool rd_line(struct rd *r, struct rd *out)
{
	const uint8_t *nl;
	size_t n;

	if (r->left == 0)
		return false;
	nl = memchr(r->p, '\n', r->left);
	n = nl ? (size_t)(nl - r->p) : r->left;
	return rd_sub(r, n, out) && (!nl || rd_skip(r, 1));
}
