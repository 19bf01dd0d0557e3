/*
 * STATS, STATS_TOTALS, STATS_AVERAGES, TOTALS, PREPARED_STATS.
 */
#include "report/tables.h"

#include "report/subjects.h"

/* Of one database, or of all. */
struct figures {
	struct slice name;
	struct stats total, average;
};

static void average(const struct report *r, const struct stats_history *h, struct figures *f)
{
	f->total = h->now;
	stats_average(&h->before_last, &h->last, (uint64_t)hub_settings(r->hub)->stats_period, &f->average);
}

static struct stats_history history_of(const struct report *r, const struct database *db)
{
	struct stats_history sum;

	if (db == NULL)
		return *r->console;
	history_of_database(db, &sum);
	return sum;
}

/* False: nobody has used it, it has no row. */
static bool read_figures(const struct report *r, const struct subject *s, struct figures *f)
{
	struct stats_history h;

	if (s->database != NULL && !s->database->was_used)
		return false;
	h = history_of(r, s->database);
	f->name = s->name;
	average(r, &h, f);
	return true;
}

#define COUNT(value) cell_number((int64_t)(value))

#define STATS_COLUMNS(X)                                                                    \
	X(database, TEXT, cell_slice(f->name))                                              \
	X(total_server_assignment_count, NUMERIC, COUNT(f->total.server_assignment_count))  \
	X(total_xact_count, NUMERIC, COUNT(f->total.xact_count))                            \
	X(total_query_count, NUMERIC, COUNT(f->total.query_count))                          \
	X(total_received, NUMERIC, COUNT(f->total.bytes_received))                          \
	X(total_sent, NUMERIC, COUNT(f->total.bytes_sent))                                  \
	X(total_xact_time, NUMERIC, COUNT(f->total.xact_time))                              \
	X(total_query_time, NUMERIC, COUNT(f->total.query_time))                            \
	X(total_wait_time, NUMERIC, COUNT(f->total.wait_time))                              \
	X(total_client_parse_count, NUMERIC, COUNT(f->total.client_parse_count))            \
	X(total_server_parse_count, NUMERIC, COUNT(f->total.server_parse_count))            \
	X(total_bind_count, NUMERIC, COUNT(f->total.bind_count))                            \
	X(avg_server_assignment_count, NUMERIC, COUNT(f->average.server_assignment_count))  \
	X(avg_xact_count, NUMERIC, COUNT(f->average.xact_count))                            \
	X(avg_query_count, NUMERIC, COUNT(f->average.query_count))                          \
	X(avg_recv, NUMERIC, COUNT(f->average.bytes_received))                              \
	X(avg_sent, NUMERIC, COUNT(f->average.bytes_sent))                                  \
	X(avg_xact_time, NUMERIC, COUNT(f->average.xact_time))                              \
	X(avg_query_time, NUMERIC, COUNT(f->average.query_time))                            \
	X(avg_wait_time, NUMERIC, COUNT(f->average.wait_time))                              \
	X(avg_client_parse_count, NUMERIC, COUNT(f->average.client_parse_count))            \
	X(avg_server_parse_count, NUMERIC, COUNT(f->average.server_parse_count))            \
	X(avg_bind_count, NUMERIC, COUNT(f->average.bind_count))

