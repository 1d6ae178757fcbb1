/* SPDX-License-Identifier: Apache-2.0 */
/* attr - one sysfs attribute of one function: paths, bounded reads, writes, links. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "pci/pci.h"

int pci_path(const struct pci_host *h, struct bdf b, const char *attribute,
	     char out[PCI_PATH_BYTES], struct err *err)
{
	int n = snprintf(out, PCI_PATH_BYTES, "%s/bus/pci/devices/%s%s%s", h->sysfs_root,
			 bdf_str(b), *attribute ? "/" : "", attribute);

	if (n >= PCI_PATH_BYTES)
		return err_set(err, ERR_INVALID, "path below %.200s is too long", h->sysfs_root);
	return 0;
}

int pci_attr_read(const struct pci_host *h, struct bdf b, const char *attribute, char *out,
		  size_t size, struct err *err)
{
	char path[PCI_PATH_BYTES];
	AUTO_BUF text = BUF_INIT(PCI_ATTR_BYTES);

	if (pci_path(h, b, attribute, path, err) < 0 || file_read(path, &text, err) < 0)
		return -1;
	if (memchr(buf_str(&text), '\0', text.len))
		return err_set(err, ERR_INVALID, "%s: holds a NUL", path);
	if (!str_copy(out, size, str_trim((char *)(text.data ? text.data : (char[]){ "" }))))
		return err_set(err, ERR_INVALID, "%s: longer than %zu bytes", path, size - 1);
	return 0;
}

int pci_attr_write(const struct pci_host *h, struct bdf b, const char *attribute, const char *text,
		   struct err *err)
{
	char path[PCI_PATH_BYTES];

	if (pci_path(h, b, attribute, path, err) < 0)
		return -1;
	return file_write_attr(path, text, err);
}

int pci_attr_link(const struct pci_host *h, struct bdf b, const char *attribute,
		  char out[PCI_NAME_BYTES], struct err *err)
{
	char path[PCI_PATH_BYTES], target[PCI_PATH_BYTES];
	const char *slash;
	ssize_t n;

	if (pci_path(h, b, attribute, path, err) < 0)
		return -1;
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0 && errno == ENOENT) {
		*out = '\0';
		return 0;
	}
	if (n < 0)
		return err_errno(err, "%s", path);
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (!str_copy(out, PCI_NAME_BYTES, slash ? slash + 1 : target))
		return err_set(err, ERR_INVALID, "%s: points to a name that is too long", path);
	str_printable(out);
	return 0;
}
