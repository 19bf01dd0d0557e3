#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define LINE_MAX_BYTES 8192

static struct {
	int fd;                  /* of the log file, -1 none */
	bool syslog;
	bool quiet;
	int verbose;
	char ident[64];          /* openlog() keeps the pointer */
} state = {.fd = -1};

static const struct {
	const char *name;
	int priority;
} levels[] = {
	[LOG_LEVEL_FATAL] = {"FATAL", LOG_CRIT},     [LOG_LEVEL_ERROR] = {"ERROR", LOG_ERR},
	[LOG_LEVEL_WARNING] = {"WARNING", LOG_WARNING}, [LOG_LEVEL_LOG] = {"LOG", LOG_INFO},
	[LOG_LEVEL_DEBUG] = {"DEBUG", LOG_DEBUG},    [LOG_LEVEL_NOISE] = {"NOISE", LOG_DEBUG},
};

static const struct {
	const char *name;
	int code;
} facilities[] = {
	{"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"daemon", LOG_DAEMON}, {"user", LOG_USER},
	{"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},
	{"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5},     {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
};

static int facility_code(const char *name)
{
	for (size_t i = 0; i < sizeof(facilities) / sizeof(facilities[0]); i++)
		if (name != NULL && strcasecmp(name, facilities[i].name) == 0)
			return facilities[i].code;
	return LOG_DAEMON;
}

bool log_configure(const struct log_options *o, const char **error)
{
	int fd = -1;

	if (o->file != NULL && o->file[0] != '\0') {
		fd = open(o->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (fd < 0) {
			*error = strerror(errno);
			return false;
		}
	}
	log_close();
	state.fd = fd;
	state.syslog = o->syslog;
	state.quiet = o->quiet;
	state.verbose = o->verbose;
	if (o->syslog) {
		snprintf(state.ident, sizeof(state.ident), "%s", o->syslog_ident);
		openlog(state.ident, LOG_PID, facility_code(o->syslog_facility));
	}
	return true;
}

void log_close(void)
{
	if (state.fd >= 0)
		close(state.fd);
	state.fd = -1;
	if (state.syslog)
		closelog();
	state.syslog = false;
}

bool log_wants(enum log_level level)
{
	return (int)level <= LOG_LEVEL_LOG + state.verbose;
}

#define CONTROL_CHARACTERS                                                                                            \
	"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"                                               \
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"

/* As much of it as the line has room for. */
static void add_cut(struct strbuf *line, const char *p, size_t n)
{
	size_t room = line->cap - line->n - 1;

	strbuf_add(line, p, n < room ? n : room);
}

/* What a client sent may be in a line: it must not forge other lines, nor drive a terminal. */
static void add_printable(struct strbuf *line, const char *text)
{
	while (*text != '\0') {
		size_t n = strcspn(text, CONTROL_CHARACTERS);

		add_cut(line, text, n);
		text += n;
		if (*text != '\0')
			strbuf_addf(line, "\\x%02x", (unsigned char)*text++);
	}
}

static void add_time(struct strbuf *line)
{
	int64_t now = clock_wall_us();
	time_t seconds = (time_t)(now / 1000000);
	struct tm tm;
	char text[32], zone[16];

	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%Z", &tm);
	strbuf_addf(line, "%s.%03d %s", text, (int)(now / 1000 % 1000), zone);
}

/* A log that cannot be written must not stop the pooler: what the kernel does not take is lost. */
static void put(int fd, const char *p, size_t n)
{
	if (write(fd, p, n) < 0)
		return;
}

void log_writev(enum log_level level, const char *prefix, const char *format, va_list ap)
{
	char text[LINE_MAX_BYTES], room[LINE_MAX_BYTES];
	struct strbuf line;
	size_t head;

	if (!log_wants(level))
		return;
	vsnprintf(text, sizeof(text), format, ap);
	/* One byte is held back for the newline: a line that is too long is cut, never lost. */
	strbuf_init_fixed(&line, room, sizeof(room) - 1);
	add_time(&line);
	strbuf_addf(&line, " [%d] %s ", (int)getpid(), levels[level].name);
	head = line.n;
	add_printable(&line, prefix);
	add_printable(&line, text);
	if (state.syslog)
		syslog(levels[level].priority, "%s", line.p + head);
	line.p[line.n] = '\n';
	if (!state.quiet)
		put(STDERR_FILENO, line.p, line.n + 1);
	if (state.fd >= 0)
		put(state.fd, line.p, line.n + 1);
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_writev(level, "", format, ap);
	va_end(ap);
}
