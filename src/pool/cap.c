#include "pool/cap.h"

/* A pool may have had so much more than another, in servers times microseconds, before it is the other's turn. */
#define TURN_US UINT64_C(250000)

/* An idle server is not taken from a pool that has fewer of them before it has rested so long. */
#define REST_US UINT64_C(100000)

/* Who has waited may lag so far behind the pool that has had most; what it lags more is no claim. */
#define CLAIM_US (4 * TURN_US)

/* A line in which nobody has a turn is left alone for so long for each pool in it: there may be a thousand. */
#define REST_OF_LINE_US 1

void cap_init(struct cap *cap)
{
	*cap = (struct cap){0};
	TAILQ_INIT(&cap->seats);
	TAILQ_INIT(&cap->blocked);
}

void cap_join(struct cap *cap, struct pool *pool, enum cap_kind kind)
{
	struct cap_seat *seat = &pool->seats[kind];

	*seat = (struct cap_seat){.cap = cap, .pool = pool};
	TAILQ_INSERT_TAIL(&cap->seats, seat, link);
}

void cap_leave(struct pool *pool, enum cap_kind kind)
{
	struct cap_seat *seat = &pool->seats[kind];

	if (seat->cap != NULL)
		TAILQ_REMOVE(&seat->cap->seats, seat, link);
	seat->cap = NULL;
}

static uint64_t used(const struct cap_seat *seat, uint64_t now)
{
	return seat->used_us + (now - seat->since) * pool_server_count(seat->pool);
}

void cap_count(struct pool *pool, int change, uint64_t now)
{
	for (size_t i = 0; i < CAP_KINDS; i++) {
		struct cap_seat *seat = &pool->seats[i];

		if (seat->cap == NULL)
			continue;
		seat->used_us = used(seat, now);
		seat->since = now;
		seat->cap->count += (unsigned)change;
	}
}

bool cap_has_room(const struct pool *pool)
{
	for (size_t i = 0; i < CAP_KINDS; i++)
		if (pool->seats[i].cap != NULL && cap_is_full(pool->seats[i].cap))
			return false;
	return true;
}

