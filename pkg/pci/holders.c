/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holders - who has a device open, by one walk over the descriptors of all processes.
 *
 * The nodes of a function: /dev/vfio/<group>, /dev/vfio/noiommu-<group>, /dev/vfio/devices/vfio<n>,
 * and /dev/nvidia<minor> while NVIDIA's driver has it.  The same name in another container may be
 * another device, so where we see the node too it must be the same one.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "pci/pci.h"

#define NODE_BYTES   80
#define N_NODES	     8
#define CLASS_BRIDGE 0x068000
#define INFO_BYTES   4096 /* /proc/driver/nvidia/gpus/<bdf>/information */

struct nodes { /* of one function */
	char path[N_NODES][NODE_BYTES];
	size_t n;
	const char *any_after; /* NULL, or what any number may follow: "/dev/nvidia" */
};

static void dir_close(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void node_add(struct nodes *nodes, const char *before, const char *name)
{
	if (nodes->n < N_NODES)
		snprintf(nodes->path[nodes->n++], NODE_BYTES, "%s%.60s", before, name);
}

static void cdevs_add(const struct pci_host *h, struct bdf b, struct nodes *nodes)
{
	char path[PCI_PATH_BYTES];
	struct err err = ERR_INIT;
	const struct dirent *e;
	CLEANUP(dir_close) DIR *dir = NULL;

	if (pci_path(h, b, "vfio-dev", path, &err) < 0 || !(dir = opendir(path)))
		return;
	while ((e = readdir(dir)))
		if (str_starts(e->d_name, "vfio"))
			node_add(nodes, "/dev/vfio/devices/", e->d_name);
}

/* "Device Minor: \t 3" */
static void nvidia_add(const struct pci_host *h, const struct pci_info *info, struct nodes *nodes)
{
	char path[PCI_PATH_BYTES], minor[8] = "";
	struct err err = ERR_INIT;
	const char *p;
	AUTO_BUF text = BUF_INIT(INFO_BYTES);

	if (!str_starts(info->driver, "nvidia") && strcmp(info->driver, "nouveau") != 0)
		return;
	nodes->any_after = info->class24 == CLASS_BRIDGE ? "/dev/nvidia-nvswitch" : "/dev/nvidia";
	snprintf(path, sizeof(path), "%s/proc/driver/nvidia/gpus/%s/information", h->host_root,
		 bdf_str(info->bdf));
	if (file_read(path, &text, &err) < 0 || !(p = strstr(buf_str(&text), "Device Minor:")))
		return;
	if (sscanf(p, "Device Minor: %7[0-9]", minor) == 1) {
		node_add(nodes, "/dev/nvidia", minor);
		nodes->any_after = NULL;
	}
}

static void nodes_find(const struct pci_host *h, const struct pci_info *info, struct nodes *out)
{
	*out = (struct nodes){ 0 };
	if (*info->iommu_group) {
		node_add(out, "/dev/vfio/", info->iommu_group);
		node_add(out, "/dev/vfio/noiommu-", info->iommu_group);
	}
	cdevs_add(h, info->bdf, out);
	nvidia_add(h, info, out);
}

static bool is_node(const struct nodes *nodes, const char *path)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (strcmp(nodes->path[i], path) == 0)
			return true;
	return nodes->any_after && str_starts(path, nodes->any_after) &&
	       isdigit((unsigned char)path[strlen(nodes->any_after)]);
}

