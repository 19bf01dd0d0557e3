#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "control/auth_query_source.h"

static const struct conf_host hosts[] = {{"10.0.0.1", 5432}, {"10.0.0.2", 5433}};
static const struct auth_query_source full = {hosts, 2, "app", "asker", "hush", SECRET_PLAIN, "SELECT $1, ''"};

static void a_copy_is_equal_and_its_own(void **state)
{
	struct auth_query_source copy;
	size_t n = 0;
	char *room = auth_query_source_copy(&copy, &full, &n);

	(void)state;
	assert_true(auth_query_source_eq(&full, &copy));
	assert_true(copy.secret >= room && copy.secret + strlen(copy.secret) < room + n);
	assert_true(copy.hosts[1].host >= room && copy.hosts[1].host < room + n);
	free(room);
}

static void a_source_without_secret_is_copied(void **state)
{
	struct auth_query_source source = full, copy;
	size_t n;
	void *room;

	(void)state;
	source.secret = NULL;
	source.secret_type = SECRET_NONE;
	room = auth_query_source_copy(&copy, &source, &n);
	assert_null(copy.secret);
	assert_true(auth_query_source_eq(&source, &copy));
	assert_false(auth_query_source_eq(&full, &copy));
	free(room);
}

static void whatever_differs_makes_another_source(void **state)
{
	static const struct conf_host other_host[] = {{"10.0.0.1", 5432}, {"10.0.0.3", 5433}};
	static const struct conf_host other_port[] = {{"10.0.0.1", 5432}, {"10.0.0.2", 5432}};
	struct auth_query_source others[] = {full, full, full, full, full, full, full, full};

	(void)state;
	others[0].hosts = other_host;
	others[1].hosts = other_port;
	others[2].nhosts = 1;
	others[3].dbname = "other";
	others[4].user = "other";
	others[5].secret = "other";
	others[6].secret_type = SECRET_MD5;
	others[7].query = "SELECT $1, 'other'";
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(auth_query_source_eq(&full, &others[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_is_equal_and_its_own),
		cmocka_unit_test(a_source_without_secret_is_copied),
		cmocka_unit_test(whatever_differs_makes_another_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
