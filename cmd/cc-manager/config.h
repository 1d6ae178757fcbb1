/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config - what the administrator asked for: flags and environment, checked once, before anything
 * else happens.
 *
 * Strings are borrowed from argv, the environment or literals; operator_namespace may point into
 * the struct, which therefore stays where it is.
 */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/opts.h"
#include "gpu/gpu.h"

enum state_label { STATE_LABEL_RESULT, STATE_LABEL_MODE };
enum busy_policy { BUSY_FAIL, BUSY_WAIT, BUSY_DRAIN };
enum host_tee_policy { HOST_TEE_WARN, HOST_TEE_REQUIRE, HOST_TEE_IGNORE };
enum unsupported_policy { UNSUPPORTED_FAIL, UNSUPPORTED_SKIP };
enum output { OUTPUT_TEXT, OUTPUT_JSON };

extern const char *const busy_policy_names[];

struct listen_address {
	bool on;
	socklen_t len;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} sa;
};

struct config {
	const char *node_name;
	const char *default_mode; /* "" leaves the hardware alone when there is no label */
	int state_label;
	const char *operator_namespace;
	bool evict;
	uint64_t evict_timeout_ms;
	int busy_policy, host_tee, unsupported_gpu;
	struct gpu_ids only_ids;    /* --device-ids; none: all */
	struct gpu_ids capable_ids; /* beside those the chip tables know */
	const char *readiness_file;
	uint64_t resync_ms;
	uint64_t retry_base_ms, retry_cap_ms;
	const char *metrics_text;
	struct listen_address metrics;
	bool dry_run, once;
	int output;
	const char *kubeconfig; /* NULL: in-cluster, $KUBECONFIG, ~/.kube/config */
	const char *sysfs_root, *host_root, *state_dir;
	int log_format, log_level;

	/* as they came, before config_load() looked into them */
	int default_mode_choice;
	const char *device_ids_text, *capable_ids_text, *backoff_text;
	char namespace_text[64];
};

/* OPTS_BAD: the reason was printed. */
enum opts_result config_load(struct config *out, int argc, char **argv,
			     char *(*env)(const char *)) MUST_CHECK;

/* "127.0.0.1:9402", "[::1]:9402", ":9402" (every address), "" (off) */
bool config_address_parse(const char *text, struct listen_address *out) MUST_CHECK;
