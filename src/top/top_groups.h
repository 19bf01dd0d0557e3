/*
 * Clients and servers, counted: those that are alike make one row, with how many are in which state.
 */
#pragma once
#include <libpq-fe.h>

#include "top/top_table.h"

/*
 * By database, user and application. Those of the console are left out. Each
 * fills an empty table; NULL gives no rows.
 */
void top_groups_of_clients(const PGresult *clients, const char *console, struct top_table *t);

/* By database, user and address. */
void top_groups_of_servers(const PGresult *servers, struct top_table *t);
