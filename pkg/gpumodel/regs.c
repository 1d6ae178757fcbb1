/* SPDX-License-Identifier: Apache-2.0 */
/* regs - the table of BAR0 registers by chip, and what the plain ones answer. */
#include "gpumodel/internal.h"

#define A_HOP ARCH_HOPPER
#define A_BW  ARCH_BLACKWELL
#define A_LS  ARCH_LS10

static const struct reg regs[] = {
	{ 0x000000, 1, 4, ARCH_ANY, REG_BOOT_ID, 0, "PMC_BOOT_0" },
	{ 0x0200bc, 1, 4, A_HOP | ARCH_GB100, REG_BOOT_DONE, 0, "BOOT_COMPLETE" },
	{ 0xad00bc, 1, 4, ARCH_GB202, REG_BOOT_DONE, 0, "BOOT_COMPLETE" },
	{ 0x0660bc, 1, 4, A_LS, REG_BOOT_DONE, 0, "BOOT_COMPLETE" },
	{ 0x1182cc, 1, 4, A_HOP, REG_MODE, 0, "CC_MODE" },
	{ 0x000590, 1, 4, A_BW, REG_MODE, 0, "CC_MODE" },
	{ 0x028c50, 1, 4, A_LS, REG_MODE, 0, "PPCIE_MODE" },
	{ 0x020120, 1, 4, A_HOP, REG_BOOT_FLAGS, 0, "BOOT_FLAGS" },
	{ 0x066120, 1, 4, A_LS, REG_BOOT_FLAGS, 0, "BOOT_FLAGS" },
	{ 0x020120, 1, 4, ARCH_GB100, REG_CONST, 0, "BOOT_FLAGS" },
	{ 0xad0120, 1, 4, ARCH_GB202, REG_CONST, 0, "BOOT_FLAGS" },
	{ 0x8aa128, 1, 4, A_BW, REG_RECOVERY, 0, "RECOVERY" },
	{ 0x12004c, 1, 4, A_HOP, REG_PRIV_A, 0, "PRIV_RING_COMMAND" },
	{ 0x122204, 1, 4, A_HOP, REG_PRIV_B, 0, "PRIV_RING_MASTER" },
	{ 0x0224fc, 1, 4, A_HOP | A_BW, REG_CONST, 0x00330992, "TOP_DEVICE_INFO_CFG" },
	{ 0x022800, 64, 4, A_HOP | A_BW, REG_DISCOVERY, 0, "TOP_DEVICE_INFO" },
	{ 0x8f012c, 1, 4, ARCH_FSP, REG_CONST, 0x00001100, "FSP_MEM_PORTS" },
	{ 0x8f0278, 1, 4, ARCH_FSP, REG_CONST, 0x02000300, "FSP_MEM_SIZE" },
	{ 0x8f0abc, 1, 4, ARCH_FSP, REG_CONST, 0x00000020, "FSP_EMEM_SIZE" },
	{ 0x8f0320, 4, 4, ARCH_FSP, REG_CONST, 0, "FSP_STATUS" },
	{ 0x001400, 64, 4, A_HOP | A_BW, REG_SCRATCH, 0, "SCRATCH" },
	{ 0x0284e0, 16, 4, A_LS, REG_SWITCH_SCRATCH, 0, "SCRATCH" },
	{ 0x00dfe0, 1, 4, A_LS, REG_FLR_MARK, 0, "FLR_SCRATCH" },
	{ 0x091288, 1, 4, A_HOP | A_LS, REG_SBR_MARK, 0, "SBR_SCRATCH" },
	{ 0x09128c, 1, 4, A_HOP, REG_LAST_RESET, 0, "LAST_RESET" },
	{ 0x091238, 1, 4, A_HOP, REG_COUPLING, 0, "RESET_COUPLING" },
	{ 0x092de0, 3, 4, A_HOP, REG_CONST, 0, "PRC_STATUS" },
	{ 0x092dc0, 1, 4, A_HOP, REG_CONST, 0, "PRC_COLD" },
	{ 0x8f2c00, EMEM_CHANNELS, 8, ARCH_EMEM, REG_CMD_HEAD, 0, "FSP_CMD_HEAD" },
	{ 0x8f2c04, EMEM_CHANNELS, 8, ARCH_EMEM, REG_CMD_TAIL, 0, "FSP_CMD_TAIL" },
	{ 0x8f2c80, EMEM_CHANNELS, 8, ARCH_EMEM, REG_MSG_HEAD, 0, "FSP_MSG_HEAD" },
	{ 0x8f2c84, EMEM_CHANNELS, 8, ARCH_EMEM, REG_MSG_TAIL, 0, "FSP_MSG_TAIL" },
	{ 0x8f2ac0, EMEM_CHANNELS, 8, ARCH_EMEM, REG_EMEMC, 0, "FSP_EMEMC" },
	{ 0x8f2ac4, EMEM_CHANNELS, 8, ARCH_EMEM, REG_EMEMD, 0, "FSP_EMEMD" },
	{ 0x8f1f84, MNOC_PORTS, 12, A_BW, REG_MNOC_IN_INFO, 0, "MNOC_RX_INFO" },
	{ 0x8f1f88, MNOC_PORTS, 12, A_BW, REG_MNOC_IN_DATA, 0, "MNOC_RX_DATA" },
	{ 0x8f1f04, MNOC_PORTS, 12, A_BW, REG_MNOC_OUT_INFO, 0, "MNOC_TX_INFO" },
	{ 0x8f1f08, MNOC_PORTS, 12, A_BW, REG_MNOC_OUT_DATA, 0, "MNOC_TX_DATA" },
};

