/* SPDX-License-Identifier: Apache-2.0 */
/* mode query - the modes in force, read from each device's register.  Changes nothing. */
#include <stdio.h>
#include <string.h>

#include "gpucc.h"

struct query_opts {
	struct common common;
};

static const struct opt table[] = { COMMON_OPTS(struct query_opts) };

static const struct opts_program program = {
	.name = "gpucc mode query",
	.usage = "[OPTION]...",
	.summary = "Shows the CC and PPCIe modes that are in force on each GPU and NVSwitch.",
	.epilog =
		"A device in use is not touched: its mode is the one last recorded in this boot, or unknown.\n"
		"Exit status: 0 every device was read, 1 some could not be, 2 wrong usage.",
	.opts = table,
	.n_opts = ARRAY_LEN(table),
};

/* The table has the address already. */
static const char *without_bdf(const char *error, struct bdf b)
{
	size_t n = strlen(bdf_str(b));

	return strncmp(error, bdf_str(b), n) == 0 && strncmp(error + n, ": ", 2) == 0
		       ? error + n + 2
		       : error;
}

static void print_text(const struct node *node)
{
	CLEANUP(table_clear)
	struct table t = {
		.title = { "DEVICE", "KIND", "CHIP", "NAME", "ID", "DRIVER", "CC", "PPCIE",
			   "STATUS" },
		.n_columns = 9,
	};

	for (size_t i = 0; i < node->list.n; i++) {
		const struct gpu_dev *dev = &node->list.dev[i];
		const struct gpu_result *r = &node->result[i];
		char bdf[24], id[16];

		snprintf(bdf, sizeof(bdf), "%s", bdf_str(dev->bdf));
		snprintf(id, sizeof(id), "%04x:%04x", dev->vendor_id, dev->device_id);
		if (!table_add(&t, (const char *const[]){
					   bdf, gpu_kind_names[dev->kind], dev->chip_name,
					   dev->name, id, dev->driver, gpu_cc_names[r->active.cc],
					   gpu_ppcie_names[r->active.ppcie],
					   *r->error ? without_bdf(r->error, dev->bdf) : "ok" }))
			return;
	}
	if (node->list.n)
		table_print(&t);
	else
		printf("no NVIDIA GPU or NVSwitch found\n");
}

static bool print_json(const struct node *node)
{
	AUTO_BUF text = BUF_INIT(1 << 20);
	struct json_put w = json_put_to(&text);

	json_put_object(&w);
	json_put_key(&w, "devices");
	json_put_array(&w);
	for (size_t i = 0; i < node->list.n; i++) {
		json_put_object(&w);
		json_put_device(&w, &node->list.dev[i], &node->result[i]);
		json_put_end(&w);
	}
	json_put_end(&w);
	json_put_end(&w);
	return json_print(&w, &text);
}

static bool all_read(const struct node *node)
{
	for (size_t i = 0; i < node->list.n; i++)
		if (*node->result[i].error)
			return false;
	return true;
}

int cmd_mode_query(int argc, char **argv)
{
	struct query_opts opts = { 0 };
	AUTO_NODE node = { 0 };
	int n, code;

	if ((code = command_begin(&program, argc, argv, &opts, &opts.common, &n)) >= 0)
		return code;
	if (n)
		return opts_complain(&program, "unexpected argument '%s'", argv[0]), EXIT_USAGE;
	if (!node_open(&node, &opts.common) || !node_lockdown_allows(&node))
		return EXIT_FAILED;
	node_lock(&node, opts.common.wait_ms);
	if (!node_run(&node, GPU_OP_QUERY, GPU_MODE_OFF, false))
		return EXIT_FAILED;
	node_drop_bridges(&node);
	if (opts.common.output == OUTPUT_JSON) {
		if (!print_json(&node))
			return EXIT_FAILED;
	} else {
		print_text(&node);
	}
	return all_read(&node) ? EXIT_OK : EXIT_FAILED;
}
