#include "control/capacity_answer.h"

#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

/*
 * Everybody may see whose a session is, of which database and application. What
 * kind it is, others' are hidden: then those with a user and a database are
 * taken for clients, parallel workers among them. Walsenders have slots of their
 * own since PostgreSQL 12.
 */
const char capacity_question[] =
	"SELECT current_setting('max_connections'), current_setting('superuser_reserved_connections'),"
	" coalesce(current_setting('reserved_connections', true), '0'),"
	" coalesce(sum(a.n) OVER (), 0), a.application_name, a.n"
	" FROM (SELECT) one LEFT JOIN (SELECT coalesce(application_name, '') AS application_name, count(*) AS n"
	" FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid() AND (backend_type = 'client backend'"
	" OR backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL) GROUP BY 1) a ON true"
	" ORDER BY a.n DESC NULLS LAST, a.application_name LIMIT 20";

enum { MAX_CONNECTIONS, SUPERUSER_RESERVED, RESERVED, IN_USE, APPLICATION_NAME, COUNT, COLUMNS };

static bool read_number(const PGresult *result, int row, int column, unsigned *number)
{
	int64_t value;

	if (!slice_to_int64(slice_of(PQgetvalue(result, row, column)), &value) || value < 0 || value > INT32_MAX)
		return false;
	*number = (unsigned)value;
	return true;
}

/* When nobody but who asked is there, the only row has nobody in it. */
static bool read_use(struct capacity_answer *answer, const PGresult *result, int row)
{
	struct capacity_use *use = &answer->uses[answer->nuses];

	if (PQgetisnull(result, row, COUNT))
		return true;
	if (!read_number(result, row, COUNT, &use->count))
		return false;
	snprintf(use->application_name, sizeof(use->application_name), "%s", PQgetvalue(result, row, APPLICATION_NAME));
	answer->nuses++;
	return true;
}

bool capacity_read_answer(struct capacity_answer *answer, const PGresult *result)
{
	int nrows = PQntuples(result);

	answer->nuses = 0;
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) != COLUMNS || nrows < 1 || nrows > CAPACITY_USES)
		return false;
	if (!read_number(result, 0, MAX_CONNECTIONS, &answer->max_connections) ||
	    !read_number(result, 0, SUPERUSER_RESERVED, &answer->superuser_reserved) ||
	    !read_number(result, 0, RESERVED, &answer->reserved) || !read_number(result, 0, IN_USE, &answer->in_use))
		return false;
	for (int row = 0; row < nrows; row++)
		if (!read_use(answer, result, row))
			return false;
	return true;
}
