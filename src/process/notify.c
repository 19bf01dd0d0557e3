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
	return n->loop == NULL || n->is_replaced;
}

/* How a message goes out: notify_socket_say() or notify_socket_mention(). */
typedef void send_fn(struct notify_socket *s, const char *text);

/* Sends it with STATUS appended. */
static void send_with_status(struct notify *n, send_fn *send, const char *what)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_add_str(&text, what);
	strbuf_add_str(&text, "STATUS=");
	n->print_status(n->arg, &text);
	if (!text.failed)
		send(&n->socket, text.p);
	strbuf_fini(&text);
}

static void say(struct notify *n, const char *what)
{
	send_with_status(n, notify_socket_say, what);
}

static void on_status(EV_P_ ev_timer *timer, int events)
{
	struct notify *n = timer->data;

	(void)events;
	if (!n->is_replaced)
		send_with_status(n, notify_socket_mention, "");
	else if (notify_socket_settle(&n->socket))
		ev_timer_stop(EV_A_ timer);
}

static void on_watchdog(EV_P_ ev_timer *timer, int events)
{
	struct notify *n = timer->data;

	(void)loop;
	(void)events;
	notify_socket_mention(&n->socket, "WATCHDOG=1");
}

static void start_timer(struct notify *n, ev_timer *timer, double seconds)
{
	ev_timer_set(timer, seconds, seconds);
	timer->data = n;
	ev_timer_start(n->loop->ev, timer);
}

void notify_start(struct notify *n, struct loop *loop, notify_status_fn *print_status, void *arg)
{
	const char *name = getenv("NOTIFY_SOCKET");
	uint64_t watchdog_us = 0;

	if (name == NULL || !notify_socket_open(&n->socket, name))
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

void notify_reloading(struct notify *n)
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

void notify_reloaded(struct notify *n)
{
	if (!is_silent(n))
		say(n, "READY=1\n");
}

void notify_stopping(struct notify *n)
{
	if (!is_silent(n))
		say(n, "STOPPING=1\n");
}

void notify_replaced(struct notify *n, pid_t by)
{
	char text[64];

	if (is_silent(n))
		return;
	snprintf(text, sizeof(text), "MAINPID=%ld", (long)by);
	notify_socket_say(&n->socket, text);
	ev_timer_stop(n->loop->ev, &n->watchdog);
	n->is_replaced = true;
}

void notify_stop(struct notify *n)
{
	if (n->loop == NULL)
		return;
	ev_timer_stop(n->loop->ev, &n->status);
	ev_timer_stop(n->loop->ev, &n->watchdog);
	notify_socket_settle(&n->socket);
	notify_socket_close(&n->socket);
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

void notify_reloading(struct notify *n)
{
	(void)n;
}

void notify_reloaded(struct notify *n)
{
	(void)n;
}

void notify_stopping(struct notify *n)
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
