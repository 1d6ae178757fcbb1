/* SPDX-License-Identifier: Apache-2.0 */
/* config - the option table of cc-manager, and the checks that a table row cannot say. */
#include "config.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#define NAMESPACE_FILE	  "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
#define NAMESPACE_DEFAULT "gpu-operator"

const char *const busy_policy_names[] = { "fail", "wait", "drain", NULL };

static const char *const mode_choices[] = { "on", "off", "devtools", "ppcie", "", NULL };
static const char *const state_label_choices[] = { "result", "mode", NULL };
static const char *const host_tee_choices[] = { "warn", "require", "ignore", NULL };
static const char *const unsupported_choices[] = { "fail", "skip", NULL };
static const char *const output_choices[] = { "text", "json", NULL };

#define AT(member) .offset = offsetof(struct config, member)

static const struct opt options[] = {
	{ .name = "node-name",
	  .type = OPT_STRING,
	  AT(node_name),
	  .arg = "NAME",
	  .env = "NODE_NAME",
	  .required = true,
	  .help = "the node whose label is followed" },
	{ .name = "default-cc-mode",
	  .letter = 'm',
	  .type = OPT_CHOICE,
	  AT(default_mode_choice),
	  .arg = "MODE",
	  .env = "DEFAULT_CC_MODE",
	  .def = "off",
	  .choices = mode_choices,
	  .help = "mode when the label nvidia.com/cc.mode is absent or empty; empty leaves the "
		  "hardware alone then" },
	{ .name = "state-label",
	  .type = OPT_CHOICE,
	  AT(state_label),
	  .arg = "FORM",
	  .env = "STATE_LABEL",
	  .def = "result",
	  .choices = state_label_choices,
	  .help = "what nvidia.com/cc.mode.state says: success or failed, or the mode in force" },
	{ .name = "operator-namespace",
	  .type = OPT_STRING,
	  AT(operator_namespace),
	  .arg = "NAME",
	  .env = "OPERATOR_NAMESPACE",
	  .help = "where the operands' pods are; default: the namespace of the service account, else " NAMESPACE_DEFAULT },
	{ .name = "evict-operator-components",
	  .type = OPT_BOOL,
	  AT(evict),
	  .arg = "BOOL",
	  .env = "EVICT_OPERATOR_COMPONENTS",
	  .def = "true",
	  .help = "pause the GPU Operator's operands during a switch" },
	{ .name = "evict-timeout",
	  .type = OPT_DURATION,
	  AT(evict_timeout_ms),
	  .arg = "TIME",
	  .def = "300s",
	  .help = "how long their pods may take to leave; then the switch fails and "
		  "they are restored" },
	{ .name = "busy-policy",
	  .type = OPT_CHOICE,
	  AT(busy_policy),
	  .arg = "POLICY",
	  .env = "BUSY_POLICY",
	  .def = "fail",
	  .choices = busy_policy_names,
	  .help = "what to do when a device is held by a VM or a process" },
	{ .name = "host-tee",
	  .type = OPT_CHOICE,
	  AT(host_tee),
	  .arg = "POLICY",
	  .env = "HOST_TEE",
	  .def = "warn",
	  .choices = host_tee_choices,
	  .help = "a host without SEV-SNP or TDX: warn and stay not ready, refuse any mode but off, "
		  "or do not look" },
	{ .name = "unsupported-gpu",
	  .type = OPT_CHOICE,
	  AT(unsupported_gpu),
	  .arg = "POLICY",
	  .def = "fail",
	  .choices = unsupported_choices,
	  .help = "a GPU without CC beside GPUs with it" },
	{ .name = "device-ids",
	  .type = OPT_STRING,
	  AT(device_ids_text),
	  .arg = "IDS",
	  .def = "",
	  .help = "only these PCI device ids, such as 0x2331,0x2322; empty is all" },
	{ .type = OPT_STRING,
	  AT(capable_ids_text),
	  .arg = "IDS",
	  .env = "CC_CAPABLE_DEVICE_IDS",
	  .def = "",
	  .help = "PCI device ids that count as CC capable beside those that are known" },
	{ .name = "readiness-file",
	  .type = OPT_STRING,
	  AT(readiness_file),
	  .arg = "FILE",
	  .env = "CC_READINESS_FILE",
	  .def = "/run/nvidia/validations/.cc-manager-ctr-ready",
	  .help = "exists exactly while the node is converged; empty is none" },
	{ .name = "resync",
	  .type = OPT_DURATION,
	  AT(resync_ms),
	  .arg = "TIME",
	  .def = "10m",
	  .help = "how often hardware and labels are compared without a cause" },
	{ .name = "retry-backoff",
	  .type = OPT_STRING,
	  AT(backoff_text),
	  .arg = "TIME..TIME",
	  .def = "10s..5m",
	  .help = "first and longest pause after a failed attempt" },
	{ .name = "metrics-address",
	  .type = OPT_STRING,
	  AT(metrics_text),
	  .arg = "ADDRESS",
	  .def = "127.0.0.1:9402",
	  .help = "serves /metrics, /healthz and /readyz; empty is off" },
	{ .name = "dry-run",
	  .type = OPT_FLAG,
	  AT(dry_run),
	  .help = "print the plan for the label as it is now, change nothing, exit" },
	{ .name = "once",
	  .type = OPT_FLAG,
	  AT(once),
	  .help = "converge once; exit 0 when converged, 1 when not" },
	{ .name = "output",
	  .letter = 'o',
	  .type = OPT_CHOICE,
	  AT(output),
	  .arg = "FORM",
	  .def = "text",
	  .choices = output_choices,
	  .help = "form of the plan" },
	{ .name = "kubeconfig",
	  .type = OPT_STRING,
	  AT(kubeconfig),
	  .arg = "FILE",
	  .help = "default: the service account, then $KUBECONFIG, then ~/.kube/config" },
	{ .name = "sysfs-root",
	  .type = OPT_STRING,
	  AT(sysfs_root),
	  .arg = "DIR",
	  .def = "/sys",
	  .help = "where sysfs is" },
	{ .name = "host-root",
	  .type = OPT_STRING,
	  AT(host_root),
	  .arg = "DIR",
	  .def = "/",
	  .help = "where the host's file system is" },
	{ .name = "state-dir",
	  .type = OPT_STRING,
	  AT(state_dir),
	  .arg = "DIR",
	  .def = "/run/nvidia/gpucc",
	  .help = "locks, and what is remembered in this boot" },
	{ .name = "log-format",
	  .type = OPT_CHOICE,
	  AT(log_format),
	  .arg = "FORM",
	  .def = "text",
	  .choices = log_format_names,
	  .help = "form of the log" },
	{ .name = "log-level",
	  .type = OPT_CHOICE,
	  AT(log_level),
	  .arg = "LEVEL",
	  .def = "info",
	  .choices = log_level_names,
	  .help = "least level that is logged" },
};

