/* SPDX-License-Identifier: Apache-2.0 */
/* state - the state folder: `state` (machine and sysfs), `faults` (which others may change while a
 * command runs), `lock`.  Written by rename, without fsync: it need not survive a power cut. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "sim.h"

#define HEADER	   "gpusim 1"
#define STATE_MAX  (GPUMODEL_SAVE_MAX + (64u << 10))
#define FAULTS_MAX (GPUMODEL_MAX_FAULTS * 256u)
#define BDF_SIZE   16

static struct gpumodel_config model_config(struct sim *s)
{
	return (struct gpumodel_config){
		.boot_ms = s->opts.boot_ms,
		.reset_ms = s->opts.reset_ms,
		.fsp_us = 1000 * s->opts.rpc_ms,
		.on_access = s->opts.trace ? trace_access : NULL,
		.on_violation = trace_violation,
		.arg = s,
	};
}

static int path_of(const struct sim *s, const char *name, char out[300])
{
	return snprintf(out, 300, "%s/%s", s->state_dir, name);
}

static int publish(const struct sim *s, const char *name, const struct buf *text, struct err *err)
{
	char path[300], temp[320];
	AUTO_FD fd = -1;

	path_of(s, name, path);
	snprintf(temp, sizeof(temp), "%s.%d", path, getpid());
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, buf_str(text), text->len) != (ssize_t)text->len ||
	    rename(temp, path) < 0) {
		err_errno(err, "%s", path);
		unlink(temp);
		return -1;
	}
	return 0;
}

/* --- saving ---------------------------------------------------------------------------------------- */

static int sysfs_save(const struct sim *s, struct buf *out, struct err *err)
{
	if (buf_addf(out, err, HEADER "\ndevices %s\ndrivers", s->opts.devices) < 0)
		return -1;
	for (unsigned i = 0; i < s->n_drivers; i++)
		if (buf_addf(out, err, " %s", s->drivers[i]) < 0)
			return -1;
	if (buf_adds(out, "\n", err) < 0)
		return -1;
	for (unsigned i = 0; i < s->n_drivers; i++)
		if (s->new_id[i][0] && buf_addf(out, err, "new-id %u %s\n", i, s->new_id[i]) < 0)
			return -1;
	for (unsigned i = 0; i < gpumodel_count(s->model); i++) {
		const struct sysfs_dev *d = &s->dev[i];

		if (buf_addf(out, err, "sysfs %s %d %d %d %s\n", gpumodel_info(s->model, i)->bdf,
			     d->control_auto, d->removed && !d->gone, d->d3cold, d->override) < 0)
			return -1;
	}
	return 0;
}

/* Nobody waits for these resets any more; the kernel finishes them alone. */
void state_resets_finish(struct sim *s)
{
	for (unsigned i = 0; i < gpumodel_count(s->model); i++)
		gpumodel_reset_end(s->model, i);
}

int state_save(struct sim *s, struct err *err)
{
	AUTO_BUF text = BUF_INIT(STATE_MAX);

	s->dirty = false;
	s->saved_us = now_us();
	if (sysfs_save(s, &text, err) < 0 || gpumodel_save(s->model, &text, err) < 0)
		return -1;
	return publish(s, "state", &text, err);
}

/* --- loading --------------------------------------------------------------------------------------- */

static bool drivers_load(struct sim *s, char *words)
{
	char *word;

	while ((word = strsep(&words, " "))) {
		if (s->n_drivers == DRIVERS_MAX ||
		    !str_copy(s->drivers[s->n_drivers], sizeof(s->drivers[0]), word))
			return false;
		s->n_drivers++;
	}
	return true;
}

static bool new_id_load(struct sim *s, char *words)
{
	char *index = strsep(&words, " ");
	uint64_t i;

	return words && str_u64(index, DRIVERS_MAX - 1, &i) &&
	       str_copy(s->new_id[i], sizeof(s->new_id[0]), words);
}

/* The model is not there yet; lines come in its order. */
static bool sysfs_load(struct sim *s, unsigned n, char *words)
{
	struct sysfs_dev *d = &s->dev[n];
	uint64_t v[3];

	if (n >= GPUMODEL_MAX_DEVICES || !strsep(&words, " "))
		return false;
	for (unsigned i = 0; i < 3; i++) {
		char *word = words ? strsep(&words, " ") : NULL;

		if (!word || !str_u64(word, 1, &v[i]))
			return false;
	}
	d->control_auto = v[0];
	d->removed = v[1];
	d->d3cold = v[2];
	return str_copy(d->override, sizeof(d->override), words ? words : "");
}

