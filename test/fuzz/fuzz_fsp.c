/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_fsp - a device that answers whatever the input says.  First byte: which chip, and whether the
 * answer is checked alone or read through all of pkg/gpu: open, query, stage.  Whatever comes, all
 * waits end, errors are typed, and nothing is written outside the registers that we know.
 */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "gpu/chip.h"
#include "gpu/fsp.h"
#include "gpu/gpu.h"

#define SECONDS_MAX 1200 /* of the fake clock: 14 commands at 11 s, twice, and then some */

struct source {
	struct rd in;
	uint64_t n_reads;
};

static int cfg_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
		    struct err *err)
{
	(void)d;
	(void)err;
	(void)bytes;
	*out = off == 4 ? 2 : 0; /* memory decoding on, no capabilities */
	return 0;
}

static int cfg_write(struct pci_device *d, unsigned off, unsigned bytes, uint32_t value,
		     struct err *err)
{
	(void)d;
	(void)off;
	(void)bytes;
	(void)value;
	(void)err;
	return 0;
}

static int bar0_map(struct pci_device *d, struct err *err)
{
	(void)err;
	d->bar0_bytes = 32 << 20;
	return 0;
}

/* PMC_BOOT_0 and boot status are always good, or no input would ever get further. */
static uint32_t rd32(struct pci_device *d, uint32_t off)
{
	struct source *s = d->ctx;
	uint32_t v = 0;

	s->n_reads++;
	if (off == PMC_BOOT_0)
		return 0x007000a1;
	if (off == gh100_family.boot_status || off == ls10_family.boot_status ||
	    off == gb202_family.boot_status)
		return 0xff;
	if (!rd_le32(&s->in, &v))
		return 0;
	return v;
}

static void wr32(struct pci_device *d, uint32_t off, uint32_t value)
{
	const struct source *s = d->ctx;

	(void)s;
	(void)value;
	assert(off == 0x12004c || off == 0x122204 || (off >= 0x8f1f00 && off < 0x8f2000) ||
	       (off >= 0x8f2ad0 && off < 0x8f2ad8) || (off >= 0x8f2c10 && off < 0x8f2c18) ||
	       (off >= 0x8f2c90 && off < 0x8f2c98));
}

static void no_close(struct pci_device *d)
{
	(void)d;
}

static const struct pci_ops ops = { .name = "fuzz",
				    .cfg_read = cfg_read,
				    .cfg_write = cfg_write,
				    .bar0_map = bar0_map,
				    .rd32 = rd32,
				    .wr32 = wr32,
				    .close = no_close };

static void answer_alone(struct rd in)
{
	uint32_t dword[64], payload[1] = { 0 };
	struct err err = ERR_INIT;
	size_t n = 0;

	while (n < 64 && rd_le32(&in, &dword[n]))
		n++;
	if (fsp_answer_check(dword, n, 1, payload, &err) < 0) {
		assert(err.kind == ERR_DEVICE || err.kind == ERR_UNSUPPORTED);
		return;
	}
	assert(n == FSP_ANSWER_HEADER + 1 && dword[4] == FSP_STATUS_OK && payload[0] == dword[5]);
}

static void whole_device(struct rd in, uint16_t device_id, enum gpu_mode mode)
{
	static const struct gpu_env env = { 0 };
	struct source source = { .in = in };
	struct pci_device pci = { .ops = &ops, .cfg_bytes = 4096, .ctx = &source };
	struct gpu_dev dev = { .device_id = device_id, .chip = gpu_chip_of_id(device_id) };
	struct gpu_undo undo;
	struct gpu_pair pair;
	struct gpu g;
	struct err err = ERR_INIT;
	bool same;

	if (!device_id)
		dev.kind = GPU_KIND_NVSWITCH;
	clock_fake_set_us(0);
	if (gpu_open(&g, &dev, &pci, &env, &err) == 0) {
		if (gpu_query(&g, &pair, &err) == 0)
			assert(pair.cc != GPU_CC_UNKNOWN && pair.ppcie != GPU_PPCIE_UNKNOWN);
		if (gpu_staged(&g, mode, &same, &err) == 0 && gpu_stage(&g, mode, &undo, &err) == 0)
			assert(undo.n <= GPU_UNDO_MAX);
		gpu_close(&g);
	}
	assert(now_ms() < SECONDS_MAX * 1000);
	clock_fake_off();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t ids[] = { 0x2330, 0x2901, 0x2bb5, 0 };
	struct rd in = rd_of(data, size);
	uint8_t what;

	if (!rd_u8(&in, &what))
		return 0;
	if (what & 0x80)
		answer_alone(in);
	else
		whole_device(in, ids[what & 3], (enum gpu_mode)(what >> 2 & 3));
	return 0;
}
