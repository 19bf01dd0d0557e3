/*
 * Messages to the service manager, as sd_notify(3) sends them and documents
 * for programs that do it themselves: libsystemd's own call waits when the
 * manager does not read, and all of the program with it. Here a message for
 * which there is no room is owed, in order, or dropped if it is of the moment.
 */
#pragma once
#include <stdbool.h>

#include "base/addr.h"

/* More than a manager that works ever leaves unread; the oldest are forgotten. */
#define NOTIFY_OWED_MAX 16

struct notify_socket {
	int fd;
	struct addr_any to;
	char *owed[NOTIFY_OWED_MAX]; /* oldest first */
	unsigned nowed;
};

/* `name` as in NOTIFY_SOCKET: a path, or "@name" in the abstract namespace. False: no such socket can be sent to. */
bool notify_socket_open(struct notify_socket *s, const char *name);

/* Drops what is still owed. */
void notify_socket_close(struct notify_socket *s);

/* Sends a text behind all that is owed, now or at a later call of anything here. */
void notify_socket_say(struct notify_socket *s, const char *text);

/* Sends a text now or never. */
void notify_socket_mention(struct notify_socket *s, const char *text);

/* Sends what is owed, if there is room again. False: something still is. */
bool notify_socket_settle(struct notify_socket *s);
