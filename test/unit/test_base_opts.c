/* SPDX-License-Identifier: Apache-2.0 */
/* opts, log, clock and backoff: what a program's first and last lines stand on. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <jansson.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/opts.h"
#include "base/str.h"
#include "table.h"

struct target {
	bool verbose, evict;
	const char *node;
	int mode;
	uint64_t n, timeout_ms;
	struct opt_list devices;
};

static const char *const modes[] = {"on", "off", NULL};
static const struct opt table[] = {
	{"verbose", 'v', OPT_FLAG, offsetof(struct target, verbose), .help = "say more"},
	{"evict", 0, OPT_BOOL, offsetof(struct target, evict), "BOOL", "EVICT", "true", .help = "evict"},
	{"node-name", 0, OPT_STRING, offsetof(struct target, node), "NAME", "NODE_NAME", NULL,
	 .required = true, .help = "the node"},
	{"mode", 'm', OPT_CHOICE, offsetof(struct target, mode), "MODE", NULL, "off", modes, 0, false,
	 "the mode"},
	{"count", 0, OPT_U64, offsetof(struct target, n), "N", NULL, "3", NULL, 10, false, "how many"},
	{"timeout", 0, OPT_DURATION, offsetof(struct target, timeout_ms), "TIME", NULL, "5m", NULL, 0,
	 false, "how long"},
	{"device", 0, OPT_LIST, offsetof(struct target, devices), "BDF", .help = "may be repeated"},
};
static const struct opts_program program = {"prog", "[OPTION]... ARG...", "Does things.", NULL, table,
					    ARRAY_LEN(table), false};

static char *node_from_env(const char *name)
{
	if (str_eq(name, "NODE_NAME"))
		return (char *)"env-node";
	return str_eq(name, "EVICT") ? (char *)"false" : NULL;
}
static char *no_env(const char *name UNUSED)
{
	return NULL;
}

Test(opts, flag_beats_environment_beats_default)
{
	char *argv[] = {"prog", "x", "--node-name=n1", "-m", "on", "--device", "a", "--device=b", "y"};
	struct target t = {0};
	int n;

	cr_assert_eq(opts_parse(&program, ARRAY_LEN(argv), argv, node_from_env, &t, &n), OPTS_OK);
	cr_assert_str_eq(t.node, "n1");
	cr_assert_not(t.evict);
	cr_assert_eq(t.mode, 0);
	cr_assert_eq(t.n, 3);
	cr_assert_eq(t.timeout_ms, 300000);
	cr_assert(t.devices.n == 2 && str_eq(t.devices.item[1], "b"));
	cr_assert(n == 2 && str_eq(argv[0], "x") && str_eq(argv[1], "y"));
}

static const struct {
	const char *args[3];
	const char *says;
} bad[] = {
	{{"--nonsense"}, "unknown option '--nonsense'"},
	{{"-x"}, "unknown option '-x'"},
	{{"--mode", "On"}, "--mode: 'On' is not allowed; allowed: on, off"},
	{{"--mode"}, "--mode needs a value"},
	{{"--count=11"}, "--count: '11' is not allowed; allowed: a number from 0 to 10"},
	{{"--timeout=5"}, "a duration such as"},
	{{"--evict=maybe"}, "true or false"},
	{{"--verbose=yes"}, "takes no value"},
	{{"-v"}, "--node-name (or the environment variable NODE_NAME) is required"},
	{{"--mode\n=x"}, "unknown option '--mode?=x'"},
};

TABLE_TEST(opts, refuses_in_one_line, bad)
{
	char *argv[4] = {(char *)"prog", (char *)row->args[0], (char *)row->args[1]};
	struct target t = {0};
	char said[600] = "";
	int n;

	cr_redirect_stderr();
	cr_assert_eq(opts_parse(&program, row->args[1] ? 3 : 2, argv, no_env, &t, &n), OPTS_BAD);
	fflush(stderr);
	cr_assert(fread(said, 1, sizeof(said) - 1, cr_get_redirected_stderr()) > 0);
	cr_assert(strstr(said, row->says), "%s", said);
	cr_assert_eq(strchr(said, '\n'), said + strlen(said) - 1, "one line: %s", said);
}

Test(opts, help_names_every_option_and_default)
{
	char *argv[] = {"prog", "--help"};
	char said[4096] = "";
	struct target t = {0};
	int n;

	cr_redirect_stdout();
	cr_assert_eq(opts_parse(&program, 2, argv, no_env, &t, &n), OPTS_DONE);
	fflush(stdout);
	cr_assert(fread(said, 1, sizeof(said) - 1, cr_get_redirected_stdout()) > 0);
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		cr_assert(strstr(said, table[i].name), "%s", table[i].name);
	cr_assert(strstr(said, "[default: 5m]") && strstr(said, "[env: NODE_NAME]") &&
		  strstr(said, "one of: on, off"));
}

Test(log, a_json_line_stays_json_whatever_is_logged)
{
	static char said[65536];
	char huge[5000];
	json_t *doc;

	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	cr_redirect_stderr();
	log_init("prog", LOG_INFO, LOG_JSON);
	log_info("msg", "a", "quote \" back \\ line\nesc \x1b", "none", NULL, NULL);
	log_info("msg", "1", huge, "2", huge, "3", huge, "4", huge, "5", huge, "6", huge, "7", huge, "8",
		 huge, "9", huge, NULL);
	log_debug("not wanted", NULL);
	cr_assert(fread(said, 1, sizeof(said) - 1, cr_get_redirected_stderr()) > 0);
	for (char *line = strtok(said, "\n"), *end = NULL; line; line = strtok(end, "\n")) {
		end = line + strlen(line) + 1;
		doc = json_loads(line, 0, NULL);
		cr_assert(doc && !json_object_get(doc, "none"), "%.80s", line);
		cr_assert_str_eq(json_string_value(json_object_get(doc, "msg")), "msg");
		json_decref(doc);
	}
}

Test(backoff, doubles_up_to_the_cap_with_jitter)
{
	struct backoff b = {.base_ms = 1000, .cap_ms = 60000};
	uint64_t full[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

	for (size_t i = 0; i < ARRAY_LEN(full); i++) {
		uint64_t ms = backoff_next_ms(&b);

		cr_assert(ms <= full[i] && ms >= full[i] / 2, "try %zu: %lu", i, ms);
	}
	backoff_reset(&b);
	cr_assert(backoff_next_ms(&b) <= 1000);
}

Test(clock, a_fake_clock_moves_only_by_sleeping)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_fake_set_us(5000);
	cr_assert_eq(now_ms(), 5);
	clock_sleep_ms(1000000);
	cr_assert_eq(now_ms(), 1000005);
	clock_fake_off();
	cr_assert_eq(strlen(clock_rfc3339_us(text)), strlen("2026-11-20T21:04:05.678901Z"));
	cr_assert_eq(strlen(clock_rfc3339(text)), strlen("2026-11-20T21:04:05Z"));
}
