/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics - /metrics for Prometheus, /healthz and /readyz for the kubelet, served by the event loop.
 *
 * One request per connection, at most METRICS_MAX_CONNECTIONS at a time, each with a deadline; what is
 * longer than METRICS_MAX_REQUEST or slower is dropped.
 *
 *	listen.c    sockets and HTTP, as much of it as that takes
 *	metrics.c   the answers
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"

#define METRICS_MAX_CONNECTIONS 8
#define METRICS_MAX_REQUEST	4096
#define METRICS_MAX_ANSWER	(256 << 10)
#define METRICS_N_BUCKETS	10

struct app;
struct metrics;

struct connection {
	struct metrics *metrics;
	int fd; /* -1: free */
	struct source *io, *deadline;
	char request[METRICS_MAX_REQUEST];
	size_t n;
	struct buf answer;
	size_t sent;
};

struct metrics {
	struct app *app;
	int fd; /* -1: off, or not yet */
	struct source *listener, *again;
	struct connection *connection; /* METRICS_MAX_CONNECTIONS of them; NULL: off */

	uint64_t switches_ok, switches_failed;
	uint64_t seconds_bucket[METRICS_N_BUCKETS];
	double seconds_sum;
};

/* Address off: nothing.  An address that is taken is tried again: the instance before us may have it. */
int metrics_start(struct app *app, struct err *err) MUST_CHECK;
void metrics_stop(struct app *app);

void metrics_count_switch(struct metrics *m, bool ok, uint64_t took_ms);

/* metrics.c: the status code, and the body into `out`. */
int metrics_answer(const struct app *app, const char *path, struct buf *out, struct err *err);
