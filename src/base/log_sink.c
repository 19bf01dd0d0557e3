#include "base/log_sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

void log_sink_look(struct log_sink *s)
{
	struct stat st;

	s->may_wait = fstat(s->fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static bool would_wait(const struct log_sink *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};

	return s->may_wait && poll(&p, 1, 0) == 0;
}

/* For so much there is room where there is some: in a pipe by POSIX, in a socket's buffer on Linux. */
static size_t portion(const struct log_sink *s, size_t n)
{
	return s->may_wait && n > PIPE_BUF ? PIPE_BUF : n;
}

/* 0, or why not all of it was taken; *done is how much was. */
static int write_all(const struct log_sink *s, const char *p, size_t n, size_t *done)
{
	*done = 0;
	while (*done < n) {
		ssize_t written;

		if (would_wait(s))
			return EAGAIN;
		written = write(s->fd, p + *done, portion(s, n - *done));
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
	int error = s->is_cut ? write_all(s, "\n", 1, &done) : 0;

	if (error != 0)
		return error;
	error = write_all(s, line, n, &done);
	s->is_cut = done > 0 && done < n;
	return error;
}

enum log_sink_news log_sink_put(struct log_sink *s, const char *line, size_t n)
{
	return s->fd < 0 ? LOG_SINK_AS_BEFORE : log_sink_note(s, write_line(s, line, n));
}

enum log_sink_news log_sink_note(struct log_sink *s, int error)
{
	bool failed_before = s->error != 0, fails = error != 0;

	s->error = error;
	if (fails)
		s->nlost = failed_before ? s->nlost + 1 : 1;
	if (fails == failed_before)
		return LOG_SINK_AS_BEFORE;
	return fails ? LOG_SINK_FAILS : LOG_SINK_RECOVERS;
}
