/* SPDX-License-Identifier: Apache-2.0 */
/* decode - prefixes, opcode, ModRM; only instructions with one memory operand that compilers use for
 * device registers, and those of memcpy and memset, which are told apart to be complained about. */
#include "decode.h"

#include <string.h>

#include "base/rd.h"

enum prefix { P_66 = 1, P_F2 = 2, P_F3 = 4, P_67 = 8 };
enum rex { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8, REX_ANY = 0x40 };

struct parse {
	struct rd in;
	unsigned prefixes, rex;
	struct insn *out;
};

struct modrm {
	unsigned mod, reg, rm; /* reg without REX */
};

/* Steps over ModRM, SIB and displacement; false for a register operand. */
static bool modrm_memory(struct parse *p, struct modrm *m)
{
	uint8_t byte, sib = 0;
	size_t displacement = 0;

	if (!rd_u8(&p->in, &byte))
		return false;
	*m = (struct modrm){ byte >> 6, byte >> 3 & 7, byte & 7 };
	if (m->mod == 3 || (m->rm == 4 && !rd_u8(&p->in, &sib)))
		return false;
	if (m->mod == 1)
		displacement = 1;
	else if (m->mod == 2 || m->rm == 5 || (m->rm == 4 && (sib & 7) == 5))
		displacement = 4;
	return rd_skip(&p->in, displacement);
}

static bool immediate(struct parse *p, unsigned bytes, int64_t *out)
{
	uint8_t b;
	uint16_t w;
	uint32_t d;

	switch (bytes) {
	case 1:
		return rd_u8(&p->in, &b) && (*out = (int8_t)b, true);
	case 2:
		return rd_le16(&p->in, &w) && (*out = (int16_t)w, true);
	default: /* eight-byte operands take four bytes, sign-extended */
		return rd_le32(&p->in, &d) && (*out = (int32_t)d, true);
	}
}

static unsigned operand_width(const struct parse *p, bool byte)
{
	return byte ? 1 : p->rex & REX_W ? 8 : p->prefixes & P_66 ? 2 : 4;
}

static void general_reg(struct parse *p, unsigned reg, unsigned width)
{
	struct insn *o = p->out;

	if (width == 1 && !(p->rex & REX_ANY) && reg >= 4) {
		o->high_byte = true;
		reg -= 4;
	} else if (p->rex & REX_R) {
		reg |= 8;
	}
	o->reg = (uint8_t)reg;
	o->reg_width = (uint8_t)width;
}

/* Operation between a register and memory of the same width. */
static bool reg_memory(struct parse *p, enum insn_op op, bool byte)
{
	struct modrm m;

	if (!modrm_memory(p, &m))
		return false;
	p->out->op = op;
	p->out->width = (uint8_t)operand_width(p, byte);
	general_reg(p, m.reg, p->out->width);
	return true;
}

/* A load that widens: movzx, movsx, movsxd. */
static bool widening(struct parse *p, unsigned width, enum extend extend)
{
	struct modrm m;

	if (!modrm_memory(p, &m))
		return false;
	p->out->op = INSN_LOAD;
	p->out->extend = extend;
	general_reg(p, m.reg, operand_width(p, false));
	p->out->width = (uint8_t)width;
	return true;
}

/* Opcodes that are one operation per value of ModRM.reg. */
static bool group(struct parse *p, uint8_t opcode)
{
	struct insn *o = p->out;
	struct modrm m;
	bool byte = !(opcode & 1);

	if (!modrm_memory(p, &m))
		return false;
	o->width = (uint8_t)operand_width(p, byte);
	switch (opcode) {
	case 0x80:
	case 0x81:
	case 0x83:
		o->op = INSN_ALU_IMM;
		o->alu = m.reg;
		return immediate(p, opcode == 0x81 ? o->width : 1, &o->imm);
	case 0xc6:
	case 0xc7:
		o->op = INSN_STORE_IMM;
		return m.reg == 0 && immediate(p, o->width, &o->imm);
	case 0xf6:
	case 0xf7:
		if (m.reg < 2) {
			o->op = INSN_TEST_IMM;
			return immediate(p, o->width, &o->imm);
		}
		o->op = m.reg == 2 ? INSN_NOT : INSN_NEG;
		return m.reg < 4;
	default: /* fe, ff */
		o->op = m.reg == 0 ? INSN_INC : INSN_DEC;
		return m.reg < 2;
	}
}

static bool string_op(struct parse *p, enum insn_op op, bool byte)
{
	p->out->op = op;
	p->out->width = (uint8_t)operand_width(p, byte);
	p->out->reg_width = p->out->width;
	p->out->rep = p->prefixes & (P_F2 | P_F3);
	return true;
}

