/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel writes, and what nobody should write: addresses, resource, modalias, reset_method,
 * capability lists. */
#include <criterion/criterion.h>
#include <linux/pci_regs.h>

#include "pci/pci.h"
#include "table.h"

static const struct {
	const char *text, *printed; /* printed NULL: refused */
} bdfs[] = {
	{ "0000:41:00.0", "0000:41:00.0" },
	{ "41:00.0", "0000:41:00.0" },
	{ "10000:C1:1f.7", "10000:c1:1f.7" },
	{ "ffffffff:ff:1f.7", "ffffffff:ff:1f.7" },
	{ "", NULL },
	{ "0000:41:00", NULL },
	{ "0000:41:00.8", NULL },
	{ "0000:41:20.0", NULL },
	{ "0000:141:00.0", NULL },
	{ "0:41:00.0", NULL },
	{ "0000:41:00.0 ", NULL },
	{ " 41:00.0", NULL },
	{ "0000:4:00.0", NULL },
	{ "1ffffffff:00:00.0", NULL },
	{ "0000:41:0g.0", NULL },
	{ "0000.41:00.0", NULL },
	{ "::.", NULL },
	{ "0000:41:00.00", NULL },
};

TABLE_TEST(pci_parse, addresses, bdfs)
{
	struct bdf b;
	struct err err = ERR_INIT;
	int r = bdf_parse(row->text, &b, &err);

	cr_assert_eq(r, row->printed ? 0 : -1, "'%s'", row->text);
	if (row->printed)
		cr_assert_str_eq(bdf_str(b), row->printed);
	else
		cr_assert_eq(err.kind, ERR_INVALID);
}

Test(pci_parse, addresses_have_an_order)
{
	static const char *const ascending[] = { "0000:00:00.0", "0000:00:00.7", "0000:00:01.0",
						 "0000:01:00.0", "0001:00:00.0", "10000:00:00.0" };
	struct err err = ERR_INIT;
	struct bdf a, b;

	for (size_t i = 0; i + 1 < ARRAY_LEN(ascending); i++) {
		cr_assert_eq(bdf_parse(ascending[i], &a, &err), 0);
		cr_assert_eq(bdf_parse(ascending[i + 1], &b, &err), 0);
		cr_assert_lt(bdf_compare(a, b), 0);
		cr_assert_gt(bdf_compare(b, a), 0);
		cr_assert(bdf_equal(a, a));
	}
}

#define ZERO  "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
#define ZERO5 ZERO ZERO ZERO ZERO ZERO

static const struct {
	const char *name, *text;
	bool ok;
	uint64_t bytes0, bytes1;
	unsigned file1;
} resources[] = {
	{ "64-bit BAR0, then BAR1 in resource2",
	  "0x20000000 0x20ffffff 0x14220c\n" ZERO "0x30000000 0x3fffffff 0x14220c\n" ZERO ZERO ZERO,
	  true, 0x1000000, 0x10000000, 2 },
	{ "32-bit BARs",
	  "0x20000000 0x20ffffff 0x40200\n0x30000000 0x300fffff 0x40200\n" ZERO ZERO ZERO ZERO,
	  true, 0x1000000, 0x100000, 1 },
	{ "I/O is no memory", "0xe000 0xe07f 0x40101\n" ZERO5, true, 0, 0, 1 },
	{ "no address", ZERO ZERO5, true, 0, 0, 1 },
	{ "more lines", "0x20000000 0x20ffffff 0x40200\n" ZERO5 ZERO5, true, 0x1000000, 0, 1 },
	{ "no last newline",
	  "0x1000 0x1fff 0x200\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0",
	  true, 0x1000, 0, 1 },
	{ "empty", "", false, 0, 0, 0 },
	{ "too few lines", ZERO ZERO, false, 0, 0, 0 },
	{ "a word missing", "0x20000000 0x20ffffff\n" ZERO5, false, 0, 0, 0 },
	{ "a word more", "0x20000000 0x20ffffff 0x200 0x1\n" ZERO5, false, 0, 0, 0 },
	{ "no number", "0x2000000g 0x20ffffff 0x200\n" ZERO5, false, 0, 0, 0 },
	{ "end before start", "0x20000000 0x1fffffff 0x200\n" ZERO5, false, 0, 0, 0 },
	{ "too long a number", "0x11111111111111111111 0x20ffffff 0x200\n" ZERO5, false, 0, 0, 0 },
};

