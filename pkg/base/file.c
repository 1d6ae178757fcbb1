/* SPDX-License-Identifier: Apache-2.0 */
/* file - bounded reads, atomic writes, locks. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/str.h"

static int read_all(int fd, struct buf *out, struct err *err)
{
	char chunk[4096];
	ssize_t n;

	for (;;) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "reading");
		if (n == 0)
			return buf_reserve(out, 0, err);
		if (buf_add(out, chunk, (size_t)n, err) < 0)
			return -1;
	}
}

int file_read(const char *path, struct buf *out, struct err *err)
{
	size_t before = out->len;
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_errno(err, "%s", path);
	if (read_all(fd, out, err) == 0)
		return 0;
	out->len = before;
	if (out->data)
		out->data[before] = '\0';
	return err_wrap(err, "%s", path);
}

static int write_all(int fd, const char *p, size_t n, struct err *err)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_errno(err, "writing");
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int sync_folder_of(const char *path, struct err *err)
{
	char copy[PATH_MAX];
	AUTO_FD fd = -1;

	str_copy(copy, sizeof(copy), path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		return err_errno(err, "syncing the folder of %s", path);
	return 0;
}

static int fill_temp(int fd, const void *data, size_t n, mode_t mode, struct err *err)
{
	if (write_all(fd, data, n, err) < 0)
		return -1;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return err_errno(err, "syncing");
	return 0;
}

int file_publish(const char *path, const void *data, size_t n, mode_t mode, struct err *err)
{
	char temp[PATH_MAX];
	AUTO_FD fd = -1;

	if (snprintf(temp, sizeof(temp), "%s.XXXXXX", path) >= (int)sizeof(temp))
		return err_set(err, ERR_INVALID, "%s: path is too long", path);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "%s", temp);
	if (fill_temp(fd, data, n, mode, err) < 0) {
		unlink(temp);
		return err_wrap(err, "%s", temp);
	}
	if (rename(temp, path) < 0) {
		err_errno(err, "renaming to %s", path);
		unlink(temp);
		return -1;
	}
	return sync_folder_of(path, err);
}

int file_write_attr(const char *path, const char *text, struct err *err)
{
	size_t n = strlen(text);
	ssize_t w;
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return err_errno(err, "%s", path);
	do
		w = write(fd, text, n);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		return err_errno(err, "%s", path);
	if ((size_t)w != n)
		return err_set(err, ERR_SYSTEM, "%s: only %zd of %zu bytes were taken", path, w, n);
	return 0;
}

int file_remove(const char *path, struct err *err)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(err, "removing %s", path);
	return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct err *err)
{
	char copy[PATH_MAX];

	if (!str_copy(copy, sizeof(copy), path) || !*copy)
		return err_set(err, ERR_INVALID, "'%s': not a usable path", path);
	for (char *p = copy + 1;; p++) {
		char c = *p;

		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return err_errno(err, "making folder %s", copy);
		*p = c;
		if (!c)
			return 0;
	}
}

int file_lock(const char *path, int *out_fd, struct err *err)
{
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);

	if (fd < 0)
		return err_errno(err, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(err, ERR_BUSY, "%s is held by another process", path);
		return err_errno(err, "locking %s", path);
	}
	*out_fd = TAKE_FD(fd);
	return 0;
}
