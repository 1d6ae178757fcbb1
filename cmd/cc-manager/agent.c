/* SPDX-License-Identifier: Apache-2.0 */
/* agent - what lies around the machine: signals, the API server, the watch of our node, the end. */
#include <stdlib.h>

#include "app.h"
#include "base/log.h"
#include "base/str.h"

#define LEAVE_POLL_MS  20
#define LEAVE_LIMIT_MS 2000 /* for events that are on their way */
#define FIELD_MANAGER  "gpucc"
#define SERVICE_HOST   "KUBERNETES_SERVICE_HOST"
#define SERVICE_PORT   "KUBERNETES_SERVICE_PORT"

/* --- ending ----------------------------------------------------------------------------------- */

void app_leave(struct app *app, int exit_code)
{
	uint64_t limit = now_ms() + LEAVE_LIMIT_MS;

	if (app->leaving)
		return;
	app->leaving = app->stopping = true;
	app->exit_code = exit_code;
	if (!app->leave_deadline_ms || limit < app->leave_deadline_ms)
		app->leave_deadline_ms = limit;
	if (!app->config.once)
		ready_set(app, false);
	timer_arm(app->leave, 0);
}

/* The deadline of SIGTERM, or a look at whether the events have left. */
static void on_leave(struct source *s, void *arg)
{
	struct app *app = arg;

	if (app->leaving && app->events && k8s_events_pending(app->events) &&
	    now_ms() < app->leave_deadline_ms) {
		timer_arm(s, LEAVE_POLL_MS);
		return;
	}
	if (!app->leaving) {
		log_warn("leaving in the middle of a phase, the next start goes on from there",
			 "phase", phase_name(app->machine.phase), NULL);
		ready_set(app, false);
	}
	loop_stop(app->loop, app->exit_code);
}

static void on_stop_signal(struct source *s, int signo, void *arg)
{
	struct app *app = arg;

	(void)s;
	log_info("asked to stop", "signal", signo == SIGTERM ? "TERM" : "INT", NULL);
	if (app->instance_fd < 0 && !app->config.dry_run)
		loop_stop(app->loop, 0); /* still waiting for another instance */
	else
		machine_stop(app);
}

int stop_on_signals(struct app *app, struct err *err)
{
	signal(SIGPIPE, SIG_IGN);
	if (loop_add_timer(app->loop, on_leave, app, &app->leave, err) < 0 ||
	    loop_add_signal(app->loop, SIGTERM, on_stop_signal, app, NULL, err) < 0)
		return -1;
	return loop_add_signal(app->loop, SIGINT, on_stop_signal, app, NULL, err);
}

/* --- the API server --------------------------------------------------------------------------- */

int api_open(struct app *app, struct err *err)
{
	AUTO_BUF agent = BUF_INIT(256);
	struct k8s_config_sources sources = {
		.kubeconfig = app->config.kubeconfig,
		.service_host = getenv(SERVICE_HOST),
		.service_port = getenv(SERVICE_PORT),
		.env_kubeconfig = getenv("KUBECONFIG"),
		.home = getenv("HOME"),
	};

	if (k8s_config_load(&sources, &app->k8s_config, err) < 0 ||
	    buf_addf(&agent, err, "cc-manager/%s", gpucc_version) < 0 ||
	    k8s_client_new(app->loop, app->k8s_config, agent.data, FIELD_MANAGER, &app->client,
			   err) < 0)
		return -1;
	return k8s_events_new(app->client, "cc-manager", app->config.node_name, &app->events, err);
}

static void on_node(void *arg, const struct k8s_node *node)
{
	struct app *app = arg;

	if (!node->exists)
		log_warn("the node is not there", "node", app->config.node_name, NULL);
	machine_look(app);
}

static void on_link(void *arg, bool up, const struct err *why)
{
	struct app *app = arg;

	app->link_up = up;
	if (!up) {
		log_warn("the API server is away, trying again", "server",
			 k8s_config_server(app->k8s_config), "error", err_text(why), NULL);
		return;
	}
	log_info("watching the node", "node", app->config.node_name, "server",
		 k8s_config_server(app->k8s_config), NULL);
	survey_link_is_up(app);
	machine_server_is_back(app);
}

/* This node is ours: no other cc-manager runs. */
void agent_begin(struct app *app)
{
	struct err err = ERR_INIT;
	struct k8s_reflector_config config = {
		.node = app->config.node_name,
		.key_prefix = "nvidia.com/",
		.on_node = on_node,
		.on_link = on_link,
		.arg = app,
	};

	ready_set(app, false);
	if (k8s_reflector_new(app->client, &config, &app->reflector, &err) < 0) {
		log_error("cannot watch the node", "error", err_text(&err), NULL);
		loop_stop(app->loop, 1);
	}
}

void app_close(struct app *app)
{
	if (!app->loop)
		return;
	metrics_stop(app);
	phase_cancel(app);
	survey_unlock(app);
	k8s_cancel(app->report.progress);
	k8s_reflector_free(app->reflector);
	k8s_events_free(app->events);
	k8s_client_free(app->client);
	k8s_config_free(app->k8s_config);
	loop_free(app->loop);
	if (app->instance_fd >= 0)
		close(app->instance_fd);
}
