/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu - the confidential-computing modes of NVIDIA GPUs and NVSwitches, down to the registers.
 *
 * A device has an active pair (CC mode, PPCIe mode), latched at reset and read from a register, and
 * knobs in its firmware (FSP), written by RPC, that the next reset makes active.
 *
 * In:       what pkg/pci found; registers through struct pci_ops.
 * Out:      lists of devices, their active pair, whether the knobs are staged for a wanted mode.
 * Owns:     nothing global; register addresses hang on each device's chip, so chips may be mixed.
 * Units:    milliseconds.
 * Blocks:   everything that takes a struct gpu, with a deadline for every wait.  Programs run it in
 *           child processes: gpu/jobs.h, and gpu/switch.h for the whole sequence on many devices.
 * Stops:    *env->stop is looked at between RPCs and between polls, never inside an RPC;
 *           then ERR_INTERRUPTED, and what was begun can be resumed.
 * Fails:    ERR_DEVICE (answers wrongly or not at all), ERR_TIMEOUT, ERR_UNSUPPORTED (this device or
 *           firmware cannot), ERR_BUSY, ERR_DENIED.  Texts name the cause; the caller names the device.
 * Does not: decide whether a device is in use (gpu_scan() says so, the caller heeds it), take locks.
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "pci/pci.h"

/* --- modes ----------------------------------------------------------------------------------- */

enum gpu_mode { GPU_MODE_OFF, GPU_MODE_ON, GPU_MODE_DEVTOOLS, GPU_MODE_PPCIE, GPU_N_MODES };
extern const char *const gpu_mode_names[]; /* "off" "on" "devtools" "ppcie" NULL */
bool gpu_mode_parse(const char *text, enum gpu_mode *out) MUST_CHECK;

enum gpu_cc {
	GPU_CC_UNKNOWN,
	GPU_CC_UNSUPPORTED,
	GPU_CC_OFF,
	GPU_CC_ON,
	GPU_CC_DEVTOOLS,
	GPU_CC_INVALID, /* devtools without CC: any mode that is set and reset cures it */
	GPU_N_CC
};
enum gpu_ppcie {
	GPU_PPCIE_UNKNOWN,
	GPU_PPCIE_UNSUPPORTED,
	GPU_PPCIE_OFF,
	GPU_PPCIE_ON,
	GPU_N_PPCIE
};
extern const char *const gpu_cc_names[];    /* the contract's words: "unknown" "unsupported" "off" ... */
extern const char *const gpu_ppcie_names[]; /* likewise */

struct gpu_pair {
	enum gpu_cc cc;
	enum gpu_ppcie ppcie;
};
static inline bool gpu_pair_equal(struct gpu_pair a, struct gpu_pair b)
{
	return a.cc == b.cc && a.ppcie == b.ppcie;
}

/* --- devices --------------------------------------------------------------------------------- */

enum gpu_kind { GPU_KIND_GPU, GPU_KIND_NVSWITCH, GPU_N_KINDS };
extern const char *const gpu_kind_names[]; /* "gpu" "nvswitch" */

struct gpu_chip; /* gpu/chip.h: family and registers; "gh100" "gb202" "ls10" ... */

#define GPU_NAME_BYTES 32
#define GPU_TEXT_BYTES 256
#define GPU_MAX_DEVICES 64 /* of one node */

struct gpu_dev {
	struct bdf bdf;
	enum gpu_kind kind;
	uint16_t vendor_id, device_id, subsys_vendor_id, subsys_id;
	const struct gpu_chip *chip;   /* NULL: none that we know, or an id that only PMC_BOOT_0 explains */
	char chip_name[GPU_NAME_BYTES]; /* "gh100"; "" not known */
	char name[GPU_NAME_BYTES];	/* "H100"; "" not known */
	char driver[PCI_NAME_BYTES];	/* "" none */
	char iommu_group[PCI_NAME_BYTES];
	bool cc_capable, ppcie_capable;
	bool on_fabric; /* NVLink joins it with others: they change modes together */
	uint32_t reset_group;	     /* equal and not 0: reset one after another (they share a bus reset) */
	char in_use[GPU_TEXT_BYTES]; /* why it must not be touched: "pid 812 (qemu-kvm) has /dev/vfio/7
					open", "bound to nvidia"; "" free */
	char error[GPU_TEXT_BYTES];  /* what makes it unusable already now; "" nothing */
};

struct gpu_list {
	struct gpu_dev dev[GPU_MAX_DEVICES]; /* ascending by BDF */
	size_t n;
};

#define GPU_IDS_MAX 64
struct gpu_ids {
	uint16_t id[GPU_IDS_MAX];
	size_t n;
};
/* "0x2331,0x2322" or "2331 2322"; ERR_INVALID names the part that is no id. */
int gpu_ids_parse(const char *text, struct gpu_ids *out, struct err *err) MUST_CHECK;

struct gpu_scan_opts {
	struct gpu_ids only;		 /* n == 0: all; filters GPUs, never NVSwitches */
	struct gpu_ids capable;		 /* CC capable beside those of the chip tables */
	const struct bdf *only_bdf;	 /* n_only_bdf == 0: all */
	size_t n_only_bdf;
};

/* Finds GPUs and NVSwitches without touching them: ids, driver, who holds them.  No devices is no
 * error.  ERR_NOT_FOUND names a BDF of only_bdf that is no such device. */
