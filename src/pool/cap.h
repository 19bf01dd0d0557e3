/*
 * Bounds on server connections that pools share: max_db_connections,
 * max_user_connections, max_server_connections.
 *
 * When a bound is reached and a pool has clients waiting, an idle server of
 * the pool with the most to spare makes room. When none is idle, pools take
 * turns: a server that its pool releases is given up if another pool has fewer
 * of them, or, where the counts differ by one only, has had less of them for
 * some time. What counts is what a pool has had while it competed: silence is
 * no claim on others.
 *
 * No pool gives up servers below its guaranteed_pool_size.
 */
#pragma once
#include "pool/pool.h"

struct cap {
	unsigned max;                    /* 0: no bound */
	unsigned count;                  /* servers under it */
	TAILQ_HEAD(, cap_seat) seats;    /* pools under it */
	struct pool_queue blocked;       /* those that wait for room */
	uint64_t look_at;                /* the line was gone through for a pool with so many servers: not again before */
	unsigned looked_with;
};

void cap_init(struct cap *cap);

/* A pool comes under a bound, and leaves it. */
void cap_join(struct cap *cap, struct pool *pool, enum cap_kind kind);
void cap_leave(struct pool *pool, enum cap_kind kind);

/* A server of the pool joins or leaves; called by pool_server_join() and _leave(). */
void cap_count(struct pool *pool, int change, uint64_t now);

static inline bool cap_is_full(const struct cap *cap)
{
	return cap->max != 0 && cap->count >= cap->max;
}

/* Whether one more server may join the pool. */
bool cap_has_room(const struct pool *pool);

/* More servers than a bound allows: it has been lowered. */
bool cap_is_exceeded(const struct pool *pool);

/*
 * An idle server of another pool under this bound that may go for a client
 * waiting in `pool`; NULL: none, or not before *again_at (0: no time is known).
 */
struct pool_server *cap_victim(const struct cap *cap, const struct pool *pool, uint64_t now, uint64_t *again_at);

/* The pool waits for room under the bound. */
void cap_block(struct cap *cap, struct pool *pool, enum cap_kind kind, uint64_t now);

/* The pool that is to have the next place under the bound, taken out of the queue; NULL: nobody waits. */
struct pool *cap_next(struct cap *cap, uint64_t now);

/*
 * Whether the pool, which is about to give a released server to its next
 * client, is to give it up to another pool under the same bound instead.
 */
bool cap_yields(const struct pool *pool, uint64_t now);
