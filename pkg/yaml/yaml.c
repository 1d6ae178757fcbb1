/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing: libyaml's events become nodes, one after the other, with a stack of our own, so that depth
 * is a number we check and not a recursion.
 */
#include "yaml/yaml.h"

#include <string.h>
#include <yaml.h>

#include "base/str.h"

struct level {
	struct yaml *node, **tail; /* where the next child goes */
	char *key;		   /* read, its value not yet */
	size_t n;
};

struct parser {
	const char *file;
	struct rd text;
	yaml_parser_t lib;
	struct yaml *root;
	struct level stack[YAML_MAX_DEPTH];
	unsigned depth;
	size_t nodes;
	bool done;
	struct err *err;
};

static int fail(struct parser *p, const yaml_event_t *at, const char *what)
{
	return err_set(p->err, ERR_INVALID, "%s:%zu: %s", p->file, at->start_mark.line + 1, what);
}

static size_t lines_before(struct rd text, size_t offset)
{
	size_t lines = 0;

	for (size_t i = 0; i < offset && i < text.left; i++)
		lines += text.p[i] == '\n';
	return lines;
}

/* libyaml's own complaint, which is about the line it had reached. */
static int lib_error(struct parser *p)
{
	size_t line = p->lib.problem_mark.line;

	if (p->lib.error == YAML_MEMORY_ERROR)
		return err_nomem(p->err);
	if (p->lib.error == YAML_READER_ERROR) /* it reads ahead: no line, but an offset */
		line = lines_before(p->text, p->lib.problem_offset);
	return err_set(p->err, ERR_INVALID, "%s:%zu: %s", p->file, line + 1,
		       p->lib.problem ? p->lib.problem : "is not YAML");
}

static bool has_key(const struct level *l, const char *key)
{
	for (const struct yaml *c = l->node->child; c; c = c->next)
		if (strcmp(c->key, key) == 0)
			return true;
	return false;
}

/* In a map, every other event is a key. */
static bool wants_key(const struct parser *p)
{
	const struct level *l = p->depth ? &p->stack[p->depth - 1] : NULL;

	return l && l->node->kind == YAML_MAP && !l->key;
}

static char *scalar_text(struct parser *p, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	char *copy;

	if (strlen(s) != ev->data.scalar.length) {
		fail(p, ev, "a NUL inside a text");
		return NULL;
	}
	copy = strdup(s);
	if (!copy)
		err_nomem(p->err);
	return copy;
}

static int take_key(struct parser *p, const yaml_event_t *ev)
{
	struct level *l = &p->stack[p->depth - 1];
	char shown[80];
	AUTO_MEM char *key = NULL;

	if (ev->type != YAML_SCALAR_EVENT)
		return fail(p, ev, "a list or map as a key");
	if (l->n++ == YAML_MAX_KEYS)
		return fail(p, ev, "too many keys in one map");
	key = scalar_text(p, ev);
	if (!key)
		return -1;
	if (has_key(l, key)) {
		str_copy(shown, sizeof(shown), key);
		return err_set(p->err, ERR_INVALID, "%s:%zu: \"%s\" is here twice", p->file,
			       ev->start_mark.line + 1, str_printable(shown));
	}
	l->key = TAKE_PTR(key);
	return 0;
}

/* Hangs a new node under the innermost open one; the first is the root. */
static struct yaml *add_node(struct parser *p, const yaml_event_t *ev, enum yaml_kind kind)
{
	struct level *l = p->depth ? &p->stack[p->depth - 1] : NULL;
	struct yaml *n;

	if (p->nodes++ == YAML_MAX_NODES) {
		fail(p, ev, "too many values");
		return NULL;
	}
	n = calloc(1, sizeof(*n));
	if (!n) {
		err_nomem(p->err);
		return NULL;
	}
	n->kind = kind;
	n->line = (unsigned)ev->start_mark.line + 1;
	if (!l) {
		p->root = n;
		n->file = strdup(p->file);
		if (!n->file) {
			err_nomem(p->err);
			return NULL;
		}
		return n;
	}
	n->file = p->root->file;
	n->key = TAKE_PTR(l->key);
	*l->tail = n;
	l->tail = &n->next;
	return n;
}

