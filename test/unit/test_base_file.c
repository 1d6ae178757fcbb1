/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/str.h"

static char folder[] = "/tmp/gpucc-file-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void setup(void)
{
	cr_assert(mkdtemp(folder));
}

static void teardown(void)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(file, .init = setup, .fini = teardown);

Test(file, published_files_are_whole_and_leave_nothing_beside_them)
{
	AUTO_BUF text = BUF_INIT(100);
	struct err e = ERR_INIT;
	struct stat st;
	DIR *d;
	int n = 0;

	cr_assert_eq(file_publish(in_folder("a"), "one", 3, 0640, &e), 0, "%s", err_text(&e));
	cr_assert_eq(file_publish(in_folder("a"), "two", 3, 0640, &e), 0);
	cr_assert_eq(file_read(in_folder("a"), &text, &e), 0);
	cr_assert_str_eq(buf_str(&text), "two");
	cr_assert(stat(in_folder("a"), &st) == 0 && (st.st_mode & 0777) == 0640);
	d = opendir(folder);
	while (readdir(d))
		n++;
	closedir(d);
	cr_assert_eq(n, 3); /* . .. a */
}

Test(file, a_file_over_the_ceiling_changes_nothing)
{
	AUTO_BUF text = BUF_INIT(4);
	struct err e = ERR_INIT;

	cr_assert_eq(file_publish(in_folder("a"), "12345", 5, 0600, &e), 0);
	cr_assert_eq(buf_adds(&text, "x", &e), 0);
	cr_assert_eq(file_read(in_folder("a"), &text, &e), -1);
	cr_assert_eq(e.kind, ERR_INVALID);
	cr_assert(strstr(err_text(&e), "/a: "));
	cr_assert_str_eq(buf_str(&text), "x");
}

Test(file, an_empty_file_reads_as_empty_text)
{
	AUTO_BUF text = BUF_INIT(4);
	struct err e = ERR_INIT;

	cr_assert_eq(file_publish(in_folder("a"), "", 0, 0600, &e), 0);
	cr_assert_eq(file_read(in_folder("a"), &text, &e), 0);
	cr_assert_not_null(text.data);
	cr_assert_str_eq(text.data, "");
}

Test(file, attributes_are_never_created)
{
	struct err e = ERR_INIT;

	cr_assert_eq(file_write_attr(in_folder("reset"), "1", &e), -1);
	cr_assert_eq(e.kind, ERR_NOT_FOUND);
	cr_assert_eq(access(in_folder("reset"), F_OK), -1);
}

Test(file, locks_exclude_and_folders_nest)
{
	struct err e = ERR_INIT;
	AUTO_FD one = -1;
	int two = -1;

	cr_assert_eq(file_mkdirs(in_folder("x/y/z"), 0755, &e), 0, "%s", err_text(&e));
	cr_assert_eq(file_mkdirs(in_folder("x/y/z"), 0755, &e), 0);
	cr_assert_eq(file_lock(in_folder("x/y/z/l"), &one, &e), 0);
	cr_assert_eq(file_lock(in_folder("x/y/z/l"), &two, &e), -1);
	cr_assert_eq(e.kind, ERR_BUSY);
	cr_assert_eq(file_remove(in_folder("nothing"), &e), 0);
}
