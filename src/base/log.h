/*
 * The log: PgBouncer's line format, to stderr, a file and syslog.
 *
 *   2026-03-01 10:00:07.142 UTC [812] LOG C-00f3: shop/ann@10.0.0.7:5121 closing because: ...
 *
 * The one piece of process-wide state in the program besides the clock: every
 * layer may log, and none should have to be handed a logger for it.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_LEVEL_FATAL, LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_LOG, LOG_LEVEL_DEBUG, LOG_LEVEL_NOISE };

struct log_options {
	const char *file;          /* NULL or "": none */
	bool syslog;
	const char *syslog_ident;
	const char *syslog_facility;
	int verbose;               /* 0 up to LOG, 1 DEBUG, 2 NOISE */
	bool quiet;                /* nothing to stderr */
};

/*
 * Takes over new options and opens the file anew (also when its name is the
 * same: that is what a log rotation needs). False when the file cannot be
 * opened; the former options then stay in force.
 */
bool log_configure(const struct log_options *options, const char **error);
void log_close(void);

bool log_wants(enum log_level level);

/* One line; what the format makes may hold any byte: control characters are written as \xNN. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_writev(enum log_level level, const char *prefix, const char *format, va_list ap)
	__attribute__((format(printf, 3, 0)));

#define log_fatal(...) log_write(LOG_LEVEL_FATAL, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_LOG, __VA_ARGS__)
#define log_debug(...)                                       \
	do {                                                 \
		if (log_wants(LOG_LEVEL_DEBUG))              \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)
