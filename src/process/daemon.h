/*
 * Becoming a background process, the pid file, and another user.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"

struct pidfh;

/* The pid file, locked; NULL and *error when another process has it or it cannot be written. */
struct pidfh *daemon_pidfile_open(const char *path, struct strbuf *error);
void daemon_pidfile_write(struct pidfh *pid);

/* Removes it; leaves it to another process. NULL is allowed. */
void daemon_pidfile_remove(struct pidfh *pid);
void daemon_pidfile_leave(struct pidfh *pid);

/*
 * Goes on in a child of its own session. The parent waits for daemon_ready()
 * and exits with 0, or with 1 if the child ends before, so that whoever
 * started the program knows whether it runs.
 */
bool daemon_start(void);

/* Tells the parent, and lets go of the terminal. Nothing when daemon_start() was not called. */
void daemon_ready(void);

/* From root to this user and its groups, for good. False with *error. */
bool daemon_become(const char *user, struct strbuf *error);
