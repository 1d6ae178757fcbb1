/* SPDX-License-Identifier: Apache-2.0 */
/* report - what we tell the cluster: labels and the annotation by merge patches of our own keys, none
 * when nothing changed, and events.  A patch of other people's keys, the operands', says which version
 * of the node it was made for; when that is gone the node is read again. */
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "base/log.h"
#include "base/str.h"

#define LONG_PHASE_MS	  2000
#define PATCH_DEADLINE_MS 20000
#define SIDE_DEADLINE_MS  5000
#define MAX_CONFLICTS	  10
#define NODE_PATH_BYTES	  512
#define ONLY_METADATA                                                                              \
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

struct patch {
	struct k8s_pair label[EVICT_N_OPERANDS + 2], annotation[1];
	size_t n_labels, n_annotations;
	bool others; /* has labels that are not ours alone */
	char value[EVICT_N_OPERANDS][EVICT_VALUE_BYTES];
};

static void add_label(struct patch *p, const char *key, const char *value)
{
	p->label[p->n_labels++] = (struct k8s_pair){ key, value };
}

/* Only what differs from what is there. */
static void want_label(struct patch *p, const struct k8s_node *node, const char *key,
		       const char *value)
{
	if (value && !str_eq(k8s_map_get(&node->labels, key), value))
		add_label(p, key, value);
}

static void want_status(struct patch *p, const struct k8s_node *node, const struct buf *text)
{
	if (!str_eq(k8s_map_get(&node->annotations, ANNOTATION_STATUS), buf_str(text)))
		p->annotation[p->n_annotations++] =
			(struct k8s_pair){ ANNOTATION_STATUS, buf_str(text) };
}

static struct status_input status_of(const struct app *app)
{
	const struct machine *m = &app->machine;
	enum phase phase = m->phase;

	if (m->phase == IDLE || m->phase == REPORT)
		phase = m->plan.verdict == PLAN_WAIT ? PLAN : REPORT;
	return (struct status_input){
		.config = &app->config,
		.plan = &m->plan,
		.devices = &app->devices,
		.wanted = m->wanted,
		.phase = phase_name(machine_failed(app) ? m->failed_in : phase),
		.attempt = m->attempt,
		.planning = m->phase == PLAN,
		.running = m->phase != IDLE && m->phase != REPORT,
		.failed = &m->first,
		.before = k8s_map_get(&app_node(app)->annotations, ANNOTATION_STATUS),
	};
}

unsigned app_paused_operands(const struct app *app)
{
	const struct k8s_node *node = app_node(app);
	unsigned bits = 0;

	for (int i = 0; node && i < EVICT_N_OPERANDS; i++)
		if (evict_is_paused(k8s_map_get(&node->labels, evict_operand_labels[i])))
			bits |= EVICT_BIT(i);
	return bits;
}

unsigned app_running_operands(const struct app *app)
{
	const struct k8s_node *node = app_node(app);
	unsigned bits = 0;

	for (int i = 0; node && i < EVICT_N_OPERANDS; i++)
		if (evict_pause_value(k8s_map_get(&node->labels, evict_operand_labels[i])))
			bits |= EVICT_BIT(i);
	return bits;
}

/* --- sending ---------------------------------------------------------------------------------- */

static int send_patch(struct app *app, struct err *err);

static void offer(struct app *app, const struct http_response *response)
{
	struct err err = ERR_INIT;

	if (k8s_reflector_offer(app->reflector, response->body, &err) < 0)
		log_debug("the answer to a patch cannot be read", "error", err_text(&err), NULL);
}

static void send_again(struct app *app)
{
	struct err err = ERR_INIT;

	if (send_patch(app, &err) < 0)
		machine_done(app, &err);
}

static void on_read_again(void *arg, const struct http_response *response, const struct err *err)
{
	struct app *app = arg;

	app->report.call = NULL;
	if (err->kind != ERR_NONE) {
		machine_done(app, err);
		return;
	}
	offer(app, response);
	send_again(app);
}

static int read_again(struct app *app, struct err *err)
{
	char path[NODE_PATH_BYTES];
	struct k8s_request request = {
		.verb = "get",
		.path = path,
		.what = "reading the node again",
		.accept = ONLY_METADATA,
		.deadline_ms = PATCH_DEADLINE_MS,
		.on_done = on_read_again,
		.arg = app,
	};

	snprintf(path, sizeof(path), "/api/v1/nodes/%s", app->config.node_name);
	return k8s_start(app->client, &request, &app->report.call, err);
}

