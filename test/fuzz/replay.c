/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay - the main that a fuzz target gets in ordinary builds: it feeds saved inputs, so every
 * input that once mattered is tried again in each test run, with or without libFuzzer.
 * Usage: fuzz_NAME FILE|DIRECTORY...   Directories are read one level deep; no input is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX_BYTES ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static unsigned n_inputs;

static _Noreturn void die(const char *path, const char *what)
{
	fprintf(stderr, "replay: %s: %s\n", path, what);
	exit(EXIT_FAILURE);
}

/* The copy has exactly the input's size, so that one byte too far is seen by AddressSanitizer. */
static void feed_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "rbe");
	uint8_t *data = malloc(size ? size : 1);

	if (!f || !data || size > INPUT_MAX_BYTES)
		die(path, !f ? strerror(errno) : "too large");
	if (fread(data, 1, size, f) != size)
		die(path, "short read");
	fclose(f);
	fprintf(stderr, "replay: %s\n", path); /* the last line before a crash names the input */
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	n_inputs++;
}

static void feed(const char *path, int depth)
{
	struct stat st;
	struct dirent **names;
	int n;

	if (stat(path, &st) < 0)
		die(path, strerror(errno));
	if (S_ISREG(st.st_mode)) {
		feed_file(path, (size_t)st.st_size);
		return;
	}
	if (depth == 0 || (n = scandir(path, &names, NULL, alphasort)) < 0)
		die(path, "neither a file nor a readable directory of files");
	for (int i = 0; i < n; i++) {
		char full[4096];

		if (names[i]->d_name[0] != '.') {
			if (snprintf(full, sizeof(full), "%s/%s", path, names[i]->d_name) >=
			    (int)sizeof(full))
				die(path, "path too long");
			feed(full, depth - 1);
		}
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		feed(argv[i], 1);
	if (n_inputs == 0)
		die(argc > 1 ? argv[1] : "no argument", "no input found");
	printf("%u inputs\n", n_inputs);
	return EXIT_SUCCESS;
}