TABLE_TEST(pci_parse, resource, resources)
{
	struct pci_bar bar[PCI_N_BARS] = { 0 };
	struct err err = ERR_INIT;
	int r = pci_resource_parse(rd_of(row->text, strlen(row->text)), bar, &err);

	cr_assert_eq(r, row->ok ? 0 : -1, "%s: %s", row->name, err_text(&err));
	if (!row->ok) {
		cr_assert_eq(err.kind, ERR_INVALID, "%s", row->name);
		return;
	}
	cr_assert_eq(bar[0].bytes, row->bytes0, "%s", row->name);
	cr_assert_eq(bar[1].bytes, row->bytes1, "%s", row->name);
	cr_assert_eq(bar[1].file, row->file1, "%s", row->name);
}

static const struct {
	const char *text;
	bool ok;
} aliases[] = {
	{ "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00", true },
	{ "pci:v000010ded00002330sv000010desd000016c1bc03sc02i00", true },
	{ "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i0", false },
	{ "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i000", false },
	{ "pci:v100010DEd00002330sv000010DEsd000016C1bc03sc02i00", false },
	{ "pci:v0x0010DEd00002330sv000010DEsd000016C1bc03sc02i00", false },
	{ "usb:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00", false },
	{ "pci:v", false },
	{ "", false },
};

TABLE_TEST(pci_parse, modalias, aliases)
{
	struct pci_info info = { 0 };
	struct err err = ERR_INIT;

	cr_assert_eq(pci_modalias_parse(row->text, &info, &err), row->ok ? 0 : -1, "%s", row->text);
	cr_assert_eq(info.ids_known, row->ok, "%s", row->text);
	if (row->ok) {
		cr_assert_eq(info.device, 0x2330);
		cr_assert_eq(info.class24, 0x030200);
	}
}

static const struct {
	const char *text;
	enum pci_reset_method first;
} methods[] = {
	{ "flr bus", PCI_RESET_FLR },
	{ "bus", PCI_RESET_BUS },
	{ "device_specific acpi flr", PCI_RESET_DEVICE_SPECIFIC },
	{ "  bus\n", PCI_RESET_BUS },
	{ "", PCI_RESET_NONE },
	{ "pm", PCI_RESET_PM },
	{ "af_flr", PCI_RESET_AF_FLR },
	{ "cxl_bus", PCI_RESET_CXL_BUS },
	{ "flrx", PCI_RESET_OTHER },
	{ "something_very_long_that_no_kernel_has_ever_written", PCI_RESET_OTHER },
};

TABLE_TEST(pci_parse, reset_method, methods)
{
	cr_assert_eq(pci_reset_method_first(row->text), row->first, "'%s'", row->text);
}

/* --- capability lists, on a configuration space in memory --------------------------------------*/

static int mem_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
		    struct err *err UNUSED)
{
	*out = 0;
	memcpy(out, (uint8_t *)d->ctx + off, bytes);
	return 0;
}

static const struct pci_ops mem_ops = { .name = "memory", .cfg_read = mem_read };

struct cfg {
	uint8_t byte[4096];
	struct pci_device dev;
};

static void cfg_new(struct cfg *c, size_t bytes)
{
	memset(c->byte, 0, sizeof(c->byte));
	c->byte[PCI_STATUS] = PCI_STATUS_CAP_LIST;
	c->byte[PCI_CAPABILITY_LIST] = 0x60;
	c->dev = (struct pci_device){ .ops = &mem_ops, .cfg_bytes = bytes, .ctx = c->byte };
}

static void put32(struct cfg *c, unsigned off, uint32_t v)
{
	memcpy(c->byte + off, &v, 4);
}

