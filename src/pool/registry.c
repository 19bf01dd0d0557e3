#include "pool/registry.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* A pool and its place in its database's table. */
struct database_pool {
	struct pool pool;
	struct user *key;
	UT_hash_handle hh;
	TAILQ_ENTRY(database_pool) link;
};
TAILQ_HEAD(all_pools, database_pool);

struct registry {
	struct registry_front front;     /* first: see registry_conf() */
	struct registry_hooks hooks;
	struct database *databases;
	struct user *users;
	struct all_pools pools;
	struct pools_in_use in_use;
	struct database_pool *turning;   /* the next for which the period of histograms ends; NULL: none */
	unsigned npools;
	struct hosts *hosts;
	struct cap cap;                  /* max_server_connections */
	struct stats_history gone;       /* of databases that have been dropped */
};

static void set_up_pool(struct registry *r, struct pool *pool)
{
	const struct conf *c = r->front.conf;
	const struct conf_database *db = pool->database->conf;
	const struct conf_user *user = pool->user->conf;
	struct pool_settings *set = &pool->settings;

	set->mode = (enum pool_mode)conf_effective(c, SETTING_pool_mode, db, user);
	set->size = (unsigned)conf_effective(c, SETTING_default_pool_size, db, user);
	set->is_adaptive = conf_effective(c, SETTING_pool_size_mode, db, user) == POOL_SIZE_ADAPTIVE;
	set->min_size = (unsigned)conf_effective(c, SETTING_min_pool_size, db, user);
	set->reserve_size = (unsigned)conf_effective(c, SETTING_reserve_pool_size, db, user);
	set->query_wait_timeout_us = (uint64_t)conf_effective(c, SETTING_query_wait_timeout, db, user);
	set->server_lifetime_us = (uint64_t)conf_effective(c, SETTING_server_lifetime, db, user);
	set->reserve_timeout_us = (uint64_t)c->s.reserve_pool_timeout;
	set->connect_parallel = (unsigned)c->s.server_connect_parallel;
	set->round_robin = c->s.server_round_robin;
	set->check_delay_us = (uint64_t)c->s.server_check_delay;
	set->checks = c->s.server_check_query[0] != '\0';
	set->is_forced_user = db->user != NULL;
	set->guaranteed_size = (unsigned)conf_effective(c, SETTING_guaranteed_pool_size, db, user);
	set->breaker_failures = (unsigned)c->s.breaker_failures;
	set->host_connect_parallel = (unsigned)c->s.host_connect_parallel;
	set->load_balance = (enum load_balance_hosts)conf_effective(c, SETTING_load_balance_hosts, db, NULL);
	set->attrs = (enum target_session_attrs)conf_effective(c, SETTING_target_session_attrs, db, NULL);
	set->down_action = (enum server_down_action)conf_effective(c, SETTING_server_down_action, db, NULL);
	set->most_retry_wait_us = (uint64_t)c->s.server_login_retry;
	set->recheck_us = (uint64_t)c->s.host_check_interval;
	pool->is_shrinking = pool_is_over_size(pool);
	pool->is_capped = false;
	for (size_t i = 0; i < CAP_KINDS; i++)
		pool->is_capped |= pool->seats[i].cap->max != 0;
}

static void set_cap_of_database(const struct registry *r, struct database *db)
{
	db->cap.max = (unsigned)conf_effective(r->front.conf, SETTING_max_db_connections, db->conf, NULL);
}

static void set_cap_of_user(const struct registry *r, struct user *user)
{
	user->cap.max = (unsigned)conf_effective(r->front.conf, SETTING_max_user_connections, NULL, user->conf);
}

static void drop_hosts(struct host **hosts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		host_unref(&hosts[i]);
	free(hosts);
}

static void unbind_hosts(struct database *db)
{
	drop_hosts(db->hosts, db->nhosts);
	free(db->read_only_until);
	db->hosts = NULL;
	db->read_only_until = NULL;
	db->nhosts = 0;
}

/* What a login has told of this host in the database; 0: nothing that still counts. */
static uint64_t read_only_until(const struct database *db, const struct host *host)
{
	for (unsigned i = 0; i < db->nhosts; i++)
		if (db->hosts[i] == host)
			return db->read_only_until[i];
	return 0;
}

