#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "control/connection_target.h"

static const struct connection_target all = {
	.host = "db",
	.port = 5432,
	.tls = {.sslmode = "require", .ca_file = "ca", .cert_file = "cert", .key_file = "key"},
	.dbname = "app",
	.user = "ann",
	.password = "hush",
	.statement_timeout_us = 1,
};

static void a_copy_equals_what_it_was_made_from(void **state)
{
	struct connection_target copy, few = {.host = "db", .dbname = "app", .user = "ann"};

	(void)state;
	assert_true(connection_target_copy(&copy, &all));
	assert_true(connection_target_eq(&copy, &all));
	connection_target_wipe(&copy);
	assert_true(connection_target_copy(&copy, &few));
	assert_true(connection_target_eq(&copy, &few));
	assert_null(copy.password);
	connection_target_wipe(&copy);
}

static void a_copy_has_texts_of_its_own(void **state)
{
	struct connection_target copy, target = all;
	char host[] = "db", password[] = "hush";

	(void)state;
	target.host = host;
	target.password = password;
	assert_true(connection_target_copy(&copy, &target));
	memset(host, 'x', 2);
	memset(password, 'x', 4);
	assert_true(connection_target_eq(&copy, &all));
	connection_target_wipe(&copy);
}

static void every_part_tells_two_apart(void **state)
{
	struct connection_target others[] = {all, all, all, all, all, all, all, all, all, all, all};

	(void)state;
	others[0].host = "db2";
	others[1].port = 5433;
	others[2].tls.sslmode = NULL;
	others[3].tls.ca_file = "other";
	others[4].tls.cert_file = "other";
	others[5].tls.key_file = "other";
	others[6].dbname = "other";
	others[7].user = "bob";
	others[8].password = "other";
	others[9].password = NULL;
	others[10].statement_timeout_us = 0;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_false(connection_target_eq(&all, &others[i]));
		assert_false(connection_target_eq(&others[i], &all));
	}
}

static void wiped_it_is_empty_and_may_be_wiped_again(void **state)
{
	static const struct connection_target none;
	struct connection_target copy;

	(void)state;
	assert_true(connection_target_copy(&copy, &all));
	connection_target_wipe(&copy);
	assert_true(connection_target_eq(&copy, &none));
	connection_target_wipe(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_equals_what_it_was_made_from),
		cmocka_unit_test(a_copy_has_texts_of_its_own),
		cmocka_unit_test(every_part_tells_two_apart),
		cmocka_unit_test(wiped_it_is_empty_and_may_be_wiped_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
