#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "session/close_reasons.h"

/* What PgBouncer tells clients, a subject left as %s. */
static const char *const pgbouncers[] = {
	/* startup */
	"no username supplied", "username too long", "unsupported startup parameter: %s",
	"unsupported startup parameter in options: %s", "old V2 protocol not supported", "SSL required",
	"received unencrypted data after SSL request", "received unencrypted data after GSSAPI encryption request",
	"bad packet header: '%s'",
	/* limits */
	"no more connections allowed (max_client_conn)", "client connections exceeded (max_db_client_connections)",
	"client connections exceeded (max_user_client_connections)",
	/* database */
	"no such database: %s", "database \"%s\" is disabled", "database removed", "bouncer config error",
	"bouncer resources exhaustion", "not allowed",
	/* timeouts */
	"client_login_timeout", "client_login_timeout (server down)", "query_wait_timeout", "query_timeout", "query timeout",
	"idle transaction timeout", "transaction timeout", "client_idle_timeout", "suspend_timeout",
	/* server */
	"server login has been failing, cached error: %s (server_login_retry)", "server conn crashed?",
	"server DNS lookup failed", "connect timeout", "login failed", "database configuration changed",
	/* admin */
	"pooler is shutting down", "server shutting down", "admin forced disconnect",
	/* protocol */
	"PQexec disallowed", "transaction blocks not allowed in statement pooling mode", "unknown pkt",
	"extended query protocol not supported by admin console",
};

/* Those that PgBouncer has no text for, or words with the field at fault. */
static const char *const ours[] = {"%s too long", "broken packet from the server", "prepared statement is too long",
				    "invalid value for parameter \"replication\": \"%s\"",
				    "no more connections allowed (unfinished logins)",
				    "no more connections allowed (open files)",
				    "no more connections allowed (max_memory)",
				    "too much memory is held for this connection (max_memory)"};

static bool is_in(const char *text, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text, list[i]) == 0)
			return true;
	return false;
}

#define IS_IN(text, list) is_in(text, list, sizeof(list) / sizeof((list)[0]))

static void every_reason_has_an_entry(void **state)
{
	(void)state;
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		assert_non_null(close_reasons[i].symbol);
		assert_true(close_reasons[i].text[0] != '\0');
	}
	assert_string_equal(close_reasons[CLOSE_QUERY_WAIT_TIMEOUT].symbol, "QUERY_WAIT_TIMEOUT");
}

/* An empty one stands for the server's own, of which the text comes as well. */
static void what_a_client_is_told_has_a_sqlstate_or_the_servers(void **state)
{
	(void)state;
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *r = &close_reasons[i];
		bool is_the_servers = r->sqlstate[0] == '\0' && strcmp(r->text, "%s") == 0;

		if (!r->is_told || is_the_servers)
			continue;
		if (strlen(r->sqlstate) != 5)
			fail_msg("%s has SQLSTATE '%s'", r->symbol, r->sqlstate);
		for (const char *p = r->sqlstate; *p != '\0'; p++)
			assert_true(isdigit((unsigned char)*p) || isupper((unsigned char)*p));
	}
}

static void texts_are_pgbouncers(void **state)
{
	(void)state;
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_info *r = &close_reasons[i];

		if (r->is_told && strcmp(r->text, "%s") != 0 && !IS_IN(r->text, pgbouncers) && !IS_IN(r->text, ours))
			fail_msg("%s says '%s'", r->symbol, r->text);
	}
}

static void a_text_has_at_most_one_subject_and_no_other_format(void **state)
{
	(void)state;
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *percent = strchr(close_reasons[i].text, '%');

		assert_true(percent == NULL || (percent[1] == 's' && strchr(percent + 1, '%') == NULL));
	}
}

static void a_hint_is_a_sentence(void **state)
{
	(void)state;
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		const char *hint = close_reasons[i].hint;

		if (hint == NULL)
			continue;
		assert_true(isalnum((unsigned char)hint[0]));
		assert_int_equal(hint[strlen(hint) - 1], '.');
	}
}

static void the_sqlstates_are_those_that_applications_look_for(void **state)
{
	static const struct {
		enum close_reason why;
		const char *sqlstate;
	} expected[] = {
		{CLOSE_MAX_CLIENT_CONN, "53300"},    {CLOSE_POOLER_SHUTDOWN, "57P01"}, {CLOSE_ADMIN_SHUTDOWN, "57P01"},
		{CLOSE_NO_DATABASE, "3D000"},        {CLOSE_QUERY_WAIT_TIMEOUT, "57014"},
		{CLOSE_SERVER_CRASHED, "08006"},     {CLOSE_SERVER_DOWN, "57P03"},     {CLOSE_BAD_PARAMETER, "0A000"},
		{CLOSE_STATEMENT_MODE, "0A000"},     {CLOSE_NO_USER, "28000"},         {CLOSE_BAD_PACKET, "08P01"},
		{CLOSE_CLIENT_IDLE_TIMEOUT, "57P05"}, {CLOSE_QUERY_TIMEOUT, "57014"},
		{CLOSE_IDLE_TRANSACTION_TIMEOUT, "25P03"}, {CLOSE_TRANSACTION_TIMEOUT, "25P04"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_string_equal(close_reasons[expected[i].why].sqlstate, expected[i].sqlstate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_has_an_entry),
		cmocka_unit_test(what_a_client_is_told_has_a_sqlstate_or_the_servers),
		cmocka_unit_test(texts_are_pgbouncers),
		cmocka_unit_test(a_text_has_at_most_one_subject_and_no_other_format),
		cmocka_unit_test(a_hint_is_a_sentence),
		cmocka_unit_test(the_sqlstates_are_those_that_applications_look_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
