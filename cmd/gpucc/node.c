/* SPDX-License-Identifier: Apache-2.0 */
/* node - this machine's devices for one command: found, locked, asked. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "gpucc.h"

int command_begin(const struct opts_program *program, int argc, char **argv, void *opts,
		  struct common *common, int *n_args)
{
	struct err err = ERR_INIT;

	switch (opts_parse(program, argc, argv, getenv, opts, n_args)) {
	case OPTS_DONE:
		return EXIT_OK;
	case OPTS_BAD:
		return EXIT_USAGE;
	case OPTS_OK:
		break;
	}
	for (size_t i = 0; i < common->device.n; i++)
		if (bdf_parse(common->device.item[i], &common->only[i], &err) < 0)
			return opts_complain(program, "--device: %s", err_text(&err)), EXIT_USAGE;
	if (common->capable_ids && gpu_ids_parse(common->capable_ids, &common->capable, &err) < 0)
		return opts_complain(program, "CC_CAPABLE_DEVICE_IDS: %s", err_text(&err)),
		       EXIT_USAGE;
	return -1;
}

static bool scan(struct node *node, const struct common *common, struct err *err)
{
	struct gpu_scan_opts opts = { .capable = common->capable };

	if (gpu_scan(&node->host, &opts, &node->list, err) < 0)
		return log_error("cannot look for devices", "reason", err_text(err), NULL), false;
	for (size_t i = 0; i < node->list.n; i++)
		node->n_on_fabric += node->list.dev[i].on_fabric;
	opts.only_bdf = common->only;
	opts.n_only_bdf = common->device.n;
	if (opts.n_only_bdf && gpu_scan(&node->host, &opts, &node->list, err) < 0)
		return log_error("--device cannot be used", "reason", err_text(err), NULL), false;
	return true;
}

bool node_open(struct node *node, const struct common *common)
{
	struct err err = ERR_INIT;

	log_init("gpucc", (enum log_level)common->log_level, (enum log_format)common->log_format);
	*node = (struct node){ .host = { common->sysfs_root, common->host_root, common->state_dir },
			       .trace = common->log_level == LOG_DEBUG };
	for (size_t i = 0; i < GPU_MAX_DEVICES; i++)
		node->lock[i] = PCI_LOCK_INIT;
	if (loop_new(&node->loop, &err) < 0)
		return log_error("cannot start", "reason", err_text(&err), NULL), false;
	return scan(node, common, &err);
}

void node_close(struct node *node)
{
	for (size_t i = 0; node->loop && i < GPU_MAX_DEVICES; i++)
		pci_lock_drop(&node->lock[i]);
	loop_free(node->loop);
	node->loop = NULL;
}

bool node_lockdown_allows(const struct node *node)
{
	enum pci_lockdown lockdown;
	struct err err = ERR_INIT;

	if (pci_host_lockdown(&node->host, &lockdown, &err) < 0)
		log_error("cannot tell whether registers may be used", "reason", err_text(&err),
			  NULL);
	else if (lockdown == PCI_LOCKDOWN_NONE)
		return true;
	else
		log_error("the kernel's lockdown mode forbids access to device registers",
			  "lockdown", pci_lockdown_names[lockdown], NULL);
	return false;
}

static void on_wait(void *arg, const char *why)
{
	const struct gpu_dev *dev = arg;

	log_info("waiting for a device that another program works on", "bdf", bdf_str(dev->bdf),
		 "reason", why, NULL);
}

/* While we waited a VM may have begun to use a device. */
static void users_again(struct node *node)
{
	struct err err = ERR_INIT;

	if (gpu_scan_users(&node->host, node->list.dev, node->list.n, &err) == 0)
		return;
	for (size_t i = 0; i < node->list.n; i++)
		str_copy(node->list.dev[i].error, sizeof(node->list.dev[i].error), err_text(&err));
}

