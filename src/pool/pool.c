#include "pool/pool.h"

#include <string.h>

void pool_init(struct pool *pool, struct database *database, struct user *user)
{
	memset(pool, 0, sizeof(*pool));
	pool->database = database;
	pool->user = user;
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->waiting);
	TAILQ_INIT(&pool->logins);
}

unsigned pool_server_count(const struct pool *pool)
{
	unsigned n = 0;

	for (size_t i = 0; i < POOL_SERVER_STATE_COUNT; i++)
		n += pool->nservers[i];
	return n;
}

void pool_server_join(struct pool *pool, struct pool_server *s)
{
	s->pool = pool;
	s->state = POOL_SERVER_NEW;
	pool->nservers[s->state]++;
}

static void leave_state(struct pool_server *s)
{
	if (s->state == POOL_SERVER_IDLE)
		TAILQ_REMOVE(&s->pool->idle, s, link);
	s->pool->nservers[s->state]--;
}

void pool_server_enter(struct pool_server *s, enum pool_server_state state)
{
	leave_state(s);
	s->state = state;
	s->pool->nservers[state]++;
	if (state != POOL_SERVER_IDLE)
		return;
	if (s->pool->settings.round_robin)
		TAILQ_INSERT_TAIL(&s->pool->idle, s, link);
	else
		TAILQ_INSERT_HEAD(&s->pool->idle, s, link);
}

void pool_server_leave(struct pool_server *s)
{
	leave_state(s);
	s->pool = NULL;
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
	if (c->waiting_since != 0) {
		pool->stats.now.wait_time += now - c->waiting_since;
		dequeue(c);
	}
	pool->stats.now.server_assignment_count++;
	if (s->state != POOL_SERVER_ACTIVE)
		pool_server_enter(s, POOL_SERVER_ACTIVE);
}

enum pool_answer pool_acquire(struct pool *pool, struct pool_client *c, uint64_t now, struct pool_server **server)
{
	struct pool_server *s = TAILQ_FIRST(&pool->idle);

	*server = s;
	c->pool = pool;
	if (s != NULL && pool->nwaiting == 0 && !pool->is_paused && !needs_check(s, now)) {
		grant(pool, s, c, now);
		return POOL_GRANTED;
	}
	enqueue(pool, c, now);
	if (s == NULL || pool->is_paused)
		return POOL_QUEUED;
	/* Those who wait already have a server under test or on its way each, or none is idle. */
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
	struct pool_client *c = pool->is_paused ? NULL : TAILQ_FIRST(&pool->waiting);

	if (c != NULL) {
		grant(pool, s, c, now);
		return c;
	}
	s->idle_since = now;
	pool_server_enter(s, POOL_SERVER_IDLE);
	return NULL;
}

struct pool_client *pool_serve(struct pool *pool, uint64_t now, struct pool_server **server)
{
	struct pool_client *c = TAILQ_FIRST(&pool->waiting);
	struct pool_server *s = TAILQ_FIRST(&pool->idle);

	if (c == NULL || s == NULL || pool->is_paused)
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

/* Servers that waiting clients need and that are not on their way yet. */
static bool someone_needs_more(const struct pool *pool)
{
	unsigned coming = pool->nservers[POOL_SERVER_NEW] + pool->nservers[POOL_SERVER_TESTED];

	if (pool->nwaiting > coming)
		return true;
	/* Servers that are there already say nothing more of what a welcome holds. */
	return pool->nlogins > 0 && pool->nservers[POOL_SERVER_NEW] == 0;
}

static bool is_below_minimum(const struct pool *pool)
{
	const struct pool_settings *set = &pool->settings;

	if (pool->nclients + pool->nlogins == 0 && !set->is_forced_user)
		return false;
	return pool_server_count(pool) < set->min_size;
}

bool pool_wants_server(const struct pool *pool, uint64_t now, bool *reserve)
{
	const struct pool_settings *set = &pool->settings;
	unsigned count = pool_server_count(pool);
	uint64_t due = reserve_due_at(pool);

	*reserve = false;
	if (pool->is_dead || pool->is_paused || now < pool->retry_at)
		return false;
	if (pool->nservers[POOL_SERVER_NEW] >= set->connect_parallel)
		return false;
	if (set->size == 0 || count < set->size)
		return someone_needs_more(pool) || is_below_minimum(pool);
	*reserve = due != 0 && due <= now && count < set->size + set->reserve_size && someone_needs_more(pool);
	return *reserve;
}

uint64_t pool_wakes_at(const struct pool *pool, uint64_t now)
{
	const struct pool_settings *set = &pool->settings;
	unsigned count = pool_server_count(pool);
	uint64_t due;

	if (pool->is_dead || pool->is_paused)
		return 0;
	if (now < pool->retry_at)
		return someone_needs_more(pool) || is_below_minimum(pool) ? pool->retry_at : 0;
	due = reserve_due_at(pool);
	if (due > now && set->size != 0 && count >= set->size && count < set->size + set->reserve_size)
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

bool pool_lifetime_is_over(const struct pool_server *s, uint64_t now)
{
	uint64_t lifetime = s->pool->settings.server_lifetime_us;

	return lifetime == 0 || now - s->connected_at >= lifetime;
}
