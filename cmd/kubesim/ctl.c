/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kubesim ctl`: what tests and demos do to a running simulator, one command per row of a table.
 * It is a client of the control requests; nothing it does counts as a request of the agent's.
 */
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "client.h"
#include "sim.h"

struct ctl {
	const char *kubeconfig, *server_option;
	uint64_t timeout_ms, count, rate, ms, leave_ms, return_ms;
	bool json, reset, clear, keep;
	char server[128];
	int n_args;
	char **args; /* behind the command's name */
	const struct command *command;
};

#define ROW(type_, member, name_, arg_, def_, ...)                                                 \
	{                                                                                          \
		.name = name_, .type = type_, .offset = offsetof(struct ctl, member), .arg = arg_, \
		.def = def_, __VA_ARGS__                                                           \
	}
static const struct opt rows[] = {
	ROW(OPT_STRING, kubeconfig, "kubeconfig", "FILE", NULL, .env = "KUBECONFIG",
	    .help = "kubeconfig that kubesim wrote"),
	ROW(OPT_STRING, server_option, "server", "ADDRESS:PORT", NULL, .help = "instead of it"),
	ROW(OPT_DURATION, timeout_ms, "timeout", "TIME", "30s", .help = "wait: how long"),
	ROW(OPT_FLAG, json, "json", NULL, NULL, .help = "get, pods, events: print the API's JSON"),
	ROW(OPT_U64, count, "count", "N", NULL, .max = 10000000,
	    .help = "churn, bookmarks: how many"),
	ROW(OPT_U64, rate, "rate", "N", "1000", .max = 1000000,
	    .help = "churn: updates in a second; 0: as fast as it goes"),
	ROW(OPT_DURATION, ms, "for", "TIME", "1s", .help = "outage: how long"),
	ROW(OPT_DURATION, leave_ms, "leave", "TIME", "50ms",
	    .help = "pace: pods leave in this time"),
	ROW(OPT_DURATION, return_ms, "return", "TIME", "50ms",
	    .help = "pace: and are back in this"),
	ROW(OPT_FLAG, reset, "reset", NULL, NULL, .help = "requests: begin counting anew"),
	ROW(OPT_FLAG, clear, "clear", NULL, NULL, .help = "fault: take all away first"),
	ROW(OPT_FLAG, keep, "keep", NULL, NULL, .help = "rotate-token: the old one stays good"),
};

#define NODES "/kubesim/direct/api/v1/nodes"

static int post(struct ctl *c, struct err *err, const char *what)
{
	AUTO_BUF out = BUF_INIT(1u << 20);
	char target[512];

	snprintf(target, sizeof(target), "/kubesim/%s", what);
	return client_request(c->server, "POST", target, "text/plain", "", &out, err);
}

static int get_json(struct ctl *c, const char *target, json_t **out, struct err *err)
{
	AUTO_BUF text = BUF_INIT(256u << 20);

	if (client_request(c->server, "GET", target, "application/json", "", &text, err) < 0)
		return -1;
	if (c->json)
		fputs(buf_str(&text), stdout);
	*out = json_loadb(buf_str(&text), text.len, 0, NULL);
	return *out ? 0 : err_set(err, ERR_INVALID, "the answer is not JSON");
}

/* ---- nodes ---- */

/* KEY=VALUE sets, KEY- removes. */
static int pairs_parse(struct ctl *c, const char *field, char **patch, struct err *err)
{
	json_auto_t *map = json_object();
	json_auto_t *doc = json_pack("{s:{s:O}}", "metadata", field, map);

	for (int i = 1; i < c->n_args; i++) {
		char *arg = c->args[i], *equals = strchr(arg, '=');
		size_t n = strlen(arg);

		if (equals)
			*equals++ = '\0';
		else if (n && arg[n - 1] == '-')
			arg[n - 1] = '\0';
		else
			return err_set(err, ERR_INVALID, "%s: KEY=VALUE or KEY-", arg);
		json_object_set_new(map, arg, equals ? json_string(equals) : json_null());
	}
	*patch = json_dumps(doc, JSON_COMPACT);
	return *patch ? 0 : err_nomem(err);
}

static int node_patch(struct ctl *c, const char *field, struct err *err)
{
	AUTO_BUF out = BUF_INIT(16u << 20);
	AUTO_MEM char *patch = NULL;
	char target[512];

	if (pairs_parse(c, field, &patch, err) < 0)
		return -1;
	snprintf(target, sizeof(target), NODES "/%s", c->args[0]);
	return client_request(c->server, "PATCH", target, "application/merge-patch+json", patch,
			      &out, err);
}

static int run_label(struct ctl *c, struct err *err)
{
	return node_patch(c, "labels", err);
}

static int run_annotate(struct ctl *c, struct err *err)
{
	return node_patch(c, "annotations", err);
}

static void map_print(const char *what, json_t *map)
{
	const char *key;
	json_t *v;

	json_object_foreach (map, key, v)
		printf("%s %s=%s\n", what, key, json_string_value(v));
}

static int run_get(struct ctl *c, struct err *err)
{
	json_auto_t *node = NULL;
	json_t *meta;
	char target[512];

	snprintf(target, sizeof(target), NODES "/%s", c->args[0]);
	if (get_json(c, target, &node, err) < 0)
		return -1;
	meta = json_object_get(node, "metadata");
	if (!c->json) {
		map_print("label", json_object_get(meta, "labels"));
		map_print("annotation", json_object_get(meta, "annotations"));
	}
	return 0;
}

/* All pairs as wanted?  KEY= is satisfied by an empty and by an absent label. */
static int on_node(const char *line, void *arg)
{
	struct ctl *c = arg;
	json_auto_t *event = json_loads(line, 0, NULL);
	json_t *labels = json_object_get(
		json_object_get(json_object_get(event, "object"), "metadata"), "labels");

	for (int i = 1; i < c->n_args; i++) {
		const char *equals = strchr(c->args[i], '='), *v;
		char key[320];

		if (!str_copyn(key, sizeof(key), c->args[i], (size_t)(equals - c->args[i])))
			return 0;
		v = json_string_value(json_object_get(labels, key));
		if (!labels || !str_eq(v ? v : "", equals + 1))
			return 0;
	}
	return 1;
}

static int run_wait(struct ctl *c, struct err *err)
{
	uint64_t deadline_ms = now_ms() + c->timeout_ms;
	char target[512];

	for (int i = 1; i < c->n_args; i++)
		if (!strchr(c->args[i], '='))
			return err_set(err, ERR_INVALID, "%s: KEY=VALUE", c->args[i]);
	snprintf(target, sizeof(target), NODES "?watch=1&fieldSelector=metadata.name%%3D%s",
		 c->args[0]);
	/* A server in an outage comes back: until the deadline this is not the end. */
	for (;;) {
		err_clear(err);
		if (client_watch(c->server, target, deadline_ms, on_node, c, err) == 0)
			return 0;
		if (now_ms() + 50 >= deadline_ms)
			return err_set(err, ERR_TIMEOUT, "node %s: not as wanted after %llu ms",
				       c->args[0], (unsigned long long)c->timeout_ms);
		clock_sleep_ms(50);
	}
}

/* ---- pods and events ---- */

static const char *text_of(const json_t *j, const char *a, const char *b)
{
	const char *s = json_string_value(json_object_get(json_object_get(j, a), b));

	return s ? s : "";
}

static int run_pods(struct ctl *c, struct err *err)
{
	json_auto_t *list = NULL;
	json_t *pod;
	size_t i;

	if (get_json(c, "/kubesim/direct/api/v1/pods", &list, err) < 0)
		return -1;
	json_array_foreach (json_object_get(list, "items"), i, pod) {
		if (c->json || (c->n_args && !str_eq(text_of(pod, "spec", "nodeName"), c->args[0])))
			continue;
		printf("%s/%s %s %s\n", text_of(pod, "metadata", "namespace"),
		       text_of(pod, "metadata", "name"), text_of(pod, "spec", "nodeName"),
		       *text_of(pod, "metadata", "deletionTimestamp")
			       ? "Terminating"
			       : text_of(pod, "status", "phase"));
	}
	return 0;
}

static int run_events(struct ctl *c, struct err *err)
{
	json_auto_t *list = NULL;
	json_t *e;
	size_t i;

	if (get_json(c, "/kubesim/direct/api/v1/events", &list, err) < 0)
		return -1;
	json_array_foreach (json_object_get(list, "items"), i, e) {
		const char *type = json_string_value(json_object_get(e, "type"));
		const char *reason = json_string_value(json_object_get(e, "reason"));
		const char *message = json_string_value(json_object_get(e, "message"));

		if (!c->json)
			printf("%s %s %s/%s %s\n", type ? type : "", reason ? reason : "",
			       text_of(e, "involvedObject", "kind"),
			       text_of(e, "involvedObject", "name"), message ? message : "");
	}
	return 0;
}

/* ---- the simulator itself ---- */

static int run_requests(struct ctl *c, struct err *err)
{
	AUTO_BUF text = BUF_INIT(256u << 20);

	if (client_request(c->server, c->reset ? "DELETE" : "GET", "/kubesim/requests",
			   "text/plain", "", &text, err) < 0)
		return -1;
	fputs(buf_str(&text), stdout);
	return 0;
}

static int run_fault(struct ctl *c, struct err *err)
{
	AUTO_BUF specs = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);

	for (int i = 0; i < c->n_args; i++)
		if (buf_addf(&specs, err, "%s\n", c->args[i]) < 0)
			return -1;
	if ((c->n_args || c->clear) &&
	    client_request(c->server, c->clear ? "PUT" : "POST", "/kubesim/faults", "text/plain",
			   buf_str(&specs), &out, err) < 0)
		return -1;
	buf_reset(&out);
	if (client_request(c->server, "GET", "/kubesim/faults", "text/plain", "", &out, err) < 0)
		return -1;
	fputs(buf_str(&out), stdout);
	return 0;
}

static int run_churn(struct ctl *c, struct err *err)
{
	char what[256];
	json_int_t done = 0, count = 1;

	snprintf(what, sizeof(what), "churn?node=%s&count=%llu&rate=%llu", c->args[0],
		 (unsigned long long)(c->count ? c->count : 10000), (unsigned long long)c->rate);
	if (post(c, err, what) < 0)
		return -1;
	while (done < count) {
		json_auto_t *state = NULL;

		clock_sleep_ms(20);
		if (get_json(c, "/kubesim/churn", &state, err) < 0)
			return -1;
		done = json_integer_value(json_object_get(state, "done"));
		count = json_integer_value(json_object_get(state, "count"));
	}
	return 0;
}

static int run_bookmarks(struct ctl *c, struct err *err)
{
	char what[64];

	snprintf(what, sizeof(what), "bookmarks?count=%llu",
		 (unsigned long long)(c->count ? c->count : 1));
	return post(c, err, what);
}

static int run_outage(struct ctl *c, struct err *err)
{
	char what[64];

	snprintf(what, sizeof(what), "outage?ms=%llu", (unsigned long long)c->ms);
	return post(c, err, what);
}

static int run_pace(struct ctl *c, struct err *err)
{
	char what[96];

	snprintf(what, sizeof(what), "pace?leave=%llu&return=%llu", (unsigned long long)c->leave_ms,
		 (unsigned long long)c->return_ms);
	return post(c, err, what);
}

static int run_stick(struct ctl *c, struct err *err)
{
	char what[128];

	snprintf(what, sizeof(what), "stick?operand=%.60s&on=true", c->args[0]);
	return post(c, err, what);
}

static int run_unstick(struct ctl *c, struct err *err)
{
	char what[128];

	snprintf(what, sizeof(what), "stick?operand=%.60s&on=false", c->args[0]);
	return post(c, err, what);
}

static int run_gone(struct ctl *c, struct err *err)
{
	char what[32];

	snprintf(what, sizeof(what), "gone?as=%.8s", c->args[0]);
	return post(c, err, what);
}

static int run_compact(struct ctl *c, struct err *err)
{
	return post(c, err, "compact");
}

static int run_drop_watches(struct ctl *c, struct err *err)
{
	return post(c, err, "drop-watches");
}

static int run_expire_token(struct ctl *c, struct err *err)
{
	return post(c, err, "expire-token");
}

static int run_rotate_token(struct ctl *c, struct err *err)
{
	return post(c, err, c->keep ? "rotate-token?keep=true" : "rotate-token");
}

static const struct command {
	const char *name, *usage;
	int least, most; /* arguments */
	int (*run)(struct ctl *c, struct err *err);
} commands[] = {
	{ "label", "NODE KEY=VALUE|KEY-...", 2, 64, run_label },
	{ "annotate", "NODE KEY=VALUE|KEY-...", 2, 64, run_annotate },
	{ "get", "NODE [--json]", 1, 1, run_get },
	{ "wait", "NODE KEY=VALUE... [--timeout TIME]", 2, 64, run_wait },
	{ "pods", "[NODE] [--json]", 0, 1, run_pods },
	{ "events", "[--json]", 0, 0, run_events },
	{ "requests", "[--reset]", 0, 0, run_requests },
	{ "fault", "[--clear] [SPEC...]", 0, 64, run_fault },
	{ "churn", "NODE [--count N] [--rate N]", 1, 1, run_churn },
	{ "bookmarks", "[--count N]", 0, 0, run_bookmarks },
	{ "compact", "", 0, 0, run_compact },
	{ "gone", "http|event", 1, 1, run_gone },
	{ "drop-watches", "", 0, 0, run_drop_watches },
	{ "outage", "[--for TIME]", 0, 0, run_outage },
	{ "expire-token", "", 0, 0, run_expire_token },
	{ "rotate-token", "[--keep]", 0, 0, run_rotate_token },
	{ "stick", "OPERAND", 1, 1, run_stick },
	{ "unstick", "OPERAND", 1, 1, run_unstick },
	{ "pace", "[--leave TIME] [--return TIME]", 0, 0, run_pace },
};

static const char epilog[] =
	"Commands:\n"
	"  label NODE KEY=VALUE|KEY-...        annotate NODE KEY=VALUE|KEY-...\n"
	"  get NODE [--json]                   wait NODE KEY=VALUE... [--timeout TIME]\n"
	"  pods [NODE] [--json]                events [--json]\n"
	"  requests [--reset]                  fault [--clear] [SPEC...]   (prints hits and faults)\n"
	"  churn NODE [--count N] [--rate N]   bookmarks [--count N]\n"
	"  compact   gone http|event           drop-watches   outage [--for TIME]\n"
	"  expire-token   rotate-token [--keep]\n"
	"  stick OPERAND   unstick OPERAND     pace [--leave TIME] [--return TIME]\n"
	"Exit status: 0 done, 1 refused or not in time, 2 wrong usage.\n";

static const struct opts_program program = {
	.name = "kubesim ctl",
	.usage = "COMMAND [ARGUMENT]... [OPTION]...",
	.summary = "Acts on a running kubesim.",
	.epilog = epilog,
	.opts = rows,
	.n_opts = ARRAY_LEN(rows),
};

static enum opts_result command_find(struct ctl *c, int n_args, char **argv)
{
	if (!n_args)
		return opts_complain(&program, "a command is wanted");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (!str_eq(commands[i].name, argv[0]))
			continue;
		c->command = &commands[i];
		c->args = argv + 1;
		c->n_args = n_args - 1;
		if (c->n_args >= commands[i].least && c->n_args <= commands[i].most)
			return OPTS_OK;
		return opts_complain(&program, "%s %s", commands[i].name, commands[i].usage);
	}
	return opts_complain(&program, "%s: no such command", argv[0]);
}

static int server_find(struct ctl *c, struct err *err)
{
	if (c->server_option)
		return str_copy(c->server, sizeof(c->server), c->server_option)
			       ? 0
			       : err_set(err, ERR_INVALID, "--server: too long");
	if (!c->kubeconfig)
		return err_set(err, ERR_INVALID, "which server? --kubeconfig or --server says it");
	return kubeconfig_read_server(c->kubeconfig, c->server, sizeof(c->server), err);
}

int ctl_main(int argc, char **argv)
{
	struct ctl c = { 0 };
	struct err err = ERR_INIT;
	int n_args;
	enum opts_result r = opts_parse(&program, argc, argv, getenv, &c, &n_args);

	if (r == OPTS_OK)
		r = command_find(&c, n_args, argv);
	if (r != OPTS_OK)
		return r == OPTS_DONE ? EXIT_SUCCESS : EXIT_USAGE;
	if (server_find(&c, &err) < 0 || c.command->run(&c, &err) < 0) {
		fprintf(stderr, "kubesim ctl: %s: %s\n", c.command->name, err_text(&err));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
