/*
 * What a server's reply to auth_query says about a user.
 */
#pragma once
#include <libpq-fe.h>
#include <stddef.h>

#include "control/auth_query.h"

/*
 * The query has to return two columns, name and secret, and a row for a user
 * who exists, none else. The answer's texts are the result's, or are written
 * to [room, room + n).
 */
void auth_query_read_answer(struct auth_query_answer *answer, const PGresult *result, const char *user, char *room,
			    size_t n);
