/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim - what the files of gpusim share: one simulated machine and the processes that run on it.
 *
 * The command runs in a mount namespace whose /sys is ours.  It is traced: a seccomp filter stops the
 * few system calls that could reach the tree, and BAR0 mappings have no access rights, so that each
 * load and store faults and is served, one by one, from pkg/gpumodel.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/err.h"
#include "base/opts.h"
#include "gpumodel/gpumodel.h"

#define EXIT_STRICT	 96  /* the command broke a rule */
#define EXIT_GPUSIM	 125 /* gpusim itself failed */
#define EXIT_CANNOT_EXEC 126
#define EXIT_NOT_FOUND	 127
#define EXIT_KILLED	 137
#define MAPPINGS_MAX	 64 /* of BAR0, per address space */
#define TASK_BUCKETS	 256
#define OPS_MAX		 256 /* system calls that are made to wait */
#define SYSFS_WRITE_MAX	 4096
#define DRIVERS_MAX	 4

/* --- options ----------------------------------------------------------------------------------- */

enum kill_when { KILL_BEFORE, KILL_AFTER };
enum host_tee { TEE_NONE, TEE_SNP, TEE_TDX };
enum lockdown { LOCKDOWN_NONE, LOCKDOWN_INTEGRITY, LOCKDOWN_CONFIDENTIALITY };

struct options {
	const char *devices, *state_dir, *trace, *driver, *mode, *kill_kinds;
	uint64_t boot_ms, reset_ms, rpc_ms, kill_at;
	int kill_when, host_tee, lockdown;
	bool count_points, strict, d3, quiet;
	struct opt_list faults, knobs;
};

/* --- the state folder -------------------------------------------------------------------------- */

struct sysfs_dev { /* what the kernel remembers about a device */
	char override[32];
	bool control_auto, removed, d3cold, gone;
};

/* --- kill points ------------------------------------------------------------------------------- */

enum point { POINT_REG, POINT_SYSFS, POINT_FILE, POINT_SEND, POINT_LOG, POINT_N };

struct points {
	uint64_t count[POINT_N], total, at;
	unsigned kinds;		 /* bit per enum point */
	bool active, after, due; /* due: the point was reached, kill once its effect is there */
};

/* --- processes --------------------------------------------------------------------------------- */

struct mapping {
	uint64_t start, size, offset; /* offset: in BAR0 */
	unsigned dev;
};

struct space { /* an address space; threads and vfork children share one */
	unsigned refs, n;
	struct mapping mapping[MAPPINGS_MAX];
};

enum at_exit { EXIT_NOTHING, EXIT_MMAP, EXIT_MUNMAP, EXIT_MREMAP, EXIT_CONFIG, EXIT_POINT };

struct task {
	struct task *next;
	pid_t tid, tgid;
	struct space *space;  /* NULL until its parent's event has come */
	bool seen_stop;	      /* a new task that stopped before its parent's event */
	enum at_exit at_exit; /* what to do when the system call under way returns */
	struct mapping pending;
	struct node *node;
};

enum op_kind { OP_RESET, OP_UNBIND };

struct op { /* a write to the tree that takes time; its caller stands still until then */
	bool used;
	enum op_kind kind;
	pid_t tid; /* 0: gone, the device goes on alone */
	unsigned dev;
	uint64_t due_us;
	long result;
	bool kill_after, begun; /* begun: a reset that waits for no other */
	struct user_regs_struct regs;
};

/* --- the tree ---------------------------------------------------------------------------------- */

enum attr {
	ATTR_NONE,
	ATTR_CONFIG,
	ATTR_RESOURCE0,
	ATTR_RESET,
	ATTR_RESET_METHOD,
	ATTR_OVERRIDE,
	ATTR_REMOVE,
	ATTR_DEV_RESCAN,
	ATTR_POWER_CONTROL,
	ATTR_D3COLD,
	ATTR_BIND,
	ATTR_UNBIND,
	ATTR_NEW_ID,
	ATTR_REMOVE_ID,
	ATTR_PROBE,
	ATTR_RESCAN,
	ATTR_READ_ONLY
};

struct node { /* a file of the tree whose writes mean something; found by its inode */
	uint64_t inode;
	enum attr attr;
	int dev;    /* or -1 */
	int driver; /* or -1 */
	int fd;	    /* of config, to refresh it; else -1 */
};
#define NODES_MAX (GPUMODEL_MAX_DEVICES * 24)

struct sim {
	struct options opts;
	struct gpumodel *model;
	struct sysfs_dev dev[GPUMODEL_MAX_DEVICES];
	char drivers[DRIVERS_MAX][24]; /* that are loaded; vfio-pci first */
	unsigned n_drivers;
	char new_id[DRIVERS_MAX][32]; /* "10de 2330" */

	char state_dir[256], devices[1024];
	bool state_temporary, state_new, dirty;
	int lock_fd, bell_fd;
	uint64_t saved_us, looked_us, faults_serial;

