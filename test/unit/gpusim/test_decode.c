/* SPDX-License-Identifier: Apache-2.0 */
/* test_decode - lengths, widths and registers of instructions as an assembler encodes them. */
#include "../../../cmd/gpusim/decode.h"
#include "../table.h"

#include <string.h>

static const struct {
	const char *name, *bytes;
	size_t n;
	enum insn_op op;
	unsigned width, reg, reg_width;
	int64_t imm;
} good[] = {
	{ "mov eax,[rdi]", "\x8b\x07", 2, INSN_LOAD, 4, 0, 4, 0 },
	{ "mov r9d,[rdi+0x200bc]", "\x44\x8b\x8f\xbc\x00\x02\x00", 7, INSN_LOAD, 4, 9, 4, 0 },
	{ "mov rax,[rip+0]", "\x48\x8b\x05\0\0\0\0", 7, INSN_LOAD, 8, 0, 8, 0 },
	{ "mov [rax+rcx*4+8],edx", "\x89\x54\x88\x08", 4, INSN_STORE, 4, 2, 4, 0 },
	{ "mov [rsp],sil", "\x40\x88\x34\x24", 4, INSN_STORE, 1, 6, 1, 0 },
	{ "mov [0x1000],ah", "\x88\x24\x25\x00\x10\0\0", 7, INSN_STORE, 1, 0, 1, 0 },
	{ "mov word [rax],0x1234", "\x66\xc7\x00\x34\x12", 5, INSN_STORE_IMM, 2, 0, 0, 0x1234 },
	{ "mov qword [rax],-1", "\x48\xc7\x00\xff\xff\xff\xff", 7, INSN_STORE_IMM, 8, 0, 0, -1 },
	{ "mov eax,moffs", "\xa1\0\0\0\0\0\0\0\0", 9, INSN_LOAD, 4, 0, 4, 0 },
	{ "movzx r8d,byte [rbx]", "\x44\x0f\xb6\x03", 4, INSN_LOAD, 1, 8, 4, 0 },
	{ "movsxd rax,[rdi]", "\x48\x63\x07", 3, INSN_LOAD, 4, 0, 8, 0 },
	{ "and dword [rax],imm8", "\x83\x20\xfe", 3, INSN_ALU_IMM, 4, 0, 0, -2 },
	{ "or [rax],ecx", "\x09\x08", 2, INSN_ALU_STORE, 4, 1, 4, 0 },
	{ "cmp eax,[rax]", "\x3b\x00", 2, INSN_ALU_LOAD, 4, 0, 4, 0 },
	{ "test dword [rax],imm", "\xf7\x00\x01\0\0\0", 6, INSN_TEST_IMM, 4, 0, 0, 1 },
	{ "lock cmpxchg [rdi],ecx", "\xf0\x0f\xb1\x0f", 4, INSN_CMPXCHG, 4, 1, 4, 0 },
	{ "xchg [rdi],eax", "\x87\x07", 2, INSN_XCHG, 4, 0, 4, 0 },
	{ "rep movsb", "\xf3\xa4", 2, INSN_MOVS, 1, 0, 1, 0 },
	{ "stosd", "\xab", 1, INSN_STOS, 4, 0, 4, 0 },
	{ "movups xmm9,[rdi]", "\x44\x0f\x10\x0f", 4, INSN_VEC_LOAD, 16, 9, 16, 0 },
	{ "movd [rdi],xmm1", "\x66\x0f\x7e\x0f", 4, INSN_VEC_STORE, 4, 1, 16, 0 },
	{ "vmovdqu ymm0,[rsi]", "\xc5\xfe\x6f\x06", 4, INSN_VEC_LOAD, 32, 0, 32, 0 },
	{ "vmovdqu [rdi],ymm12", "\xc5\x7e\x7f\x27", 4, INSN_VEC_STORE, 32, 12, 32, 0 },
	{ "vmovdqu64 zmm16,[rsi]", "\x62\xe1\xfe\x48\x6f\x06", 6, INSN_VEC_LOAD, 64, 16, 64, 0 },
};

TABLE_TEST(decode, reads_instructions, good)
{
	struct insn i;

	cr_assert(insn_decode((const uint8_t *)row->bytes, row->n, &i), "%s", row->name);
	cr_assert_eq(i.length, row->n, "%s: length %u", row->name, i.length);
	cr_assert_eq(i.op, row->op, "%s: op %d", row->name, i.op);
	cr_assert_eq(i.width, row->width, "%s: width %u", row->name, i.width);
	cr_assert_eq(i.reg, row->reg, "%s: register %u", row->name, i.reg);
	cr_assert_eq(i.reg_width, row->reg_width, "%s: register width %u", row->name, i.reg_width);
	cr_assert_eq(i.imm, row->imm, "%s", row->name);
	for (size_t n = 0; n < row->n; n++)
		cr_assert(!insn_decode((const uint8_t *)row->bytes, n, &i), "%s cut to %zu",
			  row->name, n);
}

static const struct {
	const char *name, *bytes;
	size_t n;
} bad[] = {
	{ "nothing", "", 0 },
	{ "mov eax,ecx", "\x89\xc8", 2 },
	{ "nop", "\x90", 1 },
	{ "call [rax]", "\xff\x10", 2 },
	{ "push [rax]", "\xff\x30", 2 },
	{ "prefixes only", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", 15 },
	{ "masked vmovdqu64", "\x62\xf1\xfe\x49\x6f\x06", 6 },
	{ "vpaddd ymm0,ymm0,[rsi]", "\xc5\xfd\xfe\x06", 4 },
	{ "mul dword [rax]", "\xf7\x20", 2 },
};

TABLE_TEST(decode, leaves_the_rest, bad)
{
	struct insn i;

	cr_assert(!insn_decode((const uint8_t *)row->bytes, row->n, &i), "%s", row->name);
}
