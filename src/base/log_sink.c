#include "base/log_sink.h"

#include <errno.h>
#include <unistd.h>

/* 0, or why not all of it was taken; *done is how much was. */
static int write_all(int fd, const char *p, size_t n, size_t *done)
{
	*done = 0;
	while (*done < n) {
		ssize_t written = write(fd, p + *done, n - *done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno;
		*done += (size_t)written;
	}
	return 0;
}

static int write_line(struct log_sink *s, const char *line, size_t n)
{
	size_t done;
	int error = s->is_cut ? write_all(s->fd, "\n", 1, &done) : 0;

	if (error != 0)
		return error;
	error = write_all(s->fd, line, n, &done);
	s->is_cut = done > 0 && done < n;
	return error;
}

enum log_sink_news log_sink_put(struct log_sink *s, const char *line, size_t n)
{
	int before = s->error;

	if (s->fd < 0)
		return LOG_SINK_AS_BEFORE;
	s->error = write_line(s, line, n);
	if (s->error != 0 && before == 0)
		s->nlost = 0;
	if (s->error != 0)
		s->nlost++;
	if ((s->error != 0) == (before != 0))
		return LOG_SINK_AS_BEFORE;
	return s->error != 0 ? LOG_SINK_FAILS : LOG_SINK_RECOVERS;
}
