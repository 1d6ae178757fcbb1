/* SPDX-License-Identifier: Apache-2.0 */
/* internal - what the files of gpu share: checked reads, polls, notes. */
#pragma once
#include "gpu/chip.h"
#include "gpu/gpu.h"
#include "gpu/reg.h"

void gpu_note(const struct gpu *g, enum log_level level, const char *fmt, ...) PRINTF(3, 4);
bool gpu_stopped(const struct gpu *g);

/* A register whose value matters: 0xbadf.... and all ones are ERR_DEVICE. */
int gpu_rd(struct gpu *g, uint32_t off, const char *name, uint32_t *out, struct err *err) MUST_CHECK;

/* Logs the registers that tell why a device is stuck. */
void gpu_dump(struct gpu *g);

/* Reads at once, then after 1 ms, 2 ms, ... 10 ms, until `until_ms` on the clock has gone by. */
struct gpu_poll {
	uint64_t until_ms, pause_ms, most_ms;
};
struct gpu_poll gpu_poll_for(uint64_t limit_ms);
/* False when time is up; else sleeps and says true: read again.  The last read comes after the end. */
bool gpu_poll_again(struct gpu_poll *p);

/* BAR firewall (where there is one) down, PMC_BOOT_0 sane: at open and after a reset. */
int gpu_come_up(struct gpu *g, struct err *err) MUST_CHECK;
int gpu_wait_boot(struct gpu *g, struct err *err) MUST_CHECK;
/* The register alone, decoded. */
int gpu_active_read(struct gpu *g, struct gpu_pair *out, struct err *err) MUST_CHECK;
