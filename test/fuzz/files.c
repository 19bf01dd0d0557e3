#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

static struct file {
	int fd;
	char name[32];                   /* "" before it has been put */
} files[FILES_MAX];

const char *files_put(unsigned number, const void *p, size_t n)
{
	struct file *f = &files[number];

	if (f->name[0] == '\0') {
		f->fd = memfd_create("fuzz", MFD_CLOEXEC);
		snprintf(f->name, sizeof(f->name), "/proc/self/fd/%d", f->fd);
	}
	must(f->fd >= 0);
	must(ftruncate(f->fd, 0) == 0 && pwrite(f->fd, p, n, 0) == (ssize_t)n);
	return f->name;
}

/* In the C library's place, for what is linked with this file. */
int open(const char *path, int flags, ...)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		if (files[i].name[0] != '\0' && strcmp(path, files[i].name) == 0)
			return openat(AT_FDCWD, path, flags);
	errno = ENOENT;
	return -1;
}
