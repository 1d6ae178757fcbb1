/* SPDX-License-Identifier: Apache-2.0 */
/* status: what labels and annotation say for each outcome, and that the same thing is the same text. */
#include <criterion/criterion.h>
#include <jansson.h>

#include "../../../cmd/cc-manager/status.h"
#include "../table.h"
#include "base/clock.h"
#include "base/str.h"

static struct device_list one_gpu(void)
{
	static struct device_list l;

	l.n = 1;
	l.item[0] = (struct device){ .dev = { .kind = GPU_KIND_GPU,
					      .cc_capable = true,
					      .ppcie_capable = true,
					      .chip_name = "gh100",
					      .name = "H100" },
				     .active = { GPU_CC_ON, GPU_PPCIE_OFF } };
	return l;
}

static const struct {
	const char *name;
	enum plan_verdict verdict;
	enum in_force in_force;
	bool tee_missing, no_gpu;
	enum err_kind failed;
	int label;
	const char *state, *ready; /* NULL: left as it is */
} outcomes[] = {
	{ "on is kept", PLAN_KEEP, IN_FORCE_ON, false, false, ERR_NONE, STATE_LABEL_RESULT,
	  "success", "true" },
	{ "off is kept", PLAN_KEEP, IN_FORCE_OFF, false, false, ERR_NONE, STATE_LABEL_RESULT,
	  "success", "false" },
	{ "devtools was switched to", PLAN_SWITCH, IN_FORCE_DEVTOOLS, false, false, ERR_NONE,
	  STATE_LABEL_RESULT, "success", "" },
	{ "ppcie was switched to", PLAN_SWITCH, IN_FORCE_PPCIE, false, false, ERR_NONE,
	  STATE_LABEL_RESULT, "success", "true" },
	{ "on, told by mode", PLAN_KEEP, IN_FORCE_ON, false, false, ERR_NONE, STATE_LABEL_MODE,
	  "on", "true" },
	{ "off, told by mode", PLAN_KEEP, IN_FORCE_OFF, false, false, ERR_NONE, STATE_LABEL_MODE,
	  "off", "false" },
	{ "on without a host that could use it", PLAN_KEEP, IN_FORCE_ON, true, false, ERR_NONE,
	  STATE_LABEL_RESULT, "success", "" },
	{ "off without such a host", PLAN_KEEP, IN_FORCE_OFF, true, false, ERR_NONE,
	  STATE_LABEL_RESULT, "success", "false" },
	{ "no GPU", PLAN_KEEP, IN_FORCE_OFF, false, true, ERR_NONE, STATE_LABEL_RESULT, "success",
	  "" },
	{ "refused, on is in force", PLAN_REFUSE, IN_FORCE_ON, false, false, ERR_INVALID,
	  STATE_LABEL_RESULT, "failed", "true" },
	{ "refused, told by mode", PLAN_REFUSE, IN_FORCE_OFF, false, false, ERR_INVALID,
	  STATE_LABEL_MODE, "failed", "false" },
	{ "failed, the devices differ", PLAN_SWITCH, IN_FORCE_MIXED, false, false, ERR_DEVICE,
	  STATE_LABEL_RESULT, "failed", "" },
	{ "failed, nobody knows", PLAN_SWITCH, IN_FORCE_UNKNOWN, false, false, ERR_DEVICE,
	  STATE_LABEL_MODE, "failed", "" },
	{ "nothing asked for, told by mode", PLAN_LEAVE, IN_FORCE_DEVTOOLS, false, false, ERR_NONE,
	  STATE_LABEL_MODE, "devtools", "" },
	{ "nothing asked for, nobody knows", PLAN_LEAVE, IN_FORCE_UNKNOWN, false, false, ERR_NONE,
	  STATE_LABEL_MODE, "failed", "" },
	{ "waiting for a device", PLAN_WAIT, IN_FORCE_OFF, false, false, ERR_NONE,
	  STATE_LABEL_RESULT, NULL, "false" },
	{ "stopped on the way", PLAN_SWITCH, IN_FORCE_OFF, false, false, ERR_INTERRUPTED,
	  STATE_LABEL_RESULT, NULL, "false" },
};

TABLE_TEST(status, labels_tell_the_truth, outcomes)
{
	struct config config = { .state_label = row->label };
	struct plan plan = { .verdict = row->verdict,
			     .in_force = row->in_force,
			     .reason = "Converged",
			     .tee_missing = row->tee_missing };
	struct device_list devices = one_gpu();
	struct err failed = ERR_INIT;
	struct status_input in = {
		.config = &config, .plan = &plan, .devices = &devices, .failed = &failed
	};
	const char *state;

	if (row->failed)
		err_set(&failed, row->failed, "it went wrong");
	if (row->no_gpu)
		devices.n = 0;
	state = status_state_label(&in);
	cr_assert(state == row->state || str_eq(state, row->state), "%s: %s", row->name, state);
	cr_assert_str_eq(status_ready_label(&in), row->ready, "%s", row->name);
}

