/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - one thread, one epoll: descriptors, timers, signals and children call back.
 *
 * A callback does a little and returns; whatever takes long is a child process or a state machine.
 *
 * Owns:  the sources, until source_free() or loop_free().  A source does not own the descriptor
 *        that it watches.
 * Units: milliseconds, on the monotonic clock.
 * Order: a callback may free any source, its own and one that is later in the same batch too:
 *        source_free() only marks it dead, dispatch skips the dead, and a sweep after the batch
 *        frees them.  Nothing calls a source after source_free() returned.
 * Fork:  the loop is of no use in a child; loop_after_fork() closes its descriptors there and
 *        gives the child a normal signal mask.
 */
#pragma once
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/err.h"

struct loop;
struct source;

typedef void on_fd(struct source *s, int fd, uint32_t events, void *arg);
typedef void on_timer(struct source *s, void *arg);
typedef void on_signal(struct source *s, int signo, void *arg);
typedef void on_child(struct source *s, pid_t pid, int status, void *arg); /* status as waitpid(2) */

int loop_new(struct loop **out, struct err *err) MUST_CHECK;
void loop_free(struct loop *l);

/* `out` may be NULL when the source lives as long as the loop. */
int loop_add_fd(struct loop *l, int fd, uint32_t events, on_fd *fn, void *arg, struct source **out,
		struct err *err) MUST_CHECK;
int source_set_events(struct source *s, uint32_t events, struct err *err) MUST_CHECK;

/* Disarmed at first.  Arming again replaces the earlier time; it fires once for each arming. */
int loop_add_timer(struct loop *l, on_timer *fn, void *arg, struct source **out,
		   struct err *err) MUST_CHECK;
void timer_arm(struct source *s, uint64_t after_ms); /* 0: in the next round */
void timer_disarm(struct source *s);
uint64_t timer_left_ms(const struct source *s); /* UINT64_MAX when disarmed */

/* Blocks the signal for the process and hands it to the callback. */
int loop_add_signal(struct loop *l, int signo, on_signal *fn, void *arg, struct source **out,
		    struct err *err) MUST_CHECK;

/* Reaps the child when it ends, calls back once, and frees the source. */
int loop_add_child(struct loop *l, pid_t pid, on_child *fn, void *arg, struct source **out,
		   struct err *err) MUST_CHECK;

void source_free(struct source *s); /* accepts NULL; never kills a child */

/* Until loop_stop().  *exit_code is what loop_stop() was given. */
int loop_run(struct loop *l, int *exit_code, struct err *err) MUST_CHECK;
/* One round: waits at most `most_ms` for something to do.  For tests and for programs that pump. */
int loop_turn(struct loop *l, uint64_t most_ms, struct err *err) MUST_CHECK;
void loop_stop(struct loop *l, int exit_code);

/* When the last round began: for heartbeats. */
uint64_t loop_last_turn_ms(const struct loop *l);

void loop_after_fork(struct loop *l);

DEFINE_AUTO(struct loop *, loop_free);
DEFINE_AUTO(struct source *, source_free);
