/*
 * A target as a plain program, in libFuzzer's place: takes the files that are
 * named, and those in the folders that are; by default the corpus of the
 * program's own name, below $srcdir as `make check` sets it.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned ninputs;

static void fail(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

static void replay_file(const char *path)
{
	FILE *f = fopen(path, "r");
	struct stat st;
	uint8_t *data;

	if (f == NULL || fstat(fileno(f), &st) != 0)
		fail(path);
	/* Of just that size: a read beyond it is found. */
	data = malloc((size_t)st.st_size);
	if ((data == NULL && st.st_size > 0) || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
		fail(path);
	fclose(f);
	LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	ninputs++;
}

static void replay(const char *path)
{
	struct dirent **names;
	struct stat st;
	int n;

	if (stat(path, &st) != 0)
		fail(path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		fail(path);
	for (int i = 0; i < n; i++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			replay_file(file);
		free(names[i]);
	}
	free(names);
}

static void replay_own(const char *program)
{
	const char *slash = strrchr(program, '/'), *srcdir = getenv("srcdir");
	char path[4096];

	snprintf(path, sizeof(path), "%s/test/fuzz/corpus/%s", srcdir == NULL ? "." : srcdir,
		 slash == NULL ? program : slash + 1);
	replay(path);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (argc == 1)
		replay_own(argv[0]);
	printf("%u inputs\n", ninputs);
	return ninputs == 0;
}
