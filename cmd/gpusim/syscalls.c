/* SPDX-License-Identifier: Apache-2.0 */
/* syscalls - the few system calls that stop: maps of BAR0, writes to the tree, reads of config space,
 * and, when kill points are wanted, what changes files and what is sent. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/str.h"
#include "sim.h"

#define IOV_SHOWN  16
#define FILTER_MAX 160
#define PAGE_BYTES 4096ull
#define NO_FD	   0xffffffffu

/* --- the filter ------------------------------------------------------------------------------------ */

static const int always[] = {
	SYS_munmap,  SYS_mremap,	  SYS_mprotect, SYS_write,   SYS_pwrite64, SYS_writev,
	SYS_pwritev, SYS_pwritev2,	  SYS_read,	SYS_pread64, SYS_readv,	   SYS_preadv,
	SYS_preadv2, SYS_copy_file_range, SYS_sendfile, SYS_splice,
};
static const int with_points_only[] = {
	SYS_rename, SYS_renameat,  SYS_renameat2, SYS_unlink,  SYS_unlinkat,
	SYS_fsync,  SYS_fdatasync, SYS_sendto,	  SYS_sendmsg, SYS_sendmmsg,
};

struct filter {
	struct sock_filter code[FILTER_MAX];
	unsigned short n;
};

static void emit(struct filter *f, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	f->code[f->n++] = (struct sock_filter){ code, jt, jf, k };
}

static void emit_load(struct filter *f, size_t offset)
{
	emit(f, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void emit_trace_if(struct filter *f, int nr)
{
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)nr);
	emit(f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRACE);
}

