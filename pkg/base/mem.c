/* SPDX-License-Identifier: Apache-2.0 */
/* mem - glibc's knobs; elsewhere there are none to turn. */
#include "base/mem.h"

#include <malloc.h>

void mem_lean(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 16 << 10); /* c-ares takes 72 KiB for each request and gives it back */
	mallopt(M_TRIM_THRESHOLD, 32 << 10);
	mallopt(M_TOP_PAD, 16 << 10);
#endif
}

void mem_give_back(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
