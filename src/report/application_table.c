/*
 * APPLICATIONS: what runs under which application_name.
 */
#include "report/tables.h"

#include <stdlib.h>

#include "pool/applications.h"
#include "session/client.h"

#define COUNT(value) cell_number((int64_t)(value))

#define APPLICATIONS_COLUMNS(X)                                    \
	X(application_name, TEXT, name_cell(app))                  \
	X(clients, INT4, COUNT(clients))                           \
	X(transactions, INT8, COUNT(app->transactions))            \
	X(queries, INT8, COUNT(app->queries))                      \
	X(transaction_time_us, INT8, COUNT(app->transaction_time)) \
	X(query_time_us, INT8, COUNT(app->query_time))             \
	X(wait_time_us, INT8, COUNT(app->wait_time))

static struct cell name_cell(const struct application *app)
{
	return app->name == NULL ? cell_text(APPLICATIONS_OTHER) : cell_slice(atom_slice(app->name));
}

static void application_row(struct row_sink *sink, const struct application *app, unsigned clients)
{
	sink->on_row(sink, (const struct cell[]){APPLICATIONS_COLUMNS(TABLE_CELL)});
}

/* Logged-in ones, by the place of their application. */
static void count_clients(const struct hub *hub, unsigned *clients)
{
	const struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (c->state == CLIENT_IDLE || c->state == CLIENT_WAITING || c->state == CLIENT_ACTIVE)
			clients[applications_find(hub->applications, c->params)]++;
}

/* The names with the most transactions first, the others last. */
static bool applications_rows(const struct report *r, struct row_sink *sink)
{
	const struct applications *a = r->hub->applications;
	const struct application **order = calloc(a->n + 1, sizeof(order[0]));
	unsigned *clients = calloc(a->n + 1, sizeof(clients[0]));
	bool ok = order != NULL && clients != NULL;

	if (ok) {
		count_clients(r->hub, clients);
		applications_sort(a, order);
		for (size_t i = 0; i < a->n; i++)
			application_row(sink, order[i], clients[order[i] - a->places]);
		application_row(sink, &a->places[0], clients[0]);
	}
	free(order);
	free(clients);
	return ok;
}

static const struct column applications_columns[] = {APPLICATIONS_COLUMNS(TABLE_COLUMN)};
const struct table table_applications = TABLE("APPLICATIONS", applications_columns, applications_rows);