static void on_patched(void *arg, const struct http_response *response, const struct err *err)
{
	struct app *app = arg;
	struct report *r = &app->report;
	struct err why = *err;

	r->call = NULL;
	if (why.kind == ERR_NONE) {
		offer(app, response);
		r->done(app);
		return;
	}
	if (why.kind == ERR_CONFLICT && r->conflicts++ < MAX_CONFLICTS) {
		err_clear(&why);
		if (read_again(app, &why) == 0)
			return;
	}
	/* Nobody is left to tell; a node that comes back is a new one. */
	if (why.kind == ERR_NOT_FOUND && app->machine.phase != ANNOUNCE)
		err_clear(&why);
	machine_done(app, &why);
}

static int send_patch(struct app *app, struct err *err)
{
	AUTO_BUF text = BUF_INIT(STATUS_MAX_BYTES);
	const struct k8s_node *node = app_node(app);
	struct report *r = &app->report;
	struct patch p = { 0 };

	if (r->progress) { /* it must not arrive after what follows */
		r->after_progress = true;
		return 0;
	}
	if (!node->exists) {
		if (app->machine.phase == ANNOUNCE)
			return err_set(err, ERR_NOT_FOUND, "node %s is gone",
				       app->config.node_name);
		machine_done(app, NULL);
		return 0;
	}
	if (r->fill(app, node, &p, &text, err) < 0)
		return -1;
	if (!p.n_labels && !p.n_annotations) {
		r->done(app);
		return 0;
	}
	r->changed = true;
	return k8s_patch_node(app->client,
			      &(struct k8s_node_patch){
				      .node = app->config.node_name,
				      .if_version = p.others ? node->version : NULL,
				      .labels = p.label,
				      .n_labels = p.n_labels,
				      .annotations = p.annotation,
				      .n_annotations = p.n_annotations,
				      .deadline_ms = PATCH_DEADLINE_MS,
				      .on_done = on_patched,
				      .arg = app,
			      },
			      &r->call, err);
}

static int begin(struct app *app, report_fill *fill, report_sent *done, struct err *err)
{
	struct report *r = &app->report;

	r->fill = fill;
	r->done = done;
	r->conflicts = 0;
	r->changed = false;
	return send_patch(app, err);
}

/* --- announce --------------------------------------------------------------------------------- */

static int fill_announce(struct app *app, const struct k8s_node *node, struct patch *p,
			 struct buf *text, struct err *err)
{
	struct status_input in = status_of(app);

	if (status_annotation(&in, text, err) < 0)
		return -1;
	want_label(p, node, LABEL_READY, "");
	want_status(p, node, text);
	for (int i = 0; app->config.evict && i < EVICT_N_OPERANDS; i++) {
		const char *key = evict_operand_labels[i];
		const char *value = evict_pause_value(k8s_map_get(&node->labels, key));

		if (!value)
			continue;
		add_label(p, key, value);
		p->others = true;
	}
	return 0;
}

static void announced(struct app *app)
{
	char text[256], devices[64];

	status_count_text(&app->devices, devices, sizeof(devices));
	snprintf(text, sizeof(text), "switching %s from %s to %s", devices,
		 in_force_names[app->machine.plan.in_force], app->machine.wanted);
	k8s_event(app->events, false, EVENT_SWITCHING, text);
	machine_done(app, NULL);
}

int report_announce(struct app *app, struct err *err)
{
	return begin(app, fill_announce, announced, err);
}

/* --- restore ---------------------------------------------------------------------------------- */

static int fill_restore(struct app *app, const struct k8s_node *node, struct patch *p,
			struct buf *text, struct err *err)
{
	(void)app;
	(void)text;
	(void)err;
	for (int i = 0; i < EVICT_N_OPERANDS; i++) {
		const char *key = evict_operand_labels[i];

		if (!evict_restored_value(k8s_map_get(&node->labels, key), p->value[i]))
			continue;
		add_label(p, key, p->value[i]);
		p->others = true;
	}
	return 0;
}

static void restored(struct app *app)
{
	machine_done(app, NULL);
}

int report_restore(struct app *app, struct err *err)
{
	return begin(app, fill_restore, restored, err);
}

/* --- the outcome ------------------------------------------------------------------------------ */

static int fill_status(struct app *app, const struct k8s_node *node, struct patch *p,
		       struct buf *text, struct err *err)
{
	struct status_input in = status_of(app);

	if (status_annotation(&in, text, err) < 0)
		return -1;
	want_label(p, node, LABEL_STATE, status_state_label(&in));
	want_label(p, node, LABEL_READY, status_ready_label(&in));
	want_status(p, node, text);
	return 0;
}

