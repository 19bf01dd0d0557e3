#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "session/server_ends.h"

static void every_end_has_a_name_and_a_text_of_its_own(void **state)
{
	(void)state;
	for (int i = SERVER_END_NONE + 1; i < SERVER_END_COUNT; i++) {
		assert_non_null(server_end_symbol(i));
		assert_true(server_end_text(i)[0] != '\0');
		for (int j = SERVER_END_NONE + 1; j < i; j++)
			assert_string_not_equal(server_end_symbol(i), server_end_symbol(j));
	}
	assert_null(server_end_text(SERVER_END_NONE));
}

static void a_server_that_ends_with_its_client_has_the_clients_reason(void **state)
{
	(void)state;
	assert_int_equal(server_end_of(CLOSE_SERVER_CRASHED), SERVER_END_SERVER_CRASHED);
	assert_string_equal(server_end_text(SERVER_END_SERVER_CRASHED), close_reasons[CLOSE_SERVER_CRASHED].text);
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		enum server_end end = server_end_of(i);

		if (end != SERVER_END_NOT_READY)
			assert_string_equal(server_end_symbol(end), close_reasons[i].symbol);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_end_has_a_name_and_a_text_of_its_own),
		cmocka_unit_test(a_server_that_ends_with_its_client_has_the_clients_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
