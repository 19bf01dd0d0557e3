#include "session/replication.h"

#include <strings.h>

#include "proto/msg.h"
#include "proto/startup.h"
#include "session/client_login.h"
#include "session/server.h"

const char *replication_word(enum replication kind)
{
	static const char *const words[] = {
#define X(name, word) [REPLICATION_##name] = word,
		REPLICATION_KINDS(X)
#undef X
	};

	return words[kind];
}

/* "t", "tr", "tru" are true, too. */
static bool is_start_of(struct slice value, const char *word, size_t least)
{
	return value.n >= least && value.n <= strlen(word) && strncasecmp(value.p, word, value.n) == 0;
}

static bool is_true(struct slice value)
{
	return is_start_of(value, "true", 1) || is_start_of(value, "yes", 1) || is_start_of(value, "on", 2) ||
	       slice_is(value, "1");
}

static bool is_false(struct slice value)
{
	return is_start_of(value, "false", 1) || is_start_of(value, "no", 1) || is_start_of(value, "off", 2) ||
	       slice_is(value, "0");
}

bool replication_parse(struct slice value, enum replication *kind)
{
	bool is_database = slice_is(value, "database");

	*kind = is_database ? REPLICATION_LOGICAL : is_true(value) ? REPLICATION_PHYSICAL : REPLICATION_NONE;
	return *kind != REPLICATION_NONE || is_false(value);
}

/* ------------------------------------------------------------------ its server */

struct client *replication_client(const struct server *s)
{
	struct client *c = slab_at(s->hub->clients, s->replica_index);

	return c == NULL || c->id != s->replica_id || c->state != CLIENT_AWAIT_WELCOME ? NULL : c;
}

static bool has_server_coming(const struct hub *hub, const struct client *c)
{
	const struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL)
		if (s->phase != SERVER_CLOSED && s->replica_id == c->id)
			return true;
	return false;
}

/* The first of those who wait for a login, if it is one that needs a server of its own. */
static struct client *next_client(const struct hub *hub, const struct pool *pool)
{
	struct pool_client *w;

	TAILQ_FOREACH(w, &pool->logins, link) {
		struct client *c = client_of_waiter(w);

		if (c->replication == REPLICATION_NONE)
			return NULL;
		if (!has_server_coming(hub, c))
			return c;
	}
	return NULL;
}

void replication_assign(struct server *s)
{
	const struct pool *pool = s->slot.pool;
	struct client *c;

	/* With this one. */
	if (pool->nwaiting >= pool->nservers[POOL_SERVER_NEW] + pool->nservers[POOL_SERVER_TESTED])
		return;
	c = next_client(s->hub, pool);
	if (c == NULL)
		return;
	s->replication = c->replication;
	s->replica_index = slab_index(s->hub->clients, c);
	s->replica_id = c->id;
}

/* What the pooler says for itself. */
static bool is_ours(struct slice name)
{
	return slice_is(name, "user") || slice_is(name, "database") || slice_is(name, "replication") ||
	       (name.n > 5 && memcmp(name.p, "_pq_.", 5) == 0);
}

void replication_add_params(const struct server *s, struct strbuf *out)
{
	const struct client *c = replication_client(s);
	struct slice name, value;
	struct cursor params;

	startup_add_param(out, SLICE_LIT("replication"),
			  s->replication == REPLICATION_LOGICAL ? SLICE_LIT("database") : SLICE_LIT("true"));
	if (c == NULL)
		return;
	params = cursor_of((const uint8_t *)c->login->startup.p, c->login->startup.n);
	while (startup_next_param(&params, &name, &value))
		if (!is_ours(name))
			startup_add_param(out, name, value);
}

void replication_begin(struct server *s, const struct strbuf *welcome)
{
	struct client *c = replication_client(s);
	struct pool *pool = s->slot.pool;

	if (c == NULL) {
		server_close(s, SERVER_END_REPLICATION_OVER);
		return;
	}
	s->phase = SERVER_READY;
	deadline_disarm(&s->deadline);
	pool_forget(&c->waiter);
	pool_server_enter(&s->slot, POOL_SERVER_ACTIVE);
	client_login_greet(c, welcome, s->params);
	if (c->state == CLIENT_CLOSED) {
		server_close(s, SERVER_END_REPLICATION_OVER);
		return;
	}
	server_link(s, c);
	conn_resume(&c->conn);
	/* Those behind it have waited for this login to end. */
	pool_session_fill(pool);
}

/* A walsender answers these with ReadyForQuery; the extended protocol it refuses, up to the Sync. */
void replication_note_sent(struct server *s, char type)
{
	if (type == 'Q' || type == 'S' || type == 'F')
		s->nreplica_owed++;
}

/* CopyBothResponse begins a stream; COPY in one direction is a base backup, or a table's rows. */
void replication_note_reply(struct server *s, const struct msg *m)
{
	if (m->type == 'W')
		s->is_streaming = true;
	if (m->type != 'Z' || m->len != 1)
		return;
	s->status = (char)m->body[0];
	s->is_streaming = false;
	if (s->nreplica_owed > 0)
		s->nreplica_owed--;
}

bool replication_is_at_rest(const struct server *s)
{
	return s->nreplica_owed == 0 && server_is_between_transactions(s);
}

bool replication_make_room(struct pool *pool)
{
	struct pool_server *slot = TAILQ_LAST(&pool->idle, pool_servers);

	if (slot == NULL || next_client(pool_session(pool)->hub, pool) == NULL)
		return false;
	server_destroy(server_of_slot(slot), SERVER_END_EVICTED_FOR_REPLICATION);
	return true;
}
