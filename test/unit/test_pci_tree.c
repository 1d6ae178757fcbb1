/* SPDX-License-Identifier: Apache-2.0 */
/* Discovery, drivers, holders, locks and power on a tree of plain files. */
#include <errno.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"
#include "pci/pci.h"
#include "sysfs_tree.h"
#include "table.h"

#define GPU "0000:41:00.0"
#define DEV "sys/bus/pci/devices/" GPU

static struct bdf gpu_bdf(void)
{
	return (struct bdf){ .bus = 0x41 };
}

Test(pci_tree, finds_one_vendors_functions_in_order)
{
	struct tree t;
	struct pci_list list;
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_function(&t, "0000:c1:00.0", 0x2330, 0x030200);
	tree_function(&t, GPU, 0x22a3, 0x068000);
	tree_function(&t, "10000:01:00.0", 0x2901, 0x030200);
	tree_function(&t, "0000:02:00.0", 0x1021, 0x020000);
	tree_put(&t, "sys/bus/pci/devices/0000:02:00.0/vendor", "0x15b3\n");
	tree_put(&t, "sys/bus/pci/devices/not-a-device/vendor", "0x10de\n");
	cr_assert_eq(pci_scan(&t.host, PCI_VENDOR_NVIDIA, &list, &err), 0, "%s", err_text(&err));
	cr_assert_eq(list.n, 3);
	cr_assert_str_eq(bdf_str(list.item[0].bdf), GPU);
	cr_assert_str_eq(bdf_str(list.item[1].bdf), "0000:c1:00.0");
	cr_assert_str_eq(bdf_str(list.item[2].bdf), "10000:01:00.0");
	cr_assert_eq(list.item[1].device, 0x2330);
	cr_assert_eq(list.item[1].class24, 0x030200);
	cr_assert_eq(list.item[1].subsys_device, 0x16c1);
	cr_assert_eq(list.item[1].bar0_bytes, 0x1000000);
	cr_assert(list.item[1].has_pm);
	cr_assert_eq(list.item[1].reset_first, PCI_RESET_FLR);
	cr_assert_str_eq(list.item[1].error, "");
	pci_list_clear(&list);
	tree_free(&t);
}

Test(pci_tree, a_function_that_cannot_be_read_hides_no_other)
{
	struct tree t;
	struct pci_list list;
	struct err err = ERR_INIT;
	char path[256];

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	tree_function(&t, "0000:42:00.0", 0x2330, 0x030200);
	snprintf(path, sizeof(path), "%s/" DEV "/vendor", t.root);
	unlink(path);
	cr_assert_eq(pci_scan(&t.host, PCI_VENDOR_NVIDIA, &list, &err), 0);
	cr_assert_eq(list.n, 2);
	cr_assert_not(list.item[0].ids_known);
	cr_assert(strstr(list.item[0].error, "vendor"), "%s", list.item[0].error);
	cr_assert(list.item[1].ids_known);
	pci_list_clear(&list);
	tree_free(&t);
}

Test(pci_tree, no_tree_is_an_error)
{
	struct pci_host host = { "/nonexistent", "/", "/tmp" };
	struct pci_list list;
	struct err err = ERR_INIT;

	cr_assert_eq(pci_scan(&host, 0, &list, &err), -1);
	cr_assert(strstr(err_text(&err), "/nonexistent/bus/pci/devices"), "%s", err_text(&err));
}

Test(pci_tree, configuration_space_is_read_and_written)
{
	struct tree t;
	struct pci_device d;
	struct err err = ERR_INIT;
	uint32_t v32;
	uint16_t v16;
	uint8_t v8;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_sysfs_open(&t.host, gpu_bdf(), &d, &err), 0, "%s", err_text(&err));
	cr_assert_eq(d.cfg_bytes, 4096);
	cr_assert_eq(pci_cfg_read32(&d, 0, &v32, &err), 0);
	cr_assert_eq(v32, 0x233010de);
	cr_assert_eq(pci_cfg_write16(&d, 4, 0x0406, &err), 0);
	cr_assert_eq(pci_cfg_read16(&d, 4, &v16, &err), 0);
	cr_assert_eq(v16, 0x0406);
	cr_assert_eq(pci_cfg_write8(&d, 0xfff, 0x5a, &err), 0);
	cr_assert_eq(pci_cfg_read8(&d, 0xfff, &v8, &err), 0);
	cr_assert_eq(v8, 0x5a);
	cr_assert_eq(pci_cfg_read32(&d, 2, &v32, &err), -1, "unaligned");
	cr_assert_eq(pci_cfg_read32(&d, 4096, &v32, &err), -1, "outside");
	pci_device_close(&d);
	pci_device_close(&d);
	cr_assert_eq(pci_cfg_read8(&d, 0, &v8, &err), -1, "closed");
	tree_free(&t);
}