static const struct opts_program program = {
	.name = "cc-manager",
	.usage = "[OPTION]...",
	.summary =
		"Keeps the CC mode of this node's GPUs and NVSwitches equal to what the node's label "
		"nvidia.com/cc.mode asks for.",
	.opts = options,
	.n_opts = ARRAY_LEN(options),
};

/* Cuts "[::1]:9402" into its two parts, brackets off. */
static bool split_address(const char *text, char *host, size_t size, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	uint64_t n;

	if (!colon || !str_u64(colon + 1, 65535, &n) ||
	    !str_copyn(host, size, text, (size_t)(colon - text)))
		return false;
	*port = (uint16_t)n;
	n = strlen(host);
	if (host[0] != '[')
		return !strchr(host, ':');
	if (host[n - 1] != ']')
		return false;
	host[n - 1] = '\0';
	memmove(host, host + 1, n - 1);
	return true;
}

bool config_address_parse(const char *text, struct listen_address *out)
{
	char host[64];
	uint16_t port;

	*out = (struct listen_address){ .on = !str_empty(text) };
	if (!out->on)
		return true;
	if (!split_address(text, host, sizeof(host), &port))
		return false;
	if (str_eq(host, "localhost"))
		str_copy(host, sizeof(host), "127.0.0.1");
	if (!*host)
		str_copy(host, sizeof(host), "::");
	if (inet_pton(AF_INET, host, &out->sa.v4.sin_addr) == 1) {
		out->sa.v4.sin_family = AF_INET;
		out->sa.v4.sin_port = htons(port);
		out->len = sizeof(out->sa.v4);
		return true;
	}
	out->sa.v6.sin6_family = AF_INET6;
	out->sa.v6.sin6_port = htons(port);
	out->len = sizeof(out->sa.v6);
	return inet_pton(AF_INET6, host, &out->sa.v6.sin6_addr) == 1;
}

