/*
 * As whom the pooler's own questions about a host log in: as the forced user of
 * a database there, else as auth_user, else as the user of one of the
 * database's pools; with a password if a plain one is known. Verifiers and
 * hashes of passwords are of no use to libpq.
 */
#pragma once
#include "control/connection.h"
#include "session/hub.h"

/* Sets the target's user and password, texts of the configuration's or the pool's. False: nobody is known yet. */
bool host_login_find(const struct hub *hub, const struct database *db, struct connection_target *target);
