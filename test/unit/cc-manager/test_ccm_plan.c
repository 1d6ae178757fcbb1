/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: label, host and devices in, decision out.
 *
 * Devices are written as words, a letter for the kind, a letter for the mode, then marks:
 *	H H100   B B200   A L40 (no CC)   S LS10   L LR10 (no modes)
 *	f off  o on  d devtools  p ppcie  i invalid  u unknown
 *	* in use   ! cannot be read   ~ knobs say something else   ? knobs cannot be read
 *	x bound to a foreign driver   - unbound by an attempt that did not end
 * What is expected of each is a letter: . nothing  s stage  R reset  k skip
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "../../../cmd/cc-manager/plan.h"
#include "../table.h"
#include "base/str.h"

static const struct kind {
	char letter;
	enum gpu_kind kind;
	const char *name;
	bool cc, ppcie;
} kinds[] = {
	{ 'H', GPU_KIND_GPU, "H100", true, true },
	{ 'B', GPU_KIND_GPU, "B200", true, false },
	{ 'A', GPU_KIND_GPU, "L40", false, false },
	{ 'S', GPU_KIND_NVSWITCH, "LS10", false, true },
	{ 'L', GPU_KIND_NVSWITCH, "LR10", false, false },
};

static void set_pair(struct device *d, char mode)
{
	static const char modes[] = "fodp";
	const char *at = strchr(modes, mode);

	if (at)
		d->active = gpu_wanted(&d->dev, (enum gpu_mode)(at - modes));
	else if (mode == 'i')
		d->active = (struct gpu_pair){ GPU_CC_INVALID, GPU_PPCIE_OFF };
	else
		cr_assert_eq(mode, 'u', "mode '%c'", mode);
}

static void set_mark(struct device *d, char mark)
{
	switch (mark) {
	case '*':
		str_copy(d->dev.in_use, sizeof(d->dev.in_use),
			 "process 812 (qemu) has /dev/vfio/7 open");
		break;
	case 'x':
		str_copy(d->dev.in_use, sizeof(d->dev.in_use), "bound to driver nvidia");
		d->foreign_driver = true;
		break;
	case '!':
		str_copy(d->error, sizeof(d->error), "BAR0 reads all ones");
		d->active = (struct gpu_pair){ GPU_CC_UNKNOWN, GPU_PPCIE_UNKNOWN };
		break;
	case '~':
		d->staged = GPU_STAGED_DIFFERENT;
		break;
	case '?':
		str_copy(d->staged_error, sizeof(d->staged_error), "no answer within 5 s");
		break;
	case '-':
		d->unbound = true;
		break;
	default:
		cr_assert_fail("mark '%c'", mark);
	}
}

static void add_device(struct device_list *l, const char *word, size_t n)
{
	struct device *d = &l->item[l->n];
	const struct kind *k = kinds;

	*d = (struct device){ .lock_fd = -1 };
	while (k->letter != word[0])
		cr_assert_lt(++k - kinds, (ptrdiff_t)ARRAY_LEN(kinds), "kind '%c'", word[0]);
	d->dev = (struct gpu_dev){ .bdf = { .bus = (uint8_t)(0x41 + l->n) },
				   .kind = k->kind,
				   .device_id = 0x2330,
				   .cc_capable = k->cc,
				   .ppcie_capable = k->ppcie };
	str_copy(d->dev.name, sizeof(d->dev.name), k->name);
	set_pair(d, word[1]);
	for (size_t i = 2; i < n; i++)
		set_mark(d, word[i]);
	l->n++;
}

static void add_devices(struct device_list *l, const char *text)
{
	for (size_t n; *text; text += n + (text[n] == ' ')) {
		n = strcspn(text, " ");
		add_device(l, text, n);
	}
}

enum option { DEFAULTS, NO_TEE, TEE_REQUIRED, TEE_IGNORED, LOCKED, SKIP, WAIT, DRAIN, ONLY_IDS };

