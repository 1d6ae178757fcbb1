/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - the blocking HTTP client behind `kubesim ctl`; it talks to kubesim and nothing else.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define CLIENT_TIMEOUT_MS 30000

/* One request on a connection of its own.  ERR_NOT_FOUND for 404, else ERR_INVALID with the
 * server's message for any other refusal. */
int client_request(const char *server, const char *method, const char *target,
		   const char *content_type, const char *body, struct buf *out,
		   struct err *err) MUST_CHECK;

/* Called for each line of a watch; 0 goes on, 1 ends it. */
typedef int client_on_line(const char *line, void *arg);
/* ERR_TIMEOUT when `deadline_ms` passes, ERR_TRANSIENT when the stream ends before. */
int client_watch(const char *server, const char *target, uint64_t deadline_ms, client_on_line *fn,
		 void *arg, struct err *err) MUST_CHECK;
