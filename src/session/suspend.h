/*
 * SUSPEND: all connections but those of the console stop where they are. What
 * has been read is still delivered, nothing more is read and nobody is
 * accepted, until pause_resume_all() lets everything go on.
 *
 * Deadlines go on as ever.
 */
#pragma once
#include "session/hub.h"

/* Connections that have something to deliver after suspend_timeout are closed. */
void suspend_all(struct hub *hub);

/* Everything that was read has been delivered. */
bool suspend_is_done(const struct hub *hub);

/* For pause_resume_all(). */
void suspend_end(struct hub *hub);