int gpu_scan(const struct pci_host *h, const struct gpu_scan_opts *opts, struct gpu_list *out,
	     struct err *err) MUST_CHECK;

/* Looks again who uses them: fills driver and in_use. */
int gpu_scan_users(const struct pci_host *h, struct gpu_dev *dev, size_t n,
		   struct err *err) MUST_CHECK;

/* Whether the device can be put into `mode`: ERR_UNSUPPORTED with the reason.  A switch takes part in
 * ppcie only; on, off and devtools just ask it for PPCIe off.  Everything can be off. */
int gpu_can(const struct gpu_dev *dev, enum gpu_mode mode, struct err *err) MUST_CHECK;

/* The active pair that `mode` means for this device: (unsupported, off) for an LS10 and mode on. */
struct gpu_pair gpu_wanted(const struct gpu_dev *dev, enum gpu_mode mode);

/* --- a device that is open --------------------------------------------------------------------*/

struct gpu_env {
	const volatile sig_atomic_t *stop; /* or NULL */
	void (*note)(void *arg, enum log_level level, const char *text); /* or NULL */
	void *arg;
	bool trace; /* note() every register access at LOG_DEBUG */
};

struct gpu {
	const struct gpu_dev *dev;
	const struct gpu_env *env;
	struct pci_device *pci;
	const struct gpu_chip *chip; /* what the registers say it is */
	struct pci_power power;	     /* put back by gpu_close() */
	uint32_t boot0;
	bool rpc_open;
};

/* Power, configuration space, memory decoding, BAR firewall, PMC_BOOT_0, priv ring: in this order.
 * `pci` is borrowed; it must be open and not yet mapped.  ERR_UNSUPPORTED: a bridge that is no
 * NVSwitch, or a chip without modes; it was not touched beyond PMC_BOOT_0. */
int gpu_open(struct gpu *g, const struct gpu_dev *dev, struct pci_device *pci,
	     const struct gpu_env *env, struct err *err) MUST_CHECK;
void gpu_close(struct gpu *g); /* puts power/control back; leaves `pci` open */

/* Waits for boot, then reads the active pair. */
int gpu_query(struct gpu *g, struct gpu_pair *out, struct err *err) MUST_CHECK;

/* What gpu_stage() wrote, and what was there before. */
#define GPU_UNDO_MAX 8
struct gpu_undo {
	unsigned n;
	struct {
		uint8_t knob;
		uint16_t before;
	} write[GPU_UNDO_MAX];
};

/* Makes the knobs say `mode`, in the order that never passes through an invalid pair, writing only
 * what differs, and reads them all back.  On failure `undo` says what was written until then. */
int gpu_stage(struct gpu *g, enum gpu_mode mode, struct gpu_undo *undo, struct err *err) MUST_CHECK;
/* Writes back what gpu_stage() replaced, last first. */
int gpu_unstage(struct gpu *g, const struct gpu_undo *undo, struct err *err) MUST_CHECK;
/* Whether the knobs say `mode` already.  ERR_UNSUPPORTED: the firmware lacks a knob that it needs. */
int gpu_staged(struct gpu *g, enum gpu_mode mode, bool *out, struct err *err) MUST_CHECK;

/* Resets through the kernel and gets the device ready again.  *was_reset: the knobs are latched now,
 * also when what came after failed. */
int gpu_reset(struct gpu *g, bool *was_reset, struct err *err) MUST_CHECK;
/* Waits for boot, reads the active pair, ERR_DEVICE when it is not what `mode` means.  `out` is what
 * was read, also then. */
int gpu_verify(struct gpu *g, enum gpu_mode mode, struct gpu_pair *out, struct err *err) MUST_CHECK;

/* Knobs 1 to 47 of the firmware. */
#define GPU_N_KNOBS 47
enum gpu_knob_state { GPU_KNOB_VALUE, GPU_KNOB_INVALID /* this firmware has no such knob */ };
struct gpu_knob {
	uint8_t id;
	uint8_t state; /* enum gpu_knob_state */
	uint16_t value;
};
const char *gpu_knob_name(unsigned id); /* "CCM", "KNOB_11" */
const char *gpu_knob_meaning(unsigned id); /* "CC mode", or "" */
int gpu_settings(struct gpu *g, struct gpu_knob out[GPU_N_KNOBS], struct err *err) MUST_CHECK;

/* --- what we remember of a device in this boot -------------------------------------------------*/

/* <state-dir>/<BDF>.json.  It only speeds things up and remembers what hardware cannot tell: losing it
 * costs the driver that a device had, nothing else. */
struct gpu_record {
	char driver[PCI_NAME_BYTES];   /* to bind again: written before unbind, "" once it is back */
	char override_[PCI_NAME_BYTES]; /* driver_override as it was then */
	char power_control[16];	       /* to put back: written before `on`, "" once it is back */
	struct gpu_pair active;	       /* last read */
};
/* Absent, broken or of another boot: reads as empty, 0. */
int gpu_record_load(const struct pci_host *h, struct bdf b, struct gpu_record *out,
		    struct err *err) MUST_CHECK;
int gpu_record_save(const struct pci_host *h, struct bdf b, const struct gpu_record *record,
		    struct err *err) MUST_CHECK;
