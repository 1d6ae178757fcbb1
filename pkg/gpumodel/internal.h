/* SPDX-License-Identifier: Apache-2.0 */
/* internal - what the files of gpumodel share: the device, the register table, the firmware. */
#pragma once
#include "gpumodel/gpumodel.h"

#define BITS(hi, lo) ((UINT32_MAX << (lo)) & (UINT32_MAX >> (31 - (hi))))
#define BIT(n)	     (1u << (n))

#define ALL_ONES      0xffffffffu
#define BAD_READ      0xbadf1100u /* a register that is not there */
#define BAD_SEC_FAULT 0xbadf0200u
#define NEVER_US      UINT64_MAX

/* Which register sets a chip has; a bit mask, so that table rows can name several. */
enum arch {
	ARCH_NONE = 0,
	ARCH_AMPERE = 1, /* before Hopper: a GPU without FSP */
	ARCH_HOPPER = 2,
	ARCH_GB100 = 4,
	ARCH_GB202 = 8,
	ARCH_LR10 = 16,
	ARCH_LS10 = 32,
	ARCH_BLACKWELL = ARCH_GB100 | ARCH_GB202,
	ARCH_FSP = ARCH_HOPPER | ARCH_BLACKWELL | ARCH_LS10,
	ARCH_EMEM = ARCH_HOPPER | ARCH_LS10,
	ARCH_GPU = ARCH_AMPERE | ARCH_HOPPER | ARCH_BLACKWELL,
	ARCH_ANY = ARCH_GPU | ARCH_LR10 | ARCH_LS10,
};

struct part {
	const char *name, *chip, *product, *describe;
	enum arch arch;
	uint16_t device, subdevice;
	uint32_t class;
	uint32_t boot_id; /* PMC_BOOT_0 */
	uint8_t flags;	  /* enum part_flag */
};

enum part_flag {
	P_SXM = 1,	/* on the NVLink fabric */
	P_NO_PPCIE = 2, /* firmware that does not know these knobs */
	P_NO_CC = 4,
	P_FOREIGN = 8, /* not NVIDIA's */
};

enum knob {
	KNOB_A = 2,
	KNOB_B = 4,
	KNOB_CCD = 6,
	KNOB_CCM = 8,
	KNOB_DECOUPLER = 10,
	KNOB_C = 34,
	KNOB_COUPLING_ALLOWED = 35,
	KNOB_COUPLING = 36,
	KNOB_PPCIE_ALLOWED = 44,
	KNOB_PPCIE = 45,
};

#define FSP_MAX_DWORDS	   1040 /* 4160 bytes, the larger MNOC port */
#define EMEM_CHANNELS	   8
#define EMEM_DWORDS	   2048
#define EMEM_CHANNEL_BYTES 1024
#define MNOC_PORTS	   2

struct emem_channel {
	uint32_t cmd_head, cmd_tail, msg_head, msg_tail;
	uint32_t control;     /* EMEMC as last written */
	uint32_t offset;      /* where the next data access goes */
	uint64_t due_us;      /* when the firmware looks at the command; 0: nothing rung */
	uint8_t tail_written; /* since the last doorbell */
};

struct mnoc_port {
	uint32_t in_size, in_done; /* of the command being written, bytes */
	uint32_t in_credit;	   /* bytes that may be written before the next poll */
	uint32_t out_size, out_done;
	uint8_t receiving, error;
	uint64_t due_us;     /* when the command is looked at; 0: none */
	uint64_t give_up_us; /* when a half-written command is dropped */
	uint32_t in[FSP_MAX_DWORDS], out[8];
};

