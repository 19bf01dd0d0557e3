#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log_thin.h"

#define START (100 * CLOCK_SECOND)

static char said[65536];

static void say(const struct log_line *line, const char *message)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%s%s %s=%lld\n", line->subject == NULL ? "" : line->subject->user, message,
		 line->fields[0].key, (long long)line->fields[0].number);
}

static struct log_thin thin;

static int begin(void **state)
{
	(void)state;
	thin = (struct log_thin){.say = say, .fold_us = 5 * CLOCK_SECOND};
	said[0] = '\0';
	return 0;
}

static struct log_subject subject_of(enum log_side side, uint64_t id, const char *user)
{
	return (struct log_subject){.side = side, .id = id, .database = "shop", .user = user};
}

static bool is_written_about(const struct log_subject *subject, const char *message, uint64_t now)
{
	return log_thin_is_new(&thin, &(struct log_line){.level = LOG_LEVEL_WARNING, .subject = subject}, message, now);
}

static bool is_written(const char *message, uint64_t now)
{
	return is_written_about(NULL, message, now);
}

static void a_warning_that_repeats_is_counted_and_told_when_its_time_is_over(void **state)
{
	(void)state;
	assert_true(is_written("a", START));
	assert_false(is_written("a", START + 1));
	assert_false(is_written("a", START + CLOCK_SECOND));
	assert_int_equal(log_thin_due_at(&thin), START + 5 * CLOCK_SECOND);
	log_thin_tell_due(&thin, START + 5 * CLOCK_SECOND - 1);
	assert_string_equal(said, "");
	log_thin_tell_due(&thin, START + 5 * CLOCK_SECOND);
	assert_string_equal(said, "message repeated 2 times: [a] repeated=2\n");
	assert_int_equal(log_thin_due_at(&thin), 0);
}

static void one_that_goes_on_is_told_once_a_period(void **state)
{
	(void)state;
	is_written("a", START);
	for (unsigned i = 1; i <= 100; i++) {
		assert_false(is_written("a", START + i * CLOCK_SECOND - 1));
		log_thin_tell_due(&thin, START + i * CLOCK_SECOND);
	}
	for (const char *p = said; *p != '\0'; p = strchr(p, '\n') + 1)
		assert_int_equal(strncmp(p, "message repeated 5 times: [a] repeated=5\n", 40), 0);
	assert_int_equal(strlen(said), 20 * strlen("message repeated 5 times: [a] repeated=5\n"));
}

static void one_that_has_not_been_told_in_time_is_told_before_the_next(void **state)
{
	(void)state;
	is_written("a", START);
	is_written("a", START);
	assert_true(is_written("a", START + 6 * CLOCK_SECOND));
	assert_string_equal(said, "message repeated 1 times: [a] repeated=1\n");
}

static void one_that_came_once_is_not_told_again(void **state)
{
	(void)state;
	is_written("a", START);
	assert_int_equal(log_thin_due_at(&thin), 0);
	log_thin_tell_due(&thin, START + 9 * CLOCK_SECOND);
	log_thin_tell_all(&thin);
	assert_string_equal(said, "");
	assert_true(is_written("a", START + 9 * CLOCK_SECOND));
}

static void other_messages_and_other_levels_are_not_the_same(void **state)
{
	(void)state;
	assert_true(is_written("a", START));
	assert_true(is_written("b", START));
	for (enum log_level level = LOG_LEVEL_FATAL; level <= LOG_LEVEL_NOISE; level++)
		for (int i = 0; i < 2 && level != LOG_LEVEL_WARNING; i++)
			assert_true(log_thin_is_new(&thin, &(struct log_line){.level = level}, "a", START));
}

static void lines_about_a_connections_beginning_or_end_are_never_folded(void **state)
{
	const struct log_subject subject = subject_of(LOG_SIDE_CLIENT, 1, "ann");
	const struct log_line line = {.level = LOG_LEVEL_WARNING, .kind = LOG_CONNECTION, .subject = &subject};

	(void)state;
	assert_true(log_thin_is_new(&thin, &line, "a", START));
	assert_true(log_thin_is_new(&thin, &line, "a", START));
}

static void servers_of_a_user_and_host_are_one_clients_are_not(void **state)
{
	const struct log_subject server = subject_of(LOG_SIDE_SERVER, 1, "ann"), next = subject_of(LOG_SIDE_SERVER, 2, "ann");
	const struct log_subject client = subject_of(LOG_SIDE_CLIENT, 3, "ann"), other = subject_of(LOG_SIDE_CLIENT, 4, "ann");
	const struct log_subject bobs = subject_of(LOG_SIDE_SERVER, 5, "bob");
	struct log_subject elsewhere = server;

	(void)state;
	elsewhere.peer.port = 5432;
	assert_true(is_written_about(&server, "a", START));
	assert_true(is_written_about(&bobs, "a", START));
	assert_true(is_written_about(&elsewhere, "a", START));
	assert_true(is_written_about(&client, "a", START));
	assert_true(is_written_about(&other, "a", START));
	assert_true(is_written("a", START));
	assert_false(is_written_about(&next, "a", START));
	assert_false(is_written_about(&client, "a", START));
}

/* The subject of the first line may have gone, and its memory with it. */
static void what_is_told_later_is_kept_as_a_copy(void **state)
{
	char user[] = "ann", message[] = "gone";
	struct log_subject subject = subject_of(LOG_SIDE_SERVER, 1, user);

	(void)state;
	is_written_about(&subject, message, START);
	is_written_about(&subject, message, START);
	memset(user, 'x', 3);
	memset(message, 'x', 4);
	subject = subject_of(LOG_SIDE_SERVER, 1, "other");
	log_thin_tell_all(&thin);
	assert_string_equal(said, "annmessage repeated 1 times: [gone] repeated=1\n");
}

