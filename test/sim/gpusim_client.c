/* SPDX-License-Identifier: Apache-2.0 */
/* gpusim_client - a program that knows nothing of gpusim: it maps BAR0 of devices in /sys and does what
 * its first argument says.  test_gpusim.py compiles it, static and dynamic, and reads what it prints. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEVICES 64
#define BAR_BYTES   0x1000000u
#define SCRATCH	    0x1400u /* 64 registers that hold what is written */
#define EMEM_BASE   0x800u

static char bdfs[MAX_DEVICES][16];
static int n_devices;
extern char **environ;

#define die(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void scan(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *e;

	if (!dir)
		die("/sys/bus/pci/devices: %s", strerror(errno));
	while ((e = readdir(dir)) && n_devices < MAX_DEVICES)
		if (e->d_name[0] != '.')
			snprintf(bdfs[n_devices++], 16, "%.15s", e->d_name);
	closedir(dir);
	qsort(bdfs, (size_t)n_devices, 16, by_name);
}

static int attr_open(int dev, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdfs[dev], name);
	return open(path, flags | O_CLOEXEC);
}

static int attr_write(int dev, const char *name, const char *text)
{
	int fd = attr_open(dev, name, O_WRONLY), r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static void memory_on(int dev)
{
	uint16_t command = 2;
	int fd = attr_open(dev, "config", O_RDWR);

	if (fd < 0 || pwrite(fd, &command, 2, 4) != 2)
		die("%s: config: %s", bdfs[dev], strerror(errno));
	close(fd);
}

static volatile uint32_t *bar_map(int dev)
{
	int fd = attr_open(dev, "resource0", O_RDWR);
	void *p = fd < 0 ? MAP_FAILED
			 : mmap(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("%s: resource0: %s", bdfs[dev], strerror(errno));
	close(fd);
	return p;
}

static volatile uint32_t *device_open(int dev)
{
	volatile uint32_t *bar;

	memory_on(dev);
	bar = bar_map(dev);
	bar[0x12004c / 4] = 4;
	bar[0x122204 / 4] = 2;
	return bar;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- one RPC after another, as the firmware wants it ------------------------------------------------ */

static uint32_t knob(volatile uint32_t *bar, uint32_t id, int write, uint32_t value,
		     uint32_t *status)
{
	uint32_t head, tail, answer[6] = { 0 };
	unsigned n = write ? 4 : 3;

	bar[0x8f2ad0 / 4] = 0x03000000 | EMEM_BASE;
	bar[0x8f2ad4 / 4] = 0xc0000000;
	bar[0x8f2ad4 / 4] = 0x1310de7e;
	bar[0x8f2ad4 / 4] = id << 16 | (write ? 0x020d : 0x020c);
	if (write)
		bar[0x8f2ad4 / 4] = value;
	bar[0x8f2c14 / 4] = EMEM_BASE + 4 * (n - 1);
	bar[0x8f2c10 / 4] = EMEM_BASE;
	while (bar[0x8f2c90 / 4] == bar[0x8f2c94 / 4])
		;
	head = bar[0x8f2c90 / 4]; /* again: the answer may have come between the two reads */
	tail = bar[0x8f2c94 / 4];
	bar[0x8f2ad0 / 4] = 0x03000000 | EMEM_BASE;
	for (unsigned i = 0; i < (tail - head + 4) / 4 && i < 6; i++)
		answer[i] = bar[0x8f2ad4 / 4];
	bar[0x8f2c94 / 4] = head;
	*status = answer[4];
	return answer[5] & 0xffff;
}

static int reset_and_wait(int dev, volatile uint32_t *bar)
{
	int r = attr_write(dev, "reset", "1");

	if (r < 0)
		return r;
	bar[0x12004c / 4] = 4;
	bar[0x122204 / 4] = 2;
	while (bar[0x200bc / 4] != 0xff)
		usleep(1000);
	return 0;
}

static void cc_on(int dev)
{
	volatile uint32_t *bar = device_open(dev);
	uint32_t status = 0;
	int r;

	knob(bar, 10, 1, 2, &status);
	if (!status)
		knob(bar, 8, 1, 1, &status);
	if (status)
		die("%s: status 0x%x", bdfs[dev], status);
	r = reset_and_wait(dev, bar);
	if (r < 0)
		die("%s: reset: %s", bdfs[dev], strerror(-r));
	printf("%s mode %u\n", bdfs[dev], bar[0x1182cc / 4]);
}

/* --- several at once ------------------------------------------------------------------------------- */

static void in_children(void (*fn)(int dev))
{
	int status, failed = 0;

	fflush(stdout);
	for (int dev = 0; dev < n_devices; dev++) {
		pid_t pid = fork();

		if (pid == 0) {
			fn(dev);
			fflush(stdout);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed += status != 0;
	if (failed)
		die("%d children failed", failed);
}

struct counter {
	volatile uint32_t *reg;
	uint32_t n;
};

static void *count_up(void *arg)
{
	struct counter *c = arg;

	for (uint32_t i = 0; i < c->n; i++)
		*c->reg = *c->reg + 1;
	return NULL;
}

static void threads(int n, uint32_t rounds)
{
	volatile uint32_t *bar = device_open(0);
	pthread_t thread[64];
	struct counter counter[64];

	for (int i = 0; i < n; i++) {
		counter[i] = (struct counter){ &bar[SCRATCH / 4 + (unsigned)i], rounds };
		pthread_create(&thread[i], NULL, count_up, &counter[i]);
	}
	for (int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < n; i++)
		if (*counter[i].reg != rounds)
			die("thread %d: %u, not %u", i, *counter[i].reg, rounds);
	printf("counted\n");
}

/* A mapping made before fork serves parent and child; a vfork child, exec and back. */
static void inherit(const char *self)
{
	volatile uint32_t *bar = device_open(0);
	char *argv[] = { (char *)self, "scan", NULL };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		bar[SCRATCH / 4] = 42;
		_exit(bar[SCRATCH / 4] == 42 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	if (status || bar[SCRATCH / 4] != 42)
		die("child did not write");
	if (posix_spawn(&pid, self, NULL, NULL, argv, environ) != 0)
		die("posix_spawn");
	waitpid(pid, &status, 0);
	pid = vfork();
	if (pid == 0) {
		bar[SCRATCH / 4] = 43;
		execv(self, argv);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	printf("inherited %u\n", bar[SCRATCH / 4]);
}

/* --- maps that move and go -------------------------------------------------------------------------- */

static sigjmp_buf jump;

static void on_segv(int signo)
{
	siglongjmp(jump, signo);
}

static int faults(volatile uint32_t *p)
{
	if (sigsetjmp(jump, 1))
		return 1;
	(void)*p;
	return 0;
}

static void maps(void)
{
	volatile uint32_t *bar = device_open(0), *moved;

	signal(SIGSEGV, on_segv);
	if (!faults(NULL))
		die("a null pointer was read");
	if (mprotect((void *)bar, 4096, PROT_READ | PROT_WRITE) < 0 || bar[0] == 0)
		die("mprotect opened the mapping");
	moved = mremap((void *)bar, BAR_BYTES, BAR_BYTES / 2, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED || moved[0] != 0x180000a1)
		die("mremap");
	munmap((void *)(moved + 0x1000 / 4), 0x1000);
	if (!faults(moved + 0x1400 / 4) || moved[0x2000 / 4] != 0xbadf1100 ||
	    moved[0] != 0x180000a1)
		die("a hole in the mapping");
	munmap((void *)moved, BAR_BYTES / 2);
	if (!faults(moved))
		die("an unmapped register was read");
	printf("mapped\n");
}

/* --- the instructions ------------------------------------------------------------------------------ */

struct state {
	uint64_t reg, flags;
	uint32_t memory[2];
};

#define ARITHMETIC_FLAGS 0x8d5u

/* On memory at %rdi, with %rax and %rcx; result, flags and memory are kept. */
/* clang-format off */
#define INSTRUCTIONS(X) \
	X(mov_load, "movl (%%rdi), %%eax") X(mov_store, "movl %%eax, (%%rdi)") \
	X(mov_imm, "movl $0x12345678, (%%rdi)") X(mov_disp, "movl 0(%%rdi,%%rdx,4), %%eax") \
	X(mov_r9, "movq %%rax, %%r9\n movl (%%rdi), %%r9d\n movq %%r9, %%rax") \
	X(add_load, "addl (%%rdi), %%eax") X(adc_load, "stc\n adcl (%%rdi), %%eax") \
	X(sub_load, "subl (%%rdi), %%eax") X(sbb_load, "stc\n sbbl (%%rdi), %%eax") \
	X(cmp_load, "cmpl (%%rdi), %%eax") X(cmp_store, "cmpl %%eax, (%%rdi)") \
	X(and_store, "andl %%eax, (%%rdi)") X(or_store, "orl %%eax, (%%rdi)") \
	X(xor_imm, "xorl $0x55, (%%rdi)") X(add_imm, "addl $0x7fffffff, (%%rdi)") \
	X(test_reg, "testl %%eax, (%%rdi)") X(test_imm, "testl $0x80000000, (%%rdi)") \
	X(test_byte, "testb $0x80, (%%rdi)") X(cmp_byte, "cmpb $0x11, (%%rdi)") \
	X(inc, "incl (%%rdi)") X(dec, "decl (%%rdi)") X(not, "notl (%%rdi)") \
	X(neg, "negl (%%rdi)") X(xchg, "xchgl %%eax, (%%rdi)") \
	X(xadd, "lock xaddl %%eax, (%%rdi)") X(cmpxchg, "lock cmpxchgl %%ecx, (%%rdi)") \
	X(bt, "btl $5, (%%rdi)") X(movzx8, "movzbl (%%rdi), %%eax") \
	X(movzx16, "movzwl (%%rdi), %%eax") X(movsx8, "movsbq (%%rdi), %%rax") \
	X(movsx16, "movswl (%%rdi), %%eax") X(movsxd, "movslq (%%rdi), %%rax") \
	X(mov8, "movb (%%rdi), %%al") X(mov8h, "movb (%%rdi), %%ah") \
	X(mov16, "movw (%%rdi), %%ax") X(mov64, "movq (%%rdi), %%rax") \
	X(store64, "movq %%rax, (%%rdi)") X(movnti, "movnti %%eax, (%%rdi)") \
	X(cmovz, "cmpl %%eax, %%eax\n cmovzl (%%rdi), %%eax") \
	X(cmovnz, "cmpl %%eax, %%eax\n cmovnzl (%%rdi), %%eax") \
	X(movd, "movd (%%rdi), %%xmm3\n movd %%xmm3, %%eax") \
	X(movd_store, "movd %%eax, %%xmm3\n movd %%xmm3, (%%rdi)") \
	X(movq_sse, "movq (%%rdi), %%xmm12\n movq %%xmm12, %%rax") \
	X(movq_sse_store, "movq %%rax, %%xmm2\n movq %%xmm2, (%%rdi)") X(stosl, "cld\n stosl") \
	X(lodsl, "cld\n movq %%rdi, %%rsi\n lodsl")
/* clang-format on */

#define DEFINE(name, text)                                                                         \
	static void insn_##name(struct state *s, volatile uint32_t *at, uint64_t other)            \
	{                                                                                          \
		uint64_t rax = s->reg, flags, rdi = (uint64_t)at, rcx = other;                     \
                                                                                                   \
		__asm__ volatile("pushq $0x202\n popfq\n" text "\n pushfq\n popq %[flags]"         \
				 : "+a"(rax), "+D"(rdi), "+c"(rcx), [flags] "=&r"(flags)           \
				 : "d"(0)                                                          \
				 : "memory", "cc", "rsi", "r9", "xmm2", "xmm3", "xmm12");          \
		s->reg = rax;                                                                      \
		s->flags = flags & ARITHMETIC_FLAGS;                                               \
		s->memory[0] = at[0];                                                              \
		s->memory[1] = at[1];                                                              \
	}
INSTRUCTIONS(DEFINE)

#define ROW(name, text) { #name, insn_##name },
static const struct {
	const char *name;
	void (*run)(struct state *s, volatile uint32_t *at, uint64_t other);
} instructions[] = { INSTRUCTIONS(ROW) };

/* Each instruction on device registers and on memory must leave the same behind. */
static void insns(void)
{
	static const uint32_t values[] = { 0,	       1,	   0x7fffffff, 0x80000000,
					   0xffffffff, 0x12345678, 0x91,       0xff00 };
	volatile uint32_t *bar = device_open(0), memory[2] __attribute__((aligned(8)));
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++)
		for (unsigned k = 0; k < 64; k++) {
			uint32_t reg = values[k % 8], mem = values[k / 8], next = 0xa5a50000 + k;
			struct state real = { .reg = reg }, sim = { .reg = reg };

			memory[0] = bar[SCRATCH / 4] = mem;
			memory[1] = bar[SCRATCH / 4 + 1] = next;
			instructions[i].run(&real, memory, 77);
			instructions[i].run(&sim, &bar[SCRATCH / 4], 77);
			n++;
			if (memcmp(&real, &sim, sizeof(real)) != 0)
				die("%s: register 0x%x memory 0x%x: real %lx flags %lx %x %x, "
				    "simulated %lx flags %lx %x %x",
				    instructions[i].name, reg, mem, real.reg, real.flags,
				    real.memory[0], real.memory[1], sim.reg, sim.flags,
				    sim.memory[0], sim.memory[1]);
		}
	printf("%u instructions alike\n", n);
}

/* memcpy from and to registers: wrong, but it must give the right bytes. */
static void bulk(void)
{
	static const size_t sizes[] = { 4, 8, 16, 32, 60, 64, 128, 256 };
	volatile uint32_t *bar = device_open(0);
	uint32_t in[64], out[64];

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		volatile size_t n = sizes[k]; /* so that it is a call */

		for (unsigned i = 0; i < 64; i++) {
			in[i] = 0x01010101u * i + (uint32_t)k;
			bar[SCRATCH / 4 + i] = ~in[i];
		}
		memcpy((void *)&bar[SCRATCH / 4], in, n);
		memcpy(out, (const void *)&bar[SCRATCH / 4], n);
		if (memcmp(in, out, n) != 0)
			die("memcpy of %zu bytes", n);
	}
	printf("copied\n");
}

/* --- the rest --------------------------------------------------------------------------------------- */

static void cost(uint32_t n)
{
	volatile uint32_t *bar = device_open(0);
	double start = seconds();

	for (uint32_t i = 0; i < n; i++)
		(void)bar[0];
	printf("%.2f\n", (seconds() - start) / n * 1e6);
}

static void reset_one(int dev)
{
	int r = attr_write(dev, "reset", "1");

	if (r < 0)
		die("%s", strerror(-r));
}

/* Writes an attribute and prints the errno, or what can be read afterwards. */
static void attr(int argc, char **argv)
{
	char path[256], text[256] = "";
	int fd = open(argv[2], O_WRONLY | O_CLOEXEC);
	ssize_t n;

	(void)argc;
	if (fd < 0) {
		printf("open %s\n", strerrorname_np(errno));
		return;
	}
	if (write(fd, argv[3], strlen(argv[3])) < 0) {
		printf("%s\n", strerrorname_np(errno));
		return;
	}
	close(fd);
	snprintf(path, sizeof(path), "%s", argv[2]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	printf("ok %.*s\n", (int)(n > 0 ? n : 0), text);
}

/* One of each kill point: a register write, a sysfs write, four of a file, a send, a line of log. */
static void points(const char *file)
{
	volatile uint32_t *bar;
	char temp[300];
	struct iovec iov = { "state\n", 6 };
	int fd;

	memory_on(0);
	bar = bar_map(0);
	bar[SCRATCH / 4] = 7;
	snprintf(temp, sizeof(temp), "%s.tmp", file);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || writev(fd, &iov, 1) != 6 || fsync(fd) < 0 || rename(temp, file) < 0 ||
	    unlink(file) < 0)
		die("%s: %s", file, strerror(errno));
	fprintf(stderr, "phase done\n");
	printf("done\n");
}

static volatile sig_atomic_t got;

static void on_usr1(int signo)
{
	got = signo;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	uint32_t number = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0;

	scan();
	if (!strcmp(what, "scan"))
		for (int i = 0; i < n_devices; i++)
			puts(bdfs[i]);
	else if (!strcmp(what, "read"))
		printf("0x%08x\n", device_open(0)[number / 4]);
	else if (!strcmp(what, "cc-on"))
		in_children(cc_on);
	else if (!strcmp(what, "cc-on-first"))
		cc_on(0);
	else if (!strcmp(what, "reset")) {
		double start = seconds();

		in_children(reset_one);
		printf("%.3f\n", seconds() - start);
	} else if (!strcmp(what, "threads"))
		threads(8, number);
	else if (!strcmp(what, "inherit"))
		inherit(argv[0]);
	else if (!strcmp(what, "maps"))
		maps();
	else if (!strcmp(what, "insns"))
		insns();
	else if (!strcmp(what, "bulk"))
		bulk();
	else if (!strcmp(what, "cost"))
		cost(number);
	else if (!strcmp(what, "attr"))
		attr(argc, argv);
	else if (!strcmp(what, "points"))
		points(argv[2]);
	else if (!strcmp(what, "wait")) {
		signal(SIGUSR1, on_usr1);
		signal(SIGTERM, on_usr1);
		puts("waiting");
		fflush(stdout);
		while (!got)
			pause();
		return got == SIGTERM ? 15 : 10;
	} else
		die("what?");
	return 0;
}
