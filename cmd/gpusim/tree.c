/* SPDX-License-Identifier: Apache-2.0 */
/* tree - the files below /sys.  Reading them is reading files; this file keeps them true.  Those whose
 * writes mean something are remembered by inode, so that any path and any descriptor leads to them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/str.h"
#include "sim.h"

#define PATH_SIZE      256
#define RESOURCE_LINES 13 /* BARs, ROM, and those of virtual functions */

int driver_index(const struct sim *s, const char *name)
{
	for (unsigned i = 0; i < s->n_drivers; i++)
		if (str_eq(s->drivers[i], name))
			return (int)i;
	return -1;
}

/* --- writing files --------------------------------------------------------------------------------- */

static void path_join(char out[PATH_SIZE], const char *dir, const char *name)
{
	size_t n = strlen(dir);

	str_copy(out, PATH_SIZE, dir);
	if (n + 1 < PATH_SIZE) {
		out[n] = '/';
		str_copy(out + n + 1, PATH_SIZE - n - 1, name);
	}
}

static void put(const char *path, const char *text, mode_t mode)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		complain("%s: %s", path, strerror(errno));
}

PRINTF(3, 4) static void putf(const char *dir, const char *name, const char *fmt, ...)
{
	char path[PATH_SIZE], text[2048];
	va_list args;

	path_join(path, dir, name);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put(path, text, 0444);
}

PRINTF(1, 2) static void dir_make(const char *fmt, ...)
{
	char path[PATH_SIZE];
	struct err err = ERR_INIT;
	va_list args;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	if (file_mkdirs(path, 0755, &err) < 0)
		complain("%s", err_text(&err));
}

static void link_make(const char *target, const char *path)
{
	unlink(path);
	if (symlink(target, path) < 0)
		complain("%s: %s", path, strerror(errno));
}

/* Remembers a file that answers to writes. */
static void node_add(struct sim *s, const char *path, enum attr attr, int dev, int driver)
{
	struct node *n = &s->node[s->n_nodes];
	struct stat st;

	if (stat(path, &st) < 0 || s->n_nodes == NODES_MAX) {
		complain("%s: not there", path);
		return;
	}
	*n = (struct node){ st.st_ino, attr, dev, driver, -1 };
	if (attr == ATTR_CONFIG)
		n->fd = open(path, O_WRONLY | O_CLOEXEC);
	s->n_nodes++;
}

static void attr_make(struct sim *s, const char *dir, const char *name, const char *text,
		      mode_t mode, enum attr attr, int dev, int driver)
{
	char path[PATH_SIZE];

	path_join(path, dir, name);
	put(path, text, mode);
	node_add(s, path, attr, dev, driver);
}

/* --- one device ------------------------------------------------------------------------------------ */

static void device_dir(const struct sim *s, unsigned dev, char out[PATH_SIZE])
{
	const char *bdf = gpumodel_info(s->model, dev)->bdf;

	snprintf(out, PATH_SIZE, "/sys/devices/pci%.7s/%s", bdf, bdf);
}

static const char *const resource_names[GPUMODEL_BARS] = { "resource0", "resource1", "resource2",
							   "resource3", "resource4", "resource5" };

static void resources_make(struct sim *s, unsigned dev, const char *dir)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	char path[PATH_SIZE], text[RESOURCE_LINES * 60];
	size_t at = 0;

	for (unsigned i = 0; i < RESOURCE_LINES; i++) {
		struct gpumodel_bar bar =
			i < GPUMODEL_BARS ? info->bar[i] : (struct gpumodel_bar){ 0 };
		uint64_t end = bar.size ? bar.start + bar.size - 1 : 0;

		at += (size_t)snprintf(text + at, sizeof(text) - at,
				       "0x%016" PRIx64 " 0x%016" PRIx64 " 0x%016" PRIx64 "\n",
				       bar.start, end, bar.flags);
		if (!bar.size)
			continue;
		path_join(path, dir, resource_names[i]);
		put(path, "", 0600);
		if (truncate(path, (off_t)bar.size) < 0)
			complain("%s: %s", path, strerror(errno));
		if (i == 0 && info->kind != GPUMODEL_OTHER)
			node_add(s, path, ATTR_RESOURCE0, (int)dev, -1);
	}
	putf(dir, "resource", "%s", text);
}

