#include "pool/capacity_demand.h"

#include "base/clock.h"

bool capacity_is_listed(const struct database *db, const struct host *host)
{
	for (unsigned i = 0; i < db->nhosts; i++)
		if (db->hosts[i] == host)
			return !db->is_dead;
	return false;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	return a == CAPACITY_UNBOUNDED || b == CAPACITY_UNBOUNDED ? CAPACITY_UNBOUNDED : a + b;
}

/* 0 bounds nothing. */
static uint64_t bounded(uint64_t limit, uint64_t bound)
{
	return bound != 0 && bound < limit ? bound : limit;
}

uint64_t capacity_pool_limit(const struct pool_settings *set)
{
	if (set->size == 0)
		return CAPACITY_UNBOUNDED;
	return (uint64_t)set->size + (set->reserve_timeout_us != 0 ? set->reserve_size : 0);
}

unsigned capacity_pool_need(const struct pool *pool)
{
	const struct concurrency c = in_use_concurrency(pool, clock_us());

	return concurrency_need(&c, pool->settings.size);
}

static uint64_t effective(const struct conf *conf, enum setting_id id, const struct conf_database *db,
			  const struct conf_user *user)
{
	return (uint64_t)conf_effective(conf, id, db, user);
}

/* Of a pool that is yet to be made: the forced user's or that of a user without settings of his own. */
static uint64_t expected_limit(const struct registry *r, const struct database *db)
{
	const struct conf *conf = registry_conf(r);
	const struct conf_user *user = db->conf->user == NULL ? NULL : conf_find_user(conf, slice_of(db->conf->user));
	const struct pool_settings set = {
		.size = (unsigned)effective(conf, SETTING_default_pool_size, db->conf, user),
		.reserve_size = (unsigned)effective(conf, SETTING_reserve_pool_size, db->conf, user),
		.reserve_timeout_us = (uint64_t)conf->s.reserve_pool_timeout,
	};

	return bounded(capacity_pool_limit(&set), effective(conf, SETTING_max_user_connections, NULL, user));
}

static void note_need(const struct pool *pool, struct capacity_demand *d)
{
	unsigned need = capacity_pool_need(pool);

	if (need == 0)
		return;
	d->nmeasured++;
	d->need += need;
	if (need > d->max_need)
		d->max_need = need;
}

static bool gets_pools_without_end(const struct registry *r, const struct database *db)
{
	return db->conf->user == NULL && db->cap.max == 0 && registry_conf(r)->s.max_server_connections == 0;
}

/* What a database may have at its hosts; pools that do not exist yet go into *expected too. */
static uint64_t limit_of_database(const struct registry *r, const struct database *db, struct capacity_demand *d,
				  uint64_t *expected)
{
	const struct pool *pool = NULL;
	uint64_t sum = 0;

	while ((pool = database_next_pool(db, (struct pool *)pool)) != NULL) {
		sum = add(sum, bounded(capacity_pool_limit(&pool->settings), pool->user->cap.max));
		note_need(pool, d);
		d->npools++;
	}
	if (database_next_pool(db, NULL) == NULL) {
		sum = expected_limit(r, db);
		*expected = add(*expected, bounded(sum, db->cap.max));
		d->npools++;
	}
	if (d->per_user == NULL && gets_pools_without_end(r, db))
		d->per_user = db;
	return bounded(sum, db->cap.max);
}

static uint64_t limit_of_user(const struct user *user, const struct host *host)
{
	const struct cap_seat *seat;
	uint64_t sum = 0;

	TAILQ_FOREACH(seat, &user->cap.seats, link) {
		const struct database *db = seat->pool->database;

		if (capacity_is_listed(db, host))
			sum = add(sum, bounded(capacity_pool_limit(&seat->pool->settings), db->cap.max));
	}
	return bounded(sum, user->cap.max);
}

void capacity_demand_find(const struct registry *r, const struct host *host, struct capacity_demand *d)
{
	uint64_t by_database = 0, by_user = 0;

	*d = (struct capacity_demand){0};
	for (struct database *db = registry_next_database(r, NULL); db != NULL; db = registry_next_database(r, db))
		if (capacity_is_listed(db, host))
			by_database = add(by_database, limit_of_database(r, db, d, &by_user));
	for (struct user *user = registry_next_user(r, NULL); user != NULL; user = registry_next_user(r, user))
		by_user = add(by_user, limit_of_user(user, host));
	d->limit = by_user < by_database ? by_user : by_database;
	d->limit = bounded(d->limit, (uint64_t)registry_conf(r)->s.max_server_connections);
}
