/*
 * A loop for a test, turned until something has happened: a test waits for
 * what it expects, never for a time, and fails when that does not come.
 */
#pragma once
#include "base/clock.h"
#include "net/loop.h"

static struct loop *loop;

static inline int open_loop(void **state)
{
	(void)state;
	loop = loop_new();
	return loop == NULL ? -1 : 0;
}

static inline int close_loop(void **state)
{
	struct bufpool_figures f;

	(void)state;
	loop_bury(loop);
	bufpool_figures(loop->bufs, &f);
	loop_free(loop);
	/* Whatever was borrowed has been given back. */
	return f.lent == 0 ? 0 : -1;
}

static inline void wake(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

/* One turn that sleeps at most for this time. */
static inline void turn(double seconds)
{
	ev_timer timer;

	ev_timer_init(&timer, wake, seconds, 0.);
	ev_now_update(loop->ev);
	ev_timer_start(loop->ev, &timer);
	ev_run(loop->ev, EVRUN_ONCE);
	ev_timer_stop(loop->ev, &timer);
	clock_turn();
}

/* Turns until the condition holds; fails after ten seconds. */
#define turn_until(condition)                                                       \
	do {                                                                        \
		int64_t give_up_at = clock_wall_us() + 10000000;                    \
		while (!(condition)) {                                              \
			if (clock_wall_us() > give_up_at)                           \
				fail_msg("never came about: %s", #condition);       \
			turn(0.01);                                                 \
		}                                                                   \
	} while (0)

/* What is ready is handled, and what follows from that. */
static inline void turn_a_few_times(void)
{
	for (int i = 0; i < 5; i++)
		turn(0.001);
}