static void facts_make(const struct gpumodel_info *i, const char *dir)
{
	putf(dir, "vendor", "0x%04x\n", i->vendor);
	putf(dir, "device", "0x%04x\n", i->device);
	putf(dir, "subsystem_vendor", "0x%04x\n", i->subvendor);
	putf(dir, "subsystem_device", "0x%04x\n", i->subdevice);
	putf(dir, "class", "0x%06x\n", i->class);
	putf(dir, "revision", "0xa1\n");
	putf(dir, "irq", "%u\n", 16 + i->iommu_group);
	putf(dir, "numa_node", "%d\n", i->numa_node);
	putf(dir, "local_cpulist", "0-1\n");
	putf(dir, "enable", "0\n");
	putf(dir, "msi_bus", "1\n");
	putf(dir, "ari_enabled", "0\n");
	putf(dir, "broken_parity_status", "0\n");
	putf(dir, "dma_mask_bits", "32\n");
	putf(dir, "consistent_dma_mask_bits", "32\n");
	putf(dir, "current_link_speed", "32.0 GT/s PCIe\n");
	putf(dir, "max_link_speed", "32.0 GT/s PCIe\n");
	putf(dir, "current_link_width", "16\n");
	putf(dir, "max_link_width", "16\n");
	if (i->class == 0x030000)
		putf(dir, "boot_vga", "0\n");
	putf(dir, "modalias", "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X\n", i->vendor, i->device,
	     i->subvendor, i->subdevice, i->class >> 16, i->class >> 8 & 0xff, i->class & 0xff);
	putf(dir, "uevent",
	     "PCI_CLASS=%X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\nPCI_SLOT_NAME=%s\n",
	     i->class, i->vendor, i->device, i->subvendor, i->subdevice, i->bdf);
}

static void group_make(const struct gpumodel_info *info, const char *dir, bool there)
{
	char path[PATH_SIZE], target[PATH_SIZE];

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%u/devices/%s", info->iommu_group,
		 info->bdf);
	if (!there) {
		unlink(path);
		return;
	}
	dir_make("/sys/kernel/iommu_groups/%u/devices", info->iommu_group);
	snprintf(target, sizeof(target), "../../../../devices/pci%.7s/%s", info->bdf, info->bdf);
	link_make(target, path);
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%u", info->iommu_group);
	putf(path, "type", "DMA-FQ\n");
	path_join(path, dir, "iommu_group");
	snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%u", info->iommu_group);
	link_make(target, path);
}

static void writable_make(struct sim *s, unsigned dev, const char *dir)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	char text[64], power[PATH_SIZE];
	int d = (int)dev;

	attr_make(s, dir, "config", "", 0644, ATTR_CONFIG, d, -1);
	memset(s->config_cache[dev], 0xa5, GPUMODEL_CFG_BYTES); /* so that all of it is written */
	tree_config_refresh(s, &s->node[s->n_nodes - 1]);
	if (info->reset_method[0]) {
		attr_make(s, dir, "reset", "", 0200, ATTR_RESET, d, -1);
		snprintf(text, sizeof(text), "%s\n", info->reset_method);
		attr_make(s, dir, "reset_method", text, 0644, ATTR_RESET_METHOD, d, -1);
	}
	attr_make(s, dir, "driver_override", "(null)\n", 0644, ATTR_OVERRIDE, d, -1);
	attr_make(s, dir, "remove", "", 0220, ATTR_REMOVE, d, -1);
	attr_make(s, dir, "rescan", "", 0220, ATTR_DEV_RESCAN, d, -1);
	attr_make(s, dir, "d3cold_allowed", "1\n", 0644, ATTR_D3COLD, d, -1);
	path_join(power, dir, "power");
	dir_make("%s", power);
	attr_make(s, power, "control", "on\n", 0644, ATTR_POWER_CONTROL, d, -1);
}

void tree_device_add(struct sim *s, unsigned dev)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	char dir[PATH_SIZE], path[PATH_SIZE], target[PATH_SIZE];

	device_dir(s, dev, dir);
	dir_make("%s", dir);
	facts_make(info, dir);
	resources_make(s, dev, dir);
	writable_make(s, dev, dir);
	group_make(info, dir, true);
	path_join(path, dir, "subsystem");
	link_make("../../../bus/pci", path);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", info->bdf);
	snprintf(target, sizeof(target), "../../../devices/pci%.7s/%s", info->bdf, info->bdf);
	link_make(target, path);
	tree_sync(s, dev);
}

/* The folder and what is in it; links are not followed. */
static void dir_remove(const char *path)
{
	DIR *dir = opendir(path);
	char below[PATH_SIZE];
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		path_join(below, path, e->d_name);
		if (e->d_type == DT_DIR)
			dir_remove(below);
		else
			unlink(below);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void nodes_forget(struct sim *s, unsigned dev)
{
	for (unsigned i = s->n_nodes; i-- > 0;) {
		if (s->node[i].dev != (int)dev)
			continue;
		if (s->node[i].fd >= 0)
			close(s->node[i].fd);
		s->node[i] = s->node[--s->n_nodes];
	}
}

void tree_device_remove(struct sim *s, unsigned dev)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	char dir[PATH_SIZE], path[PATH_SIZE];

	nodes_forget(s, dev);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", info->bdf);
	unlink(path);
	device_dir(s, dev, dir);
	dir_remove(dir);
	group_make(info, dir, false);
	tree_sync(s, dev);
}