/* Takes the hosts of the database's entry, and keeps those it has when memory is out. */
static bool bind_hosts(const struct registry *r, struct database *db, const struct conf_database *conf)
{
	unsigned n = (unsigned)conf->nhosts;
	struct host **hosts = calloc(n, sizeof(hosts[0]));
	uint64_t *until = calloc(n, sizeof(until[0]));

	for (unsigned i = 0; hosts != NULL && i < n; i++) {
		hosts[i] = host_ref(r->hosts, conf->hosts[i].host, conf->hosts[i].port);
		if (hosts[i] == NULL) {
			drop_hosts(hosts, i);
			hosts = NULL;
		}
	}
	if (hosts == NULL || until == NULL) {
		drop_hosts(hosts, hosts == NULL ? 0 : n);
		free(until);
		return false;
	}
	for (unsigned i = 0; i < n; i++)
		until[i] = read_only_until(db, hosts[i]);
	unbind_hosts(db);
	db->hosts = hosts;
	db->read_only_until = until;
	db->nhosts = n;
	db->next_host %= n;
	return true;
}

static struct database *add_database(struct registry *r, struct slice name, const struct conf_database *conf)
{
	struct database *db = calloc(1, sizeof(*db));

	if (db == NULL)
		return NULL;
	db->name = atom_get(name);
	if (db->name != NULL && bind_hosts(r, db, conf))
		HASH_ADD_KEYPTR(hh, r->databases, db->name->text, db->name->len, db);
	if (!HASH_HAS(db)) {
		unbind_hosts(db);
		atom_unref(&db->name);
		free(db);
		return NULL;
	}
	db->conf = conf;
	cap_init(&db->cap);
	set_cap_of_database(r, db);
	return db;
}

static void add_configured(struct registry *r)
{
	for (const struct conf_database *c = r->front.conf->databases; c != NULL; c = c->next) {
		struct slice name = slice_of(c->name);
		struct database *db;

		if (slice_is(name, "*"))
			continue;
		HASH_FIND(hh, r->databases, name.p, name.n, db);
		if (db == NULL)
			add_database(r, name, c);
	}
}

struct registry *registry_new(struct conf *conf, const struct registry_hooks *hooks)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->hosts = hosts_new();
	if (r->hosts == NULL) {
		free(r);
		return NULL;
	}
	r->front.conf = conf;
	r->hooks = *hooks;
	TAILQ_INIT(&r->pools);
	in_use_init(&r->in_use);
	cap_init(&r->cap);
	r->cap.max = (unsigned)conf->s.max_server_connections;
	add_configured(r);
	return r;
}

static void free_pool(struct registry *r, struct database_pool *dp)
{
	dp->pool.user->npools--;
	r->hooks.on_pool_freed(r->hooks.arg, &dp->pool);
	pool_unblock(&dp->pool);
	in_use_leave(&dp->pool);
	for (size_t i = 0; i < CAP_KINDS; i++)
		cap_leave(&dp->pool, (enum cap_kind)i);
	stats_add_history(&dp->pool.database->gone, &dp->pool.stats);
	HASH_DEL(dp->pool.database->pools, dp);
	if (r->turning == dp)
		r->turning = TAILQ_NEXT(dp, link);
	TAILQ_REMOVE(&r->pools, dp, link);
	r->npools--;
	pool_fini(&dp->pool);
	free(dp);
}

static void free_database(struct registry *r, struct database *db)
{
	deadline_disarm(&db->unused);
	stats_add_history(&r->gone, &db->gone);
	HASH_DEL(r->databases, db);
	unbind_hosts(db);
	atom_unref(&db->name);
	free(db);
}

static void free_user(struct registry *r, struct user *user)
{
	r->hooks.on_user_freed(r->hooks.arg, user);
	HASH_DEL(r->users, user); /* NOLINT(clang-analyzer-core.NullDereference): he is in it, so it is not empty */
	atom_unref(&user->name);
	free(user);
}

void registry_free(struct registry *r)
{
	struct database *db, *next_db;
	struct user *user, *next_user;

	if (r == NULL)
		return;
	while (!TAILQ_EMPTY(&r->pools))
		free_pool(r, TAILQ_FIRST(&r->pools));
	HASH_ITER(hh, r->databases, db, next_db)
		free_database(r, db);
	HASH_ITER(hh, r->users, user, next_user)
		free_user(r, user);
	hosts_free(r->hosts);
	conf_unref(&r->front.conf);
	free(r);
}

struct hosts *registry_hosts(const struct registry *r)
{
	return r->hosts;
}

struct pools_in_use *registry_in_use(struct registry *r)
{
	return &r->in_use;
}

/*
 * The database's entry in the new snapshot. One that is gone keeps its old
 * entry for as long as the old snapshot lives, that is, not at all: what
 * outlives it (its name, its pools' settings) is held elsewhere.
 */
