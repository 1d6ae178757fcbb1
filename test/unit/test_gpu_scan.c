/* SPDX-License-Identifier: Apache-2.0 */
/* Which functions are GPUs and NVSwitches, on a tree of plain files: kinds, names, filters, users, what
 * shares a reset. */
#include "gpu/chip.h"
#include "gpu/gpu.h"
#include "sysfs_tree.h"
#include "table.h"

#define AT(bdf) "sys/bus/pci/devices/" bdf

static struct gpu_list list; /* too large for a stack of a test */

static void scan(struct tree *t, const struct gpu_scan_opts *opts)
{
	struct err err = ERR_INIT;

	cr_assert_eq(gpu_scan(&t->host, opts, &list, &err), 0, "%s", err_text(&err));
}

Test(gpu_scan, sorts_functions_into_kinds)
{
	struct tree t;

	tree_new(&t);
	tree_function(&t, "0000:01:00.0", 0x2330, 0x030200);
	tree_function(&t, "0000:02:00.0", 0x2901, 0x030200);
	tree_function(&t, "0000:03:00.0", 0x20b2, 0x030200); /* no CC */
	tree_function(&t, "0000:04:00.0", 0x22a3, 0x068000);
	tree_function(&t, "0000:05:00.0", 0x1af9, 0x068000); /* 16 MiB of BAR0: no switch's */
	tree_function(&t, "0000:06:00.0", 0x22ba, 0x040300); /* audio */
	tree_function(&t, "0000:07:00.0", 0x2330, 0x030200); /* a virtual function */
	tree_link(&t, AT("0000:07:00.0") "/physfn", "../0000:01:00.0");
	tree_function(&t, "0000:08:00.0", 0x2348, 0x030200);
	tree_function(&t, "0000:09:00.0", 0x2c31, 0x030000);
	tree_put(&t, "proc/1/comm", "init\n");
	scan(&t, &(struct gpu_scan_opts){ 0 });
	cr_assert_eq(list.n, 6);
	cr_assert_str_eq(list.dev[0].name, "H100");
	cr_assert(list.dev[0].cc_capable && list.dev[0].ppcie_capable && list.dev[0].on_fabric);
	cr_assert_str_eq(list.dev[1].name, "B200");
	cr_assert(list.dev[1].cc_capable && !list.dev[1].ppcie_capable);
	cr_assert_str_eq(list.dev[2].name, "");
	cr_assert_not(list.dev[2].cc_capable);
	cr_assert_eq(list.dev[3].kind, GPU_KIND_NVSWITCH);
	cr_assert_str_eq(list.dev[4].name, "GH200");
	cr_assert_not(list.dev[4].on_fabric);
	cr_assert_str_eq(list.dev[5].name, "Generic-GB203");
	tree_free(&t);
}

Test(gpu_scan, filters_by_id_and_address)
{
	struct tree t;
	struct gpu_scan_opts opts = { .only = { .id = { 0x2331 }, .n = 1 } };
	struct bdf only[] = { { .bus = 2 }, { .bus = 9 } };
	struct err err = ERR_INIT;

	tree_new(&t);
	tree_function(&t, "0000:01:00.0", 0x2330, 0x030200);
	tree_function(&t, "0000:02:00.0", 0x2331, 0x030200);
	tree_function(&t, "0000:04:00.0", 0x22a3, 0x068000);
	tree_put(&t, "proc/1/comm", "init\n");
	scan(&t, &opts);
	cr_assert_eq(list.n, 2, "ids filter GPUs, never switches");
	opts = (struct gpu_scan_opts){ .only_bdf = only, .n_only_bdf = 1 };
	scan(&t, &opts);
	cr_assert_eq(list.n, 1);
	cr_assert_eq(list.dev[0].bdf.bus, 2);
	opts.n_only_bdf = 2;
	cr_assert_eq(gpu_scan(&t.host, &opts, &list, &err), -1);
	cr_assert_eq(err.kind, ERR_NOT_FOUND);
	cr_assert(strstr(err_text(&err), "0000:09:00.0"), "%s", err_text(&err));
	cr_assert_eq(list.n, 0);
	tree_free(&t);
}

Test(gpu_scan, a_listed_id_counts_as_capable)
{
	struct tree t;
	struct gpu_scan_opts opts = { .capable = { .id = { 0x4000 }, .n = 1 } };

	tree_new(&t);
	tree_function(&t, "0000:01:00.0", 0x4000, 0x030200);
	tree_function(&t, "0000:02:00.0", 0x2331, 0x030200);
	tree_put(&t, "proc/1/comm", "init\n");
	scan(&t, &opts);
	cr_assert(list.dev[0].cc_capable && !list.dev[0].chip);
	cr_assert(list.dev[1].cc_capable, "never takes one away");
	tree_free(&t);
}

