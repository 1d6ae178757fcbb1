/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cleanup - ownership by scope: what is declared with AUTO() is released when the block ends.
 *
 *	AUTO(buf_free) struct buf *text = NULL;
 *	*out = TAKE_PTR(text);                  hands over, so that nothing is released
 *
 * Each type's header says DEFINE_AUTO(type, free function).  Every free accepts NULL.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define MUST_CHECK  __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define UNUSED	    __attribute__((unused))

#define DEFINE_AUTO(type, fn)                                                                      \
	static inline void fn##_auto(type *p)                                                      \
	{                                                                                          \
		fn(*p);                                                                            \
	}                                                                                          \
	struct fn##_needs_semicolon_
#define AUTO(fn)    CLEANUP(fn##_auto)
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline void fd_close_auto(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void mem_free_auto(void *p)
{
	free(*(void **)p);
}
static inline void file_fclose_auto(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define AUTO_FD	  CLEANUP(fd_close_auto) int	    /* AUTO_FD fd = open(...); -1 is none */
#define AUTO_MEM  CLEANUP(mem_free_auto)	    /* AUTO_MEM char *s = NULL; */
#define AUTO_FILE CLEANUP(file_fclose_auto) FILE    /* AUTO_FILE *f = NULL; */
