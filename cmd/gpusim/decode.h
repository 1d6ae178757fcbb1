/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode - what one x86-64 instruction does to memory, for those that compilers and C libraries use
 * on device registers.
 *
 * In:       up to 15 bytes at the instruction pointer.
 * Out:      struct insn; the address itself comes from the fault.
 * Fails:    false for anything else.
 * Does not: execute (access.c does).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_MAX_BYTES 15

enum insn_op {
	INSN_LOAD,	/* register = memory; by `extend` */
	INSN_STORE,	/* memory = register */
	INSN_STORE_IMM, /* memory = imm */
	INSN_ALU_LOAD,	/* register = register alu memory */
	INSN_ALU_STORE, /* memory = memory alu register */
	INSN_ALU_IMM,	/* memory = memory alu imm */
	INSN_TEST,	/* flags of memory & register */
	INSN_TEST_IMM,
	INSN_NOT,
	INSN_NEG,
	INSN_INC,
	INSN_DEC,
	INSN_XCHG,
	INSN_CMPXCHG,
	INSN_XADD,
	INSN_CMOV,   /* register = memory if `condition` */
	INSN_BT_IMM, /* carry = bit imm of memory */
	INSN_MOVBE_LOAD,
	INSN_MOVBE_STORE,
	INSN_MOVS,
	INSN_STOS,
	INSN_LODS,
	INSN_VEC_LOAD,
	INSN_VEC_STORE, /* of `width` bytes; the rest of the register is zeroed or kept */
};

enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum extend { EXTEND_NONE, EXTEND_ZERO, EXTEND_SIGN };

struct insn {
	enum insn_op op;
	enum alu alu;
	enum extend extend;
	uint8_t length;
	uint8_t width;	   /* of the memory access, bytes: 1 2 4 8 16 32 64 */
	uint8_t reg;	   /* general 0-15 or vector 0-31 */
	uint8_t reg_width; /* bytes of the register that change */
	bool high_byte;	   /* ah ch dh bh: bits 15:8 of register `reg` */
	bool rep;	   /* string instructions */
	bool keep_rest;	   /* vector: legacy SSE leaves the upper bits alone */
	uint8_t condition; /* cmov */
	int64_t imm;
};

bool insn_decode(const uint8_t *bytes, size_t n, struct insn *out);
