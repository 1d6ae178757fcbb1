/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpumodel - a machine of simulated NVIDIA GPUs and NVSwitches: what their registers answer, what
 * their configuration space holds, what a reset does to them, how their firmware takes commands.
 *
 * In:       a device string, "h100:8,ls10:4"; then single reads, writes and resets.
 * Out:      values; a call of on_access for each access, and of on_violation for each thing that a
 *           correct client must not do.
 * Owns:     everything behind struct gpumodel.  Names and texts that it hands out live as long as
 *           the model; those passed to a callback only during the call.
 * Units:    times in milliseconds, the clock in microseconds; offsets in bytes of BAR0 or of the
 *           configuration space.
 * Fails:    ERR_INVALID for texts it cannot read.  Devices do not fail: they answer all ones.
 * Does not: sleep, use threads, know files or processes.  Time moves only through the clock.
 *
 * Device string: PART[:COUNT][@BDF] joined by commas.  gpumodel_part_name() lists the parts; with
 * COUNT, further devices take the next bus numbers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rd.h"

#define GPUMODEL_MAX_DEVICES 64
#define GPUMODEL_MAX_FAULTS  64
#define GPUMODEL_BARS	     6
#define GPUMODEL_CFG_BYTES   4096
#define GPUMODEL_N_KNOBS     48 /* ids 1 to 47; 0 is unused */
#define GPUMODEL_SAVE_MAX    (16u << 20)

struct gpumodel;

enum gpumodel_kind { GPUMODEL_GPU, GPUMODEL_SWITCH, GPUMODEL_OTHER };

struct gpumodel_info {
	char bdf[16];	  /* "0000:1b:00.0" */
	const char *part; /* "h100", as in the device string */
	const char *chip; /* "gh100", "gb202", "ls10", "ga100" */
	const char *name; /* "H100", for people */
	enum gpumodel_kind kind;
	bool cc_capable, ppcie_capable; /* the chip; its firmware may say otherwise */
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class;	      /* 24 bit: 0x030200 */
	struct gpumodel_bar { /* the first six lines of sysfs `resource` */
		uint64_t start, size, flags;
	} bar[GPUMODEL_BARS];
	char reset_method[24]; /* "flr bus", "bus", "" */
	unsigned iommu_group;
	int numa_node;
};

enum gpumodel_op {
	GPUMODEL_READ, /* BAR0 */
	GPUMODEL_WRITE,
	GPUMODEL_CFG_READ,
	GPUMODEL_CFG_WRITE,
	GPUMODEL_RESET, /* value is the errno, 0 for none */
	GPUMODEL_RPC,	/* a command as the firmware understood it: name is a sentence */
	GPUMODEL_N_OPS
};

struct gpumodel_access {
	unsigned dev;
	enum gpumodel_op op;
	uint32_t offset, value;
	unsigned width;	  /* bytes */
	const char *name; /* of the register, or "" */
};

struct gpumodel_config {
	uint64_t boot_ms;	       /* from the end of a reset to boot complete; 0: 200 */
	uint64_t reset_ms;	       /* how long a reset takes; 0: 100 */
	uint64_t fsp_us;	       /* how long the firmware takes for a command; 0: 1000 */
	uint64_t (*now_us)(void *arg); /* NULL: now_us() of base/clock.h */
	void (*on_access)(const struct gpumodel_access *access, void *arg); /* or NULL */
	void (*on_violation)(unsigned dev, const char *text, void *arg);    /* or NULL */
	void *arg;
};

int gpumodel_new(const char *devices, const struct gpumodel_config *config, struct gpumodel **out,
		 struct err *err) MUST_CHECK;
void gpumodel_free(struct gpumodel *m);
DEFINE_AUTO(struct gpumodel *, gpumodel_free);

const char *gpumodel_part_name(unsigned i, const char **describe); /* NULL at the end of the list */

unsigned gpumodel_count(const struct gpumodel *m);
const struct gpumodel_info *gpumodel_info(const struct gpumodel *m, unsigned dev);
int gpumodel_find(const struct gpumodel *m, const char *bdf); /* index, or -1 */

/* BAR0.  `offset` must be a multiple of four below the BAR's size; else all ones and a violation. */
uint32_t gpumodel_read(struct gpumodel *m, unsigned dev, uint32_t offset);
void gpumodel_write(struct gpumodel *m, unsigned dev, uint32_t offset, uint32_t value);

/* The same for any width (1, 2, 4, 8) and alignment, as a bus would carry it; each dword that is
 * touched is accessed once, and all but an aligned dword is a violation. */
uint64_t gpumodel_read_sized(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width);
void gpumodel_write_sized(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width,
			  uint64_t value);

/* Configuration space; width 1, 2 or 4.  Setting the FLR bit of the PCIe capability resets. */
uint32_t gpumodel_cfg_read(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width);
void gpumodel_cfg_write(struct gpumodel *m, unsigned dev, uint32_t offset, unsigned width,
			uint32_t value);
void gpumodel_cfg_peek(struct gpumodel *m, unsigned dev,
		       uint8_t out[GPUMODEL_CFG_BYTES]); /* silent */

