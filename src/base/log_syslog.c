#include "base/log_syslog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static const int severities[] = {
	[LOG_LEVEL_FATAL] = LOG_CRIT, [LOG_LEVEL_ERROR] = LOG_ERR,   [LOG_LEVEL_WARNING] = LOG_WARNING,
	[LOG_LEVEL_LOG] = LOG_INFO,   [LOG_LEVEL_DEBUG] = LOG_DEBUG, [LOG_LEVEL_NOISE] = LOG_DEBUG,
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

void log_syslog_open(struct log_syslog *l, const char *path, const char *ident, const char *facility)
{
	l->path = path != NULL ? path : _PATH_LOG;
	l->facility = facility_code(facility);
	snprintf(l->ident, sizeof(l->ident), "%s", ident);
}

void log_syslog_close(struct log_syslog *l)
{
	if (l->sink.fd >= 0)
		close(l->sink.fd);
	l->sink.fd = -1;
}

/* 0, or errno. */
static int open_socket(struct log_syslog *l)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int error;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", l->path);
	l->sink.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->sink.fd < 0)
		return errno;
	if (connect(l->sink.fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
		return 0;
	error = errno;
	log_syslog_close(l);
	return error;
}

/* The daemon may have been started anew since the last line, and have another socket: that is worth a second try. */
static int send_line(struct log_syslog *l, const struct msghdr *m)
{
	int error = 0;

	for (int i = 0; i < 2; i++) {
		if (l->sink.fd < 0 && (error = open_socket(l)) != 0)
			return error;
		if (sendmsg(l->sink.fd, m, MSG_NOSIGNAL) >= 0)
			return 0;
		error = errno;
		if (error == EAGAIN || error == EMSGSIZE || error == ENOBUFS)
			return error;
		log_syslog_close(l);
	}
	return error;
}

enum log_sink_news log_syslog_put(struct log_syslog *l, enum log_level level, const char *text, size_t n)
{
	time_t now = (time_t)(clock_wall_us() / (int64_t)CLOCK_SECOND);
	char when[32], head[160];
	struct iovec parts[] = {{.iov_base = head}, {.iov_base = (void *)(uintptr_t)text, .iov_len = n}};
	const struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
	snprintf(head, sizeof(head), "<%d>%s %s[%d]: ", l->facility | severities[level], when, l->ident, (int)getpid());
	parts[0].iov_len = strlen(head);
	return log_sink_note(&l->sink, send_line(l, &m));
}
