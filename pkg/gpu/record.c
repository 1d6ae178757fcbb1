/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record - <state-dir>/<BDF>.json: the driver a device had, the power setting to put back, the modes
 * last read.  It counts in the boot that wrote it, and never against what hardware says.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "gpu/gpu.h"
#include "json/json.h"

#define RECORD_BYTES 4096

struct stored {
	char boot_id[PCI_BOOT_ID_BYTES];
	char driver[PCI_NAME_BYTES], override_[PCI_NAME_BYTES];
	char power_control[16], cc[16], ppcie[16];
};

static const struct json_field fields[] = {
	JSON_FIELD(struct stored, boot_id, "bootId", TEXT, JSON_REQUIRED),
	JSON_FIELD(struct stored, driver, "driver", TEXT, 0),
	JSON_FIELD(struct stored, override_, "driverOverride", TEXT, 0),
	JSON_FIELD(struct stored, power_control, "powerControl", TEXT, 0),
	JSON_FIELD(struct stored, cc, "ccMode", TEXT, 0),
	JSON_FIELD(struct stored, ppcie, "ppcieMode", TEXT, 0),
};

static int path_of(const struct pci_host *h, struct bdf b, char out[PCI_PATH_BYTES],
		   struct err *err)
{
	if (snprintf(out, PCI_PATH_BYTES, "%s/%s.json", h->state_dir, bdf_str(b)) >= PCI_PATH_BYTES)
		return err_set(err, ERR_INVALID, "%.200s: path is too long", h->state_dir);
	return 0;
}

/* A name that goes into sysfs again: nothing but what names are made of. */
static bool is_name(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")] ==
	       '\0';
}

static void unpack(const struct stored *in, struct gpu_record *out)
{
	*out = (struct gpu_record){ 0 };
	if (!is_name(in->driver) || !is_name(in->override_) || !is_name(in->power_control))
		return;
	str_copy(out->driver, sizeof(out->driver), in->driver);
	str_copy(out->override_, sizeof(out->override_), in->override_);
	str_copy(out->power_control, sizeof(out->power_control), in->power_control);
	for (int i = 0; i < GPU_N_CC; i++)
		if (strcmp(in->cc, gpu_cc_names[i]) == 0)
			out->active.cc = (enum gpu_cc)i;
	for (int i = 0; i < GPU_N_PPCIE; i++)
		if (strcmp(in->ppcie, gpu_ppcie_names[i]) == 0)
			out->active.ppcie = (enum gpu_ppcie)i;
}

int gpu_record_load(const struct pci_host *h, struct bdf b, struct gpu_record *out, struct err *err)
{
	char path[PCI_PATH_BYTES], boot_id[PCI_BOOT_ID_BYTES];
	struct stored stored = { 0 };
	struct err odd = ERR_INIT;
	AUTO(json_free) json_t *doc = NULL;
	AUTO_BUF text = BUF_INIT(RECORD_BYTES);

	*out = (struct gpu_record){ 0 };
	if (path_of(h, b, path, err) < 0 || pci_host_boot_id(boot_id, err) < 0)
		return -1;
	if (file_read(path, &text, &odd) < 0) {
		if (odd.code == ENOENT || odd.kind == ERR_INVALID)
			return 0;
		*err = odd;
		return -1;
	}
	if (json_parse(buf_rd(&text), JSON_LIMITS, &doc, &odd) < 0 ||
	    json_fields_read(doc, "", fields, ARRAY_LEN(fields), &stored, &odd) < 0 ||
	    strcmp(stored.boot_id, boot_id) != 0)
		return 0; /* torn, foreign or old: the hardware tells what matters */
	unpack(&stored, out);
	return 0;
}

int gpu_record_save(const struct pci_host *h, struct bdf b, const struct gpu_record *record,
		    struct err *err)
{
	char path[PCI_PATH_BYTES], boot_id[PCI_BOOT_ID_BYTES];
	AUTO_BUF text = BUF_INIT(RECORD_BYTES);
	struct json_put w = json_put_to(&text);

	if (path_of(h, b, path, err) < 0 || pci_host_boot_id(boot_id, err) < 0)
		return -1;
	json_put_object(&w);
	json_put_member_str(&w, "bootId", boot_id);
	json_put_member_str(&w, "driver", record->driver);
	json_put_member_str(&w, "driverOverride", record->override_);
	json_put_member_str(&w, "powerControl", record->power_control);
	json_put_member_str(&w, "ccMode", gpu_cc_names[record->active.cc]);
	json_put_member_str(&w, "ppcieMode", gpu_ppcie_names[record->active.ppcie]);
	json_put_end(&w);
	if (json_put_done(&w, err) < 0 || buf_adds(&text, "\n", err) < 0 ||
	    file_mkdirs(h->state_dir, 0755, err) < 0)
		return -1;
	return file_publish(path, text.data, text.len, 0644, err);
}