void node_lock(struct node *node, uint64_t wait_ms)
{
	for (size_t i = 0; i < node->list.n; i++) {
		struct gpu_dev *dev = &node->list.dev[i];
		struct err err = ERR_INIT;

		if (*dev->in_use || *dev->error)
			continue;
		if (pci_lock_wait(&node->host, dev->bdf, wait_ms, NULL, on_wait, dev,
				  &node->lock[i], &err) < 0)
			str_copy(dev->error, sizeof(dev->error), err_text(&err));
	}
	users_again(node);
}

void on_note_log(void *arg, const struct gpu_dev *dev, enum log_level level, const char *text)
{
	(void)arg;
	log_event(level, text, "bdf", bdf_str(dev->bdf), NULL);
}

/* What is known of a device that must not be touched: the mode recorded in this boot. */
static void result_untouched(const struct node *node, const struct gpu_dev *dev,
			     struct gpu_result *out)
{
	struct gpu_record record;
	struct err err = ERR_INIT;

	*out = (struct gpu_result){ .bdf = dev->bdf };
	if (*dev->in_use && gpu_record_load(&node->host, dev->bdf, &record, &err) == 0)
		out->active = record.active;
	snprintf(out->error, sizeof(out->error), "%s: %s%s", bdf_str(dev->bdf),
		 *dev->in_use ? "in use: " : "", *dev->in_use ? dev->in_use : dev->error);
	out->error_kind = *dev->in_use ? ERR_BUSY : ERR_DEVICE;
}

struct batch {
	struct node *node;
	size_t index[GPU_MAX_DEVICES]; /* of each job's device */
};

static void on_done(void *arg, const struct gpu_result *result, size_t n)
{
	struct batch *batch = arg;

	for (size_t i = 0; i < n; i++)
		batch->node->result[batch->index[i]] = result[i];
	loop_stop(batch->node->loop, 0);
}

bool node_run(struct node *node, enum gpu_op op, enum gpu_mode mode, bool want_staged)
{
	struct gpu_job job[GPU_MAX_DEVICES];
	struct batch batch = { .node = node };
	struct gpu_jobs_spec spec = { .loop = node->loop,
				      .host = &node->host,
				      .job = job,
				      .trace = node->trace,
				      .on_note = on_note_log,
				      .on_done = on_done,
				      .arg = &batch };
	struct gpu_jobs *jobs;
	struct err err = ERR_INIT;
	int exit_code;

	for (size_t i = 0; i < node->list.n; i++) {
		const struct gpu_dev *dev = &node->list.dev[i];

		if (*dev->in_use || *dev->error) {
			result_untouched(node, dev, &node->result[i]);
			continue;
		}
		batch.index[spec.n] = i;
		job[spec.n++] = (struct gpu_job){ .dev = dev,
						  .op = op,
						  .mode = mode,
						  .want_staged = want_staged,
						  .lock_fd = node->lock[i].fd };
	}
	if (gpu_jobs_start(&spec, &jobs, &err) < 0 || loop_run(node->loop, &exit_code, &err) < 0) {
		log_error("cannot ask the devices", "reason", err_text(&err), NULL);
		return false;
	}
	for (size_t i = 0; i < node->list.n; i++)
		gpu_dev_learn(&node->list.dev[i], &node->result[i]);
	return true;
}

void node_drop_bridges(struct node *node)
{
	size_t n = 0;

	for (size_t i = 0; i < node->list.n; i++) {
		if (node->result[i].is_bridge) {
			log_info("no NVSwitch that is known: left alone", "bdf",
				 bdf_str(node->list.dev[i].bdf), NULL);
			pci_lock_drop(&node->lock[i]);
			node->n_on_fabric -= node->list.dev[i].on_fabric;
			continue;
		}
		if (n != i) {
			node->list.dev[n] = node->list.dev[i];
			node->result[n] = node->result[i];
			node->lock[n] = node->lock[i];
			node->lock[i] = PCI_LOCK_INIT;
		}
		n++;
	}
	node->list.n = n;
}
