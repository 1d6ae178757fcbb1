/* SPDX-License-Identifier: Apache-2.0 */
/* gh100 - registers of Hopper GPUs (H100, H200, H800, H20, GH200).  BAR0, 32 bit. */
#pragma once
#include "gpu/reg.h"

#define GH100_BAR0_BYTES	 0x1000000

#define GH100_FLR_MARK		 0x001458   /* scratch, lost by FLR */
#define GH100_BOOT_FLAGS	 0x020120
#define   GH100_BOOT_FLAGS_RECOVERY BIT(30)
#define GH100_BOOT_STATUS	 0x0200bc
#define   GH100_BOOT_DONE	 0x000000ff /* whole dword */
#define GH100_SBR_MARK		 0x091288   /* scratch, lost by SBR, kept by FLR */
#define GH100_LAST_RESET	 0x09128c
#define GH100_PRC_COLD		 0x092dc0
#define GH100_PRC_0		 0x092de0   /* three of them */
#define GH100_MODE		 0x1182cc   /* RO, latched at reset */
#define   GH100_MODE_CC		 BITS(1, 0)
#define   GH100_MODE_PPCIE	 BIT(5)
#define GH100_PRIV_RING_COMMAND	 0x12004c
#define   GH100_PRIV_RING_START	 0x4
#define GH100_PRIV_RING_SYSTEM	 0x122204
#define   GH100_PRIV_RING_DECODE 0x2
