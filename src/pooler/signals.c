#include "pooler/signals.h"

#include <signal.h>

#include "base/log.h"
#include "pooler/configure.h"
#include "pooler/endings.h"
#include "session/pause.h"

static void on_hangup(EV_P_ ev_signal *w, int events)
{
	struct strbuf error;

	(void)loop;
	(void)events;
	log_info("got SIGHUP, re-reading config");
	strbuf_init(&error);
	configure_reload(w->data, &error);
	strbuf_fini(&error);
}

/* The first asks for a clean end, the second means it. */
static void on_end(EV_P_ ev_signal *w, int events)
{
	struct pooler *p = w->data;

	(void)loop;
	(void)events;
	if (p->hub.shutdown != SHUTDOWN_NOT) {
		log_info("got a second signal while shutting down, exiting at once");
		endings_shut_down(p, ADMIN_SHUTDOWN_IMMEDIATE);
	} else if (w->signum == SIGTERM) {
		endings_terminate(p);
	} else {
		log_info("got SIGINT, shutting down, waiting for all servers to be released");
		endings_shut_down(p, ADMIN_SHUTDOWN_WAIT_FOR_SERVERS);
	}
}

static void on_immediate_end(EV_P_ ev_signal *w, int events)
{
	(void)loop;
	(void)events;
	log_info("got SIGQUIT, fast exit");
	endings_shut_down(w->data, ADMIN_SHUTDOWN_IMMEDIATE);
}

static void on_pause(EV_P_ ev_signal *w, int events)
{
	struct pooler *p = w->data;

	(void)loop;
	(void)events;
	if (p->hub.shutdown != SHUTDOWN_NOT) {
		log_info("got SIGUSR1 while shutting down, ignoring");
	} else if (p->hub.pause != PAUSE_NOT) {
		log_info("got SIGUSR1, but already paused/suspended");
	} else {
		log_info("got SIGUSR1, pausing all activity");
		pause_all(&p->hub);
	}
}

static void on_resume(EV_P_ ev_signal *w, int events)
{
	struct pooler *p = w->data;

	(void)loop;
	(void)events;
	if (p->hub.shutdown != SHUTDOWN_NOT) {
		log_info("got SIGUSR2 while shutting down, ignoring");
	} else if (p->hub.pause == PAUSE_NOT) {
		log_info("got SIGUSR2, but not paused/suspended");
	} else {
		log_info("got SIGUSR2, continuing from %s", p->hub.pause == PAUSE_SUSPEND ? "SUSPEND" : "PAUSE");
		pause_resume_all(&p->hub);
	}
}

static void watch(struct pooler *p, ev_signal *w, int number, void (*fn)(EV_P_ ev_signal *, int))
{
	ev_signal_init(w, fn, number);
	w->data = p;
	ev_signal_start(p->hub.loop->ev, w);
}

void signals_watch(struct pooler *p)
{
	watch(p, &p->on_hup, SIGHUP, on_hangup);
	watch(p, &p->on_int, SIGINT, on_end);
	watch(p, &p->on_term, SIGTERM, on_end);
	watch(p, &p->on_quit, SIGQUIT, on_immediate_end);
	watch(p, &p->on_usr1, SIGUSR1, on_pause);
	watch(p, &p->on_usr2, SIGUSR2, on_resume);
}

void signals_unwatch(struct pooler *p)
{
	ev_signal *const watched[] = {&p->on_hup, &p->on_int, &p->on_term, &p->on_quit, &p->on_usr1, &p->on_usr2};

	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		ev_signal_stop(p->hub.loop->ev, watched[i]);
}
