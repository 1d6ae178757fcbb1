/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - one monotonic clock for every deadline, one wall clock for people.
 *
 * now_ms() is CLOCK_MONOTONIC in milliseconds.  Tests put another clock in its place; sleeping then
 * moves that clock and returns at once.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

uint64_t now_ms(void);
uint64_t now_us(void);
void clock_sleep_ms(uint64_t ms); /* for child processes only; the event loop never sleeps */

/* Wall clock, UTC: "2026-11-20T21:04:05.678Z" (RFC 3339), to the second without ms. */
#define CLOCK_RFC3339_SIZE 32
const char *clock_rfc3339(char out[CLOCK_RFC3339_SIZE]);
const char *clock_rfc3339_ms(char out[CLOCK_RFC3339_SIZE]);
const char *clock_rfc3339_us(char out[CLOCK_RFC3339_SIZE]); /* Kubernetes' MicroTime */

/* For tests: from now on the clock stands at `us` and only clock_sleep_ms() and this move it. */
void clock_fake_set_us(uint64_t us);
void clock_fake_off(void);
