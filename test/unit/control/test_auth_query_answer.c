#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "control/auth_query_answer.h"

static struct auth_query_answer answer;
static char room[200];

/* Rows of `ncolumns` values; NULL is a null. */
static PGresult *rows(int ncolumns, int nrows, const char *const *values)
{
	PGresAttDesc columns[3] = {{.name = (char *)"a"}, {.name = (char *)"b"}, {.name = (char *)"c"}};
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	assert_true(PQsetResultAttrs(r, ncolumns, columns));
	for (int i = 0; i < nrows * ncolumns; i++) {
		int length = values[i] == NULL ? -1 : (int)strlen(values[i]);

		assert_true(PQsetvalue(r, i / ncolumns, i % ncolumns, (char *)values[i], length));
	}
	return r;
}

#define ROWS(ncolumns, ...) \
	rows(ncolumns, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)) / (ncolumns), (const char *[]){__VA_ARGS__})

/* The result has to outlive what is compared. */
static PGresult *read_about_ann(PGresult *r)
{
	auth_query_read_answer(&answer, r, "ann", room, sizeof(room));
	return r;
}

static void a_row_with_the_name_brings_the_secret(void **state)
{
	PGresult *r = read_about_ann(ROWS(2, "ann", "hush"));

	(void)state;
	assert_int_equal(answer.result, AUTH_QUERY_FOUND);
	assert_string_equal(answer.secret, "hush");
	PQclear(r);
}

static void a_null_secret_is_no_secret_but_a_user(void **state)
{
	PGresult *r = read_about_ann(ROWS(2, "ann", NULL));

	(void)state;
	assert_int_equal(answer.result, AUTH_QUERY_FOUND);
	assert_null(answer.secret);
	PQclear(r);
}

static void an_empty_secret_is_not_a_null(void **state)
{
	PGresult *r = read_about_ann(ROWS(2, "ann", ""));

	(void)state;
	assert_int_equal(answer.result, AUTH_QUERY_FOUND);
	assert_string_equal(answer.secret, "");
	PQclear(r);
}

static void no_row_is_no_user(void **state)
{
	PGresult *r = read_about_ann(rows(2, 0, NULL));

	(void)state;
	assert_int_equal(answer.result, AUTH_QUERY_NOT_FOUND);
	assert_null(answer.secret);
	assert_null(answer.why);
	PQclear(r);
}

static void another_name_is_no_user(void **state)
{
	static const char *const names[] = {"bob", "Ann", "ann ", "", NULL};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		PGresult *r = read_about_ann(ROWS(2, names[i], "hush"));

		assert_int_equal(answer.result, AUTH_QUERY_NOT_FOUND);
		assert_null(answer.secret);
		assert_non_null(answer.why);
		PQclear(r);
	}
}

static void several_rows_are_an_error(void **state)
{
	PGresult *r = read_about_ann(ROWS(2, "ann", "hush", "ann", "hush"));

	(void)state;
	assert_int_equal(answer.result, AUTH_QUERY_ERROR);
	assert_null(answer.secret);
	assert_string_equal(answer.why, "auth_query returns 2 rows for one user");
	PQclear(r);
}

static void another_number_of_columns_is_an_error_even_without_rows(void **state)
{
	PGresult *r = read_about_ann(ROWS(1, "ann"));

	(void)state;
	assert_int_equal(answer.result, AUTH_QUERY_ERROR);
	PQclear(r);
	r = read_about_ann(ROWS(3, "ann", "hush", "more"));
	assert_int_equal(answer.result, AUTH_QUERY_ERROR);
	assert_string_equal(answer.why, "auth_query returns 3 columns instead of 2, name and secret");
	PQclear(r);
	r = read_about_ann(rows(1, 0, NULL));
	assert_int_equal(answer.result, AUTH_QUERY_ERROR);
	PQclear(r);
}

static void what_returns_no_rows_is_an_error(void **state)
{
	static const ExecStatusType statuses[] = {PGRES_COMMAND_OK, PGRES_EMPTY_QUERY, PGRES_FATAL_ERROR};

	(void)state;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		PGresult *r = read_about_ann(PQmakeEmptyPGresult(NULL, statuses[i]));

		assert_int_equal(answer.result, AUTH_QUERY_ERROR);
		assert_string_equal(answer.why, "auth_query does not return rows");
		assert_null(answer.sqlstate);
		PQclear(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_with_the_name_brings_the_secret),
		cmocka_unit_test(a_null_secret_is_no_secret_but_a_user),
		cmocka_unit_test(an_empty_secret_is_not_a_null),
		cmocka_unit_test(no_row_is_no_user),
		cmocka_unit_test(another_name_is_no_user),
		cmocka_unit_test(several_rows_are_an_error),
		cmocka_unit_test(another_number_of_columns_is_an_error_even_without_rows),
		cmocka_unit_test(what_returns_no_rows_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
