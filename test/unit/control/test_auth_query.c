#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>

#include "control/auth_query.h"

#include "../net/turning.h"
#include "fake_server.h"

#define SECOND UINT64_C(1000000)

static const struct auth_query_options options = {.connect_timeout_us = 10 * SECOND,
						  .query_timeout_us = 10 * SECOND,
						  .idle_timeout_us = 10 * SECOND,
						  .max_waiting = 1000,
						  .max_kept = 1000};
static struct conf_host host;
static struct auth_query_source source;
static struct auth_queries *queries;

/* What came back, by number. */
static struct told {
	int count;
	enum auth_query_result result;
	char secret[1024], why[512], sqlstate[6];
} told[200];
static int ntold;

static void note(void *arg, const struct auth_query_answer *a)
{
	struct told *t = arg;

	t->count++;
	t->result = a->result;
	snprintf(t->secret, sizeof(t->secret), "%s", a->secret != NULL ? a->secret : "(none)");
	snprintf(t->why, sizeof(t->why), "%s", a->why != NULL ? a->why : "");
	snprintf(t->sqlstate, sizeof(t->sqlstate), "%s", a->sqlstate != NULL ? a->sqlstate : "");
	ntold++;
}

static int set_up(void **state)
{
	memset(told, 0, sizeof(told));
	ntold = 0;
	if (fake_start() != 0 || open_loop(state) != 0)
		return -1;
	clock_turn();
	host = (struct conf_host){fake_directory, FAKE_PORT};
	source = (struct auth_query_source){&host, 1, "app", "asker", "hush", SECRET_PLAIN, "SELECT $1, 'x'"};
	queries = auth_queries_new(loop, NULL, &options);
	return queries == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	auth_queries_free(queries);
	fake_stop();
	return close_loop(state);
}

static struct auth_query_ticket *ask(int i, const char *user)
{
	return auth_query_ask(queries, &source, slice_of(user), note, &told[i]);
}

static void forget(const char *user)
{
	auth_query_forget(queries, &source, slice_of(user));
}

static void with_ttl(uint64_t ttl_us)
{
	struct auth_query_options o = options;

	o.ttl_us = ttl_us;
	auth_queries_configure(queries, &o);
}

static void expect_secret(int i, const char *secret)
{
	assert_int_equal(told[i].count, 1);
	assert_string_equal(told[i].why, "");
	assert_int_equal(told[i].result, AUTH_QUERY_FOUND);
	assert_string_equal(told[i].secret, secret);
}

