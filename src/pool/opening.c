#include "pool/opening.h"

#include "pool/registry.h"

/* Hosts that nobody asks for their role are not logged in to for it more often. */
#define RECHECK_LEAST_US UINT64_C(1000000)

static struct breaker_limits limits_of(const struct pool *pool)
{
	return (struct breaker_limits){.failures = pool->settings.breaker_failures,
				       .attempts = pool->settings.host_connect_parallel,
				       .most_wait_us = pool->settings.most_retry_wait_us};
}

static bool allows(const struct pool *pool, const struct host *host, uint64_t now)
{
	const struct breaker_limits limits = limits_of(pool);

	return breaker_allows(&host->breaker, &limits, now);
}

/* For a look at a host that is most likely down still nobody makes room: that is for attempts whose time has come. */
static bool is_allowed(const struct pool *pool, const struct host *host, uint64_t now)
{
	return allows(pool, host, now) && (!breaker_would_look(&host->breaker, now) || cap_has_room(pool));
}

static enum pool_hold hold_of(const struct host *host)
{
	if (host->breaker.is_open)
		return HOLD_BREAKER;
	return host->breaker.backoff.retry_at != 0 ? HOLD_RETRY : HOLD_HOST_CONNECTS;
}

static bool is_sooner(uint64_t at, uint64_t than)
{
	return at != 0 && (than == 0 || at < than);
}

/* One that is only busy before one that failed, before one that is down. */
static int rank_of(enum pool_hold hold)
{
	return hold == HOLD_HOST_CONNECTS ? 0 : hold == HOLD_RETRY ? 1 : 2;
}

/* Of the hosts that may not be connected to one is kept, the one that may be soonest. */
static void note_held(struct opening *o, struct host *host)
{
	enum pool_hold hold = hold_of(host);
	uint64_t at = breaker_wakes_at(&host->breaker);

	/* 0: as soon as an attempt that is under way ends. */
	if (o->host != NULL &&
	    (rank_of(hold) > rank_of(o->hold) || (rank_of(hold) == rank_of(o->hold) && at >= o->again_at)))
		return;
	o->hold = hold;
	o->host = host;
	o->again_at = at;
}

/* A server there has told that this database is read-only: it may be the role's or the database's own setting. */
static bool is_read_only_here(const struct pool *pool, unsigned i, uint64_t now)
{
	return now < pool->database->read_only_until[i];
}

static bool suits(const struct pool *pool, unsigned i, enum target_session_attrs attrs, uint64_t now)
{
	if (attrs == TARGET_READ_WRITE && is_read_only_here(pool, i, now))
		return false;
	if (attrs == TARGET_READ_ONLY && is_read_only_here(pool, i, now))
		return true;
	return host_suits(pool->database->hosts[i], attrs);
}

static unsigned load_of(const struct host *host)
{
	return host->nservers + host->breaker.nattempts;
}

/* One round through the list from where the database stands; `known`: among hosts of which it is known what they are. */
static bool choose_from(const struct pool *pool, enum target_session_attrs attrs, bool known, uint64_t now,
			struct opening *o)
{
	const struct database *db = pool->database;
	const struct host *best = NULL;

	for (unsigned k = 0; k < db->nhosts; k++) {
		unsigned i = (db->next_host + k) % db->nhosts;
		struct host *host = db->hosts[i];

		if (!suits(pool, i, attrs, now) || (known && host->role == HOST_UNKNOWN))
			continue;
		if (!is_allowed(pool, host, now)) {
			note_held(o, host);
			continue;
		}
		if (best != NULL && load_of(host) >= load_of(best))
			continue;
		best = host;
		o->host_index = i;
		if (pool->settings.load_balance != LOAD_BALANCE_LEAST_CONNECTIONS)
			break;
	}
	return best != NULL;
}

uint64_t opening_recheck_wait(const struct pool *pool)
{
	return pool->settings.recheck_us > RECHECK_LEAST_US ? pool->settings.recheck_us : RECHECK_LEAST_US;
}

/*
 * A host that was something else when a server logged in there last, and that
 * nobody asks, may have changed: a login tells.
 */
