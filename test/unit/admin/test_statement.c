#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "admin/statement.h"

static struct statement s;

static enum statement_kind parse(const char *sql)
{
	statement_parse(slice_of(sql), &s);
	return s.kind;
}

static void assert_words(const char *sql, const char *command, const char *argument)
{
	assert_int_equal(parse(sql), STATEMENT_COMMAND);
	assert_string_equal(s.command, command);
	assert_string_equal(s.argument, argument);
}

static void assert_set(const char *sql, const char *key, const char *value)
{
	assert_int_equal(parse(sql), STATEMENT_SET);
	assert_string_equal(s.argument, key);
	assert_string_equal(s.value, value);
}

static void nothing_is_an_empty_statement(void **state)
{
	(void)state;
	assert_int_equal(parse(""), STATEMENT_EMPTY);
	assert_int_equal(parse(" \t\r\n"), STATEMENT_EMPTY);
	assert_int_equal(parse(" ; "), STATEMENT_EMPTY);
	assert_int_equal(parse(";;"), STATEMENT_EMPTY);
}

static void one_or_two_words_with_or_without_a_semicolon(void **state)
{
	(void)state;
	assert_words("RELOAD", "RELOAD", "");
	assert_words("reload;", "reload", "");
	assert_words(" reload ; ", "reload", "");
	assert_words("Show Pools", "Show", "Pools");
	assert_words("\nshow\tpools ;\n", "show", "pools");
	assert_words("pause my-db.2", "pause", "my-db.2");
}

static void quoted_words_keep_what_is_in_them(void **state)
{
	(void)state;
	assert_words("show \"pools\"", "show", "pools");
	assert_words("pause \"my \"\"own\"\"; db\";", "pause", "my \"own\"; db");
}

