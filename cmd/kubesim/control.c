/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests ask of the simulator itself, on the same port under /kubesim/: no token, no request
 * number, no faults.  /kubesim/direct/... is the API with the same privileges.
 *
 *	GET PUT POST DELETE faults      lines of the fault language; PUT replaces, POST adds
 *	GET DELETE          requests    what was asked so far; DELETE begins counting anew
 *	POST  compact, drop-watches, expire-token, rotate-token?keep=true, bookmarks?count=N,
 *	      outage?ms=N, gone?as=http|event, churn?node=&count=&rate=, stick?operand=&on=true|false,
 *	      pace?leave=MS&return=MS
 *	GET   churn                     {"count","done"}
 */
#include "sim.h"

#include <string.h>
#include <sys/random.h>

#include "base/str.h"

#define PREFIX "/kubesim/"

bool control_is(const char *target)
{
	return str_starts(target, PREFIX);
}

struct call {
	struct sim *s;
	const char *query; /* "" or "a=b&c=d" */
	struct rd body;
	struct kubemodel_answer *out;
};

/* The value of `key` in the query; values are taken as they are. */
static bool param(const struct call *c, const char *key, char *out, size_t size)
{
	size_t len = strlen(key);

	for (const char *p = c->query; *p; p += strcspn(p, "&"), p += *p == '&')
		if (!strncmp(p, key, len) && p[len] == '=')
			return str_copyn(out, size, p + len + 1, strcspn(p + len + 1, "&"));
	return false;
}

static int param_number(const struct call *c, const char *key, uint64_t max, uint64_t *io,
			struct err *err)
{
	char text[24];

	if (!param(c, key, text, sizeof(text)) || str_u64(text, max, io))
		return 0; /* absent: what *io was */
	return err_set(err, ERR_INVALID, "%s=%s: not a number up to %llu", key, text,
		       (unsigned long long)max);
}

static int faults_text(const struct call *c, struct kubemodel_faults *out, struct err *err)
{
	AUTO_BUF text = BUF_INIT(1u << 20);

	*out = (struct kubemodel_faults){ 0 };
	if (buf_add(&text, c->body.p, c->body.left, err) < 0)
		return -1;
	return kubemodel_faults_parse(buf_str(&text), out, err);
}

static int faults_put(struct call *c, struct err *err)
{
	AUTO_MEM struct kubemodel_faults *fs = malloc(sizeof(*fs));

	if (!fs)
		return err_nomem(err);
	if (faults_text(c, fs, err) < 0)
		return -1;
	c->s->faults = *fs;
	return 0;
}

static int faults_post(struct call *c, struct err *err)
{
	AUTO_MEM struct kubemodel_faults *fs = malloc(sizeof(*fs));
	struct kubemodel_faults *all = &c->s->faults;

	if (!fs)
		return err_nomem(err);
	if (faults_text(c, fs, err) < 0)
		return -1;
	if (all->n + fs->n > KUBEMODEL_MAX_FAULTS)
		return err_set(err, ERR_INVALID, "more than %d faults", KUBEMODEL_MAX_FAULTS);
	memcpy(&all->fault[all->n], fs->fault, fs->n * sizeof(fs->fault[0]));
	all->n += fs->n;
	return 0;
}

static int faults_delete(struct call *c, struct err *err)
{
	(void)err;
	c->s->faults.n = 0;
	return 0;
}

static int faults_get(struct call *c, struct err *err)
{
	const struct kubemodel_faults *sets[] = { &c->s->faults, &c->s->file_faults };

	c->out->content_type = "text/plain";
	for (size_t k = 0; k < ARRAY_LEN(sets); k++)
		for (size_t i = 0; i < sets[k]->n; i++)
			if (buf_addf(&c->out->body, err, "%llu\t%s\n",
				     (unsigned long long)sets[k]->fault[i].hits,
				     sets[k]->fault[i].spec) < 0)
				return -1;
	return 0;
}

static int requests_get(struct call *c, struct err *err)
{
	return requests_print(c->s, &c->out->body, err);
}

static int requests_delete(struct call *c, struct err *err)
{
	(void)err;
	requests_reset(&c->s->requests);
	return 0;
}

static int compact(struct call *c, struct err *err)
{
	(void)err;
	kubemodel_compact(c->s->model);
	return 0;
}

static int drop_watches(struct call *c, struct err *err)
{
	(void)err;
	server_drop_watches(c->s);
	return 0;
}

static int expire_token(struct call *c, struct err *err)
{
	(void)err;
	kubemodel_expire_token(c->s->model);
	return 0;
}

