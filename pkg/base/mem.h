/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem - the heap of a daemon that mostly waits.
 *
 * mem_lean() is for main(), before anything else: what is large goes back to the kernel when it is
 * freed, instead of staying as holes.  mem_give_back() is for moments after which we wait.
 */
#pragma once

void mem_lean(void);
void mem_give_back(void);
