/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysfs - the back-end for machines: `config`, a mapping of `resource0`, `reset`, `power/control`.
 * A VFIO back-end would stand beside it; nothing above pci_ops would notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "pci/pci.h"

struct sysfs {
	const struct pci_host *host;
	int cfg_fd;
	volatile uint32_t *bar0;
};

static int sysfs_cfg_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
			  struct err *err)
{
	struct sysfs *s = d->ctx;
	uint8_t raw[4] = { 0 };
	ssize_t n = pread(s->cfg_fd, raw, bytes, off);

	if (n < 0)
		return err_errno(err, "reading configuration offset 0x%x", off);
	if ((size_t)n != bytes)
		return err_set(err, ERR_DEVICE, "configuration space ends before offset 0x%x", off);
	*out = (uint32_t)raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 |
	       (uint32_t)raw[3] << 24;
	return 0;
}

static int sysfs_cfg_write(struct pci_device *d, unsigned off, unsigned bytes, uint32_t value,
			   struct err *err)
{
	struct sysfs *s = d->ctx;
	uint8_t raw[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
			   (uint8_t)(value >> 24) };
	ssize_t n = pwrite(s->cfg_fd, raw, bytes, off);

	if (n < 0)
		return err_errno(err, "writing configuration offset 0x%x", off);
	if ((size_t)n != bytes)
		return err_set(err, ERR_DEVICE, "configuration offset 0x%x takes no write", off);
	return 0;
}

static int bar0_find(struct pci_device *d, struct pci_bar *out, struct err *err)
{
	struct sysfs *s = d->ctx;
	struct pci_bar bar[PCI_N_BARS];
	char path[PCI_PATH_BYTES];
	AUTO_BUF text = BUF_INIT(PCI_ATTR_BYTES);

	if (pci_path(s->host, d->bdf, "resource", path, err) < 0 ||
	    file_read(path, &text, err) < 0 || pci_resource_parse(buf_rd(&text), bar, err) < 0)
		return -1;
	if (!bar[0].bytes)
		return err_set(err, ERR_DEVICE, "BAR0 has no address");
	*out = bar[0];
	return 0;
}

/* A file that is shorter than the BAR is no mapping of it, and touching its end would be SIGBUS. */
static int sysfs_bar0_map(struct pci_device *d, struct err *err)
{
	struct sysfs *s = d->ctx;
	struct pci_bar bar = { 0 };
	struct stat st;
	char path[PCI_PATH_BYTES], name[16];
	AUTO_FD fd = -1;
	void *p;

	if (bar0_find(d, &bar, err) < 0)
		return -1;
	snprintf(name, sizeof(name), "resource%u", bar.file);
	if (pci_path(s->host, d->bdf, name, path, err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "%s", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != bar.bytes || bar.bytes > SIZE_MAX / 2)
		return err_set(err, ERR_INVALID, "%s: %lld bytes, but `resource` says %llu", path,
			       (long long)st.st_size, (unsigned long long)bar.bytes);
	p = mmap(NULL, (size_t)bar.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(err, "mapping %s", path);
	s->bar0 = p;
	d->bar0_bytes = (size_t)bar.bytes;
	return 0;
}

static uint32_t sysfs_rd32(struct pci_device *d, uint32_t off)
{
	const struct sysfs *s = d->ctx;

	return s->bar0[off / 4];
}

static void sysfs_wr32(struct pci_device *d, uint32_t off, uint32_t value)
{
	const struct sysfs *s = d->ctx;

	s->bar0[off / 4] = value;
}

static const char *reset_errno_means(int code)
{
	switch (code) {
	case ENOENT:
		return "the kernel knows no way to reset it (no `reset` attribute)";
	case ENOTTY:
		return "the kernel has no reset method that works for it";
	case EBUSY:
	case EAGAIN:
		return "somebody else holds the device's lock; it is being used or reset";
	case EINVAL:
		return "the kernel refuses this reset";
	case EIO:
	case ETIMEDOUT:
		return "the device did not come back from the reset";
	default:
		return "the kernel could not reset it";
	}
}

static int sysfs_reset(struct pci_device *d, struct err *err)
{
	struct sysfs *s = d->ctx;
	struct err why = ERR_INIT;

	if (pci_attr_write(s->host, d->bdf, "reset", "1", &why) == 0)
		return 0;
	return err_set(err, why.code == EBUSY || why.code == EAGAIN ? ERR_BUSY : why.kind,
		       "reset: %s: %s", reset_errno_means(why.code), err_text(&why));
}

static int sysfs_power_get(struct pci_device *d, char *out, size_t size, struct err *err)
{
	struct sysfs *s = d->ctx;

	if (pci_attr_read(s->host, d->bdf, "power/control", out, size, err) == 0)
		return 0;
	if (err->code != ENOENT)
		return -1;
	err_clear(err);
	*out = '\0'; /* a kernel without runtime power management */
	return 0;
}

static int sysfs_power_set(struct pci_device *d, const char *text, struct err *err)
{
	struct sysfs *s = d->ctx;

	return pci_attr_write(s->host, d->bdf, "power/control", text, err);
}

static void sysfs_close(struct pci_device *d)
{
	struct sysfs *s = d->ctx;

	if (s->bar0)
		munmap((void *)(uintptr_t)s->bar0, d->bar0_bytes);
	close(s->cfg_fd);
	free(s);
	d->ctx = NULL;
}

static const struct pci_ops sysfs_ops = {
	.name = "sysfs",
	.cfg_read = sysfs_cfg_read,
	.cfg_write = sysfs_cfg_write,
	.bar0_map = sysfs_bar0_map,
	.rd32 = sysfs_rd32,
	.wr32 = sysfs_wr32,
	.reset = sysfs_reset,
	.power_get = sysfs_power_get,
	.power_set = sysfs_power_set,
	.close = sysfs_close,
};

/* The kernel shows the first 64 bytes only to an unprivileged reader, whatever the file's size says. */
static size_t cfg_visible(int fd, size_t bytes)
{
	uint8_t byte;

	return bytes > 0 && pread(fd, &byte, 1, (off_t)bytes - 1) == 1 ? bytes : 64;
}

int pci_sysfs_open(const struct pci_host *h, struct bdf b, struct pci_device *out, struct err *err)
{
	char path[PCI_PATH_BYTES];
	struct stat st;
	struct sysfs *s;
	AUTO_FD fd = -1;

	*out = (struct pci_device){ .bdf = b };
	if (pci_path(h, b, "config", path, err) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "%s", path);
	if (!S_ISREG(st.st_mode) || st.st_size < 64)
		return err_set(err, ERR_INVALID, "%s: %lld bytes are no configuration space", path,
			       (long long)st.st_size);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(err);
	*s = (struct sysfs){ .host = h };
	out->cfg_bytes = st.st_size > PCI_CFG_BYTES_MAX ? PCI_CFG_BYTES_MAX : (size_t)st.st_size;
	out->cfg_bytes = cfg_visible(fd, out->cfg_bytes);
	s->cfg_fd = TAKE_FD(fd);
	out->ctx = s;
	out->ops = &sysfs_ops;
	return 0;
}