Test(pci_tree, bar0_is_mapped_and_bounded)
{
	struct tree t;
	struct pci_device d;
	struct err err = ERR_INIT;
	char path[256];

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_sysfs_open(&t.host, gpu_bdf(), &d, &err), 0);
	cr_assert_eq(pci_rd32(&d, 0), UINT32_MAX, "not mapped yet");
	cr_assert_eq(pci_bar0_map(&d, &err), 0, "%s", err_text(&err));
	pci_wr32(&d, 0x8f2c10, 0x12345678);
	cr_assert_eq(pci_rd32(&d, 0x8f2c10), 0x12345678);
	cr_assert_eq(pci_rd32(&d, 0xfffffc), 0);
	cr_assert_eq(pci_rd32(&d, 0x1000000), UINT32_MAX, "outside");
	cr_assert_eq(pci_rd32(&d, 2), UINT32_MAX, "unaligned");
	pci_wr32(&d, 0x1000000, 1);
	pci_device_close(&d);
	/* A short file would be SIGBUS. */
	snprintf(path, sizeof(path), "%s/" DEV "/resource0", t.root);
	cr_assert_eq(truncate(path, 4096), 0);
	cr_assert_eq(pci_sysfs_open(&t.host, gpu_bdf(), &d, &err), 0);
	cr_assert_eq(pci_bar0_map(&d, &err), -1);
	cr_assert(strstr(err_text(&err), "4096 bytes"), "%s", err_text(&err));
	pci_device_close(&d);
	tree_free(&t);
}

static void collect(void *arg, const char *line)
{
	char *out = arg;

	snprintf(out + strlen(out), 1000 - strlen(out), "%s\n", strchr(line, ' ') + 1);
}

static const char *name_of(void *arg UNUSED, uint32_t off)
{
	return off == 0x590 ? "MODE" : NULL;
}

Test(pci_tree, a_trace_says_each_access_by_name)
{
	struct tree t;
	struct pci_device d;
	struct err err = ERR_INIT;
	char log[1000] = "";
	uint16_t v;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_sysfs_open(&t.host, gpu_bdf(), &d, &err), 0);
	cr_assert_eq(pci_trace(&d, name_of, collect, log, &err), 0);
	cr_assert_eq(pci_cfg_read16(&d, 4, &v, &err), 0);
	cr_assert_eq(pci_bar0_map(&d, &err), 0);
	pci_wr32(&d, 0x590, 5);
	cr_assert_eq(pci_rd32(&d, 0x590), 5);
	pci_rd32(&d, 0x594);
	cr_assert_str_eq(log,
			 "cfg read  0x000004 - = 0x00000002\nwrite 0x000590 MODE := 0x00000005\n"
			 "read  0x000590 MODE = 0x00000005\nread  0x000594 - = 0x00000000\n");
	pci_device_close(&d);
	tree_free(&t);
}

Test(pci_tree, reset_errors_are_explained)
{
	struct tree t;
	struct pci_device d;
	struct err err = ERR_INIT;
	char path[256];

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_sysfs_open(&t.host, gpu_bdf(), &d, &err), 0);
	cr_assert_eq(pci_reset(&d, &err), 0);
	cr_assert_str_eq(tree_get(&t, DEV "/reset"), "1");
	snprintf(path, sizeof(path), "%s/" DEV "/reset", t.root);
	unlink(path);
	cr_assert_eq(pci_reset(&d, &err), -1);
	cr_assert(strstr(err_text(&err), "knows no way to reset it"), "%s", err_text(&err));
	pci_device_close(&d);
	tree_free(&t);
}

Test(pci_tree, power_is_remembered_and_put_back)
{
	struct tree t;
	struct pci_device d;
	struct pci_power saved;
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_sysfs_open(&t.host, gpu_bdf(), &d, &err), 0);
	cr_assert_eq(pci_power_on(&d, &saved, &err), 0, "%s", err_text(&err));
	cr_assert_str_eq(saved.control, "auto");
	cr_assert_eq(strncmp(tree_get(&t, DEV "/power/control"), "on", 2), 0);
	cr_assert_eq(pci_power_restore(&d, &saved, &err), 0);
	cr_assert_eq(strncmp(tree_get(&t, DEV "/power/control"), "auto", 4), 0);
	pci_device_close(&d);
	tree_free(&t);
}

