#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/host_probe.h"

#include "../net/turning.h"
#include "fake_server.h"

#define SECOND UINT64_C(1000000)
#define OFTEN (SECOND / 5)
#define NEVER (1000 * SECOND)

static struct host_probe *probe;
static struct connection_target target;

/* What was told, and how often. */
static struct host_role role;
static int nroles, nfailures;
static struct {
	char text[256], sqlstate[6];
	bool is_servers, timed_out, needs_password;
} failure;

/* What whoever is told does then. */
static void (*reaction)(void);

static void react(void)
{
	void (*fn)(void) = reaction;

	reaction = NULL;
	if (fn != NULL)
		fn();
}

static void on_role(void *arg, const struct host_role *r)
{
	assert_ptr_equal(arg, &target);
	role = *r;
	nroles++;
	react();
}

static void on_failure(void *arg, const struct connection_loss *loss, bool is_servers)
{
	assert_ptr_equal(arg, &target);
	snprintf(failure.text, sizeof(failure.text), "%s", loss->text);
	snprintf(failure.sqlstate, sizeof(failure.sqlstate), "%s", loss->sqlstate != NULL ? loss->sqlstate : "");
	failure.is_servers = is_servers;
	failure.timed_out = loss->timed_out;
	failure.needs_password = loss->needs_password;
	nfailures++;
	react();
}

static const struct host_probe_ops ops = {on_role, on_failure};

static void answer(const char *is_standby, const char *is_read_only)
{
	snprintf(fake_shared->row[0], sizeof(fake_shared->row[0]), "%s", is_standby);
	snprintf(fake_shared->row[1], sizeof(fake_shared->row[1]), "%s", is_read_only);
}

static void obey(const char *order)
{
	snprintf(fake_shared->user, sizeof(fake_shared->user), "%s", order);
}

static int set_up(void **state)
{
	nroles = nfailures = 0;
	reaction = NULL;
	if (fake_start() != 0 || open_loop(state) != 0)
		return -1;
	clock_turn();
	obey("role");
	answer("f", "off");
	target = (struct connection_target){.host = fake_directory, .port = FAKE_PORT, .dbname = "app", .user = "ann"};
	probe = host_probe_new(loop, NULL, &ops, &target);
	return probe == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	host_probe_free(&probe);
	fake_stop();
	return close_loop(state);
}

static void start(uint64_t interval_us)
{
	assert_true(host_probe_start(probe, &target, interval_us));
}

/* Started, and answered once. */
static void start_and_wait(uint64_t interval_us)
{
	start(interval_us);
	turn_until(nroles == 1);
	assert_int_equal(nfailures, 0);
}

static void expect_role(bool is_standby, bool is_read_only)
{
	int n = nroles;

	host_probe_ask_now(probe);
	turn_until(nroles > n);
	assert_int_equal(role.is_standby, is_standby);
	assert_int_equal(role.is_read_only, is_read_only);
}

static void expect_failure(const char *text, const char *sqlstate, bool is_servers)
{
	turn_until(nfailures == 1);
	if (strstr(failure.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", failure.text, text);
	assert_string_equal(failure.sqlstate, sqlstate);
	assert_int_equal(failure.is_servers, is_servers);
}

/* --- roles --- */

static void the_server_says_what_it_is(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	expect_role(false, false);
	answer("f", "on");
	expect_role(false, true);
	answer("t", "on");
	expect_role(true, true);
}

static void a_standby_is_always_read_only(void **state)
{
	(void)state;
	answer("t", "off");
	start_and_wait(NEVER);
	expect_role(true, true);
}

static void another_answer_is_a_failure(void **state)
{
	(void)state;
	answer("f", "maybe");
	start(NEVER);
	expect_failure("does not say whether it is a standby", "", true);
}

/* --- when --- */

static void it_is_asked_again_and_again_over_one_connection(void **state)
{
	(void)state;
	start(OFTEN);
	turn_until(nroles == 4);
	assert_int_equal(fake_shared->nconnections, 1);
	assert_int_equal(nfailures, 0);
}

static void questions_are_as_far_apart_as_the_interval_says(void **state)
{
	int64_t began = clock_wall_us();

	(void)state;
	start(OFTEN);
	turn_until(nroles == 4);
	/* Three intervals, each up to a tenth shorter. */
	assert_true(clock_wall_us() - began >= (int64_t)(3 * OFTEN * 9 / 10) - 10000);
}

static void a_suspicion_is_followed_at_once(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	host_probe_ask_now(probe);
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 1);
}

static void a_storm_of_suspicions_costs_little(void **state)
{
	int64_t began = clock_wall_us(), took = 0;

	(void)state;
	start_and_wait(NEVER);
	while ((took = clock_wall_us() - began) < 350000) {
		for (int i = 0; i < 1000; i++)
			host_probe_ask_now(probe);
		turn(0.001);
	}
	assert_true(nroles >= 2);
	assert_true(fake_shared->nquestions <= 2 + took / 100000);
}

static void a_suspicion_during_a_question_repeats_it(void **state)
{
	(void)state;
	fake_shared->delay_us = 50000;
	start(NEVER);
	turn_until(fake_shared->nquestions == 1);
	answer("t", "on");
	host_probe_ask_now(probe);
	turn_until(nroles == 2);
	assert_true(role.is_standby);
	turn(0.15);
	turn(0.15);
	assert_int_equal(fake_shared->nquestions, 2);
}

static void a_suspicion_about_a_stopped_probe_is_nothing(void **state)
{
	(void)state;
	host_probe_ask_now(probe);
	turn_a_few_times();
	assert_int_equal(fake_shared->nconnections, 0);
}

/* --- failures --- */

static void a_server_that_is_not_there_is_tried_again_until_it_is(void **state)
{
	(void)state;
	fake_kill();
	start(OFTEN);
	expect_failure("No such file or directory", "", false);
	assert_int_equal(fake_spawn(), 0);
	turn_until(nroles == 1);
}

static void the_death_of_a_server_is_known_at_once(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	fake_kill();
	expect_failure("No such file or directory", "", false);
}

static void a_server_that_only_ended_the_connection_is_asked_over_another(void **state)
{
	(void)state;
	fake_shared->leaves = 1;
	start(NEVER);
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 2);
	assert_int_equal(nfailures, 0);
}

