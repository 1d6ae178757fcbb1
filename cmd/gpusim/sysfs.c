/* SPDX-License-Identifier: Apache-2.0 */
/* sysfs - what the kernel does when something is written to the tree: reset, bind, power, config space.
 * Errors are the kernel's. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "sim.h"

static bool is_vfio(const char *driver)
{
	return driver && strstr(driver, "vfio");
}

/* A driver takes a device when the override says so, or, without one, by a table of ids. */
static bool driver_matches(const struct sim *s, int driver, unsigned dev)
{
	const struct gpumodel_info *info = gpumodel_info(s->model, dev);
	const char *name = s->drivers[driver];
	char id[32];

	if (s->dev[dev].override[0])
		return str_eq(s->dev[dev].override, name);
	snprintf(id, sizeof(id), "%04x %04x", info->vendor, info->device);
	if (s->new_id[driver][0] && str_eq(s->new_id[driver], id))
		return true;
	if (info->vendor != 0x10de)
		return false;
	return info->kind == GPUMODEL_SWITCH ? str_eq(name, "nvidia-nvswitch")
	       : info->kind == GPUMODEL_GPU  ? str_eq(name, "nvidia") || str_eq(name, "nouveau")
					     : false;
}

static void bound(struct sim *s, unsigned dev, int driver)
{
	gpumodel_driver_set(s->model, dev, s->drivers[driver]);
	s->dev[dev].control_auto = is_vfio(s->drivers[driver]);
	gpumodel_d3_set(s->model, dev,
			s->dev[dev].control_auto); /* idle devices of vfio-pci sleep */
	tree_sync(s, dev);
	trace_line(s, gpumodel_info(s->model, dev)->bdf, "bound", s->drivers[driver]);
}

static void unbound(struct sim *s, unsigned dev)
{
	trace_line(s, gpumodel_info(s->model, dev)->bdf, "unbound",
		   gpumodel_driver(s->model, dev) ? gpumodel_driver(s->model, dev) : "");
	gpumodel_driver_set(s->model, dev, NULL);
	s->dev[dev].control_auto = false;
	gpumodel_d3_set(s->model, dev, false);
	tree_sync(s, dev);
}

static int device_named(const struct sim *s, const char *bdf)
{
	int dev = gpumodel_find(s->model, bdf);

	return dev >= 0 && s->dev[dev].removed ? -1 : dev;
}

static long bind_write(struct sim *s, int driver, const char *bdf, size_t n)
{
	int dev = device_named(s, bdf);

	if (dev < 0 || !driver_matches(s, driver, (unsigned)dev))
		return -ENODEV;
	if (gpumodel_driver(s->model, (unsigned)dev))
		return -EBUSY;
	bound(s, (unsigned)dev, driver);
	return (long)n;
}

static long unbind_write(struct sim *s, int driver, const char *bdf, size_t n, struct op *op)
{
	int dev = device_named(s, bdf);

	if (dev < 0 || !str_eq(gpumodel_driver(s->model, (unsigned)dev), s->drivers[driver]))
		return -ENODEV;
	if (!gpumodel_fault_active(s->model, (unsigned)dev, "held")) {
		unbound(s, (unsigned)dev);
		return (long)n;
	}
	*op = (struct op){
		.kind = OP_UNBIND, .dev = (unsigned)dev, .due_us = UINT64_MAX, .result = (long)n
	};
	return ATTR_WAITS;
}

static void probe(struct sim *s, unsigned dev)
{
	for (unsigned i = 0; i < s->n_drivers && !gpumodel_driver(s->model, dev); i++)
		if (driver_matches(s, (int)i, dev))
			bound(s, dev, (int)i);
}

static long probe_write(struct sim *s, const char *bdf, size_t n)
{
	int dev = device_named(s, bdf);

	if (dev < 0)
		return -ENODEV;
	probe(s, (unsigned)dev);
	return (long)n;
}

static long new_id_write(struct sim *s, int driver, const char *text, size_t n)
{
	unsigned vendor, device;

	if (sscanf(text, "%x %x", &vendor, &device) != 2)
		return -EINVAL;
	snprintf(s->new_id[driver], sizeof(s->new_id[0]), "%04x %04x", vendor & 0xffff,
		 device & 0xffff);
	for (unsigned i = 0; i < gpumodel_count(s->model); i++)
		if (!s->dev[i].removed)
			probe(s, i);
	return (long)n;
}

static long remove_id_write(struct sim *s, int driver, const char *text, size_t n)
{
	char id[32];
	unsigned vendor, device;

	if (sscanf(text, "%x %x", &vendor, &device) != 2)
		return -EINVAL;
	snprintf(id, sizeof(id), "%04x %04x", vendor & 0xffff, device & 0xffff);
	if (!str_eq(id, s->new_id[driver]))
		return -ENODEV;
	s->new_id[driver][0] = '\0';
	return (long)n;
}

static bool says_one(const char *text)
{
	return str_eq(text, "1") || str_eq(text, "y") || str_eq(text, "Y") || str_eq(text, "on");
}

static void reset_begin(struct sim *s, struct op *op)
{
	uint64_t took_ms = 0;
	int r = gpumodel_reset_begin(s->model, op->dev, &took_ms);

	op->begun = true;
	op->due_us = now_us() + 1000 * took_ms;
	if (r < 0)
		op->result = r;
}

