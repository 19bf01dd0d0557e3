/*
 * Asks one PostgreSQL server for its connection slots, over a connection that
 * is opened for the question and closed after the answer: what is asked once a
 * minute is not to hold one of the slots it counts.
 *
 * To connect and to answer may each take five seconds.
 */
#pragma once
#include "control/capacity_answer.h"
#include "control/connection.h"

struct capacity_probe;

/* Both are called from the loop, never from within a call of this module's, and may call it, to free the probe too. */
struct capacity_probe_ops {
	void (*on_answer)(void *arg, const struct capacity_answer *answer);

	/* It could not be asked, or said something else. With 53300 as the SQLSTATE, all slots are taken. */
	void (*on_failure)(void *arg, const struct connection_loss *loss);
};

/* Asks nothing yet; NULL when out of memory. Loop, resolver and ops must outlive it. */
struct capacity_probe *capacity_probe_new(struct loop *loop, struct dns *dns, const struct capacity_probe_ops *ops,
					  void *arg);

/*
 * Asks now, as whom the target says, which is copied. A question that is under
 * way goes on, and is the only one, if it asks the same; else it is dropped.
 * False when out of memory: nothing is asked.
 */
bool capacity_probe_ask(struct capacity_probe *p, const struct connection_target *target);

bool capacity_probe_is_asking(const struct capacity_probe *p);

/* Clears the caller's pointer; a probe of NULL is allowed. */
void capacity_probe_free(struct capacity_probe **p);