static const struct {
	const char *name, *label; /* NULL: absent */
	const char *fallback;	  /* the default mode */
	enum option option;
	const char *devices;
	enum plan_verdict verdict;
	const char *in_force, *needs, *says; /* `says`: part of the refusal */
	bool disturbs, retry;
} plans[] = {
	{ "one GPU is off already", "off", "off", DEFAULTS, "Hf", PLAN_KEEP, "off", ".", "", false,
	  false },
	{ "one GPU to on", "on", "off", DEFAULTS, "Hf", PLAN_SWITCH, "off", "R", "", true, false },
	{ "only the one that differs", "on", "off", DEFAULTS, "Ho Hf", PLAN_SWITCH, "mixed", ".R",
	  "", true, false },
	{ "devtools to off", "off", "on", DEFAULTS, "Hd", PLAN_SWITCH, "devtools", "R", "", true,
	  false },
	{ "ppcie reads as CC off, and is not off", "off", "off", DEFAULTS, "Hp Sp", PLAN_SWITCH,
	  "ppcie", "RR", "", true, false },
	{ "ppcie to on clears the switch too", "on", "off", DEFAULTS, "Hp Sp", PLAN_SWITCH, "ppcie",
	  "RR", "", true, false },
	{ "a switch that is off takes no part in on", "on", "off", DEFAULTS, "Hf Sf", PLAN_SWITCH,
	  "off", "R.", "", true, false },
	{ "ppcie on everything", "ppcie", "off", DEFAULTS, "Hf Hf Sf", PLAN_SWITCH, "off", "RRR",
	  "", true, false },
	{ "ppcie on a part of the fabric is done anew", "ppcie", "off", DEFAULTS, "Hp Hf Sp",
	  PLAN_SWITCH, "mixed", "RRR", "", true, false },
	{ "ppcie is in force", "ppcie", "off", DEFAULTS, "Hp Sp", PLAN_KEEP, "ppcie", "..", "",
	  false, false },
	{ "an invalid pair is switched away", "off", "off", DEFAULTS, "Hi", PLAN_SWITCH, "mixed",
	  "R", "", true, false },
	{ "Blackwell beside Hopper to on", "on", "off", DEFAULTS, "Hf Bf", PLAN_SWITCH, "off", "RR",
	  "", true, false },

	{ "no label: the default", NULL, "on", DEFAULTS, "Hf", PLAN_SWITCH, "off", "R", "", true,
	  false },
	{ "an empty label: the default", "", "on", DEFAULTS, "Hf", PLAN_SWITCH, "off", "R", "",
	  true, false },
	{ "no label and no default", NULL, "", DEFAULTS, "Ho", PLAN_LEAVE, "on", ".", "", false,
	  false },
	{ "without TEE the default is off", NULL, "on", NO_TEE, "Hf", PLAN_KEEP, "off", ".", "",
	  false, false },
	{ "without TEE the default is off, also away from on", NULL, "on", NO_TEE, "Ho",
	  PLAN_SWITCH, "on", "R", "", true, false },
	{ "the default counts where nobody looks", NULL, "on", TEE_IGNORED, "Hf", PLAN_SWITCH,
	  "off", "R", "", true, false },
	{ "a label counts without TEE", "on", "off", NO_TEE, "Hf", PLAN_SWITCH, "off", "R", "",
	  true, false },
	{ "a required TEE is missing", "on", "off", TEE_REQUIRED, "Hf", PLAN_REFUSE, "off", ".",
	  "SEV-SNP", false, false },
	{ "off needs no TEE", "off", "off", TEE_REQUIRED, "Ho", PLAN_SWITCH, "on", "R", "", true,
	  false },
	{ "a required TEE is missing, default on", NULL, "on", TEE_REQUIRED, "Hf", PLAN_KEEP, "off",
	  ".", "", false, false },

	{ "no such mode", "On", "off", DEFAULTS, "Hf", PLAN_REFUSE, "off", ".",
	  "'On', which is no mode; set it to on, off, devtools or ppcie", false, false },
	{ "no such mode, nothing is switched meanwhile", "enabled", "off", DEFAULTS, "Ho",
	  PLAN_REFUSE, "on", ".", "enabled", false, false },
	{ "no GPU, off", "off", "on", DEFAULTS, "", PLAN_KEEP, "off", "", "", false, false },
	{ "no GPU, on", "on", "off", DEFAULTS, "", PLAN_REFUSE, "off", "", "no NVIDIA GPU", false,
	  false },
	{ "no GPU but a switch, ppcie", "ppcie", "off", DEFAULTS, "Sf", PLAN_REFUSE, "off", ".",
	  "no NVIDIA GPU", false, false },
	{ "no GPU with these ids", "on", "off", ONLY_IDS, "", PLAN_REFUSE, "off", "",
	  "--device-ids", false, false },
	{ "lockdown", "on", "off", LOCKED, "Hu!", PLAN_REFUSE, "unknown", ".", "lockdown", false,
	  false },
	{ "lockdown does not matter without CC", "off", "off", LOCKED, "Af", PLAN_KEEP, "off", ".",
	  "", false, false },

	{ "a GPU without CC, on", "on", "off", DEFAULTS, "Af", PLAN_REFUSE, "off", ".",
	  "0000:41:00.0: L40", false, false },
	{ "a GPU without CC, off", "off", "off", DEFAULTS, "Af", PLAN_KEEP, "off", ".", "", false,
	  false },
	{ "a GPU without CC beside one with it", "on", "off", DEFAULTS, "Hf Af", PLAN_REFUSE, "off",
	  "..", "0000:42:00.0: L40", false, false },
	{ "it can be passed over", "on", "off", SKIP, "Hf Af", PLAN_SWITCH, "off", "Rk", "", true,
	  false },
	{ "and does not count then", "on", "off", SKIP, "Ho Af", PLAN_KEEP, "on", ".k", "", false,
	  false },
	{ "but not alone", "on", "off", SKIP, "Af", PLAN_REFUSE, "off", ".", "L40", false, false },
	{ "ppcie on Blackwell", "ppcie", "off", DEFAULTS, "Bf Bf", PLAN_REFUSE, "off", "..",
	  "0000:41:00.0: B200 has no ppcie mode", false, false },
	{ "Blackwell is not passed over for ppcie", "ppcie", "off", SKIP, "Hf Bf", PLAN_REFUSE,
	  "off", "..", "B200", false, false },
	{ "ppcie beside an old switch", "ppcie", "off", DEFAULTS, "Hf Lf", PLAN_REFUSE, "off", "..",
	  "LR10", false, false },
	{ "an old switch does not hinder on", "on", "off", DEFAULTS, "Hf Lf", PLAN_SWITCH, "off",
	  "R.", "", true, false },

	{ "a device that cannot be read", "on", "off", DEFAULTS, "Hf Hu!", PLAN_REFUSE, "unknown",
	  "..", "0000:42:00.0: BAR0 reads all ones", false, true },
	{ "also when the others are right", "off", "off", DEFAULTS, "Hf Hu!", PLAN_REFUSE,
	  "unknown", "..", "BAR0", false, true },
	{ "knobs that cannot be read", "off", "off", DEFAULTS, "Hf?", PLAN_REFUSE, "off", ".",
	  "0000:41:00.0: no answer", false, true },

	{ "staged and unapplied: no reset, nobody is disturbed", "off", "off", DEFAULTS, "Hf~",
	  PLAN_SWITCH, "off", "s", "", false, false },
	{ "staged and unapplied beside one to switch", "on", "off", DEFAULTS, "Ho~ Hf", PLAN_SWITCH,
	  "mixed", "sR", "", true, false },
	{ "unbound by an attempt that did not end", "on", "off", DEFAULTS, "Ho-", PLAN_SWITCH, "on",
	  ".", "", false, false },

	{ "in use, and right as recorded", "on", "off", DEFAULTS, "Ho*", PLAN_KEEP, "on", ".", "",
	  false, false },
	{ "in use, and different", "off", "off", DEFAULTS, "Ho*", PLAN_REFUSE, "on", "R",
	  "0000:41:00.0 is in use: process 812 (qemu)", false, true },
	{ "in use, and not recorded", "on", "off", DEFAULTS, "Hu*", PLAN_REFUSE, "unknown", "R",
	  "its mode is unknown", false, true },
	{ "one in use does not hinder the others", "on", "off", DEFAULTS, "Ho* Hf", PLAN_SWITCH,
	  "mixed", ".R", "", true, false },
	{ "ppcie needs all of them", "ppcie", "off", DEFAULTS, "Hp* Hf Sp", PLAN_REFUSE, "mixed",
	  "RRR", "0000:41:00.0", false, true },
	{ "in use, told to wait", "off", "off", WAIT, "Ho*", PLAN_WAIT, "on", "R", "process 812",
	  false, false },
	{ "in use, told to drain", "off", "off", DRAIN, "Ho*", PLAN_SWITCH, "on", "R", "", true,
	  false },
	{ "a foreign driver does not go by itself", "off", "off", DRAIN, "Hux", PLAN_REFUSE,
	  "unknown", "R", "bound to driver nvidia", false, true },
	{ "a foreign driver on a GPU without modes", "off", "off", DEFAULTS, "Afx", PLAN_KEEP,
	  "off", ".", "", false, false },
};