static const struct {
	const char *name, *driver, *holds;
	const char *in_use; /* "" free */
} users[] = {
	{ "no driver", NULL, NULL, "" },
	{ "vfio, idle", "vfio-pci", NULL, "" },
	{ "vfio, held", "vfio-pci", "/dev/vfio/77001",
	  "process 812 (qemu-kvm) has /dev/vfio/77001 open" },
	{ "nvidia", "nvidia", NULL, "bound to driver nvidia" },
	{ "nouveau", "nouveau", NULL, "bound to driver nouveau" },
	{ "nvidia-vgpu-vfio", "nvidia-vgpu-vfio", NULL, "bound to driver nvidia-vgpu-vfio" },
};

TABLE_TEST(gpu_scan, says_who_uses_a_device, users)
{
	struct tree t;
	char link[128];

	tree_new(&t);
	tree_function(&t, "0000:01:00.0", 0x2330, 0x030200);
	tree_link(&t, AT("0000:01:00.0") "/iommu_group", "../../../kernel/iommu_groups/77001");
	snprintf(link, sizeof(link), "../../drivers/%s", row->driver ? row->driver : "");
	if (row->driver)
		tree_link(&t, AT("0000:01:00.0") "/driver", link);
	tree_put(&t, "proc/812/comm", "qemu-kvm\n");
	tree_put(&t, "proc/812/fd", NULL);
	if (row->holds)
		tree_link(&t, "proc/812/fd/9", row->holds);
	scan(&t, &(struct gpu_scan_opts){ 0 });
	cr_assert_str_eq(list.dev[0].driver, row->driver ? row->driver : "", "%s", row->name);
	cr_assert_str_eq(list.dev[0].in_use, row->in_use, "%s: %s", row->name, list.dev[0].in_use);
	tree_free(&t);
}

static const struct {
	const char *method;
	bool grouped; /* with the other function of its bus */
} resets[] = { { "flr bus\n", false },
	       { "bus\n", true },
	       { "cxl_bus\n", true },
	       { "pm bus\n", false },
	       { "\n", false } };

TABLE_TEST(gpu_scan, a_bus_reset_is_shared, resets)
{
	struct tree t;

	tree_new(&t);
	tree_function(&t, "0000:01:00.0", 0x2330, 0x030200);
	tree_function(&t, "0000:01:01.0", 0x2330, 0x030200);
	tree_function(&t, "0000:02:00.0", 0x2330, 0x030200);
	tree_put(&t, AT("0000:01:00.0") "/reset_method", row->method);
	tree_put(&t, AT("0000:01:01.0") "/reset_method", row->method);
	tree_put(&t, AT("0000:02:00.0") "/reset_method", row->method);
	tree_put(&t, "proc/1/comm", "init\n");
	scan(&t, &(struct gpu_scan_opts){ 0 });
	cr_assert_eq(list.dev[0].reset_group != 0, row->grouped, "%s", row->method);
	cr_assert_eq(list.dev[0].reset_group, list.dev[1].reset_group, "%s", row->method);
	if (row->grouped)
		cr_assert_neq(list.dev[0].reset_group, list.dev[2].reset_group);
	tree_free(&t);
}

Test(gpu_scan, more_than_a_node_has_is_an_error)
{
	struct tree t;
	struct err err = ERR_INIT;
	char bdf[16];

	tree_new(&t);
	for (unsigned i = 0; i <= GPU_MAX_DEVICES; i++) {
		snprintf(bdf, sizeof(bdf), "0000:%02x:00.0", i);
		tree_function(&t, bdf, 0x2330, 0x030200);
	}
	cr_assert_eq(gpu_scan(&t.host, &(struct gpu_scan_opts){ 0 }, &list, &err), -1);
	cr_assert(strstr(err_text(&err), "more than 64"), "%s", err_text(&err));
	tree_free(&t);
}

/* Every range's both ends, and one beyond. */
static const struct {
	uint16_t id;
	const char *chip; /* NULL: none */
} chips[] = {
	{ 0x22ef, NULL },    { 0x22f0, "gh100" }, { 0x237f, "gh100" }, { 0x2380, NULL },
	{ 0x2900, "gb100" }, { 0x297f, "gb100" }, { 0x2980, "gb102" }, { 0x29ff, "gb102" },
	{ 0x3180, "gb110" }, { 0x31ff, "gb110" }, { 0x3200, "gb112" }, { 0x327f, "gb112" },
	{ 0x2b80, "gb202" }, { 0x2bff, "gb202" }, { 0x2c00, "gb203" }, { 0x2c7f, "gb203" },
	{ 0x2f00, "gb205" }, { 0x2f7f, "gb205" }, { 0x2d00, "gb206" }, { 0x2d7f, "gb206" },
	{ 0x2d80, "gb207" }, { 0x2dff, "gb207" }, { 0x2e00, NULL },    { 0x20b2, NULL },
	{ 0x26b9, NULL },
};

TABLE_TEST(gpu_scan, chips_go_by_id, chips)
{
	const struct gpu_chip *chip = gpu_chip_of_id(row->id);

	cr_assert_eq(chip != NULL, row->chip != NULL, "%04x", row->id);
	if (chip)
		cr_assert_str_eq(chip->name, row->chip);
}
