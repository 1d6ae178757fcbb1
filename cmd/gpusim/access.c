/* SPDX-License-Identifier: Apache-2.0 */
/* access - a fault inside a BAR0 mapping becomes one access of the model: decode the instruction, do
 * what it does, step over it.  The mapping stays closed, so no other thread can slip through. */
#include <elf.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "decode.h"
#include "sim.h"

#define XSAVE_MAX  8192
#define XSAVE_XMM  160 /* in the legacy area, which is always there */
#define XSAVE_BV   512
#define VECTOR_MAX 64

#define CF    0x001u
#define PF    0x004u
#define AF    0x010u
#define ZF    0x040u
#define SF    0x080u
#define OF    0x800u
#define FLAGS (CF | PF | AF | ZF | SF | OF)

struct access {
	struct sim *sim;
	struct task *task;
	const struct mapping *mapping;
	uint64_t address;
	struct insn insn;
	struct user_regs_struct regs;
};

static unsigned long long *reg_slot(struct user_regs_struct *r, unsigned n)
{
	unsigned long long *const slot[] = { &r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp,
					     &r->rsi, &r->rdi, &r->r8,	&r->r9,	 &r->r10, &r->r11,
					     &r->r12, &r->r13, &r->r14, &r->r15 };

	return slot[n & 15];
}

static uint64_t mask_of(unsigned width)
{
	return width >= 8 ? UINT64_MAX : (1ull << 8 * width) - 1;
}

static uint64_t reg_get(struct access *a, unsigned width)
{
	uint64_t v = *reg_slot(&a->regs, a->insn.reg);

	return (a->insn.high_byte ? v >> 8 : v) & mask_of(width);
}

static void slot_set(struct user_regs_struct *r, unsigned n, bool high, unsigned width,
		     uint64_t value)
{
	unsigned long long *slot = reg_slot(r, n);
	unsigned shift = high ? 8 : 0;

	if (width == 4)
		*slot = (uint32_t)value; /* upper half is zeroed */
	else
		*slot = (*slot & ~(mask_of(width) << shift)) | (value & mask_of(width)) << shift;
}

static void reg_set(struct access *a, unsigned width, uint64_t value)
{
	slot_set(&a->regs, a->insn.reg, a->insn.high_byte, width, value);
}

/* --- memory: the device, one access each --------------------------------------------------------- */

static uint64_t device_read(struct access *a)
{
	return gpumodel_read_sized(a->sim->model, a->mapping->dev,
				   (uint32_t)(a->address - a->mapping->start + a->mapping->offset),
				   a->insn.width);
}

/* False when the client is to be killed before the write takes effect. */
static bool device_write(struct access *a, uint64_t value)
{
	if (point_reached(a->sim, POINT_REG))
		return false;
	gpumodel_write_sized(a->sim->model, a->mapping->dev,
			     (uint32_t)(a->address - a->mapping->start + a->mapping->offset),
			     a->insn.width, value & mask_of(a->insn.width));
	a->sim->dirty = true;
	return true;
}

/* --- arithmetic ---------------------------------------------------------------------------------- */

static void flags_set(struct access *a, uint64_t result, unsigned flags)
{
	uint64_t sign = 1ull << (8 * a->insn.width - 1);

	result &= mask_of(a->insn.width);
	flags |= result == 0 ? ZF : 0;
	flags |= result & sign ? SF : 0;
	flags |= __builtin_parity((unsigned)(result & 0xff)) ? 0 : PF;
	a->regs.eflags = (a->regs.eflags & ~(uint64_t)FLAGS) | flags;
}

static uint64_t add_flags(struct access *a, uint64_t x, uint64_t y, unsigned carry)
{
	uint64_t mask = mask_of(a->insn.width), sign = 1ull << (8 * a->insn.width - 1), sum;
	unsigned __int128 wide;

	x &= mask;
	y &= mask;
	wide = (unsigned __int128)x + y + carry;
	sum = (uint64_t)wide & mask;
	flags_set(a, sum,
		  (wide > mask ? CF : 0) | ((x ^ y ^ sum) & 0x10 ? AF : 0) |
			  (~(x ^ y) & (x ^ sum) & sign ? OF : 0));
	return sum;
}