/* Up to the model's own text, where it stops. */
static int head_load(struct sim *s, struct rd *text, struct err *err)
{
	struct rd line, before = *text;
	unsigned n = 0;

	while (rd_line(text, &line) && !(line.left > 8 && memcmp(line.p, "gpumodel", 8) == 0)) {
		char copy[1200], *rest = copy, *name;
		bool ok;

		before = *text;
		if (!str_copyn(copy, sizeof(copy), (const char *)line.p, line.left))
			return err_set(err, ERR_INVALID, "state: a line is too long");
		name = strsep(&rest, " ");
		if (str_eq(name, "gpusim"))
			ok = str_eq(rest, "1");
		else if (str_eq(name, "devices"))
			ok = str_copy(s->devices, sizeof(s->devices), rest ? rest : "");
		else if (str_eq(name, "drivers"))
			ok = rest && drivers_load(s, rest);
		else if (str_eq(name, "new-id"))
			ok = rest && new_id_load(s, rest);
		else
			ok = str_eq(name, "sysfs") && rest && sysfs_load(s, n++, rest);
		if (!ok)
			return err_set(err, ERR_INVALID, "state: line '%s'", str_printable(copy));
	}
	*text = before;
	return 0;
}

static int state_load(struct sim *s, struct err *err)
{
	AUTO_BUF text = BUF_INIT(STATE_MAX);
	struct gpumodel_config config = model_config(s);
	char path[300];
	struct rd in;

	path_of(s, "state", path);
	if (file_read(path, &text, err) < 0)
		return -1;
	in = buf_rd(&text);
	if (head_load(s, &in, err) < 0 || gpumodel_load(in, &config, &s->model, err) < 0)
		return err_wrap(err, "%s", path);
	if (s->opts.devices && !str_eq(s->opts.devices, s->devices))
		return err_set(err, ERR_INVALID, "%s holds the devices '%s', not '%s'",
			       s->state_dir, s->devices, s->opts.devices);
	s->opts.devices = s->devices;
	return 0;
}

/* --- a new machine --------------------------------------------------------------------------------- */

static int knob_option(struct sim *s, const char *text, struct err *err)
{
	unsigned id, value;
	int used = 0;
	bool any = false;

	if (sscanf(text, "%u=%u%n", &id, &value, &used) != 2 || text[used])
		return err_set(err, ERR_INVALID, "--knob: '%s' is not ID=VALUE", text);
	for (unsigned i = 0; i < gpumodel_count(s->model); i++)
		any |= gpumodel_knob_set(s->model, i, id, (uint16_t)value);
	return any ? 0 : err_set(err, ERR_INVALID, "--knob: no device has a knob %u", id);
}

/* Which driver of those that are loaded takes this device by itself; NULL for none. */
static const char *driver_of(const struct sim *s, unsigned dev)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);

	if (info->vendor != 0x10de || info->kind == GPUMODEL_OTHER)
		return NULL;
	if (str_eq(s->opts.driver, "nvidia"))
		return info->kind == GPUMODEL_GPU ? "nvidia" : "nvidia-nvswitch";
	return str_eq(s->opts.driver, "none") ? NULL : s->opts.driver;
}

static void driver_load(struct sim *s, const char *name)
{
	if (driver_index(s, name) < 0 && s->n_drivers < DRIVERS_MAX)
		str_copy(s->drivers[s->n_drivers++], sizeof(s->drivers[0]), name);
}

static int state_make(struct sim *s, struct err *err)
{
	struct gpumodel_config config = model_config(s);
	bool any = false;

	if (!s->opts.devices)
		return err_set(err, ERR_INVALID,
			       "--devices is needed where there is no saved state");
	if (gpumodel_new(s->opts.devices, &config, &s->model, err) < 0)
		return -1;
	driver_load(s, "vfio-pci");
	if (str_eq(s->opts.driver, "nvidia")) {
		driver_load(s, "nvidia");
		driver_load(s, "nvidia-nvswitch");
	} else if (!str_eq(s->opts.driver, "none")) {
		driver_load(s, s->opts.driver);
	}
	for (unsigned i = 0; i < gpumodel_count(s->model); i++) {
		const char *driver = driver_of(s, i);
		bool vfio = driver && strstr(driver, "vfio");

		gpumodel_driver_set(s->model, i, driver);
		gpumodel_d3_set(s->model, i,
				vfio || s->opts.d3); /* vfio-pci lets idle devices sleep */
		s->dev[i].control_auto = vfio || s->opts.d3;
		s->dev[i].d3cold = true;
		if (vfio)
			str_copy(s->dev[i].override, sizeof(s->dev[i].override), driver);
		any |= s->opts.mode && gpumodel_mode_set(s->model, i, s->opts.mode);
	}
	if (s->opts.mode && !any)
		return err_set(err, ERR_INVALID, "--mode: no device has a mode '%s'", s->opts.mode);
	for (size_t i = 0; i < s->opts.knobs.n; i++)
		if (knob_option(s, s->opts.knobs.item[i], err) < 0)
			return -1;
	return 0;
}