static bool stats_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	struct figures figures;
	const struct figures *f = &figures;

	if (read_figures(r, subject, &figures))
		sink->on_row(sink, (const struct cell[]){STATS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told stats_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return subjects_piece(&subject_databases, r, place, most, sink, stats_row);
}

static const struct column stats_columns[] = {STATS_COLUMNS(TABLE_COLUMN)};
const struct table table_stats = TABLE_IN_PIECES("STATS", stats_columns, stats_piece);

#define STATS_TOTALS_COLUMNS(X)                                                       \
	X(database, TEXT, cell_slice(f->name))                                        \
	X(server_assignment_count, NUMERIC, COUNT(f->total.server_assignment_count))  \
	X(xact_count, NUMERIC, COUNT(f->total.xact_count))                            \
	X(query_count, NUMERIC, COUNT(f->total.query_count))                          \
	X(bytes_received, NUMERIC, COUNT(f->total.bytes_received))                    \
	X(bytes_sent, NUMERIC, COUNT(f->total.bytes_sent))                            \
	X(xact_time, NUMERIC, COUNT(f->total.xact_time))                              \
	X(query_time, NUMERIC, COUNT(f->total.query_time))                            \
	X(wait_time, NUMERIC, COUNT(f->total.wait_time))                              \
	X(client_parse_count, NUMERIC, COUNT(f->total.client_parse_count))            \
	X(server_parse_count, NUMERIC, COUNT(f->total.server_parse_count))            \
	X(bind_count, NUMERIC, COUNT(f->total.bind_count))

static bool stats_totals_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	struct figures figures;
	const struct figures *f = &figures;

	if (read_figures(r, subject, &figures))
		sink->on_row(sink, (const struct cell[]){STATS_TOTALS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told stats_totals_piece(const struct report *r, struct table_place *place, unsigned most,
				    struct row_sink *sink)
{
	return subjects_piece(&subject_databases, r, place, most, sink, stats_totals_row);
}

static const struct column stats_totals_columns[] = {STATS_TOTALS_COLUMNS(TABLE_COLUMN)};
const struct table table_stats_totals = TABLE_IN_PIECES("STATS_TOTALS", stats_totals_columns, stats_totals_piece);

/* That only the last three begin with avg_ is PgBouncer's way. */
#define STATS_AVERAGES_COLUMNS(X)                                                       \
	X(database, TEXT, cell_slice(f->name))                                          \
	X(server_assignment_count, NUMERIC, COUNT(f->average.server_assignment_count))  \
	X(xact_count, NUMERIC, COUNT(f->average.xact_count))                            \
	X(query_count, NUMERIC, COUNT(f->average.query_count))                          \
	X(bytes_received, NUMERIC, COUNT(f->average.bytes_received))                    \
	X(bytes_sent, NUMERIC, COUNT(f->average.bytes_sent))                            \
	X(xact_time, NUMERIC, COUNT(f->average.xact_time))                              \
	X(query_time, NUMERIC, COUNT(f->average.query_time))                            \
	X(wait_time, NUMERIC, COUNT(f->average.wait_time))                              \
	X(avg_client_parse_count, NUMERIC, COUNT(f->average.client_parse_count))        \
	X(avg_server_parse_count, NUMERIC, COUNT(f->average.server_parse_count))        \
	X(avg_bind_count, NUMERIC, COUNT(f->average.bind_count))

static bool stats_averages_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	struct figures figures;
	const struct figures *f = &figures;

	if (read_figures(r, subject, &figures))
		sink->on_row(sink, (const struct cell[]){STATS_AVERAGES_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told stats_averages_piece(const struct report *r, struct table_place *place, unsigned most,
				      struct row_sink *sink)
{
	return subjects_piece(&subject_databases, r, place, most, sink, stats_averages_row);
}

static const struct column stats_averages_columns[] = {STATS_AVERAGES_COLUMNS(TABLE_COLUMN)};
const struct table table_stats_averages =
	TABLE_IN_PIECES("STATS_AVERAGES", stats_averages_columns, stats_averages_piece);

#define TOTALS_COLUMNS(X)                 \
	X(name, TEXT, cell_text(name))    \
	X(value, NUMERIC, COUNT(value))

/* X(counter, its name in TOTALS) */
#define TOTALS(X)                                            \
	X(server_assignment_count, server_assignment_count)  \
	X(xact_count, xact_count)                            \
	X(query_count, query_count)                          \
	X(bytes_received, client_bytes)                      \
	X(bytes_sent, server_bytes)                          \
	X(xact_time, xact_time)                              \
	X(query_time, query_time)                            \
	X(wait_time, wait_time)                              \
	X(client_parse_count, ps_client_parse_count)         \
	X(server_parse_count, ps_server_parse_count)         \
	X(bind_count, ps_bind_count)

static void totals_row(struct row_sink *sink, const char *name, uint64_t value)
{
	const struct cell cells[] = {TOTALS_COLUMNS(TABLE_CELL)};

	sink->on_row(sink, cells);
}

static bool totals_rows(const struct report *r, struct row_sink *sink)
{
	struct stats_history h;
	struct figures f;

	history_of_all(r->hub, &h);
	stats_add_history(&h, r->console);
	average(r, &h, &f);
#define X(counter, name) totals_row(sink, "total_" #name, f.total.counter);
	TOTALS(X)
#undef X
#define X(counter, name) totals_row(sink, "avg_" #name, f.average.counter);
	TOTALS(X)
#undef X
	return true;
}

static const struct column totals_columns[] = {TOTALS_COLUMNS(TABLE_COLUMN)};
const struct table table_totals = TABLE("TOTALS", totals_columns, totals_rows);

#define PREPARED_STATS_COLUMNS(X)                                        \
	X(database, TEXT, cell_slice(f->name))                           \
	X(client_parses, NUMERIC, COUNT(f->total.client_parse_count))    \
	X(server_parses, NUMERIC, COUNT(f->total.server_parse_count))    \
	X(binds, NUMERIC, COUNT(f->total.bind_count))                    \
	X(hits, NUMERIC, COUNT(f->total.prepared_hits))                  \
	X(evictions, NUMERIC, COUNT(f->total.prepared_evictions))        \
	X(retries, NUMERIC, COUNT(f->total.prepared_retries))

static bool prepared_stats_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	struct figures figures;
	const struct figures *f = &figures;

	if (read_figures(r, subject, &figures))
		sink->on_row(sink, (const struct cell[]){PREPARED_STATS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told prepared_stats_piece(const struct report *r, struct table_place *place, unsigned most,
				      struct row_sink *sink)
{
	return subjects_piece(&subject_databases, r, place, most, sink, prepared_stats_row);
}

static const struct column prepared_stats_columns[] = {PREPARED_STATS_COLUMNS(TABLE_COLUMN)};
const struct table table_prepared_stats =
	TABLE_IN_PIECES("PREPARED_STATS", prepared_stats_columns, prepared_stats_piece);
