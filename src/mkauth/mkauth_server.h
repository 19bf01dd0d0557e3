/*
 * What a running PostgreSQL server knows: its roles, their secrets, and how it hashes passwords.
 *
 * Results are lines of auth_file, added to `lines`. What goes wrong is told in
 * `error`, one line or more without the last line's end, and nothing is added.
 */
#pragma once
#include <libpq-fe.h>
#include <stdbool.h>

#include "base/str.h"
#include "mkauth/mkauth_args.h"

/* Logged in, or NULL. A password that is missing is asked for at the terminal, if there is one. PQfinish() it. */
PGconn *mkauth_server_open(const char *conninfo, struct strbuf *error);

/*
 * Those who can log in, by name, or of them the users that args names, each of whom has to be there. Whoever has no
 * password, or one that has expired, has an empty secret. One whose name no line can hold is left out, with a line in
 * `warnings`.
 */
bool mkauth_server_roles(PGconn *pq, const struct mkauth_args *args, struct strbuf *lines, struct strbuf *warnings,
			 struct strbuf *error);

/* The line of a user with this password, hashed here; method NULL: as the server would. */
bool mkauth_server_hash(PGconn *pq, const char *user, const char *password, const char *method, struct strbuf *lines,
			struct strbuf *error);
