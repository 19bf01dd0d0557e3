#include "session/timeouts.h"

#include <stdlib.h>

#include "session/cancel_request.h"
#include "session/client.h"
#include "session/server.h"

static void on_client_idle(struct deadline *d)
{
	client_close((struct client *)((char *)d - offsetof(struct client, deadline)), CLOSE_CLIENT_IDLE_TIMEOUT);
}

/* A client that has left by Terminate has left its query, and this, behind. */
static void end(struct server *s, enum close_reason why)
{
	if (s->client != NULL)
		server_close_with_client(s, why, NULL);
	else
		server_close(s, server_end_of(why));
}

/* A query that runs on would hold locks and burn its server: it is cancelled, not only abandoned. */
static void on_query(struct deadline *d)
{
	struct server *s = (struct server *)((char *)d - offsetof(struct server, query_deadline));

	cancel_request_send(s);
	end(s, CLOSE_QUERY_TIMEOUT);
}

static void on_idle_transaction(struct deadline *d)
{
	struct server *s = (struct server *)((char *)d - offsetof(struct server, query_deadline));

	server_close_with_client(s, CLOSE_IDLE_TRANSACTION_TIMEOUT, NULL);
}

static void on_transaction(struct deadline *d)
{
	struct server *s = (struct server *)((char *)d - offsetof(struct server, xact_deadline));

	if (s->query_at != 0)
		cancel_request_send(s);
	end(s, CLOSE_TRANSACTION_TIMEOUT);
}

static struct deadline_list *list_for(struct hub *hub, const struct user *user, enum setting_id id, deadline_fn *fn)
{
	int64_t span = registry_user_setting(hub->registry, id, user);

	return span <= 0 ? NULL : deadline_list(hub->loop, (uint64_t)span, fn);
}

bool timeouts_set_up(struct hub *hub, struct user *user)
{
	struct timeouts *t = user->session;

	if (t == NULL)
		t = user->session = calloc(1, sizeof(*t));
	if (t == NULL)
		return false;
	t->user = user;
	t->hub = hub;
	deadline_keep(&t->client_idle, list_for(hub, user, SETTING_client_idle_timeout, on_client_idle));
	deadline_keep(&t->query, list_for(hub, user, SETTING_query_timeout, on_query));
	deadline_keep(&t->idle_transaction, list_for(hub, user, SETTING_idle_transaction_timeout, on_idle_transaction));
	deadline_keep(&t->transaction, list_for(hub, user, SETTING_transaction_timeout, on_transaction));
	return true;
}

void timeouts_free(struct user *user)
{
	struct timeouts *t = user->session;

	if (t == NULL)
		return;
	deadline_disarm(&t->unused_deadline);
	deadline_keep(&t->client_idle, NULL);
	deadline_keep(&t->query, NULL);
	deadline_keep(&t->idle_transaction, NULL);
	deadline_keep(&t->transaction, NULL);
	deadline_keep(&t->unused, NULL);
	free(t);
	user->session = NULL;
}

/* ------------------------------------------------------------------ automatic databases */

/* What is kept for those who come back is bounded: of more than so many, the one goes that has been unused longest. */
#define IN_DISUSE_MAX 1000

static unsigned server_count(const struct database *db)
{
	unsigned n = 0;

	for (struct pool *pool = database_next_pool(db, NULL); pool != NULL; pool = database_next_pool(db, pool))
		n += pool_server_count(pool);
	return n;
}

/* Its servers go by their own timeouts; what an administrator has said about it is not to be forgotten. */
static bool may_go(const struct database *db)
{
	return db->nclients == 0 && server_count(db) == 0 && !db->is_disabled && !db->is_paused;
}

static void leave_disuse(struct hub *hub, struct database *db)
{
	if (!db->is_in_disuse)
		return;
	TAILQ_REMOVE(&hub->in_disuse, db, in_disuse);
	db->is_in_disuse = false;
	hub->nin_disuse--;
}

static void on_database_unused(struct deadline *d)
{
	struct database *db = (struct database *)((char *)d - offsetof(struct database, unused));
	struct hub *hub = db->session;

	if (!may_go(db)) {
		timeouts_database_unused(hub, db);
		return;
	}
	log_info("dropping auto-database '%s' as inactive", db->name->text);
	leave_disuse(hub, db);
	registry_drop_database(hub->registry, db);
}

/* Some user has logged in to a server there. */
static bool is_known(const struct database *db)
{
	for (struct pool *pool = database_next_pool(db, NULL); pool != NULL; pool = database_next_pool(db, pool))
		if (pool->is_known)
			return true;
	return false;
}

