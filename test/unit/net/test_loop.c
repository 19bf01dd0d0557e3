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

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_closed_connection_is_freed_before_the_loop_sleeps),
		TEST(the_closed_can_be_freed_at_once),
		TEST(each_turn_has_its_own_time),
		TEST(it_runs_until_it_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
