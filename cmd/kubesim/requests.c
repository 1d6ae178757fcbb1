/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was asked: one JSON line per request, in a file and in memory for `kubesim ctl requests`.
 */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

int requests_open(struct requests *r, const char *path, struct err *err)
{
	r->fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
	return path && r->fd < 0 ? err_errno(err, "%s", path) : 0;
}

void requests_reset(struct requests *r)
{
	for (size_t i = 0; i < SIM_MAX_REQUESTS; i++) {
		free(r->line[i]);
		r->line[i] = NULL;
	}
	r->n_lines = r->count = r->bytes_in = r->bytes_out = 0;
}

void requests_close(struct requests *r)
{
	requests_reset(r);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

/* A line that cannot be written to the file is still in memory; a full disk stops no test. */
void requests_add(struct requests *r, uint64_t number, const char *verb, const char *target,
		  int code, size_t bytes, const char *agent, const char *fault)
{
	char time[CLOCK_RFC3339_SIZE];
	json_t *j = json_pack("{s:s, s:I, s:s, s:s, s:i, s:I, s:s}", "time", clock_rfc3339_us(time),
			      "n", (json_int_t)number, "verb", verb, "path", target, "status", code,
			      "bytes", (json_int_t)bytes, "agent", agent);
	char *line, **place = &r->line[r->n_lines % SIM_MAX_REQUESTS];

	if (j && fault)
		json_object_set_new(j, "fault", json_string(fault));
	line = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	if (!line)
		return;
	if (r->fd >= 0 && dprintf(r->fd, "%s\n", line) < 0) {
		close(r->fd);
		r->fd = -1;
		fprintf(stderr, "kubesim: the request log: %s; no more of it\n", strerror(errno));
	}
	free(*place);
	*place = line;
	r->n_lines++;
}

int requests_print(const struct sim *s, struct buf *out, struct err *err)
{
	const struct requests *r = &s->requests;
	uint64_t i = r->n_lines > SIM_MAX_REQUESTS ? r->n_lines - SIM_MAX_REQUESTS : 0;

	if (buf_addf(out, err,
		     "{\"count\":%llu,\"bytesIn\":%llu,\"bytesOut\":%llu,\"connections\":%zu,"
		     "\"items\":[",
		     (unsigned long long)r->count, (unsigned long long)r->bytes_in,
		     (unsigned long long)r->bytes_out, s->n_conns) < 0)
		return -1;
	for (bool first = true; i < r->n_lines; i++, first = false)
		if (buf_adds(out, first ? "" : ",", err) < 0 ||
		    buf_adds(out, r->line[i % SIM_MAX_REQUESTS], err) < 0)
			return -1;
	return buf_adds(out, "]}\n", err);
}
