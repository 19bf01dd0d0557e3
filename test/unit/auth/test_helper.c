#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/helper.h"
#include "auth/helper_child.h"
#include "base/clock.h"
#include "base/log.h"

#define NANSWERS 2000

/* What came back, by the number that was given as the argument. */
struct answer {
	int count;
	enum external_verdict verdict;
	char why[256];
};

static struct loop *loop;
static struct auth_helper *helper;
static struct answer answers[NANSWERS];
static int nanswered;

static void say(struct external_answer *answer, enum external_verdict verdict, const char *why)
{
	answer->verdict = verdict;
	snprintf(answer->why, sizeof(answer->why), "%s", why);
}

static void count_descriptors(struct external_answer *answer)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fd > 2 && fcntl(fd, F_GETFD) >= 0;
	answer->verdict = EXTERNAL_ACCEPTED;
	snprintf(answer->why, sizeof(answer->why), "%d descriptors", n);
}

static void wait_for_file(const char *path)
{
	while (access(path, F_OK) != 0)
		usleep(1000);
}

/* The user says what is to happen in the process. */
static void verify(const struct external_login *login, struct external_answer *answer)
{
	if (strcmp(login->user, "die") == 0)
		_exit(3);
	if (strcmp(login->user, "hang") == 0)
		pause();
	if (strcmp(login->user, "wait") == 0)
		wait_for_file(login->target);
	if (strcmp(login->user, "descriptors") == 0) {
		count_descriptors(answer);
		return;
	}
	if (strcmp(login->user, "pid") == 0) {
		answer->verdict = EXTERNAL_ACCEPTED;
		snprintf(answer->why, sizeof(answer->why), "%d", (int)getpid());
		return;
	}
	if (strcmp(login->user, "slowly") == 0)
		answer->delay_us = 300 * 1000;
	if (strcmp(login->password, "right") == 0)
		say(answer, EXTERNAL_ACCEPTED, login->remote_host);
	else
		say(answer, EXTERNAL_REFUSED, login->target);
}

static void on_answer(void *arg, enum external_verdict verdict, const char *why)
{
	struct answer *a = arg;

	a->count++;
	a->verdict = verdict;
	snprintf(a->why, sizeof(a->why), "%s", why);
	nanswered++;
}

static struct auth_helper_ticket *ask(int i, const char *user, const char *password, const char **why)
{
	const struct external_login login = {EXTERNAL_PAM, "service", user, password, "10.0.0.1"};

	return auth_helper_ask(helper, &login, on_answer, &answers[i], why);
}

static struct auth_helper_ticket *must_ask(int i, const char *user, const char *password)
{
	const char *why = "";
	struct auth_helper_ticket *t = ask(i, user, password, &why);

	if (t == NULL)
		fail_msg("not taken: %s", why);
	return t;
}

static void run_until(int n)
{
	while (nanswered < n)
		ev_run(loop->ev, EVRUN_ONCE);
}

static void expect(int i, enum external_verdict verdict, const char *why)
{
	assert_int_equal(answers[i].count, 1);
	assert_int_equal(answers[i].verdict, verdict);
	assert_string_equal(answers[i].why, why);
}

static void start(unsigned queue, uint64_t timeout_us)
{
	const struct auth_helper_options options = {.queue = queue, .timeout_us = timeout_us, .verify = verify};

	helper = auth_helper_new(loop, &options);
	assert_non_null(helper);
}

static int set_up(void **state)
{
	const char *error;

	(void)state;
	log_configure(&(struct log_options){.quiet = true}, &error);
	memset(answers, 0, sizeof(answers));
	nanswered = 0;
	loop = loop_new();
	return loop == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	auth_helper_free(helper);
	helper = NULL;
	loop_free(loop);
	return 0;
}

static void the_process_sees_all_of_the_login(void **state)
{
	(void)state;
	start(100, 0);
	must_ask(0, "ann", "right");
	must_ask(1, "ann", "wrong");
	must_ask(2, "", "");
	run_until(3);
	expect(0, EXTERNAL_ACCEPTED, "10.0.0.1");
	expect(1, EXTERNAL_REFUSED, "service");
	expect(2, EXTERNAL_REFUSED, "service");
}

