#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/auth_query.h"

#include "../failing.h"
#include "../net/turning.h"
#include "fake_server.h"

#define SECOND UINT64_C(1000000)

static const struct auth_query_options options = {.connect_timeout_us = 10 * SECOND,
						  .query_timeout_us = 10 * SECOND,
						  .ttl_us = 10 * SECOND,
						  .max_waiting = 1000,
						  .max_kept = 1000};

struct told {
	int count;
	enum auth_query_result result;
};

static void note(void *arg, const struct auth_query_answer *a)
{
	struct told *t = arg;

	t->count++;
	t->result = a->result;
}

static int set_up(void **state)
{
	if (fake_start() != 0 || open_loop(state) != 0)
		return -1;
	clock_turn();
	return 0;
}

static int tear_down(void **state)
{
	fake_stop();
	return close_loop(state);
}

/* Whichever allocation fails, of those for the question, the answer and its place: it is told once, and goes on. */
static void who_asks_while_memory_is_out_is_answered_once(void **state)
{
	struct conf_host host = {fake_directory, FAKE_PORT};
	const struct auth_query_source source = {&host, 1, "app", "asker", "hush", SECRET_PLAIN, "SELECT $1, 'x'"};
	struct auth_queries *queries = auth_queries_new(loop, NULL, &options);
	unsigned nerrors = 0;
	bool failed = true;

	(void)state;
	for (long n = 0; failed; n++) {
		struct told with = {0}, without = {0};
		char user[32];

		snprintf(user, sizeof(user), "user%ld", n);
		fail_after(n);
		auth_query_ask(queries, &source, slice_of(user), note, &with);
		turn_until(with.count > 0);
		failed = has_failed();
		nerrors += with.result == AUTH_QUERY_ERROR;
		assert_true(failed || with.result == AUTH_QUERY_FOUND);
		auth_query_ask(queries, &source, slice_of(user), note, &without);
		turn_until(without.count > 0);
		assert_int_equal(with.count, 1);
		assert_int_equal(without.count, 1);
		assert_int_equal(without.result, AUTH_QUERY_FOUND);
	}
	assert_true(nerrors > 2);
	auth_queries_free(queries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_asks_while_memory_is_out_is_answered_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
