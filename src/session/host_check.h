/*
 * Which hosts are primaries and which standbys, for databases that have a
 * target_session_attrs: asked every host_check_interval by a connection of the
 * pooler's own to each of their hosts.
 *
 * It logs in as session/host_login.h says. Where that is nobody who is let in,
 * what servers tell at their login has to do (in_hot_standby, from PostgreSQL
 * 14 on).
 */
#pragma once
#include "session/hub.h"

/* Starts the probes that are needed, with the targets of now, and stops the others. */
void host_checks_set_up(struct hub *hub);

/* The same for a database or pool that has just been made. */
void host_checks_note(struct hub *hub, const struct database *db);

/* A server of the pool refused to write: hosts may have changed their roles. */
void host_checks_now(const struct pool *pool);
