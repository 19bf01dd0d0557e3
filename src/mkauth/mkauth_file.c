#include "mkauth/mkauth_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(struct strbuf *error, const char *file, const char *why)
{
	strbuf_addf(error, "%s: %s", file, why);
	return false;
}

static bool write_all(int fd, struct slice text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			text = (struct slice){text.p + n, text.n - (size_t)n};
	}
	return fsync(fd) == 0;
}

/* The service that reads the file is to read the next one too. */
static bool take_after(int fd, const struct stat *old)
{
	return fchown(fd, old->st_uid, old->st_gid) == 0 && fchmod(fd, old->st_mode & (S_IRUSR | S_IWUSR | S_IRGRP)) == 0;
}

/* fd is the file `temporary`, in the same directory; closed here. */
static bool fill(int fd, const char *temporary, const char *file, struct slice text, const struct stat *old)
{
	bool ok = write_all(fd, text) && (old == NULL || take_after(fd, old));
	int why = errno;

	close(fd);
	errno = why;
	return ok && rename(temporary, file) == 0;
}

static bool replace(const char *file, struct slice text, const struct stat *old, struct strbuf *error)
{
	char temporary[PATH_MAX];
	int fd;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", file) >= (int)sizeof(temporary))
		return fail(error, file, strerror(ENAMETOOLONG));
	fd = mkstemp(temporary);
	if (fd < 0)
		return fail(error, file, strerror(errno));
	if (fill(fd, temporary, file, text, old))
		return true;
	fail(error, file, strerror(errno));
	unlink(temporary);
	return false;
}

bool mkauth_file_replace(const char *file, struct slice text, struct strbuf *error)
{
	char *target = realpath(file, NULL);
	struct stat old;
	bool ok;

	if (target == NULL)
		return errno == ENOENT ? replace(file, text, NULL, error) : fail(error, file, strerror(errno));
	if (stat(target, &old) != 0)
		ok = fail(error, file, strerror(errno));
	else if (!S_ISREG(old.st_mode))
		ok = fail(error, file, "not a regular file");
	else
		ok = replace(target, text, &old, error);
	free(target);
	return ok;
}
