#include "mkauth/mkauth_server.h"

#include "base/json.h"
#include "base/sys.h"
#include "conf/userlist.h"
#include "mkauth/mkauth_password.h"

/* As the setting auth_query has it; this view is readable for whom a superuser lets read it. */
#define ROLES                                                                                  \
	"SELECT usename, CASE WHEN valuntil < now() THEN NULL ELSE passwd END FROM pg_shadow " \
	"ORDER BY usename COLLATE \"C\""

/* libpq ends its messages with a line's end. */
static bool fail(struct strbuf *error, const char *message)
{
	strbuf_add_slice(error, slice_trim(slice_of(message)));
	return false;
}

/* --- Connecting --- */

/* dbname is taken apart when it is a connection string; what comes behind it holds over what that says. */
static PGconn *dial(const char *conninfo, const char *password)
{
	const char *const keywords[] = {"dbname", "password", "client_encoding", "fallback_application_name", NULL};
	const char *const values[] = {conninfo, password, "UTF8", "pgsluice-mkauth", NULL};

	return PQconnectdbParams(keywords, values, 1);
}

static PGconn *dial_with_password(const char *conninfo)
{
	struct mkauth_password password;
	PGconn *pq = NULL;

	if (mkauth_password_ask("Password for the server: ", &password))
		pq = dial(conninfo, password.text);
	sys_wipe(&password, sizeof(password));
	return pq;
}

/* Nobody's objects are to come before those of pg_catalog. */
static bool settle(PGconn *pq, struct strbuf *error)
{
	PGresult *result = PQexec(pq, "SELECT pg_catalog.set_config('search_path', '', false)");
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK || fail(error, PQerrorMessage(pq));

	PQclear(result);
	return ok;
}

PGconn *mkauth_server_open(const char *conninfo, struct strbuf *error)
{
	PGconn *pq = dial(conninfo, NULL), *other;

	if (PQconnectionNeedsPassword(pq) && (other = dial_with_password(conninfo)) != NULL) {
		PQfinish(pq);
		pq = other;
	}
	if (PQstatus(pq) == CONNECTION_OK ? settle(pq, error) : fail(error, PQerrorMessage(pq)))
		return pq;
	PQfinish(pq);
	return NULL;
}

/* --- Roles --- */

static bool is_named(const struct mkauth_args *args, const char *name)
{
	for (size_t i = 0; i < args->nusers; i++)
		if (strcmp(args->users[i], name) == 0)
			return true;
	return false;
}

static bool is_there(const PGresult *roles, const char *name)
{
	for (int i = 0; i < PQntuples(roles); i++)
		if (strcmp(PQgetvalue(roles, i, 0), name) == 0)
			return true;
	return false;
}

static bool are_all_there(const PGresult *roles, const struct mkauth_args *args, struct strbuf *error)
{
	for (size_t i = 0; i < args->nusers; i++)
		if (!is_there(roles, args->users[i]))
			strbuf_addf(error, "%sthe server has no role \"%s\" that can log in", error->n > 0 ? "\n" : "",
				    args->users[i]);
	return error->n == 0;
}

/* Names come from others: what is printed of them is printable. */
static void warn_left_out(struct strbuf *warnings, const char *name)
{
	struct json j;

	strbuf_add_str(warnings, "left out: the role ");
	json_init(&j, warnings);
	json_string(&j, slice_of(name));
	strbuf_add_str(warnings, ", for a line of auth_file cannot hold its name or its secret\n");
}

bool mkauth_server_roles(PGconn *pq, const struct mkauth_args *args, struct strbuf *lines, struct strbuf *warnings,
			 struct strbuf *error)
{
	PGresult *roles = PQexec(pq, ROLES);
	bool ok = PQresultStatus(roles) == PGRES_TUPLES_OK ? are_all_there(roles, args, error)
							   : fail(error, PQerrorMessage(pq));

	for (int i = 0; ok && i < PQntuples(roles); i++) {
		const char *name = PQgetvalue(roles, i, 0);

		if ((args->nusers == 0 || is_named(args, name)) && !userlist_put(lines, name, PQgetvalue(roles, i, 1)))
			warn_left_out(warnings, name);
	}
	PQclear(roles);
	return ok;
}

bool mkauth_server_hash(PGconn *pq, const char *user, const char *password, const char *method, struct strbuf *lines,
			struct strbuf *error)
{
	char *secret = PQencryptPasswordConn(pq, password, user, method);
	bool ok = secret != NULL || fail(error, PQerrorMessage(pq));

	if (ok && !userlist_put(lines, user, secret))
		ok = fail(error, "a line of auth_file cannot hold this name");
	PQfreemem(secret);
	return ok;
}