/* Everything here but info, part and the counters of violations is in the table of save.c. */
struct device {
	struct gpumodel_info info;
	const struct part *part;
	struct part own_part; /* part points here when it is named by a device id */
	char part_name[24];
	uint16_t knob[GPUMODEL_N_KNOBS];
	uint8_t cc_active, ppcie_active, firewall_active;
	bool sxm;
	uint8_t boot_stuck, resetting, held, priv_ring, staged_here, coupled;
	uint64_t boot_at_us;	 /* boot complete from then on */
	uint64_t firewall_at_us; /* Blackwell: BAR0 opens */
	uint64_t flr_at_us;	 /* an FLR by hand ends; 0: none */
	uint64_t resets;
	uint32_t scratch[64], switch_scratch[16], flr_mark, sbr_mark, last_reset;
	uint32_t emem[EMEM_DWORDS];
	struct emem_channel channel[EMEM_CHANNELS];
	struct mnoc_port port[MNOC_PORTS];
	uint8_t cfg[GPUMODEL_CFG_BYTES];
	char driver[32];
	unsigned told[16]; /* how often each kind of violation was told */
};

enum fault_kind {
	FAULT_RPC_ERROR,
	FAULT_NO_ANSWER,
	FAULT_STUCK_QUEUE,
	FAULT_SHORT_ANSWER,
	FAULT_LONG_ANSWER,
	FAULT_WRONG_ANSWER,
	FAULT_RPC_SLOW,
	FAULT_INBAND_DENIED,
	FAULT_BOOT_NEVER,
	FAULT_MODE_STICKS,
	FAULT_ALL_ONES,
	FAULT_BADF,
	FAULT_SEC_FAULT,
	FAULT_RECOVERY,
	FAULT_RESET_ERRNO,
	FAULT_RESET_SLOW,
	FAULT_HELD,
	FAULT_GONE,
	FAULT_N_KINDS
};

enum fault_from { FROM_START, FROM_WRITE, FROM_RESET, FROM_BOOT, FROM_N };

struct fault {
	enum fault_kind kind;
	enum fault_from from;
	uint32_t value;
	int dev;       /* index, or one of the DEV_ values */
	int32_t knob;  /* -1: any */
	int64_t reg;   /* -1: any */
	int64_t count; /* strikes left; -1: without end */
	uint64_t skip;
	uint64_t seen[FROM_N]; /* bit per device: this moment has come since the fault was set */
};
enum { DEV_ALL = -1, DEV_GPUS = -2, DEV_SWITCHES = -3 };

struct gpumodel {
	struct gpumodel_config config;
	unsigned n_devices, n_faults;
	struct fault fault[GPUMODEL_MAX_FAULTS];
	uint64_t faults_serial, violations;
	struct device *device; /* n_devices of them */
};

/* model.c */
uint64_t model_now_us(const struct gpumodel *m);
void device_tick(struct gpumodel *m, struct device *d); /* does what has come due */
bool device_booted(const struct gpumodel *m, const struct device *d);
unsigned device_index(const struct gpumodel *m, const struct device *d);
void model_trace(struct gpumodel *m, const struct device *d, enum gpumodel_op op, uint32_t offset,
		 unsigned width, uint32_t value, const char *name);

/* Kinds of violations; each is told at most TOLD_MAX times per device and always counted. */
enum violation {
	V_WIDTH,
	V_DRIVER,
	V_HELD,
	V_D3,
	V_MEMORY,
	V_RESETTING,
	V_FIREWALL,
	V_OFFSET,
	V_HEAD_FIRST,
	V_EMEM_BUSY,
	V_EMEM_PENDING,
	V_MNOC,
	V_FABRIC,
	V_TRUST,
	V_PRIV_RING,
	V_OTHER
};
#define TOLD_MAX 20
void violation(struct gpumodel *m, struct device *d, enum violation kind, const char *fmt, ...)
	PRINTF(4, 5);

/* reset.c */
void device_latch(struct gpumodel *m, struct device *d); /* active modes follow the knobs */
void device_reset_core(struct gpumodel *m, struct device *d, bool flr, uint64_t boots_from_us);
unsigned device_cc_staged(const struct device *d);
bool device_ppcie_staged(const struct device *d);
bool device_unapplied(const struct device *d); /* a reset would change something */

