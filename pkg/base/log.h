/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - one line per event on stderr, as text or JSON, with stable keys.
 *
 *	log_info("phase done", "phase", "evict", "ms", "120", NULL);
 *	2026-11-20T21:04:05.678Z INFO  phase done phase=evict ms=120
 *	{"time":"...","level":"info","program":"cc-manager","msg":"phase done","phase":"evict","ms":"120"}
 *
 * Keys and values alternate and end with NULL; a NULL value leaves its pair out.  Each line is one
 * write(2).  Only programs log; packages return errors.  Never pass a token or a key.
 */
#pragma once
#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_N_LEVELS };
enum log_format { LOG_TEXT, LOG_JSON };

extern const char *const log_level_names[];  /* "debug" ... NULL, for option tables */
extern const char *const log_format_names[]; /* "text" "json" NULL */

void log_init(const char *program, enum log_level least, enum log_format format);
bool log_wants(enum log_level level);

void log_event(enum log_level level, const char *msg, ...) __attribute__((sentinel));

#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
