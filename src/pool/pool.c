#include "pool/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pool/cap.h"
#include "pool/in_use.h"

/* For so long a login shows that others would succeed as well. */
#define PROOF_US CLOCK_SECOND

const char *pool_hold_word(enum pool_hold hold)
{
	static const char *const words[] = {
#define X(name, word, text) [HOLD_##name] = word,
		POOL_HOLDS(X)
#undef X
	};
	return words[hold];
}

const char *pool_hold_text(enum pool_hold hold)
{
	static const char *const texts[] = {
#define X(name, word, text) [HOLD_##name] = text,
		POOL_HOLDS(X)
#undef X
	};
	return texts[hold];
}

void pool_init(struct pool *pool, struct database *database, struct user *user)
{
	memset(pool, 0, sizeof(*pool));
	pool->database = database;
	pool->user = user;
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->waiting);
	TAILQ_INIT(&pool->logins);
}

void pool_fini(struct pool *pool)
{
	for (size_t i = 0; i < LATENCY_KINDS; i++)
		free(pool->latency[i]);
}

void pool_record_first(struct pool *pool, enum latency_kind kind, uint64_t us)
{
	pool->latency[kind] = calloc(1, sizeof(*pool->latency[kind]));
	if (pool->latency[kind] != NULL)
		histogram_record(pool->latency[kind], us);
}

void pool_turn_latency(struct pool *pool)
{
	for (size_t i = 0; i < LATENCY_KINDS; i++)
		histogram_turn(pool->latency[i]);
}

unsigned pool_server_count(const struct pool *pool)
{
	unsigned n = 0;

	for (size_t i = 0; i < POOL_SERVER_STATE_COUNT; i++)
		n += pool->nservers[i];
	return n;
}

void pool_server_join(struct pool *pool, struct pool_server *s, uint64_t now)
{
	s->pool = pool;
	s->state = POOL_SERVER_NEW;
	cap_count(pool, 1, now);
	pool->nservers[s->state]++;
}

static void leave_state(struct pool_server *s)
{
	if (s->state == POOL_SERVER_IDLE)
		TAILQ_REMOVE(&s->pool->idle, s, link);
	s->pool->nservers[s->state]--;
}

static void enter_idle(struct pool_server *s)
{
	if (s->pool->settings.round_robin)
		TAILQ_INSERT_TAIL(&s->pool->idle, s, link);
	else
		TAILQ_INSERT_HEAD(&s->pool->idle, s, link);
}

/* Inline for those that each transaction goes through. */
static inline void enter(struct pool_server *s, enum pool_server_state state)
{
	leave_state(s);
	s->state = state;
	s->pool->nservers[state]++;
	if (state == POOL_SERVER_IDLE)
		enter_idle(s);
	else if (!s->pool->is_in_use)
		in_use_note(s->pool);
}

void pool_server_enter(struct pool_server *s, enum pool_server_state state)
{
	enter(s, state);
}

void pool_server_leave(struct pool_server *s, uint64_t now)
{
	cap_count(s->pool, -1, now);
	if (s->state == POOL_SERVER_NEW)
		s->pool->failed_at = now;
	leave_state(s);
	if (s->is_retiring)
		s->pool->nretiring--;
	s->pool = NULL;
}

void pool_was_let_in(struct pool *pool, uint64_t began_at, uint64_t now)
{
	/* One that was on its way when another failed says nothing of those that would come after both. */
	if (began_at > pool->failed_at)
		pool->let_in_at = now;
}

static bool keeps_minimum(const struct pool *pool)
{
	return pool->nclients + pool->nlogins > 0 || pool->settings.is_forced_user || pool->is_known;
}

bool pool_server_retire(struct pool_server *s)
{
	struct pool *pool = s->pool;

	if (!keeps_minimum(pool) || pool_open_count(pool) > pool->settings.min_size)
		return true;
	if (pool->nretiring == 0) {
		s->is_retiring = true;
		pool->nretiring++;
	}
	return false;
}

void pool_block(struct pool *pool, struct pool_queue *queue)
{
	pool_unblock(pool);
	pool->blocked_in = queue;
	TAILQ_INSERT_TAIL(queue, pool, blocked_link);
}

void pool_unblock(struct pool *pool)
{
	if (pool->blocked_in != NULL)
		TAILQ_REMOVE(pool->blocked_in, pool, blocked_link);
	pool->blocked_in = NULL;
}

static bool needs_check(const struct pool_server *s, uint64_t now)
{
	const struct pool_settings *set = &s->pool->settings;

	return set->checks && now - s->idle_since > set->check_delay_us;
}

