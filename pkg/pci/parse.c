/* SPDX-License-Identifier: Apache-2.0 */
/* parse - the formats that the kernel writes into sysfs, read as if a stranger wrote them. */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "pci/pci.h"

#define RESOURCE_IO 0x1u

/* One word of a line, without the blanks before it; false at the end or when it is too long. */
static bool word(struct rd *line, char *out, size_t size)
{
	uint8_t c;
	size_t n = 0;

	while (line->left && isspace(line->p[0]) && rd_u8(line, &c))
		;
	while (line->left && !isspace(line->p[0])) {
		if (!rd_u8(line, &c) || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n > 0;
}

static bool hex_word(struct rd *line, uint64_t *out)
{
	char text[24];

	return word(line, text, sizeof(text)) && str_hex(text, UINT64_MAX, out);
}

static bool bar_parse(struct rd line, struct pci_bar *out)
{
	uint64_t start, end, flags;
	char rest[2];

	if (!hex_word(&line, &start) || !hex_word(&line, &end) || !hex_word(&line, &flags) ||
	    word(&line, rest, sizeof(rest)) || line.left)
		return false;
	*out = (struct pci_bar){ .addr = start };
	if (start == 0 || (flags & RESOURCE_IO))
		return true;
	if (end < start || end - start == UINT64_MAX)
		return false;
	out->bytes = end - start + 1;
	out->is_64 = ((flags >> 1) & 3) == 2;
	return true;
}

/* Line i of the file is resource<i>; the upper half of a 64-bit BAR has a line of zeros.  The logical
 * BARs are those lines without the upper halves. */
int pci_resource_parse(struct rd text, struct pci_bar out[PCI_N_BARS], struct err *err)
{
	struct pci_bar bar[PCI_N_BARS] = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < PCI_N_BARS; i++) {
		struct rd line;
		struct pci_bar one;
		bool upper = n && bar[n - 1].is_64 && bar[n - 1].file == i - 1;

		if (!rd_line(&text, &line))
			return err_set(err, ERR_INVALID, "resource: %u lines where 6 are due", i);
		if (!bar_parse(line, &one))
			return err_set(err, ERR_INVALID,
				       "resource: line %u is not 'start end flags'", i + 1);
		if (upper)
			continue;
		one.file = i;
		bar[n++] = one;
	}
	memcpy(out, bar, sizeof(bar));
	return 0;
}

/* `tag` and then exactly `digits` upper-case hexadecimal digits. */
static const char *alias_field(const char *p, const char *tag, size_t digits, uint64_t *out)
{
	char text[9];

	if (!p || !str_starts(p, tag))
		return NULL;
	p += strlen(tag);
	if (strlen(p) < digits || digits >= sizeof(text))
		return NULL;
	memcpy(text, p, digits);
	text[digits] = '\0';
	if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
	    !str_hex(text, UINT32_MAX, out))
		return NULL;
	return p + digits;
}

int pci_modalias_parse(const char *text, struct pci_info *out, struct err *err)
{
	uint64_t v, d, sv, sd, bc, sc, i;
	const char *p = alias_field(text, "pci:v", 8, &v);

	p = alias_field(p, "d", 8, &d);
	p = alias_field(p, "sv", 8, &sv);
	p = alias_field(p, "sd", 8, &sd);
	p = alias_field(p, "bc", 2, &bc);
	p = alias_field(p, "sc", 2, &sc);
	p = alias_field(p, "i", 2, &i);
	if (!p || *p || v > UINT16_MAX || d > UINT16_MAX || sv > UINT16_MAX || sd > UINT16_MAX)
		return err_set(err, ERR_INVALID, "modalias: '%.60s' is not that of a PCI function",
			       text);
	out->vendor = (uint16_t)v;
	out->device = (uint16_t)d;
	out->subsys_vendor = (uint16_t)sv;
	out->subsys_device = (uint16_t)sd;
	out->class24 = (uint32_t)(bc << 16 | sc << 8 | i);
	out->ids_known = true;
	return 0;
}

enum pci_reset_method pci_reset_method_first(const char *text)
{
	static const struct {
		const char *name;
		enum pci_reset_method method;
	} known[] = {
		{ "device_specific", PCI_RESET_DEVICE_SPECIFIC },
		{ "acpi", PCI_RESET_ACPI },
		{ "flr", PCI_RESET_FLR },
		{ "af_flr", PCI_RESET_AF_FLR },
		{ "pm", PCI_RESET_PM },
		{ "bus", PCI_RESET_BUS },
		{ "cxl_bus", PCI_RESET_CXL_BUS },
	};
	struct rd in = rd_of(text, strlen(text));
	char first[32];

	if (!word(&in, first, sizeof(first)))
		return in.left ? PCI_RESET_OTHER : PCI_RESET_NONE;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(first, known[i].name) == 0)
			return known[i].method;
	return PCI_RESET_OTHER;
}
