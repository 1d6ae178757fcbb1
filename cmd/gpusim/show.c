/* SPDX-License-Identifier: Apache-2.0 */
/* show - the true state of a machine's devices, past what its registers would say. */
#include <string.h>

#include "base/str.h"
#include "json/json.h"
#include "sim.h"

#define TEXT_MAX (1u << 20)

struct show_options {
	const char *state_dir;
	int json;
};

static const char *const formats[] = { "text", "json", NULL };

/* The words of the contract: a device's mode, or "unsupported". */
static const char *cc_text(const struct gpumodel_truth *t, unsigned mode)
{
	return t->cc_supported ? gpumodel_cc_name(mode) : "unsupported";
}

static const char *ppcie_text(const struct gpumodel_truth *t, bool on)
{
	return !t->ppcie_supported ? "unsupported" : on ? "on" : "off";
}

static void text_print(struct sim *s)
{
	static const char row[] = "%-13s %-10s %-12s %-12s %-12s %-12s %-8s %s\n";
	struct gpumodel_truth t;

	printf(row, "DEVICE", "PART", "CC", "CC STAGED", "PPCIE", "STAGED", "BOOTED", "DRIVER");
	for (unsigned i = 0; i < gpumodel_count(s->model); i++) {
		const struct gpumodel_info *info = gpumodel_info(s->model, i);
		const char *driver = gpumodel_driver(s->model, i);

		gpumodel_truth(s->model, i, &t);
		printf(row, info->bdf, info->part, cc_text(&t, t.cc_active),
		       cc_text(&t, t.cc_staged), ppcie_text(&t, t.ppcie_active),
		       ppcie_text(&t, t.ppcie_staged), t.booted ? "yes" : "no",
		       driver ? driver : "-");
	}
}

static json_t *text_or_null(const char *s)
{
	return str_empty(s) ? json_null() : json_string(s);
}

static json_t *knobs_json(const struct gpumodel_truth *t)
{
	json_t *knobs = json_object();
	char id[8];

	for (unsigned i = 1; i < GPUMODEL_N_KNOBS; i++) {
		snprintf(id, sizeof(id), "%u", i);
		if (t->knob_valid[i])
			json_object_set_new(knobs, id, json_integer(t->knob[i]));
	}
	return knobs;
}

static json_t *device_json(struct sim *s, unsigned i)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, i);
	const char *kind = info->kind == GPUMODEL_GPU	   ? "gpu"
			   : info->kind == GPUMODEL_SWITCH ? "switch"
							   : "other";
	struct gpumodel_truth t;

	gpumodel_truth(s->model, i, &t);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:o, s:o, s:b, s:s, "
		"s:I, s:o}",
		"bdf", info->bdf, "part", info->part, "chip", info->chip, "name", info->name,
		"kind", kind, "ccMode", cc_text(&t, t.cc_active), "ccStaged",
		cc_text(&t, t.cc_staged), "ppcieMode", ppcie_text(&t, t.ppcie_active),
		"ppcieStaged", ppcie_text(&t, t.ppcie_staged), "stagedUnapplied",
		t.staged_unapplied, "booted", t.booted, "recovery", t.recovery, "held", t.held,
		"driver", text_or_null(gpumodel_driver(s->model, i)), "driverOverride",
		text_or_null(s->dev[i].override), "removed", s->dev[i].removed, "powerControl",
		s->dev[i].control_auto ? "auto" : "on", "resets", (json_int_t)t.resets, "knobs",
		knobs_json(&t));
}

static void json_print(struct sim *s)
{
	json_t *devices = json_array();
	AUTO(json_free) json_t *doc = NULL;

	for (unsigned i = 0; i < gpumodel_count(s->model); i++)
		json_array_append_new(devices, device_json(s, i));
	doc = json_pack("{s:o}", "devices", devices);
	json_dumpf(doc, stdout, JSON_COMPACT);
	putchar('\n');
}

int show_command(int argc, char **argv)
{
	static const struct opt opts[] = {
		{ .name = "state",
		  .type = OPT_STRING,
		  .offset = offsetof(struct show_options, state_dir),
		  .arg = "DIR",
		  .required = true,
		  .help = "the state folder of a machine" },
		{ .name = "output",
		  .letter = 'o',
		  .type = OPT_CHOICE,
		  .offset = offsetof(struct show_options, json),
		  .arg = "FORMAT",
		  .def = "text",
		  .choices = formats,
		  .help = "what to print" },
	};
	static const struct opts_program program = {
		.name = "gpusim show",
		.usage = "--state DIR [-o text|json]",
		.summary =
			"Prints the true state of each device: modes active and staged, knobs, driver.  "
			"While a command runs it may be 50 ms old.",
		.opts = opts,
		.n_opts = ARRAY_LEN(opts),
	};
	AUTO_MEM struct sim *s = calloc(1, sizeof(*s));
	struct show_options o = { 0 };
	struct err err = ERR_INIT;
	int n = 0;

	if (!s)
		return EXIT_GPUSIM;
	switch (opts_parse(&program, argc, argv, getenv, &o, &n)) {
	case OPTS_OK:
		break;
	case OPTS_DONE:
		return 0;
	case OPTS_BAD:
		return EXIT_USAGE;
	}
	if (n) {
		opts_complain(&program, "unexpected argument '%s'", argv[0]);
		return EXIT_USAGE;
	}
	if (state_peek(s, o.state_dir, &err) < 0) {
		complain("%s", err_text(&err));
		return EXIT_GPUSIM;
	}
	if (o.json)
		json_print(s);
	else
		text_print(s);
	gpumodel_free(s->model);
	return 0;
}