/*
 * A reset as the kernel's `reset` attribute does it: BARs and command register come back.
 * _begin returns 0 or -errno, and in *took_ms after how long the caller shall call _end or, on a
 * failure, return the errno; in between the device answers all ones.  gpumodel_reset() does both;
 * the device then boots as if *took_ms had already gone by.
 */
int gpumodel_reset_begin(struct gpumodel *m, unsigned dev, uint64_t *took_ms);
void gpumodel_reset_end(struct gpumodel *m, unsigned dev);
bool gpumodel_resetting(const struct gpumodel *m, unsigned dev);
int gpumodel_reset(struct gpumodel *m, unsigned dev, uint64_t *took_ms);
int gpumodel_reset_method_set(struct gpumodel *m, unsigned dev, const char *method); /* 0, -errno */

/* What the machine around a device does with it; needed only to judge accesses. */
void gpumodel_driver_set(struct gpumodel *m, unsigned dev, const char *driver); /* NULL: none */
const char *gpumodel_driver(const struct gpumodel *m, unsigned dev);		/* NULL: none */
void gpumodel_held_set(struct gpumodel *m, unsigned dev, bool held);		/* open elsewhere */
void gpumodel_d3_set(struct gpumodel *m, unsigned dev, bool d3);
bool gpumodel_d3(const struct gpumodel *m, unsigned dev);
void gpumodel_session(struct gpumodel *m, unsigned dev); /* a new client maps BAR0 */
void gpumodel_violation(struct gpumodel *m, unsigned dev, const char *fmt, ...) PRINTF(3, 4);
uint64_t gpumodel_violations(const struct gpumodel *m); /* so far */

/* The truth, past all registers. */
struct gpumodel_truth {
	bool cc_supported, ppcie_supported; /* by chip and firmware */
	unsigned cc_active, cc_staged;	    /* 0 off, 1 on, 2 invalid, 3 devtools */
	bool ppcie_active, ppcie_staged;
	bool staged_unapplied; /* a reset would change something */
	bool booted, recovery, d3, memory_on, held;
	uint64_t resets;
	uint16_t knob[GPUMODEL_N_KNOBS];
	bool knob_valid[GPUMODEL_N_KNOBS];
};
void gpumodel_truth(struct gpumodel *m, unsigned dev, struct gpumodel_truth *out);
const char *gpumodel_knob_name(unsigned id); /* "CCM", or "" */
const char *gpumodel_cc_name(unsigned mode); /* "off" "on" "invalid" "devtools" */

/* Puts a device into a mode as if it had been staged and reset: off, on, devtools, ppcie.  False
 * when it has no such mode. */
bool gpumodel_mode_set(struct gpumodel *m, unsigned dev, const char *mode);
bool gpumodel_knob_set(struct gpumodel *m, unsigned dev, unsigned id, uint16_t value);

/*
 * Faults: NAME[=VALUE][,KEY=VALUE]...
 *
 *	rpc-error=STATUS	the firmware answers with this status
 *	no-answer		it takes the command and says nothing
 *	stuck-queue		it does not take the command
 *	short-answer		four dwords only
 *	long-answer		one dword too many
 *	wrong-answer=type|echo|length
 *	rpc-slow=MS		it takes so much longer
 *	inband-denied		knob writes from the host are refused
 *	boot-never		boot does not complete
 *	mode-sticks		a reset leaves the mode as it was
 *	all-ones		BAR0 reads 0xffffffff
 *	badf			BAR0 reads 0xbadf1100
 *	sec-fault		BAR0 reads 0xbadf0200
 *	recovery		the chip is in recovery
 *	reset-errno=EBUSY	or ENOTTY EAGAIN EINVAL EIO ETIMEDOUT
 *	reset-slow=MS		a reset takes so much longer
 *	held			somebody has the device open (gpusim: while a driver is bound)
 *	gone			the device fell off the bus
 *
 * Keys: dev=BDF|gpu|switch|all (all), count=N (times it strikes; without: always), skip=N (times it
 * holds back first), from=start|write|reset|boot (after the first knob write, at the first reset,
 * after the first boot complete that follows; start), knob=N (RPC faults: only on this knob),
 * reg=OFFSET (all-ones, badf: only on this register).  A fault that is there already is not added
 * again; one whose count has run out begins anew.
 */
int gpumodel_fault_add(struct gpumodel *m, const char *spec, struct err *err) MUST_CHECK;
void gpumodel_fault_clear(struct gpumodel *m, const char *name); /* NULL: all */
bool gpumodel_fault_active(struct gpumodel *m, unsigned dev,
			   const char *name);		   /* does not strike */
uint64_t gpumodel_faults_serial(const struct gpumodel *m); /* moves with each strike that counts */

/* One fault per line, with what is left of counts; loading replaces all and keeps what did not
 * change. */
int gpumodel_faults_save(const struct gpumodel *m, struct buf *out, struct err *err) MUST_CHECK;
int gpumodel_faults_load(struct gpumodel *m, struct rd text, struct err *err) MUST_CHECK;

/*
 * Everything but faults, as text.  Loading makes the machine anew; deadlines are saved as time left,
 * so between the two the machine stands still.  A reset that was under way still is.
 */
int gpumodel_save(struct gpumodel *m, struct buf *out, struct err *err) MUST_CHECK;
int gpumodel_load(struct rd text, const struct gpumodel_config *config, struct gpumodel **out,
		  struct err *err) MUST_CHECK;
