/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubesim's command line, and what of it does not go together.
 */
#include "sim.h"

#include <string.h>

#include "base/str.h"

#define ROW(type_, member, name_, arg_, def_, ...)                                                 \
	{                                                                                          \
		.name = name_, .type = type_, .offset = offsetof(struct config, member),           \
		.arg = arg_, .def = def_, __VA_ARGS__                                              \
	}

static const struct opt rows[] = {
	ROW(OPT_STRING, listen, "listen", "ADDRESS:PORT", "127.0.0.1:0",
	    .help = "loopback address to listen on; port 0 takes a free one"),
	ROW(OPT_STRING, port_file, "port-file", "FILE", NULL, .help = "write the port here"),
	ROW(OPT_STRING, kubeconfig_out, "kubeconfig-out", "FILE", NULL,
	    .help = "write a kubeconfig for this server here"),
	ROW(OPT_STRING, token, "token", "TOKEN", NULL,
	    .help = "bearer token; a random one if not given"),
	ROW(OPT_STRING, token_file, "token-file", "FILE", NULL,
	    .help = "keep the token here, and let the kubeconfig name the file instead of the token"),
	ROW(OPT_FLAG, no_anonymous, "no-anonymous", NULL, NULL,
	    .help = "ask for the token always; kubectl sends none over plain HTTP"),
	ROW(OPT_U64, n_nodes, "nodes", "N", NULL, .max = 10000,
	    .help = "make nodes node-1 to node-N"),
	ROW(OPT_LIST, nodes, "node", "NAME", NULL, .help = "make this node; may be repeated"),
	ROW(OPT_LIST, labels, "label", "KEY=VALUE", NULL,
	    .help = "label of all nodes; may be repeated"),
	ROW(OPT_FLAG, with_operator, "operator", NULL, NULL,
	    .help = "behave as the GPU Operator: operands' pods come and go with the deploy labels"),
	ROW(OPT_STRING, operator_ns, "operator-namespace", "NAME", "gpu-operator",
	    .help = "where the operands' pods live"),
	ROW(OPT_STRING, operator_set, "operator-set", "SET", "kata",
	    .help = "deploy labels that the nodes get: kata, kubevirt, vgpu or none"),
	ROW(OPT_DURATION, leave_ms, "operator-leave", "TIME", "50ms",
	    .help = "how long an operand's pod takes to leave"),
	ROW(OPT_DURATION, return_ms, "operator-return", "TIME", "50ms",
	    .help = "how long it takes to come back"),
	ROW(OPT_LIST, stuck, "operator-stuck", "OPERAND", NULL,
	    .help = "an operand whose pods never leave; may be repeated"),
	ROW(OPT_LIST, faults, "fault", "SPEC", NULL,
	    .help = "a scripted fault (see below); may be repeated"),
	ROW(OPT_STRING, faults_file, "faults", "FILE", NULL,
	    .help = "faults, one on a line; read again whenever it changes"),
	ROW(OPT_STRING, log_file, "log", "FILE", NULL, .help = "append one JSON line per request"),
	ROW(OPT_STRING, state_dir, "state", "DIR", NULL,
	    .help = "load the objects from here at the start, save them at the end"),
	ROW(OPT_U64, history, "history", "N", "8192", .max = 10000000,
	    .help = "changes kept for watches; a watch from before them gets 410 Gone"),
	ROW(OPT_DURATION, bookmark_ms, "bookmark-every", "TIME", "60s",
	    .help = "pause between bookmarks"),
	ROW(OPT_DURATION, watch_ms, "watch-limit", "TIME", "30m",
	    .help = "end of a watch that did not say timeoutSeconds"),
	ROW(OPT_FLAG, gone_as_http, "gone-as-http", NULL, NULL,
	    .help = "answer such a watch with status 410 instead of an ERROR event"),
};

static const char epilog[] =
	"With COMMAND, kubesim runs it with KUBECONFIG set and ends as it ends.  Without, it serves\n"
	"until SIGINT or SIGTERM.  `kubesim ctl --help` lists what can be done to it meanwhile.\n"
	"\n"
	"A fault is ACTION[,OPTION=VALUE]...  Actions:\n"
	"  status:CODE  reset-before  reset-after (read, not done)  reset-applied (done, no answer)\n"
	"  reset-middle  hang  hang-applied  slow  half-line  truncated  not-json  huge  nested\n"
	"  wrong-types  close  error-event:CODE  compact  drop-watches  expire-token  outage\n"
	"Options: verb=get|list|watch|create|update|patch|delete  path=PART  agent=PART  n=N or n=N-M\n"
	"  (request number)  skip=N  count=N|all (default 1)  event=N (line of a watch)  reason=WORD\n"
	"  retry-after=SECONDS  bytes=N  ms=N  depth=N  field=a.b\n"
	"Example: --fault status:429,retry-after=1,verb=patch,count=2\n";

static const struct opts_program program = {
	.name = "kubesim",
	.usage = "[OPTION]... [-- COMMAND [ARGUMENT]...]",
	.summary =
		"A small Kubernetes API server for tests, with faults and the GPU Operator's ways.",
	.epilog = epilog,
	.opts = rows,
	.n_opts = ARRAY_LEN(rows),
	.stop_at_first_argument = true,
};

static enum opts_result config_check(const struct config *c)
{
	static struct kubemodel_fault f;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < c->faults.n; i++)
		if (kubemodel_fault_parse(c->faults.item[i], &f, &err) < 0)
			return opts_complain(&program, "--fault: %s", err_text(&err));
	if (!c->history)
		return opts_complain(&program, "--history: at least 1");
	if (c->token && strlen(c->token) > 100)
		return opts_complain(&program, "--token: at most 100 characters");
	if (!str_eq(c->operator_set, "none") && !kubemodel_operator_labels(c->operator_set))
		return opts_complain(&program, "--operator-set %s: kata, kubevirt, vgpu or none",
				     c->operator_set);
	if (c->stuck.n && !c->with_operator)
		return opts_complain(&program, "--operator-stuck needs --operator");
	return OPTS_OK;
}

enum opts_result config_load(struct config *config, int argc, char **argv)
{
	int n_args;
	enum opts_result r = opts_parse(&program, argc, argv, getenv, config, &n_args);

	if (r != OPTS_OK)
		return r;
	argv[n_args] = NULL;
	config->command = n_args ? argv : NULL;
	return config_check(config);
}