Test(pci_parse, capabilities_are_found)
{
	struct cfg c;
	struct err err = ERR_INIT;
	unsigned at;

	cfg_new(&c, 4096);
	memcpy(c.byte + 0x60, "\x01\x78", 2);
	memcpy(c.byte + 0x78, "\x10\x00", 2);
	cr_assert_eq(pci_cap_find(&c.dev, 0x10, &at, &err), 0);
	cr_assert_eq(at, 0x78);
	cr_assert_eq(pci_cap_find(&c.dev, 0x05, &at, &err), 0);
	cr_assert_eq(at, 0);
	c.byte[PCI_STATUS] = 0;
	cr_assert_eq(pci_cap_find(&c.dev, 0x10, &at, &err), 0);
	cr_assert_eq(at, 0, "no list");
}

static const struct {
	const char *name;
	uint8_t first, at_first_id, at_first_next;
	bool ok;
} lists[] = {
	{ "to itself", 0x60, 0x09, 0x60, false },
	{ "into the header", 0x60, 0x09, 0x10, false },
	{ "gone", 0xff, 0xff, 0xff, false },
	{ "low bits are reserved", 0x63, 0x10, 0x00, true },
};

TABLE_TEST(pci_parse, broken_capability_lists_end, lists)
{
	struct cfg c;
	struct err err = ERR_INIT;
	unsigned at;

	cfg_new(&c, 256);
	c.byte[PCI_CAPABILITY_LIST] = row->first;
	c.byte[0x60] = row->at_first_id;
	c.byte[0x61] = row->at_first_next;
	cr_assert_eq(pci_cap_find(&c.dev, 0x10, &at, &err), row->ok ? 0 : -1, "%s", row->name);
	if (!row->ok)
		cr_assert_eq(err.kind, ERR_DEVICE, "%s", row->name);
}

Test(pci_parse, dvsec_is_found_by_vendor_and_id)
{
	struct cfg c;
	struct err err = ERR_INIT;
	unsigned at;

	cfg_new(&c, 4096);
	put32(&c, 0x100, 0x14010001); /* AER, next 0x140 */
	put32(&c, 0x140, 0x18010023); /* DVSEC of somebody else */
	put32(&c, 0x144, 0x00010008086 & 0xffffffff);
	put32(&c, 0x180, 0x00010023);
	put32(&c, 0x184, 0x000010de);
	put32(&c, 0x188, 0x00100000);
	cr_assert_eq(pci_dvsec_find(&c.dev, 0x10de, 0, &at, &err), 0, "%s", err_text(&err));
	cr_assert_eq(at, 0x180);
	cr_assert_eq(pci_dvsec_find(&c.dev, 0x10de, 1, &at, &err), 0);
	cr_assert_eq(at, 0);
	c.dev.cfg_bytes = 256;
	cr_assert_eq(pci_dvsec_find(&c.dev, 0x10de, 0, &at, &err), 0);
	cr_assert_eq(at, 0, "only 256 bytes can be seen");
}

static const struct {
	const char *name;
	uint32_t first;
	bool ok;
} ext[] = {
	{ "to itself", 0x10010001, false },
	{ "below 0x100", 0x04010001, false },
	{ "cut off at the end", 0xffc10001, false }, /* a DVSEC header in the last four bytes */
	{ "ends", 0x00010001, true },
	{ "nothing there", 0x00000000, true },
	{ "all ones", 0xffffffff, true },
};

TABLE_TEST(pci_parse, broken_extended_lists_end, ext)
{
	struct cfg c;
	struct err err = ERR_INIT;
	unsigned at;

	cfg_new(&c, 4096);
	put32(&c, 0x100, row->first);
	put32(&c, 0xffc, 0x00010023);
	cr_assert_eq(pci_dvsec_find(&c.dev, 0x10de, 0, &at, &err), row->ok ? 0 : -1, "%s",
		     row->name);
	if (!row->ok)
		cr_assert_eq(err.kind, ERR_DEVICE, "%s", row->name);
}