static uint64_t sub_flags(struct access *a, uint64_t x, uint64_t y, unsigned borrow)
{
	uint64_t mask = mask_of(a->insn.width), sign = 1ull << (8 * a->insn.width - 1), difference;

	x &= mask;
	y &= mask;
	difference = (x - y - borrow) & mask;
	flags_set(a, difference,
		  ((unsigned __int128)y + borrow > x ? CF : 0) |
			  ((x ^ y ^ difference) & 0x10 ? AF : 0) |
			  ((x ^ y) & (x ^ difference) & sign ? OF : 0));
	return difference;
}

static uint64_t logic_flags(struct access *a, uint64_t result)
{
	flags_set(a, result, 0);
	return result & mask_of(a->insn.width);
}

static uint64_t alu(struct access *a, uint64_t x, uint64_t y)
{
	unsigned carry = a->regs.eflags & CF;

	switch (a->insn.alu) {
	case ALU_ADD:
		return add_flags(a, x, y, 0);
	case ALU_ADC:
		return add_flags(a, x, y, carry);
	case ALU_SUB:
	case ALU_CMP:
		return sub_flags(a, x, y, 0);
	case ALU_SBB:
		return sub_flags(a, x, y, carry);
	case ALU_OR:
		return logic_flags(a, x | y);
	case ALU_AND:
		return logic_flags(a, x & y);
	case ALU_XOR:
		return logic_flags(a, x ^ y);
	}
	return 0;
}

static bool alu_store(struct access *a, uint64_t y)
{
	uint64_t result = alu(a, device_read(a), y);

	return a->insn.alu == ALU_CMP || device_write(a, result);
}

static bool one_operand(struct access *a)
{
	uint64_t v = device_read(a), carry = a->regs.eflags & CF;

	switch (a->insn.op) {
	case INSN_NOT:
		return device_write(a, ~v);
	case INSN_NEG:
		return device_write(a, sub_flags(a, 0, v, 0));
	case INSN_INC:
		v = add_flags(a, v, 1, 0);
		break;
	default:
		v = sub_flags(a, v, 1, 0);
	}
	a->regs.eflags = (a->regs.eflags & ~(uint64_t)CF) | carry; /* inc and dec leave it */
	return device_write(a, v);
}

static bool cmpxchg(struct access *a)
{
	uint64_t v = device_read(a), rax = a->regs.rax & mask_of(a->insn.width);

	sub_flags(a, rax, v, 0);
	if (rax == v)
		return device_write(a, reg_get(a, a->insn.width));
	slot_set(&a->regs, 0, false, a->insn.width, v);
	return true;
}

static bool exchange(struct access *a)
{
	uint64_t v = device_read(a), r = reg_get(a, a->insn.width);

	if (!device_write(a, a->insn.op == INSN_XADD ? add_flags(a, v, r, 0) : r))
		return false;
	reg_set(a, a->insn.width, v);
	return true;
}

static bool condition_holds(uint64_t flags, unsigned condition)
{
	bool sf_of = !(flags & SF) != !(flags & OF), r;

	switch (condition >> 1) {
	case 0:
		r = flags & OF;
		break;
	case 1:
		r = flags & CF;
		break;
	case 2:
		r = flags & ZF;
		break;
	case 3:
		r = flags & (CF | ZF);
		break;
	case 4:
		r = flags & SF;
		break;
	case 5:
		r = flags & PF;
		break;
	case 6:
		r = sf_of;
		break;
	default:
		r = (flags & ZF) || sf_of;
	}
	return r != (condition & 1);
}

static uint64_t swapped(uint64_t v, unsigned width)
{
	return __builtin_bswap64(v) >> (64 - 8 * width);
}

static void load(struct access *a)
{
	uint64_t v = device_read(a);
	unsigned shift = 64 - 8 * a->insn.width;

	if (a->insn.extend == EXTEND_SIGN)
		v = (uint64_t)((int64_t)(v << shift) >> shift);
	if (a->insn.op == INSN_MOVBE_LOAD)
		v = swapped(v, a->insn.width);
	if (a->insn.op == INSN_CMOV && !condition_holds(a->regs.eflags, a->insn.condition))
		v = reg_get(a, a->insn.reg_width);
	reg_set(a, a->insn.reg_width, v);
}

