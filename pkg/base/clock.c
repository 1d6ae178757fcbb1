/* SPDX-License-Identifier: Apache-2.0 */
/* clock - the only reader of the system's clocks. */
#include "base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static bool fake;
static uint64_t fake_us;

uint64_t now_us(void)
{
	struct timespec t;

	if (fake)
		return fake_us;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t now_ms(void)
{
	return now_us() / 1000;
}

void clock_sleep_ms(uint64_t ms)
{
	struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	if (fake) {
		fake_us += ms * 1000;
		return;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

static const char *rfc3339(char out[CLOCK_RFC3339_SIZE], int digits)
{
	static const long unit[] = {[0] = 1, [3] = 1000000, [6] = 1000};
	struct timespec t;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	if (digits)
		snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%0*ldZ", digits, t.tv_nsec / unit[digits]);
	else
		snprintf(out + n, CLOCK_RFC3339_SIZE - n, "Z");
	return out;
}

const char *clock_rfc3339(char out[CLOCK_RFC3339_SIZE])
{
	return rfc3339(out, 0);
}

const char *clock_rfc3339_ms(char out[CLOCK_RFC3339_SIZE])
{
	return rfc3339(out, 3);
}

const char *clock_rfc3339_us(char out[CLOCK_RFC3339_SIZE])
{
	return rfc3339(out, 6);
}

void clock_fake_set_us(uint64_t us)
{
	fake = true;
	fake_us = us;
}

void clock_fake_off(void)
{
	fake = false;
}