static void enqueue(struct pool *pool, struct pool_client *c, uint64_t now)
{
	c->waiting_since = now;
	TAILQ_INSERT_TAIL(&pool->waiting, c, link);
	pool->nwaiting++;
}

static void dequeue(struct pool_client *c)
{
	if (c->is_for_login) {
		TAILQ_REMOVE(&c->pool->logins, c, link);
		c->pool->nlogins--;
	} else {
		TAILQ_REMOVE(&c->pool->waiting, c, link);
		c->pool->nwaiting--;
	}
	c->is_for_login = false;
	c->waiting_since = 0;
}

/* The client's wait is over; what it waited is counted here and nowhere else. */
static void grant(struct pool *pool, struct pool_server *s, struct pool_client *c, uint64_t now)
{
	uint64_t waited = 0;

	if (c->waiting_since != 0) {
		waited = now - c->waiting_since;
		pool->stats.now.wait_time += waited;
		dequeue(c);
	}
	pool_record(pool, LATENCY_WAIT, waited);
	pool->stats.now.server_assignment_count++;
	if (s->state != POOL_SERVER_ACTIVE)
		enter(s, POOL_SERVER_ACTIVE);
}

/* pool_size itself is a bound on those that are there. */
static bool is_limited(const struct pool *pool)
{
	return pool->working_size != 0 && (pool->settings.size == 0 || pool->working_size < pool->settings.size);
}

/* Whether clients may hold one more server, beside those that they will get in any case. */
static bool may_hold(const struct pool *pool, unsigned coming)
{
	return !is_limited(pool) || pool_held_count(pool) + coming < pool->working_size;
}

/* Whether a server that comes back, or has logged in, may be held again. */
static bool may_hold_again(const struct pool *pool, const struct pool_server *s)
{
	return !is_limited(pool) || pool_held_count(pool) + (s->state == POOL_SERVER_NEW) <= pool->working_size;
}

enum pool_answer pool_acquire(struct pool *pool, struct pool_client *c, uint64_t now, struct pool_server **server)
{
	struct pool_server *s = TAILQ_FIRST(&pool->idle);

	if (!may_hold(pool, 0))
		s = NULL;
	*server = s;
	c->pool = pool;
	if (s != NULL && pool->nwaiting == 0 && !pool->is_paused && !needs_check(s, now)) {
		grant(pool, s, c, now);
		pool->stats.now.pool_hits++;
		return POOL_GRANTED;
	}
	pool->stats.now.pool_misses++;
	enqueue(pool, c, now);
	if (s == NULL || pool->is_paused)
		return POOL_QUEUED;
	/* Those who wait already have a server under test or on its way each, or none is to be had. */
	pool_server_enter(s, POOL_SERVER_TESTED);
	return POOL_QUEUED_TEST_ONE;
}

void pool_await_login(struct pool *pool, struct pool_client *c, uint64_t now)
{
	c->pool = pool;
	c->waiting_since = now;
	c->is_for_login = true;
	TAILQ_INSERT_TAIL(&pool->logins, c, link);
	pool->nlogins++;
}

void pool_forget(struct pool_client *c)
{
	if (c->waiting_since != 0)
		dequeue(c);
}

struct pool_client *pool_release(struct pool_server *s, uint64_t now)
{
	struct pool *pool = s->pool;
	struct pool_client *c = pool->is_paused || !may_hold_again(pool, s) ? NULL : TAILQ_FIRST(&pool->waiting);

	if (c != NULL) {
		grant(pool, s, c, now);
		return c;
	}
	s->idle_since = now;
	enter(s, POOL_SERVER_IDLE);
	return NULL;
}

struct pool_client *pool_serve(struct pool *pool, uint64_t now, struct pool_server **server)
{
	struct pool_client *c = TAILQ_FIRST(&pool->waiting);
	struct pool_server *s = TAILQ_FIRST(&pool->idle);

	if (c == NULL || s == NULL || pool->is_paused || !may_hold(pool, 0))
		return NULL;
	grant(pool, s, c, now);
	*server = s;
	return c;
}

static uint64_t reserve_due_at(const struct pool *pool)
{
	const struct pool_client *first = TAILQ_FIRST(&pool->waiting);

	if (first == NULL || pool->settings.reserve_size == 0 || pool->settings.reserve_timeout_us == 0)
		return 0;
	return first->waiting_since + pool->settings.reserve_timeout_us;
}

