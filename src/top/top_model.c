#include "top/top_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "top/top_answer.h"
#include "top/top_counters.h"
#include "top/top_groups.h"
#include "top/top_pools.h"

const struct top_view_info top_views[TOP_NVIEWS] = {
#define X(symbol, title, question, sort) [TOP_VIEW_##symbol] = {(title), (question), (sort)},
	TOP_VIEWS(X)
#undef X
};

void top_model_fini(struct top_model *m)
{
	top_reading_clear(&m->before);
	top_reading_clear(&m->now);
}

void top_model_take(struct top_model *m, struct top_reading reading, const char *console)
{
	if (m->is_broken)
		top_model_fini(m);
	m->is_broken = false;
	if (reading.at_us - m->now.at_us >= m->span_us || m->before.at_us == 0) {
		top_reading_clear(&m->before);
		m->before = m->now;
	} else {
		top_reading_clear(&m->now);
	}
	m->now = reading;
	snprintf(m->console, sizeof(m->console), "%s", console);
}

void top_model_break(struct top_model *m)
{
	m->is_broken = true;
}

bool top_model_has(const struct top_model *m, enum top_view view)
{
	return m->now.answers[top_views[view].question] != NULL;
}

/* --- The pooler as a whole --- */

static double sum_of_pools(const struct top_model *m, const char *column)
{
	const PGresult *pools = m->now.answers[TOP_POOLS];
	double sum = top_answer_has(pools, column) ? 0 : NAN;

	for (int row = 0; row < PQntuples(pools); row++)
		if (strcmp(top_answer_text(pools, row, "database"), m->console) != 0)
			sum += top_answer_number(pools, row, column);
	return sum;
}

static struct top_growth sum_of_stats(const struct top_model *m)
{
	struct top_growth sum = top_growth_none(&m->before, &m->now);
	const PGresult *stats = m->now.answers[TOP_STATS];
	struct top_index index;

	top_index_init(&index, m->before.answers[TOP_STATS], "database");
	for (int row = 0; row < PQntuples(stats); row++) {
		struct top_growth g = top_growth_of(&m->before, &index, &m->now, row);

		if (strcmp(top_answer_text(stats, row, "database"), m->console) != 0)
			top_growth_add(&sum, &g);
	}
	top_index_fini(&index);
	return sum;
}

/* STATE is a list of what may be so, of which one is. */
static const char *state_of(const struct top_reading *r)
{
	const PGresult *state = r->answers[TOP_STATE];

	for (int row = 0; row < PQntuples(state); row++)
		if (strcmp(top_answer_text(state, row, "value"), "yes") == 0)
			return top_answer_text(state, row, "key");
	return NULL;
}

static double list_items(const struct top_reading *r, const char *list)
{
	const PGresult *lists = r->answers[TOP_LISTS];

	for (int row = 0; row < PQntuples(lists); row++)
		if (strcmp(top_answer_text(lists, row, "list"), list) == 0)
			return top_answer_number(lists, row, "items");
	return NAN;
}

struct item {
	const char *title;
	enum top_kind kind;
	double number;
	const char *text;
};

static bool is_known(const struct item *i)
{
	return i->kind == TOP_TEXT ? i->text != NULL && i->text[0] != '\0' : true;
}

static void tell_items(struct top_table *t, const struct item *items, size_t n)
{
	struct top_cell *cell;

	for (size_t i = 0; i < n; i++)
		if (is_known(&items[i]))
			top_table_add_column(t, items[i].title, items[i].kind);
	top_table_reserve(t, 1);
	cell = top_table_add_row(t);
	for (size_t i = 0; i < n; i++)
		if (is_known(&items[i]))
			*cell++ = items[i].kind == TOP_TEXT ? top_table_text(t, items[i].text)
							    : (struct top_cell){.number = items[i].number};
	top_table_arrange(t, "", false, "");
}

void top_model_head(const struct top_model *m, struct top_table *t)
{
	struct top_growth g = sum_of_stats(m);
	const struct item items[] = {
		{"state", TOP_TEXT, NAN, state_of(&m->now)},
		{"cl_active", TOP_COUNT, sum_of_pools(m, "cl_active"), NULL},
		{"cl_waiting", TOP_COUNT, sum_of_pools(m, "cl_waiting"), NULL},
		{"cl_login", TOP_COUNT, list_items(&m->now, "login_clients"), NULL},
		{"sv_active", TOP_COUNT, sum_of_pools(m, "sv_active"), NULL},
		{"sv_idle", TOP_COUNT, sum_of_pools(m, "sv_idle"), NULL},
		{"xact/s", TOP_RATE, top_growth_rate(&g, TOP_XACTS), NULL},
		{"query/s", TOP_RATE, top_growth_rate(&g, TOP_QUERIES), NULL},
		{"avg_query", TOP_TIME, top_growth_mean_query(&g), NULL},
		{"avg_wait", TOP_TIME, top_growth_mean_wait(&g), NULL},
		{"in/s", TOP_BYTES, top_growth_rate(&g, TOP_RECEIVED), NULL},
		{"out/s", TOP_BYTES, top_growth_rate(&g, TOP_SENT), NULL},
		{"version", TOP_TEXT, NAN, top_answer_text(m->now.answers[TOP_VERSION], 0, "version")},
	};

	top_table_init(t, m->is_plain);
	tell_items(t, items, sizeof(items) / sizeof(items[0]));
}

/* --- Tables of the peer's that are shown as they are --- */

/* Numbers are int4, int8 and numeric; all else is text. */
static bool is_number(const PGresult *answer, int column)
{
	switch (PQftype(answer, column)) {
	case 23:
	case 20:
	case 1700:
		return true;
	default:
		return false;
	}
}

static struct top_cell cell_as_is(struct top_table *t, const PGresult *answer, int row, int column)
{
	const char *text = PQgetvalue(answer, row, column);
	struct top_cell cell = top_table_text(t, text);

	if (is_number(answer, column))
		cell.number = top_answer_number(answer, row, PQfname(answer, column));
	return cell;
}

static void tell_as_is(struct top_table *t, const PGresult *answer)
{
	for (int column = 0; column < PQnfields(answer); column++)
		top_table_add_column(t, PQfname(answer, column), is_number(answer, column) ? TOP_VALUE : TOP_TEXT);
	top_table_reserve(t, (size_t)PQntuples(answer));
	for (int row = 0; row < PQntuples(answer); row++) {
		struct top_cell *cells = top_table_add_row(t);

		for (size_t column = 0; column < t->ncolumns; column++)
			cells[column] = cell_as_is(t, answer, row, (int)column);
	}
}

void top_model_table(const struct top_model *m, enum top_view view, struct top_table *t)
{
	top_table_init(t, m->is_plain);
	switch (view) {
	case TOP_VIEW_POOLS:
		top_pools_tell(&m->before, &m->now, m->console, t);
		break;
	case TOP_VIEW_CLIENTS:
		top_groups_of_clients(m->now.answers[TOP_CLIENTS], m->console, t);
		break;
	case TOP_VIEW_SERVERS:
		top_groups_of_servers(m->now.answers[TOP_SERVERS], t);
		break;
	default:
		tell_as_is(t, m->now.answers[top_views[view].question]);
	}
}
