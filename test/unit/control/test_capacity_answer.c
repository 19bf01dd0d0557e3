#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "control/capacity_answer.h"

#define NCOLUMNS 6

static struct capacity_answer answer;

static void set(PGresult *r, int row, int column, const char *value)
{
	assert_true(PQsetvalue(r, row, column, (char *)value, value == NULL ? -1 : (int)strlen(value)));
}

static PGresult *table(int ncolumns)
{
	PGresAttDesc columns[NCOLUMNS + 1];
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	for (int i = 0; i < ncolumns; i++)
		columns[i] = (PGresAttDesc){.name = (char *)"c"};
	assert_true(PQsetResultAttrs(r, ncolumns, columns));
	return r;
}

static void add(PGresult *r, const char *const values[NCOLUMNS])
{
	int row = PQntuples(r);

	for (int i = 0; i < NCOLUMNS; i++)
		set(r, row, i, values[i]);
}

#define ADD(r, ...) add(r, (const char *const[NCOLUMNS]){__VA_ARGS__})

static bool reads(PGresult *r)
{
	bool ok = capacity_read_answer(&answer, r);

	PQclear(r);
	return ok;
}

static void settings_and_sum_are_in_each_row(void **state)
{
	PGresult *r = table(NCOLUMNS);

	(void)state;
	ADD(r, "100", "3", "2", "17", "shop", "10");
	ADD(r, "100", "3", "2", "17", "", "7");
	assert_true(reads(r));
	assert_int_equal(answer.max_connections, 100);
	assert_int_equal(answer.superuser_reserved, 3);
	assert_int_equal(answer.reserved, 2);
	assert_int_equal(answer.in_use, 17);
	assert_int_equal(answer.nuses, 2);
	assert_string_equal(answer.uses[0].application_name, "shop");
	assert_int_equal(answer.uses[0].count, 10);
	assert_string_equal(answer.uses[1].application_name, "");
}

static void with_nobody_there_the_row_has_no_application(void **state)
{
	PGresult *r = table(NCOLUMNS);

	(void)state;
	ADD(r, "100", "3", "0", "0", NULL, NULL);
	assert_true(reads(r));
	assert_int_equal(answer.nuses, 0);
}

static void a_long_name_is_cut(void **state)
{
	PGresult *r = table(NCOLUMNS);
	char name[500];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ADD(r, "100", "3", "0", "1", name, "1");
	assert_true(reads(r));
	assert_int_equal(strlen(answer.uses[0].application_name), CAPACITY_NAME_SIZE - 1);
}

static void numbers_that_are_none_are_no_answer(void **state)
{
	static const char *const wrong[] = {"", "many", "-1", "4294967296", "99999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		for (int column = 0; column < NCOLUMNS; column++) {
			PGresult *r = table(NCOLUMNS);

			ADD(r, "100", "3", "0", "1", "shop", "1");
			set(r, 0, column, wrong[i]);
			assert_int_equal(reads(r), column == 4);
		}
}

static void more_rows_than_were_asked_for_are_no_answer(void **state)
{
	PGresult *r = table(NCOLUMNS);

	(void)state;
	for (int i = 0; i <= CAPACITY_USES; i++)
		ADD(r, "100", "3", "0", "1", "shop", "1");
	assert_false(reads(r));
}

static void other_shapes_are_no_answer(void **state)
{
	(void)state;
	assert_false(reads(table(NCOLUMNS)));
	assert_false(reads(table(NCOLUMNS + 1)));
	assert_false(reads(table(1)));
	assert_false(reads(PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK)));
	assert_false(reads(PQmakeEmptyPGresult(NULL, PGRES_FATAL_ERROR)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_and_sum_are_in_each_row),
		cmocka_unit_test(with_nobody_there_the_row_has_no_application),
		cmocka_unit_test(a_long_name_is_cut),
		cmocka_unit_test(numbers_that_are_none_are_no_answer),
		cmocka_unit_test(more_rows_than_were_asked_for_are_no_answer),
		cmocka_unit_test(other_shapes_are_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
