/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file - whole files, read with a ceiling and written so that a crash leaves the old or the new one.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Adds the file's bytes to `out`, whose ceiling bounds the file (ERR_INVALID when it is longer).
 * On failure `out` is as it was. */
int file_read(const char *path, struct buf *out, struct err *err) MUST_CHECK;

/* Temp file beside it, fsync, rename, fsync of the folder. */
int file_publish(const char *path, const void *data, size_t n, mode_t mode,
		 struct err *err) MUST_CHECK;

/* Writes to an existing file in one write(2), as sysfs attributes want it; never creates. */
int file_write_attr(const char *path, const char *text, struct err *err) MUST_CHECK;

int file_remove(const char *path, struct err *err) MUST_CHECK; /* absent is fine */
int file_mkdirs(const char *path, mode_t mode, struct err *err) MUST_CHECK;

/* Exclusive flock on `path` (made if absent).  Returns 0 and a descriptor that holds the lock until
 * it is closed; ERR_BUSY when somebody else holds it.  Never waits. */
int file_lock(const char *path, int *out_fd, struct err *err) MUST_CHECK;
