/* SPDX-License-Identifier: Apache-2.0 */
/* gpucc - what the sub-commands share: options, the node's devices, one loop, tables and JSON. */
#pragma once
#include "base/buf.h"
#include "base/opts.h"
#include "gpu/switch.h"
#include "json/json.h"
#include "loop/loop.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1 };

struct common {
	const char *sysfs_root, *host_root, *state_dir, *capable_ids;
	int log_level, log_format, output;
	uint64_t wait_ms;
	struct opt_list device;
	/* From these texts: */
	struct bdf only[OPT_LIST_MAX];
	struct gpu_ids capable;
};
enum { OUTPUT_TEXT, OUTPUT_JSON };
extern const char *const output_names[];

/* Rows of an option table whose struct has `struct common common`. */
#define COMMON_OPT(type, member) (offsetof(type, common) + offsetof(struct common, member))
#define COMMON_OPTS(type)                                                                          \
	{ "device", 0, OPT_LIST, COMMON_OPT(type, device), "BDF", .help =                          \
	  "only this GPU or NVSwitch, such as 0000:41:00.0; may be repeated (default: all)" },     \
	{ "output", 'o', OPT_CHOICE, COMMON_OPT(type, output), "FORMAT", NULL, "text",             \
	  output_names, 0, false, "how results are printed" },                                     \
	{ "wait", 0, OPT_DURATION, COMMON_OPT(type, wait_ms), "TIME", NULL, "2m", .help =          \
	  "how long to wait for a device that another program, such as cc-manager, works on" },    \
	{ "sysfs-root", 0, OPT_STRING, COMMON_OPT(type, sysfs_root), "DIR", NULL, "/sys",          \
	  .help = "where sysfs is" },                                                              \
	{ "host-root", 0, OPT_STRING, COMMON_OPT(type, host_root), "DIR", NULL, "/",               \
	  .help = "where the host's root is; its proc shows who has a device open" },              \
	{ "state-dir", 0, OPT_STRING, COMMON_OPT(type, state_dir), "DIR", NULL,                    \
	  "/run/nvidia/gpucc", .help = "locks, and what is remembered of devices" },               \
	{ "log-level", 0, OPT_CHOICE, COMMON_OPT(type, log_level), "LEVEL", NULL, "info",          \
	  log_level_names, 0, false, "least level that is logged; debug shows each register access" }, \
	{ "log-format", 0, OPT_CHOICE, COMMON_OPT(type, log_format), "FORMAT", NULL, "text",       \
	  log_format_names, 0, false, "how the log on stderr is written" },                        \
	{ NULL, 0, OPT_STRING, COMMON_OPT(type, capable_ids), "IDS", "CC_CAPABLE_DEVICE_IDS", NULL, \
	  .help = "device ids that count as CC capable beside those known, such as 0x2331,0x2322" }

/* One sub-command.  argv[0] is its full name, for messages. */
struct command {
	const char *group, *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};
/* Options, their values too.  Negative: go on; else the exit code. */
int command_begin(const struct opts_program *program, int argc, char **argv, void *opts,
		  struct common *common, int *n_args) MUST_CHECK;

int cmd_mode_query(int argc, char **argv);
int cmd_mode_set(int argc, char **argv);
int cmd_mode_settings(int argc, char **argv);

/* --- the node -------------------------------------------------------------------------------- */

struct node {
	struct pci_host host;
	struct loop *loop;
	struct gpu_list list;
	size_t n_on_fabric;		  /* of the node, selected or not */
	struct pci_lock lock[GPU_MAX_DEVICES];
	struct gpu_result result[GPU_MAX_DEVICES]; /* by the index in list */
	bool trace, done;
};

/* Scans.  False: what was asked for cannot be had, and why was logged. */
bool node_open(struct node *node, const struct common *common);
void node_close(struct node *node);
#define AUTO_NODE CLEANUP(node_close) struct node
bool node_lockdown_allows(const struct node *node);

/* Takes the locks of the devices that may be touched, waiting for each.  A device that stays locked gets
 * an error; the others go on. */
void node_lock(struct node *node, uint64_t wait_ms);

/* One operation on each device that is neither in use nor broken; `result` has an answer for all. */
bool node_run(struct node *node, enum gpu_op op, enum gpu_mode mode, bool want_staged);

/* Takes functions out of the list that turned out to be no NVSwitches. */
void node_drop_bridges(struct node *node);

/* For gpu_switch and gpu_jobs. */
void on_note_log(void *arg, const struct gpu_dev *dev, enum log_level level, const char *text);

/* --- output ---------------------------------------------------------------------------------- */

#define CELL_BYTES 600
#define TABLE_COLUMNS 10

struct table {
	const char *title[TABLE_COLUMNS];
	size_t n_columns, n_rows;
	struct cell {
		char text[CELL_BYTES];
	} *cell; /* rows * columns */
};
bool table_add(struct table *t, const char *const *text); /* false: memory is short, and it was logged */
void table_print(const struct table *t);
void table_clear(struct table *t);

/* The fields of `mode query -o json`, into an open object. */
void json_put_device(struct json_put *w, const struct gpu_dev *dev, const struct gpu_result *result);
bool json_print(struct json_put *w, struct buf *text); /* false: it could not be written, and it was logged */
