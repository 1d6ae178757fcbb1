/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci - PCI functions of this machine: who is there, who owns them, their registers.
 *
 * In:       three folders (struct pci_host): sysfs, the host's root (for its /proc), our state.
 *           What lies below them is trusted for nothing; every read has a ceiling.
 * Out:      lists of functions with an error text each, so that one bad entry never hides the rest;
 *           registers through struct pci_ops, whichever back-end serves them.
 * Owns:     nothing global.  struct pci_device, struct pci_lock and struct pci_list are the
 *           caller's to close.
 * Blocks:   pci_driver_unbind(), pci_driver_bind() and pci_reset() block in the kernel, unbind
 *           without limit while somebody has the device open.  Call them from a child process.
 * Fails:    ERR_SYSTEM and ERR_DENIED with errno; ERR_INVALID for files that break their format;
 *           ERR_BUSY for what somebody else holds; ERR_DEVICE for a function that does not answer.
 * Does not: know GPUs (pkg/gpu does), wait (but for a lock, when asked), log, fork.
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rd.h"

#define PCI_VENDOR_NVIDIA 0x10de

/* Ceilings. */
#define PCI_PATH_BYTES	  1024 /* every path we make */
#define PCI_NAME_BYTES	  64   /* driver and module names, IOMMU groups */
#define PCI_ATTR_BYTES	  4096 /* one sysfs attribute is one page */
#define PCI_SCAN_MAX	  65536 /* functions below bus/pci/devices */
#define PCI_CFG_BYTES_MAX 4096 /* configuration space of a PCI Express function */

/* --- addresses ------------------------------------------------------------------------------- */

struct bdf {
	uint32_t domain; /* behind VMD above 0xffff */
	uint8_t bus, dev, fn;
};

struct bdf_text {
	char s[20];
};

/* "0000:41:00.0", also without domain ("41:00.0"); exactly this, in either case. */
int bdf_parse(const char *text, struct bdf *out, struct err *err) MUST_CHECK;
struct bdf_text bdf_text(struct bdf b);
#define bdf_str(b) (bdf_text(b).s) /* lives until the end of the full expression */
int bdf_compare(struct bdf a, struct bdf b); /* ascending, as qsort(3) wants it */
static inline bool bdf_equal(struct bdf a, struct bdf b)
{
	return bdf_compare(a, b) == 0;
}

/* --- where things are ------------------------------------------------------------------------ */

struct pci_host {
	const char *sysfs_root; /* "/sys" */
	const char *host_root;	/* "/": its proc/ is searched for holders */
	const char *state_dir;	/* "/run/nvidia/gpucc" */
};

#define PCI_HOST_DEFAULT                                                                           \
	((struct pci_host){.sysfs_root = "/sys", .host_root = "/", .state_dir = "/run/nvidia/gpucc"})

/* <sysfs>/bus/pci/devices/<bdf>/<attribute>; attribute "" is the folder itself. */
int pci_path(const struct pci_host *h, struct bdf b, const char *attribute,
	     char out[PCI_PATH_BYTES], struct err *err) MUST_CHECK;
/* One attribute as a line of text, without its newline. */
int pci_attr_read(const struct pci_host *h, struct bdf b, const char *attribute, char *out,
		  size_t size, struct err *err) MUST_CHECK;
int pci_attr_write(const struct pci_host *h, struct bdf b, const char *attribute, const char *text,
		   struct err *err) MUST_CHECK;
/* The last part of where a link points, "" when there is no such link. */
int pci_attr_link(const struct pci_host *h, struct bdf b, const char *attribute,
		  char out[PCI_NAME_BYTES], struct err *err) MUST_CHECK;

/* --- discovery ------------------------------------------------------------------------------- */

enum pci_reset_method { /* the kernel's names and, in reset_method, its order */
	PCI_RESET_NONE,
	PCI_RESET_DEVICE_SPECIFIC,
	PCI_RESET_ACPI,
	PCI_RESET_FLR,
	PCI_RESET_AF_FLR,
	PCI_RESET_PM,
	PCI_RESET_BUS,
	PCI_RESET_CXL_BUS,
	PCI_RESET_OTHER, /* a name that we do not know */
};

struct pci_info {
	struct bdf bdf;
	bool ids_known; /* vendor, device and class could be read */
	uint16_t vendor, device, subsys_vendor, subsys_device;
	uint32_t class24; /* base class, subclass, programming interface */
	uint64_t bar0_addr, bar0_bytes; /* 0: none */
	bool has_pm, has_pcie, has_flr;
	bool is_vf; /* an SR-IOV function: has no modes of its own */
	enum pci_reset_method reset_first; /* what the kernel would use */
	char driver[PCI_NAME_BYTES];	   /* "" none */
	char iommu_group[PCI_NAME_BYTES];  /* "" none */
	char error[256];		   /* what could not be read; "" nothing */
};

struct pci_list {
	struct pci_info *item; /* ascending by BDF */
	size_t n;
};

