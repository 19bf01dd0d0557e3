#include "conf/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attempt.h"

/* Far beyond any real file, and a stop for /dev/zero. */
#define LARGEST ((size_t)256 * 1024 * 1024)

/* A size to begin with: one read and the one that sees the end do for an ordinary file. */
static size_t first_room(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size > 0 && (size_t)st.st_size <= LARGEST)
		return (size_t)st.st_size + 1;
	return 16384;
}

static bool read_all(int fd, struct arena *arena, struct slice *text, const char **error)
{
	size_t room = first_room(fd), n = 0;
	char *p = arena_alloc(arena, room);
	ssize_t got;

	while ((got = read(fd, p + n, room - n)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			*error = strerror(errno);
			return false;
		}
		n += (size_t)got;
		if (n > LARGEST) {
			*error = "larger than 256 MiB";
			return false;
		}
		if (n == room) {
			char *more = arena_alloc(arena, room * 2);

			memcpy(more, p, n);
			p = more;
			room *= 2;
		}
	}
	*text = (struct slice){p, n};
	return true;
}

static void undo_open(void *fd)
{
	close(*(int *)fd);
}

bool textfile_read(const char *file, struct arena *arena, struct slice *text, const char **error)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct guard guard;
	bool ok;

	if (fd < 0) {
		*error = strerror(errno);
		return false;
	}
	guard_set(&guard, undo_open, &fd);
	ok = read_all(fd, arena, text, error);
	guard_lift(&guard);
	close(fd);
	return ok;
}

bool textfile_line(struct slice *text, struct slice *line)
{
	const char *end;
	size_t used;

	if (text->n == 0)
		return false;
	end = memchr(text->p, '\n', text->n);
	*line = (struct slice){text->p, end != NULL ? (size_t)(end - text->p) : text->n};
	used = line->n + (end != NULL);
	text->p += used;
	text->n -= used;
	if (line->n > 0 && line->p[line->n - 1] == '\r')
		line->n--;
	return true;
}
