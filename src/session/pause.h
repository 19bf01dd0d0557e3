/*
 * PAUSE and RESUME: servers are handed out to nobody and closed as they become
 * free, so that what lies behind them can be restarted; clients wait.
 *
 * Whoever has a server keeps it until the transaction (in session mode: the
 * session) is over. Deadlines go on: a client that waits for longer than
 * query_wait_timeout is sent away.
 */
#pragma once
#include "session/hub.h"

/* Whether the servers of a database are held back, for a PAUSE, SUSPEND or a shutdown. */
bool pause_holds(const struct hub *hub, const struct database *db);

/* Of all databases, those of later included; of one. */
void pause_all(struct hub *hub);
void pause_database(struct hub *hub, struct database *db);

/* A database is paused by itself. */
bool pause_has_database(const struct hub *hub);

/* A PAUSE is complete: no server is a client's or works for one. NULL: of all databases. */
bool pause_is_done(const struct hub *hub, const struct database *db);

/* Undoes pause_all() or suspend_all(); undoes pause_database(). Those who wait are served. */
void pause_resume_all(struct hub *hub);
void pause_resume_database(struct hub *hub, struct database *db);
