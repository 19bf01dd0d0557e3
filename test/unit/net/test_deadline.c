#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/deadline.h"

#include "turning.h"

#define MS UINT64_C(1000)

/* What was due, in order. */
static struct deadline *due[64];
static size_t ndue;

static void note(struct deadline *d)
{
	assert_false(deadline_is_armed(d));
	assert_true(d->at_us <= clock_us());
	due[ndue++] = d;
}

static int set_up(void **state)
{
	ndue = 0;
	return open_loop(state);
}

static void one_duration_and_handler_have_one_list(void **state)
{
	struct deadline_list *a = deadline_list(loop, 10 * MS, note);

	(void)state;
	assert_non_null(a);
	assert_ptr_equal(deadline_list(loop, 10 * MS, note), a);
	assert_ptr_not_equal(deadline_list(loop, 20 * MS, note), a);
	assert_ptr_not_equal(deadline_list(loop, 10 * MS, (deadline_fn *)free), a);
}

static void of_many_lists_each_is_found_again(void **state)
{
	struct deadline_list *lists[1000];
	struct deadline d = {0};

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		lists[i] = deadline_list(loop, (i + 1) * MS, i % 2 == 0 ? note : (deadline_fn *)free);
	for (size_t i = 0; i < 1000; i++)
		assert_ptr_equal(deadline_list(loop, (i + 1) * MS, i % 2 == 0 ? note : (deadline_fn *)free), lists[i]);
	deadline_arm(&d, lists[4]);
	turn_until(ndue == 1);
}

static void lists_that_nobody_keeps_and_in_which_nothing_is_armed_go(void **state)
{
	struct deadline_list *kept = NULL;
	struct deadline d = {0};

	(void)state;
	deadline_list(loop, 10 * MS, note);
	deadline_keep(&kept, deadline_list(loop, 20 * MS, note));
	deadline_arm(&d, deadline_list(loop, 30 * MS, note));
	assert_int_equal(deadline_list_count(loop), 3);
	deadline_drop_unused(loop);
	assert_int_equal(deadline_list_count(loop), 2);
	assert_ptr_equal(deadline_list(loop, 20 * MS, note), kept);
	deadline_keep(&kept, deadline_list(loop, 40 * MS, note));
	turn_until(ndue == 1);
	deadline_drop_unused(loop);
	assert_int_equal(deadline_list_count(loop), 1);
	assert_ptr_equal(deadline_list(loop, 40 * MS, note), kept);
	deadline_keep(&kept, NULL);
	assert_null(kept);
	deadline_drop_unused(loop);
	assert_int_equal(deadline_list_count(loop), 0);
}

static void drop_lists(struct deadline *d)
{
	deadline_drop_unused(loop);
	due[ndue++] = d;
}

static void a_handler_may_have_lists_dropped(void **state)
{
	struct deadline d[2] = {0};

	(void)state;
	for (int i = 0; i < 2; i++)
		deadline_arm(&d[i], deadline_list(loop, 1 * MS, drop_lists));
	turn_until(ndue == 2);
	assert_int_equal(deadline_list_count(loop), 1);
}

static void it_is_due_a_span_after_it_was_armed(void **state)
{
	struct deadline d = {0};
	uint64_t before = clock_us();

	(void)state;
	assert_false(deadline_is_armed(&d));
	deadline_arm(&d, deadline_list(loop, 30 * MS, note));
	assert_true(deadline_is_armed(&d));
	turn_until(ndue == 1);
	assert_ptr_equal(due[0], &d);
	assert_false(deadline_is_armed(&d));
	assert_true(clock_us() >= before + 30 * MS);
	turn_a_few_times();
	assert_int_equal(ndue, 1);
}

static void entries_expire_in_the_order_in_which_they_were_armed(void **state)
{
	struct deadline d[10] = {0};
	struct deadline_list *list = deadline_list(loop, 10 * MS, note);

	(void)state;
	for (int i = 0; i < 10; i++)
		deadline_arm(&d[i], list);
	turn_until(ndue == 10);
	for (int i = 0; i < 10; i++)
		assert_ptr_equal(due[i], &d[i]);
}

static void a_disarmed_entry_never_expires(void **state)
{
	struct deadline d[3] = {0};
	struct deadline_list *list = deadline_list(loop, 10 * MS, note);

	(void)state;
	for (int i = 0; i < 3; i++)
		deadline_arm(&d[i], list);
	deadline_disarm(&d[0]);
	deadline_disarm(&d[2]);
	deadline_disarm(&d[2]);
	assert_false(deadline_is_armed(&d[0]));
	turn_until(ndue == 1);
	turn_a_few_times();
	assert_int_equal(ndue, 1);
	assert_ptr_equal(due[0], &d[1]);
}

static void arming_without_a_list_disarms(void **state)
{
	struct deadline d = {0};

	(void)state;
	deadline_arm(&d, deadline_list(loop, 60000 * MS, note));
	deadline_arm(&d, NULL);
	assert_false(deadline_is_armed(&d));
	deadline_arm(&d, NULL);
	assert_false(deadline_is_armed(&d));
}