bool cap_is_exceeded(const struct pool *pool)
{
	for (size_t i = 0; i < CAP_KINDS; i++) {
		const struct cap *cap = pool->seats[i].cap;

		if (cap != NULL && cap->max != 0 && cap->count > cap->max)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ idle servers of others */

/* How many idle servers a pool can lose. */
static unsigned spare(const struct pool *pool)
{
	unsigned count = pool_server_count(pool), guaranteed = pool->settings.guaranteed_size;
	unsigned idle = pool->nservers[POOL_SERVER_IDLE];

	if (count <= guaranteed)
		return 0;
	return idle < count - guaranteed ? idle : count - guaranteed;
}

/* The list's order is that of use, from one end or from the other. */
static struct pool_server *longest_idle(const struct pool *pool)
{
	return pool->settings.round_robin ? TAILQ_FIRST(&pool->idle) : TAILQ_LAST(&pool->idle, pool_servers);
}

/*
 * Who has many takes from who has few only what is not needed: else a server
 * that is used now and then would be opened anew each time.
 */
static uint64_t may_go_at(const struct pool_server *s, const struct pool *for_pool)
{
	if (pool_server_count(for_pool) + 1 < pool_server_count(s->pool) ||
	    pool_server_count(for_pool) < for_pool->settings.guaranteed_size)
		return s->idle_since;
	return s->idle_since + REST_US;
}

struct pool_server *cap_victim(const struct cap *cap, const struct pool *pool, uint64_t now, uint64_t *again_at)
{
	const struct cap_seat *seat;
	struct pool_server *best = NULL;

	*again_at = 0;
	TAILQ_FOREACH(seat, &cap->seats, link) {
		struct pool_server *s;
		uint64_t at;

		if (seat->pool == pool || spare(seat->pool) == 0)
			continue;
		s = longest_idle(seat->pool);
		at = may_go_at(s, pool);
		if (at > now) {
			if (*again_at == 0 || at < *again_at)
				*again_at = at;
			continue;
		}
		if (best == NULL || spare(s->pool) > spare(best->pool) ||
		    (spare(s->pool) == spare(best->pool) && s->idle_since < best->idle_since))
			best = s;
	}
	return best;
}

/* ------------------------------------------------------------------ turns */

static struct cap_seat *seat_of(const struct cap *cap, struct pool *pool)
{
	for (size_t i = 0; i < CAP_KINDS; i++)
		if (pool->seats[i].cap == cap)
			return &pool->seats[i];
	return NULL;
}

static bool waits(const struct pool *pool)
{
	return pool->nwaiting + pool->nlogins > 0;
}

/* Since when the first of those who wait has. */
static uint64_t waits_since(const struct pool *pool)
{
	const struct pool_client *query = TAILQ_FIRST(&pool->waiting), *login = TAILQ_FIRST(&pool->logins);

	if (query == NULL || (login != NULL && login->waiting_since < query->waiting_since))
		query = login;
	return query->waiting_since;
}

/* Has, or waits for, what the bound is about. */
static bool competes(const struct pool *pool)
{
	return waits(pool) || pool->nservers[POOL_SERVER_ACTIVE] > 0;
}

/* The most that any other pool has had that is competing now. False: there is none. */
static bool most_used(const struct cap *cap, const struct pool *but, uint64_t now, uint64_t *most)
{
	const struct cap_seat *seat;
	bool is_any = false;

	*most = 0;
	TAILQ_FOREACH(seat, &cap->seats, link) {
		if (seat->pool == but || !competes(seat->pool))
			continue;
		is_any = true;
		if (used(seat, now) > *most)
			*most = used(seat, now);
	}
	return is_any;
}

static void set_used(struct cap_seat *seat, uint64_t used_us, uint64_t now)
{
	seat->used_us = used_us;
	seat->since = now;
}

/*
 * Only who has waited has a claim, and only against who competed there is a
 * debt: whoever comes after a silence starts from where the others are.
 */
void cap_block(struct cap *cap, struct pool *pool, enum cap_kind kind, uint64_t now)
{
	struct cap_seat *seat = &pool->seats[kind];
	uint64_t claim = waits(pool) && waits_since(pool) == now ? 0 : CLAIM_US;
	uint64_t most;

	if (most_used(cap, pool, now, &most)) {
		if (used(seat, now) + claim < most)
			set_used(seat, most - claim, now);
		else if (used(seat, now) > most + claim)
			set_used(seat, most + claim, now);
	}
	pool_block(pool, &cap->blocked);
}

/*
 * Whether `a` goes before `b`: who lacks guaranteed servers, who has fewer,
 * who has had less, who has waited longer. A pool that only wants its minimum
 * comes after all who have clients waiting.
 */
static bool is_before(const struct cap *cap, struct pool *a, struct pool *b, uint64_t now)
{
	unsigned a_has = pool_server_count(a), b_has = pool_server_count(b);
	bool a_lacks = a_has < a->settings.guaranteed_size, b_lacks = b_has < b->settings.guaranteed_size;
	uint64_t a_used = used(seat_of(cap, a), now), b_used = used(seat_of(cap, b), now);

	if (!waits(a) || !waits(b))
		return waits(a) && !waits(b);
	if (a_lacks != b_lacks)
		return a_lacks;
	if (a_has != b_has)
		return a_has < b_has;
	if (a_used != b_used)
		return a_used < b_used;
	return waits_since(a) < waits_since(b);
}

struct pool *cap_next(struct cap *cap, uint64_t now)
{
	struct pool *p, *best = TAILQ_FIRST(&cap->blocked);

	if (best == NULL)
		return NULL;
	TAILQ_FOREACH(p, &cap->blocked, blocked_link)
		if (is_before(cap, p, best, now))
			best = p;
	pool_unblock(best);
	return best;
}

static bool is_turn_of(const struct cap *cap, struct pool *other, const struct pool *pool, uint64_t now)
{
	unsigned has = pool_server_count(pool), other_has = pool_server_count(other);

	if (!waits(other) || other->is_paused || other->is_dead)
		return false;
	if (other_has < other->settings.guaranteed_size)
		return true;
	if (has > other_has + 1)
		return true;
	return has == other_has + 1 &&
	       used(seat_of(cap, (struct pool *)pool), now) > used(seat_of(cap, other), now) + TURN_US;
}

static bool yields_under(struct cap *cap, const struct pool *pool, uint64_t now)
{
	unsigned has = pool_server_count(pool);
	struct pool *other;
	uint64_t n = 0;

	/* Who has no more than one that nobody had a turn against need not ask again at once. */
	if (now < cap->look_at && has <= cap->looked_with)
		return false;
	TAILQ_FOREACH(other, &cap->blocked, blocked_link) {
		if (is_turn_of(cap, other, pool, now))
			return true;
		n++;
	}
	cap->look_at = now + n * REST_OF_LINE_US;
	cap->looked_with = has;
	return false;
}

bool cap_yields(const struct pool *pool, uint64_t now)
{
	if (!pool->is_capped || pool_server_count(pool) <= pool->settings.guaranteed_size)
		return false;
	for (size_t i = 0; i < CAP_KINDS; i++) {
		struct cap *cap = pool->seats[i].cap;

		if (cap != NULL && cap_is_full(cap) && yields_under(cap, pool, now))
			return true;
	}
	return false;
}
