/*
 * Who answers auth_query: hosts, a database, the user who runs the query, and
 * the query. Two sources with the same of all of these are the same one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

struct auth_query_source {
	const struct conf_host *hosts;   /* at least one */
	size_t nhosts;
	const char *dbname;              /* not empty */
	const char *user;                /* auth_user, not empty */
	const char *secret;              /* the user's; NULL: none */
	enum secret_type secret_type;    /* only a plain one can be used: the others log in where no password is asked for */
	const char *query;               /* gets the name as $1 */
};

bool auth_query_source_eq(const struct auth_query_source *a, const struct auth_query_source *b);

/*
 * A copy of all hosts and texts, in *n bytes at the pointer returned, to be
 * wiped and freed by the caller; NULL when out of memory.
 */
void *auth_query_source_copy(struct auth_query_source *copy, const struct auth_query_source *source, size_t *n);
