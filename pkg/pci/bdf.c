/* SPDX-License-Identifier: Apache-2.0 */
/* bdf - addresses of PCI functions, as text and in order. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "pci/pci.h"

/* Reads `least` to `most` hexadecimal digits and the separator after them (0: the end). */
static const char *field(const char *p, int least, int most, char separator, uint32_t *out)
{
	uint32_t v = 0;
	int n = 0;

	for (; isxdigit((unsigned char)p[n]); n++) {
		char c = (char)tolower((unsigned char)p[n]);

		if (n == most)
			return NULL;
		v = v * 16 + (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	if (n < least || p[n] != separator)
		return NULL;
	*out = v;
	return p + n + 1;
}

int bdf_parse(const char *text, struct bdf *out, struct err *err)
{
	uint32_t domain = 0, bus, dev, fn;
	const char *p = text, *colon = strchr(text, ':');

	if (colon && strchr(colon + 1, ':'))
		p = field(p, 4, 8, ':', &domain);
	if (!p || !(p = field(p, 2, 2, ':', &bus)) || !(p = field(p, 2, 2, '.', &dev)) ||
	    !field(p, 1, 1, '\0', &fn) || dev > 0x1f || fn > 7)
		return err_set(err, ERR_INVALID, "'%.40s' is no PCI address such as 0000:41:00.0",
			       text);
	*out = (struct bdf){
		.domain = domain, .bus = (uint8_t)bus, .dev = (uint8_t)dev, .fn = (uint8_t)fn
	};
	return 0;
}

struct bdf_text bdf_text(struct bdf b)
{
	struct bdf_text t;

	snprintf(t.s, sizeof(t.s), "%04x:%02x:%02x.%x", b.domain, b.bus, b.dev & 0x1f, b.fn & 7);
	return t;
}

static uint64_t order(struct bdf b)
{
	return (uint64_t)b.domain << 32 | (uint64_t)b.bus << 16 | (uint64_t)b.dev << 8 | b.fn;
}

int bdf_compare(struct bdf a, struct bdf b)
{
	return (order(a) > order(b)) - (order(a) < order(b));
}
