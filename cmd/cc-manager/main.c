/* SPDX-License-Identifier: Apache-2.0 */
/* cc-manager - keeps the CC mode of a node's GPUs and NVSwitches equal to what the node's label asks
 * for.  This file is its table of contents: what is opened, in which order, and how it ends. */
#include <stdlib.h>

#include "app.h"
#include "base/log.h"
#include "base/mem.h"

static int run(struct app *app, int *exit_code)
{
	struct err err = ERR_INIT;

	if (loop_new(&app->loop, &err) < 0 || /* everything below calls back from here */
	    stop_on_signals(app, &err) < 0 ||
	    api_open(app, &err) < 0 || /* where the server is; nothing is sent yet */
	    phases_init(app, &err) < 0 ||
	    machine_init(app, &err) <
		    0 || /* plan, announce, evict, switch, verify, restore, report */
	    metrics_start(app, &err) < 0 ||
	    instance_lock(app, &err) < 0 || /* then agent_begin(): label changes feed the machine */
	    loop_run(app->loop, exit_code, &err) < 0) {
		log_error(err_text(&err), NULL);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct app app; /* large, and mostly never touched */
	int exit_code = EXIT_FAILURE;

	mem_lean();
	switch (config_load(&app.config, argc, argv, getenv)) {
	case OPTS_DONE:
		return EXIT_SUCCESS;
	case OPTS_BAD:
		return EXIT_USAGE;
	case OPTS_OK:
		break;
	}
	log_init("cc-manager", (enum log_level)app.config.log_level,
		 (enum log_format)app.config.log_format);
	app.host = (struct pci_host){ .sysfs_root = app.config.sysfs_root,
				      .host_root = app.config.host_root,
				      .state_dir = app.config.state_dir };
	app.instance_fd = -1;
	if (run(&app, &exit_code) < 0)
		exit_code = EXIT_FAILURE;
	app_close(&app);
	return exit_code;
}
