/* SPDX-License-Identifier: Apache-2.0 */
/* ls10 - registers of the third generation NVSwitch; LR10 before it has no modes.  BAR0, 32 bit. */
#pragma once
#include "gpu/reg.h"

#define LS10_BAR0_BYTES		0x2000000

#define LS10_FLR_MARK		0x00dfe0
#define LS10_SCRATCH		0x0284e0 /* 16 of them */
#define LS10_MODE		0x028c50 /* RO, latched at reset */
#define   LS10_MODE_PPCIE	BIT(0)
#define LS10_BOOT_STATUS	0x0660bc
#define   LS10_BOOT_DONE	0x000000ff
#define LS10_BOOT_FLAGS		0x066120
#define   LS10_BOOT_FLAGS_RECOVERY BIT(30)
#define LS10_SBR_MARK		0x091288

#define LS10_PMC_BOOT_0		0x007000a1
#define LR10_PMC_BOOT_0		0x006000a1
