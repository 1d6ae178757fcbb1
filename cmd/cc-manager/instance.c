/* SPDX-License-Identifier: Apache-2.0 */
/* instance - one cc-manager per node: a second one waits for the first's lock, says so, and is not
 * ready. */
#include <stdio.h>

#include "app.h"
#include "base/file.h"
#include "base/log.h"

#define LOCK_AGAIN_MS 500
#define LOCK_NAME     "cc-manager.lock"

static int try(struct app *app, struct err *err)
{
	char path[PCI_PATH_BYTES];

	if (snprintf(path, sizeof(path), "%s/" LOCK_NAME, app->config.state_dir) >=
	    (int)sizeof(path))
		return err_set(err, ERR_INVALID, "--state-dir is too long");
	return file_lock(path, &app->instance_fd, err);
}

static void on_again(struct source *s, void *arg)
{
	struct app *app = arg;
	struct err err = ERR_INIT;

	(void)s;
	if (try(app, &err) == 0) {
		log_info("the other cc-manager is gone", NULL);
		agent_begin(app);
	} else if (err.kind == ERR_BUSY) {
		timer_arm(app->instance_again, LOCK_AGAIN_MS);
	} else {
		log_error("cannot lock", "error", err_text(&err), NULL);
		loop_stop(app->loop, 1);
	}
}

int instance_lock(struct app *app, struct err *err)
{
	/* a dry run beside the agent is what it is for */
	if (app->config.dry_run) {
		agent_begin(app);
		return 0;
	}
	if (loop_add_timer(app->loop, on_again, app, &app->instance_again, err) < 0 ||
	    file_mkdirs(app->config.state_dir, 0755, err) < 0)
		return -1;
	if (try(app, err) == 0) {
		agent_begin(app);
		return 0;
	}
	if (err->kind != ERR_BUSY)
		return -1;
	log_warn("another cc-manager runs on this node, waiting for it to end", "lock",
		 err_text(err), NULL);
	err_clear(err);
	timer_arm(app->instance_again, LOCK_AGAIN_MS);
	return 0;
}
