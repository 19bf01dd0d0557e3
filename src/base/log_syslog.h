/*
 * Lines for the system's log, over its datagram socket (RFC 3164, as the C library's syslog() words them).
 *
 * syslog() itself waits where the daemon has stopped reading, and does not tell what is lost where there is none.
 */
#pragma once
#include "base/log_line.h"
#include "base/log_sink.h"

struct log_syslog {
	struct log_sink sink;            /* of it, what has become of lines */
	const char *path;                /* of the socket; the owner's */
	char ident[64];
	int facility;
};

/* path: NULL for the system's. The socket is opened by the first line, and again by each that finds it closed. */
void log_syslog_open(struct log_syslog *l, const char *path, const char *ident, const char *facility);
void log_syslog_close(struct log_syslog *l);

/* The text alone: time, process and level are put in front of it. */
enum log_sink_news log_syslog_put(struct log_syslog *l, enum log_level level, const char *text, size_t n);
