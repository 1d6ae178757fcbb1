/* SPDX-License-Identifier: Apache-2.0 */
/* lock - one process at a time on a device: the hardware itself has no lock for its RPC channel. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "pci/pci.h"

#define HOLDER_BYTES 128
#define POLL_MS	     50

static int path_of(const struct pci_host *h, struct bdf b, char out[PCI_PATH_BYTES],
		   struct err *err)
{
	if (snprintf(out, PCI_PATH_BYTES, "%s/%s.lock", h->state_dir, bdf_str(b)) >= PCI_PATH_BYTES)
		return err_set(err, ERR_INVALID, "%.200s: path is too long", h->state_dir);
	return 0;
}

/* The file's text says who took the lock last: good enough for a message. */
static void sign(int fd)
{
	char text[HOLDER_BYTES];
	int n = snprintf(text, sizeof(text), "%s (pid %d)\n", program_invocation_short_name,
			 (int)getpid());

	if (n > 0 && ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) < 0)
		return; /* the lock counts, not its text */
}

static int held_by_other(const char *path, struct err *err)
{
	AUTO_BUF text = BUF_INIT(HOLDER_BYTES);
	struct err ignored = ERR_INIT;

	if (file_read(path, &text, &ignored) < 0 || !text.len)
		return err_set(err, ERR_BUSY, "another process holds %s", path);
	return err_set(err, ERR_BUSY, "%s holds %s", str_printable(str_trim(text.data)), path);
}

int pci_lock_try(const struct pci_host *h, struct bdf b, struct pci_lock *out, struct err *err)
{
	char path[PCI_PATH_BYTES];

	*out = PCI_LOCK_INIT;
	if (path_of(h, b, path, err) < 0 || file_mkdirs(h->state_dir, 0755, err) < 0)
		return -1;
	if (file_lock(path, &out->fd, err) < 0)
		return err->kind == ERR_BUSY ? held_by_other(path, err) : -1;
	sign(out->fd);
	return 0;
}

int pci_lock_wait(const struct pci_host *h, struct bdf b, uint64_t wait_ms,
		  const volatile sig_atomic_t *stop, void (*on_wait)(void *arg, const char *why),
		  void *arg, struct pci_lock *out, struct err *err)
{
	uint64_t until_ms = now_ms() + wait_ms;

	for (bool told = false;; told = true) {
		if (pci_lock_try(h, b, out, err) == 0)
			return 0;
		if (err->kind != ERR_BUSY || now_ms() >= until_ms)
			return -1;
		if (stop && *stop)
			return err_set(err, ERR_INTERRUPTED, "stopped while waiting for a lock");
		if (!told && on_wait)
			on_wait(arg, err_text(err));
		clock_sleep_ms(POLL_MS);
		err_clear(err);
	}
}

void pci_lock_drop(struct pci_lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	*lock = PCI_LOCK_INIT;
}
