/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open - what must hold before a register means anything: power, configuration space, memory
 * decoding, Blackwell's BAR firewall, PMC_BOOT_0, Hopper's priv ring.
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "base/clock.h"
#include "gpu/fsp.h"
#include "gpu/gb100.h"
#include "gpu/gh100.h"
#include "gpu/internal.h"

#define CFG_PROBE      0xf0 /* an offset that hypervisors hardly fake */
#define FIREWALL_MS    5000
#define NO_FIREWALL_MS 3000 /* without the capability: one long breath */
#define SANITY_MS      1000 /* after a reset a device may answer badf for a while */

static int cfg_sane(struct gpu *g, struct err *err)
{
	uint8_t caps;
	uint16_t probe;

	if (pci_cfg_read8(g->pci, PCI_CAPABILITY_LIST, &caps, err) < 0)
		return -1;
	if (caps == 0xff)
		return err_set(err, ERR_DEVICE, "device lost: configuration space reads all ones");
	if (g->pci->cfg_bytes < PCI_CFG_SPACE_SIZE)
		return err_set(err, ERR_DENIED,
			       "only %zu bytes of configuration space can be seen: "
			       "root is needed",
			       g->pci->cfg_bytes);
	if (pci_cfg_read16(g->pci, CFG_PROBE, &probe, err) < 0)
		return -1;
	if (probe == 0xffff)
		return err_set(err, ERR_DEVICE,
			       "device lost: configuration offset 0x%x reads all ones", CFG_PROBE);
	return 0;
}

static int memory_on(struct gpu *g, struct err *err)
{
	uint16_t command;

	if (pci_cfg_read16(g->pci, PCI_COMMAND, &command, err) < 0)
		return -1;
	if (command & PCI_COMMAND_MEMORY)
		return 0;
	return pci_cfg_write16(g->pci, PCI_COMMAND, command | PCI_COMMAND_MEMORY, err);
}

/* Without the capability one can only wait and see. */
static int no_firewall_capability(struct gpu *g)
{
	if (pci_rd32(g->pci, PMC_BOOT_0) == REG_ALL_ONES)
		clock_sleep_ms(NO_FIREWALL_MS);
	return 0;
}

static int firewall_down(struct gpu *g, struct err *err)
{
	struct gpu_poll poll = gpu_poll_for(FIREWALL_MS);
	unsigned cap;
	uint32_t v;

	if (pci_dvsec_find(g->pci, PCI_VENDOR_NVIDIA, GB100_DVSEC_ID, &cap, err) < 0)
		return -1;
	if (!cap)
		return no_firewall_capability(g);
	for (;;) {
		if (pci_cfg_read32(g->pci, cap + GB100_DVSEC_FIREWALL, &v, err) < 0)
			return -1;
		if (!(v & GB100_FIREWALL_UP))
			return 0;
		if (gpu_stopped(g))
			return err_set(err, ERR_INTERRUPTED,
				       "stopped while the BAR firewall was up");
		if (!gpu_poll_again(&poll))
			return err_set(err, ERR_TIMEOUT,
				       "BAR firewall still up after %d s: configuration "
				       "0x%03x reads 0x%08x",
				       FIREWALL_MS / 1000, cap + GB100_DVSEC_FIREWALL, v);
	}
}

static uint32_t fault_code(struct gpu *g)
{
	const struct gpu_family *f = g->chip->family;
	struct err ignored = ERR_INIT;
	unsigned cap = 0;
	uint32_t code = 0;

	if (f->fault_dvsec &&
	    (pci_dvsec_find(g->pci, PCI_VENDOR_NVIDIA, GB100_DVSEC_ID, &cap, &ignored) < 0 || !cap))
		return 0;
	if (pci_cfg_read32(g->pci, f->fault_dvsec ? cap + f->fault_dvsec : f->fault_cfg, &code,
			   &ignored) < 0)
		return 0;
	return code;
}

/* All ones: say whether the device is gone, or its BAR is. */
static int boot0_lost(struct gpu *g, struct err *err)
{
	uint32_t bar = 0;

	if (pci_cfg_read32(g->pci, PCI_BASE_ADDRESS_0, &bar, err) < 0)
		return err_wrap(err, "device lost: PMC_BOOT_0 reads all ones");
	if (bar == 0 || bar == UINT32_MAX)
		return err_set(err, ERR_DEVICE,
			       "device lost: BAR0 holds 0x%08x, PMC_BOOT_0 reads all ones", bar);
	return err_set(err, ERR_DEVICE, "device lost: PMC_BOOT_0 (0x%06x) reads all ones",
		       PMC_BOOT_0);
}

