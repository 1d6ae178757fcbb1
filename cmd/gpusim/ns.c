/* SPDX-License-Identifier: Apache-2.0 */
/* ns - namespaces of our own: an empty /sys that keeps what programs need of the real one, an empty
 * /dev/vfio, processes that see only each other, and among them those that hold a device open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/str.h"
#include "sim.h"

static int proc_write(const char *path, const char *text, struct err *err)
{
	return file_write_attr(path, text, err);
}

static int user_namespace(struct err *err)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return err_errno(err, "a user and mount namespace");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (proc_write("/proc/self/uid_map", map, err) < 0 ||
	    proc_write("/proc/self/setgroups", "deny", err) < 0)
		return -1;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return proc_write("/proc/self/gid_map", map, err);
}

int ns_enter(struct err *err)
{
	/* root of a container may lack the right, and can still have a user namespace */
	bool entered = geteuid() == 0 && unshare(CLONE_NEWNS) == 0;

	if (!entered && user_namespace(err) < 0)
		return -1;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	if (errno == EINVAL)
		return err_set(err, ERR_UNSUPPORTED,
			       "/ is no mount point, as in a plain chroot, so mounts cannot be kept "
			       "private; bind the folder onto itself before entering it");
	return err_errno(err, "making mounts private");
}

/* Binds `name` of the folder `old` onto `to`, folders with all below them. */
static bool keep(int old, const char *name, const char *to)
{
	char from[300];

	snprintf(from, sizeof(from), "/proc/self/fd/%d/%s", old, name);
	return mount(from, to, NULL, MS_BIND | MS_REC, NULL) == 0;
}

/* What runtimes read at start; where the host lacks one, so does the simulated machine. */
static const char *const kept[] = { "fs", "devices/system", "kernel/mm", "module" };

int ns_mount_sys(struct err *err)
{
	AUTO_FD old = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0)
		return err_errno(err, "/sys");
	if (mount("gpusim", "/sys", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=755,size=64m") < 0)
		return err_errno(err, "mounting over /sys");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		char to[300];

		if (str_eq(kept[i], "module") || faccessat(old, kept[i], F_OK, 0) < 0)
			continue;
		snprintf(to, sizeof(to), "/sys/%s", kept[i]);
		if (file_mkdirs(to, 0755, err) < 0)
			return -1;
		if (!keep(old, kept[i], to))
			rmdir(to);
	}
	return 0;
}

/* A copy of one entry of /dev in our own. */
static void dev_entry(int old, const struct dirent *e, const char *to)
{
	char target[256], path[300];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", to, e->d_name);
	if (e->d_type == DT_LNK) {
		n = readlinkat(old, e->d_name, target, sizeof(target) - 1);
		if (n > 0) {
			target[n] = '\0';
			if (symlink(target, path) < 0)
				complain("%s: %s", path, strerror(errno));
		}
		return;
	}
	if (e->d_type == DT_DIR)
		mkdir(path, 0755);
	else
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	if (!keep(old, e->d_name, path))
		unlinkat(AT_FDCWD, path, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
}

/* Real devices of the kinds that are simulated stay out of sight. */
static bool dev_hidden(const char *name)
{
	return str_eq(name, ".") || str_eq(name, "..") || str_eq(name, "vfio") ||
	       str_starts(name, "nvidia");
}

/* /dev made anew from its old entries: what is added to it must not appear on the host. */
int ns_mount_dev(struct err *err)
{
	AUTO_FD old = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = old < 0 ? NULL : fdopendir(fcntl(old, F_DUPFD_CLOEXEC, 0));
	struct dirent *e;

	if (!dir)
		return err_errno(err, "/dev");
	if (mount("gpusim", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755") < 0) {
		closedir(dir);
		return err_errno(err, "mounting over /dev");
	}
	while ((e = readdir(dir)))
		if (!dev_hidden(e->d_name))
			dev_entry(old, e, "/dev");
	closedir(dir);
	return file_mkdirs("/dev/vfio", 0755, err);
}

/* Everything started from now on sees only each other: who has a device open is looked for in /proc, where
 * the same /dev/vfio/10 may be another machine's, and most processes may not be looked into.  The first
 * one reaps what its parents left behind; the kernel ends all others with it. */
pid_t ns_pids(struct err *err)
{
	pid_t pid = unshare(CLONE_NEWPID) < 0 ? -1 : fork();

	if (pid < 0)
		return err_errno(err, "a process namespace");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "gpusim-init");
	signal(SIGCHLD, SIG_IGN);
	close_range(0, ~0u, 0);
	for (;;)
		pause();
}

/* By the command itself, in a mount namespace that is its alone: we go on reading the host's /proc.
 * Where a container has parts of /proc covered, the kernel forbids it. */
int ns_mount_proc(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return -1;
	return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* A process that does nothing but keep `path` open, as a virtual machine would.  It is opened before
 * the fork, so that it is held when this returns. */
pid_t holder_start(const char *path)
{
	AUTO_FD fd = open(path, O_RDWR | O_CLOEXEC);
	pid_t pid = fd < 0 ? -1 : fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "gpusim-holder");
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	dup2(fd, 0);
	close_range(1, ~0u, 0); /* our locks, pipes and files are none of its business */
	for (;;)
		pause();
}

void holder_stop(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
