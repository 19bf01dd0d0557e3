#include "control/auth_query_answer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_state(const char *sqlstate, const char *state)
{
	return sqlstate != NULL && strcmp(sqlstate, state) == 0;
}

/* undefined_function, undefined_table: often a query that was written for another search_path. */
static bool may_lack_schema(const char *sqlstate)
{
	return is_state(sqlstate, "42883") || is_state(sqlstate, "42P01");
}

/* character_not_in_repertoire, untranslatable_character: a client may send any bytes for a name. */
static bool is_no_name(const char *sqlstate)
{
	return is_state(sqlstate, "22021") || is_state(sqlstate, "22P05");
}

static void read_error(struct auth_query_answer *answer, const PGresult *result, char *room, size_t n)
{
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (is_no_name(sqlstate)) {
		answer->result = AUTH_QUERY_NOT_FOUND;
		answer->why = "the name is none in the encoding of the database";
		return;
	}
	answer->sqlstate = sqlstate;
	answer->why = room;
	if (text == NULL)
		snprintf(room, n, "auth_query does not return rows");
	else if (may_lack_schema(sqlstate))
		snprintf(room, n, "%s (search_path is empty for auth_query: names in it need their schema)", text);
	else
		snprintf(room, n, "%s", text);
}

void auth_query_read_answer(struct auth_query_answer *answer, const PGresult *result, const char *user, char *room,
			    size_t n)
{
	*answer = (struct auth_query_answer){.result = AUTH_QUERY_ERROR};
	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		read_error(answer, result, room, n);
		return;
	}
	if (PQnfields(result) != 2) {
		answer->why = room;
		snprintf(room, n, "auth_query returns %d columns instead of 2, name and secret", PQnfields(result));
		return;
	}
	if (PQntuples(result) > 1) {
		answer->why = room;
		snprintf(room, n, "auth_query returns %d rows for one user", PQntuples(result));
		return;
	}
	answer->result = AUTH_QUERY_NOT_FOUND;
	if (PQntuples(result) == 0)
		return;
	if (PQgetisnull(result, 0, 0) || strcmp(PQgetvalue(result, 0, 0), user) != 0) {
		answer->why = "auth_query returns another name than it was asked for";
		return;
	}
	answer->result = AUTH_QUERY_FOUND;
	if (!PQgetisnull(result, 0, 1))
		answer->secret = PQgetvalue(result, 0, 1);
}
