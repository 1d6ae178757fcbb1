/* SPDX-License-Identifier: Apache-2.0 */
/* dryrun - prints what would be done for the label as it is now. */
#include <stdio.h>

#include "app.h"
#include "base/str.h"
#include "json/json.h"

#define MAX_BYTES (256 << 10)

static const char *const actions[] = {
	[GPU_NEED_NOTHING] = "none",
	[GPU_NEED_STAGE] = "stage",
	[GPU_NEED_RESET] = "switch",
};

static const char *action(const struct app *app, size_t i)
{
	const struct plan *p = &app->machine.plan;
	const struct device *d = &app->devices.item[i];

	if (p->skip[i])
		return "skip";
	if (p->verdict == PLAN_SWITCH && p->need[i] == GPU_NEED_NOTHING && d->unbound)
		return "bind";
	return p->verdict == PLAN_SWITCH ? actions[p->need[i]] : actions[GPU_NEED_NOTHING];
}

static unsigned to_pause(const struct app *app)
{
	return phase_disturbs(app) && app->config.evict ? app_running_operands(app) : 0;
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

static void put_device(struct json_put *w, const struct app *app, size_t i)
{
	const struct device *d = &app->devices.item[i];

	json_put_object(w);
	json_put_member_str(w, "bdf", bdf_str(d->dev.bdf));
	json_put_member_str(w, "kind", gpu_kind_names[d->dev.kind]);
	json_put_member_str(w, "chip", or_null(d->dev.chip_name));
	json_put_member_str(w, "name", or_null(d->dev.name));
	json_put_member_str(w, "driver", or_null(d->dev.driver));
	json_put_member_str(w, "ccMode", gpu_cc_names[d->active.cc]);
	json_put_member_str(w, "ppcieMode", gpu_ppcie_names[d->active.ppcie]);
	json_put_member_str(w, "inUse", or_null(d->dev.in_use));
	json_put_member_str(w, "error", or_null(d->error[0] ? d->error : d->staged_error));
	json_put_member_str(w, "action", action(app, i));
	json_put_end(w);
}

static int print_json(const struct app *app, struct buf *out, struct err *err)
{
	const struct plan *p = &app->machine.plan;
	struct json_put w = json_put_to(out);
	unsigned pause = to_pause(app);

	json_put_object(&w);
	json_put_member_str(&w, "node", app->config.node_name);
	json_put_member_str(&w, "wanted", or_null(app->machine.wanted));
	json_put_member_bool(&w, "fromDefault", p->from_default);
	json_put_member_str(&w, "inForce", in_force_names[p->in_force]);
	json_put_member_str(&w, "plan", plan_verdict_names[p->verdict]);
	json_put_member_str(&w, "reason", p->reason);
	json_put_member_str(&w, "message", or_null(err_text(&p->why)));
	json_put_key(&w, "pause");
	json_put_array(&w);
	for (int i = 0; i < EVICT_N_OPERANDS; i++)
		if (pause & EVICT_BIT(i))
			json_put_str(&w, evict_operand_names[i]);
	json_put_end(&w);
	json_put_key(&w, "devices");
	json_put_array(&w);
	for (size_t i = 0; i < app->devices.n; i++)
		put_device(&w, app, i);
	json_put_end(&w);
	json_put_end(&w);
	return json_put_done(&w, err) < 0 || buf_adds(out, "\n", err) < 0 ? -1 : 0;
}

static int print_text(const struct app *app, struct buf *out, struct err *err)
{
	const struct plan *p = &app->machine.plan;
	unsigned pause = to_pause(app);

	if (buf_addf(out, err, "node %s: wanted %s%s, in force %s, plan: %s%s%s\n",
		     app->config.node_name,
		     app->machine.wanted[0] ? app->machine.wanted : "nothing",
		     p->from_default && app->machine.wanted[0] ? " (default)" : "",
		     in_force_names[p->in_force], plan_verdict_names[p->verdict],
		     p->why.kind ? ": " : "", err_text(&p->why)) < 0)
		return -1;
	for (int i = 0; i < EVICT_N_OPERANDS; i++)
		if ((pause & EVICT_BIT(i)) &&
		    buf_addf(out, err, "pause %s\n", evict_operand_names[i]) < 0)
			return -1;
	for (size_t i = 0; i < app->devices.n; i++) {
		const struct device *d = &app->devices.item[i];
		const char *why = d->error[0] ? d->error : d->dev.in_use;

		if (buf_addf(out, err, "%s %-8s %-6s %-8s cc %-11s ppcie %-11s %s%s%s\n",
			     bdf_str(d->dev.bdf), gpu_kind_names[d->dev.kind], d->dev.chip_name,
			     d->dev.name, gpu_cc_names[d->active.cc],
			     gpu_ppcie_names[d->active.ppcie], action(app, i), *why ? ": " : "",
			     why) < 0)
			return -1;
	}
	return 0;
}

int dryrun_print(const struct app *app, struct err *err)
{
	AUTO_BUF out = BUF_INIT(MAX_BYTES);
	int r = app->config.output == OUTPUT_JSON ? print_json(app, &out, err)
						  : print_text(app, &out, err);

	if (r < 0)
		return -1;
	if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		return err_errno(err, "writing to stdout");
	return 0;
}