/* nr with argument `arg`: traced when it has one of `bits`, or, without bits, is not NO_FD. */
static void emit_trace_arg(struct filter *f, int nr, unsigned arg, uint32_t bits)
{
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, bits ? 4 : 4, (uint32_t)nr);
	emit_load(f, offsetof(struct seccomp_data, args) + 8 * arg);
	if (bits)
		emit(f, BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
	else
		emit(f, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, NO_FD);
	emit(f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRACE);
	emit(f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

int filter_install(bool with_points)
{
	struct filter f = { .n = 0 };
	struct sock_fprog program;

	emit_load(&f, offsetof(struct seccomp_data, arch));
	emit(&f, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	emit(&f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW); /* 32-bit programs see the tree only */
	emit_load(&f, offsetof(struct seccomp_data, nr));
	emit_trace_arg(&f, SYS_mmap, 4, 0);
	emit_trace_arg(&f, SYS_openat, 2, O_CREAT | O_TRUNC);
	emit_trace_arg(&f, SYS_open, 1, O_CREAT | O_TRUNC);
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		emit_trace_if(&f, always[i]);
	for (size_t i = 0; with_points && i < ARRAY_LEN(with_points_only); i++)
		emit_trace_if(&f, with_points_only[i]);
	emit(&f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	program = (struct sock_fprog){ f.n, f.code };
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* --- results --------------------------------------------------------------------------------------- */

/* Skips the call; the caller sees `result`. */
static void answer(struct sim *s, struct task *t, struct user_regs_struct *regs, long result)
{
	regs->orig_rax = (unsigned long long)-1;
	regs->rax = (unsigned long long)result;
	ptrace(PTRACE_SETREGS, t->tid, NULL, regs);
	if (s->points.due)
		s->killed = true;
	else
		tracer_resume(s, t, false, 0);
}

static void until_exit(struct sim *s, struct task *t, enum at_exit then)
{
	t->at_exit = then;
	tracer_resume(s, t, true, 0);
}

/* Lets the call through; as a kill point when it is one. */
static void pass(struct sim *s, struct task *t, enum point point)
{
	if (point != POINT_N && point_reached(s, point))
		return;
	if (s->points.due)
		until_exit(s, t, EXIT_POINT);
	else
		tracer_resume(s, t, false, 0);
}

/* --- writes that take time ------------------------------------------------------------------------- */

static void op_wait(struct sim *s, struct task *t, const struct user_regs_struct *regs,
		    struct op op)
{
	for (unsigned i = 0; i < OPS_MAX; i++) {
		if (s->op[i].used)
			continue;
		op.used = true;
		op.tid = t->tid;
		op.regs = *regs;
		op.kill_after = s->points.due;
		s->points.due = false;
		s->op[i] = op;
		s->n_ops++;
		return;
	}
	complain("more than %d writes waiting", OPS_MAX);
	tracer_resume(s, t, false, 0);
}

static void op_complete(struct sim *s, struct op *op)
{
	struct task *t = op->tid ? task_find(s, op->tid) : NULL;
	struct op done = *op;

	op->used = false;
	s->n_ops--;
	s->current = t ? t->tgid : 0;
	attr_op_finish(s, &done);
	s->dirty = true;
	if (done.kill_after)
		s->killed = true;
	else if (t)
		answer(s, t, &done.regs, done.result);
}

void ops_run(struct sim *s)
{
	uint64_t at_us = s->n_ops ? now_us() : 0;

	for (unsigned i = 0; s->n_ops && i < OPS_MAX; i++)
		if (s->op[i].used && attr_op_ready(s, &s->op[i], at_us))
			op_complete(s, &s->op[i]);
}

/* The caller died: a reset goes on without it, a wait for a holder does not. */
void ops_forget(struct sim *s, pid_t tid)
{
	for (unsigned i = 0; s->n_ops && i < OPS_MAX; i++) {
		if (!s->op[i].used || s->op[i].tid != tid)
			continue;
		s->op[i].tid = 0;
		if (s->op[i].kind == OP_UNBIND || !s->op[i].begun) {
			s->op[i].used = false;
			s->n_ops--;
		}
	}
}

uint64_t ops_next_us(const struct sim *s)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; s->n_ops && i < OPS_MAX; i++)
		if (s->op[i].used && s->op[i].due_us < next)
			next = s->op[i].due_us;
	return next;
}

/* --- reads and writes ------------------------------------------------------------------------------ */

static uint64_t file_position(pid_t tid, int fd)
{
	char path[64], text[128];
	AUTO_FILE *f = NULL;
	unsigned long long position = 0;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", tid, fd);
	f = fopen(path, "re");
	if (f && fgets(text, sizeof(text), f))
		sscanf(text, "pos: %llu", &position);
	return position;
}

/* What the call would write, up to SYSFS_WRITE_MAX; -1 when it points nowhere. */
static ssize_t gather(struct task *t, const struct user_regs_struct *r, uint8_t *to)
{
	bool vector = r->orig_rax != SYS_write && r->orig_rax != SYS_pwrite64;
	struct iovec iov[IOV_SHOWN] = { { (void *)r->rsi, r->rdx } };
	size_t n = vector ? r->rdx : 1, at = 0;

	if (n > IOV_SHOWN)
		n = IOV_SHOWN;
	if (vector && !task_read(t->tid, r->rsi, iov, n * sizeof(iov[0])))
		return -1;
	for (size_t i = 0; i < n; i++) {
		size_t size = iov[i].iov_len;

		if (size > SYSFS_WRITE_MAX - at)
			size = SYSFS_WRITE_MAX - at;
		if (size && !task_read(t->tid, (uint64_t)iov[i].iov_base, to + at, size))
			return -1;
		at += size;
	}
	return (ssize_t)at;
}

static void node_write(struct sim *s, struct task *t, struct node *node, struct user_regs_struct *r)
{
	bool at_offset = r->orig_rax != SYS_write && r->orig_rax != SYS_writev;
	uint8_t bytes[SYSFS_WRITE_MAX];
	struct op op = { 0 };
	uint64_t offset = 0;
	ssize_t n;
	long result;

	if (point_reached(s, POINT_SYSFS))
		return;
	n = gather(t, r, bytes);
	if (n <= 0) {
		answer(s, t, r, n);
		return;
	}
	if (node->attr == ATTR_CONFIG)
		offset = at_offset ? r->r10 : file_position(t->tid, (int)r->rdi);
	s->dirty = true;
	result = attr_write(s, node, (const char *)bytes, (size_t)n, offset, &op);
	if (result == ATTR_WAITS) {
		op_wait(s, t, r, op);
	} else if (node->attr == ATTR_CONFIG && result > 0 && !at_offset) {
		t->node =
			node; /* the kernel moves the file position; then the content is put right */
		until_exit(s, t, EXIT_CONFIG);
	} else {
		answer(s, t, r, result);
	}
}

/* Results go to our stdout: where it is a file, it is still not a file that the program keeps. */
static bool is_our_stdout(const struct stat *st)
{
	struct stat ours;

	return fstat(STDOUT_FILENO, &ours) == 0 && ours.st_dev == st->st_dev &&
	       ours.st_ino == st->st_ino;
}

static enum point point_of(pid_t tid, int fd)
{
	char path[64];
	struct stat st;

	if (fd == STDERR_FILENO)
		return POINT_LOG;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
	if (stat(path, &st) < 0 || is_our_stdout(&st))
		return POINT_N;
	return S_ISSOCK(st.st_mode) ? POINT_SEND : S_ISREG(st.st_mode) ? POINT_FILE : POINT_N;
}

static void enter_write(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	struct node *node = tree_node(s, t->tid, (int)r->rdi);

	if (node)
		node_write(s, t, node, r);
	else
		pass(s, t, s->points.active ? point_of(t->tid, (int)r->rdi) : POINT_N);
}

/* Small reads at a known place are shown one by one; others only refresh the file. */
static void enter_read(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	struct node *node = tree_node(s, t->tid, (int)r->rdi);

	if (node && node->attr == ATTR_CONFIG) {
		tree_config_refresh(s, node);
		if (s->trace && r->orig_rax == SYS_pread64 &&
		    (r->rdx == 1 || r->rdx == 2 || r->rdx == 4))
			gpumodel_cfg_read(s->model, (unsigned)node->dev, (uint32_t)r->r10,
					  (unsigned)r->rdx);
	}
	tracer_resume(s, t, false, 0);
}

static void enter_splice(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	int out = (int)(r->orig_rax == SYS_sendfile ? r->rdi : r->rdx);

	if (tree_node(s, t->tid, out))
		answer(s, t, r, -EINVAL); /* sysfs has no splice_write for these */
	else
		pass(s, t, s->points.active ? point_of(t->tid, out) : POINT_N);
}

/* --- opening --------------------------------------------------------------------------------------- */

static bool in_tree(const struct sim *s, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == s->tree_dev;
}

/* In sysfs nothing can be created or truncated, and root is bound by a file's mode too. */
static long open_check(struct sim *s, char *path, unsigned long long *flags)
{
	const struct node *node;
	struct stat st;

	if (stat(path, &st) < 0)
		return (*flags & O_CREAT) && in_tree(s, dirname(path)) ? -EACCES : 0;
	if (st.st_dev != s->tree_dev)
		return 0;
	node = tree_node_of(s, &st);
	if (node && node->attr == ATTR_READ_ONLY && (*flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	*flags &= ~(unsigned long long)(O_CREAT | O_TRUNC);
	return 0;
}

static void enter_open(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	bool at = r->orig_rax == SYS_openat;
	unsigned long long *flags = at ? &r->rdx : &r->rsi, old_flags = *flags;
	char name[PATH_MAX / 2] = "", path[PATH_MAX];
	struct iovec to = { name, sizeof(name) - 1 },
		     from = { (void *)(at ? r->rsi : r->rdi), sizeof(name) - 1 };
	int dirfd = at ? (int)r->rdi : AT_FDCWD;
	uint64_t page_rest = PAGE_BYTES - (uint64_t)from.iov_base % PAGE_BYTES;
	long result;

	if (process_vm_readv(t->tid, &to, 1, &from, 1, 0) < 0 && page_rest < from.iov_len) {
		from.iov_len = page_rest;
		if (process_vm_readv(t->tid, &to, 1, &from, 1, 0) < 0)
			name[0] = '\0';
	}
	if (name[0] == '/')
		str_copy(path, sizeof(path), name);
	else if (dirfd == AT_FDCWD)
		snprintf(path, sizeof(path), "/proc/%d/cwd/%s", t->tid, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/fd/%d/%s", t->tid, dirfd, name);
	result = open_check(s, path, flags);
	if (result < 0) {
		answer(s, t, r, result);
		return;
	}
	if (*flags != old_flags)
		ptrace(PTRACE_SETREGS, t->tid, NULL, r);
	tracer_resume(s, t, false, 0);
}

/* --- mappings -------------------------------------------------------------------------------------- */

static void enter_mmap(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	struct node *node = tree_node(s, t->tid, (int)r->r8);
	uint64_t size = (r->rsi + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

	if (!node || node->attr != ATTR_RESOURCE0) {
		tracer_resume(s, t, false, 0);
		return;
	}
	if (s->opts.lockdown != LOCKDOWN_NONE) {
		answer(s, t, r, -EPERM);
		return;
	}
	if (size > gpumodel_info(s->model, (unsigned)node->dev)->bar[0].size ||
	    r->r9 > gpumodel_info(s->model, (unsigned)node->dev)->bar[0].size - size) {
		answer(s, t, r, -EINVAL);
		return;
	}
	t->pending = (struct mapping){ 0, size, r->r9, (unsigned)node->dev };
	r->rdx = PROT_NONE;
	ptrace(PTRACE_SETREGS, t->tid, NULL, r);
	until_exit(s, t, EXIT_MMAP);
}

static void enter_unmap(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	const struct mapping *m = space_find(t->space, r->rdi);
	uint64_t size = (r->rsi + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

	if (!space_overlaps(t->space, r->rdi, size)) {
		tracer_resume(s, t, false, 0);
		return;
	}
	t->pending = (struct mapping){ r->rdi, size, 0, 0 };
	if (r->orig_rax == SYS_mremap && m) {
		t->pending.offset = r->rdi - m->start + m->offset;
		t->pending.dev = m->dev;
	}
	until_exit(s, t, r->orig_rax == SYS_mremap ? EXIT_MREMAP : EXIT_MUNMAP);
}

static void enter_mprotect(struct sim *s, struct task *t, struct user_regs_struct *r)
{
	if (space_overlaps(t->space, r->rdi, r->rsi))
		answer(s, t, r, 0); /* stays closed */
	else
		tracer_resume(s, t, false, 0);
}

/* --- both ends of a call --------------------------------------------------------------------------- */

void syscall_enter(struct sim *s, struct task *t)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &r) < 0)
		return; /* killed meanwhile */
	s->current = t->tgid;
	switch (r.orig_rax) {
	case SYS_mmap:
		enter_mmap(s, t, &r);
		break;
	case SYS_munmap:
	case SYS_mremap:
		enter_unmap(s, t, &r);
		break;
	case SYS_mprotect:
		enter_mprotect(s, t, &r);
		break;
	case SYS_write:
	case SYS_pwrite64:
	case SYS_writev:
	case SYS_pwritev:
	case SYS_pwritev2:
		enter_write(s, t, &r);
		break;
	case SYS_read:
	case SYS_pread64:
	case SYS_readv:
	case SYS_preadv:
	case SYS_preadv2:
		enter_read(s, t, &r);
		break;
	case SYS_open:
	case SYS_openat:
		enter_open(s, t, &r);
		break;
	case SYS_copy_file_range:
	case SYS_sendfile:
	case SYS_splice:
		enter_splice(s, t, &r);
		break;
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
		pass(s, t, POINT_SEND);
		break;
	default: /* rename, unlink, fsync */
		pass(s, t, POINT_FILE);
	}
}

static void leave_map(struct task *t, const struct user_regs_struct *r)
{
	struct mapping m = t->pending;

	if (t->at_exit == EXIT_MUNMAP || t->at_exit == EXIT_MREMAP)
		space_cut(t->space, m.start, m.size);
	if (t->at_exit == EXIT_MUNMAP)
		return;
	m.start = r->rax;
	if (t->at_exit == EXIT_MREMAP)
		m.size = (r->rdx + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	space_cut(t->space, m.start, m.size);
	space_add(t->space, m);
}

void syscall_leave(struct sim *s, struct task *t)
{
	struct user_regs_struct r;
	bool failed;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &r) < 0)
		return;
	failed = r.rax > -4096ull;
	switch (t->at_exit) {
	case EXIT_MMAP:
		if (!failed)
			gpumodel_session(s->model, t->pending.dev);
		/* fall through */
	case EXIT_MUNMAP:
	case EXIT_MREMAP:
		if (!failed)
			leave_map(t, &r);
		break;
	case EXIT_CONFIG:
		tree_rewrite(s, t->node);
		break;
	case EXIT_POINT:
	case EXIT_NOTHING:
		break;
	}
	t->at_exit = EXIT_NOTHING;
	if (s->points.due)
		s->killed = true;
	else
		tracer_resume(s, t, false, 0);
}