/* --- faults ---------------------------------------------------------------------------------------- */

static int faults_lock(const struct sim *s, struct err *err)
{
	char path[300];
	int fd;

	path_of(s, "faults.lock", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_errno(err, "%s", path);
	return fd;
}

static int faults_read(const struct sim *s, struct buf *text, struct err *err)
{
	char path[300];

	path_of(s, "faults", path);
	if (access(path, F_OK) < 0)
		return 0;
	return file_read(path, text, err);
}

int state_faults_reload(struct sim *s, struct err *err)
{
	AUTO_BUF text = BUF_INIT(FAULTS_MAX);

	if (faults_read(s, &text, err) < 0 ||
	    gpumodel_faults_load(s->model, buf_rd(&text), err) < 0)
		return -1;
	s->faults_serial = gpumodel_faults_serial(s->model);
	return 0;
}

/* `gpusim fault` rings at a FIFO beside the file.  (Of inotify's instances a host has 128, which many
 * machines side by side use up.) */
static int bell_open(struct sim *s, struct err *err)
{
	char path[300];

	path_of(s, "bell", path);
	if (mkfifo(path, 0600) < 0 && errno != EEXIST)
		return err_errno(err, "%s", path);
	s->bell_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return s->bell_fd < 0 ? err_errno(err, "%s", path) : 0;
}

/* Where nothing runs on the machine, nobody listens. */
static void bell_ring(const struct sim *s)
{
	char path[300];
	int fd;

	path_of(s, "bell", path);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "!", 1) != 1)
		complain("%s: %s", path, strerror(errno));
	close(fd);
}

/* Did somebody change the faults since we last looked? */
bool state_faults_changed(struct sim *s)
{
	bool changed = false;
	char bytes[64];

	while (read(s->bell_fd, bytes, sizeof(bytes)) > 0)
		changed = true;
	return changed;
}

int state_faults_store(struct sim *s, struct err *err)
{
	AUTO_FD lock = faults_lock(s, err);
	AUTO_BUF text = BUF_INIT(FAULTS_MAX);

	if (lock < 0 || (state_faults_changed(s) && state_faults_reload(s, err) < 0) ||
	    gpumodel_faults_save(s->model, &text, err) < 0)
		return -1;
	s->faults_serial = gpumodel_faults_serial(s->model);
	return publish(s, "faults", &text, err);
}

/* --- opening --------------------------------------------------------------------------------------- */

static int folder_open(struct sim *s, struct err *err)
{
	char path[300];

	if (s->opts.state_dir) {
		if (!str_copy(s->state_dir, sizeof(s->state_dir), s->opts.state_dir))
			return err_set(err, ERR_INVALID, "--state: path too long");
		if (file_mkdirs(s->state_dir, 0755, err) < 0)
			return -1;
	} else {
		str_copy(s->state_dir, sizeof(s->state_dir), "/tmp/gpusim.XXXXXX");
		if (!mkdtemp(s->state_dir))
			return err_errno(err, "a temporary folder");
		s->state_temporary = true;
	}
	path_of(s, "lock", path);
	if (file_lock(path, &s->lock_fd, err) < 0)
		return err_wrap(err, "state folder in use");
	return 0;
}

int state_open(struct sim *s, struct err *err)
{
	char path[300];

	if (folder_open(s, err) < 0)
		return -1;
	path_of(s, "state", path);
	s->state_new = access(path, F_OK) < 0;
	if (s->state_new ? state_make(s, err) < 0 : state_load(s, err) < 0)
		return -1;
	if (bell_open(s, err) < 0 || state_faults_reload(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->opts.faults.n; i++)
		if (gpumodel_fault_add(s->model, s->opts.faults.item[i], err) < 0)
			return err_wrap(err, "--fault");
	if (s->opts.faults.n && state_faults_store(s, err) < 0)
		return -1;
	state_resets_finish(s);
	return state_save(s, err);
}

void state_close(struct sim *s)
{
	static const char *const files[] = { "state", "faults", "faults.lock", "lock", "bell" };
	char path[300];

	gpumodel_free(s->model);
	if (!s->state_temporary)
		return;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		path_of(s, files[i], path);
		unlink(path);
	}
	rmdir(s->state_dir);
}

