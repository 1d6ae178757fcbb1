/* SPDX-License-Identifier: Apache-2.0 */
/* query - boot complete, and the active pair that reset latched. */
#include "base/clock.h"
#include "gpu/internal.h"

static int boot_timeout(struct gpu *g, uint32_t v, struct err *err)
{
	const struct gpu_family *f = g->chip->family;

	gpu_dump(g);
	if (v == REG_ALL_ONES)
		return err_set(err, ERR_DEVICE,
			       "device lost: boot status (0x%06x) reads all ones for %llu s",
			       f->boot_status, (unsigned long long)f->boot_ms / 1000);
	return err_set(err, ERR_TIMEOUT,
		       "boot not complete after %llu s: 0x%06x reads 0x%08x, 0x%08x is due",
		       (unsigned long long)f->boot_ms / 1000, f->boot_status, v, f->boot_done);
}

/* A device that wakes up may answer 0xbadf.... or all ones for a while: both count as "not yet". */
int gpu_wait_boot(struct gpu *g, struct err *err)
{
	const struct gpu_family *f = g->chip->family;
	struct gpu_poll poll = gpu_poll_for(f->boot_ms);
	uint64_t start_ms = now_ms();
	uint32_t v;

	while ((v = pci_rd32(g->pci, f->boot_status)) != f->boot_done) {
		if (gpu_stopped(g))
			return err_set(err, ERR_INTERRUPTED, "stopped while it was booting");
		if (!gpu_poll_again(&poll))
			return boot_timeout(g, v, err);
	}
	if (now_ms() > start_ms)
		gpu_note(g, LOG_DEBUG, "booted after %llu ms",
			 (unsigned long long)(now_ms() - start_ms));
	return 0;
}

static enum gpu_cc cc_of(uint32_t field)
{
	static const enum gpu_cc of[] = { GPU_CC_OFF, GPU_CC_ON, GPU_CC_INVALID, GPU_CC_DEVTOOLS };

	return of[field & 3];
}

int gpu_active_read(struct gpu *g, struct gpu_pair *out, struct err *err)
{
	const struct gpu_family *f = g->chip->family;
	uint32_t v;

	if (gpu_rd(g, f->mode, "mode register", &v, err) < 0)
		return -1;
	out->cc = f->mode_cc ? cc_of(FIELD_GET(f->mode_cc, v)) : GPU_CC_UNSUPPORTED;
	out->ppcie = !f->mode_ppcie	   ? GPU_PPCIE_UNSUPPORTED
		     : (v & f->mode_ppcie) ? GPU_PPCIE_ON
					   : GPU_PPCIE_OFF;
	return 0;
}

int gpu_query(struct gpu *g, struct gpu_pair *out, struct err *err)
{
	*out = (struct gpu_pair){ GPU_CC_UNKNOWN, GPU_PPCIE_UNKNOWN };
	if (!g->chip->family) {
		*out = (struct gpu_pair){ GPU_CC_UNSUPPORTED, GPU_PPCIE_UNSUPPORTED };
		return 0;
	}
	if (gpu_wait_boot(g, err) < 0)
		return -1;
	return gpu_active_read(g, out, err);
}
