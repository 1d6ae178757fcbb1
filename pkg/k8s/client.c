/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client: who we are on each request, what we count, and what a refusal means in words.
 */
#include <string.h>

#include "base/str.h"
#include "json/json.h"
#include "k8s/internal.h"

#define STATUS_LIMITS ((struct json_limits){ .bytes = 256 << 10, .values = 2000, .depth = 16 })

const struct k8s_tuning k8s_tuning_default = {
	.attempt_ms = 15000,
	.retry_base_ms = 250,
	.retry_cap_ms = 5000,
	.watch_base_ms = 1000,
	.watch_cap_ms = 60000,
	.watch_min_s = 240,
	.watch_max_s = 360,
	.watch_slack_ms = 30000,
	.open_ms = 20000,
	.early_ms = 1000,
};

const char *const k8s_restart_names[K8S_N_RESTARTS] = {
	[K8S_RESTART_END] = "end",
	[K8S_RESTART_GONE] = "gone",
	[K8S_RESTART_ERROR_EVENT] = "error_event",
	[K8S_RESTART_HTTP] = "http",
	[K8S_RESTART_NETWORK] = "network",
	[K8S_RESTART_IDLE] = "idle",
	[K8S_RESTART_BAD_DATA] = "bad_data",
};

static int bearer(void *arg, struct buf *out, struct err *err)
{
	struct k8s_config *config = arg;
	size_t before;

	if (!config->token_file && config->token.len == 0)
		return 0;
	if (buf_adds(out, "Bearer ", err) < 0)
		return -1;
	before = out->len;
	if (config_token(config, out, err) < 0)
		return -1;
	return out->len > before ? 0 : err_set(err, ERR_INVALID, "the token is empty");
}

int k8s_client_new(struct loop *loop, struct k8s_config *config, const char *user_agent,
		   const char *field_manager, struct k8s_client **out, struct err *err)
{
	struct http_config http = {
		.url = config->server,
		.proxy = config->proxy,
		.server_name = config->server_name,
		.ca_file = config->ca_file,
		.ca_pem = buf_rd(&config->ca_pem),
		.cert_file = config->cert_file,
		.key_file = config->key_file,
		.cert_pem = buf_rd(&config->cert_pem),
		.key_pem = buf_rd(&config->key_pem),
		.insecure = config->insecure,
		.user_agent = user_agent,
		.auth = bearer,
		.auth_arg = config,
	};
	struct k8s_client *c = calloc(1, sizeof(*c));

	if (!c)
		return err_nomem(err);
	c->loop = loop;
	c->config = config;
	c->tuning = k8s_tuning_default;
	c->field_manager = strdup(field_manager);
	if (!c->field_manager || http_client_new(loop, &http, &c->http, err) < 0) {
		if (!c->field_manager)
			err_nomem(err);
		k8s_client_free(c);
		return -1;
	}
	*out = c;
	return 0;
}

void k8s_client_free(struct k8s_client *c)
{
	if (!c)
		return;
	while (c->calls)
		k8s_cancel(c->calls);
	http_client_free(c->http);
	free(c->field_manager);
	free(c);
}

void client_count(struct k8s_client *c, const char *verb, int code)
{
	struct k8s_stats *s = &c->stats;
	size_t i = 0;

	while (i < s->n && (s->requests[i].code != code || !str_eq(s->requests[i].verb, verb)))
		i++;
	if (i == K8S_STATS_ROWS)
		i--;
	if (i == s->n) {
		s->n++;
		s->requests[i].verb = verb;
		s->requests[i].code = code;
	}
	s->requests[i].count++;
}

void client_token_refused(struct k8s_client *c)
{
	c->config->token_stale = true;
}

void client_server_is_back(struct k8s_client *c)
{
	calls_server_is_back(c);
	watches_server_is_back(c);
}

void k8s_client_stats(const struct k8s_client *c, struct k8s_stats *out)
{
	*out = c->stats;
	out->http = http_client_stats(c->http);
}

/* --- refusals --------------------------------------------------------------------------------- */

static bool status_message(struct rd body, char *out, size_t size)
{
	static const struct json_field fields[] = {
		{ .name = "message", .type = JSON_FIELD_STR, .size = sizeof(char *) },
	};
	AUTO(json_free) json_t *doc = NULL;
	struct err ignored = ERR_INIT;
	const char *message;

	if (json_parse(body, STATUS_LIMITS, &doc, &ignored) < 0 ||
	    json_fields_read(doc, "", fields, ARRAY_LEN(fields), &message, &ignored) < 0 ||
	    str_empty(message))
		return false;
	str_copy(out, size, message);
	str_printable(out);
	return true;
}

void status_explain(struct err *err, const char *what, const struct http_response *response)
{
	char message[400];

	if (err->kind == ERR_NONE)
		return;
	if (response->status == 401)
		err_set(err, ERR_DENIED,
			"the API server does not accept our credentials (HTTP 401)");
	else if (response->status >= 300 &&
		 status_message(response->body, message, sizeof(message)))
		err_set(err, err->kind, "%s%s (HTTP %d)",
			response->status == 403 ? "not allowed, a role is missing: " : "", message,
			response->status);
	if (response->status)
		err->code = response->status;
	err_wrap(err, "%s", what);
}
