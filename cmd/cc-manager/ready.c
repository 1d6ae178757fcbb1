/* SPDX-License-Identifier: Apache-2.0 */
/* ready - the readiness file, which others wait for: it exists exactly while the node is converged. */
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#define PATH_BYTES 1024

static int create(const char *path, struct err *err)
{
	char folder[PATH_BYTES];
	const char *slash = strrchr(path, '/');

	if (slash && slash != path) {
		if (!str_copyn(folder, sizeof(folder), path, (size_t)(slash - path)))
			return err_set(err, ERR_INVALID, "the path is too long");
		if (file_mkdirs(folder, 0755, err) < 0)
			return -1;
	}
	return file_publish(path, "", 0, 0644, err);
}

void ready_set(struct app *app, bool converged)
{
	const char *path = app->config.readiness_file;
	struct err err = ERR_INIT;

	if (str_empty(path) || app->config.dry_run ||
	    app->ready_file == (converged ? READY_FILE_THERE : READY_FILE_GONE))
		return;
	if ((converged ? create(path, &err) : file_remove(path, &err)) < 0) {
		log_warn(converged ? "cannot write the readiness file"
				   : "cannot remove the readiness file",
			 "file", path, "error", err_text(&err), NULL);
		app->ready_file = READY_FILE_UNKNOWN;
		return;
	}
	app->ready_file = converged ? READY_FILE_THERE : READY_FILE_GONE;
}
