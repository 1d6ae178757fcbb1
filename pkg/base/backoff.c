/* SPDX-License-Identifier: Apache-2.0 */
/* backoff - doubling pauses with jitter. */
#include "base/backoff.h"

#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

uint64_t jitter_below(uint64_t n)
{
	uint64_t v;

	if (n == 0)
		return 0;
	if (getrandom(&v, sizeof(v), GRND_NONBLOCK) != (ssize_t)sizeof(v))
		v = (now_us() ^ (uint64_t)getpid() << 32) * UINT64_C(0x9e3779b97f4a7c15);
	return v % n;
}

uint64_t backoff_next_ms(struct backoff *b)
{
	uint64_t pause = b->base_ms;

	for (unsigned i = 0; i < b->tries && pause < b->cap_ms; i++)
		pause *= 2;
	if (pause > b->cap_ms)
		pause = b->cap_ms;
	if (b->tries < UINT32_MAX)
		b->tries++;
	return pause - jitter_below(pause / 2 + 1);
}

void backoff_reset(struct backoff *b)
{
	b->tries = 0;
}
