/* SPDX-License-Identifier: Apache-2.0 */
/* config: flags, environment, defaults, and what is refused with one line and exit code 2. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "../../../cmd/cc-manager/config.h"
#include "../table.h"
#include "base/str.h"

#define MAX_ARGS 8

static const char *const *env_now; /* KEY=VALUE, NULL at the end */

static char *env(const char *name)
{
	size_t n = strlen(name);

	for (const char *const *e = env_now; e && *e; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
			return (char *)*e + n + 1;
	return NULL;
}

static enum opts_result load(struct config *c, const char *const *args)
{
	char *argv[MAX_ARGS + 2] = { "cc-manager" };
	int argc = 1;

	while (args && *args)
		argv[argc++] = (char *)*args++;
	return config_load(c, argc, argv, env);
}

Test(config, defaults_are_the_contracts)
{
	static const char *const args[] = { "--node-name=n1", NULL };
	struct config c;

	cr_assert_eq(load(&c, args), OPTS_OK);
	cr_assert_str_eq(c.default_mode, "off");
	cr_assert_eq(c.state_label, STATE_LABEL_RESULT);
	cr_assert_str_eq(c.operator_namespace, "gpu-operator");
	cr_assert(c.evict);
	cr_assert_eq(c.evict_timeout_ms, 300000);
	cr_assert_eq(c.busy_policy, BUSY_FAIL);
	cr_assert_eq(c.host_tee, HOST_TEE_WARN);
	cr_assert_eq(c.unsupported_gpu, UNSUPPORTED_FAIL);
	cr_assert_eq(c.only_ids.n, 0);
	cr_assert_str_eq(c.readiness_file, "/run/nvidia/validations/.cc-manager-ctr-ready");
	cr_assert_eq(c.resync_ms, 600000);
	cr_assert_eq(c.retry_base_ms, 10000);
	cr_assert_eq(c.retry_cap_ms, 300000);
	cr_assert(c.metrics.on);
	cr_assert_eq(ntohs(c.metrics.sa.v4.sin_port), 9402);
	cr_assert_str_eq(c.sysfs_root, "/sys");
	cr_assert_str_eq(c.host_root, "/");
	cr_assert_str_eq(c.state_dir, "/run/nvidia/gpucc");
}

Test(config, flags_win_over_the_environment)
{
	static const char *const args[] = { "-m", "ppcie", "--busy-policy=drain", NULL };
	static const char *const vars[] = { "NODE_NAME=n2",
					    "DEFAULT_CC_MODE=on",
					    "BUSY_POLICY=wait",
					    "HOST_TEE=require",
					    "STATE_LABEL=mode",
					    "EVICT_OPERATOR_COMPONENTS=false",
					    "OPERATOR_NAMESPACE=ns",
					    "CC_READINESS_FILE=/r",
					    "CC_CAPABLE_DEVICE_IDS=0x2331,0x2322",
					    NULL };
	struct config c;

	env_now = vars;
	cr_assert_eq(load(&c, args), OPTS_OK);
	cr_assert_str_eq(c.node_name, "n2");
	cr_assert_str_eq(c.default_mode, "ppcie");
	cr_assert_eq(c.busy_policy, BUSY_DRAIN);
	cr_assert_eq(c.host_tee, HOST_TEE_REQUIRE);
	cr_assert_eq(c.state_label, STATE_LABEL_MODE);
	cr_assert_not(c.evict);
	cr_assert_str_eq(c.operator_namespace, "ns");
	cr_assert_str_eq(c.readiness_file, "/r");
	cr_assert_eq(c.capable_ids.n, 2);
	cr_assert_eq(c.capable_ids.id[1], 0x2322);
}

static const struct {
	const char *name, *arg, *var;
} refused[] = {
	{ "no node name", NULL, NULL },
	{ "an empty node name", "--node-name=", NULL },
	{ "a mode in other letters", "--default-cc-mode=On", NULL },
	{ "a mode in other letters, by environment", NULL, "DEFAULT_CC_MODE=On" },
	{ "an unknown policy", "--busy-policy=kill", NULL },
	{ "no duration", "--evict-timeout=300", NULL },
	{ "no time at all", "--evict-timeout=0s", NULL },
	{ "no resync", "--resync=0s", NULL },
	{ "one bound", "--retry-backoff=10s", NULL },
	{ "bounds the wrong way round", "--retry-backoff=5m..10s", NULL },
	{ "a bound of zero", "--retry-backoff=0s..10s", NULL },
	{ "an id that is none", "--device-ids=h100", NULL },
	{ "an id that is none, by environment", NULL, "CC_CAPABLE_DEVICE_IDS=0x2331,zz" },
	{ "an address without a port", "--metrics-address=127.0.0.1", NULL },
	{ "a port that is none", "--metrics-address=127.0.0.1:70000", NULL },
	{ "a name for an address", "--metrics-address=example.com:80", NULL },
	{ "an unknown option", "--verbose", NULL },
	{ "an argument", "on", NULL },
};

TABLE_TEST(config, refuses, refused)
{
	const char *const named[] = { row->arg ? row->arg : "--once", "--node-name=n1", NULL };
	const char *const unnamed[] = { row->arg, NULL };
	const char *const vars[] = { row->var, NULL };
	bool without_name = (!row->arg && !row->var) || str_eq(row->arg, "--node-name=");
	struct config c;

	cr_redirect_stderr();
	env_now = vars;
	cr_assert_eq(load(&c, without_name ? unnamed : named), OPTS_BAD, "%s", row->name);
}

static const struct {
	const char *text;
	bool ok, on;
	int family, port;
} addresses[] = {
	{ "127.0.0.1:9402", true, true, AF_INET, 9402 },
	{ "0.0.0.0:1", true, true, AF_INET, 1 },
	{ "localhost:80", true, true, AF_INET, 80 },
	{ "[::1]:9402", true, true, AF_INET6, 9402 },
	{ ":9402", true, true, AF_INET6, 9402 },
	{ "", true, false, 0, 0 },
	{ "[::1]", false, true, 0, 0 },
	{ "::1:9402", false, true, 0, 0 },
	{ "[]:1", true, true, AF_INET6, 1 },
	{ "1.2.3:80", false, true, 0, 0 },
	{ "[127.0.0.1:80", false, true, 0, 0 },
	{ "127.0.0.1:-1", false, true, 0, 0 },
};

TABLE_TEST(config, parses_addresses, addresses)
{
	struct listen_address a;

	cr_assert_eq(config_address_parse(row->text, &a), row->ok, "%s", row->text);
	if (!row->ok)
		return;
	cr_assert_eq(a.on, row->on, "%s", row->text);
	if (!a.on)
		return;
	cr_assert_eq(a.sa.any.sa_family, row->family, "%s", row->text);
	cr_assert_eq(ntohs(row->family == AF_INET ? a.sa.v4.sin_port : a.sa.v6.sin6_port),
		     row->port, "%s", row->text);
}
