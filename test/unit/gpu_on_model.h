/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_on_model - pkg/gpu on the register model, in one process: a pci_ops back-end for it.  Time
 * stands still but for what the code waits; a violation fails the test. */
#pragma once
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "gpu/chip.h"
#include "gpu/gpu.h"
#include "gpumodel/gpumodel.h"
#include "pci/pci.h"

struct rig {
	struct gpumodel *m;
	unsigned dev;
	struct pci_device pci;
	struct gpu_dev info;
	struct gpu_env env;
	struct gpu gpu;
	unsigned n_violations, n_writes, n_knob_writes;
	char violation[256];
	char notes[8192];
	char written[256]; /* "10=2 8=1 ": knobs in the order of their writing */
	char power_control[16];
};

static inline void rig_on_violation(unsigned dev UNUSED, const char *text, void *arg)
{
	struct rig *r = arg;

	r->n_violations++;
	str_copy(r->violation, sizeof(r->violation), text);
}

static inline void rig_on_access(const struct gpumodel_access *a, void *arg)
{
	struct rig *r = arg;

	r->n_writes += a->op == GPUMODEL_WRITE;
	if (a->op == GPUMODEL_RPC && strstr(a->name, ":=")) {
		size_t n = strlen(r->written);

		r->n_knob_writes++;
		snprintf(r->written + n, sizeof(r->written) - n, "%d=%d ", atoi(a->name + strlen("knob ")),
			 atoi(strstr(a->name, ":=") + 3));
	}
}

static inline void rig_on_note(void *arg, enum log_level level UNUSED, const char *text)
{
	struct rig *r = arg;
	size_t n = strlen(r->notes);

	snprintf(r->notes + n, sizeof(r->notes) - n, "%s\n", text);
}

static inline int rig_cfg_read(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
			       struct err *err UNUSED)
{
	struct rig *r = d->ctx;

	*out = gpumodel_cfg_read(r->m, r->dev, off, bytes);
	return 0;
}

static inline int rig_cfg_write(struct pci_device *d, unsigned off, unsigned bytes, uint32_t value,
				struct err *err UNUSED)
{
	struct rig *r = d->ctx;

	gpumodel_cfg_write(r->m, r->dev, off, bytes, value);
	return 0;
}

static inline int rig_bar0_map(struct pci_device *d, struct err *err UNUSED)
{
	struct rig *r = d->ctx;

	d->bar0_bytes = gpumodel_info(r->m, r->dev)->bar[0].size;
	gpumodel_session(r->m, r->dev);
	return 0;
}

static inline uint32_t rig_rd32(struct pci_device *d, uint32_t off)
{
	struct rig *r = d->ctx;

	return gpumodel_read(r->m, r->dev, off);
}

static inline void rig_wr32(struct pci_device *d, uint32_t off, uint32_t value)
{
	struct rig *r = d->ctx;

	gpumodel_write(r->m, r->dev, off, value);
}

static inline int rig_reset(struct pci_device *d, struct err *err)
{
	struct rig *r = d->ctx;
	uint64_t took_ms = 0;
	int code = gpumodel_reset(r->m, r->dev, &took_ms);

	clock_sleep_ms(took_ms);
	if (code == 0)
		return 0;
	errno = -code;
	return err_errno(err, "reset");
}

static inline int rig_power_get(struct pci_device *d, char *out, size_t size, struct err *err UNUSED)
{
	str_copy(out, size, ((struct rig *)d->ctx)->power_control);
	return 0;
}

static inline int rig_power_set(struct pci_device *d, const char *text, struct err *err UNUSED)
{
	struct rig *r = d->ctx;

	str_copy(r->power_control, sizeof(r->power_control), text);
	return 0;
}

static inline void rig_close_pci(struct pci_device *d UNUSED)
{
}

static const struct pci_ops rig_ops = {
	.name = "model",
	.cfg_read = rig_cfg_read,
	.cfg_write = rig_cfg_write,
	.bar0_map = rig_bar0_map,
	.rd32 = rig_rd32,
	.wr32 = rig_wr32,
	.reset = rig_reset,
	.power_get = rig_power_get,
	.power_set = rig_power_set,
	.close = rig_close_pci,
};

/* What gpu_scan() would say of the model's device. */
UNUSED static struct gpu_dev rig_dev(const struct gpumodel_info *info)
{
	struct gpu_dev dev = { .vendor_id = info->vendor, .device_id = info->device };
	struct err err = ERR_INIT;

	cr_assert_eq(bdf_parse(info->bdf, &dev.bdf, &err), 0);
	dev.kind = info->class == 0x068000 ? GPU_KIND_NVSWITCH : GPU_KIND_GPU;
	dev.chip = dev.kind == GPU_KIND_GPU ? gpu_chip_of_id(info->device) :
					      gpu_chip_guess_switch(info->device);
	dev.cc_capable = dev.chip && dev.chip->cc;
	dev.ppcie_capable = dev.chip && dev.chip->ppcie;
	return dev;
}

UNUSED static void rig_new(struct rig *r, const char *part)
{
	struct gpumodel_config config = { .on_violation = rig_on_violation, .on_access = rig_on_access,
					  .arg = r };
	struct err err = ERR_INIT;

	*r = (struct rig){ .power_control = "on" };
	clock_fake_set_us(1000000);
	cr_assert_eq(gpumodel_new(part, &config, &r->m, &err), 0, "%s", err_text(&err));
	r->info = rig_dev(gpumodel_info(r->m, 0));
	r->env = (struct gpu_env){ .note = rig_on_note, .arg = r };
}

UNUSED static void rig_fault(struct rig *r, const char *spec)
{
	struct err err = ERR_INIT;

	cr_assert_eq(gpumodel_fault_add(r->m, spec, &err), 0, "%s", err_text(&err));
}

/* As a program does: opens the device anew, so nothing is remembered from before. */
UNUSED static int rig_open(struct rig *r, struct err *err)
{
	r->pci = (struct pci_device){ .bdf = r->info.bdf, .ops = &rig_ops, .cfg_bytes = 4096, .ctx = r };
	return gpu_open(&r->gpu, &r->info, &r->pci, &r->env, err);
}

/* Stage, reset, verify, as one program run. */
UNUSED static int rig_set(struct rig *r, enum gpu_mode mode, struct gpu_pair *out, struct err *err)
{
	struct gpu_undo undo;
	bool was_reset;
	int code;

	if (rig_open(r, err) < 0)
		return -1;
	code = gpu_stage(&r->gpu, mode, &undo, err) < 0 || gpu_reset(&r->gpu, &was_reset, err) < 0 ||
	       gpu_verify(&r->gpu, mode, out, err) < 0;
	gpu_close(&r->gpu);
	return -code;
}

UNUSED static void rig_free(struct rig *r)
{
	cr_expect_eq(r->n_violations, 0, "%u violations, the last: %s", r->n_violations, r->violation);
	gpumodel_free(r->m);
	clock_fake_off();
}