static void nothing_is_forked_before_the_first_question(void **state)
{
	(void)state;
	start(100, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void the_process_has_no_descriptor_but_its_socket(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	start(100, 0);
	must_ask(0, "descriptors", "");
	run_until(1);
	expect(0, EXTERNAL_ACCEPTED, "1 descriptors");
	close(fds[0]);
	close(fds[1]);
}

static void a_process_is_used_again(void **state)
{
	(void)state;
	start(100, 0);
	must_ask(0, "pid", "");
	run_until(1);
	must_ask(1, "pid", "");
	run_until(2);
	assert_string_equal(answers[0].why, answers[1].why);
}

static void a_thousand_are_answered(void **state)
{
	(void)state;
	start(1000, 0);
	for (int i = 0; i < 1000; i++)
		must_ask(i, "ann", i % 3 == 0 ? "right" : "wrong");
	run_until(1000);
	for (int i = 0; i < 1000; i++)
		expect(i, i % 3 == 0 ? EXTERNAL_ACCEPTED : EXTERNAL_REFUSED, i % 3 == 0 ? "10.0.0.1" : "service");
}

static void what_the_queue_does_not_hold_is_told_at_once(void **state)
{
	const char *why = "";

	(void)state;
	start(3, 0);
	for (int i = 0; i < AUTH_HELPER_PROCESSES + 3; i++)
		must_ask(i, "hang", "");
	assert_null(ask(100, "ann", "right", &why));
	assert_string_equal(why, "auth helper queue is full");
	assert_int_equal(nanswered, 0);
}

static void a_slow_one_holds_up_no_other(void **state)
{
	(void)state;
	start(100, 0);
	for (int i = 0; i < AUTH_HELPER_PROCESSES - 1; i++)
		must_ask(i, "hang", "");
	for (int i = 10; i < 60; i++)
		must_ask(i, "ann", "right");
	run_until(50);
	for (int i = 10; i < 60; i++)
		expect(i, EXTERNAL_ACCEPTED, "10.0.0.1");
	assert_int_equal(answers[0].count, 0);
}

static void a_dead_process_is_told_and_replaced(void **state)
{
	(void)state;
	start(100, 0);
	must_ask(0, "die", "");
	run_until(1);
	expect(0, EXTERNAL_UNAVAILABLE, "the auth helper process has ended");
	must_ask(1, "ann", "right");
	run_until(2);
	expect(1, EXTERNAL_ACCEPTED, "10.0.0.1");
}

static void what_waits_outlives_dying_processes(void **state)
{
	(void)state;
	start(100, 0);
	for (int i = 0; i < 50; i++)
		must_ask(i, i % 2 == 0 ? "die" : "ann", "right");
	run_until(50);
	for (int i = 0; i < 50; i++)
		expect(i, i % 2 == 0 ? EXTERNAL_UNAVAILABLE : EXTERNAL_ACCEPTED,
		       i % 2 == 0 ? "the auth helper process has ended" : "10.0.0.1");
}

static void a_process_killed_while_idle_is_replaced(void **state)
{
	pid_t pid;

	(void)state;
	start(100, 0);
	must_ask(0, "pid", "");
	run_until(1);
	pid = (pid_t)atoi(answers[0].why);
	kill(pid, SIGKILL);
	while (kill(pid, 0) == 0)
		ev_run(loop->ev, EVRUN_ONCE);
	ev_run(loop->ev, EVRUN_NOWAIT);
	must_ask(1, "ann", "right");
	run_until(2);
	expect(1, EXTERNAL_ACCEPTED, "10.0.0.1");
}

static void signals_for_the_pooler_do_not_end_a_process(void **state)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};

	(void)state;
	start(100, 0);
	must_ask(0, "pid", "");
	run_until(1);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		kill((pid_t)atoi(answers[0].why), signals[i]);
	must_ask(1, "pid", "");
	run_until(2);
	assert_string_equal(answers[0].why, answers[1].why);
}

static void one_that_takes_too_long_is_killed(void **state)
{
	(void)state;
	start(100, CLOCK_SECOND);
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		must_ask(i, "hang", "");
	must_ask(50, "pid", "");
	run_until(AUTH_HELPER_PROCESSES + 1);
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		expect(i, EXTERNAL_UNAVAILABLE, "the auth helper process did not answer in time");
	assert_int_equal(answers[50].verdict, EXTERNAL_ACCEPTED);
}

