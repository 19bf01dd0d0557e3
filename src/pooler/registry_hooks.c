#include "pooler/registry_hooks.h"

#include "base/log.h"
#include "session/host_check.h"
#include "session/host_session.h"
#include "session/idle.h"
#include "session/pause.h"
#include "session/pool_sizes.h"
#include "session/server.h"
#include "session/sweep.h"
#include "session/timeouts.h"

static bool on_pool(void *arg, struct pool *pool)
{
	struct pooler *p = arg;

	if (!pool_session_set_up(&p->hub, pool))
		return false;
	host_checks_note(&p->hub, pool->database);
	pool->is_paused = pause_holds(&p->hub, pool->database);
	idle_pool_set_up(pool);
	pool_sizes_note(&p->hub, pool);
	return true;
}

static void on_pool_freed(void *arg, struct pool *pool)
{
	(void)arg;
	pool_session_free(pool);
	idle_user_note(pool->user);
}

void registry_hooks_host_gone(void *arg, struct host *host)
{
	(void)arg;
	host_session_free(host);
}

static bool on_user(void *arg, struct user *user)
{
	struct pooler *p = arg;

	if (!timeouts_set_up(&p->hub, user))
		return false;
	idle_user_set_up(user);
	return true;
}

static void on_user_freed(void *arg, struct user *user)
{
	(void)arg;
	timeouts_free(user);
}

static void on_database_changed(void *arg, struct database *db)
{
	struct pooler *p = arg;

	log_info("database %s: the server has changed, its connections will be replaced", db->name->text);
	sweep_retire_servers(&p->hub, db, SERVER_END_SERVER_REPLACED);
}

static void on_database_removed(void *arg, struct database *db)
{
	struct pooler *p = arg;

	log_info("database %s: removed from the configuration", db->name->text);
	sweep_remove_database(&p->hub, db);
}

static void on_auto_database(void *arg, struct database *db)
{
	struct pooler *p = arg;

	log_info("registered new auto-database: %s", db->name->text);
	timeouts_database_unused(&p->hub, db);
}

void registry_hooks_addresses_changed(void *arg, const char *host, const struct addr_any *addresses, size_t n)
{
	struct pooler *p = arg;

	sweep_retire_vanished(&p->hub, host, addresses, n);
}

struct registry_hooks registry_hooks_of(struct pooler *p)
{
	return (struct registry_hooks){.on_pool = on_pool,
				       .on_pool_freed = on_pool_freed,
				       .on_user = on_user,
				       .on_user_freed = on_user_freed,
				       .on_database_changed = on_database_changed,
				       .on_database_removed = on_database_removed,
				       .on_auto_database = on_auto_database,
				       .arg = p};
}
