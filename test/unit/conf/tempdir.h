/*
 * A folder of its own for a test program, as its working directory, gone at
 * its end together with the files that were written by tempdir_write().
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static char tempdir[] = "/tmp/pgsluice-test-XXXXXX";
static char tempdir_files[64][32];
static int tempdir_count;

static inline int tempdir_enter(void **state)
{
	(void)state;
	return mkdtemp(tempdir) == NULL || chdir(tempdir) != 0 ? -1 : 0;
}

/* The same for a program whose log nobody reads. */
static inline int tempdir_enter_quietly(void **state)
{
	const char *error;

	return log_configure(&(struct log_options){.quiet = true}, &error) ? tempdir_enter(state) : -1;
}

static inline int tempdir_leave(void **state)
{
	(void)state;
	while (tempdir_count > 0)
		unlink(tempdir_files[--tempdir_count]);
	return chdir("/") != 0 || rmdir(tempdir) != 0 ? -1 : 0;
}

/* Writes n bytes to a file that is its owner's only, in place of a former one of that name; returns the name. */
static inline const char *tempdir_write_bytes(const char *name, const char *text, size_t n)
{
	FILE *f = fopen(name, "w");
	int i = 0;

	if (f == NULL || fwrite(text, 1, n, f) != n || fchmod(fileno(f), 0600) != 0 || fclose(f) != 0)
		abort();
	while (i < tempdir_count && strcmp(tempdir_files[i], name) != 0)
		i++;
	if (i == tempdir_count)
		snprintf(tempdir_files[tempdir_count++], sizeof(tempdir_files[0]), "%s", name);
	return name;
}

static inline const char *tempdir_write(const char *name, const char *text)
{
	return tempdir_write_bytes(name, text, strlen(text));
}