bool pool_clients_need(const struct pool *pool)
{
	unsigned coming = pool->nservers[POOL_SERVER_NEW] + pool->nservers[POOL_SERVER_TESTED];

	if (pool->nwaiting > coming)
		return true;
	/* Servers that are there already say nothing more of what a welcome holds. */
	return pool->nlogins > 0 && pool->nservers[POOL_SERVER_NEW] == 0;
}

bool pool_has_need(const struct pool *pool, uint64_t now)
{
	return pool_clients_need(pool) || (now < pool->wanted_until && pool_server_count(pool) == 0);
}

static bool is_below_minimum(const struct pool *pool)
{
	return keeps_minimum(pool) && pool_server_count(pool) - pool->nretiring < pool->settings.min_size;
}

/* One that is to go does not keep the one out that replaces it. */
static bool has_room(const struct pool *pool)
{
	unsigned size = pool->settings.size, count = pool_server_count(pool);

	if (size == 0 || count < size)
		return true;
	return count - pool->nretiring < size && is_below_minimum(pool);
}

static bool has_room_in_reserve(const struct pool *pool)
{
	return pool_server_count(pool) < pool->settings.size + pool->settings.reserve_size;
}

bool pool_is_over_size(const struct pool *pool)
{
	const struct pool_settings *set = &pool->settings;

	/* For one that is to go when another has come no others go. */
	return set->size != 0 && pool_server_count(pool) > set->size + set->reserve_size + pool->nretiring;
}

static bool is_let_in(const struct pool *pool, uint64_t now)
{
	return pool->let_in_at > pool->failed_at && now - pool->let_in_at < PROOF_US && pool->backoff.retry_at == 0;
}

static unsigned most_connects(const struct pool *pool, uint64_t now)
{
	unsigned most = pool->settings.connect_parallel;

	return most > POOL_FIRST_CONNECTS && !is_let_in(pool, now) ? POOL_FIRST_CONNECTS : most;
}

/* Why the pool opens nothing; NONE: it opens, of the reserve if need be, or wants nothing (then *wants is false). */
static enum pool_hold judge(const struct pool *pool, uint64_t now, bool *wants, bool *reserve)
{
	uint64_t due = reserve_due_at(pool);
	bool has_need = pool_has_need(pool, now);

	*reserve = false;
	*wants = false;
	if (pool->is_dead)
		return HOLD_NONE;
	if (pool->is_paused)
		return HOLD_PAUSED;
	if (!has_need && !is_below_minimum(pool))
		return HOLD_NONE;
	if (now < pool->backoff.retry_at)
		return HOLD_RETRY;
	if (pool->nservers[POOL_SERVER_NEW] >= most_connects(pool, now))
		return HOLD_CONNECTS;
	if (!is_below_minimum(pool) && !may_hold(pool, pool->nservers[POOL_SERVER_NEW]))
		return HOLD_POOL_SIZE_MODE;
	if (!has_room(pool)) {
		if (due == 0 || due > now || !has_need || !has_room_in_reserve(pool))
			return HOLD_POOL_SIZE;
		*reserve = true;
	}
	*wants = true;
	return HOLD_NONE;
}

bool pool_wants_server(const struct pool *pool, uint64_t now, bool *reserve)
{
	bool wants;

	judge(pool, now, &wants, reserve);
	return wants;
}

enum pool_hold pool_own_hold(const struct pool *pool, uint64_t now)
{
	bool wants, reserve;
	enum pool_hold hold = judge(pool, now, &wants, &reserve);

	if (hold != HOLD_NONE || wants)
		return hold;
	if (pool->nservers[POOL_SERVER_NEW] > 0)
		return HOLD_LOGIN;
	return pool->nservers[POOL_SERVER_TESTED] > 0 ? HOLD_CHECK : HOLD_NONE;
}

uint64_t pool_wakes_at(const struct pool *pool, uint64_t now)
{
	uint64_t due;

	if (pool->is_dead || pool->is_paused)
		return 0;
	if (now < pool->backoff.retry_at)
		return pool_has_need(pool, now) || is_below_minimum(pool) ? pool->backoff.retry_at : 0;
	due = reserve_due_at(pool);
	if (due > now && pool->settings.size != 0 && !has_room(pool) && has_room_in_reserve(pool))
		return due;
	return 0;
}

uint64_t pool_maxwait_us(const struct pool *pool, uint64_t now)
{
	const struct pool_client *query = TAILQ_FIRST(&pool->waiting), *login = TAILQ_FIRST(&pool->logins);
	uint64_t longest = query == NULL ? 0 : now - query->waiting_since;

	if (login != NULL && now - login->waiting_since > longest)
		longest = now - login->waiting_since;
	return longest;
}