static void a_server_that_ends_every_connection_is_not_asked_in_haste(void **state)
{
	int64_t began = clock_wall_us();

	(void)state;
	fake_shared->leaves = 100;
	start(NEVER);
	turn_until(nroles == 4);
	/* After the first loss at once, then a second after the last time. */
	assert_true(clock_wall_us() - began >= 2 * (int64_t)SECOND);
	assert_int_equal(nfailures, 0);
}

static void a_connection_found_broken_by_a_question_is_replaced(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	obey("cut");
	host_probe_ask_now(probe);
	turn_until(fake_shared->nquestions == 2);
	obey("role");
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 2);
	assert_int_equal(nfailures, 0);
}

static void a_connection_is_replaced_once(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	obey("fatal");
	host_probe_ask_now(probe);
	expect_failure("going down", "57P01", true);
	turn_a_few_times();
	assert_int_equal(fake_shared->nconnections, 2);
	assert_int_equal(nfailures, 1);
}

static void a_refused_login_is_told_as_the_servers_words(void **state)
{
	(void)state;
	snprintf(fake_shared->login, sizeof(fake_shared->login), "refuse");
	start(OFTEN);
	expect_failure("not yet ready", "57P03", true);
	fake_shared->login[0] = '\0';
	turn_until(nroles == 1);
}

static void a_password_that_nobody_has_is_told(void **state)
{
	(void)state;
	snprintf(fake_shared->login, sizeof(fake_shared->login), "password");
	start(NEVER);
	expect_failure("", "", true);
	assert_true(failure.needs_password);
}

static void an_error_of_sql_leaves_the_connection_open(void **state)
{
	(void)state;
	obey("error");
	start(NEVER);
	expect_failure("no such table", "42P01", true);
	obey("role");
	host_probe_ask_now(probe);
	turn_until(nroles == 1);
	assert_int_equal(fake_shared->nconnections, 1);
}

static void a_server_that_does_not_answer_fails_in_time(void **state)
{
	int64_t began;

	(void)state;
	start_and_wait(OFTEN);
	obey("hang");
	began = clock_wall_us();
	expect_failure("did not answer in time", "", false);
	assert_true(failure.timed_out);
	/* Short intervals leave it a second all the same. */
	assert_true(clock_wall_us() - began >= (int64_t)SECOND - 10000);
	fake_kill();
	obey("role");
	assert_int_equal(fake_spawn(), 0);
	turn_until(nroles == 2);
}

static void a_server_that_lets_nobody_in_fails_in_time(void **state)
{
	(void)state;
	kill(fake_pid, SIGSTOP);
	start(OFTEN);
	expect_failure("did not let us in in time", "", false);
	assert_true(failure.timed_out);
}

/* --- targets --- */

static void the_target_is_copied(void **state)
{
	char host[sizeof(fake_directory)], user[] = "ann";

	(void)state;
	strcpy(host, fake_directory);
	target.host = host;
	target.user = user;
	start(NEVER);
	memset(host, 'x', sizeof(host) - 1);
	memset(user, 'x', sizeof(user) - 1);
	turn_until(nroles == 1);
}

