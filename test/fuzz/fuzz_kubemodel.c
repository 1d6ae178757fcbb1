/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_kubemodel - any request at all: lines for method, target, Accept and content type, then the
 * body.  The answer has a code of HTTP's and, unless it is plain text, is JSON; a watch that begins
 * ends, and the cluster can be saved.
 */
#include <assert.h>
#include <jansson.h>
#include <string.h>

#include "kubemodel/kubemodel.h"

/* Cuts the next line off and ends it with NUL; what is missing is empty. */
static const char *line_cut(char **p, char *end)
{
	char *line = *p, *eol = memchr(line, '\n', (size_t)(end - line));

	if (!eol) {
		*p = end;
		return end;
	}
	*eol = '\0';
	*p = eol + 1;
	return line;
}

static void answer_check(struct kubemodel_answer *a)
{
	struct buf line = BUF_INIT(KUBEMODEL_MAX_ANSWER);
	json_t *j;

	assert(a->code >= 200 && a->code <= 599);
	assert(!a->watch || !a->body.len);
	if (!a->watch && strstr(a->content_type, "json")) {
		j = json_loadb(buf_str(&a->body), a->body.len, 0, NULL);
		assert(j);
		json_decref(j);
	}
	for (int i = 0; a->watch && kubemodel_watch_next(a->watch, &line) > 0; i++) {
		assert(line.len && line.data[line.len - 1] == '\n' && i < 100);
		assert(!memchr(line.data, '\n', line.len - 1));
	}
	buf_clear(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kubemodel_config c = KUBEMODEL_CONFIG_INIT;
	struct kubemodel_request rq = { .authorization = "" };
	struct buf text = BUF_INIT(size + 1), saved = BUF_INIT(64u << 20);
	struct kubemodel_answer a;
	struct kubemodel *m;
	struct err err = ERR_INIT;
	char *p, *end;

	c.history = 16;
	if (kubemodel_new(&c, &m, &err) < 0 || kubemodel_add_namespace(m, "default", &err) < 0 ||
	    kubemodel_add_node(m, "n1", "a=b", &err) < 0 || buf_add(&text, data, size, &err) < 0 ||
	    buf_reserve(&text, 1, &err) < 0)
		abort();
	p = text.data;
	end = p + text.len;
	rq.method = line_cut(&p, end);
	rq.target = line_cut(&p, end);
	rq.accept = line_cut(&p, end);
	rq.content_type = line_cut(&p, end);
	rq.body = rd_of(p, (size_t)(end - p));
	kubemodel_handle(m, &rq, &a);
	answer_check(&a);
	kubemodel_answer_clear(&a);
	assert(kubemodel_save(m, &saved, &err) == 0);
	buf_clear(&saved);
	buf_clear(&text);
	kubemodel_free(m);
	return 0;
}
