#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "proto/rules.h"

static void assert_client_rule(const char *types, enum client_rule rule)
{
	for (; *types != '\0'; types++)
		assert_int_equal(client_rule(*types), rule);
}

static void assert_server_rule(const char *types, enum server_rule rule)
{
	for (; *types != '\0'; types++)
		assert_int_equal(server_rule(*types), rule);
}

static void what_asks_for_an_answer_needs_a_server(void **state)
{
	(void)state;
	assert_client_rule("QPBDECHSF", REQUEST_FORWARD);
}

static void copy_data_alone_needs_no_server(void **state)
{
	(void)state;
	assert_client_rule("dcf", REQUEST_COPY);
}

static void terminate_is_never_forwarded(void **state)
{
	(void)state;
	assert_client_rule("X", REQUEST_TERMINATE);
}

static void anything_else_from_a_client_is_rejected(void **state)
{
	int rejected = 0;

	(void)state;
	for (int type = 0; type < 256; type++)
		rejected += client_rule((char)type) == REQUEST_REJECT;
	assert_int_equal(rejected, 256 - (int)strlen("QPBDECHSFdcfX"));
	/* A password belongs to the login. */
	assert_client_rule("pRZ\x7f\xff", REQUEST_REJECT);
	assert_int_equal(client_rule('\0'), REQUEST_REJECT);
}

static void what_is_run_or_stored_may_have_a_gigabyte(void **state)
{
	(void)state;
	for (const char *type = "QPBFd"; *type != '\0'; type++) {
		assert_false(client_is_too_long(*type, REQUEST_SMALL_MAX));
		assert_false(client_is_too_long(*type, REQUEST_LARGE_MAX - 4));
		assert_true(client_is_too_long(*type, REQUEST_LARGE_MAX - 3));
		assert_true(client_is_too_long(*type, UINT32_MAX));
	}
}

static void anything_else_has_to_be_short(void **state)
{
	(void)state;
	for (const char *type = "DECHScfX"; *type != '\0'; type++) {
		assert_false(client_is_too_long(*type, 0));
		assert_false(client_is_too_long(*type, REQUEST_SMALL_MAX - 4));
		assert_true(client_is_too_long(*type, REQUEST_SMALL_MAX - 3));
		assert_true(client_is_too_long(*type, UINT32_MAX));
	}
}

static void every_reply_of_a_server_at_work_is_known(void **state)
{
	(void)state;
	assert_server_rule("123TnCIsV", REPLY_STEP);
	assert_server_rule("tDHWdcNA", REPLY_PASS);
	assert_server_rule("G", REPLY_COPY_IN);
	assert_server_rule("E", REPLY_ERROR);
	assert_server_rule("Z", REPLY_READY);
	assert_server_rule("S", REPLY_PARAMETER);
}

static void what_belongs_to_a_login_or_to_nobody_is_rejected(void **state)
{
	int rejected = 0;

	(void)state;
	for (int type = 0; type < 256; type++)
		rejected += server_rule((char)type) == REPLY_REJECT;
	assert_int_equal(rejected, 256 - (int)strlen("123TnCIsVtDHWdcNAGEZS"));
	assert_server_rule("RKvQ\xff", REPLY_REJECT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_asks_for_an_answer_needs_a_server),
		cmocka_unit_test(copy_data_alone_needs_no_server),
		cmocka_unit_test(what_is_run_or_stored_may_have_a_gigabyte),
		cmocka_unit_test(anything_else_has_to_be_short),
		cmocka_unit_test(terminate_is_never_forwarded),
		cmocka_unit_test(anything_else_from_a_client_is_rejected),
		cmocka_unit_test(every_reply_of_a_server_at_work_is_known),
		cmocka_unit_test(what_belongs_to_a_login_or_to_nobody_is_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
