#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "top/top_table.h"

static struct top_table table;

static void add(const char *name, const char *user, double n)
{
	struct top_cell *cells = top_table_add_row(&table);

	cells[0] = top_table_text(&table, name);
	cells[1] = top_table_text(&table, user);
	cells[2].number = n;
}

static int make(void **state)
{
	(void)state;
	top_table_init(&table, false);
	top_table_add_column(&table, "name", TOP_TEXT);
	top_table_add_column(&table, "user", TOP_TEXT);
	top_table_add_column(&table, "n", TOP_RATE);
	top_table_reserve(&table, 4);
	add("b", "ann", 1);
	add("c", "Bob", NAN);
	add("a", "cid", 1);
	add("d", "dan", 3);
	return 0;
}

static int end(void **state)
{
	(void)state;
	top_table_fini(&table);
	return 0;
}

/* The first letters of the names, in the order in which they are shown. */
static const char *order(const char *sort, bool is_reverse, const char *filter)
{
	static char names[8];

	top_table_arrange(&table, sort, is_reverse, filter);
	for (size_t i = 0; i < table.nshown; i++)
		names[i] = top_table_shown(&table, i)[0].text[0];
	names[table.nshown] = '\0';
	return names;
}

static void texts_begin_with_the_first(void **state)
{
	(void)state;
	assert_string_equal(order("name", false, ""), "abcd");
	assert_string_equal(order("name", true, ""), "dcba");
}

static void numbers_begin_with_the_highest_and_equal_ones_go_by_name(void **state)
{
	(void)state;
	assert_string_equal(order("n", false, ""), "dabc");
}

static void what_is_not_known_comes_last_either_way(void **state)
{
	(void)state;
	assert_string_equal(order("n", true, ""), "abdc");
}

static void a_column_that_is_not_there_sorts_by_name(void **state)
{
	(void)state;
	assert_string_equal(order("m", false, ""), "abcd");
}

static void the_filter_is_found_in_any_text_and_case(void **state)
{
	(void)state;
	assert_string_equal(order("name", false, "AN"), "bd");
	assert_string_equal(order("name", false, "b"), "bc");
	assert_string_equal(order("name", false, "nobody"), "");
}

static const char *cell_text(double value, enum top_kind kind, bool is_plain)
{
	static char text[64];
	struct strbuf out;
	struct top_cell cell = {.number = value};

	table.columns[2].kind = kind;
	table.is_plain = is_plain;
	strbuf_init_fixed(&out, text, sizeof(text));
	top_table_put(&table, &cell, 2, &out);
	return text;
}

static void scripts_get_numbers_without_units(void **state)
{
	(void)state;
	assert_string_equal(cell_text(1234567, TOP_COUNT, true), "1234567");
	assert_string_equal(cell_text(1234567, TOP_TIME, true), "1234.567");
	assert_string_equal(cell_text(0.5, TOP_SHARE, true), "0.50");
	assert_string_equal(cell_text(12.34, TOP_RATE, true), "12.3");
	assert_string_equal(cell_text(NAN, TOP_RATE, true), "-");
	assert_string_equal(cell_text(0.5, TOP_SHARE, false), "50%");
	assert_string_equal(cell_text(1234567, TOP_TIME, false), "1.2s");
}

static void a_column_is_as_wide_as_the_widest_that_is_shown(void **state)
{
	(void)state;
	top_table_arrange(&table, "name", false, "");
	assert_int_equal(top_table_width(&table, 0, 0, 4), 4);
	assert_int_equal(top_table_width(&table, 2, 0, 4), 3);
	table.cells[2].number = 12345;
	assert_int_equal(top_table_width(&table, 2, 0, 4), 5);
	assert_int_equal(top_table_width(&table, 2, 2, 2), 3);
}

static void columns_beyond_the_most_are_left_out(void **state)
{
	(void)state;
	for (int i = 0; i < 2 * TOP_MAX_COLUMNS; i++)
		top_table_add_column(&table, "more", TOP_COUNT);
	assert_int_equal(table.ncolumns, TOP_MAX_COLUMNS);
	table.ncolumns = 3;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(texts_begin_with_the_first),
		TEST(numbers_begin_with_the_highest_and_equal_ones_go_by_name),
		TEST(what_is_not_known_comes_last_either_way),
		TEST(a_column_that_is_not_there_sorts_by_name),
		TEST(the_filter_is_found_in_any_text_and_case),
		TEST(scripts_get_numbers_without_units),
		TEST(a_column_is_as_wide_as_the_widest_that_is_shown),
		TEST(columns_beyond_the_most_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
