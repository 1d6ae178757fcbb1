/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chip - what is known of each chip: which ids, which registers, what it can.  The registers hang on
 * the family, the family on the device, so that a node may mix chips.
 */
#pragma once
#include "gpu/gpu.h"

enum gpu_transport { GPU_TRANSPORT_NONE, GPU_TRANSPORT_EMEM, GPU_TRANSPORT_MNOC };

struct gpu_regs_range {
	uint32_t first;
	unsigned n; /* dwords */
	const char *name;
};
#define GPU_DUMP_MAX 12

struct gpu_family {
	enum gpu_transport transport;
	size_t bar0_bytes;	/* reach of the registers */
	uint32_t boot_status, boot_done;
	uint64_t boot_ms;	/* that boot may take */
	uint32_t mode;
	uint32_t mode_cc, mode_ppcie; /* fields; 0: none */
	uint32_t flr_mark, sbr_mark;  /* 0: none */
	bool bar_firewall, priv_ring, has_decoupler;
	/* Recovery: a bit that says so, or a field that is at most `recovery_none`. */
	uint32_t recovery, recovery_bit, recovery_field, recovery_none;
	uint32_t fault_cfg, fault_dvsec; /* where a security fault's code stands; 0: nowhere */
	struct gpu_regs_range dump[GPU_DUMP_MAX]; /* worth logging after a failure */
};

struct gpu_chip {
	const char *name;
	const struct gpu_family *family; /* NULL: no firmware with modes */
	enum gpu_kind kind;
	bool cc, ppcie;
};

const struct gpu_chip *gpu_chip_of_id(uint16_t device_id);     /* GPUs; NULL: no CC */
const struct gpu_chip *gpu_chip_of_chipset(uint32_t boot0);    /* GPUs whose id says nothing */
const struct gpu_chip *gpu_chip_of_switch(uint32_t boot0);     /* NULL: no NVSwitch */
const struct gpu_chip *gpu_chip_guess_switch(uint16_t device_id); /* before BAR0 can be read */
const char *gpu_name_of_id(uint16_t device_id);		       /* "H100"; NULL: no name */
bool gpu_is_on_fabric(uint16_t device_id, uint16_t subsys_id);	       /* an SXM module */
const char *gpu_reg_name(const struct gpu_family *family, uint32_t off); /* NULL: none */

extern const struct gpu_family gh100_family, gb100_family, gb202_family, ls10_family;
