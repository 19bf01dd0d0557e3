#include "top/top_groups.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "top/top_answer.h"

#define MAX_NAMES 5

/* What makes two of them alike, and the states that have a column; NULL after the last. */
struct grouping {
	const char *all;
	const char *keys[MAX_NAMES];
	const char *states[MAX_NAMES];
	bool waits;
};

static const struct grouping of_clients = {
	"clients", {"database", "user", "application_name"}, {"active", "waiting", "idle"}, true,
};

static const struct grouping of_servers = {
	"servers", {"database", "user", "addr", "port"}, {"active", "idle", "used", "tested"}, false,
};

struct gathering {
	const struct grouping *by;
	const PGresult *answer;
	int *rows;
	size_t n;
};

static int compare_keys(const struct gathering *g, int a, int b)
{
	int order = 0;

	for (int i = 0; order == 0 && i < MAX_NAMES && g->by->keys[i] != NULL; i++)
		order = strcmp(top_answer_text(g->answer, a, g->by->keys[i]),
			       top_answer_text(g->answer, b, g->by->keys[i]));
	return order;
}

static int compare_rows(const void *a, const void *b, void *gathering)
{
	return compare_keys(gathering, *(const int *)a, *(const int *)b);
}

/* Puts those that are alike side by side. */
static void gather(struct gathering *g, const char *but)
{
	int n = PQntuples(g->answer);

	g->n = 0;
	g->rows = calloc((size_t)n + 1, sizeof(g->rows[0]));
	for (int row = 0; g->rows != NULL && row < n; row++)
		if (but == NULL || strcmp(top_answer_text(g->answer, row, "database"), but) != 0)
			g->rows[g->n++] = row;
	if (g->n > 1)
		qsort_r(g->rows, g->n, sizeof(g->rows[0]), compare_rows, g);
}

static void add_columns(const struct gathering *g, struct top_table *t)
{
	for (int i = 0; i < MAX_NAMES && g->by->keys[i] != NULL; i++)
		if (top_answer_has(g->answer, g->by->keys[i]))
			top_table_add_column(t, g->by->keys[i], TOP_TEXT);
	top_table_add_column(t, g->by->all, TOP_COUNT);
	for (int i = 0; i < MAX_NAMES && g->by->states[i] != NULL; i++)
		top_table_add_column(t, g->by->states[i], TOP_COUNT);
	if (g->by->waits && top_answer_has(g->answer, "wait"))
		top_table_add_column(t, "maxwait", TOP_TIME);
}

static double count_state(const struct gathering *g, size_t from, size_t to, const char *state)
{
	double n = 0;

	for (size_t i = from; i < to; i++)
		n += strcmp(top_answer_text(g->answer, g->rows[i], "state"), state) == 0;
	return n;
}

static double longest_wait(const struct gathering *g, size_t from, size_t to)
{
	double longest = 0;

	for (size_t i = from; i < to; i++)
		longest = fmax(longest, top_answer_wait(g->answer, g->rows[i], "wait", "wait_us"));
	return longest;
}

static void tell_group(const struct gathering *g, size_t from, size_t to, struct top_table *t)
{
	struct top_cell *cell = top_table_add_row(t);

	for (int i = 0; i < MAX_NAMES && g->by->keys[i] != NULL; i++)
		if (top_answer_has(g->answer, g->by->keys[i]))
			*cell++ = top_table_text(t, top_answer_text(g->answer, g->rows[from], g->by->keys[i]));
	*cell++ = (struct top_cell){.number = (double)(to - from)};
	for (int i = 0; i < MAX_NAMES && g->by->states[i] != NULL; i++)
		*cell++ = (struct top_cell){.number = count_state(g, from, to, g->by->states[i])};
	if (g->by->waits && top_answer_has(g->answer, "wait"))
		*cell = (struct top_cell){.number = longest_wait(g, from, to)};
}

static void tell_groups(const struct grouping *by, const PGresult *answer, const char *but, struct top_table *t)
{
	struct gathering g = {.by = by, .answer = answer};

	gather(&g, but);
	add_columns(&g, t);
	top_table_reserve(t, g.n);
	for (size_t from = 0, to; from < g.n; from = to) {
		for (to = from + 1; to < g.n && compare_keys(&g, g.rows[from], g.rows[to]) == 0; to++)
			continue;
		tell_group(&g, from, to, t);
	}
	free(g.rows);
}

void top_groups_of_clients(const PGresult *clients, const char *console, struct top_table *t)
{
	tell_groups(&of_clients, clients, console, t);
}

void top_groups_of_servers(const PGresult *servers, struct top_table *t)
{
	tell_groups(&of_servers, servers, NULL, t);
}
