#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "top/top_model.h"

/* An answer of text columns: the names in one text with blanks between them, then the rows; NULL ends. */
static PGresult *answer(const char *titles, ...)
{
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc columns[16] = {{.name = NULL}};
	char names[256], *rest = NULL;
	const char *text;
	int n = 0;
	va_list ap;

	strcpy(names, titles);
	for (char *p = strtok_r(names, " ", &rest); p != NULL; p = strtok_r(NULL, " ", &rest))
		columns[n++] = (PGresAttDesc){.name = p, .typid = strcmp(p, "number") == 0 ? 20 : 25};
	assert_true(PQsetResultAttrs(r, n, columns));
	va_start(ap, titles);
	for (int row = 0; (text = va_arg(ap, const char *)) != NULL; row++) {
		char cells[256];
		int column = 0;

		strcpy(cells, text);
		for (char *p = strtok_r(cells, " ", &rest); p != NULL; p = strtok_r(NULL, " ", &rest))
			assert_true(PQsetvalue(r, row, column++, p, (int)strlen(p)));
		assert_int_equal(column, n);
	}
	va_end(ap);
	return r;
}

static struct top_model model;
static struct top_table table;

static int make(void **state)
{
	(void)state;
	model = (struct top_model){.is_plain = true, .span_us = 500000};
	return 0;
}

static int end(void **state)
{
	(void)state;
	top_table_fini(&table);
	top_model_fini(&model);
	return 0;
}

#define STATS "database total_xact_count total_query_count total_query_time total_wait_time total_received"
#define POOLS "database user cl_active cl_waiting sv_active maxwait maxwait_us"

static void take(uint64_t at_us, PGresult *stats, PGresult *pools)
{
	struct top_reading r = {.at_us = at_us};

	r.answers[TOP_STATS] = stats;
	r.answers[TOP_POOLS] = pools;
	top_model_take(&model, r, "pgbouncer");
}

static PGresult *one_pool(void)
{
	return answer(POOLS, "shop ann 3 1 2 0 7", NULL);
}

/* What stands in a cell of the row, as scripts get it; "" when there is no such column. */
static const char *cell(size_t row, const char *title)
{
	static char text[128];
	struct strbuf out;
	size_t column = top_table_column(&table, title);

	if (column == table.ncolumns)
		return "";
	strbuf_init_fixed(&out, text, sizeof(text));
	top_table_put(&table, &table.cells[row * table.ncolumns + column], column, &out);
	return text;
}

static void show(enum top_view view)
{
	top_table_fini(&table);
	top_model_table(&model, view, &table);
}

static void show_head(void)
{
	top_table_fini(&table);
	top_model_head(&model, &table);
}

static void one_reading_has_counts_and_no_rates(void **state)
{
	(void)state;
	take(1000000, answer(STATS, "shop 10 20 3000 0 100", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "cl_active"), "3");
	assert_string_equal(cell(0, "maxwait"), "0.007");
	assert_string_equal(cell(0, "xact/s"), "-");
	assert_string_equal(cell(0, "avg_query"), "-");
}