/*
 * NULL: it is kept for ever. A name that no server knows is kept for as long
 * as its refusal holds.
 */
static struct deadline_list *unused_list(struct hub *hub, const struct database *db)
{
	const struct settings *s = hub_settings(hub);
	int64_t span = s->autodb_idle_timeout;

	if (!db->is_auto || db->is_dead)
		return NULL;
	if (!is_known(db) && s->server_login_retry > 0 && (span == 0 || span > s->server_login_retry))
		span = s->server_login_retry;
	return deadline_list_unless_0(hub->loop, (uint64_t)span, on_database_unused);
}

/* In the next turn of the loop: who calls may be going from database to database. */
static void drop_oldest(struct hub *hub)
{
	struct database *db = TAILQ_FIRST(&hub->in_disuse);

	leave_disuse(hub, db);
	deadline_arm(&db->unused, deadline_list(hub->loop, 1, on_database_unused));
}

void timeouts_database_unused(struct hub *hub, struct database *db)
{
	db->session = hub;
	deadline_arm(&db->unused, unused_list(hub, db));
	if (!db->is_auto || db->is_dead || db->is_in_disuse || !may_go(db))
		return;
	TAILQ_INSERT_TAIL(&hub->in_disuse, db, in_disuse);
	db->is_in_disuse = true;
	if (++hub->nin_disuse > IN_DISUSE_MAX)
		drop_oldest(hub);
}

void timeouts_database_used(struct hub *hub, struct database *db)
{
	leave_disuse(hub, db);
	deadline_disarm(&db->unused);
}

/* ------------------------------------------------------------------ queries and transactions */

void timeouts_query_begins(struct server *s)
{
	const struct timeouts *t = timeouts_of(s->client->user);

	if (t->query != NULL || deadline_is_armed(&s->query_deadline))
		deadline_arm(&s->query_deadline, t->query);
	if (t->transaction != NULL && !deadline_is_armed(&s->xact_deadline))
		deadline_arm(&s->xact_deadline, t->transaction);
}

void timeouts_next_query_begins(struct server *s)
{
	if (s->status == 'I')
		deadline_disarm(&s->xact_deadline);
	timeouts_query_begins(s);
}

void timeouts_query_ends(struct server *s)
{
	const struct timeouts *t = timeouts_of(s->client->user);

	if (s->status == 'I') {
		deadline_disarm(&s->query_deadline);
		deadline_disarm(&s->xact_deadline);
	} else if (t->idle_transaction != NULL || deadline_is_armed(&s->query_deadline)) {
		deadline_arm(&s->query_deadline, t->idle_transaction);
	}
}

/* What the client sends next is a query that begins. */
void timeouts_rest(struct server *s)
{
	const struct timeouts *t = timeouts_of(s->client->user);

	if (t->idle_transaction == NULL)
		return;
	s->query_at = 0;
	deadline_renew(&s->query_deadline, t->idle_transaction);
}

/* ------------------------------------------------------------------ reload */

/* The list for what a server is at: a query, or waiting for the rest of a transaction. */
static struct deadline_list *list_for_now(const struct server *s, const struct timeouts *t)
{
	if (s->query_at != 0)
		return t->query;
	return s->status == 'I' && owed_is_clear(&s->owed) ? NULL : t->idle_transaction;
}

static void renew_server(struct server *s)
{
	server_renew_deadline(s);
	if (s->client == NULL)
		return;
	deadline_renew(&s->query_deadline, list_for_now(s, timeouts_of(s->client->user)));
	deadline_renew(&s->xact_deadline, s->xact_at == 0 ? NULL : timeouts_of(s->client->user)->transaction);
}

/* It may have become automatic now, or have been written into the file. */
static void renew_database(struct hub *hub, struct database *db)
{
	if (db->is_dead || !db->is_auto)
		leave_disuse(hub, db);
	if (db->is_dead)
		return;
	db->session = hub;
	deadline_renew(&db->unused, db->nclients > 0 ? NULL : unused_list(hub, db));
}

void timeouts_renew(struct hub *hub)
{
	struct registry *r = hub->registry;
	struct client *c;
	struct server *s;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (c->state != CLIENT_CLOSED)
			client_renew_deadline(c);
	i = 0;
	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED)
			renew_server(s);
	for (struct database *db = registry_next_database(r, NULL); db != NULL; db = registry_next_database(r, db))
		renew_database(hub, db);
}
