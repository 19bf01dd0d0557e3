/*
 * The capacity check: each host is asked for its connection slots, and what
 * pools may ask for is held against that. pool/capacity_rule.h has the rule.
 *
 * All hosts are asked at the start, at every reload and every
 * capacity_check_interval, one short connection for each. They log in as
 * session/host_login.h says; where that is nobody yet, as the first user of
 * auth_file whose password it has in the clear. A host whose state has changed
 * is a line in the log; after a reload, so is each that is not well.
 *
 * Each full second it is noted how many servers of each pool clients hold,
 * while there are such pools (pool/in_use.h).
 *
 * Of the hub, only the loop, the resolver and the registry are needed; one
 * without servers of its own does not know whose the connections in use are.
 */
#pragma once
#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/capacity_answer.h"
#include "pool/capacity_rule.h"

struct host_capacity;
struct hub;

/* In the hub; all zero: nothing runs. */
struct capacity_checks {
	ev_timer again, sample;
	unsigned nasking;
	void (*on_idle)(void *arg);      /* no question is under way any more; NULL: nobody wants to know */
	void *arg;
};

/* At the start, and when another configuration is in force. */
void capacity_set_up(struct hub *hub);

/* Asks all hosts now; those that cannot be asked say why from then on. */
void capacity_ask(struct hub *hub);

/* No more questions; those under way go with their hosts. */
void capacity_stop(struct hub *hub);

/* A host goes. */
void capacity_host_free(struct host_capacity **c);

/* What is known of one host. */
struct capacity_finding {
	const char *why;                         /* it could not be asked last time; NULL: it could, or not been asked yet */
	bool has_answer;                         /* facts, verdict and answer say something */
	const struct capacity_answer *answer;    /* the last one */
	uint64_t answered_at;
	struct capacity_facts facts;
	struct capacity_verdict verdict;
};

/* False: no database has it among its hosts. */
bool capacity_find(const struct hub *hub, const struct host *host, struct capacity_finding *finding);

/* The slots that all pools of this instance may have there, some to spare for others, by the last answer; UINT_MAX: not known. */
unsigned capacity_share(const struct host *host);