static void send_event(struct app *app)
{
	const struct machine *m = &app->machine;
	bool no_tee = m->plan.tee_missing && m->plan.wants && m->plan.mode != GPU_MODE_OFF;
	char text[512], devices[64];

	if (machine_failed(app)) {
		if (m->first.kind == ERR_INTERRUPTED)
			return;
		k8s_event(app->events, true,
			  m->first.kind == ERR_INVALID || m->first.kind == ERR_UNSUPPORTED
				  ? EVENT_INVALID
				  : EVENT_SWITCH_FAILED,
			  err_text(&m->first));
		return;
	}
	if (m->plan.verdict == PLAN_WAIT || !(m->touched || (no_tee && app->report.changed)))
		return;
	status_count_text(&app->devices, devices, sizeof(devices));
	snprintf(text, sizeof(text), "mode %s is in force on %s%s", m->wanted, devices,
		 no_tee ? "; this host runs no confidential VMs: KVM has neither SEV-SNP nor TDX "
			  "enabled, and cc.ready.state stays empty"
			: "");
	k8s_event(app->events, no_tee, EVENT_SWITCHED, text);
}

static void told(struct app *app)
{
	send_event(app);
	machine_done(app, NULL);
}

int report_status(struct app *app, struct err *err)
{
	return begin(app, fill_status, told, err);
}

bool report_differs(const struct app *app)
{
	AUTO_BUF text = BUF_INIT(STATUS_MAX_BYTES);
	const struct k8s_node *node = app_node(app);
	struct status_input in;
	struct patch p = { 0 };
	struct err err = ERR_INIT;

	if (!node || !node->exists || !app->machine.begun)
		return false;
	if (app_paused_operands(app))
		return true;
	in = status_of(app);
	if (status_annotation(&in, &text, &err) < 0)
		return false;
	want_label(&p, node, LABEL_STATE, status_state_label(&in));
	want_label(&p, node, LABEL_READY, status_ready_label(&in));
	want_status(&p, node, &text);
	return p.n_labels || p.n_annotations;
}

void report_missing_pods(struct app *app, unsigned operands)
{
	char text[512] = "no pod found on this node for operands whose deploy label is true:";

	for (int i = 0; i < EVICT_N_OPERANDS; i++)
		if (operands & EVICT_BIT(i))
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s",
				 evict_operand_names[i]);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), " (looked in namespace %s)",
		 app->config.operator_namespace);
	log_warn(text, "node", app->config.node_name, NULL);
	k8s_event(app->events, true, EVENT_SWITCHING, text);
}

/* --- in the middle of a long phase ------------------------------------------------------------ */

static void on_progress(void *arg, const struct http_response *response, const struct err *err)
{
	struct app *app = arg;
	struct report *r = &app->report;

	r->progress = NULL;
	if (err->kind == ERR_NONE)
		offer(app, response);
	if (!r->after_progress)
		return;
	r->after_progress = false;
	send_again(app);
}

static void on_long_phase(struct source *s, void *arg)
{
	AUTO_BUF text = BUF_INIT(STATUS_MAX_BYTES);
	struct app *app = arg;
	const struct k8s_node *node = app_node(app);
	struct err err = ERR_INIT;
	struct k8s_pair pair = { .key = ANNOTATION_STATUS };
	struct status_input in;

	(void)s;
	if (!node || !node->exists || app->config.dry_run || app->report.call ||
	    app->report.progress)
		return;
	in = status_of(app);
	if (status_annotation(&in, &text, &err) < 0)
		return;
	pair.value = buf_str(&text);
	if (k8s_patch_node(app->client,
			   &(struct k8s_node_patch){
				   .node = app->config.node_name,
				   .annotations = &pair,
				   .n_annotations = 1,
				   .deadline_ms = SIDE_DEADLINE_MS,
				   .on_done = on_progress,
				   .arg = app,
			   },
			   &app->report.progress, &err) < 0)
		log_debug("cannot tell how far we are", "error", err_text(&err), NULL);
}

void report_phase_entered(struct app *app)
{
	if (app->machine.phase < RESTORE)
		timer_arm(app->report.long_phase, LONG_PHASE_MS);
	else
		timer_disarm(app->report.long_phase);
}

int report_init(struct app *app, struct err *err)
{
	return loop_add_timer(app->loop, on_long_phase, app, &app->report.long_phase, err);
}

void report_cancel(struct app *app)
{
	k8s_cancel(app->report.call);
	app->report.call = NULL;
	app->report.after_progress = false;
}