static void bit_test(struct access *a)
{
	uint64_t bit = device_read(a) >> (a->insn.imm & (8 * a->insn.width - 1)) & 1;

	a->regs.eflags = (a->regs.eflags & ~(uint64_t)CF) | bit;
}

/* --- more than a register at a time -------------------------------------------------------------- */

static void bulk_complain(struct access *a, const char *what)
{
	gpumodel_violation(a->sim->model, a->mapping->dev, "BAR0 accessed by %s at 0x%" PRIx64,
			   what, a->address - a->mapping->start + a->mapping->offset);
}

static bool in_mapping(const struct access *a, uint64_t address)
{
	return address >= a->mapping->start && address - a->mapping->start < a->mapping->size;
}

/* One element of a string instruction; with rep the instruction is met again for the next. */
static bool string_element(struct access *a)
{
	struct user_regs_struct *r = &a->regs;
	bool reads = a->insn.op != INSN_STOS, writes = a->insn.op != INSN_LODS;
	int64_t step = r->eflags & 0x400 ? -(int64_t)a->insn.width : a->insn.width;
	uint64_t v = r->rax;

	bulk_complain(a, "a string instruction");
	if (reads) {
		a->address = r->rsi;
		if (in_mapping(a, r->rsi))
			v = device_read(a);
		else if (!task_read(a->task->tid, r->rsi, &v, a->insn.width))
			return true;
		r->rsi += (uint64_t)step;
	}
	if (writes) {
		a->address = r->rdi;
		if (in_mapping(a, r->rdi) ? !device_write(a, v)
					  : !task_write(a->task->tid, r->rdi, &v, a->insn.width))
			return false;
		r->rdi += (uint64_t)step;
	} else {
		slot_set(r, 0, false, a->insn.width, v);
	}
	if (a->insn.rep && --r->rcx)
		r->rip -= a->insn.length; /* stays where it is */
	return true;
}

static uint32_t xsave_offset(unsigned component)
{
	uint32_t eax = 0x0d, ebx, ecx = component, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ebx;
}

/* The pieces of a vector register in the XSAVE image: offset, bytes, and the component's bit. */
static size_t vector_pieces(unsigned reg, uint32_t offset[3], uint32_t bytes[3], unsigned bit[3])
{
	if (reg >= 16) {
		offset[0] = xsave_offset(7) + 64 * (reg - 16);
		bytes[0] = 64;
		bit[0] = 7;
		return 1;
	}
	offset[0] = XSAVE_XMM + 16 * reg;
	bytes[0] = 16;
	bit[0] = 1;
	offset[1] = xsave_offset(2) + 16 * reg;
	bytes[1] = 16;
	bit[1] = 2;
	offset[2] = xsave_offset(6) + 32 * reg;
	bytes[2] = 32;
	bit[2] = 6;
	return 3;
}

static bool vector_transfer(struct access *a, uint8_t data[VECTOR_MAX], bool to_register)
{
	static uint8_t image[XSAVE_MAX];
	struct iovec iov = { image, sizeof(image) };
	uint32_t offset[3], bytes[3];
	unsigned bit[3], at = 0;
	size_t n = vector_pieces(a->insn.reg, offset, bytes, bit);
	uint64_t present;

	if (ptrace(PTRACE_GETREGSET, a->task->tid, NT_X86_XSTATE, &iov) < 0)
		return false;
	memcpy(&present, image + XSAVE_BV, sizeof(present));
	for (size_t i = 0; i < n && at < VECTOR_MAX; at += bytes[i++]) {
		if (offset[i] + bytes[i] > iov.iov_len || offset[i] == 0)
			break;
		if (to_register && !(i > 0 && a->insn.keep_rest)) {
			memcpy(image + offset[i], data + at, bytes[i]);
			present |= 1ull << bit[i];
		} else if (!to_register && (present >> bit[i] & 1)) {
			memcpy(data + at, image + offset[i], bytes[i]);
		}
	}
	if (!to_register)
		return true;
	memcpy(image + XSAVE_BV, &present, sizeof(present));
	return ptrace(PTRACE_SETREGSET, a->task->tid, NT_X86_XSTATE, &iov) == 0;
}