static void rebind_database(struct registry *r, const struct conf *conf, struct database *db)
{
	const struct conf_database *old = db->conf;
	const struct conf_database *now = conf_find_database(conf, atom_slice(db->name));

	db->is_auto = now == NULL;
	if (now == NULL)
		now = conf_find_database(conf, SLICE_LIT("*"));
	if (now == NULL) {
		db->conf = NULL;
		unbind_hosts(db);
		if (!db->is_dead) {
			db->is_dead = true;
			/* Nothing is opened for those who wait while the others are sent away. */
			for (struct database_pool *dp = db->pools; dp != NULL; dp = dp->hh.next)
				dp->pool.is_dead = true;
			r->hooks.on_database_removed(r->hooks.arg, db);
		}
		return;
	}
	db->conf = now;
	if (!bind_hosts(r, db, now))
		log_warning("database %s: out of memory, it keeps the hosts it had", db->name->text);
	if (db->is_dead) {
		db->is_dead = false;
		return;
	}
	if (old == NULL || !conf_database_same_server(old, now))
		r->hooks.on_database_changed(r->hooks.arg, db);
}

void registry_reload(struct registry *r, struct conf *conf)
{
	struct conf *old = r->front.conf;
	struct database *db, *next_db;
	struct user *user, *next_user;
	struct database_pool *dp;

	HASH_ITER(hh, r->users, user, next_user)
		user->conf = conf_find_user(conf, atom_slice(user->name));
	HASH_ITER(hh, r->databases, db, next_db)
		rebind_database(r, conf, db);
	r->front.conf = conf;
	r->cap.max = (unsigned)conf->s.max_server_connections;
	HASH_ITER(hh, r->users, user, next_user) {
		set_cap_of_user(r, user);
		r->hooks.on_user(r->hooks.arg, user);
	}
	HASH_ITER(hh, r->databases, db, next_db) {
		if (!db->is_dead)
			set_cap_of_database(r, db);
	}
	add_configured(r);
	TAILQ_FOREACH(dp, &r->pools, link) {
		dp->pool.is_dead = dp->pool.database->is_dead;
		if (dp->pool.is_dead)
			continue;
		set_up_pool(r, &dp->pool);
		r->hooks.on_pool(r->hooks.arg, &dp->pool);
	}
	conf_unref(&old);
}

static struct database *find_database(const struct registry *r, struct slice name)
{
	struct database *db;

	HASH_FIND(hh, r->databases, name.p, name.n, db);
	return db;
}

struct database *registry_find_database(const struct registry *r, struct slice name)
{
	struct database *db = find_database(r, name);

	return db == NULL || db->is_dead ? NULL : db;
}

struct database *registry_database(struct registry *r, struct slice name)
{
	const struct conf_database *template;
	struct database *db = find_database(r, name);

	if (db != NULL)
		return db->is_dead ? NULL : db;
	template = conf_find_database(r->front.conf, SLICE_LIT("*"));
	if (template == NULL)
		return NULL;
	db = add_database(r, name, template);
	if (db != NULL) {
		db->is_auto = true;
		r->hooks.on_auto_database(r->hooks.arg, db);
	}
	return db;
}

void registry_drop_database(struct registry *r, struct database *db)
{
	struct database_pool *dp, *next;

	HASH_ITER(hh, db->pools, dp, next)
		free_pool(r, dp);
	free_database(r, db);
}

struct user *registry_find_user(const struct registry *r, struct slice name)
{
	struct user *user;

	HASH_FIND(hh, r->users, name.p, name.n, user);
	return user;
}

static struct user *add_user(struct registry *r, struct slice name)
{
	struct user *user = calloc(1, sizeof(*user));

	if (user == NULL)
		return NULL;
	user->name = atom_get(name);
	if (user->name != NULL)
		HASH_ADD_KEYPTR(hh, r->users, user->name->text, user->name->len, user);
	if (HASH_HAS(user))
		return user;
	atom_unref(&user->name);
	free(user);
	return NULL;
}

struct user *registry_user(struct registry *r, struct slice name)
{
	struct user *user = registry_find_user(r, name);

	if (user != NULL)
		return user;
	user = add_user(r, name);
	if (user == NULL)
		return NULL;
	user->conf = conf_find_user(r->front.conf, name);
	cap_init(&user->cap);
	set_cap_of_user(r, user);
	if (!r->hooks.on_user(r->hooks.arg, user)) {
		free_user(r, user);
		return NULL;
	}
	return user;
}