static int boot0_sane(struct gpu *g, struct err *err)
{
	uint32_t v = g->boot0;

	if (v == REG_ALL_ONES)
		return boot0_lost(g, err);
	if (v == PMC_BOOT_0_SEC_FAULT || v == PMC_BOOT_0_SEC_FAULT_2)
		return err_set(err, ERR_DEVICE,
			       "security fault: PMC_BOOT_0 reads 0x%08x, fault code 0x%08x", v,
			       g->chip && g->chip->family ? fault_code(g) : 0);
	if (reg_is_bad(v))
		return err_set(err, ERR_DEVICE, "PMC_BOOT_0 (0x%06x) cannot be read: 0x%08x",
			       PMC_BOOT_0, v);
	if (v == 0)
		return err_set(err, ERR_DEVICE,
			       "in recovery mode: PMC_BOOT_0 reads 0; its firmware did not start");
	return 0;
}

/* What the device is, once PMC_BOOT_0 can be read. */
static int chip_known(struct gpu *g, struct err *err)
{
	if (g->dev->kind == GPU_KIND_NVSWITCH) {
		g->chip = gpu_chip_of_switch(g->boot0);
		if (!g->chip)
			return err_set(err, ERR_UNSUPPORTED,
				       "no NVSwitch that we know: PMC_BOOT_0 reads 0x%08x",
				       g->boot0);
		return 0;
	}
	if (!g->chip)
		g->chip = gpu_chip_of_chipset(g->boot0);
	if (!g->chip)
		return err_set(err, ERR_UNSUPPORTED,
			       "no chip with CC modes that we know: PMC_BOOT_0 reads 0x%08x",
			       g->boot0);
	return 0;
}

static int in_recovery(struct gpu *g, struct err *err)
{
	const struct gpu_family *f = g->chip->family;
	uint32_t v = pci_rd32(g->pci, f->recovery);

	if (v == REG_ALL_ONES)
		return err_set(err, ERR_DEVICE, "device lost: 0x%06x reads all ones", f->recovery);
	if (reg_is_bad(v)) /* tolerated: the register is not readable on all boards */
		return 0;
	if ((v & f->recovery_bit) || FIELD_GET(f->recovery_field ? f->recovery_field : 1u,
					       f->recovery_field ? v : 0) > f->recovery_none)
		return err_set(err, ERR_DEVICE,
			       "in recovery mode: 0x%06x reads 0x%08x; its firmware did not start",
			       f->recovery, v);
	return 0;
}

static void priv_ring_start(struct gpu *g)
{
	pci_wr32(g->pci, GH100_PRIV_RING_COMMAND, GH100_PRIV_RING_START);
	pci_wr32(g->pci, GH100_PRIV_RING_SYSTEM, GH100_PRIV_RING_DECODE);
}

int gpu_come_up(struct gpu *g, struct err *err)
{
	if (memory_on(g, err) < 0)
		return -1;
	if (g->chip && g->chip->family && g->chip->family->bar_firewall &&
	    firewall_down(g, err) < 0)
		return -1;
	g->boot0 = pci_rd32(g->pci, PMC_BOOT_0);
	if (boot0_sane(g, err) < 0 || chip_known(g, err) < 0)
		return -1;
	if (!g->chip->family)
		return 0;
	if (g->chip->family->priv_ring)
		priv_ring_start(g);
	return in_recovery(g, err);
}

static int reach(struct gpu *g, struct err *err)
{
	size_t need = g->chip && g->chip->family ? g->chip->family->bar0_bytes : 4;

	if (g->pci->bar0_bytes < need)
		return err_set(err, ERR_DEVICE, "BAR0 has %zu bytes, %zu are needed",
			       g->pci->bar0_bytes, need);
	return 0;
}

int gpu_open(struct gpu *g, const struct gpu_dev *dev, struct pci_device *pci,
	     const struct gpu_env *env, struct err *err)
{
	*g = (struct gpu){ .dev = dev, .env = env, .pci = pci, .chip = dev->chip };
	if (pci_power_on(pci, &g->power, err) < 0)
		return err_wrap(err, "waking it up");
	if (*g->power.control)
		gpu_note(g, LOG_DEBUG, "power/control was %s, is on while we use it",
			 g->power.control);
	if (cfg_sane(g, err) < 0 || pci_bar0_map(pci, err) < 0 || reach(g, err) < 0 ||
	    gpu_come_up(g, err) < 0 || reach(g, err) < 0) {
		gpu_close(g);
		return -1;
	}
	return 0;
}

void gpu_close(struct gpu *g)
{
	struct err err = ERR_INIT;

	if (g->pci && g->pci->ops && pci_power_restore(g->pci, &g->power, &err) < 0)
		gpu_note(g, LOG_WARN, "power/control stays on: %s", err_text(&err));
	g->power = (struct pci_power){ 0 };
}