static void what_is_no_word_or_one_too_many_is_bad(void **state)
{
	static const char *const bad[] = {
		"show databases pools", "show version; show state", "show 'pools'", "\\l", "select version()", "select *",
		"show\"pools\"", "pause \"\"", "pause \"db", "pause \"db\"x", "-- remark\nreload", "select 1 + 1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != STATEMENT_BAD)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void set_takes_equals_or_to(void **state)
{
	(void)state;
	assert_set("SET verbose=1", "verbose", "1");
	assert_set("set verbose = 1;", "verbose", "1");
	assert_set("set verbose to 1", "verbose", "1");
	assert_set("set verbose TO'1'", "verbose", "1");
	assert_set("set \"verbose\"=\"1\"", "verbose", "1");
	assert_set("set to to to", "to", "to");
}

static void set_values_are_bare_or_quoted(void **state)
{
	(void)state;
	assert_set("set server_check_query = 'select ''x'';'", "server_check_query", "select 'x';");
	assert_set("set logfile = ''", "logfile", "");
	assert_set("set stats_period = 0.5min", "stats_period", "0.5min");
	assert_set("set admin_users = ann,bob;", "admin_users", "ann,bob");
	assert_set("set logfile = /var/log/x=y", "logfile", "/var/log/x=y");
}

static void assert_set_of(enum statement_kind kind, const char *sql, const char *entry, const char *key, const char *value)
{
	assert_int_equal(parse(sql), kind);
	assert_string_equal(s.entry, entry);
	assert_string_equal(s.argument, key);
	assert_string_equal(s.value, value);
}

static void set_of_an_entry_names_it_first(void **state)
{
	(void)state;
	assert_set_of(STATEMENT_SET_DATABASE, "SET DATABASE app pool_size = 5", "app", "pool_size", "5");
	assert_set_of(STATEMENT_SET_DATABASE, "set database \"my \"\"db\" pool_mode to 'session' ;", "my \"db",
		      "pool_mode", "session");
	assert_set_of(STATEMENT_SET_DATABASE, "set database \"*\" \"pool_size\"=5", "*", "pool_size", "5");
	assert_set_of(STATEMENT_SET_DATABASE, "set database a b = c=d", "a", "b", "c=d");
	assert_set_of(STATEMENT_SET_DATABASE, "set database database database = database", "database", "database",
		      "database");
	assert_set_of(STATEMENT_SET_USER, "Set User ann query_timeout=-1", "ann", "query_timeout", "-1");
}

static void the_settings_of_these_names_can_still_be_set(void **state)
{
	(void)state;
	assert_set("set user = ann", "user", "ann");
	assert_set("set user to ann", "user", "ann");
	assert_set("set user to 'pool_size = 5'", "user", "pool_size = 5");
	assert_set("set \"database\" = x", "database", "x");
	/* A user of this name, then: without the quotes TO would be the word it is. */
	assert_set_of(STATEMENT_SET_USER, "set user \"to\" pool_size=5", "to", "pool_size", "5");
	assert_set_of(STATEMENT_SET_USER, "set user to pool_size = 5", "to", "pool_size", "5");
}

static void half_a_set_of_an_entry_is_bad(void **state)
{
	static const char *const bad[] = {
		"set database",
		"set database app",
		"set database app pool_size",
		"set database app pool_size =",
		"set database app pool_size = 1 2",
		"set database app = 5 6",
		"set database \"\" pool_size = 5",
		"set \"database\" app pool_size = 5",
		"set database\"app\" pool_size = 5",
		"set database \"app\"pool_size = 5",
		"set peer 1 pool_size = 5",
		"set database app",
		"set user ann bob pool_size = 5",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != STATEMENT_BAD)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void half_an_assignment_is_bad(void **state)
{
	static const char *const bad[] = {
		"set", "set verbose", "set verbose =", "set verbose 1", "set = 1", "set verbose = 1 2", "set a = 'x",
		"set a = 'x' 'y'", "set a tox", "set a to", "set \"\" = 1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != STATEMENT_BAD)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void a_name_that_is_too_long_is_bad_not_cut(void **state)
{
	char sql[512] = "a23456789012345", argument[128];

	(void)state;
	assert_words(sql, sql, "");
	strcat(sql, "6");
	assert_int_equal(parse(sql), STATEMENT_BAD);

	memset(argument, 'x', sizeof(argument));
	argument[STATEMENT_ARGUMENT_MAX] = '\0';
	strcat(strcpy(sql, "pause "), argument);
	assert_words(sql, "pause", argument);
	strcat(sql, "x");
	assert_int_equal(parse(sql), STATEMENT_BAD);
}

static void a_name_of_an_entry_that_is_too_long_is_bad(void **state)
{
	char sql[512] = "set user ";
	size_t start = strlen(sql);

	(void)state;
	memset(sql + start, 'u', STATEMENT_ENTRY_MAX);
	strcpy(sql + start + STATEMENT_ENTRY_MAX, " a = 1");
	assert_int_equal(parse(sql), STATEMENT_SET_USER);
	strcpy(sql + start + STATEMENT_ENTRY_MAX, "u a = 1");
	assert_int_equal(parse(sql), STATEMENT_BAD);
}

static void a_value_that_is_too_long_is_bad(void **state)
{
	char sql[512] = "set a = '";
	size_t start = strlen(sql);

	(void)state;
	memset(sql + start, 'v', STATEMENT_VALUE_MAX);
	strcpy(sql + start + STATEMENT_VALUE_MAX, "'");
	assert_int_equal(parse(sql), STATEMENT_SET);
	strcpy(sql + start + STATEMENT_VALUE_MAX, "v'");
	assert_int_equal(parse(sql), STATEMENT_BAD);
}

static void a_nul_byte_is_bad(void **state)
{
	(void)state;
	statement_parse(SLICE_LIT("reload\0"), &s);
	assert_int_equal(s.kind, STATEMENT_BAD);
	statement_parse(SLICE_LIT("pause \"a\0b\""), &s);
	assert_int_equal(s.kind, STATEMENT_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_an_empty_statement),
		cmocka_unit_test(one_or_two_words_with_or_without_a_semicolon),
		cmocka_unit_test(quoted_words_keep_what_is_in_them),
		cmocka_unit_test(what_is_no_word_or_one_too_many_is_bad),
		cmocka_unit_test(set_takes_equals_or_to),
		cmocka_unit_test(set_values_are_bare_or_quoted),
		cmocka_unit_test(set_of_an_entry_names_it_first),
		cmocka_unit_test(the_settings_of_these_names_can_still_be_set),
		cmocka_unit_test(half_a_set_of_an_entry_is_bad),
		cmocka_unit_test(half_an_assignment_is_bad),
		cmocka_unit_test(a_name_that_is_too_long_is_bad_not_cut),
		cmocka_unit_test(a_name_of_an_entry_that_is_too_long_is_bad),
		cmocka_unit_test(a_value_that_is_too_long_is_bad),
		cmocka_unit_test(a_nul_byte_is_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