static void with_more_than_there_are_places_the_oldest_is_told_early(void **state)
{
	char message[16];

	(void)state;
	for (unsigned i = 0; i < LOG_THIN_PLACES; i++) {
		snprintf(message, sizeof(message), "%u", i);
		assert_true(is_written(message, START + i));
		assert_false(is_written(message, START + i));
	}
	assert_string_equal(said, "");
	assert_true(is_written("another", START + 100));
	assert_string_equal(said, "message repeated 1 times: [0] repeated=1\n");
	assert_false(is_written("another", START + 100));
	assert_false(is_written("1", START + 100));
	assert_true(is_written("0", START + 100));
}

static void a_text_that_is_too_long_for_a_place_is_never_left_out(void **state)
{
	const struct log_subject server = subject_of(LOG_SIDE_SERVER, 1, "ann");
	char message[LOG_THIN_TEXT_MAX + 1];

	(void)state;
	memset(message, 'x', sizeof(message));
	message[LOG_THIN_TEXT_MAX - sizeof("shop") - sizeof("ann") - 1] = '\0';
	assert_true(is_written_about(&server, message, START));
	assert_true(is_written_about(&server, message, START));
	message[strlen(message) - 1] = '\0';
	assert_true(is_written_about(&server, message, START));
	assert_false(is_written_about(&server, message, START));
	log_thin_tell_all(&thin);
	assert_non_null(strstr(said, "xxx] repeated=1"));
}

static void without_an_interval_every_line_is_written(void **state)
{
	(void)state;
	thin.fold_us = 0;
	assert_true(is_written("a", START));
	assert_true(is_written("a", START));
}

static bool is_within(enum log_level level, enum log_kind kind, uint64_t now)
{
	return log_thin_is_within(&thin, &(struct log_line){.level = level, .kind = kind}, now);
}

static void so_many_lines_about_connections_are_written_a_second_and_the_rest_is_a_number(void **state)
{
	unsigned n = 0;

	(void)state;
	thin.limit = 3;
	for (int i = 0; i < 10; i++)
		n += is_within(LOG_LEVEL_LOG, LOG_CONNECTION, START + 99999U * (unsigned)i);
	assert_int_equal(n, 3);
	assert_int_equal(log_thin_due_at(&thin), START + CLOCK_SECOND);
	log_thin_tell_due(&thin, START + CLOCK_SECOND - 1);
	assert_string_equal(said, "");
	log_thin_tell_due(&thin, START + CLOCK_SECOND);
	assert_string_equal(said, "7 lines about connections left out: log_connections_limit is 3 a second left_out=7\n");
	assert_true(is_within(LOG_LEVEL_LOG, LOG_CONNECTION, START + CLOCK_SECOND));
}

static void a_second_that_nobody_ended_ends_with_the_next_line(void **state)
{
	(void)state;
	thin.limit = 1;
	assert_true(is_within(LOG_LEVEL_LOG, LOG_CONNECTION, START));
	assert_false(is_within(LOG_LEVEL_LOG, LOG_CONNECTION, START));
	assert_true(is_within(LOG_LEVEL_LOG, LOG_CONNECTION, START + 3 * CLOCK_SECOND));
	assert_non_null(strstr(said, "left_out=1\n"));
}

static void errors_and_other_lines_are_not_bounded(void **state)
{
	(void)state;
	thin.limit = 1;
	assert_true(is_within(LOG_LEVEL_WARNING, LOG_CONNECTION, START));
	for (int i = 0; i < 5; i++) {
		assert_true(is_within(LOG_LEVEL_ERROR, LOG_CONNECTION, START));
		assert_true(is_within(LOG_LEVEL_LOG, LOG_ORDINARY, START));
	}
	assert_false(is_within(LOG_LEVEL_WARNING, LOG_CONNECTION, START));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_warning_that_repeats_is_counted_and_told_when_its_time_is_over, begin),
		cmocka_unit_test_setup(one_that_goes_on_is_told_once_a_period, begin),
		cmocka_unit_test_setup(one_that_has_not_been_told_in_time_is_told_before_the_next, begin),
		cmocka_unit_test_setup(one_that_came_once_is_not_told_again, begin),
		cmocka_unit_test_setup(other_messages_and_other_levels_are_not_the_same, begin),
		cmocka_unit_test_setup(lines_about_a_connections_beginning_or_end_are_never_folded, begin),
		cmocka_unit_test_setup(servers_of_a_user_and_host_are_one_clients_are_not, begin),
		cmocka_unit_test_setup(what_is_told_later_is_kept_as_a_copy, begin),
		cmocka_unit_test_setup(with_more_than_there_are_places_the_oldest_is_told_early, begin),
		cmocka_unit_test_setup(a_text_that_is_too_long_for_a_place_is_never_left_out, begin),
		cmocka_unit_test_setup(without_an_interval_every_line_is_written, begin),
		cmocka_unit_test_setup(so_many_lines_about_connections_are_written_a_second_and_the_rest_is_a_number, begin),
		cmocka_unit_test_setup(a_second_that_nobody_ended_ends_with_the_next_line, begin),
		cmocka_unit_test_setup(errors_and_other_lines_are_not_bounded, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
