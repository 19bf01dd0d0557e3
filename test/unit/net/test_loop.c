#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"

#include "turning.h"

static int buried;

static size_t take_all(struct conn *c, const uint8_t *p, size_t n)
{
	(void)c;
	(void)p;
	return n;
}

static void count_burial(struct conn *c)
{
	(void)c;
	buried++;
}

static void close_it(struct conn *c, int error)
{
	(void)error;
	conn_close(c);
}

static const struct conn_ops ops = {.on_bytes = take_all, .on_closed = close_it, .on_buried = count_burial};

static void open_pair(struct conn *c, int *peer)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	memset(c, 0, sizeof(*c));
	conn_open(c, loop, fds[0], &ops);
	*peer = fds[1];
}

static void a_closed_connection_is_freed_before_the_loop_sleeps(void **state)
{
	struct conn c;
	int peer;

	(void)state;
	buried = 0;
	open_pair(&c, &peer);
	conn_close(&c);
	assert_int_equal(buried, 0);
	turn(0.001);
	assert_int_equal(buried, 1);
	close(peer);
}

static void the_closed_can_be_freed_at_once(void **state)
{
	struct conn c[3];
	int peer[3];

	(void)state;
	buried = 0;
	for (int i = 0; i < 3; i++)
		open_pair(&c[i], &peer[i]);
	for (int i = 0; i < 3; i++)
		conn_close(&c[i]);
	loop_bury(loop);
	assert_int_equal(buried, 3);
	loop_bury(loop);
	assert_int_equal(buried, 3);
	for (int i = 0; i < 3; i++)
		close(peer[i]);
}

static uint64_t woken_at[2];

static void note_time(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	woken_at[timer->data != NULL] = clock_us();
}

static void each_turn_has_its_own_time(void **state)
{
	ev_timer first, second;
	uint64_t before = clock_us();

	(void)state;
	ev_timer_init(&first, note_time, 0.005, 0.);
	ev_timer_init(&second, note_time, 0.02, 0.);
	first.data = NULL;
	second.data = woken_at;
	ev_timer_start(loop->ev, &first);
	ev_timer_start(loop->ev, &second);
	woken_at[0] = woken_at[1] = 0;
	turn_until(woken_at[1] != 0);
	assert_true(woken_at[0] > before);
	assert_true(woken_at[1] > woken_at[0]);
}

static void stop(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	loop_stop(timer->data);
}

static void it_runs_until_it_is_stopped(void **state)
{
	ev_timer timer;

	(void)state;
	ev_timer_init(&timer, stop, 0.001, 0.001);
	timer.data = loop;
	ev_timer_start(loop->ev, &timer);
	loop_run(loop);
	loop_run(loop);
	ev_timer_stop(loop->ev, &timer);
}

/* Which of n go on with their handshakes now, as bits; each does so once. */
static unsigned shake_hands(uint32_t *tickets, int n, unsigned *left)
{
	unsigned went = 0;

	/* The latest first, as libev does. */
	for (int i = n - 1; i >= 0; i--)
		if ((*left & 1u << i) && loop_may_shake_hands(loop, &tickets[i]))
			went |= 1u << i;
	*left &= ~went;
	return went;
}

static void handshakes_go_on_in_the_order_in_which_they_had_to_wait(void **state)
{
	uint32_t tickets[6] = {0};
	unsigned left = 0x1f;

	(void)state;
	loop->max_handshakes = 2;
	assert_int_equal(shake_hands(tickets, 5, &left), 0x18);
	turn(0.001);
	/* One more has come, and does not overtake. */
	left |= 0x20;
	assert_int_equal(shake_hands(tickets, 6, &left), 0x06);
	turn(0.001);
	assert_int_equal(shake_hands(tickets, 6, &left), 0x21);
	turn(0.001);
	/* Nobody waits, and nobody holds a ticket: there is room again. */
	left = 0x3f;
	assert_int_equal(shake_hands(tickets, 6, &left), 0x30);
}

static void handshakes_are_not_held_up_by_one_that_has_gone(void **state)
{
	uint32_t tickets[3] = {0};
	unsigned left = 0x7;

	(void)state;
	loop->max_handshakes = 1;
	assert_int_equal(shake_hands(tickets, 3, &left), 0x4);
	left = 0x1;
	turn(0.001);
	turn(0.001);
	assert_int_equal(shake_hands(tickets, 3, &left), 0x1);
}

static void tickets_go_on_beyond_the_last_number(void **state)
{
	uint32_t tickets[4] = {0};
	unsigned left = 0xf;

	(void)state;
	loop->max_handshakes = 1;
	loop->last_ticket = loop->last_called = UINT32_MAX - 1;
	assert_int_equal(shake_hands(tickets, 4, &left), 0x8);
	for (int i = 0; i < 5 && left != 0; i++) {
		turn(0.001);
		shake_hands(tickets, 4, &left);
	}
	assert_int_equal(left, 0);
}

static void without_a_bound_all_shake_hands_at_once(void **state)
{
	uint32_t tickets[3] = {0};
	unsigned left = 0x7;

	(void)state;
	loop->max_handshakes = 1;
	shake_hands(tickets, 3, &left);
	/* As a reload does; those who waited do not any more. */
	loop->max_handshakes = 0;
	assert_int_equal(shake_hands(tickets, 3, &left), 0x3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_closed_connection_is_freed_before_the_loop_sleeps),
		TEST(the_closed_can_be_freed_at_once),
		TEST(each_turn_has_its_own_time),
		TEST(it_runs_until_it_is_stopped),
		TEST(handshakes_go_on_in_the_order_in_which_they_had_to_wait),
		TEST(handshakes_are_not_held_up_by_one_that_has_gone),
		TEST(tickets_go_on_beyond_the_last_number),
		TEST(without_a_bound_all_shake_hands_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
