#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <ncurses.h>

#include "top/top_ui.h"

static struct top_ui ui;
static struct top_table table;

static int make(void **state)
{
	(void)state;
	top_ui_init(&ui, 2);
	ui.page = 10;
	top_table_init(&table, false);
	top_table_add_column(&table, "database", TOP_TEXT);
	top_table_add_column(&table, "cl_active", TOP_COUNT);
	top_table_add_column(&table, "cl_waiting", TOP_COUNT);
	top_table_reserve(&table, 25);
	for (int i = 0; i < 25; i++)
		top_table_add_row(&table)[0] = top_table_text(&table, "shop");
	top_ui_arrange(&ui, &table);
	return 0;
}

static int end(void **state)
{
	(void)state;
	top_table_fini(&table);
	return 0;
}

static void press(const char *keys)
{
	for (; *keys != '\0'; keys++)
		top_ui_key(&ui, (unsigned char)*keys, &table);
}

static const char *sort(void)
{
	return ui.orders[ui.view].sort;
}

static void letters_choose_columns_that_are_there(void **state)
{
	(void)state;
	press("a");
	assert_string_equal(sort(), "cl_active");
	press("m");
	assert_string_equal(sort(), "cl_active");
}

static void arrows_go_round_the_columns(void **state)
{
	(void)state;
	top_ui_key(&ui, KEY_LEFT, &table);
	assert_string_equal(sort(), "cl_active");
	press(">>");
	assert_string_equal(sort(), "database");
	press("<");
	assert_string_equal(sort(), "cl_waiting");
}

static void another_column_is_not_reversed(void **state)
{
	(void)state;
	press("r");
	assert_true(ui.orders[ui.view].is_reverse);
	press("a");
	assert_false(ui.orders[ui.view].is_reverse);
}

static void views_that_the_peer_lacks_are_passed_over(void **state)
{
	(void)state;
	ui.available = 1u << TOP_VIEW_POOLS | 1u << TOP_VIEW_SERVERS | 1u << TOP_VIEW_LATENCY;
	press("\t");
	assert_int_equal(ui.view, TOP_VIEW_SERVERS);
	assert_true(ui.wants_reading);
	press("v");
	assert_int_equal(ui.view, TOP_VIEW_LATENCY);
	press("v");
	assert_int_equal(ui.view, TOP_VIEW_POOLS);
	top_ui_key(&ui, KEY_BTAB, &table);
	assert_int_equal(ui.view, TOP_VIEW_LATENCY);
}

static void each_view_keeps_its_order(void **state)
{
	(void)state;
	ui.available = 1u << TOP_VIEW_POOLS | 1u << TOP_VIEW_SERVERS;
	press("ar\tr\t");
	assert_string_equal(sort(), "cl_active");
	assert_true(ui.orders[ui.view].is_reverse);
}

static void scrolling_ends_with_the_last_page(void **state)
{
	(void)state;
	top_ui_key(&ui, KEY_NPAGE, &table);
	assert_int_equal(ui.first_row, 10);
	top_ui_key(&ui, KEY_NPAGE, &table);
	assert_int_equal(ui.first_row, 15);
	top_ui_key(&ui, KEY_DOWN, &table);
	assert_int_equal(ui.first_row, 15);
	top_ui_key(&ui, KEY_UP, &table);
	assert_int_equal(ui.first_row, 14);
	top_ui_key(&ui, KEY_HOME, &table);
	assert_int_equal(ui.first_row, 0);
	top_ui_key(&ui, KEY_END, &table);
	assert_int_equal(ui.first_row, 15);
}

static void while_the_filter_is_typed_letters_are_letters(void **state)
{
	(void)state;
	press("/qr\xc3\xb6");
	assert_true(ui.is_typing);
	assert_false(ui.is_over);
	assert_string_equal(ui.filter, "qr\xc3\xb6");
	top_ui_key(&ui, KEY_BACKSPACE, &table);
	assert_string_equal(ui.filter, "qr");
	press("\r");
	assert_false(ui.is_typing);
	assert_string_equal(ui.filter, "qr");
	press("\x1b");
	assert_string_equal(ui.filter, "");
}

static void a_filter_has_an_end(void **state)
{
	(void)state;
	press("/");
	for (size_t i = 0; i < 2 * sizeof(ui.filter); i++)
		press("x");
	assert_int_equal(strlen(ui.filter), sizeof(ui.filter) - 1);
}

static void intervals_go_in_steps_and_have_ends(void **state)
{
	(void)state;
	press("+");
	assert_true(ui.interval == 5);
	press("----------");
	assert_true(ui.interval == 0.1);
	press("++++++++++++++++");
	assert_true(ui.interval == 3600);
	ui.interval = 3;
	press("-");
	assert_true(ui.interval == 2);
}

static void going_on_after_a_pause_reads_at_once(void **state)
{
	(void)state;
	press(" ");
	assert_true(ui.is_paused);
	assert_false(ui.wants_reading);
	press(" ");
	assert_false(ui.is_paused);
	assert_true(ui.wants_reading);
}

static void any_key_closes_the_help_and_does_nothing_else(void **state)
{
	(void)state;
	press("ha");
	assert_false(ui.is_helping);
	assert_string_equal(sort(), "cl_waiting");
	press("hq");
	assert_true(ui.is_over);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(letters_choose_columns_that_are_there),
		TEST(arrows_go_round_the_columns),
		TEST(another_column_is_not_reversed),
		TEST(views_that_the_peer_lacks_are_passed_over),
		TEST(each_view_keeps_its_order),
		TEST(scrolling_ends_with_the_last_page),
		TEST(while_the_filter_is_typed_letters_are_letters),
		TEST(a_filter_has_an_end),
		TEST(intervals_go_in_steps_and_have_ends),
		TEST(going_on_after_a_pause_reads_at_once),
		TEST(any_key_closes_the_help_and_does_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