static struct database_pool *add_pool(struct database *db, struct user *user)
{
	struct database_pool *dp = calloc(1, sizeof(*dp));

	if (dp == NULL)
		return NULL;
	dp->key = user;
	HASH_ADD_PTR(db->pools, key, dp);
	if (HASH_HAS(dp))
		return dp;
	free(dp);
	return NULL;
}

struct pool *registry_pool(struct registry *r, struct database *db, struct user *user)
{
	struct database_pool *dp;

	if (db->conf->user != NULL)
		user = registry_user(r, slice_of(db->conf->user));
	if (user == NULL)
		return NULL;
	HASH_FIND_PTR(db->pools, &user, dp);
	if (dp != NULL)
		return &dp->pool;
	dp = add_pool(db, user);
	if (dp == NULL)
		return NULL;
	pool_init(&dp->pool, db, user);
	in_use_join(&r->in_use, &dp->pool, clock_us());
	cap_join(&db->cap, &dp->pool, CAP_DATABASE);
	cap_join(&user->cap, &dp->pool, CAP_USER);
	cap_join(&r->cap, &dp->pool, CAP_ALL);
	TAILQ_INSERT_TAIL(&r->pools, dp, link);
	r->npools++;
	user->npools++;
	db->was_used = true;
	dp->pool.is_paused = db->is_paused;
	set_up_pool(r, &dp->pool);
	if (!r->hooks.on_pool(r->hooks.arg, &dp->pool)) {
		free_pool(r, dp);
		return NULL;
	}
	return &dp->pool;
}

static struct pool *pool_of(struct database_pool *dp)
{
	return dp == NULL ? NULL : &dp->pool;
}

struct pool *registry_pool_named(const struct registry *r, struct slice database, struct slice user)
{
	const struct database *db = find_database(r, database);
	struct user *key = registry_find_user(r, user);
	struct database_pool *dp = NULL;

	if (db != NULL && key != NULL)
		HASH_FIND_PTR(db->pools, &key, dp);
	return pool_of(dp);
}

struct pool *registry_find_pool(const struct registry *r, struct slice database, struct slice name)
{
	const struct database *db = registry_find_database(r, database);

	if (db == NULL)
		return NULL;
	return registry_pool_named(r, database, db->conf->user != NULL ? slice_of(db->conf->user) : name);
}

int64_t registry_user_setting(const struct registry *r, enum setting_id id, const struct user *user)
{
	return conf_effective(r->front.conf, id, NULL, user == NULL ? NULL : user->conf);
}

const char *database_server_name(const struct database *db)
{
	return db->conf->dbname != NULL ? db->conf->dbname : db->name->text;
}

struct database *registry_next_database(const struct registry *r, struct database *previous)
{
	return previous == NULL ? r->databases : previous->hh.next;
}

struct user *registry_next_user(const struct registry *r, struct user *previous)
{
	return previous == NULL ? r->users : previous->hh.next;
}

static struct database_pool *entry_of(struct pool *pool)
{
	return (struct database_pool *)((char *)pool - offsetof(struct database_pool, pool));
}

struct pool *registry_next_pool(const struct registry *r, struct pool *previous)
{
	return pool_of(previous == NULL ? TAILQ_FIRST(&r->pools) : TAILQ_NEXT(entry_of(previous), link));
}

struct pool *database_next_pool(const struct database *db, struct pool *previous)
{
	return pool_of(previous == NULL ? db->pools : entry_of(previous)->hh.next);
}

unsigned registry_pool_count(const struct registry *r)
{
	return r->npools;
}

void registry_drop_pool(struct registry *r, struct pool *pool)
{
	free_pool(r, entry_of(pool));
}

void registry_drop_user(struct registry *r, struct user *user)
{
	free_user(r, user);
}

void registry_turn_stats(struct registry *r)
{
	struct database_pool *dp;

	TAILQ_FOREACH(dp, &r->pools, link)
		stats_turn(&dp->pool.stats);
	for (struct database *db = r->databases; db != NULL; db = db->hh.next)
		stats_turn(&db->gone);
	stats_turn(&r->gone);
	r->turning = TAILQ_FIRST(&r->pools);
}

bool registry_turn_latency(struct registry *r, unsigned most)
{
	for (; r->turning != NULL && most > 0; most--) {
		pool_turn_latency(&r->turning->pool);
		r->turning = TAILQ_NEXT(r->turning, link);
	}
	return r->turning != NULL;
}

const struct stats_history *registry_gone_stats(const struct registry *r)
{
	return &r->gone;
}
