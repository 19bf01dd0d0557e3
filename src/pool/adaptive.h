/*
 * pool_size_mode = adaptive: how many of its servers a pool should let clients
 * hold at a time, its working limit. Decisions only; nothing here knows a clock,
 * a pool or a socket.
 *
 * Every ADAPTIVE_TICK_US it is told what has happened since, and answers with
 * the limit from then on. What it goes by:
 *
 * - Clients wait: the time they wait is more than a tenth of the time that
 *   transactions take (by Little's law both are numbers: who waits, and who
 *   holds a server). Then the limit grows to what is asked for, at most to its
 *   double, or by 4, in a tick.
 * - Transactions take longer than they did when few ran (`base`): up to a fifth
 *   longer the limit may grow, from half longer on it steps back to where a
 *   third longer is to be expected, if the server is at its own limit. Between
 *   the two it stays: a server with as many at work as it can use.
 * - Each step back is a trial. If transactions are not shorter after it, their
 *   number was not what made them long: the step is undone, and when that has
 *   happened twice in a row, how long they take is the new base. Where longer
 *   transactions have kept the limit from growing for ten seconds, a small step
 *   back is tried for that alone.
 * - Where it stepped back, it goes on slowly when it comes there again.
 * - What clients have not asked for in the last 15 to 30 seconds, with a
 *   quarter to spare, is given back, a twentieth a second.
 *
 * This is the idea of congestion control, as in Netflix's concurrency-limits
 * (gradient) and TCP Vegas, with the pool's own queue as the sign of demand.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ADAPTIVE_TICK_US 250000

/* What happened since the last tick. */
struct adaptive_sample {
	unsigned held, waiting;          /* servers held by clients, and clients that wait for one, now */
	uint64_t finished, busy_us;      /* transactions, and how long they took together */
	uint64_t waited_us;              /* how long clients waited, of those that got a server */
};

struct adaptive_sum {
	uint64_t finished, busy_us;
	unsigned nticks;
};

/* An experiment with fewer. */
struct adaptive_trial {
	bool is_on;
	bool is_probe;                   /* goes back to `from`, whatever comes out */
	unsigned from;
	double latency;                  /* before it */
};

/* All zero: nothing is known. */
struct adaptive {
	unsigned limit;
	double base, latency;            /* microseconds; 0: not known */
	double pressure;                 /* waiting time by transaction time, of late */
	struct adaptive_sum news;        /* not yet in `latency` */
	struct adaptive_sum settled;     /* since the limit is what it is */
	unsigned settled_limit;
	bool is_slow;                    /* transactions take so long that it is about to step back */
	unsigned ceiling;                /* the limit at which it stepped back last; 0: none */
	unsigned ncalm;                  /* ticks in which nobody waited */
	struct adaptive_trial trial;
	unsigned nfailed;                /* trials in a row that have failed */
	unsigned peak, last_peak;        /* most that was asked for, in this window and the one before */
	unsigned nwindow;
};

/* The limit from now on: at least `least`, which is not 0, and at most `most`. */
unsigned adaptive_tick(struct adaptive *a, const struct adaptive_sample *s, unsigned least, unsigned most);

/* Ticks of an idle pool change nothing any more that would matter later: they may be left out. */
bool adaptive_is_at_rest(const struct adaptive *a, unsigned least);
