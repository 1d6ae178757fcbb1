/* SPDX-License-Identifier: Apache-2.0 */
/* host - what the kernel of this machine allows and can do, as far as devices care. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "pci/pci.h"

const char *const pci_lockdown_names[] = { "none", "integrity", "confidentiality", NULL };
const char *const pci_host_tee_names[] = { "none", "tdx", "snp", NULL };

/* A file of one line; absent reads as "". */
static int line_read(const char *folder, const char *name, char *out, size_t size, struct err *err)
{
	char path[PCI_PATH_BYTES];
	AUTO_BUF text = BUF_INIT(PCI_ATTR_BYTES);

	*out = '\0';
	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return err_set(err, ERR_INVALID, "%.200s: path is too long", folder);
	if (file_read(path, &text, err) < 0) {
		if (err->code != ENOENT)
			return -1;
		err_clear(err);
		return 0;
	}
	if (text.len && !str_copy(out, size, str_trim(text.data)))
		return err_set(err, ERR_INVALID, "%s: longer than %zu bytes", path, size - 1);
	return 0;
}

int pci_host_lockdown(const struct pci_host *h, enum pci_lockdown *out, struct err *err)
{
	char text[64], chosen[32];

	if (line_read(h->sysfs_root, "kernel/security/lockdown", text, sizeof(text), err) < 0)
		return -1;
	*out = PCI_LOCKDOWN_NONE;
	if (!*text)
		return 0;
	for (int i = PCI_LOCKDOWN_NONE; i <= PCI_LOCKDOWN_CONFIDENTIALITY; i++) {
		snprintf(chosen, sizeof(chosen), "[%s]", pci_lockdown_names[i]);
		if (strstr(text, chosen)) {
			*out = (enum pci_lockdown)i;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID,
		       "kernel/security/lockdown: '%s' names no mode that we know",
		       str_printable(text));
}

static int parameter_is_on(const struct pci_host *h, const char *name, bool *out, struct err *err)
{
	char text[16];

	if (line_read(h->sysfs_root, name, text, sizeof(text), err) < 0)
		return -1;
	*out = strcmp(text, "1") == 0 || strcmp(text, "Y") == 0 || strcmp(text, "y") == 0;
	return 0;
}

int pci_host_tee(const struct pci_host *h, enum pci_host_tee *out, struct err *err)
{
	bool tdx, snp;

	*out = PCI_HOST_TEE_NONE;
	if (parameter_is_on(h, "module/kvm_intel/parameters/tdx", &tdx, err) < 0 ||
	    parameter_is_on(h, "module/kvm_amd/parameters/sev_snp", &snp, err) < 0)
		return -1;
	*out = tdx ? PCI_HOST_TEE_TDX : snp ? PCI_HOST_TEE_SNP : PCI_HOST_TEE_NONE;
	return 0;
}

int pci_host_boot_id(char out[PCI_BOOT_ID_BYTES], struct err *err)
{
	if (line_read("/proc/sys/kernel/random", "boot_id", out, PCI_BOOT_ID_BYTES, err) < 0)
		return -1;
	return *out ? 0 : err_set(err, ERR_NOT_FOUND, "the kernel tells no boot id");
}