Test(pci_tree, drivers_are_told_by_their_link)
{
	struct tree t;
	char driver[PCI_NAME_BYTES];
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_driver_current(&t.host, gpu_bdf(), driver, &err), 0);
	cr_assert_str_eq(driver, "");
	cr_assert_eq(pci_driver_unbind(&t.host, gpu_bdf(), &err), 0, "nothing to do");
	tree_put(&t, "sys/bus/pci/drivers/vfio-pci/unbind", "");
	tree_link(&t, DEV "/driver", "../../drivers/vfio-pci");
	cr_assert_eq(pci_driver_current(&t.host, gpu_bdf(), driver, &err), 0);
	cr_assert_str_eq(driver, "vfio-pci");
	/* No kernel takes the link away: the write alone is not believed. */
	cr_assert_eq(pci_driver_unbind(&t.host, gpu_bdf(), &err), -1);
	cr_assert_eq(err.kind, ERR_BUSY, "%s", err_text(&err));
	cr_assert_str_eq(tree_get(&t, "sys/bus/pci/drivers/vfio-pci/unbind"), GPU);
	cr_assert_eq(pci_driver_bind(&t.host, gpu_bdf(), "vfio-pci", &err), 0, "bound already");
	cr_assert_eq(pci_driver_bind(&t.host, gpu_bdf(), "nvidia", &err), -1);
	cr_assert_eq(err.kind, ERR_BUSY);
	tree_free(&t);
}

Test(pci_tree, a_bind_that_did_not_happen_is_told)
{
	struct tree t;
	char override_[PCI_NAME_BYTES];
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	tree_put(&t, "sys/bus/pci/drivers_probe", "");
	cr_assert_eq(pci_driver_bind(&t.host, gpu_bdf(), "vfio-pci", &err), -1);
	cr_assert(strstr(err_text(&err), "binding to vfio-pci") &&
			  strstr(err_text(&err), "not loaded"),
		  "%s", err_text(&err));
	cr_assert_str_eq(tree_get(&t, "sys/bus/pci/drivers_probe"), GPU);
	cr_assert_eq(pci_driver_override_get(&t.host, gpu_bdf(), override_, &err), 0);
	tree_free(&t);
}

static const struct {
	const char *driver;
	bool vfio;
} drivers[] = {
	{ "vfio-pci", true }, { "nvgrace-gpu-vfio-pci", true }, { "nvgrace_gpu_vfio_pci", true },
	{ "nvidia", false },  { "nvidia-vgpu-vfio", false },	{ "nouveau", false },
	{ "", false },	      { "snd_hda_intel", false },
};

TABLE_TEST(pci_tree, vfio_drivers_are_known, drivers)
{
	struct tree t;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	cr_assert_eq(pci_driver_is_vfio(&t.host, gpu_bdf(), row->driver), row->vfio, "%s",
		     row->driver);
	tree_free(&t);
}

static const struct {
	const char *name, *driver, *target;
	bool held;
} holders[] = {
	{ "nobody", "vfio-pci", NULL, false },
	{ "its group", "vfio-pci", "/dev/vfio/77001", true },
	{ "its group without IOMMU", "vfio-pci", "/dev/vfio/noiommu-77001", true },
	{ "another group", "vfio-pci", "/dev/vfio/77002", false },
	{ "a longer number", "vfio-pci", "/dev/vfio/770011", false },
	{ "the container node", "vfio-pci", "/dev/vfio/vfio", false },
	{ "its cdev", "vfio-pci", "/dev/vfio/devices/vfio77003", true },
	{ "its minor", "nvidia", "/dev/nvidia5", true },
	{ "another minor", "nvidia", "/dev/nvidia6", false },
	{ "the control node", "nvidia", "/dev/nvidiactl", false },
	{ "a minor, but vfio has it", "vfio-pci", "/dev/nvidia5", false },
	{ "a file of such a name", "vfio-pci", "/tmp/dev/vfio/77001", false },
};

