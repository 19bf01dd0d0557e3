/*
 * Where auth_query is asked: on which server, as whom, in which database.
 */
#pragma once
#include "control/auth_query.h"
#include "session/hub.h"

/*
 * For clients of this database (NULL: of the console). False: auth_user is not
 * set, or there is no database to ask in. Texts are those of the snapshot in
 * force, and `database`.
 */
bool auth_source_for(const struct hub *hub, const struct atom *database, struct auth_query_source *source);
