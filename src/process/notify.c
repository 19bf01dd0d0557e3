#include "process/notify.h"

#ifdef HAVE_SYSTEMD

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define STATUS_SECONDS 5.

void notify_sockets(struct inherited *sockets)
{
	int n = sd_listen_fds(1);

	sockets->n = 0;
	for (int i = 0; i < n; i++) {
		if (sockets->n < INHERITED_MAX)
			sockets->fds[sockets->n++] = SD_LISTEN_FDS_START + i;
		else
			close(SD_LISTEN_FDS_START + i);
	}
}

static bool is_silent(const struct notify *n)
{
	return n->loop == NULL;
}

/* Appends STATUS to what is said, and says it. */
static void say(const struct notify *n, const char *what)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_add_str(&text, what);
	strbuf_add_str(&text, "STATUS=");
	n->print_status(n->arg, &text);
	if (!text.failed)
		sd_notify(0, text.p);
	strbuf_fini(&text);
}

static void on_status(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	say(timer->data, "");
}

static void on_watchdog(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
	sd_notify(0, "WATCHDOG=1");
}

static void start_timer(struct notify *n, ev_timer *timer, double seconds)
{
	ev_timer_set(timer, seconds, seconds);
	timer->data = n;
	ev_timer_start(n->loop->ev, timer);
}

void notify_start(struct notify *n, struct loop *loop, notify_status_fn *print_status, void *arg)
{
	uint64_t watchdog_us = 0;

	if (getenv("NOTIFY_SOCKET") == NULL)
		return;
	n->loop = loop;
	n->print_status = print_status;
	n->arg = arg;
	ev_init(&n->status, on_status);
	ev_init(&n->watchdog, on_watchdog);
	start_timer(n, &n->status, STATUS_SECONDS);
	/* Twice as often as is asked for. */
	if (sd_watchdog_enabled(0, &watchdog_us) > 0)
		start_timer(n, &n->watchdog, (double)watchdog_us / 2e6);
	say(n, "READY=1\n");
}

void notify_reloading(const struct notify *n)
{
	struct timespec now;
	char text[64];

	if (is_silent(n))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n",
		 (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	say(n, text);
}

void notify_reloaded(const struct notify *n)
{
	if (!is_silent(n))
		say(n, "READY=1\n");
}

void notify_stopping(const struct notify *n)
{
	if (!is_silent(n))
		say(n, "STOPPING=1\n");
}

void notify_replaced(struct notify *n, pid_t by)
{
	if (is_silent(n))
		return;
	sd_notifyf(0, "MAINPID=%ld", (long)by);
	notify_stop(n);
}

void notify_stop(struct notify *n)
{
	if (is_silent(n))
		return;
	ev_timer_stop(n->loop->ev, &n->status);
	ev_timer_stop(n->loop->ev, &n->watchdog);
	n->loop = NULL;
}

const char *notify_library(void)
{
	return "libsystemd";
}

#else

void notify_sockets(struct inherited *sockets)
{
	sockets->n = 0;
}

void notify_start(struct notify *n, struct loop *loop, notify_status_fn *print_status, void *arg)
{
	(void)n;
	(void)loop;
	(void)print_status;
	(void)arg;
}

void notify_reloading(const struct notify *n)
{
	(void)n;
}

void notify_reloaded(const struct notify *n)
{
	(void)n;
}

void notify_stopping(const struct notify *n)
{
	(void)n;
}

void notify_replaced(struct notify *n, pid_t by)
{
	(void)n;
	(void)by;
}

void notify_stop(struct notify *n)
{
	(void)n;
}

const char *notify_library(void)
{
	return NULL;
}

#endif