static bool parse_backoff(const char *text, uint64_t *base_ms, uint64_t *cap_ms)
{
	const char *dots = strstr(text, "..");
	char first[32];

	return dots && str_copyn(first, sizeof(first), text, (size_t)(dots - text)) &&
	       str_duration_ms(first, base_ms) && str_duration_ms(dots + 2, cap_ms) &&
	       *base_ms > 0 && *base_ms <= *cap_ms;
}

/* The pod's own namespace; whoever runs outside of a pod gets the operator's usual one. */
static void find_namespace(struct config *c)
{
	AUTO_BUF text = BUF_INIT(4096);
	struct err err = ERR_INIT;

	if (!str_empty(c->operator_namespace))
		return;
	c->operator_namespace = NAMESPACE_DEFAULT;
	if (file_read(NAMESPACE_FILE, &text, &err) == 0 && text.len > 0 &&
	    str_copy(c->namespace_text, sizeof(c->namespace_text), str_trim(text.data)) &&
	    c->namespace_text[0])
		c->operator_namespace = c->namespace_text;
}

static enum opts_result check(struct config *c)
{
	struct err err = ERR_INIT;

	if (str_empty(c->node_name))
		return opts_complain(&program, "--node-name is empty");
	if (gpu_ids_parse(c->device_ids_text, &c->only_ids, &err) < 0)
		return opts_complain(&program, "--device-ids: %s", err_text(&err));
	if (gpu_ids_parse(c->capable_ids_text, &c->capable_ids, &err) < 0)
		return opts_complain(&program, "CC_CAPABLE_DEVICE_IDS: %s", err_text(&err));
	if (!parse_backoff(c->backoff_text, &c->retry_base_ms, &c->retry_cap_ms))
		return opts_complain(
			&program,
			"--retry-backoff: '%s' is not allowed; allowed: FIRST..LONGEST "
			"such as 10s..5m",
			c->backoff_text);
	if (!config_address_parse(c->metrics_text, &c->metrics))
		return opts_complain(
			&program,
			"--metrics-address: '%s' is not allowed; allowed: IP:PORT such as "
			"127.0.0.1:9402, or nothing",
			c->metrics_text);
	if (!c->evict_timeout_ms || !c->resync_ms)
		return opts_complain(&program, "%s: 0 is not allowed; allowed: a longer time",
				     c->resync_ms ? "--evict-timeout" : "--resync");
	return OPTS_OK;
}

enum opts_result config_load(struct config *out, int argc, char **argv, char *(*env)(const char *))
{
	enum opts_result r;
	int n_args = 0;

	*out = (struct config){ 0 };
	r = opts_parse(&program, argc, argv, env, out, &n_args);
	if (r != OPTS_OK)
		return r;
	if (n_args)
		return opts_complain(&program, "unexpected argument '%s'", argv[0]);
	out->default_mode = mode_choices[out->default_mode_choice];
	r = check(out);
	if (r == OPTS_OK)
		find_namespace(out);
	return r;
}