static long reset_write(struct sim *s, unsigned dev, const char *text, size_t n, struct op *op)
{
	if (!says_one(text))
		return -EINVAL;
	if (s->dev[dev].removed)
		return -ENODEV;
	*op = (struct op){ .kind = OP_RESET, .dev = dev, .due_us = UINT64_MAX, .result = (long)n };
	if (!gpumodel_resetting(s->model,
				dev)) /* else it waits for the other reset, as in the kernel */
		reset_begin(s, op);
	return ATTR_WAITS;
}

static long remove_write(struct sim *s, unsigned dev, const char *text, size_t n)
{
	if (!says_one(text))
		return -EINVAL;
	if (gpumodel_driver(s->model, dev))
		unbound(s, dev);
	s->dev[dev].removed = true;
	tree_device_remove(s, dev);
	return (long)n;
}

static long rescan_write(struct sim *s, const char *text, size_t n)
{
	if (!says_one(text))
		return -EINVAL;
	for (unsigned i = 0; i < gpumodel_count(s->model); i++) {
		if (!s->dev[i].removed || gpumodel_fault_active(s->model, i, "gone"))
			continue;
		s->dev[i] = (struct sysfs_dev){ .d3cold = true };
		tree_device_add(s, i);
		probe(s, i);
	}
	return (long)n;
}

static long control_write(struct sim *s, unsigned dev, const char *text, size_t n)
{
	const char *driver = gpumodel_driver(s->model, dev);

	if (!str_eq(text, "on") && !str_eq(text, "auto"))
		return -EINVAL;
	s->dev[dev].control_auto = str_eq(text, "auto");
	/* without a driver nothing puts the device to sleep */
	gpumodel_d3_set(s->model, dev, s->dev[dev].control_auto && is_vfio(driver));
	tree_sync(s, dev);
	return (long)n;
}

static long override_write(struct sim *s, unsigned dev, const char *text, size_t n)
{
	if (!str_copy(s->dev[dev].override, sizeof(s->dev[dev].override), text))
		return -EINVAL;
	tree_sync(s, dev);
	return (long)n;
}

static long reset_method_write(struct sim *s, unsigned dev, const char *text, size_t n)
{
	int r = gpumodel_reset_method_set(s->model, dev, text);

	tree_sync(s, dev);
	return r < 0 ? r : (long)n;
}

/* In the pieces that the kernel makes: up to a dword each, none across a dword. */
static long config_write(struct sim *s, unsigned dev, const uint8_t *bytes, size_t n,
			 uint64_t offset)
{
	if (s->opts.lockdown != LOCKDOWN_NONE)
		return -EPERM;
	if (offset >= GPUMODEL_CFG_BYTES)
		return 0;
	if (n > GPUMODEL_CFG_BYTES - offset)
		n = GPUMODEL_CFG_BYTES - offset;
	for (size_t at = 0; at < n;) {
		uint32_t where = (uint32_t)(offset + at), value = 0;
		unsigned width = where % 2 || n - at < 2 ? 1 : where % 4 || n - at < 4 ? 2 : 4;

		memcpy(&value, bytes + at, width);
		gpumodel_cfg_write(s->model, dev, where, width, value);
		at += width;
	}
	return (long)n;
}

long attr_write(struct sim *s, const struct node *node, const char *text, size_t n, uint64_t offset,
		struct op *op)
{
	unsigned dev = (unsigned)node->dev;
	char copy[256], *trimmed;

	if (node->attr == ATTR_CONFIG)
		return config_write(s, dev, (const uint8_t *)text, n, offset);
	str_copyn(copy, sizeof(copy), text, n);
	trimmed = str_trim(copy);
	switch (node->attr) {
	case ATTR_RESET:
		return reset_write(s, dev, trimmed, n, op);
	case ATTR_RESET_METHOD:
		return reset_method_write(s, dev, trimmed, n);
	case ATTR_OVERRIDE:
		return override_write(s, dev, trimmed, n);
	case ATTR_REMOVE:
		return remove_write(s, dev, trimmed, n);
	case ATTR_RESCAN:
	case ATTR_DEV_RESCAN:
		return rescan_write(s, trimmed, n);
	case ATTR_POWER_CONTROL:
		return control_write(s, dev, trimmed, n);
	case ATTR_D3COLD:
		s->dev[dev].d3cold = says_one(trimmed);
		tree_sync(s, dev);
		return (long)n;
	case ATTR_BIND:
		return bind_write(s, node->driver, trimmed, n);
	case ATTR_UNBIND:
		return unbind_write(s, node->driver, trimmed, n, op);
	case ATTR_NEW_ID:
		return new_id_write(s, node->driver, trimmed, n);
	case ATTR_REMOVE_ID:
		return remove_id_write(s, node->driver, trimmed, n);
	case ATTR_PROBE:
		return probe_write(s, trimmed, n);
	default:
		return -EIO; /* as sysfs says of files without a store function */
	}
}

bool attr_op_ready(struct sim *s, struct op *op, uint64_t at_us)
{
	if (op->kind == OP_UNBIND)
		return !gpumodel_fault_active(s->model, op->dev, "held");
	if (!op->begun && !gpumodel_resetting(s->model, op->dev))
		reset_begin(s, op);
	return op->begun && at_us >= op->due_us;
}

void attr_op_finish(struct sim *s, struct op *op)
{
	if (op->kind == OP_UNBIND) {
		if (gpumodel_driver(s->model, op->dev))
			unbound(s, op->dev);
	} else if (op->begun && op->result >= 0) {
		gpumodel_reset_end(s->model, op->dev);
		tree_sync(s, op->dev);
	}
}