/* chips.c */
int devices_parse(const char *text, struct gpumodel *m, struct err *err) MUST_CHECK;
int device_init(struct device *d, const char *part, const char *bdf, struct err *err) MUST_CHECK;

/* regs.c */
enum reg_id {
	REG_NONE,
	REG_BOOT_ID,
	REG_BOOT_DONE,
	REG_MODE,
	REG_BOOT_FLAGS,
	REG_RECOVERY,
	REG_PRIV_A,
	REG_PRIV_B,
	REG_DISCOVERY,
	REG_CONST,
	REG_SCRATCH,
	REG_SWITCH_SCRATCH,
	REG_FLR_MARK,
	REG_SBR_MARK,
	REG_LAST_RESET,
	REG_COUPLING,
	REG_CMD_HEAD,
	REG_CMD_TAIL,
	REG_MSG_HEAD,
	REG_MSG_TAIL,
	REG_EMEMC,
	REG_EMEMD,
	REG_MNOC_IN_INFO,
	REG_MNOC_IN_DATA,
	REG_MNOC_OUT_INFO,
	REG_MNOC_OUT_DATA,
	REG_N
};
struct reg {
	uint32_t offset;
	uint16_t n, stride; /* n of them, stride bytes apart */
	uint8_t arch, id;
	uint32_t value; /* of REG_CONST */
	const char *name;
};
const struct reg *reg_find(enum arch arch, uint32_t offset, unsigned *index); /* NULL: none */
uint32_t reg_read(struct gpumodel *m, struct device *d, const struct reg *reg, unsigned index);
void reg_write(struct gpumodel *m, struct device *d, const struct reg *reg, unsigned index,
	       uint32_t value);

/* emem.c, mnoc.c: the two ways commands reach the firmware */
uint32_t emem_read(struct gpumodel *m, struct device *d, enum reg_id id, unsigned channel);
void emem_write(struct gpumodel *m, struct device *d, enum reg_id id, unsigned channel,
		uint32_t value);
void emem_tick(struct gpumodel *m, struct device *d);
void emem_reset(struct device *d);
uint32_t mnoc_read(struct gpumodel *m, struct device *d, enum reg_id id, unsigned port);
void mnoc_write(struct gpumodel *m, struct device *d, enum reg_id id, unsigned port,
		uint32_t value);
void mnoc_tick(struct gpumodel *m, struct device *d);
void mnoc_reset(struct device *d);

/* fsp.c: the firmware.  Returns the dwords of the answer, 0 for none. */
enum fsp_answer { FSP_ANSWERED, FSP_SILENT, FSP_STUCK };
enum fsp_answer fsp_command(struct gpumodel *m, struct device *d, const uint32_t *in, size_t n_in,
			    unsigned channel, uint32_t out[8], size_t *n_out);
uint64_t fsp_latency_us(struct gpumodel *m, struct device *d, uint32_t knob_dword);
bool fsp_knob_valid(const struct device *d, unsigned id);
void fsp_knobs_init(struct device *d);

/* cfg.c */
#define CFG_PM		    0x60
#define CFG_PMCSR	    (CFG_PM + 4)
#define CFG_PCIE	    0x78
#define CFG_DEVCTL	    (CFG_PCIE + 8)
#define CFG_DVSEC	    0x160
#define CFG_SECFAULT_HOPPER 0x2b4
void cfg_init(struct device *d);
uint16_t cfg_get16(const struct device *d, uint32_t offset);
void cfg_put(struct device *d, uint32_t offset, unsigned width, uint32_t value);
bool cfg_memory_on(const struct device *d);
bool cfg_in_d3(const struct device *d);

/* faults.c: _on looks, _strike also uses up a count; both give the value */
bool fault_on(struct gpumodel *m, const struct device *d, enum fault_kind kind, int knob,
	      int64_t reg, uint32_t *value);
bool fault_strike(struct gpumodel *m, const struct device *d, enum fault_kind kind, int knob,
		  int64_t reg, uint32_t *value);
void faults_moment(struct gpumodel *m, const struct device *d, enum fault_from moment);
