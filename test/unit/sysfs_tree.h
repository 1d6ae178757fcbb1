/* SPDX-License-Identifier: Apache-2.0 */
/* sysfs_tree - a machine of plain files in a temporary folder: <root>/sys, <root>/proc, <root>/state.
 * Nothing answers in BAR0, and no kernel reacts to what is written. */
#pragma once
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "pci/pci.h"

struct tree {
	char root[64], sysfs[96], state[96];
	struct pci_host host;
};

UNUSED static void tree_new(struct tree *t)
{
	struct err err = ERR_INIT;

	strcpy(t->root, "/tmp/gpucc-tree-XXXXXX");
	cr_assert(mkdtemp(t->root));
	snprintf(t->sysfs, sizeof(t->sysfs), "%s/sys", t->root);
	snprintf(t->state, sizeof(t->state), "%s/state", t->root);
	t->host = (struct pci_host){ t->sysfs, t->root, t->state };
	cr_assert_eq(file_mkdirs(t->sysfs, 0755, &err), 0);
}

UNUSED static void tree_free(struct tree *t)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", t->root);
	cr_assert_eq(system(command), 0);
}

/* A file below the root, its folders made; the content may be NULL for a folder. */
UNUSED static void tree_put(struct tree *t, const char *name, const char *content)
{
	char path[512], folder[512];
	struct err err = ERR_INIT;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	strcpy(folder, path);
	if (content)
		*strrchr(folder, '/') = '\0';
	cr_assert_eq(file_mkdirs(folder, 0755, &err), 0, "%s", err_text(&err));
	if (!content)
		return;
	f = fopen(path, "w");
	cr_assert(f, "%s", path);
	fputs(content, f);
	fclose(f);
}

UNUSED static void tree_link(struct tree *t, const char *name, const char *target)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	unlink(path);
	cr_assert_eq(symlink(target, path), 0, "%s", path);
}

UNUSED static const char *tree_get(struct tree *t, const char *name)
{
	static char text[512];
	char path[512];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	f = fopen(path, "r");
	cr_assert(f, "%s", path);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

/* One function with the usual attributes and 4096 bytes of configuration space. */
UNUSED static void tree_function(struct tree *t, const char *bdf, unsigned device, unsigned class24)
{
	unsigned char config[4096] = { 0xde, 0x10, device & 0xff, device >> 8, 2, 0, 0x10, 0 };
	char name[256], text[64];
	FILE *f;

#define PUT(attribute, ...)                                                                        \
	snprintf(text, sizeof(text), __VA_ARGS__);                                                 \
	snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/%s", bdf, attribute);                 \
	tree_put(t, name, text)
	PUT("vendor", "0x10de\n");
	PUT("device", "0x%04x\n", device);
	PUT("class", "0x%06x\n", class24);
	PUT("revision", "0xa1\n");
	PUT("subsystem_vendor", "0x10de\n");
	PUT("subsystem_device", "0x16c1\n");
	PUT("reset", "%s", "");
	PUT("reset_method", "flr bus\n");
	PUT("driver_override", "(null)\n");
	PUT("power/control", "auto\n");
	snprintf(name, sizeof(name), "sys/bus/pci/devices/%s/resource", bdf);
	tree_put(t, name,
		 "0x20000000 0x20ffffff 0x14220c\n0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n"
		 "0x0 0x0 0x0\n0x0 0x0 0x0\n0x0 0x0 0x0\n");
	config[0x34] = 0x60;
	config[0x60] = 1; /* power management, at the list's end */
	PUT("config", "%s", "");
	snprintf(name, sizeof(name), "%s/sys/bus/pci/devices/%s/config", t->root, bdf);
	f = fopen(name, "w");
	cr_assert(f && fwrite(config, sizeof(config), 1, f) == 1);
	fclose(f);
	PUT("resource0", "%s", "");
	snprintf(name, sizeof(name), "%s/sys/bus/pci/devices/%s/resource0", t->root, bdf);
	cr_assert_eq(truncate(name, 16 << 20), 0);
#undef PUT
}
