/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_sysfs - what the kernel writes into sysfs, written by a stranger.  First byte: which format. */
#include <assert.h>
#include <string.h>

#include "gpu/gpu.h"
#include "pci/pci.h"

static void resource(struct rd in)
{
	struct pci_bar bar[PCI_N_BARS] = { 0 };
	struct err err = ERR_INIT;

	if (pci_resource_parse(in, bar, &err) < 0) {
		assert(err.kind == ERR_INVALID);
		return;
	}
	for (int i = 0; i < PCI_N_BARS; i++)
		assert(bar[i].file < PCI_N_BARS &&
		       (!bar[i].bytes || bar[i].addr + (bar[i].bytes - 1) >= bar[i].addr));
}

/* Parsers of one line get it terminated, as their reader does. */
static void line(uint8_t which, struct rd in)
{
	char text[256];
	struct pci_info info = { 0 };
	struct gpu_ids ids = { 0 };
	struct bdf bdf;
	struct err err = ERR_INIT;
	size_t n = in.left < sizeof(text) - 1 ? in.left : sizeof(text) - 1;

	memcpy(text, in.p, n);
	text[n] = '\0';
	if (which == 1) {
		assert(pci_modalias_parse(text, &info, &err) == 0 || err.kind == ERR_INVALID);
		assert(info.ids_known == (err.kind == ERR_NONE));
	} else if (which == 2) {
		assert(pci_reset_method_first(text) <= PCI_RESET_OTHER);
	} else if (which == 3) {
		if (bdf_parse(text, &bdf, &err) == 0)
			assert(bdf.dev < 32 && bdf.fn < 8);
		else
			assert(err.kind == ERR_INVALID);
	} else {
		assert(gpu_ids_parse(text, &ids, &err) == 0 || ids.n == 0);
	}
}

struct cfg {
	uint8_t byte[4096];
};

static int cfg_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
		    struct err *err)
{
	(void)err;
	assert(off + bytes <= d->cfg_bytes);
	*out = 0;
	memcpy(out, ((struct cfg *)d->ctx)->byte + off, bytes);
	return 0;
}

static void capabilities(struct rd in, uint8_t which)
{
	static const struct pci_ops ops = { .name = "fuzz", .cfg_read = cfg_read };
	struct cfg cfg = { 0 };
	struct pci_device d = { .ops = &ops, .cfg_bytes = which & 1 ? 4096 : 256, .ctx = &cfg };
	struct err err = ERR_INIT;
	unsigned at;

	memcpy(cfg.byte, in.p, in.left < sizeof(cfg.byte) ? in.left : sizeof(cfg.byte));
	if (pci_cap_find(&d, 0x01, &at, &err) == 0)
		assert(at == 0 || (at >= 0x40 && cfg.byte[at] == 0x01));
	else
		assert(err.kind == ERR_DEVICE);
	if (pci_dvsec_find(&d, 0x10de, 0, &at, &err) == 0)
		assert(at == 0 || (at >= 0x100 && at + 10 <= d.cfg_bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = rd_of(data, size);
	uint8_t which;

	if (!rd_u8(&in, &which))
		return 0;
	if (which == 0)
		resource(in);
	else if (which <= 4)
		line(which, in);
	else
		capabilities(in, which);
	return 0;
}