static void expect_error(int i, const char *why)
{
	assert_int_equal(told[i].count, 1);
	assert_int_equal(told[i].result, AUTH_QUERY_ERROR);
	assert_string_equal(told[i].secret, "(none)");
	if (strstr(told[i].why, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", told[i].why, why);
}

static void expect_answer(int i, const char *user, const char *secret)
{
	int n = ntold;

	ask(i, user);
	turn_until(ntold == n + 1);
	expect_secret(i, secret);
}

/* The server has one more question, and has not answered it if it is a slow one. */
static bool server_was_asked(void)
{
	struct pollfd p = {.fd = fake_asked, .events = POLLIN};
	char byte;

	return poll(&p, 1, 0) == 1 && read(fake_asked, &byte, 1) == 1;
}

static void everybody_who_asks_about_a_user_shares_one_question(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_non_null(ask(i, "ann"));
	turn_until(ntold == 100);
	for (int i = 0; i < 100; i++)
		expect_secret(i, "1.1");
}

static void users_are_asked_for_in_order_over_one_connection(void **state)
{
	static const char *const users[] = {"ann", "bob", "cid"};

	(void)state;
	for (int i = 0; i < 3; i++)
		ask(i, users[i]);
	turn_until(ntold == 3);
	expect_secret(0, "1.1");
	expect_secret(1, "1.2");
	expect_secret(2, "1.3");
}

static void without_ttl_each_login_asks(void **state)
{
	(void)state;
	expect_answer(0, "ann", "1.1");
	expect_answer(1, "ann", "1.2");
}

static void a_kept_answer_comes_at_once(void **state)
{
	(void)state;
	with_ttl(60 * SECOND);
	expect_answer(0, "ann", "1.1");
	assert_null(ask(1, "ann"));
	expect_secret(1, "1.1");
}

static void a_kept_answer_expires(void **state)
{
	(void)state;
	with_ttl(SECOND / 20);
	expect_answer(0, "ann", "1.1");
	turn(0.1);
	turn(0.1);
	expect_answer(1, "ann", "1.2");
}

static void a_forgotten_answer_is_asked_for_again(void **state)
{
	(void)state;
	with_ttl(60 * SECOND);
	expect_answer(0, "ann", "1.1");
	expect_answer(1, "bob", "1.2");
	forget("ann");
	expect_answer(2, "ann", "1.3");
	expect_answer(3, "bob", "1.2");
	auth_queries_forget_all(queries);
	expect_answer(4, "bob", "1.4");
}

static void an_answer_under_way_when_it_is_forgotten_counts_for_nobody(void **state)
{
	(void)state;
	with_ttl(60 * SECOND);
	ask(0, "slow");
	turn_until(server_was_asked());
	forget("slow");
	ask(1, "slow");
	turn_until(ntold == 2);
	expect_secret(0, "1.2");
	expect_secret(1, "1.2");
	expect_answer(2, "slow", "1.2");
}

static void the_answer_not_used_for_longest_makes_room(void **state)
{
	struct auth_query_options o = options;

	(void)state;
	o.ttl_us = 60 * SECOND;
	o.max_kept = 2;
	auth_queries_configure(queries, &o);
	expect_answer(0, "ann", "1.1");
	expect_answer(1, "bob", "1.2");
	expect_answer(2, "ann", "1.1");
	expect_answer(3, "cid", "1.3");
	expect_answer(4, "ann", "1.1");
	expect_answer(5, "bob", "1.4");
}

static void who_has_cancelled_is_not_told(void **state)
{
	struct auth_query_ticket *asked, *queued;

	(void)state;
	asked = ask(0, "slow");
	queued = ask(1, "bob");
	ask(2, "cid");
	turn_until(server_was_asked());
	auth_query_cancel(asked);
	auth_query_cancel(queued);
	turn_until(ntold == 1);
	expect_secret(2, "1.2");
	assert_int_equal(told[0].count + told[1].count, 0);
}

static struct auth_query_ticket *victim;

static void cancel_the_other(void *arg, const struct auth_query_answer *a)
{
	note(arg, a);
	auth_query_cancel(victim);
	ask(1, "ann");
}

static void who_is_told_may_cancel_and_ask(void **state)
{
	(void)state;
	auth_query_ask(queries, &source, SLICE_LIT("ann"), cancel_the_other, &told[0]);
	victim = ask(2, "ann");
	turn_until(ntold == 2);
	expect_secret(0, "1.1");
	expect_secret(1, "1.2");
	assert_int_equal(told[2].count, 0);
}

static void who_fails_may_cancel_one_that_fails_as_well(void **state)
{
	(void)state;
	fake_stop();
	auth_query_ask(queries, &source, SLICE_LIT("ann"), cancel_the_other, &told[0]);
	victim = ask(2, "bob");
	turn_until(ntold == 2);
	expect_error(0, "failed: No such file or directory");
	expect_error(1, "failed: No such file or directory");
	assert_int_equal(told[2].count, 0);
}

static void more_may_not_wait_than_there_is_room_for(void **state)
{
	struct auth_query_options o = options;

	(void)state;
	o.max_waiting = 2;
	auth_queries_configure(queries, &o);
	ask(0, "ann");
	ask(1, "ann");
	assert_null(ask(2, "ann"));
	expect_error(2, "too many logins wait");
	turn_until(ntold == 3);
	expect_answer(3, "ann", "1.2");
}

static void a_broken_connection_is_opened_anew_once(void **state)
{
	(void)state;
	ask(0, "cut");
	ask(1, "ann");
	turn_until(ntold == 2);
	expect_error(0, "server closed the connection unexpectedly");
	expect_error(1, "server closed the connection unexpectedly");
	expect_answer(2, "ann", "3.1");
}

static void a_question_without_answer_fails_all_who_wait(void **state)
{
	struct auth_query_options o = options;

	(void)state;
	o.query_timeout_us = SECOND / 10;
	auth_queries_configure(queries, &o);
	ask(0, "hang");
	ask(1, "ann");
	turn_until(ntold == 2);
	expect_error(0, "did not answer in time");
	expect_error(1, "did not answer in time");
}

static void a_server_that_lets_nobody_in_is_given_up(void **state)
{
	struct auth_query_options o = options;

	(void)state;
	kill(fake_pid, SIGSTOP);
	o.connect_timeout_us = SECOND / 10;
	auth_queries_configure(queries, &o);
	ask(0, "ann");
	turn_until(ntold == 1);
	expect_error(0, "did not let us in in time");
}

static void the_next_host_is_tried(void **state)
{
	struct conf_host hosts[] = {{"/nonexistent", FAKE_PORT}, {fake_directory, FAKE_PORT}};

	(void)state;
	source.hosts = hosts;
	source.nhosts = 2;
	expect_answer(0, "ann", "1.1");
}

static void an_error_of_the_query_leaves_the_connection_open(void **state)
{
	(void)state;
	ask(0, "error");
	turn_until(ntold == 1);
	expect_error(0, "no such table (search_path is empty");
	assert_string_equal(told[0].sqlstate, "42P01");
	expect_answer(1, "ann", "1.2");
}

static void a_query_that_leaves_more_behind_than_rows_loses_the_connection(void **state)
{
	(void)state;
	ask(0, "copy");
	turn_until(ntold == 1);
	expect_error(0, "COPY");
	ask(1, "transaction");
	turn_until(ntold == 2);
	expect_error(1, "transaction open");
}

static void an_unused_connection_is_closed(void **state)
{
	struct auth_query_options o = options;

	(void)state;
	o.idle_timeout_us = SECOND / 20;
	auth_queries_configure(queries, &o);
	expect_answer(0, "ann", "1.1");
	turn(0.1);
	turn(0.1);
	expect_answer(1, "ann", "2.1");
}

static void another_query_has_a_connection_of_its_own(void **state)
{
	struct auth_query_options o = options;

	(void)state;
	o.idle_timeout_us = SECOND / 20;
	auth_queries_configure(queries, &o);
	expect_answer(0, "ann", "1.1");
	source.query = "SELECT $1, 'y'";
	expect_answer(1, "ann", "2.1");
}

static void the_environment_has_no_say(void **state)
{
	(void)state;
	setenv("PGOPTIONS", "-c search_path=evil", 1);
	setenv("PGSERVICE", "nothing", 1);
	setenv("PGTZ", "Mars", 1);
	setenv("PGAPPNAME", "other", 1);
	ask(0, "startup");
	turn_until(ntold == 1);
	expect_secret(0, "user=asker,database=app,options=-c search_path= -c statement_timeout=10000ms,"
			 "application_name=pgsluice,client_encoding=UTF8");
	assert_null(getenv("PGOPTIONS"));
}

static void a_name_that_cannot_be_one_is_nobody(void **state)
{
	char name[2000];

	(void)state;
	memset(name, 'x', sizeof(name));
	assert_null(auth_query_ask(queries, &source, (struct slice){name, sizeof(name)}, note, &told[0]));
	assert_null(auth_query_ask(queries, &source, (struct slice){"a\0b", 3}, note, &told[1]));
	assert_null(ask(2, ""));
	for (int i = 0; i < 3; i++)
		assert_int_equal(told[i].result, AUTH_QUERY_NOT_FOUND);
}

static void whoever_waits_at_the_end_is_not_told(void **state)
{
	(void)state;
	ask(0, "slow");
	ask(1, "ann");
	turn_until(server_was_asked());
	auth_queries_free(queries);
	queries = NULL;
	assert_int_equal(ntold, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everybody_who_asks_about_a_user_shares_one_question),
		TEST(users_are_asked_for_in_order_over_one_connection),
		TEST(without_ttl_each_login_asks),
		TEST(a_kept_answer_comes_at_once),
		TEST(a_kept_answer_expires),
		TEST(a_forgotten_answer_is_asked_for_again),
		TEST(an_answer_under_way_when_it_is_forgotten_counts_for_nobody),
		TEST(the_answer_not_used_for_longest_makes_room),
		TEST(who_has_cancelled_is_not_told),
		TEST(who_is_told_may_cancel_and_ask),
		TEST(who_fails_may_cancel_one_that_fails_as_well),
		TEST(more_may_not_wait_than_there_is_room_for),
		TEST(a_broken_connection_is_opened_anew_once),
		TEST(a_question_without_answer_fails_all_who_wait),
		TEST(a_server_that_lets_nobody_in_is_given_up),
		TEST(the_next_host_is_tried),
		TEST(an_error_of_the_query_leaves_the_connection_open),
		TEST(a_query_that_leaves_more_behind_than_rows_loses_the_connection),
		TEST(an_unused_connection_is_closed),
		TEST(another_query_has_a_connection_of_its_own),
		TEST(the_environment_has_no_say),
		TEST(a_name_that_cannot_be_one_is_nobody),
		TEST(whoever_waits_at_the_end_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
