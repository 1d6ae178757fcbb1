/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage - makes the knobs say a mode.  The order never passes through CCD without CCM, which would be
 * the invalid mode; a knob that has its value already is not written.
 *
 * Where NVIDIA's tool leaves PPCIe staged when CC is set to off, this clears it: a mode is a pair.
 */
#include "gpu/fsp.h"
#include "gpu/internal.h"

#define DECOUPLER_ON 2

struct want {
	unsigned id;
	uint16_t value;
	bool may_lack; /* firmware without this knob is fine */
};
#define WANTS_MAX 8

struct wants {
	struct want want[WANTS_MAX];
	size_t n;
};

static void add(struct wants *w, unsigned id, uint16_t value)
{
	w->want[w->n++] = (struct want){ .id = id, .value = value };
}

static void add_if_known(struct wants *w, unsigned id, uint16_t value)
{
	add(w, id, value);
	w->want[w->n - 1].may_lack = true;
}

/* The knobs in the order of their writing, each once. */
static void wants_cc(const struct gpu *g, enum gpu_mode mode, struct wants *w)
{
	bool hopper = g->chip->family->has_decoupler;
	uint16_t ccd = mode == GPU_MODE_DEVTOOLS;

	if (mode == GPU_MODE_OFF) {
		/* What firmware does not know is off. */
		if (hopper) {
			add_if_known(w, KNOB_DECOUPLER, 0);
			add_if_known(w, KNOB_PPCIE, 0);
		}
		add_if_known(w, KNOB_CCD, 0); /* off: devtools first */
		add_if_known(w, KNOB_CCM, 0);
		return;
	}
	add(w, KNOB_A, 0);
	add(w, KNOB_B, 0);
	add(w, KNOB_C, 0);
	if (hopper) {
		add_if_known(w, KNOB_PPCIE, 0);
		add(w, KNOB_DECOUPLER, mode == GPU_MODE_ON ? DECOUPLER_ON : 0);
	}
	add(w, KNOB_CCM, 1); /* on: CC first */
	add(w, KNOB_CCD, ccd);
}

static void wants_ppcie(const struct gpu *g, struct wants *w)
{
	add(w, KNOB_A, 0);
	add(w, KNOB_B, 0);
	add(w, KNOB_C, 0);
	add(w, KNOB_CCD, 0);
	add(w, KNOB_CCM, 0);
	add(w, KNOB_DECOUPLER, g->chip->kind == GPU_KIND_GPU ? DECOUPLER_ON : 0);
	add(w, KNOB_PPCIE, 1);
}

/* A switch has no CC: all but ppcie just asks for PPCIe off. */
static void wants_switch_off(struct wants *w)
{
	add_if_known(w, KNOB_DECOUPLER, 0);
	add_if_known(w, KNOB_PPCIE, 0);
}

static int wants_of(struct gpu *g, enum gpu_mode mode, struct wants *w, struct err *err)
{
	*w = (struct wants){ 0 };
	if (!g->chip->family)
		return mode == GPU_MODE_OFF ? 0
					    : err_set(err, ERR_UNSUPPORTED, "%s has no such mode",
						      g->chip->name);
	if (mode == GPU_MODE_PPCIE) {
		if (!g->chip->ppcie)
			return err_set(err, ERR_UNSUPPORTED, "%s has no ppcie mode", g->chip->name);
		wants_ppcie(g, w);
	} else if (g->chip->kind == GPU_KIND_NVSWITCH) {
		wants_switch_off(w);
	} else {
		wants_cc(g, mode, w);
	}
	return 0;
}

/* The firmware of some boards knows no PPCIe: say what that means. */
static int explain(const struct want *want, struct err *err)
{
	if (!fsp_no_such_knob(err))
		return -1;
	if (want->id == KNOB_PPCIE)
		return err_wrap(err, "firmware without PPCIe, an update is needed");
	if (want->id == KNOB_CCM || want->id == KNOB_CCD)
		return err_wrap(err,
				"firmware without confidential computing, an update is needed");
	return -1;
}

static void undo_add(struct gpu_undo *undo, unsigned id, uint16_t before)
{
	if (undo->n == GPU_UNDO_MAX)
		return; /* each knob is written once, and there are fewer */
	undo->write[undo->n].knob = (uint8_t)id;
	undo->write[undo->n++].before = before;
}

static int ensure(struct gpu *g, struct want *want, struct gpu_undo *undo, struct err *err)
{
	uint16_t before;

	if (fsp_knob_read(g, want->id, &before, err) < 0) {
		if (!want->may_lack || !fsp_no_such_knob(err))
			return explain(want, err);
		err_clear(err);
		want->id = 0;
		return 0;
	}
	if (before == want->value)
		return 0;
	undo_add(undo, want->id, before); /* before the write: it may take effect and not answer */
	return fsp_knob_write(g, want->id, want->value, err);
}

static int read_back(struct gpu *g, const struct want *want, struct err *err)
{
	uint16_t now;

	if (!want->id)
		return 0;
	if (fsp_knob_read(g, want->id, &now, err) < 0)
		return err_wrap(err, "reading back");
	if (now != want->value)
		return err_set(err, ERR_DEVICE, "knob %u (%s) reads back %u, not %u", want->id,
			       gpu_knob_name(want->id), now, want->value);
	return 0;
}

int gpu_stage(struct gpu *g, enum gpu_mode mode, struct gpu_undo *undo, struct err *err)
{
	struct wants w;

	*undo = (struct gpu_undo){ 0 };
	if (wants_of(g, mode, &w, err) < 0)
		return -1;
	for (size_t i = 0; i < w.n; i++)
		if (ensure(g, &w.want[i], undo, err) < 0)
			return -1;
	for (size_t i = 0; i < w.n; i++)
		if (read_back(g, &w.want[i], err) < 0)
			return -1;
	gpu_note(g, LOG_DEBUG, "staged %s: %u knobs written", gpu_mode_names[mode], undo->n);
	return 0;
}

int gpu_unstage(struct gpu *g, const struct gpu_undo *undo, struct err *err)
{
	for (unsigned i = undo->n; i-- > 0;)
		if (fsp_knob_write(g, undo->write[i].knob, undo->write[i].before, err) < 0)
			return err_wrap(err, "putting knobs back");
	return 0;
}

/* The decoupler counts only as on or not: nobody knows what its other values mean. */
static bool says(const struct want *want, uint16_t value)
{
	if (want->id == KNOB_DECOUPLER)
		return (value == DECOUPLER_ON) == (want->value == DECOUPLER_ON);
	return value == want->value;
}

int gpu_staged(struct gpu *g, enum gpu_mode mode, bool *out, struct err *err)
{
	struct wants w;
	uint16_t value;

	*out = true;
	if (wants_of(g, mode, &w, err) < 0)
		return -1;
	for (size_t i = 0; i < w.n; i++) {
		if (fsp_knob_read(g, w.want[i].id, &value, err) < 0) {
			if (!w.want[i].may_lack || !fsp_no_such_knob(err))
				return explain(&w.want[i], err);
			err_clear(err);
			continue;
		}
		*out = *out && says(&w.want[i], value);
	}
	return 0;
}
