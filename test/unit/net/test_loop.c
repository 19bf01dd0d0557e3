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

/* Connections that shake hands: who goes on, in the order in which they do. */
static struct conn shakers[6];
static int went[6], nwent;

static void on_shaker(EV_P_ ev_io *io, int events)
{
	struct conn *c = (struct conn *)io;

	(void)EV_A;
	(void)events;
	if (loop_may_shake_hands(io->data, c))
		went[nwent++] = (int)(c - shakers);
}

/* The socket of the i-th is ready. */
static void knock(int i)
{
	struct conn *c = &shakers[i];

	memset(c, 0, sizeof(*c));
	ev_io_init(&c->io, on_shaker, 0, 0);
	c->io.data = loop;
	on_shaker(loop->ev, &c->io, EV_READ);
}

static void assert_went(int n, const int *who)
{
	assert_int_equal(nwent, n);
	for (int i = 0; i < n; i++)
		assert_int_equal(went[i], who[i]);
	nwent = 0;
}

static void handshakes_go_on_in_the_order_in_which_they_had_to_wait(void **state)
{
	(void)state;
	loop->max_handshakes = 2;
	nwent = 0;
	for (int i = 0; i < 5; i++)
		knock(i);
	assert_went(2, (int[]){0, 1});
	turn(10);
	/* Of those whose turn it is, libev looks at the latest first. */
	assert_went(2, (int[]){3, 2});
	/* One more has come, and does not overtake. */
	knock(5);
	assert_went(0, NULL);
	turn(10);
	assert_went(2, (int[]){5, 4});
	/* Nobody waits: there is room again. */
	turn(0.001);
	knock(0);
	assert_went(1, (int[]){0});
}

static void handshakes_are_not_held_up_by_one_that_has_gone(void **state)
{
	(void)state;
	loop->max_handshakes = 1;
	nwent = 0;
	for (int i = 0; i < 5; i++)
		knock(i);
	loop_leave_line(loop, &shakers[1]);
	loop_leave_line(loop, &shakers[4]);
	knock(5);
	turn(10);
	turn(10);
	turn(10);
	assert_went(4, (int[]){0, 2, 3, 5});
	assert_null(loop->line);
}

static void without_a_bound_all_shake_hands_at_once(void **state)
{
	(void)state;
	loop->max_handshakes = 1;
	nwent = 0;
	for (int i = 0; i < 3; i++)
		knock(i);
	/* As a reload does; those who waited do not any more. */
	loop->max_handshakes = 0;
	turn(10);
	assert_int_equal(nwent, 3);
	knock(3);
	assert_int_equal(nwent, 4);
}

static void the_loop_sleeps_when_nobody_is_in_line(void **state)
{
	(void)state;
	loop->max_handshakes = 1;
	knock(0);
	knock(1);
	assert_true(ev_is_active(&loop->has_line));
	turn(10);
	assert_false(ev_is_active(&loop->has_line));
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
		TEST(without_a_bound_all_shake_hands_at_once),
		TEST(the_loop_sleeps_when_nobody_is_in_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