const struct reg *reg_find(enum arch arch, uint32_t offset, unsigned *index)
{
	for (size_t i = 0; i < ARRAY_LEN(regs); i++) {
		const struct reg *r = &regs[i];

		if (!(r->arch & arch) || offset < r->offset || (offset - r->offset) % r->stride ||
		    (offset - r->offset) / r->stride >= r->n)
			continue;
		*index = (offset - r->offset) / r->stride;
		return r;
	}
	return NULL;
}

/* The active mode, which reads zero until the chip has booted.  A client that read it after it
 * staged another one, with no reset in between, is about to report what is not so. */
static uint32_t mode_read(struct gpumodel *m, struct device *d)
{
	uint32_t cc = d->cc_active, ppcie = d->ppcie_active;

	if (d->staged_here)
		violation(m, d, V_TRUST,
			  "active mode read between staging another one and the reset");
	if (!device_booted(m, d)) {
		if (!(d->part->arch & ARCH_BLACKWELL))
			violation(m, d, V_OTHER, "active mode read before boot is complete");
		return 0;
	}
	if (d->part->arch & ARCH_LS10)
		return ppcie;
	if (d->part->arch & ARCH_BLACKWELL)
		return cc | (d->firewall_active ? BIT(2) : 0);
	if (!d->priv_ring)
		violation(m, d, V_PRIV_RING,
			  "active mode read before the priv ring was initialised");
	return cc | ppcie << 5;
}

uint32_t reg_read(struct gpumodel *m, struct device *d, const struct reg *reg, unsigned index)
{
	bool recovery = fault_on(m, d, FAULT_RECOVERY, -1, -1, NULL);

	switch ((enum reg_id)reg->id) {
	case REG_BOOT_ID:
		return d->part->boot_id;
	case REG_BOOT_DONE:
		return device_booted(m, d) ? 0xff : 0;
	case REG_MODE:
		return mode_read(m, d);
	case REG_BOOT_FLAGS:
		return recovery ? BIT(30) : 0;
	case REG_RECOVERY:
		return recovery ? 2 : 1;
	case REG_CONST:
		return reg->value;
	case REG_SCRATCH:
		return d->scratch[index];
	case REG_SWITCH_SCRATCH:
		return d->switch_scratch[index];
	case REG_FLR_MARK:
		return d->flr_mark;
	case REG_SBR_MARK:
		return d->sbr_mark;
	case REG_LAST_RESET:
		return d->last_reset;
	case REG_COUPLING:
		return d->coupled;
	case REG_CMD_HEAD:
	case REG_CMD_TAIL:
	case REG_MSG_HEAD:
	case REG_MSG_TAIL:
	case REG_EMEMC:
	case REG_EMEMD:
		return emem_read(m, d, reg->id, index);
	case REG_MNOC_IN_INFO:
	case REG_MNOC_IN_DATA:
	case REG_MNOC_OUT_INFO:
	case REG_MNOC_OUT_DATA:
		return mnoc_read(m, d, reg->id, index);
	case REG_DISCOVERY: /* an empty list of units */
	case REG_PRIV_A:
	case REG_PRIV_B:
	case REG_NONE:
	case REG_N:
		break;
	}
	return 0;
}

static void priv_ring_write(struct device *d, enum reg_id id, uint32_t value)
{
	if (id == REG_PRIV_A && value == 4)
		d->priv_ring = 1;
	else if (id == REG_PRIV_B && value == 2 && d->priv_ring)
		d->priv_ring = 2;
}

void reg_write(struct gpumodel *m, struct device *d, const struct reg *reg, unsigned index,
	       uint32_t value)
{
	switch ((enum reg_id)reg->id) {
	case REG_PRIV_A:
	case REG_PRIV_B:
		priv_ring_write(d, reg->id, value);
		break;
	case REG_SCRATCH:
		d->scratch[index] = value;
		break;
	case REG_SWITCH_SCRATCH:
		d->switch_scratch[index] = value;
		break;
	case REG_FLR_MARK:
		d->flr_mark = value;
		break;
	case REG_SBR_MARK:
		d->sbr_mark = value;
		break;
	case REG_CMD_HEAD:
	case REG_CMD_TAIL:
	case REG_MSG_HEAD:
	case REG_MSG_TAIL:
	case REG_EMEMC:
	case REG_EMEMD:
		emem_write(m, d, reg->id, index, value);
		break;
	case REG_MNOC_IN_INFO:
	case REG_MNOC_IN_DATA:
	case REG_MNOC_OUT_INFO:
	case REG_MNOC_OUT_DATA:
		mnoc_write(m, d, reg->id, index, value);
		break;
	default:
		violation(m, d, V_OFFSET, "write of 0x%x to %s, which is read-only", value,
			  reg->name);
	}
}
