/* SPDX-License-Identifier: Apache-2.0 */
/* str - strict conversions of text. */
#include "base/str.h"

#include <ctype.h>
#include <strings.h>

bool str_starts(const char *s, const char *prefix)
{
	return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = s ? strlen(s) : 0, m = strlen(suffix);

	return s && n >= m && strcmp(s + n - m, suffix) == 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Reads digits up to the first that is none; at least one is needed. */
static const char *number(const char *s, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	const char *p = s;

	for (; *p && (unsigned)digit(*p) < base; p++) {
		uint64_t d = (uint64_t)digit(*p);

		if (d > max || v > (max - d) / base)
			return NULL;
		v = v * base + d;
	}
	if (p == s)
		return NULL;
	*out = v;
	return p;
}

bool str_u64(const char *s, uint64_t max, uint64_t *out)
{
	const char *end = s ? number(s, 10, max, out) : NULL;

	return end && !*end;
}

bool str_hex(const char *s, uint64_t max, uint64_t *out)
{
	const char *end;

	if (!s)
		return false;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	end = number(s, 16, max, out);
	return end && !*end;
}

bool str_bool(const char *s, bool *out)
{
	if (!s || (strcasecmp(s, "true") != 0 && strcasecmp(s, "false") != 0))
		return false;
	*out = strcasecmp(s, "true") == 0;
	return true;
}

bool str_duration_ms(const char *s, uint64_t *out)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	const uint64_t max = UINT64_C(1000) * 3600 * 24 * 365;
	uint64_t total = 0, v;

	if (!s || !*s)
		return false;
	if (str_eq(s, "0")) {
		*out = 0;
		return true;
	}
	while (*s) {
		size_t i, n = 0;

		s = number(s, 10, max, &v);
		if (!s)
			return false;
		for (i = 0; i < ARRAY_LEN(units); i++) {
			n = strlen(units[i].name);
			if (strncmp(s, units[i].name, n) == 0 && (!s[n] || isdigit((unsigned char)s[n])))
				break;
		}
		if (i == ARRAY_LEN(units) || v > (max - total) / units[i].ms)
			return false;
		total += v * units[i].ms;
		s += n;
	}
	*out = total;
	return true;
}

bool str_copyn(char *dst, size_t size, const char *src, size_t n)
{
	size_t fits = n < size ? n : size - 1;

	memcpy(dst, src, fits);
	dst[fits] = '\0';
	return fits == n;
}

bool str_copy(char *dst, size_t size, const char *src)
{
	return str_copyn(dst, size, src, strlen(src));
}

char *str_trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
	return s;
}

char *str_printable(char *s)
{
	for (char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	return s;
}