struct fixture {
	struct config config;
	struct plan plan;
	struct device_list devices;
	struct err failed;
	struct status_input in;
};

static void fill(struct fixture *f)
{
	*f = (struct fixture){ .failed = ERR_INIT, .devices = one_gpu() };
	f->plan = (struct plan){ .verdict = PLAN_KEEP,
				 .in_force = IN_FORCE_ON,
				 .mode = GPU_MODE_ON,
				 .reason = "Converged",
				 .wants = true };
	f->in = (struct status_input){ .config = &f->config,
				       .plan = &f->plan,
				       .devices = &f->devices,
				       .wanted = "on",
				       .phase = "report",
				       .attempt = 1,
				       .failed = &f->failed };
}

static void render(const struct fixture *f, struct buf *out)
{
	struct err err = ERR_INIT;

	buf_reset(out);
	cr_assert_eq(status_annotation(&f->in, out, &err), 0, "%s", err_text(&err));
}

/* As if it had been written in 2001. */
static void make_old(struct buf *text)
{
	char *since = text->data ? strstr(text->data, "\"since\":\"20") : NULL;

	cr_assert(since);
	if (since)
		memcpy(since + strlen("\"since\":\""), "2001", 4);
}

Test(status, the_annotation_has_the_contracts_fields)
{
	static const char *const keys[] = { "wanted", "inForce", "phase",   "attempt",
					    "since",  "reason",	 "message", "devices" };
	AUTO_BUF text = BUF_INIT(STATUS_MAX_BYTES);
	static struct fixture f;
	json_t *doc, *device;
	size_t n = 0;

	fill(&f);
	render(&f, &text);
	doc = json_loads(buf_str(&text), 0, NULL);
	cr_assert_not_null(doc);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		n += json_object_get(doc, keys[i]) != NULL;
	cr_assert_eq(n, ARRAY_LEN(keys));
	cr_assert_eq(json_object_size(doc), ARRAY_LEN(keys));
	device = json_array_get(json_object_get(doc, "devices"), 0);
	cr_assert_eq(json_object_size(device), 7);
	cr_assert_str_eq(json_string_value(json_object_get(device, "ccMode")), "on");
	cr_assert(json_is_null(json_object_get(device, "error")));
	json_decref(doc);
}

Test(status, the_same_is_the_same_text_later)
{
	AUTO_BUF before = BUF_INIT(STATUS_MAX_BYTES), after = BUF_INIT(STATUS_MAX_BYTES);
	static struct fixture f;

	fill(&f);
	f.in.attempt = 3;
	render(&f, &before);
	make_old(&before);
	f.in.before = buf_str(&before);
	f.in.attempt = 1; /* a restarted agent counts anew */
	render(&f, &after);
	cr_assert_str_eq(buf_str(&after), buf_str(&before));
}

Test(status, a_change_is_dated_now)
{
	AUTO_BUF before = BUF_INIT(STATUS_MAX_BYTES), after = BUF_INIT(STATUS_MAX_BYTES);
	static struct fixture f;

	fill(&f);
	render(&f, &before);
	make_old(&before);
	f.in.before = buf_str(&before);
	f.plan.in_force = IN_FORCE_OFF;
	render(&f, &after);
	cr_assert_null(strstr(buf_str(&after), "\"since\":\"2001"));
}

Test(status, another_failed_attempt_keeps_the_date_and_counts)
{
	AUTO_BUF before = BUF_INIT(STATUS_MAX_BYTES), after = BUF_INIT(STATUS_MAX_BYTES);
	static struct fixture f;

	fill(&f);
	err_set(&f.failed, ERR_DEVICE, "0000:41:00.0: BAR0 reads all ones");
	render(&f, &before);
	make_old(&before);
	f.in.before = buf_str(&before);
	f.in.attempt = 2;
	render(&f, &after);
	cr_assert_not_null(strstr(buf_str(&after), "\"since\":\"2001"));
	cr_assert_not_null(strstr(buf_str(&after), "\"attempt\":2"));
	cr_assert_not_null(strstr(buf_str(&after), "BAR0 reads all ones"));
}

static const struct {
	const char *name, *before;
} rubbish[] = {
	{ "no JSON", "hello" },
	{ "an array", "[1]" },
	{ "other types", "{\"attempt\":\"1\",\"since\":7}" },
	{ "nothing", "" },
	{ "a long text", "{\"attempt\":1,\"since\":\"0123456789012345678901234567890123456789\"}" },
};

TABLE_TEST(status, somebody_elses_annotation_is_replaced, rubbish)
{
	AUTO_BUF after = BUF_INIT(STATUS_MAX_BYTES);
	static struct fixture f;

	fill(&f);
	f.in.before = row->before;
	render(&f, &after);
	cr_assert(str_starts(buf_str(&after), "{\"wanted\":\"on\""), "%s", row->name);
}
