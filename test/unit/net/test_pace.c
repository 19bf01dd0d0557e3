#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/pace.h"

/* What a full socket of PostgreSQL's brings, and one write of its. */
#define FULL (192 * 1024)
#define SMALL 8192

static struct pace p;

static int begin(void **state)
{
	(void)state;
	pace_init(&p);
	return 0;
}

/* A turn in which so many streams have brought so much each. */
static void turn_of_streams(unsigned n, size_t each)
{
	for (unsigned i = 0; i < n; i++)
		pace_note_stream(&p, each, true);
	pace_next_turn(&p);
}

static void turns_of_streams(unsigned n, size_t each, int turns)
{
	for (int i = 0; i < turns; i++)
		turn_of_streams(n, each);
}

static void at_first_nothing_is_put_off_and_reads_are_small(void **state)
{
	(void)state;
	assert_int_equal(p.interval, 0);
	assert_int_equal(p.read_size, PACE_READ_SIZE);
	pace_next_turn(&p);
	assert_int_equal(p.interval, 0);
	assert_int_equal(p.read_size, PACE_READ_SIZE);
}

static void a_stream_alone_is_read_by_large_reads(void **state)
{
	(void)state;
	turn_of_streams(1, PACE_READ_SIZE);
	assert_int_equal(p.read_size, PACE_READ_MAX);
}

static void streams_share_what_one_may_bring(void **state)
{
	(void)state;
	turn_of_streams(2, SMALL);
	assert_int_equal(p.read_size, PACE_READ_MAX / 2);
	turn_of_streams(3, SMALL);
	assert_true(p.read_size * 3 <= PACE_READ_MAX);
	turn_of_streams(100, SMALL);
	assert_int_equal(p.read_size, PACE_READ_SIZE);
}

static void any_other_read_ends_large_reads_and_intervals(void **state)
{
	(void)state;
	turns_of_streams(1, SMALL, 3);
	assert_true(p.interval > 0);
	pace_note_other(&p);
	turn_of_streams(1, SMALL);
	assert_int_equal(p.interval, 0);
	assert_int_equal(p.read_size, PACE_READ_SIZE);
}

static void small_pieces_put_turns_off_step_by_step_and_no_further_than_allowed(void **state)
{
	unsigned before = 0;

	(void)state;
	while (before < PACE_INTERVAL_MAX) {
		turn_of_streams(1, SMALL);
		assert_int_equal(p.interval, before + PACE_INTERVAL_STEP);
		before = p.interval;
	}
	turns_of_streams(1, SMALL, 10);
	assert_int_equal(p.interval, PACE_INTERVAL_MAX);
}

static void pieces_as_large_as_a_senders_buffer_bring_turns_nearer_until_none_is_put_off(void **state)
{
	(void)state;
	turns_of_streams(1, SMALL, 10);
	for (unsigned left = PACE_INTERVAL_MAX; left > 0; left -= PACE_INTERVAL_STEP) {
		assert_int_equal(p.interval, left);
		turn_of_streams(1, FULL);
	}
	turns_of_streams(1, FULL, 10);
	assert_int_equal(p.interval, 0);
}

static void pieces_in_between_leave_it_as_it_is(void **state)
{
	(void)state;
	turns_of_streams(1, SMALL, 2);
	turns_of_streams(1, PACE_READ_MAX * 9 / 16, 10);
	assert_int_equal(p.interval, 2 * PACE_INTERVAL_STEP);
}

static void full_reads_are_never_taken_for_small_pieces(void **state)
{
	(void)state;
	for (unsigned n = 1; n < 10; n++) {
		for (int i = 0; i < 5; i++)
			turn_of_streams(n, p.read_size);
		assert_int_equal(p.interval, 0);
	}
}

static void a_turn_without_reads_puts_nothing_off_and_leaves_reads_large(void **state)
{
	(void)state;
	turns_of_streams(1, SMALL, 3);
	pace_next_turn(&p);
	assert_int_equal(p.interval, 0);
	assert_int_equal(p.read_size, PACE_READ_MAX);
}

static void a_stream_that_does_not_come_in_pieces_is_not_waited_for_and_read_by_large_reads(void **state)
{
	(void)state;
	turns_of_streams(1, SMALL, 3);
	for (int i = 0; i < 3; i++) {
		pace_note_stream(&p, SMALL, false);
		pace_next_turn(&p);
		assert_int_equal(p.interval, 0);
		assert_int_equal(p.read_size, PACE_READ_MAX);
	}
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(at_first_nothing_is_put_off_and_reads_are_small),
		TEST(a_stream_alone_is_read_by_large_reads),
		TEST(streams_share_what_one_may_bring),
		TEST(any_other_read_ends_large_reads_and_intervals),
		TEST(small_pieces_put_turns_off_step_by_step_and_no_further_than_allowed),
		TEST(pieces_as_large_as_a_senders_buffer_bring_turns_nearer_until_none_is_put_off),
		TEST(pieces_in_between_leave_it_as_it_is),
		TEST(full_reads_are_never_taken_for_small_pieces),
		TEST(a_stream_that_does_not_come_in_pieces_is_not_waited_for_and_read_by_large_reads),
		TEST(a_turn_without_reads_puts_nothing_off_and_leaves_reads_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
