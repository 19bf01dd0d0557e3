/*
 * A pool in front of a server, in simulated time: clients that think, ask, wait
 * for one of `limit` connections and hold it while their transaction runs.
 *
 * The server works at full speed for as many transactions as it has cores. With
 * more they share it (each takes longer in proportion), and each of them costs
 * the others a little: locks, caches, switching. So its throughput has a
 * maximum at `cores` and falls beyond.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include "pool/adaptive.h"

#define MODEL_CLIENTS 400
#define MODEL_STEP_US 1000

enum model_state { MODEL_AWAY, MODEL_THINKS, MODEL_WAITS, MODEL_HOLDS };

struct model_client {
	enum model_state state;
	double rest_us;                  /* of thinking, or of its transaction at full speed */
	uint64_t asked_at, got_at;
};

struct model {
	/* How the world is; may change while it runs. */
	unsigned cores;
	double think_us, work_us;        /* means */
	double cost;                     /* of each transaction beyond the cores, as a part of all work */
	unsigned nclients;               /* that are there */

	unsigned limit;
	uint64_t now;
	struct model_client clients[MODEL_CLIENTS];
	unsigned queue[MODEL_CLIENTS], nqueue; /* who waits, in order */
	unsigned held;
	uint64_t random;
	struct adaptive_sample sample;   /* since it was taken last */

	/* What came of it. */
	uint64_t nanswers;
	double answered_us;
	uint32_t answers[4000];          /* by milliseconds */
};

/* The same at each run: xorshift64*. */
static inline double model_random(struct model *m)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return ((double)((m->random * UINT64_C(2685821657736338717)) >> 11) + 1) / 9007199254740993.0;
}

static inline double model_exponential(struct model *m, double mean)
{
	return -mean * log(model_random(m));
}

static inline void model_init(struct model *m, unsigned limit, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	*m = (struct model){.cores = 20, .think_us = 10000, .work_us = 10000, .cost = 0.01, .limit = limit,
			    .random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1};
}

static inline void model_answer(struct model *m, struct model_client *c)
{
	uint64_t took = m->now - c->asked_at, ms = took / 1000;

	m->sample.finished++;
	m->sample.busy_us += m->now - c->got_at;
	m->nanswers++;
	m->answered_us += (double)took;
	m->answers[ms < 3999 ? ms : 3999]++;
	m->held--;
	c->state = MODEL_THINKS;
	c->rest_us = model_exponential(m, m->think_us);
}

static inline void model_serve(struct model *m)
{
	unsigned n = 0;

	while (m->held < m->limit && n < m->nqueue) {
		struct model_client *c = &m->clients[m->queue[n++]];

		c->state = MODEL_HOLDS;
		c->got_at = m->now;
		c->rest_us = model_exponential(m, m->work_us);
		m->sample.waited_us += m->now - c->asked_at;
		m->held++;
	}
	memmove(m->queue, m->queue + n, (m->nqueue - n) * sizeof(m->queue[0]));
	m->nqueue -= n;
}

static inline void model_turn(struct model *m, unsigned i, double speed)
{
	struct model_client *c = &m->clients[i];

	if (c->state == MODEL_AWAY && i < m->nclients) {
		c->state = MODEL_THINKS;
		c->rest_us = model_exponential(m, m->think_us);
	}
	if (c->state == MODEL_THINKS && i >= m->nclients)
		c->state = MODEL_AWAY;
	if (c->state == MODEL_AWAY || c->state == MODEL_WAITS)
		return;
	c->rest_us -= MODEL_STEP_US * (c->state == MODEL_HOLDS ? speed : 1);
	if (c->rest_us > 0)
		return;
	if (c->state == MODEL_HOLDS) {
		model_answer(m, c);
		return;
	}
	c->state = MODEL_WAITS;
	c->asked_at = m->now;
	m->queue[m->nqueue++] = i;
}

/* A millisecond passes. */
static inline void model_step(struct model *m)
{
	unsigned beyond = m->held > m->cores ? m->held - m->cores : 0;
	double speed = beyond == 0 ? 1 : (double)m->cores / m->held / (1 + m->cost * beyond);

	m->now += MODEL_STEP_US;
	for (unsigned i = 0; i < MODEL_CLIENTS; i++)
		model_turn(m, i, speed);
	model_serve(m);
}

/* What the pool sees in a tick. */
static inline struct adaptive_sample model_take_sample(struct model *m)
{
	struct adaptive_sample s = m->sample;

	s.held = m->held;
	s.waiting = m->nqueue;
	m->sample = (struct adaptive_sample){0};
	return s;
}

/* A tick passes; the limit is the rule's. NULL: it stays. */
static inline void model_tick(struct model *m, struct adaptive *a, unsigned least, unsigned most)
{
	struct adaptive_sample s;

	for (unsigned i = 0; i < ADAPTIVE_TICK_US / MODEL_STEP_US; i++)
		model_step(m);
	s = model_take_sample(m);
	if (a == NULL)
		return;
	m->limit = adaptive_tick(a, &s, least, most);
	model_serve(m);
}

static inline void model_forget_answers(struct model *m)
{
	m->nanswers = 0;
	m->answered_us = 0;
	memset(m->answers, 0, sizeof(m->answers));
}

/* The time in milliseconds within which a part of all were answered. */
static inline unsigned model_percentile(const struct model *m, double share)
{
	uint64_t n = 0;

	for (unsigned ms = 0; ms < 4000; ms++) {
		n += m->answers[ms];
		if ((double)n >= share * (double)m->nanswers)
			return ms;
	}
	return 4000;
}