static void rates_are_what_was_between_two_readings(void **state)
{
	(void)state;
	take(1000000, answer(STATS, "shop 10 20 3000 100 100", NULL), one_pool());
	take(3000000, answer(STATS, "shop 30 120 203000 5100 2100", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "10.0");
	assert_string_equal(cell(0, "query/s"), "50.0");
	assert_string_equal(cell(0, "avg_query"), "2.000");
	assert_string_equal(cell(0, "avg_wait"), "0.250");
	assert_string_equal(cell(0, "in/s"), "1000");
}

static void a_new_database_began_at_nothing(void **state)
{
	(void)state;
	take(1000000, answer(STATS, NULL), one_pool());
	take(2000000, answer(STATS, "shop 5 5 0 0 0", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "5.0");
}

static void counters_that_went_back_give_no_rate(void **state)
{
	(void)state;
	take(1000000, answer(STATS, "shop 10 20 0 0 0", NULL), one_pool());
	take(2000000, answer(STATS, "shop 3 30 0 0 0", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "-");
	assert_string_equal(cell(0, "query/s"), "10.0");
}

static void after_a_break_nothing_is_compared(void **state)
{
	(void)state;
	take(1000000, answer(STATS, "shop 10 20 0 0 0", NULL), one_pool());
	take(2000000, answer(STATS, "shop 11 20 0 0 0", NULL), one_pool());
	top_model_break(&model);
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "1.0");
	take(3000000, answer(STATS, "shop 50 60 0 0 0", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "-");
	take(4000000, answer(STATS, "shop 54 60 0 0 0", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "4.0");
}

static void a_reading_that_follows_too_soon_is_compared_with_the_one_before(void **state)
{
	(void)state;
	take(1000000, answer(STATS, "shop 10 20 0 0 0", NULL), one_pool());
	take(2000000, answer(STATS, "shop 20 20 0 0 0", NULL), one_pool());
	take(2250000, answer(STATS, "shop 35 20 0 0 0", NULL), one_pool());
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "xact/s"), "20.0");
}

static void columns_that_the_peer_lacks_are_left_out(void **state)
{
	(void)state;
	take(1000000, answer("database total_query_count", "shop 1", NULL),
	     answer("database cl_active", "shop 2", NULL));
	show(TOP_VIEW_POOLS);
	assert_int_equal(table.ncolumns, 3);
	assert_string_equal(cell(0, "query/s"), "-");
	assert_int_equal(top_table_column(&table, "load"), table.ncolumns);
}

static void the_consoles_sessions_are_no_load(void **state)
{
	(void)state;
	take(1000000, answer(STATS, "shop 0 0 0 0 0", "pgbouncer 0 0 0 0 0", NULL),
	     answer(POOLS, "shop ann 3 1 2 0 7", "pgbouncer pgbouncer 1 0 0 0 0", NULL));
	take(2000000, answer(STATS, "shop 4 0 0 0 0", "pgbouncer 9 0 0 0 0", NULL),
	     answer(POOLS, "shop ann 3 1 2 0 7", "shop bob 1 1 0 0 0", "pgbouncer pgbouncer 1 0 0 0 0", NULL));
	show(TOP_VIEW_POOLS);
	assert_int_equal(table.nrows, 2);
	show_head();
	assert_string_equal(cell(0, "cl_active"), "4");
	assert_string_equal(cell(0, "cl_waiting"), "2");
	assert_string_equal(cell(0, "xact/s"), "4.0");
}

static void load_is_what_is_active_of_the_pools_size(void **state)
{
	struct top_reading r = {.at_us = 1};

	(void)state;
	r.answers[TOP_STATS] = answer(STATS, NULL);
	r.answers[TOP_POOLS] = one_pool();
	r.answers[TOP_DATABASES] = answer("name pool_size", "other 1", "shop 8", NULL);
	top_model_take(&model, r, "pgbouncer");
	show(TOP_VIEW_POOLS);
	assert_string_equal(cell(0, "size"), "8");
	assert_string_equal(cell(0, "load"), "0.25");
}

static void the_state_is_the_one_that_is_so(void **state)
{
	struct top_reading r = {.at_us = 1};

	(void)state;
	r.answers[TOP_STATS] = answer(STATS, NULL);
	r.answers[TOP_POOLS] = one_pool();
	r.answers[TOP_STATE] = answer("key value", "active no", "paused yes", "suspended no", NULL);
	r.answers[TOP_LISTS] = answer("list items", "login_clients 7", NULL);
	top_model_take(&model, r, "pgbouncer");
	show_head();
	assert_string_equal(cell(0, "state"), "paused");
	assert_string_equal(cell(0, "cl_login"), "7");
}

static void clients_that_are_alike_are_counted_by_state(void **state)
{
	struct top_reading r = {.at_us = 1};

	(void)state;
	r.answers[TOP_CLIENTS] = answer("database user application_name state wait wait_us", "shop ann web active 0 0",
					"shop bob web idle 0 0", "shop ann web waiting 2 5000", "shop ann job idle 0 0",
					"shop ann web waiting 1 0", "pgbouncer me top active 0 0", NULL);
	top_model_take(&model, r, "pgbouncer");
	show(TOP_VIEW_CLIENTS);
	assert_int_equal(table.nrows, 3);
	assert_string_equal(cell(1, "application_name"), "web");
	assert_string_equal(cell(1, "clients"), "3");
	assert_string_equal(cell(1, "waiting"), "2");
	assert_string_equal(cell(1, "maxwait"), "2005.000");
	assert_string_equal(cell(0, "idle"), "1");
}

static void other_tables_are_shown_as_they_are(void **state)
{
	struct top_reading r = {.at_us = 1};

	(void)state;
	assert_false(top_model_has(&model, TOP_VIEW_LATENCY));
	r.answers[TOP_LATENCY] = answer("database number", "shop 900", "sh\x1bop 1000", NULL);
	top_model_take(&model, r, "pgbouncer");
	assert_true(top_model_has(&model, TOP_VIEW_LATENCY));
	show(TOP_VIEW_LATENCY);
	top_table_arrange(&table, "number", false, "");
	assert_string_equal(top_table_shown(&table, 0)[1].text, "1000");
	assert_string_equal(top_table_shown(&table, 0)[0].text, "sh\\x1bop");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_reading_has_counts_and_no_rates),
		TEST(rates_are_what_was_between_two_readings),
		TEST(a_new_database_began_at_nothing),
		TEST(counters_that_went_back_give_no_rate),
		TEST(after_a_break_nothing_is_compared),
		TEST(a_reading_that_follows_too_soon_is_compared_with_the_one_before),
		TEST(columns_that_the_peer_lacks_are_left_out),
		TEST(the_consoles_sessions_are_no_load),
		TEST(load_is_what_is_active_of_the_pools_size),
		TEST(the_state_is_the_one_that_is_so),
		TEST(clients_that_are_alike_are_counted_by_state),
		TEST(other_tables_are_shown_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