static void configure(enum option option, const char *fallback, struct config *c,
		      struct plan_input *in)
{
	*c = (struct config){ .default_mode = fallback };
	in->config = c;
	in->tee = option == NO_TEE || option == TEE_REQUIRED || option == TEE_IGNORED
			  ? PCI_HOST_TEE_NONE
			  : PCI_HOST_TEE_SNP;
	in->lockdown = option == LOCKED ? PCI_LOCKDOWN_INTEGRITY : PCI_LOCKDOWN_NONE;
	c->host_tee = option == TEE_REQUIRED  ? HOST_TEE_REQUIRE
		      : option == TEE_IGNORED ? HOST_TEE_IGNORE
					      : HOST_TEE_WARN;
	c->busy_policy = option == WAIT ? BUSY_WAIT : option == DRAIN ? BUSY_DRAIN : BUSY_FAIL;
	c->unsupported_gpu = option == SKIP ? UNSUPPORTED_SKIP : UNSUPPORTED_FAIL;
	c->only_ids.n = option == ONLY_IDS;
}

TABLE_TEST(plan, decides, plans)
{
	static const char letters[] = {
		[GPU_NEED_NOTHING] = '.', [GPU_NEED_STAGE] = 's', [GPU_NEED_RESET] = 'R'
	};
	static struct device_list devices;
	struct plan_input in = { .label = row->label, .devices = &devices };
	char needs[GPU_MAX_DEVICES + 1] = "";
	struct config config;
	struct plan plan;

	configure(row->option, row->fallback, &config, &in);
	add_devices(&devices, row->devices);
	plan_make(&in, &plan);

	for (size_t i = 0; i < devices.n; i++)
		needs[i] = plan.skip[i] ? 'k' : letters[plan.need[i]];
	cr_assert_str_eq(plan_verdict_names[plan.verdict], plan_verdict_names[row->verdict],
			 "%s: %s", row->name, err_text(&plan.why));
	cr_assert_str_eq(in_force_names[plan.in_force], row->in_force, "%s: %s", row->name,
			 in_force_names[plan.in_force]);
	cr_assert_str_eq(needs, row->needs, "%s: %s", row->name, needs);
	cr_assert_eq(plan.disturbs, row->disturbs, "%s", row->name);
	cr_assert_eq(plan.retry, row->retry, "%s", row->name);
	cr_assert_eq(plan.drain, row->option == DRAIN && plan.verdict == PLAN_SWITCH, "%s",
		     row->name);
	cr_assert(strstr(err_text(&plan.why), row->says), "%s: %s", row->name, err_text(&plan.why));
	cr_assert_eq(plan.why.kind == ERR_NONE, !*row->says, "%s: %s", row->name,
		     err_text(&plan.why));
	cr_assert_not_null(plan.reason, "%s", row->name);
}

static const struct {
	const char *name;
	enum option option;
	bool missing;
} tees[] = {
	{ "there is one", DEFAULTS, false },
	{ "there is none", NO_TEE, true },
	{ "there is none, and it is required", TEE_REQUIRED, true },
	{ "nobody looks", TEE_IGNORED, false },
};

TABLE_TEST(plan, knows_who_must_not_be_called_ready, tees)
{
	static struct device_list devices;
	struct plan_input in = { .label = "off", .devices = &devices };
	struct config config;
	struct plan plan;

	configure(row->option, "off", &config, &in);
	plan_make(&in, &plan);
	cr_assert_eq(plan.tee_missing, row->missing, "%s", row->name);
}