/* --- gpusim fault ---------------------------------------------------------------------------------- */

/* The machine as it was saved last, to check a fault's text against; its lock is not taken. */
int state_peek(struct sim *s, const char *dir, struct err *err)
{
	if (!str_copy(s->state_dir, sizeof(s->state_dir), dir))
		return err_set(err, ERR_INVALID, "--state: path too long");
	return state_load(s, err);
}

static int fault_edit(struct sim *s, const char *verb, const char *what, struct err *err)
{
	AUTO_FD lock = faults_lock(s, err);
	AUTO_BUF text = BUF_INIT(FAULTS_MAX), out = BUF_INIT(FAULTS_MAX);

	if (lock < 0 || faults_read(s, &text, err) < 0 ||
	    gpumodel_faults_load(s->model, buf_rd(&text), err) < 0)
		return -1;
	if (str_eq(verb, "add") && gpumodel_fault_add(s->model, what, err) < 0)
		return -1;
	if (str_eq(verb, "clear"))
		gpumodel_fault_clear(s->model, what);
	if (gpumodel_faults_save(s->model, &out, err) < 0)
		return -1;
	if (str_eq(verb, "list"))
		return fputs(buf_str(&out), stdout) < 0 ? err_errno(err, "stdout") : 0;
	if (publish(s, "faults", &out, err) < 0)
		return -1;
	bell_ring(s);
	return 0;
}

const char faults_help[] =
	"Faults, NAME[=VALUE][,KEY=VALUE]...:\n"
	"  rpc-error=STATUS       the firmware answers with this status\n"
	"  no-answer, stuck-queue it takes the command and is silent; it does not take it\n"
	"  short-answer, long-answer, wrong-answer=type|echo|length\n"
	"  rpc-slow=MS            it takes so much longer\n"
	"  inband-denied          knob writes from the host are refused\n"
	"  boot-never, mode-sticks, recovery\n"
	"  all-ones, badf, sec-fault  what BAR0 reads\n"
	"  reset-errno=ERRNO      EBUSY ENOTTY EAGAIN EINVAL EIO ETIMEDOUT\n"
	"  reset-slow=MS          a reset takes so much longer\n"
	"  held, gone             somebody has the device open; it fell off the bus\n"
	"Keys:\n"
	"  dev=BDF|gpu|switch|all, count=N (strikes), skip=N (that it lets pass first),\n"
	"  from=start|write|reset|boot, knob=N (of an RPC), reg=OFFSET (all-ones, badf)";

int faults_command(int argc, char **argv)
{
	static const struct opt opts[] = {
		{ .name = "state",
		  .type = OPT_STRING,
		  .offset = offsetof(struct options, state_dir),
		  .arg = "DIR",
		  .required = true,
		  .help = "the state folder of a machine" },
	};
	static const struct opts_program program = {
		.name = "gpusim fault",
		.usage = "--state DIR add SPEC | clear [NAME] | list",
		.summary =
			"Adds, clears or lists faults, also while a command runs on the machine.",
		.epilog = faults_help,
		.opts = opts,
		.n_opts = ARRAY_LEN(opts),
	};
	AUTO_MEM struct sim *s = calloc(1, sizeof(*s));
	struct err err = ERR_INIT;
	int n = 0, r;

	if (!s)
		return EXIT_GPUSIM;
	switch (opts_parse(&program, argc, argv, getenv, &s->opts, &n)) {
	case OPTS_OK:
		break;
	case OPTS_DONE:
		return 0;
	case OPTS_BAD:
		return EXIT_USAGE;
	}
	if (n < 1 ||
	    (!str_eq(argv[0], "add") && !str_eq(argv[0], "clear") && !str_eq(argv[0], "list")) ||
	    (str_eq(argv[0], "add") ? n != 2 : n > 2)) {
		opts_complain(&program, "expected add SPEC, clear [NAME] or list");
		return EXIT_USAGE;
	}
	r = state_peek(s, s->opts.state_dir, &err) < 0 ||
	    fault_edit(s, argv[0], n > 1 ? argv[1] : NULL, &err) < 0;
	if (r)
		complain("%s", err_text(&err));
	gpumodel_free(s->model);
	return !r ? 0 : err.kind == ERR_INVALID ? EXIT_USAGE : EXIT_GPUSIM;
}