static void the_same_target_keeps_its_connection_and_is_asked_at_once(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	start(NEVER);
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 1);
}

static void a_new_interval_holds_from_now_on(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	start(OFTEN);
	turn_until(nroles == 4);
	assert_int_equal(fake_shared->nconnections, 1);
}

static void another_target_has_a_connection_of_its_own(void **state)
{
	(void)state;
	start_and_wait(NEVER);
	target.user = "bob";
	start(NEVER);
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 2);
}

static void a_question_at_another_target_is_forgotten(void **state)
{
	(void)state;
	fake_shared->delay_us = 50000;
	start(NEVER);
	turn_until(fake_shared->nquestions == 1);
	target.host = "/nonexistent";
	start(NEVER);
	expect_failure("No such file or directory", "", false);
	turn(0.1);
	assert_int_equal(nroles, 0);
}

static void a_stopped_one_asks_no_more_and_may_be_started_again(void **state)
{
	(void)state;
	start_and_wait(OFTEN);
	host_probe_stop(probe);
	turn(0.3);
	turn(0.3);
	assert_int_equal(nroles, 1);
	start(OFTEN);
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 2);
}

/* --- from within --- */

static void free_it(void)
{
	host_probe_free(&probe);
}

static void stop_it(void)
{
	host_probe_stop(probe);
}

static void move_it(void)
{
	target.user = "bob";
	start(NEVER);
}

static void whoever_is_told_a_role_may_free_the_probe(void **state)
{
	(void)state;
	reaction = free_it;
	start(OFTEN);
	turn_until(probe == NULL);
	turn_a_few_times();
	assert_int_equal(nroles, 1);
}

static void whoever_is_told_a_failure_may_free_the_probe(void **state)
{
	static const char *const orders[] = {"error", "fatal", "copy"};

	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		obey(orders[i]);
		reaction = free_it;
		start(OFTEN);
		turn_until(probe == NULL);
		probe = host_probe_new(loop, NULL, &ops, &target);
	}
	fake_kill();
	reaction = free_it;
	start(OFTEN);
	turn_until(probe == NULL);
	assert_int_equal(nfailures, 4);
}

static void whoever_is_told_may_stop_it(void **state)
{
	(void)state;
	reaction = stop_it;
	start(OFTEN);
	turn_until(nroles == 1);
	turn(0.3);
	turn(0.3);
	assert_int_equal(fake_shared->nquestions, 1);
}

static void whoever_is_told_may_give_it_another_target(void **state)
{
	(void)state;
	reaction = move_it;
	start(NEVER);
	turn_until(nroles == 2);
	assert_int_equal(fake_shared->nconnections, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_server_says_what_it_is),
		TEST(a_standby_is_always_read_only),
		TEST(another_answer_is_a_failure),
		TEST(it_is_asked_again_and_again_over_one_connection),
		TEST(questions_are_as_far_apart_as_the_interval_says),
		TEST(a_suspicion_is_followed_at_once),
		TEST(a_storm_of_suspicions_costs_little),
		TEST(a_suspicion_during_a_question_repeats_it),
		TEST(a_suspicion_about_a_stopped_probe_is_nothing),
		TEST(a_server_that_is_not_there_is_tried_again_until_it_is),
		TEST(the_death_of_a_server_is_known_at_once),
		TEST(a_server_that_only_ended_the_connection_is_asked_over_another),
		TEST(a_server_that_ends_every_connection_is_not_asked_in_haste),
		TEST(a_connection_found_broken_by_a_question_is_replaced),
		TEST(a_connection_is_replaced_once),
		TEST(a_refused_login_is_told_as_the_servers_words),
		TEST(a_password_that_nobody_has_is_told),
		TEST(an_error_of_sql_leaves_the_connection_open),
		TEST(a_server_that_does_not_answer_fails_in_time),
		TEST(a_server_that_lets_nobody_in_fails_in_time),
		TEST(the_target_is_copied),
		TEST(the_same_target_keeps_its_connection_and_is_asked_at_once),
		TEST(a_new_interval_holds_from_now_on),
		TEST(another_target_has_a_connection_of_its_own),
		TEST(a_question_at_another_target_is_forgotten),
		TEST(a_stopped_one_asks_no_more_and_may_be_started_again),
		TEST(whoever_is_told_a_role_may_free_the_probe),
		TEST(whoever_is_told_a_failure_may_free_the_probe),
		TEST(whoever_is_told_may_stop_it),
		TEST(whoever_is_told_may_give_it_another_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
