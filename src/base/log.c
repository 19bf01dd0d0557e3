#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_sink.h"
#include "base/log_syslog.h"
#include "base/log_thin.h"
#include "base/str.h"

#define LINE_MAX_BYTES 8192

/* In JSON a byte may take six, and there are keys. */
#define ROOM_BYTES (6 * LINE_MAX_BYTES + 16 * (6 * LOG_LINE_TEXT_MAX + 64))

static struct {
	struct log_sink file, err;
	struct log_syslog system;
	bool syslog;
	bool quiet;
	int verbose;
	enum log_format format;
	void (*wake)(void *arg, uint64_t at);
	void *wake_arg;
	uint64_t wake_at;        /* 0: it has not been told, or log_flush_due() has come since */
} state = {
	.file = {.name = "logfile", .fd = -1},
	.err = {.name = "standard error", .fd = STDERR_FILENO},
	.system.sink = {.name = "syslog", .fd = -1},
};

static void put_line(const struct log_line *line, const char *message);

static struct log_thin thin = {.say = put_line};

bool log_configure(const struct log_options *o, const char **error)
{
	int fd = -1;

	if (o->file != NULL && o->file[0] != '\0') {
		/* A FIFO that nobody reads is an error, and not a reason to wait. */
		fd = open(o->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
		if (fd < 0) {
			*error = strerror(errno);
			return false;
		}
	}
	log_flush();
	log_close();
	thin.fold_us = o->fold_us;
	thin.limit = o->connections_limit;
	state.format = o->format;
	/* What was lost before is told in the file that is open now. */
	state.file.fd = fd;
	state.syslog = o->syslog;
	state.quiet = o->quiet;
	state.verbose = o->verbose;
	log_sink_look(&state.err);
	if (o->syslog)
		log_syslog_open(&state.system, o->syslog_socket, o->syslog_ident, o->syslog_facility);
	return true;
}

void log_close(void)
{
	if (state.file.fd >= 0)
		close(state.file.fd);
	state.file.fd = -1;
	log_syslog_close(&state.system);
	state.syslog = false;
	thin = (struct log_thin){.say = put_line, .fold_us = thin.fold_us, .limit = thin.limit};
}

bool log_wants(enum log_level level)
{
	return (int)level <= LOG_LEVEL_LOG + state.verbose;
}

/* Where what syslog gets begins: it has a time, a level and a process id of its own, but knows nothing of JSON. */
static size_t format_line(const struct log_line *line, const char *message, struct strbuf *out)
{
	size_t head;

	if (state.format == LOG_FORMAT_JSON) {
		log_line_json(line, clock_wall_us(), message, out);
		return 0;
	}
	log_line_head(line, clock_wall_us(), out);
	head = out->n;
	log_line_body(line, message, out);
	return head;
}

/* What is news of one sink goes to all of them. Of what becomes of that line nothing is told: it would have no end. */
static void tell_news(const struct log_sink *s, enum log_sink_news news)
{
	static bool is_telling;
	const struct log_field fields[] = {{.key = "lost", .number = s->nlost}, {0}};
	const struct log_line line = {.level = LOG_LEVEL_WARNING, .fields = fields};
	char text[128];

	if (news == LOG_SINK_AS_BEFORE || is_telling)
		return;
	if (news == LOG_SINK_FAILS)
		snprintf(text, sizeof(text), "%s cannot be written to, lines are lost: %s", s->name, strerror(s->error));
	else
		snprintf(text, sizeof(text), "%s is written to again, lines lost before: %u", s->name, s->nlost);
	is_telling = true;
	put_line(&line, text);
	is_telling = false;
}

static void put_line(const struct log_line *line, const char *message)
{
	static char room[ROOM_BYTES];
	/* One byte is held back for the newline: a line of text that is too long is cut, never lost. */
	size_t most = state.format == LOG_FORMAT_JSON ? sizeof(room) : LINE_MAX_BYTES, head;
	enum log_sink_news of_system = LOG_SINK_AS_BEFORE, of_err = LOG_SINK_AS_BEFORE, of_file;
	struct strbuf out;

	strbuf_init_fixed(&out, room, most - 1);
	head = format_line(line, message, &out);
	if (state.syslog)
		of_system = log_syslog_put(&state.system, line->level, out.p + head, out.n - head);
	out.p[out.n] = '\n';
	if (!state.quiet)
		of_err = log_sink_put(&state.err, out.p, out.n + 1);
	of_file = log_sink_put(&state.file, out.p, out.n + 1);
	tell_news(&state.system.sink, of_system);
	tell_news(&state.err, of_err);
	tell_news(&state.file, of_file);
}

/* ------------------------------------------------------------------ what is left out */

static void note_left_out(void)
{
	uint64_t at = log_thin_due_at(&thin);

	if (state.wake == NULL || (state.wake_at != 0 && state.wake_at <= at))
		return;
	state.wake_at = at;
	state.wake(state.wake_arg, at);
}

void log_on_pending(void (*wake)(void *arg, uint64_t at), void *arg)
{
	state.wake = wake;
	state.wake_arg = arg;
	state.wake_at = 0;
}

uint64_t log_flush_due(uint64_t now)
{
	log_thin_tell_due(&thin, now);
	state.wake_at = log_thin_due_at(&thin);
	return state.wake_at;
}

void log_flush(void)
{
	log_thin_tell_all(&thin);
}

/* ------------------------------------------------------------------ lines */

void log_writev(const struct log_line *line, const char *format, va_list ap)
{
	char message[LINE_MAX_BYTES];

	if (!log_wants(line->level))
		return;
	if (log_thin_is_within(&thin, line, clock_us())) {
		vsnprintf(message, sizeof(message), format, ap);
		if (log_thin_is_new(&thin, line, message, clock_us())) {
			put_line(line, message);
			return;
		}
	}
	note_left_out();
}

void log_write(enum log_level level, const char *format, ...)
{
	const struct log_line line = {.level = level};
	va_list ap;

	va_start(ap, format);
	log_writev(&line, format, ap);
	va_end(ap);
}