static void arming_again_starts_the_span_anew(void **state)
{
	struct deadline a = {0}, b = {0};
	struct deadline_list *list = deadline_list(loop, 20 * MS, note);

	(void)state;
	deadline_arm(&a, list);
	deadline_arm(&b, list);
	usleep(2000);
	clock_turn();
	deadline_arm(&a, list);
	assert_int_equal(a.at_us - b.at_us >= 2 * MS, 1);
	turn_until(ndue == 2);
	assert_ptr_equal(due[0], &b);
	assert_ptr_equal(due[1], &a);
}

static void an_entry_moves_to_another_list(void **state)
{
	struct deadline d = {0};

	(void)state;
	deadline_arm(&d, deadline_list(loop, 60000 * MS, note));
	deadline_arm(&d, deadline_list(loop, 5 * MS, note));
	turn_until(ndue == 1);
}

static void renewing_starts_the_span_anew_in_another_list_only(void **state)
{
	struct deadline_list *list = deadline_list(loop, 60000 * MS, note), *other = deadline_list(loop, 5 * MS, note);
	struct deadline d = {0};
	uint64_t at;

	(void)state;
	deadline_renew(&d, list);
	assert_true(deadline_is_armed(&d));
	at = d.at_us;
	usleep(2000);
	clock_turn();
	deadline_renew(&d, list);
	assert_int_equal(d.at_us, at);
	deadline_renew(&d, NULL);
	assert_false(deadline_is_armed(&d));
	deadline_renew(&d, other);
	assert_true(d.at_us >= clock_us() + 5 * MS);
	turn_until(ndue == 1);
}

static void a_list_emptied_and_filled_again_still_wakes_the_loop(void **state)
{
	struct deadline a = {0}, b = {0};
	struct deadline_list *list = deadline_list(loop, 10 * MS, note);

	(void)state;
	deadline_arm(&a, list);
	deadline_disarm(&a);
	turn(0.03);
	deadline_arm(&b, list);
	turn_until(ndue == 1);
	assert_ptr_equal(due[0], &b);
}

static struct deadline *freed_by_handler;

static void free_it(struct deadline *d)
{
	freed_by_handler = d;
	free(d);
}

static void the_handler_may_free_the_entry(void **state)
{
	struct deadline *d = calloc(1, sizeof(*d)), *was = d;

	(void)state;
	deadline_arm(d, deadline_list(loop, 1 * MS, free_it));
	turn_until(freed_by_handler == was);
}

static void arm_again(struct deadline *d)
{
	if (ndue == 0)
		deadline_arm(d, deadline_list(loop, 300 * MS, arm_again));
	due[ndue++] = d;
}

static void the_handler_may_arm_the_entry_again_without_delaying_others(void **state)
{
	struct deadline a = {0}, b = {0};
	struct deadline_list *list = deadline_list(loop, 300 * MS, arm_again);
	uint64_t b_at;

	(void)state;
	deadline_arm(&a, list);
	usleep(50000);
	clock_turn();
	deadline_arm(&b, list);
	b_at = b.at_us;
	turn_until(ndue == 2);
	assert_ptr_equal(due[1], &b);
	/* a is not due for another 250 ms. */
	assert_true(clock_us() < b_at + 150 * MS);
	assert_true(deadline_is_armed(&a));
	turn_until(ndue == 3);
	assert_ptr_equal(due[2], &a);
}

static struct deadline *victim;

static void disarm_other(struct deadline *d)
{
	due[ndue++] = d;
	deadline_disarm(victim);
}

static void a_handler_may_disarm_another_that_is_due_as_well(void **state)
{
	struct deadline d[3] = {0};
	struct deadline_list *list = deadline_list(loop, 5 * MS, disarm_other);

	(void)state;
	victim = &d[1];
	for (int i = 0; i < 3; i++)
		deadline_arm(&d[i], list);
	turn_until(ndue == 2);
	turn_a_few_times();
	assert_int_equal(ndue, 2);
	assert_ptr_equal(due[1], &d[2]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, close_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_duration_and_handler_have_one_list),
		TEST(of_many_lists_each_is_found_again),
		TEST(lists_that_nobody_keeps_and_in_which_nothing_is_armed_go),
		TEST(a_handler_may_have_lists_dropped),
		TEST(it_is_due_a_span_after_it_was_armed),
		TEST(entries_expire_in_the_order_in_which_they_were_armed),
		TEST(a_disarmed_entry_never_expires),
		TEST(arming_without_a_list_disarms),
		TEST(arming_again_starts_the_span_anew),
		TEST(an_entry_moves_to_another_list),
		TEST(renewing_starts_the_span_anew_in_another_list_only),
		TEST(a_list_emptied_and_filled_again_still_wakes_the_loop),
		TEST(the_handler_may_free_the_entry),
		TEST(the_handler_may_arm_the_entry_again_without_delaying_others),
		TEST(a_handler_may_disarm_another_that_is_due_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
