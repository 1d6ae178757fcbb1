/* SPDX-License-Identifier: Apache-2.0 */
/* gb100 - registers of Blackwell data-centre GPUs: gb100, gb102, gb110, gb112 (B200, GB200).  BAR0,
 * 32 bit.  gb202 shares all but the boot status. */
#pragma once
#include "gpu/reg.h"

#define GB100_BAR0_BYTES	  0x1000000

#define GB100_MODE		  0x000590 /* RO, latched at reset */
#define   GB100_MODE_CC		  BITS(1, 0)
#define   GB100_MODE_FIREWALL	  BIT(2)
#define   GB100_MODE_NVLINK_CRYPT BIT(6)
#define GB100_BOOT_STATUS	  0x0200bc
#define   GB100_BOOT_DONE	  0x000000ff
#define GB100_RECOVERY		  0x8aa128
#define   GB100_RECOVERY_STATE	  BITS(7, 0) /* 0 and 1: none */
#define     GB100_RECOVERY_NONE	  1

/* Configuration space: DVSEC of vendor 10de with id 0 */
#define GB100_DVSEC_ID		  0
#define GB100_DVSEC_FIREWALL	  0x08     /* offset in the capability */
#define   GB100_FIREWALL_UP	  BIT(20)  /* BAR0 must not be read while set */
#define GB100_DVSEC_FAULT	  0x14     /* code of a security fault */
