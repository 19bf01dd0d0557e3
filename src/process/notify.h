/*
 * What the service manager hears, when there is one: sd_notify(3), for units of
 * Type=notify and notify-reload. READY, RELOADING, STOPPING, a line of status
 * every few seconds, and signs of life when it asked for them (WatchdogSec=).
 *
 * A manager that does not read holds up nothing: what it has missed of the
 * program's state it is told later, every few seconds it is tried.
 *
 * All of it is nothing in a program built without libsystemd, and in one that
 * no service manager has started.
 */
#pragma once
#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"
#include "net/inherited.h"
#include "net/loop.h"
#include "process/notify_socket.h"

/* The sockets that were passed to this process; n is 0 when there are none. To be called once, before any fork. */
void notify_sockets(struct inherited *sockets);

/* One line about how the program is doing. */
typedef void notify_status_fn(void *arg, struct strbuf *out);

/* Embedded; all zero: silent. */
struct notify {
	struct loop *loop;
	notify_status_fn *print_status;
	void *arg;
	ev_timer status, watchdog;
	struct notify_socket socket;
	bool is_replaced;
};

/* The program serves: READY, and from now on status and signs of life. */
void notify_start(struct notify *n, struct loop *loop, notify_status_fn *print_status, void *arg);

/* Around a reload, whatever came of it. */
void notify_reloading(struct notify *n);
void notify_reloaded(struct notify *n);

/* The program has begun to end. Signs of life go on until notify_stop(). */
void notify_stopping(struct notify *n);

/* Another process is the service from now on; this one is silent. */
void notify_replaced(struct notify *n, pid_t by);

/* Nothing more is sent; all zero is allowed. */
void notify_stop(struct notify *n);

/* For --version: the library, or NULL. */
const char *notify_library(void);