/* --- what changes ---------------------------------------------------------------------------------- */

static void sync_driver(struct sim *s, unsigned dev, const char *dir, bool there)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	const char *driver = there ? gpumodel_driver(s->model, dev) : NULL;
	char path[PATH_SIZE], target[PATH_SIZE];

	for (unsigned i = 0; i < s->n_drivers; i++) {
		snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/%s", s->drivers[i],
			 info->bdf);
		if (!str_eq(driver, s->drivers[i])) {
			unlink(path);
			continue;
		}
		snprintf(target, sizeof(target), "../../../../devices/pci%.7s/%s", info->bdf,
			 info->bdf);
		link_make(target, path);
	}
	path_join(path, dir, "driver");
	unlink(path);
	if (!driver)
		return;
	snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
	link_make(target, path);
}

/* The file that a user of the device opens: its VFIO group, or the node of NVIDIA's driver. */
static bool held_path(struct sim *s, unsigned dev, char out[PATH_SIZE])
{
	const char *driver = gpumodel_driver(s->model, dev);

	if (driver && strstr(driver, "vfio"))
		snprintf(out, PATH_SIZE, "/dev/vfio/%u", gpumodel_info(s->model, dev)->iommu_group);
	else if (driver && str_starts(driver, "nvidia"))
		snprintf(out, PATH_SIZE, "/dev/nvidia%u", dev);
	else
		return false;
	return true;
}

static void sync_holder(struct sim *s, unsigned dev, bool there)
{
	bool held = there && gpumodel_fault_active(s->model, dev, "held");
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/dev/vfio/%u", gpumodel_info(s->model, dev)->iommu_group);
	if (!there || !gpumodel_driver(s->model, dev) ||
	    !strstr(gpumodel_driver(s->model, dev), "vfio"))
		unlink(path);
	if (there && held_path(s, dev, path)) {
		if (access(path, F_OK) < 0)
			put(path, "", 0600);
	} else {
		held = false;
	}
	if (held && s->holder[dev] <= 0) {
		s->holder[dev] = holder_start(path);
	} else if (!held && s->holder[dev] > 0) {
		holder_stop(s->holder[dev]);
		s->holder[dev] = 0;
	}
	gpumodel_held_set(s->model, dev, held);
}

static void sync_power(struct sim *s, unsigned dev, const char *dir)
{
	bool d3 = gpumodel_d3(s->model, dev);
	char path[PATH_SIZE];

	path_join(path, dir, "power/control");
	put(path, s->dev[dev].control_auto ? "auto\n" : "on\n", 0644);
	putf(dir, "power/runtime_status", "%s\n", d3 ? "suspended" : "active");
	putf(dir, "power_state", "%s\n", d3 ? "D3hot" : "D0");
}

void tree_sync(struct sim *s, unsigned dev)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	char dir[PATH_SIZE];
	bool there = !s->dev[dev].removed;

	device_dir(s, dev, dir);
	sync_driver(s, dev, dir, there);
	sync_holder(s, dev, there);
	if (!there)
		return;
	sync_power(s, dev, dir);
	putf(dir, "driver_override", "%s\n",
	     s->dev[dev].override[0] ? s->dev[dev].override : "(null)");
	putf(dir, "d3cold_allowed", "%d\n", s->dev[dev].d3cold);
	if (info->reset_method[0])
		putf(dir, "reset_method", "%s\n", info->reset_method);
}

void tree_config_refresh(struct sim *s, const struct node *node)
{
	uint8_t now[GPUMODEL_CFG_BYTES], *cache = s->config_cache[node->dev];
	size_t first = 0, end = GPUMODEL_CFG_BYTES;

	gpumodel_cfg_peek(s->model, (unsigned)node->dev, now);
	if (memcmp(now, cache, sizeof(now)) == 0)
		return;
	while (now[first] == cache[first])
		first++;
	while (now[end - 1] == cache[end - 1])
		end--;
	memcpy(cache + first, now + first, end - first);
	if (pwrite(node->fd, now + first, end - first, (off_t)first) != (ssize_t)(end - first))
		complain("config space: %s", strerror(errno));
}