/* All functions of `vendor` (0: of any), and those whose vendor cannot be read at all (ids_known is
 * false).  Fails only when the folder itself cannot be read or memory is short. */
int pci_scan(const struct pci_host *h, uint16_t vendor, struct pci_list *out,
	     struct err *err) MUST_CHECK;
void pci_list_clear(struct pci_list *list);

/* --- registers ------------------------------------------------------------------------------- */

struct pci_device;

/* One back-end: sysfs here, the register model in tests; VFIO would be another.  rd32 and wr32 do
 * exactly one aligned 32-bit access and cannot fail: a function that is gone reads all ones. */
struct pci_ops {
	const char *name;
	int (*cfg_read)(struct pci_device *d, unsigned off, unsigned bytes, uint32_t *out,
			struct err *err);
	int (*cfg_write)(struct pci_device *d, unsigned off, unsigned bytes, uint32_t value,
			 struct err *err);
	int (*bar0_map)(struct pci_device *d, struct err *err); /* sets bar0_bytes; again: no-op */
	uint32_t (*rd32)(struct pci_device *d, uint32_t off);
	void (*wr32)(struct pci_device *d, uint32_t off, uint32_t value);
	int (*reset)(struct pci_device *d, struct err *err);
	/* power/control: NULL where the back-end has none */
	int (*power_get)(struct pci_device *d, char *out, size_t size, struct err *err);
	int (*power_set)(struct pci_device *d, const char *text, struct err *err);
	void (*close)(struct pci_device *d);
};

struct pci_device {
	struct bdf bdf;
	const struct pci_ops *ops; /* NULL: closed */
	size_t cfg_bytes;	   /* 64 for an unprivileged reader, 256, or 4096 */
	size_t bar0_bytes;	   /* 0 until mapped */
	void *ctx;		   /* the back-end's */
};

/* Opens the configuration space; touches nothing.  `h` must outlive the device. */
int pci_sysfs_open(const struct pci_host *h, struct bdf b, struct pci_device *out,
		   struct err *err) MUST_CHECK;
void pci_device_close(struct pci_device *d); /* closed already: fine */

int pci_cfg_read8(struct pci_device *d, unsigned off, uint8_t *out, struct err *err) MUST_CHECK;
int pci_cfg_read16(struct pci_device *d, unsigned off, uint16_t *out, struct err *err) MUST_CHECK;
int pci_cfg_read32(struct pci_device *d, unsigned off, uint32_t *out, struct err *err) MUST_CHECK;
int pci_cfg_write8(struct pci_device *d, unsigned off, uint8_t value, struct err *err) MUST_CHECK;
int pci_cfg_write16(struct pci_device *d, unsigned off, uint16_t value, struct err *err) MUST_CHECK;
int pci_cfg_write32(struct pci_device *d, unsigned off, uint32_t value, struct err *err) MUST_CHECK;

int pci_bar0_map(struct pci_device *d, struct err *err) MUST_CHECK;
/* Outside the mapping, or unaligned: reads all ones, writes nothing. */
uint32_t pci_rd32(struct pci_device *d, uint32_t off);
void pci_wr32(struct pci_device *d, uint32_t off, uint32_t value);

/* Function reset by the kernel.  The error says what the errno means here. */
int pci_reset(struct pci_device *d, struct err *err) MUST_CHECK;

/* Offset of a capability, 0 when there is none.  Loops and offsets outside are ERR_DEVICE. */
int pci_cap_find(struct pci_device *d, uint8_t id, unsigned *out, struct err *err) MUST_CHECK;
/* The DVSEC (extended capability 0x23) of this vendor with this id; 0 when there is none. */
int pci_dvsec_find(struct pci_device *d, uint16_t vendor, uint16_t id, unsigned *out,
		   struct err *err) MUST_CHECK;

/* Prints every access through `emit`, with the name that `name_of` has for an offset (NULL: none).
 * Wraps what `d` was opened with; pci_device_close() unwraps and closes both. */
typedef const char *pci_reg_name(void *arg, uint32_t off);
typedef void pci_trace_emit(void *arg, const char *line);
int pci_trace(struct pci_device *d, pci_reg_name *name_of, pci_trace_emit *emit, void *arg,
	      struct err *err) MUST_CHECK;

/* --- power ----------------------------------------------------------------------------------- */

struct pci_power {
	char control[16]; /* text to put back; "" when nothing was changed */
};

/* power/control := on, then D0; `saved` says what pci_power_restore() has to put back.  A caller that
 * may be killed in between stores pci_power_peek()'s answer first and restores it when next it runs. */
int pci_power_peek(struct pci_device *d, struct pci_power *out, struct err *err) MUST_CHECK;
int pci_power_on(struct pci_device *d, struct pci_power *saved, struct err *err) MUST_CHECK;
int pci_power_restore(struct pci_device *d, const struct pci_power *saved,
		      struct err *err) MUST_CHECK;