int token_new(struct sim *s, bool keep_old, struct err *err)
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_errno(err, "making a token");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(&s->token[2 * i], 3, "%02x", bytes[i]);
	kubemodel_set_token(s->model, s->token, keep_old);
	return token_write(s, err);
}

static int rotate_token(struct call *c, struct err *err)
{
	char keep[8] = "";

	param(c, "keep", keep, sizeof(keep));
	return token_new(c->s, str_eq(keep, "true"), err);
}

static int bookmarks(struct call *c, struct err *err)
{
	uint64_t n = 1;

	if (param_number(c, "count", 100000, &n, err) < 0)
		return -1;
	kubemodel_bookmarks(c->s->model, (unsigned)n);
	timer_arm(c->s->tick, 0);
	c->s->pumped = 0; /* so that the timer stays armed for now */
	return 0;
}

static int outage(struct call *c, struct err *err)
{
	uint64_t ms = 1000;

	if (param_number(c, "ms", 3600000, &ms, err) < 0)
		return -1;
	server_outage(c->s, ms);
	return 0;
}

static int gone(struct call *c, struct err *err)
{
	char as[8] = "";

	if (!param(c, "as", as, sizeof(as)) || (!str_eq(as, "http") && !str_eq(as, "event")))
		return err_set(err, ERR_INVALID, "as=%s: http or event", as);
	kubemodel_set_gone_as_http(c->s->model, str_eq(as, "http"));
	return 0;
}

static int churn_post(struct call *c, struct err *err)
{
	uint64_t count = 10000, rate = 1000;
	char node[64] = "";

	param(c, "node", node, sizeof(node));
	if (param_number(c, "count", 10000000, &count, err) < 0 ||
	    param_number(c, "rate", 1000000, &rate, err) < 0)
		return -1;
	return server_churn(c->s, node, count, rate, err);
}

static int churn_get(struct call *c, struct err *err)
{
	return buf_addf(&c->out->body, err, "{\"count\":%llu,\"done\":%llu}\n",
			(unsigned long long)c->s->churn.count,
			(unsigned long long)c->s->churn.done);
}

static int stick(struct call *c, struct err *err)
{
	char operand[64] = "", on[8] = "true";

	param(c, "operand", operand, sizeof(operand));
	param(c, "on", on, sizeof(on));
	return kubemodel_operator_stick(c->s->model, operand, str_eq(on, "true"), err);
}

static int pace(struct call *c, struct err *err)
{
	uint64_t leave = c->s->config.leave_ms, back = c->s->config.return_ms;

	if (param_number(c, "leave", 3600000, &leave, err) < 0 ||
	    param_number(c, "return", 3600000, &back, err) < 0)
		return -1;
	kubemodel_operator_pace(c->s->model, leave, back);
	return 0;
}

static const struct {
	const char *method, *name;
	int (*run)(struct call *c, struct err *err);
} calls[] = {
	{ "GET", "faults", faults_get },
	{ "PUT", "faults", faults_put },
	{ "POST", "faults", faults_post },
	{ "DELETE", "faults", faults_delete },
	{ "GET", "requests", requests_get },
	{ "DELETE", "requests", requests_delete },
	{ "POST", "compact", compact },
	{ "POST", "drop-watches", drop_watches },
	{ "POST", "expire-token", expire_token },
	{ "POST", "rotate-token", rotate_token },
	{ "POST", "bookmarks", bookmarks },
	{ "POST", "outage", outage },
	{ "POST", "gone", gone },
	{ "POST", "churn", churn_post },
	{ "GET", "churn", churn_get },
	{ "POST", "stick", stick },
	{ "POST", "pace", pace },
};

void control_handle(struct sim *s, const struct http_request *rq, struct rd body,
		    struct kubemodel_answer *out)
{
	const char *name = rq->target + strlen(PREFIX);
	size_t n = strcspn(name, "?");
	struct call c = { s, name[n] ? name + n + 1 : "", body, out };
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		if (strlen(calls[i].name) != n || strncmp(calls[i].name, name, n) != 0 ||
		    !str_eq(calls[i].method, rq->method))
			continue;
		*out = (struct kubemodel_answer){
			.code = 200,
			.content_type = "application/json",
			.body = BUF_INIT(KUBEMODEL_MAX_ANSWER),
		};
		if (calls[i].run(&c, &err) == 0)
			return;
		kubemodel_answer_clear(out);
		kubemodel_answer_status(400, NULL, err_text(&err), out);
		return;
	}
	kubemodel_answer_status(404, NULL, "no such control request", out);
}