static void a_cancelled_one_is_never_answered(void **state)
{
	char path[] = "/tmp/test_helper.XXXXXX";
	struct external_login slow = {EXTERNAL_PAM, path, "wait", "right", ""};
	struct auth_helper_ticket *running[AUTH_HELPER_PROCESSES], *queued;
	const char *why;

	(void)state;
	assert_int_equal(close(mkstemp(path)), 0);
	assert_int_equal(unlink(path), 0);
	start(100, 0);
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		running[i] = auth_helper_ask(helper, &slow, on_answer, &answers[i], &why);
	queued = must_ask(10, "ann", "right");
	must_ask(11, "ann", "right");
	auth_helper_cancel(queued);
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		auth_helper_cancel(running[i]);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	run_until(1);
	expect(11, EXTERNAL_ACCEPTED, "10.0.0.1");

	assert_int_equal(answers[10].count, 0);
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		assert_int_equal(answers[i].count, 0);
	unlink(path);
}

static void a_refusal_is_held_back_without_holding_the_process(void **state)
{
	uint64_t began;

	(void)state;
	start(200, 0);
	clock_turn();
	began = clock_us();
	for (int i = 0; i < 100; i++)
		must_ask(i, "slowly", "wrong");
	must_ask(100, "slowly", "right");
	run_until(1);
	expect(100, EXTERNAL_ACCEPTED, "10.0.0.1");
	run_until(101);
	clock_turn();
	assert_true(clock_us() - began >= 300 * 1000);
	expect(99, EXTERNAL_REFUSED, "service");
}

static void one_that_is_held_back_can_be_cancelled(void **state)
{
	struct auth_helper_ticket *t[AUTH_HELPER_PROCESSES];

	(void)state;
	start(100, 0);
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		t[i] = must_ask(i, "slowly", "wrong");
	/* When this is answered, a process has got rid of at least one of those. */
	must_ask(10, "ann", "right");
	run_until(1);
	if (answers[10].count == 0)
		skip();
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		auth_helper_cancel(t[i]);
	must_ask(11, "slowly", "wrong");
	run_until(2);
	expect(11, EXTERNAL_REFUSED, "service");
	for (int i = 0; i < AUTH_HELPER_PROCESSES; i++)
		assert_int_equal(answers[i].count, 0);
}

static void on_answer_ask_again(void *arg, enum external_verdict verdict, const char *why)
{
	struct answer *a = arg;

	on_answer(arg, verdict, why);
	if (a + 1 < &answers[50])
		must_ask((int)(a + 1 - answers), "ann", "right");
}

static void one_may_ask_from_within_an_answer(void **state)
{
	const struct external_login login = {EXTERNAL_PAM, "", "die", "", ""};
	const char *why;

	(void)state;
	start(0, 0);
	assert_non_null(auth_helper_ask(helper, &login, on_answer_ask_again, &answers[0], &why));
	run_until(2);
	expect(0, EXTERNAL_UNAVAILABLE, "the auth helper process has ended");
	expect(1, EXTERNAL_ACCEPTED, "10.0.0.1");
}

static void a_long_password_arrives_and_one_that_is_too_long_is_not_taken(void **state)
{
	static char password[HELPER_REQUEST_MAX + 1];
	const char *why = "";

	(void)state;
	start(100, 0);
	memset(password, 'x', sizeof(password) - 1);
	assert_null(ask(0, "ann", password, &why));
	assert_string_not_equal(why, "");
	password[65000] = '\0';
	must_ask(1, "ann", password);
	run_until(1);
	expect(1, EXTERNAL_REFUSED, "service");
}

static void freeing_kills_and_reaps_and_answers_nobody(void **state)
{
	pid_t pid;

	(void)state;
	start(100, 0);
	must_ask(0, "pid", "");
	run_until(1);
	pid = (pid_t)atoi(answers[0].why);
	for (int i = 1; i < 20; i++)
		must_ask(i, "hang", "");
	auth_helper_free(helper);
	helper = NULL;
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(nanswered, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_process_sees_all_of_the_login, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_forked_before_the_first_question, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_process_has_no_descriptor_but_its_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_process_is_used_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_thousand_are_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_queue_does_not_hold_is_told_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_slow_one_holds_up_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_dead_process_is_told_and_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_waits_outlives_dying_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_process_killed_while_idle_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(signals_for_the_pooler_do_not_end_a_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_takes_too_long_is_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cancelled_one_is_never_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_refusal_is_held_back_without_holding_the_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_held_back_can_be_cancelled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_may_ask_from_within_an_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_long_password_arrives_and_one_that_is_too_long_is_not_taken, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(freeing_kills_and_reaps_and_answers_nobody, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
