#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "process/notify_socket.h"

static char name[64];
static int manager;
static struct notify_socket s;

/* In the abstract namespace: nothing to clean up. */
static int set_up(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n;

	(void)state;
	snprintf(name, sizeof(name), "@test_notify_socket-%d", (int)getpid());
	n = snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	a.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(manager >= 0);
	assert_int_equal(
		bind(manager, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)), 0);
	assert_true(notify_socket_open(&s, name));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	notify_socket_close(&s);
	close(manager);
	return 0;
}

/* The next message that the manager has; "" when there is none. */
static const char *heard(void)
{
	static char text[256];
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* As much as the manager does not read; the first that has to wait is owed. */
static void fill(void)
{
	while (s.nowed == 0)
		notify_socket_say(&s, "filling");
}

static void drain(void)
{
	while (strcmp(heard(), "filling") == 0)
		;
}

static void what_is_said_arrives(void **state)
{
	(void)state;
	notify_socket_say(&s, "READY=1");
	notify_socket_mention(&s, "STATUS=fine");
	assert_string_equal(heard(), "READY=1");
	assert_string_equal(heard(), "STATUS=fine");
	assert_true(notify_socket_settle(&s));
}

static void what_there_is_no_room_for_arrives_later_and_in_order(void **state)
{
	(void)state;
	fill();
	notify_socket_say(&s, "one");
	notify_socket_say(&s, "two");
	assert_false(notify_socket_settle(&s));
	drain();
	assert_true(notify_socket_settle(&s));
	assert_string_equal(heard(), "filling");
	assert_string_equal(heard(), "one");
	assert_string_equal(heard(), "two");
	assert_string_equal(heard(), "");
}

static void what_is_said_does_not_overtake_what_is_owed(void **state)
{
	(void)state;
	fill();
	drain();
	notify_socket_say(&s, "later");
	assert_string_equal(heard(), "filling");
	assert_string_equal(heard(), "later");
}

static void what_is_of_the_moment_is_not_owed(void **state)
{
	(void)state;
	fill();
	notify_socket_mention(&s, "WATCHDOG=1");
	assert_int_equal(s.nowed, 1);
	drain();
	assert_true(notify_socket_settle(&s));
	assert_string_equal(heard(), "filling");
	assert_string_equal(heard(), "");
}

static void of_too_much_the_oldest_is_forgotten(void **state)
{
	char text[16];

	(void)state;
	fill();
	for (int i = 0; i < NOTIFY_OWED_MAX + 3; i++) {
		snprintf(text, sizeof(text), "%d", i);
		notify_socket_say(&s, text);
	}
	assert_int_equal(s.nowed, NOTIFY_OWED_MAX);
	assert_string_equal(s.owed[0], "3");
	assert_string_equal(s.owed[NOTIFY_OWED_MAX - 1], "18");
}

static void for_a_manager_that_is_not_there_nothing_waits(void **state)
{
	struct notify_socket other;

	(void)state;
	assert_true(notify_socket_open(&other, "/nowhere/notify"));
	notify_socket_say(&other, "READY=1");
	assert_true(notify_socket_settle(&other));
	notify_socket_close(&other);
}

static void names_of_no_socket_are_refused(void **state)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct notify_socket other;

	(void)state;
	assert_false(notify_socket_open(&other, ""));
	assert_false(notify_socket_open(&other, "relative"));
	assert_false(notify_socket_open(&other, "vsock:2:1234"));
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_false(notify_socket_open(&other, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_said_arrives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_there_is_no_room_for_arrives_later_and_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_said_does_not_overtake_what_is_owed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_of_the_moment_is_not_owed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(of_too_much_the_oldest_is_forgotten, set_up, tear_down),
		cmocka_unit_test(for_a_manager_that_is_not_there_nothing_waits),
		cmocka_unit_test(names_of_no_socket_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
