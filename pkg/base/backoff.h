/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backoff - how long to wait before the next try: doubling from base to cap, each pause drawn
 * between half of it and all of it, so that a cluster's agents do not come back in step.
 */
#pragma once
#include <stdint.h>

struct backoff {
	uint64_t base_ms, cap_ms;
	unsigned tries; /* failures since the last success */
};

uint64_t backoff_next_ms(struct backoff *b); /* counts one failure, returns the pause */
void backoff_reset(struct backoff *b);	     /* it worked */

/* A number in [0, n): for jitter, not for secrets. */
uint64_t jitter_below(uint64_t n);
