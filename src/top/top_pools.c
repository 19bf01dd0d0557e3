#include "top/top_pools.h"

#include <math.h>
#include <string.h>

#include "top/top_answer.h"
#include "top/top_counters.h"

struct pool {
	const PGresult *pools;
	int row;
	double size;
	struct top_growth growth;
};

static double maxwait(const struct pool *p)
{
	return top_answer_wait(p->pools, p->row, "maxwait", "maxwait_us");
}

static double size(const struct pool *p)
{
	return p->size;
}

static double load(const struct pool *p)
{
	return p->size > 0 ? top_answer_number(p->pools, p->row, "sv_active") / p->size : NAN;
}

static double xact_rate(const struct pool *p)
{
	return top_growth_rate(&p->growth, TOP_XACTS);
}

static double query_rate(const struct pool *p)
{
	return top_growth_rate(&p->growth, TOP_QUERIES);
}

static double in_rate(const struct pool *p)
{
	return top_growth_rate(&p->growth, TOP_RECEIVED);
}

static double out_rate(const struct pool *p)
{
	return top_growth_rate(&p->growth, TOP_SENT);
}

static double mean_xact(const struct pool *p)
{
	return top_growth_mean_xact(&p->growth);
}

static double mean_query(const struct pool *p)
{
	return top_growth_mean_query(&p->growth);
}

static double mean_wait(const struct pool *p)
{
	return top_growth_mean_wait(&p->growth);
}

/* What matters most stands where a narrow terminal still shows it. */
static const struct {
	const char *title;
	enum top_kind kind;
	enum top_question question;   /* the table and its column without which there is none here */
	const char *column;
	double (*figure)(const struct pool *p);   /* NULL: the column itself, of POOLS */
} columns[] = {
	{"database", TOP_TEXT, TOP_POOLS, "database", NULL},
	{"user", TOP_TEXT, TOP_POOLS, "user", NULL},
	{"cl_active", TOP_COUNT, TOP_POOLS, "cl_active", NULL},
	{"cl_waiting", TOP_COUNT, TOP_POOLS, "cl_waiting", NULL},
	{"sv_active", TOP_COUNT, TOP_POOLS, "sv_active", NULL},
	{"sv_idle", TOP_COUNT, TOP_POOLS, "sv_idle", NULL},
	{"maxwait", TOP_TIME, TOP_POOLS, "maxwait", maxwait},
	{"load", TOP_SHARE, TOP_DATABASES, "pool_size", load},
	{"xact/s", TOP_RATE, TOP_STATS, "total_xact_count", xact_rate},
	{"query/s", TOP_RATE, TOP_STATS, "total_query_count", query_rate},
	{"avg_query", TOP_TIME, TOP_STATS, "total_query_time", mean_query},
	{"avg_xact", TOP_TIME, TOP_STATS, "total_xact_time", mean_xact},
	{"avg_wait", TOP_TIME, TOP_STATS, "total_wait_time", mean_wait},
	{"in/s", TOP_BYTES, TOP_STATS, "total_received", in_rate},
	{"out/s", TOP_BYTES, TOP_STATS, "total_sent", out_rate},
	{"size", TOP_COUNT, TOP_DATABASES, "pool_size", size},
	{"sv_used", TOP_COUNT, TOP_POOLS, "sv_used", NULL},
	{"sv_tested", TOP_COUNT, TOP_POOLS, "sv_tested", NULL},
	{"sv_login", TOP_COUNT, TOP_POOLS, "sv_login", NULL},
	{"pool_mode", TOP_TEXT, TOP_POOLS, "pool_mode", NULL},
};

#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

static bool is_there(const struct top_reading *now, size_t i)
{
	return top_answer_has(now->answers[columns[i].question], columns[i].column);
}

static struct top_cell cell_of(struct top_table *t, const struct pool *p, size_t i)
{
	if (columns[i].kind == TOP_TEXT)
		return top_table_text(t, top_answer_text(p->pools, p->row, columns[i].column));
	if (columns[i].figure != NULL)
		return (struct top_cell){.number = columns[i].figure(p)};
	return (struct top_cell){.number = top_answer_number(p->pools, p->row, columns[i].column)};
}

static void tell_pool(struct top_table *t, const struct top_reading *now, const struct pool *p)
{
	struct top_cell *cell = top_table_add_row(t);

	for (size_t i = 0; i < NCOLUMNS; i++)
		if (is_there(now, i))
			*cell++ = cell_of(t, p, i);
}

/* By name, what the other tables say about a pool's database. */
struct lookups {
	struct top_index before, stats, databases;
};

static void look_up(const struct lookups *l, const struct top_reading *before, const struct top_reading *now,
		    const char *database, struct pool *p)
{
	int stats = top_index_find(&l->stats, database);

	p->size = top_answer_number(l->databases.answer, top_index_find(&l->databases, database), "pool_size");
	p->growth = stats >= 0 ? top_growth_of(before, &l->before, now, stats) : top_growth_none(before, now);
}

void top_pools_tell(const struct top_reading *before, const struct top_reading *now, const char *console,
		    struct top_table *t)
{
	struct pool p = {.pools = now->answers[TOP_POOLS]};
	struct lookups l;

	top_index_init(&l.before, before->answers[TOP_STATS], "database");
	top_index_init(&l.stats, now->answers[TOP_STATS], "database");
	top_index_init(&l.databases, now->answers[TOP_DATABASES], "name");
	for (size_t i = 0; i < NCOLUMNS; i++)
		if (is_there(now, i))
			top_table_add_column(t, columns[i].title, columns[i].kind);
	top_table_reserve(t, (size_t)PQntuples(p.pools));
	for (p.row = 0; p.row < PQntuples(p.pools); p.row++) {
		const char *database = top_answer_text(p.pools, p.row, "database");

		if (strcmp(database, console) == 0)
			continue;
		look_up(&l, before, now, database, &p);
		tell_pool(t, now, &p);
	}
	top_index_fini(&l.before);
	top_index_fini(&l.stats);
	top_index_fini(&l.databases);
}