/* Somebody opened the file with O_TRUNC, which means nothing in sysfs. */
void tree_rewrite(struct sim *s, const struct node *node)
{
	if (node->attr == ATTR_CONFIG) {
		memset(s->config_cache[node->dev], 0xa5, GPUMODEL_CFG_BYTES);
		tree_config_refresh(s, node);
	} else if (node->dev >= 0) {
		tree_sync(s, (unsigned)node->dev);
	}
}

/* --- finding --------------------------------------------------------------------------------------- */

struct node *tree_node_of(struct sim *s, const struct stat *st)
{
	if (st->st_dev != s->tree_dev)
		return NULL;
	for (unsigned i = 0; i < s->n_nodes; i++)
		if (s->node[i].inode == st->st_ino)
			return &s->node[i];
	return S_ISREG(st->st_mode) ? &s->read_only : NULL;
}

struct node *tree_node(struct sim *s, pid_t tid, int fd)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
	return stat(path, &st) < 0 ? NULL : tree_node_of(s, &st);
}

/* --- all of it ------------------------------------------------------------------------------------- */

/* A device that went is no longer in the tree; when the fault is over it is as if plugged in. */
void tree_faults(struct sim *s)
{
	for (unsigned i = 0; i < gpumodel_count(s->model); i++) {
		bool gone = gpumodel_fault_active(s->model, i, "gone");

		if (gone && !s->dev[i].gone && !s->dev[i].removed) {
			s->dev[i].gone = s->dev[i].removed = true;
			gpumodel_driver_set(s->model, i, NULL);
			tree_device_remove(s, i);
		} else if (!gone && s->dev[i].gone) {
			s->dev[i] = (struct sysfs_dev){ .d3cold = true };
			tree_device_add(s, i);
		} else if (gpumodel_fault_active(s->model, i, "held") != (s->holder[i] > 0)) {
			tree_sync(s, i);
		}
	}
}

static void drivers_make(struct sim *s)
{
	char dir[PATH_SIZE];

	for (unsigned i = 0; i < s->n_drivers; i++) {
		snprintf(dir, sizeof(dir), "/sys/bus/pci/drivers/%s", s->drivers[i]);
		dir_make("%s", dir);
		attr_make(s, dir, "bind", "", 0200, ATTR_BIND, -1, (int)i);
		attr_make(s, dir, "unbind", "", 0200, ATTR_UNBIND, -1, (int)i);
		attr_make(s, dir, "new_id", "", 0200, ATTR_NEW_ID, -1, (int)i);
		attr_make(s, dir, "remove_id", "", 0200, ATTR_REMOVE_ID, -1, (int)i);
		dir_make("/sys/module/%s/parameters", s->drivers[i]);
	}
}

static void host_make(struct sim *s)
{
	static const char *const lockdown[] = { "[none] integrity confidentiality\n",
						"none [integrity] confidentiality\n",
						"none integrity [confidentiality]\n" };

	if (s->opts.host_tee == TEE_SNP) {
		dir_make("/sys/module/kvm_amd/parameters");
		putf("/sys/module/kvm_amd/parameters", "sev_snp", "Y\n");
	} else if (s->opts.host_tee == TEE_TDX) {
		dir_make("/sys/module/kvm_intel/parameters");
		putf("/sys/module/kvm_intel/parameters", "tdx", "Y\n");
	}
	dir_make("/sys/kernel/security");
	putf("/sys/kernel/security", "lockdown", "%s", lockdown[s->opts.lockdown]);
}

int tree_enter(struct sim *s, struct err *err)
{
	struct stat st;

	if (ns_enter(err) < 0 || (s->init_pid = ns_pids(err)) < 0)
		return -1;
	if (ns_mount_sys(err) < 0 || ns_mount_dev(err) < 0)
		return -1;
	if (stat("/sys", &st) < 0)
		return err_errno(err, "/sys");
	s->tree_dev = st.st_dev;
	s->read_only = (struct node){ .attr = ATTR_READ_ONLY, .dev = -1, .driver = -1, .fd = -1 };
	put("/dev/vfio/vfio", "", 0666);
	dir_make("/sys/bus/pci/devices");
	dir_make("/sys/bus/pci/drivers");
	dir_make("/sys/kernel/iommu_groups");
	dir_make("/sys/module");
	attr_make(s, "/sys/bus/pci", "rescan", "", 0220, ATTR_RESCAN, -1, -1);
	attr_make(s, "/sys/bus/pci", "drivers_probe", "", 0200, ATTR_PROBE, -1, -1);
	putf("/sys/bus/pci", "drivers_autoprobe", "1\n");
	drivers_make(s);
	host_make(s);
	for (unsigned i = 0; i < gpumodel_count(s->model); i++)
		if (!s->dev[i].removed)
			tree_device_add(s, i);
	tree_faults(s);
	return 0;
}