static bool choose_to_recheck(const struct pool *pool, uint64_t now, struct opening *o)
{
	const struct database *db = pool->database;

	for (unsigned i = 0; i < db->nhosts; i++) {
		const struct host *host = db->hosts[i];
		bool is_here = is_read_only_here(pool, i, now);
		uint64_t at = is_here ? db->read_only_until[i] : host->role_at + opening_recheck_wait(pool);

		if (!is_here && (host->is_asked || host->role == HOST_UNKNOWN ||
				 suits(pool, i, pool->settings.attrs, now) || !is_allowed(pool, host, now)))
			continue;
		if (now >= at) {
			o->host_index = i;
			return true;
		}
		if (is_sooner(at, o->recheck_at))
			o->recheck_at = at;
	}
	return false;
}

static bool choose_suited(const struct pool *pool, uint64_t now, struct opening *o)
{
	enum target_session_attrs attrs = pool->settings.attrs;

	if (attrs == TARGET_PREFER_STANDBY && (choose_from(pool, TARGET_STANDBY, true, now, o) ||
					       choose_from(pool, TARGET_STANDBY, false, now, o)))
		return true;
	return choose_from(pool, attrs, true, now, o) || choose_from(pool, attrs, false, now, o);
}

static bool choose(const struct pool *pool, uint64_t now, struct opening *o)
{
	o->hold = HOLD_NO_HOST;
	o->host = NULL;
	o->again_at = 0;
	if (pool->settings.attrs == TARGET_ANY)
		return choose_from(pool, TARGET_ANY, false, now, o);
	return choose_suited(pool, now, o) || choose_to_recheck(pool, now, o);
}

bool opening_is_down(const struct pool *pool, uint64_t now, struct opening *o)
{
	*o = (struct opening){0};
	return !choose(pool, now, o) && (o->hold == HOLD_BREAKER || o->hold == HOLD_NO_HOST);
}

bool opening_keeps(const struct pool *pool, uint64_t now, unsigned host_index)
{
	struct opening o = {0};

	if (!suits(pool, host_index, pool->settings.attrs, now))
		return false;
	if (pool->settings.attrs != TARGET_PREFER_STANDBY || pool->database->hosts[host_index]->role != HOST_PRIMARY)
		return true;
	return !choose_from(pool, TARGET_STANDBY, false, now, &o);
}

bool opening_next_host(const struct pool *pool, uint64_t now, unsigned first, unsigned ntried, unsigned *index)
{
	const struct database *db = pool->database;

	for (unsigned k = ntried; k < db->nhosts; k++) {
		unsigned i = (first + k) % db->nhosts;

		/* Its place under the bounds it has already. */
		if (!suits(pool, i, pool->settings.attrs, now) || !allows(pool, db->hosts[i], now))
			continue;
		*index = i;
		return true;
	}
	return false;
}

/* A server of another pool is closed only for clients that wait; whatever else wants one waits until there is room. */
static struct pool_server *find_victim(const struct pool *pool, const struct cap *cap, uint64_t now, struct opening *o)
{
	return pool_clients_need(pool) ? cap_victim(cap, pool, now, &o->again_at) : NULL;
}

/* Under each bound that is reached somebody has to make room, or nobody does. */
static bool find_room(const struct pool *pool, uint64_t now, struct opening *o)
{
	static const enum pool_hold holds[] = {
		[CAP_DATABASE] = HOLD_MAX_DB, [CAP_USER] = HOLD_MAX_USER, [CAP_ALL] = HOLD_MAX_ALL};

	for (size_t i = 0; i < CAP_KINDS; i++) {
		struct cap *cap = pool->seats[i].cap;
		struct pool_server *victim;

		if (cap == NULL || !cap_is_full(cap))
			continue;
		victim = find_victim(pool, cap, now, o);
		if (victim == NULL) {
			o->victim = NULL;
			o->cap = cap;
			o->cap_kind = (enum cap_kind)i;
			o->hold = holds[i];
			return false;
		}
		if (o->victim == NULL) {
			o->victim = victim;
			o->victims_cap = cap;
		}
	}
	return true;
}

bool opening_find(const struct pool *pool, uint64_t now, struct opening *o)
{
	*o = (struct opening){0};
	if (!pool_wants_server(pool, now, &o->is_reserve)) {
		o->hold = pool_own_hold(pool, now);
		o->again_at = pool_wakes_at(pool, now);
		return false;
	}
	/* Nobody's server is closed for a host that cannot be connected to. */
	if (!choose(pool, now, o))
		return false;
	o->hold = HOLD_NONE;
	o->host = NULL;
	o->again_at = 0;
	return find_room(pool, now, o);
}