static bool direct_address(struct parse *p, uint8_t opcode)
{
	p->out->op = opcode & 2 ? INSN_STORE : INSN_LOAD;
	p->out->width = p->out->reg_width = (uint8_t)operand_width(p, !(opcode & 1));
	return rd_skip(&p->in, p->prefixes & P_67 ? 4 : 8);
}

static bool opcode_one(struct parse *p, uint8_t opcode)
{
	bool byte = !(opcode & 1);

	if (opcode < 0x40 && (opcode & 4) == 0) {
		p->out->alu = opcode >> 3;
		return reg_memory(p, opcode & 2 ? INSN_ALU_LOAD : INSN_ALU_STORE, byte);
	}
	switch (opcode) {
	case 0x63:
		return widening(p, 4, EXTEND_SIGN);
	case 0x80:
	case 0x81:
	case 0x83:
	case 0xc6:
	case 0xc7:
	case 0xf6:
	case 0xf7:
	case 0xfe:
	case 0xff:
		return group(p, opcode);
	case 0x84:
	case 0x85:
		return reg_memory(p, INSN_TEST, byte);
	case 0x86:
	case 0x87:
		return reg_memory(p, INSN_XCHG, byte);
	case 0x88:
	case 0x89:
		return reg_memory(p, INSN_STORE, byte);
	case 0x8a:
	case 0x8b:
		return reg_memory(p, INSN_LOAD, byte);
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa3:
		return direct_address(p, opcode);
	case 0xa4:
	case 0xa5:
		return string_op(p, INSN_MOVS, byte);
	case 0xaa:
	case 0xab:
		return string_op(p, INSN_STOS, byte);
	case 0xac:
	case 0xad:
		return string_op(p, INSN_LODS, byte);
	default:
		return false;
	}
}

/* How vector moves spell their prefix, in all three encodings. */
enum pp { PP_NONE, PP_66, PP_F3, PP_F2 };

static bool vector(struct insn *o, enum insn_op op, unsigned width)
{
	o->op = op;
	o->width = (uint8_t)width;
	return true;
}

/* Opcode map 0f; `full` is the width of the whole register, `wide` is W. */
static bool vector_op(struct insn *o, uint8_t opcode, enum pp pp, unsigned full, bool wide)
{
	enum insn_op op = opcode & 1 ? INSN_VEC_STORE : INSN_VEC_LOAD;

	switch (opcode) {
	case 0x10:
	case 0x11: /* movups movupd movss movsd */
		return vector(o, op, pp == PP_F3 ? 4 : pp == PP_F2 ? 8 : full);
	case 0x28:
	case 0x29:
		return pp < PP_F3 && vector(o, op, full);
	case 0x2b:
		return pp < PP_F3 && vector(o, INSN_VEC_STORE, full);
	case 0x6e:
		return pp == PP_66 && vector(o, INSN_VEC_LOAD, wide ? 8 : 4);
	case 0x6f:
		return pp != PP_NONE && vector(o, INSN_VEC_LOAD, full);
	case 0x7e:
		return pp == PP_F3 ? vector(o, INSN_VEC_LOAD, 8)
				   : pp == PP_66 && vector(o, INSN_VEC_STORE, wide ? 8 : 4);
	case 0x7f:
		return pp != PP_NONE && vector(o, INSN_VEC_STORE, full);
	case 0xd6:
		return pp == PP_66 && vector(o, INSN_VEC_STORE, 8);
	case 0xe7:
		return pp == PP_66 && vector(o, INSN_VEC_STORE, full);
	case 0xf0:
		return pp == PP_F2 && vector(o, INSN_VEC_LOAD, full);
	default:
		return false;
	}
}

static bool sse(struct parse *p, uint8_t opcode)
{
	enum pp pp = p->prefixes & P_F3	  ? PP_F3
		     : p->prefixes & P_F2 ? PP_F2
		     : p->prefixes & P_66 ? PP_66
					  : PP_NONE;
	struct modrm m;

	if (!vector_op(p->out, opcode, pp, 16, p->rex & REX_W) || !modrm_memory(p, &m))
		return false;
	p->out->reg = (uint8_t)(m.reg | (p->rex & REX_R ? 8 : 0));
	p->out->reg_width = 16;
	p->out->keep_rest = true;
	return true;
}

static bool bit_test(struct parse *p)
{
	struct modrm m;

	if (!modrm_memory(p, &m) || m.reg != 4 || !immediate(p, 1, &p->out->imm))
		return false;
	p->out->op = INSN_BT_IMM;
	p->out->width = (uint8_t)operand_width(p, false);
	return true;
}

