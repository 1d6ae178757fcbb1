/* SPDX-License-Identifier: Apache-2.0 */
/* gb202 - registers of Blackwell workstation GPUs (gb202 to gb207) that differ from gb100.  BAR0, 32 bit. */
#pragma once
#include "gpu/gb100.h"

#define GB202_BOOT_STATUS 0xad00bc
#define   GB202_BOOT_DONE 0x000000ff