TABLE_TEST(pci_tree, holders_are_named, holders)
{
	struct tree t;
	struct pci_info info = { .bdf = gpu_bdf(), .class24 = 0x030200 };
	struct pci_holder holder;
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_function(&t, GPU, 0x2330, 0x030200);
	tree_put(&t, DEV "/vfio-dev/vfio77003", NULL);
	tree_put(&t, "proc/driver/nvidia/gpus/" GPU "/information",
		 "Model: \t H100\nDevice Minor: \t 5\n");
	tree_put(&t, "proc/812/comm", "qemu-system-x86\n");
	tree_put(&t, "proc/812/fd", NULL);
	tree_put(&t, "proc/self/fd", NULL);
	tree_put(&t, "proc/9/comm", "vanished\n");
	str_copy(info.driver, sizeof(info.driver), row->driver);
	str_copy(info.iommu_group, sizeof(info.iommu_group), "77001");
	if (row->target)
		tree_link(&t, "proc/812/fd/33", row->target);
	cr_assert_eq(pci_holders(&t.host, &info, 1, &holder, &err), 0, "%s: %s", row->name,
		     err_text(&err));
	cr_assert_eq(holder.pid, row->held ? 812 : 0, "%s: pid %d", row->name, (int)holder.pid);
	if (row->held) {
		cr_assert_str_eq(holder.comm, "qemu-system-x86");
		cr_assert_str_eq(holder.path, row->target);
	}
	tree_free(&t);
}

Test(pci_tree, a_lock_is_one_process_at_a_time)
{
	struct tree t;
	struct pci_lock a, b;
	struct err err = ERR_INIT;
	volatile sig_atomic_t stop = 1;

	tree_new(&t);
	cr_assert_eq(pci_lock_try(&t.host, gpu_bdf(), &a, &err), 0, "%s", err_text(&err));
	cr_assert_eq(pci_lock_try(&t.host, gpu_bdf(), &b, &err), -1);
	cr_assert_eq(err.kind, ERR_BUSY);
	cr_assert(strstr(err_text(&err), "(pid "), "%s", err_text(&err));
	cr_assert_eq(pci_lock_wait(&t.host, gpu_bdf(), 30, NULL, NULL, NULL, &b, &err), -1);
	cr_assert_eq(err.kind, ERR_BUSY);
	cr_assert_eq(pci_lock_wait(&t.host, gpu_bdf(), 10000, &stop, NULL, NULL, &b, &err), -1);
	cr_assert_eq(err.kind, ERR_INTERRUPTED);
	pci_lock_drop(&a);
	cr_assert_eq(pci_lock_wait(&t.host, gpu_bdf(), 0, NULL, NULL, NULL, &b, &err), 0, "%s",
		     err_text(&err));
	pci_lock_drop(&b);
	pci_lock_drop(&b);
	tree_free(&t);
}

static const struct {
	const char *text; /* NULL: no such file */
	int lockdown;	  /* -1: an error */
} lockdowns[] = {
	{ NULL, PCI_LOCKDOWN_NONE },
	{ "[none] integrity confidentiality\n", PCI_LOCKDOWN_NONE },
	{ "none [integrity] confidentiality\n", PCI_LOCKDOWN_INTEGRITY },
	{ "none integrity [confidentiality]\n", PCI_LOCKDOWN_CONFIDENTIALITY },
	{ "none [paranoid]\n", -1 },
	{ "", PCI_LOCKDOWN_NONE },
};

TABLE_TEST(pci_tree, lockdown, lockdowns)
{
	struct tree t;
	enum pci_lockdown lockdown;
	struct err err = ERR_INIT;
	int r;

	tree_new(&t);
	if (row->text)
		tree_put(&t, "sys/kernel/security/lockdown", row->text);
	r = pci_host_lockdown(&t.host, &lockdown, &err);
	cr_assert_eq(r, row->lockdown < 0 ? -1 : 0, "%s", row->text);
	if (!r)
		cr_assert_eq((int)lockdown, row->lockdown, "%s", row->text);
	tree_free(&t);
}

static const struct {
	const char *tdx, *snp;
	enum pci_host_tee tee;
} tees[] = {
	{ NULL, NULL, PCI_HOST_TEE_NONE },   { "Y\n", NULL, PCI_HOST_TEE_TDX },
	{ "1\n", "N\n", PCI_HOST_TEE_TDX },  { "N\n", "y\n", PCI_HOST_TEE_SNP },
	{ "0\n", "0\n", PCI_HOST_TEE_NONE }, { NULL, "YES\n", PCI_HOST_TEE_NONE },
};

TABLE_TEST(pci_tree, host_tee, tees)
{
	struct tree t;
	enum pci_host_tee tee;
	struct err err = ERR_INIT;

	tree_new(&t);
	if (row->tdx)
		tree_put(&t, "sys/module/kvm_intel/parameters/tdx", row->tdx);
	if (row->snp)
		tree_put(&t, "sys/module/kvm_amd/parameters/sev_snp", row->snp);
	cr_assert_eq(pci_host_tee(&t.host, &tee, &err), 0);
	cr_assert_eq(tee, row->tee);
	tree_free(&t);
}
