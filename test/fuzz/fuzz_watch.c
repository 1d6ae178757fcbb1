/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch stream gives the same events however it is cut: once whole, once in chunks whose size is the
 * input's first byte.
 */
#include <assert.h>
#include <string.h>

#include "json/json.h"
#include "k8s/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	unsigned events, kept;
	char version[128];
	int code;
};

static int on_event_line(void *arg, struct rd line, struct err *err)
{
	struct sum *s = arg;
	struct k8s_map labels = { 0 };
	bool skimmed;
	struct event ev;
	struct skim skim;
	struct meta meta;
	int r = 0;

	skimmed = event_skim(line, "nvidia.com/", &skim);
	if (event_parse(line, &ev, err) < 0)
		return -1;
	if (skimmed && ev.version) { /* then both read the same */
		assert(skim.version.left == strlen(ev.version));
		assert(memcmp(skim.version.p, ev.version, skim.version.left) == 0);
	}
	s->events++;
	s->code = ev.code;
	snprintf(s->version, sizeof(s->version), "%s", ev.version ? ev.version : "");
	if (ev.type != EVENT_ERROR)
		r = meta_read(ev.object, &meta, err);
	if (r == 0 && ev.type != EVENT_ERROR)
		r = map_read(meta.labels, "labels", "nvidia.com/", &labels, err);
	if (r == 0)
		s->kept += (unsigned)labels.n;
	map_clear(&labels);
	json_free(ev.doc);
	return r;
}

static int feed(const uint8_t *data, size_t size, size_t chunk, struct sum *sum)
{
	struct err err = ERR_INIT;
	struct lines l = { 0 };
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += chunk)
		r = lines_feed(&l, rd_of(data + at, size - at < chunk ? size - at : chunk),
			       on_event_line, sum, &err);
	assert(r == 0 || err.kind == ERR_INVALID);
	lines_clear(&l);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum whole = { 0 }, cut = { 0 };
	int at_once, in_chunks;

	if (size < 2)
		return 0;
	at_once = feed(data + 1, size - 1, size, &whole);
	in_chunks = feed(data + 1, size - 1, (size_t)data[0] + 1, &cut);
	assert(at_once == in_chunks);
	assert(whole.events == cut.events && whole.kept == cut.kept && whole.code == cut.code);
	assert(strcmp(whole.version, cut.version) == 0);
	return 0;
}
