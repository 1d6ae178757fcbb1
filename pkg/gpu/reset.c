/* SPDX-License-Identifier: Apache-2.0 */
/* reset - makes the staged knobs active, and proves it. */
#include <stdio.h>

#include "gpu/internal.h"

#define SANITY_MS 1000

/* Scratch marks that survive one kind of reset and not the other: for the log only. */
static void mark(struct gpu *g)
{
	const struct gpu_family *f = g->chip->family;

	if (f->flr_mark)
		pci_wr32(g->pci, f->flr_mark, 1);
	if (f->sbr_mark)
		pci_wr32(g->pci, f->sbr_mark, 1);
}

static void marks_note(struct gpu *g)
{
	const struct gpu_family *f = g->chip->family;

	if (f->flr_mark && f->sbr_mark)
		gpu_note(g, LOG_DEBUG, "after the reset: FLR mark %u, SBR mark %u",
			 pci_rd32(g->pci, f->flr_mark), pci_rd32(g->pci, f->sbr_mark));
}

/* A device that wakes up may not answer at once. */
static int come_up_within(struct gpu *g, uint64_t limit_ms, struct err *err)
{
	struct gpu_poll poll = gpu_poll_for(limit_ms);

	while (gpu_come_up(g, err) < 0) {
		if (err->kind != ERR_DEVICE)
			return -1;
		if (gpu_stopped(g))
			return err_set(err, ERR_INTERRUPTED,
				       "stopped while it came back from the reset");
		if (!gpu_poll_again(&poll))
			return -1;
		err_clear(err);
	}
	return 0;
}

int gpu_reset(struct gpu *g, bool *was_reset, struct err *err)
{
	struct pci_power again;

	*was_reset = false;
	if (!g->chip->family)
		return err_set(err, ERR_UNSUPPORTED, "%s has no mode that a reset could change",
			       g->chip->name);
	if (gpu_stopped(g))
		return err_set(err, ERR_INTERRUPTED, "stopped before the reset");
	mark(g);
	g->rpc_open = false;
	if (pci_reset(g->pci, err) < 0)
		return -1;
	*was_reset = true;
	gpu_note(g, LOG_DEBUG, "reset done");
	/* The kernel may have left it in another power state; what to put back is known already. */
	if (pci_power_on(g->pci, &again, err) < 0 || come_up_within(g, SANITY_MS, err) < 0)
		return err_wrap(err, "after the reset");
	marks_note(g);
	return 0;
}

static const char *pair_text(struct gpu_pair p, char out[48])
{
	if (p.cc == GPU_CC_UNSUPPORTED)
		snprintf(out, 48, "PPCIe %s", gpu_ppcie_names[p.ppcie]);
	else if (p.ppcie == GPU_PPCIE_UNSUPPORTED)
		snprintf(out, 48, "CC %s", gpu_cc_names[p.cc]);
	else
		snprintf(out, 48, "CC %s, PPCIe %s", gpu_cc_names[p.cc], gpu_ppcie_names[p.ppcie]);
	return out;
}

int gpu_verify(struct gpu *g, enum gpu_mode mode, struct gpu_pair *out, struct err *err)
{
	struct gpu_dev as_read = *g->dev;
	struct gpu_pair want;
	char have_text[48], want_text[48];

	if (gpu_query(g, out, err) < 0)
		return -1;
	as_read.chip = g->chip;
	as_read.cc_capable = g->chip->cc;
	as_read.ppcie_capable = g->chip->ppcie;
	want = gpu_wanted(&as_read, mode);
	if (gpu_pair_equal(*out, want))
		return 0;
	gpu_dump(g);
	return err_set(err, ERR_DEVICE, "the mode did not change: (%s) is in force, (%s) is wanted",
		       pair_text(*out, have_text), pair_text(want, want_text));
}