/* --- drivers --------------------------------------------------------------------------------- */

/* vfio-pci, and modules that are built on its core: they leave BAR0 alone while nobody has the
 * device open. */
bool pci_driver_is_vfio(const struct pci_host *h, struct bdf b, const char *driver);

int pci_driver_current(const struct pci_host *h, struct bdf b, char out[PCI_NAME_BYTES],
		       struct err *err) MUST_CHECK;
int pci_driver_override_get(const struct pci_host *h, struct bdf b, char out[PCI_NAME_BYTES],
			    struct err *err) MUST_CHECK; /* "" none */
int pci_driver_override_set(const struct pci_host *h, struct bdf b, const char *driver,
			    struct err *err) MUST_CHECK; /* "" clears */
/* No driver afterwards, seen by its link.  Without a driver: nothing to do.  Blocks. */
int pci_driver_unbind(const struct pci_host *h, struct bdf b, struct err *err) MUST_CHECK;
/* `driver` afterwards, seen by its link: driver_override, drivers_probe, and the override stays as
 * the caller set it.  Bound to it already: nothing to do; to another: ERR_BUSY.  Blocks. */
int pci_driver_bind(const struct pci_host *h, struct bdf b, const char *driver,
		    struct err *err) MUST_CHECK;

/* --- sharing --------------------------------------------------------------------------------- */

struct pci_holder {
	pid_t pid;    /* 0: nobody */
	char comm[17];
	char path[64]; /* /dev/vfio/12 */
};

/* Who has the vfio group, the vfio cdev or the /dev/nvidia* node of each of `n` functions open: one
 * walk over <host-root>/proc.  `out[i]` is the first holder found of item[i].  ERR_DENIED when a
 * process cannot be looked into and some function is bound to a driver that may be held. */
int pci_holders(const struct pci_host *h, const struct pci_info *item, size_t n,
		struct pci_holder *out, struct err *err) MUST_CHECK;

struct pci_lock {
	int fd; /* -1: not held */
};
#define PCI_LOCK_INIT ((struct pci_lock){.fd = -1})

/* <state-dir>/<BDF>.lock, made with its folder when absent.  ERR_BUSY at once when it is held, naming
 * who holds it.  A child that inherits the descriptor holds the lock as well, which is wanted: a
 * reset that outlives its parent keeps others away. */
int pci_lock_try(const struct pci_host *h, struct bdf b, struct pci_lock *out,
		 struct err *err) MUST_CHECK;
/* Waits until `wait_ms` have gone by or *stop (may be NULL) is set; tells `on_wait` once that it has to,
 * with the text of ERR_BUSY. */
int pci_lock_wait(const struct pci_host *h, struct bdf b, uint64_t wait_ms,
		  const volatile sig_atomic_t *stop, void (*on_wait)(void *arg, const char *why),
		  void *arg, struct pci_lock *out, struct err *err) MUST_CHECK;
void pci_lock_drop(struct pci_lock *lock);

/* --- the machine ----------------------------------------------------------------------------- */

enum pci_lockdown { PCI_LOCKDOWN_NONE, PCI_LOCKDOWN_INTEGRITY, PCI_LOCKDOWN_CONFIDENTIALITY };
extern const char *const pci_lockdown_names[];

/* <sysfs>/kernel/security/lockdown; absent is none.  Any but none forbids mapping BARs. */
int pci_host_lockdown(const struct pci_host *h, enum pci_lockdown *out, struct err *err) MUST_CHECK;

/* Whether this host can run confidential VMs, by the parameters of its KVM modules. */
enum pci_host_tee { PCI_HOST_TEE_NONE, PCI_HOST_TEE_TDX, PCI_HOST_TEE_SNP };
extern const char *const pci_host_tee_names[]; /* "none" "tdx" "snp" */
int pci_host_tee(const struct pci_host *h, enum pci_host_tee *out, struct err *err) MUST_CHECK;

/* The kernel's boot id: what we remembered counts in this boot only. */
#define PCI_BOOT_ID_BYTES 40
int pci_host_boot_id(char out[PCI_BOOT_ID_BYTES], struct err *err) MUST_CHECK;

/* --- parsers (each has its fuzz target) ------------------------------------------------------ */

struct pci_bar {
	uint64_t addr, bytes; /* bytes 0: absent or I/O */
	bool is_64;
	unsigned file; /* N of resourceN */
};
#define PCI_N_BARS 6

/* The text of `resource`: logical BARs, so a 64-bit BAR0 is followed by BAR1 in resource2. */
int pci_resource_parse(struct rd text, struct pci_bar out[PCI_N_BARS], struct err *err) MUST_CHECK;
/* "pci:v000010DEd00002330sv000010DEsd000016C1bc03sc02i00" */
int pci_modalias_parse(const char *text, struct pci_info *out, struct err *err) MUST_CHECK;
/* "flr bus": the first method. */
enum pci_reset_method pci_reset_method_first(const char *text);
