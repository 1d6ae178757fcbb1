/* SPDX-License-Identifier: Apache-2.0 */
/* rd, buf and str: what happens at the first byte missing and the last byte extra. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/rd.h"
#include "base/str.h"
#include "table.h"

Test(rd, reads_both_orders_and_stops_at_the_end)
{
	struct rd r = rd_of("\x01\x02\x03\x04\x05\x06\x07\x08\x09", 9);
	uint16_t h;
	uint32_t w;
	uint8_t b;

	cr_assert(rd_le16(&r, &h) && h == 0x0201);
	cr_assert(rd_be16(&r, &h) && h == 0x0304);
	cr_assert(rd_le32(&r, &w) && w == 0x08070605);
	cr_assert(!rd_le16(&r, &h) && r.left == 1);
	cr_assert(rd_u8(&r, &b) && b == 9 && rd_end(&r));
	cr_assert(!rd_u8(&r, &b));
}

Test(rd, cuts_children_and_lines)
{
	struct rd r = rd_of("ab\n\ncd", 6), line, sub;

	cr_assert(rd_line(&r, &line) && line.left == 2);
	cr_assert(rd_line(&r, &line) && line.left == 0);
	cr_assert(rd_line(&r, &line) && line.left == 2 && rd_end(&r));
	cr_assert(!rd_line(&r, &line));
	r = rd_of("xyz", 3);
	cr_assert(!rd_sub(&r, 4, &sub) && r.left == 3);
	cr_assert(!rd_skip(&r, SIZE_MAX) && r.left == 3);
}

Test(buf, grows_up_to_its_ceiling)
{
	AUTO_BUF b = BUF_INIT(8);
	struct err e = ERR_INIT;

	cr_assert_eq(buf_adds(&b, "12345", &e), 0);
	cr_assert_eq(buf_adds(&b, "6789", &e), -1);
	cr_assert_eq(e.kind, ERR_INVALID);
	cr_assert_str_eq(buf_str(&b), "12345");
	cr_assert_eq(buf_addf(&b, &e, "%03d", 678), 0);
	cr_assert_str_eq(buf_str(&b), "12345678");
	buf_consume(&b, 6);
	cr_assert_str_eq(buf_str(&b), "78");
	buf_consume(&b, 99);
	cr_assert_eq(b.len, 0);
}

static const struct {
	const char *text;
	bool ok;
	uint64_t ms;
} durations[] = {
	{"250ms", true, 250}, {"30s", true, 30000},   {"10m", true, 600000}, {"1h30m", true, 5400000},
	{"0", true, 0},	      {"", false, 0},	      {"10", false, 0},	     {"s", false, 0},
	{"1d", false, 0},     {"-5s", false, 0},      {"5 s", false, 0},     {"1s2", false, 0},
	{"9999999999h", false, 0}, {"10mm", false, 0},
};

TABLE_TEST(str, durations, durations)
{
	uint64_t ms = 0;

	cr_assert_eq(str_duration_ms(row->text, &ms), row->ok, "'%s'", row->text);
	cr_assert_eq(ms, row->ok ? row->ms : 0, "'%s'", row->text);
}

static const struct {
	const char *text;
	bool dec, hex;
} number_texts[] = {
	{"0", true, true},     {"255", true, false},  {"256", false, false}, {"0xff", false, true},
	{"ff", false, true},   {"", false, false},    {" 1", false, false},  {"1 ", false, false},
	{"-1", false, false},  {"0x", false, false},  {"18446744073709551616", false, false},
	{"100", true, false},
};

TABLE_TEST(str, numbers, number_texts)
{
	uint64_t v;

	cr_assert_eq(str_u64(row->text, 255, &v), row->dec, "'%s'", row->text);
	cr_assert_eq(str_hex(row->text, 255, &v), row->hex, "'%s'", row->text);
}

Test(str, the_largest_number_fits)
{
	uint64_t v;

	cr_assert(str_u64("18446744073709551615", UINT64_MAX, &v) && v == UINT64_MAX);
	cr_assert(!str_u64("18446744073709551616", UINT64_MAX, &v));
	cr_assert(str_hex("ffffffffffffffff", UINT64_MAX, &v) && v == UINT64_MAX);
	cr_assert(!str_hex("10000000000000000", UINT64_MAX, &v));
}

Test(str, copies_and_cuts)
{
	char out[4], text[] = "  a\x1b[1m ";

	cr_assert(str_copy(out, sizeof(out), "abc") && str_eq(out, "abc"));
	cr_assert(!str_copy(out, sizeof(out), "abcd") && str_eq(out, "abc"));
	cr_assert_str_eq(str_printable(str_trim(text)), "a?[1m");
	cr_assert(str_starts("abc", "ab") && !str_starts("a", "ab") && str_ends("abc", "bc"));
}
