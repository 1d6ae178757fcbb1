/* SPDX-License-Identifier: Apache-2.0 */
/* mode settings - every knob of the firmware by name, as staged: what the next reset will make active. */
#include <stdio.h>
#include <string.h>

#include "gpucc.h"

struct settings_opts {
	struct common common;
};

static const struct opt table[] = { COMMON_OPTS(struct settings_opts) };

static const struct opts_program program = {
	.name = "gpucc mode settings",
	.usage = "[OPTION]...",
	.summary = "Shows every setting of the firmware by name, as the next reset will find it.",
	.epilog = "Exit status: 0 every device was read, 1 some could not be, 2 wrong usage.",
	.opts = table,
	.n_opts = ARRAY_LEN(table),
};

static void print_device(const struct gpu_dev *dev, const struct gpu_result *r)
{
	CLEANUP(table_clear)
	struct table t = { .title = { "  ID", "NAME", "VALUE", "MEANING" }, .n_columns = 4 };

	printf("%s %s %s\n", bdf_str(dev->bdf), gpu_kind_names[dev->kind], dev->name);
	if (*r->error) {
		printf("  %s\n", r->error);
		return;
	}
	for (size_t i = 0; i < GPU_N_KNOBS; i++) {
		const struct gpu_knob *k = &r->knob[i];
		char id[12], value[12];

		snprintf(id, sizeof(id), "  %2u", k->id);
		snprintf(value, sizeof(value), "%u", k->value);
		if (!table_add(&t, (const char *const[]){ id, gpu_knob_name(k->id),
							  k->state == GPU_KNOB_INVALID ? "invalid"
										       : value,
							  gpu_knob_meaning(k->id) }))
			return;
	}
	table_print(&t);
}

static void put_knobs(struct json_put *w, const struct gpu_result *r)
{
	json_put_key(w, "settings");
	json_put_array(w);
	for (size_t i = 0; i < GPU_N_KNOBS && !*r->error; i++) {
		const struct gpu_knob *k = &r->knob[i];

		json_put_object(w);
		json_put_member_int(w, "id", k->id);
		json_put_member_str(w, "name", gpu_knob_name(k->id));
		json_put_key(w, "value");
		if (k->state == GPU_KNOB_INVALID)
			json_put_null(w);
		else
			json_put_int(w, k->value);
		json_put_end(w);
	}
	json_put_end(w);
}

static bool print_json(const struct node *node)
{
	AUTO_BUF text = BUF_INIT(4 << 20);
	struct json_put w = json_put_to(&text);

	json_put_object(&w);
	json_put_key(&w, "devices");
	json_put_array(&w);
	for (size_t i = 0; i < node->list.n; i++) {
		const struct gpu_result *r = &node->result[i];

		json_put_object(&w);
		json_put_member_str(&w, "bdf", bdf_str(r->bdf));
		json_put_member_str(&w, "error", *r->error ? r->error : NULL);
		put_knobs(&w, r);
		json_put_end(&w);
	}
	json_put_end(&w);
	json_put_end(&w);
	return json_print(&w, &text);
}

static bool print(const struct node *node, int output)
{
	bool ok = true;

	for (size_t i = 0; i < node->list.n; i++)
		ok = ok && !*node->result[i].error;
	if (output == OUTPUT_JSON)
		return print_json(node) && ok;
	for (size_t i = 0; i < node->list.n; i++)
		print_device(&node->list.dev[i], &node->result[i]);
	if (!node->list.n)
		printf("no NVIDIA GPU or NVSwitch found\n");
	return ok;
}

int cmd_mode_settings(int argc, char **argv)
{
	struct settings_opts opts = { 0 };
	AUTO_NODE node = { 0 };
	int n, code;

	if ((code = command_begin(&program, argc, argv, &opts, &opts.common, &n)) >= 0)
		return code;
	if (n)
		return opts_complain(&program, "unexpected argument '%s'", argv[0]), EXIT_USAGE;
	if (!node_open(&node, &opts.common) || !node_lockdown_allows(&node))
		return EXIT_FAILED;
	node_lock(&node, opts.common.wait_ms);
	if (!node_run(&node, GPU_OP_SETTINGS, GPU_MODE_OFF, false))
		return EXIT_FAILED;
	return print(&node, opts.common.output) ? EXIT_OK : EXIT_FAILED;
}