static bool same_node(const struct stat *a, const struct stat *b)
{
	if (S_ISCHR(a->st_mode) || S_ISCHR(b->st_mode))
		return S_ISCHR(a->st_mode) && S_ISCHR(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

struct walk {
	const struct pci_host *host;
	const struct nodes *nodes;
	struct pci_holder *out;
	size_t n;
	int proc_fd;
	pid_t hidden; /* a process that we may not look into */
};

static void comm_read(int proc_fd, const char *pid, char out[17])
{
	char path[32];
	ssize_t n;
	AUTO_FD fd = -1;

	snprintf(path, sizeof(path), "%.10s/comm", pid);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, out, 16);
	out[n < 0 ? 0 : n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	str_printable(out);
}

static pid_t pid_of(const char *name)
{
	uint64_t pid = 0;

	return str_u64(name, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

static bool is_any_node(const struct walk *w, const char *path)
{
	for (size_t i = 0; i < w->n; i++)
		if (is_node(&w->nodes[i], path))
			return true;
	return false;
}

static void note_holder(struct walk *w, const char *pid, const char *path)
{
	for (size_t i = 0; i < w->n; i++) {
		struct pci_holder *holder = &w->out[i];

		if (holder->pid || !is_node(&w->nodes[i], path))
			continue;
		holder->pid = pid_of(pid);
		comm_read(w->proc_fd, pid, holder->comm);
		str_copy(holder->path, sizeof(holder->path), path);
	}
}

static bool folder_is_there(const char *path)
{
	char folder[PCI_PATH_BYTES];

	str_copy(folder, sizeof(folder), path);
	*strrchr(folder, '/') = '\0';
	return access(folder, F_OK) == 0;
}

/* Whether descriptor `fd` of the folder `dir_fd` is the node that we know by that name. */
static bool is_our_node(const struct walk *w, int dir_fd, const char *fd, const char *path)
{
	char ours[PCI_PATH_BYTES];
	struct stat we, they;

	snprintf(ours, sizeof(ours), "%s%s", w->host->host_root, path);
	/* Where the folder is there without the node, nobody can have it; else go by the name. */
	if (stat(ours, &we) < 0 && stat(path, &we) < 0)
		return !str_starts(path, "/dev/vfio/") ||
		       (!folder_is_there(ours) && !folder_is_there(path));
	return fstatat(dir_fd, fd, &they, 0) < 0 || same_node(&we, &they);
}

static void process_look(struct walk *w, const char *pid)
{
	char name[32], target[NODE_BYTES];
	const struct dirent *e;
	CLEANUP(dir_close) DIR *dir = NULL;
	int fd;

	snprintf(name, sizeof(name), "%.10s/fd", pid);
	fd = openat(w->proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !(dir = fdopendir(fd))) {
		if (errno == EACCES || errno == EPERM)
			w->hidden = pid_of(pid);
		return; /* else it has ended */
	}
	while ((e = readdir(dir))) {
		ssize_t n = readlinkat(fd, e->d_name, target, sizeof(target) - 1);

		if (n < 0 && (errno == EACCES || errno == EPERM))
			w->hidden = pid_of(pid);
		if (n <= 0)
			continue;
		target[n] = '\0';
		if (str_starts(target, "/dev/") && is_any_node(w, target) &&
		    is_our_node(w, fd, e->d_name, target))
			note_holder(w, pid, target);
	}
}

/* Without a driver nobody can use a device, even if a group's node is still open. */
static bool may_be_held(const struct pci_info *item, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (*item[i].driver)
			return true;
	return false;
}

/* With this right, only processes outside our user namespace stay hidden, and who is root in a
 * namespace of its own has simulated devices.  Without it, any process may be the holder. */
static bool may_look_into_processes(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 &&
	       (data[CAP_TO_INDEX(CAP_SYS_PTRACE)].effective & CAP_TO_MASK(CAP_SYS_PTRACE));
}

static int proc_walk(struct walk *w, const char *proc, struct err *err)
{
	const struct dirent *e;
	CLEANUP(dir_close) DIR *dir = opendir(proc);

	if (!dir)
		return err_errno(err, "%s", proc);
	w->proc_fd = dirfd(dir);
	while ((e = readdir(dir)))
		if (isdigit((unsigned char)e->d_name[0]))
			process_look(w, e->d_name);
	return 0;
}

int pci_holders(const struct pci_host *h, const struct pci_info *item, size_t n,
		struct pci_holder *out, struct err *err)
{
	AUTO_MEM struct nodes *nodes = calloc(n ? n : 1, sizeof(*nodes));
	struct walk w = { .host = h, .nodes = nodes, .out = out, .n = n };
	char proc[PCI_PATH_BYTES];
	size_t n_nodes = 0;

	if (!nodes)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++) {
		out[i] = (struct pci_holder){ 0 };
		if (!*item[i].driver)
			continue; /* unbinding waits until nobody has it open */
		nodes_find(h, &item[i], &nodes[i]);
		n_nodes += nodes[i].n + (nodes[i].any_after != NULL);
	}
	if (!n_nodes)
		return 0;
	snprintf(proc, sizeof(proc), "%s/proc", h->host_root);
	if (proc_walk(&w, proc, err) < 0)
		return err_wrap(err, "looking for who has devices open");
	if (w.hidden && may_be_held(item, n) && !may_look_into_processes())
		return err_set(
			err, ERR_DENIED,
			"looking for who has devices open: process %d shows no descriptors to us "
			"(CAP_SYS_PTRACE is needed)",
			(int)w.hidden);
	return 0;
}
