#include "pooler/log_setup.h"

#include "base/clock.h"

bool pooler_configure_log(const struct settings *s, const struct pooler_options *options, struct strbuf *error)
{
	const struct log_options o = {
		.file = s->logfile,
		.syslog = s->syslog,
		.syslog_ident = s->syslog_ident,
		.syslog_facility = s->syslog_facility,
		.verbose = (int)s->verbose + options->verbose,
		.quiet = options->quiet,
		.format = (enum log_format)s->log_format,
		.fold_us = (uint64_t)s->log_fold_interval,
		.connections_limit = (unsigned)s->log_connections_limit,
	};
	const char *why;

	if (log_configure(&o, &why))
		return true;
	strbuf_addf(error, "logfile %s: %s", s->logfile, why);
	return false;
}

/* The loop sleeps until lines that were left out are to be told. */
static void wake_log(void *arg, uint64_t at)
{
	struct pooler *p = arg;
	uint64_t now = clock_us();

	ev_timer_stop(p->hub.loop->ev, &p->log);
	ev_now_update(p->hub.loop->ev);
	ev_timer_set(&p->log, at > now ? (double)(at - now) / CLOCK_SECOND : 0, 0.);
	ev_timer_start(p->hub.loop->ev, &p->log);
}

static void on_log_due(EV_P_ ev_timer *timer, int events)
{
	uint64_t next = log_flush_due(clock_us());

	(void)loop;
	(void)events;
	if (next != 0)
		wake_log(timer->data, next);
}

void log_setup_lines(enum log_level level, struct slice text)
{
	struct slice line;

	while (slice_split(&text, '\n', &line))
		if (line.n > 0)
			log_write(level, "%.*s", (int)line.n, line.p);
}

void log_setup_watch(struct pooler *p)
{
	ev_init(&p->log, on_log_due);
	p->log.data = p;
	log_on_pending(wake_log, p);
}

void log_setup_unwatch(struct pooler *p)
{
	log_on_pending(NULL, NULL);
	if (p->hub.loop != NULL)
		ev_timer_stop(p->hub.loop->ev, &p->log);
}