	dev_t tree_dev;
	unsigned n_nodes;
	struct node node[NODES_MAX], read_only; /* read_only stands for all the others */
	uint8_t config_cache[GPUMODEL_MAX_DEVICES][GPUMODEL_CFG_BYTES];
	pid_t holder[GPUMODEL_MAX_DEVICES];

	struct task *task[TASK_BUCKETS];
	struct op op[OPS_MAX];
	unsigned n_ops;
	pid_t init_pid;		 /* the first in the command's process namespace */
	pid_t main_pid, current; /* current: whose access is being served */
	bool main_done, killed;
	int main_status;

	struct points points;
	FILE *trace;
	uint64_t start_us, accesses;
};

/* state.c */
int state_open(struct sim *s, struct err *err) MUST_CHECK; /* makes or loads, and locks */
void state_resets_finish(struct sim *s);
int state_save(struct sim *s, struct err *err) MUST_CHECK;
void state_close(struct sim *s);
int state_faults_reload(struct sim *s, struct err *err) MUST_CHECK;	    /* what others wrote */
int state_faults_store(struct sim *s, struct err *err) MUST_CHECK;	    /* counts that moved */
int state_peek(struct sim *s, const char *dir, struct err *err) MUST_CHECK; /* without the lock */
bool state_faults_changed(struct sim *s);
int faults_command(int argc, char **argv);
extern const char faults_help[];
int show_command(int argc, char **argv);

/* tree.c */
int tree_enter(struct sim *s, struct err *err) MUST_CHECK; /* namespaces, /sys, /dev/vfio */
struct node *tree_node(struct sim *s, pid_t tid, int fd);  /* NULL: not a file of ours */
struct node *tree_node_of(struct sim *s, const struct stat *st);
void tree_config_refresh(struct sim *s, const struct node *node);
void tree_device_add(struct sim *s, unsigned dev);
void tree_device_remove(struct sim *s, unsigned dev);
void tree_faults(struct sim *s);	     /* devices that went, came back, are held */
void tree_sync(struct sim *s, unsigned dev); /* driver links, power, holders follow the model */
void tree_rewrite(struct sim *s, const struct node *node); /* a file that was truncated */
int driver_index(const struct sim *s, const char *name);

/* ns.c */
int ns_enter(struct err *err) MUST_CHECK;
int ns_mount_sys(struct err *err) MUST_CHECK;
int ns_mount_dev(struct err *err) MUST_CHECK;
pid_t ns_pids(struct err *err) MUST_CHECK; /* the first process, or -1 */
int ns_mount_proc(void) MUST_CHECK;	   /* -1: see errno */
pid_t holder_start(const char *path);
void holder_stop(pid_t pid);

/* sysfs.c: a write to the tree.  Returns bytes or -errno, or ATTR_WAITS when `op` was filled. */
#define ATTR_WAITS LONG_MIN
long attr_write(struct sim *s, const struct node *node, const char *text, size_t n, uint64_t offset,
		struct op *op);
void attr_op_finish(struct sim *s, struct op *op); /* sets op->result */
bool attr_op_ready(struct sim *s, struct op *op, uint64_t now_us);

/* points.c */
int points_init(struct sim *s, struct err *err) MUST_CHECK;
bool point_reached(struct sim *s, enum point kind); /* true: kill now */
void points_print(const struct sim *s, FILE *f);

/* trace.c */
int trace_open(struct sim *s, struct err *err) MUST_CHECK;
void trace_access(const struct gpumodel_access *a, void *sim);
void trace_violation(unsigned dev, const char *text, void *sim);
void trace_line(struct sim *s, const char *bdf, const char *what, const char *text);
void complain(const char *fmt, ...) PRINTF(1, 2); /* "gpusim: ..." on stderr */

/* task.c */
struct task *task_get(struct sim *s, pid_t tid); /* makes it */
struct task *task_find(struct sim *s, pid_t tid);
void task_drop(struct sim *s, struct task *t);
void space_share(struct task *child, struct task *parent);
void space_copy(struct task *child, struct task *parent);
void space_clear(struct task *t);
struct mapping *space_find(struct space *space, uint64_t address);
void space_add(struct space *space, struct mapping m);
void space_cut(struct space *space, uint64_t start, uint64_t size);
bool space_overlaps(const struct space *space, uint64_t start, uint64_t size);
bool task_read(pid_t tid, uint64_t address, void *to, size_t n);
bool task_write(pid_t tid, uint64_t address, const void *from, size_t n);

/* tracer.c */
int tracer_run(struct sim *s, char **argv, struct err *err) MUST_CHECK;
void tracer_resume(struct sim *s, struct task *t, bool to_exit, int signal);

/* syscalls.c */
int filter_install(bool with_points); /* in the child; 0 or -1 with errno */
void syscall_enter(struct sim *s, struct task *t);
void syscall_leave(struct sim *s, struct task *t);
void ops_run(struct sim *s); /* those that are due */
void ops_forget(struct sim *s, pid_t tid);
uint64_t ops_next_us(const struct sim *s); /* UINT64_MAX: none */

/* access.c: one load or store of BAR0.  False: not ours. */
bool access_serve(struct sim *s, struct task *t, uint64_t address);
