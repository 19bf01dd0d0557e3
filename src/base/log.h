/*
 * The log: lines in PgBouncer's format or in JSON (base/log_line.h), to stderr, a file and syslog. One that takes
 * no lines, as on a full disk, holds up nobody; that lines are lost, and later how many, is said where it can be.
 *
 * The one piece of process-wide state in the program besides the clock: every
 * layer may log, and none should have to be handed a logger for it.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log_line.h"

struct log_options {
	const char *file;          /* NULL or "": none */
	bool syslog;
	const char *syslog_socket; /* NULL: the system's */
	const char *syslog_ident;
	const char *syslog_facility;
	int verbose;               /* 0 up to LOG, 1 DEBUG, 2 NOISE */
	bool quiet;                /* nothing to stderr */
	enum log_format format;
	uint64_t fold_us;          /* see base/log_thin.h; 0: nothing is folded */
	unsigned connections_limit; /* lines about connections, a second; 0: no bound */
};

/*
 * Takes over new options and opens the file anew (also when its name is the
 * same: that is what a log rotation needs). False when the file cannot be
 * opened; the former options then stay in force. What was left out before is told before.
 */
bool log_configure(const struct log_options *options, const char **error);

/* Nothing is told any more, not even of what was left out: that is for log_flush(). */
void log_close(void);

/*
 * Lines that were left out are told when their time has come, by log_flush_due(). It returns when it is to be called
 * next; 0: not before `wake` has been. That is told each time that this becomes necessary, or earlier.
 */
void log_on_pending(void (*wake)(void *arg, uint64_t at), void *arg);
uint64_t log_flush_due(uint64_t now);
void log_flush(void);

bool log_wants(enum log_level level);

/* One line, unless it is left out; what the format makes may hold any byte. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_writev(const struct log_line *line, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

#define log_fatal(...) log_write(LOG_LEVEL_FATAL, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_LOG, __VA_ARGS__)
#define log_debug(...)                                       \
	do {                                                 \
		if (log_wants(LOG_LEVEL_DEBUG))              \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)