static int open_level(struct parser *p, const yaml_event_t *ev, enum yaml_kind kind)
{
	struct yaml *n;

	if (p->depth == YAML_MAX_DEPTH)
		return fail(p, ev, "nested too deeply");
	n = add_node(p, ev, kind);
	if (!n)
		return -1;
	p->stack[p->depth++] = (struct level){ .node = n, .tail = &n->child };
	return 0;
}

static int add_scalar(struct parser *p, const yaml_event_t *ev)
{
	struct yaml *n = add_node(p, ev, YAML_SCALAR);

	if (!n)
		return -1;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	n->text = scalar_text(p, ev);
	return n->text ? 0 : -1;
}

static int refuse_extras(struct parser *p, const yaml_event_t *ev)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		anchor = ev->data.scalar.anchor;
		tag = ev->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = ev->data.sequence_start.anchor;
		tag = ev->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = ev->data.mapping_start.anchor;
		tag = ev->data.mapping_start.tag;
		break;
	case YAML_DOCUMENT_START_EVENT:
		if (p->root)
			return fail(p, ev, "a second document");
		break;
	case YAML_ALIAS_EVENT:
		return fail(p, ev, "aliases are not supported");
	default:
		break;
	}
	if (anchor)
		return fail(p, ev, "anchors are not supported");
	if (tag)
		return fail(p, ev, "tags are not supported");
	return 0;
}

static int on_event(struct parser *p, const yaml_event_t *ev)
{
	if (refuse_extras(p, ev) < 0)
		return -1;
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return wants_key(p) ? take_key(p, ev) : add_scalar(p, ev);
	case YAML_SEQUENCE_START_EVENT:
		return wants_key(p) ? take_key(p, ev) : open_level(p, ev, YAML_LIST);
	case YAML_MAPPING_START_EVENT:
		return wants_key(p) ? take_key(p, ev) : open_level(p, ev, YAML_MAP);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		p->depth--;
		return 0;
	case YAML_STREAM_END_EVENT:
		p->done = true;
		return 0;
	default:
		return 0;
	}
}

static void parser_clear(struct parser *p)
{
	while (p->depth > 0)
		free(p->stack[--p->depth].key);
	yaml_tree_free(p->root);
	yaml_parser_delete(&p->lib);
}

int yaml_parse(const char *file, struct rd text, struct yaml **out, struct err *err)
{
	CLEANUP(parser_clear) struct parser p = { .file = file, .text = text, .err = err };
	yaml_event_t ev;
	int r;

	if (text.left > YAML_MAX_BYTES)
		return err_set(err, ERR_INVALID, "%s: larger than %d bytes", file, YAML_MAX_BYTES);
	if (!yaml_parser_initialize(&p.lib))
		return err_nomem(err);
	yaml_parser_set_input_string(&p.lib, text.left ? text.p : (const uint8_t *)"", text.left);
	while (!p.done) {
		if (!yaml_parser_parse(&p.lib, &ev))
			return lib_error(&p);
		r = on_event(&p, &ev);
		yaml_event_delete(&ev);
		if (r < 0)
			return -1;
	}
	if (!p.root)
		return err_set(err, ERR_INVALID, "%s:1: is empty", file);
	*out = TAKE_PTR(p.root);
	return 0;
}

/* Depth is at most YAML_MAX_DEPTH, so recursion is as well. */
static void free_nodes(struct yaml *n)
{
	while (n) {
		struct yaml *next = n->next;

		free_nodes(n->child);
		if (n->text)
			explicit_bzero(n->text, strlen(n->text)); /* it may be a key or a token */
		free(n->text);
		free(n->key);
		free(n);
		n = next;
	}
}

void yaml_tree_free(struct yaml *root)
{
	if (!root)
		return;
	free(root->file);
	free_nodes(root);
}