static bool vector_access(struct access *a)
{
	uint8_t data[VECTOR_MAX] = { 0 };
	unsigned width = a->insn.width, step = width < 8 ? width : 8;

	if (width > 4)
		bulk_complain(a, "a vector instruction");
	if (a->insn.op == INSN_VEC_STORE && !vector_transfer(a, data, false))
		return false;
	a->insn.width = (uint8_t)step;
	for (unsigned at = 0; at < width; at += step, a->address += step) {
		uint64_t v = 0;

		if (a->insn.op == INSN_VEC_LOAD) {
			v = device_read(a);
			memcpy(data + at, &v, step);
			continue;
		}
		memcpy(&v, data + at, step);
		if (!device_write(a, v))
			return false;
	}
	return a->insn.op == INSN_VEC_STORE || vector_transfer(a, data, true);
}

/* --- one instruction ----------------------------------------------------------------------------- */

/* False when the client was killed in the middle. */
static bool execute(struct access *a)
{
	const struct insn *i = &a->insn;

	switch (i->op) {
	case INSN_LOAD:
	case INSN_MOVBE_LOAD:
	case INSN_CMOV:
		load(a);
		return true;
	case INSN_STORE:
		return device_write(a, reg_get(a, i->width));
	case INSN_MOVBE_STORE:
		return device_write(a, swapped(reg_get(a, i->width), i->width));
	case INSN_STORE_IMM:
		return device_write(a, (uint64_t)i->imm);
	case INSN_ALU_LOAD: {
		uint64_t result = alu(a, reg_get(a, i->width), device_read(a));

		if (i->alu != ALU_CMP)
			reg_set(a, i->width, result);
		return true;
	}
	case INSN_ALU_STORE:
		return alu_store(a, reg_get(a, i->width));
	case INSN_ALU_IMM:
		return alu_store(a, (uint64_t)i->imm);
	case INSN_TEST:
		logic_flags(a, device_read(a) & reg_get(a, i->width));
		return true;
	case INSN_TEST_IMM:
		logic_flags(a, device_read(a) & (uint64_t)i->imm);
		return true;
	case INSN_NOT:
	case INSN_NEG:
	case INSN_INC:
	case INSN_DEC:
		return one_operand(a);
	case INSN_XCHG:
	case INSN_XADD:
		return exchange(a);
	case INSN_CMPXCHG:
		return cmpxchg(a);
	case INSN_BT_IMM:
		bit_test(a);
		return true;
	case INSN_MOVS:
	case INSN_STOS:
	case INSN_LODS:
		return string_element(a);
	case INSN_VEC_LOAD:
	case INSN_VEC_STORE:
		return vector_access(a);
	}
	return true;
}

static bool decode_at(struct access *a)
{
	uint8_t bytes[INSN_MAX_BYTES] = { 0 };
	struct iovec to = { bytes, sizeof(bytes) }, from = { (void *)a->regs.rip, sizeof(bytes) };
	ssize_t n = process_vm_readv(a->task->tid, &to, 1, &from, 1, 0);
	uint64_t page_rest = 4096 - a->regs.rip % 4096;

	if (n < 0 && page_rest < sizeof(bytes)) { /* the next page may not be there */
		from.iov_len = to.iov_len = page_rest;
		n = process_vm_readv(a->task->tid, &to, 1, &from, 1, 0);
	}
	if (n > 0 && insn_decode(bytes, (size_t)n, &a->insn))
		return true;
	complain("process %d: instruction %02x %02x %02x %02x %02x %02x %02x %02x at 0x%llx "
		 "cannot be simulated",
		 a->task->tgid, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5],
		 bytes[6], bytes[7], a->regs.rip);
	return false;
}

bool access_serve(struct sim *s, struct task *t, uint64_t address)
{
	struct access a = { .sim = s, .task = t, .address = address };

	a.mapping = space_find(t->space, address);
	if (!a.mapping || ptrace(PTRACE_GETREGS, t->tid, NULL, &a.regs) < 0 || !decode_at(&a))
		return false;
	s->accesses++;
	s->current = t->tgid;
	a.regs.rip += a.insn.length;
	if (execute(&a))
		ptrace(PTRACE_SETREGS, t->tid, NULL, &a.regs);
	return true;
}
