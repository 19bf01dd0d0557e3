#include "session/idle.h"

#include "session/server.h"
#include "session/timeouts.h"

static struct deadline_list *list_of(const struct hub *hub, deadline_fn *fn)
{
	return deadline_list_unless_0(hub->loop, (uint64_t)hub_settings(hub)->pool_idle_timeout, fn);
}

/* ------------------------------------------------------------------ pools */

static bool has_clients(const struct pool *pool)
{
	return pool->nclients + pool->nlogins > 0;
}

/* Wanted by the configuration, not by clients. */
static bool is_wanted_anyway(const struct pool *pool)
{
	return pool->settings.is_forced_user && pool->settings.min_size > 0;
}

/* server_idle_timeout leaves the minimum alone. */
static void close_minimum(struct pool *pool)
{
	struct pool_server *slot;

	pool->is_known = false;
	while (pool->settings.min_size > 0 && (slot = TAILQ_FIRST(&pool->idle)) != NULL)
		server_close(server_of_slot(slot), SERVER_END_POOL_IDLE);
}

static bool may_go(const struct pool *pool)
{
	/* Once the pause is over it may be wanted again, and its welcome lets clients in meanwhile. */
	return pool_server_count(pool) == 0 && !pool->is_paused && pool_session(pool)->renewal == NULL;
}

static void on_pool_idle(struct deadline *d)
{
	struct pool_session *ps = (struct pool_session *)((char *)d - offsetof(struct pool_session, idle_deadline));
	struct pool *pool = ps->pool;

	if (has_clients(pool) || is_wanted_anyway(pool))
		return;
	if (!pool->is_paused)
		close_minimum(pool);
	if (!may_go(pool)) {
		deadline_arm(d, ps->pool_idle);
		return;
	}
	log_info("dropping pool '%s/%s' as inactive", pool->database->name->text, pool->user->name->text);
	registry_drop_pool(ps->hub->registry, pool);
}

void idle_pool_set_up(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);

	deadline_keep(&ps->pool_idle, list_of(ps->hub, on_pool_idle));
	if (ps->idle_deadline.list != ps->pool_idle)
		idle_pool_note(pool);
}

void idle_pool_note(struct pool *pool)
{
	struct pool_session *ps = pool_session(pool);

	if (!has_clients(pool))
		deadline_arm(&ps->idle_deadline, ps->pool_idle);
}

/* ------------------------------------------------------------------ users */

static bool is_known_otherwise(const struct user *user)
{
	return user->nclients + user->npools > 0 || user->conf != NULL;
}

static void on_user_idle(struct deadline *d)
{
	struct timeouts *t = (struct timeouts *)((char *)d - offsetof(struct timeouts, unused_deadline));

	if (!is_known_otherwise(t->user))
		registry_drop_user(t->hub->registry, t->user);
}

void idle_user_set_up(struct user *user)
{
	struct timeouts *t = user->session;

	deadline_keep(&t->unused, list_of(t->hub, on_user_idle));
	if (t->unused_deadline.list != t->unused)
		idle_user_note(user);
}

void idle_user_note(struct user *user)
{
	struct timeouts *t = user->session;

	if (!is_known_otherwise(user))
		deadline_arm(&t->unused_deadline, t->unused);
}