static bool movbe(struct parse *p)
{
	uint8_t opcode;

	return rd_u8(&p->in, &opcode) && (opcode & 0xfe) == 0xf0 &&
	       !(p->prefixes & (P_F2 | P_F3)) &&
	       reg_memory(p, opcode & 1 ? INSN_MOVBE_STORE : INSN_MOVBE_LOAD, false);
}

static bool opcode_two(struct parse *p)
{
	uint8_t opcode;

	if (!rd_u8(&p->in, &opcode))
		return false;
	if ((opcode & 0xf0) == 0x40) {
		p->out->condition = opcode & 15;
		return reg_memory(p, INSN_CMOV, false);
	}
	switch (opcode) {
	case 0x38:
		return movbe(p);
	case 0xb0:
	case 0xb1:
		return reg_memory(p, INSN_CMPXCHG, !(opcode & 1));
	case 0xb6:
	case 0xb7:
		return widening(p, opcode & 1 ? 2 : 1, EXTEND_ZERO);
	case 0xbe:
	case 0xbf:
		return widening(p, opcode & 1 ? 2 : 1, EXTEND_SIGN);
	case 0xba:
		return bit_test(p);
	case 0xc0:
	case 0xc1:
		return reg_memory(p, INSN_XADD, !(opcode & 1));
	case 0xc3:
		return reg_memory(p, INSN_STORE, false);
	default:
		return sse(p, opcode);
	}
}

/* c5 RvvvvLpp, c4 RXBmmmmm WvvvvLpp */
static bool vex(struct parse *p, bool three)
{
	uint8_t a, b, opcode;
	struct modrm m;

	if (!rd_u8(&p->in, &a) || (b = a, three && !rd_u8(&p->in, &b)) || !rd_u8(&p->in, &opcode))
		return false;
	if (three && (a & 31) != 1)
		return false;
	if (!vector_op(p->out, opcode, b & 3, b & 4 ? 32 : 16, three && (b & 0x80)) ||
	    !modrm_memory(p, &m))
		return false;
	p->out->reg = (uint8_t)(m.reg | (a & 0x80 ? 0 : 8));
	p->out->reg_width = p->out->width > 16 ? p->out->width : 16;
	return true;
}

/* 62 RXBR0mmm Wvvvv1pp zLLbVaaa; without masks */
static bool evex(struct parse *p)
{
	static const uint8_t full[] = { 16, 32, 64, 0 };
	uint8_t a, b, c, opcode;
	struct modrm m;
	unsigned width;

	if (!rd_u8(&p->in, &a) || !rd_u8(&p->in, &b) || !rd_u8(&p->in, &c) ||
	    !rd_u8(&p->in, &opcode))
		return false;
	width = full[c >> 5 & 3];
	/* vmovdqu8 and 16 use the f2 prefix where the older encodings have none */
	if ((a & 7) != 1 || (c & 0x97) || !(b & 4) || !width ||
	    !vector_op(p->out, opcode, b & 3, width, b & 0x80) || !modrm_memory(p, &m))
		return false;
	p->out->reg = (uint8_t)(m.reg | (a & 0x80 ? 0 : 8) | (a & 0x10 ? 0 : 16));
	p->out->reg_width = p->out->width > 16 ? p->out->width : 16;
	return true;
}

static bool prefix(struct parse *p, uint8_t byte)
{
	switch (byte) {
	case 0x66:
		p->prefixes |= P_66;
		return true;
	case 0x67:
		p->prefixes |= P_67;
		return true;
	case 0xf2:
		p->prefixes |= P_F2;
		return true;
	case 0xf3:
		p->prefixes |= P_F3;
		return true;
	case 0xf0:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x26:
	case 0x64:
	case 0x65:
		return true; /* lock and segments change nothing for us */
	default:
		return false;
	}
}

static bool instruction(struct parse *p)
{
	uint8_t byte;

	do
		if (!rd_u8(&p->in, &byte))
			return false;
	while (prefix(p, byte));
	if ((byte & 0xf0) == 0x40) {
		p->rex = byte;
		if (!rd_u8(&p->in, &byte))
			return false;
	}
	switch (byte) {
	case 0x0f:
		return opcode_two(p);
	case 0xc4:
	case 0xc5:
		return !p->rex && vex(p, byte == 0xc4);
	case 0x62:
		return !p->rex && evex(p);
	default:
		return opcode_one(p, byte);
	}
}

bool insn_decode(const uint8_t *bytes, size_t n, struct insn *out)
{
	struct parse p = { .in = rd_of(bytes, n < INSN_MAX_BYTES ? n : INSN_MAX_BYTES),
			   .out = out };
	size_t size = p.in.left;

	memset(out, 0, sizeof(*out));
	if (!instruction(&p))
		return false;
	out->length = (uint8_t)(size - p.in.left);
	return true;
}
