#include "session/prepared.h"

#include <stdlib.h>

#include "session/prepared_put.h"

static bool set_up_client(struct client *c)
{
	struct prepared_client *pc;

	if (c->prepared != NULL)
		return true;
	pc = calloc(1, sizeof(*pc));
	if (pc == NULL)
		return false;
	pc->names = stmt_names_new(c->hub->stmts);
	if (pc->names == NULL) {
		free(pc);
		return false;
	}
	bound_portals_init(&pc->bound, c->hub->stmts);
	c->prepared = pc;
	return true;
}

static bool set_up_server(struct server *s)
{
	struct prepared_server *ps;

	if (s->prepared != NULL)
		return true;
	ps = calloc(1, sizeof(*ps));
	if (ps == NULL)
		return false;
	stmt_cache_init(&ps->cache, s->hub->stmts);
	stmt_ops_init(&ps->ops, s->hub->stmts);
	if (!stmt_ops_reserve(&ps->ops, PUT_OPS_MAX)) {
		free(ps);
		return false;
	}
	ps->batch_at = owed_next(&s->owed);
	s->prepared = ps;
	return true;
}

bool prepared_set_up_server(struct client *c)
{
	if (set_up_server(c->server))
		return true;
	server_close_with_client(c->server, CLOSE_OUT_OF_MEMORY, NULL);
	return false;
}

bool prepared_set_up(struct client *c)
{
	if (set_up_client(c) && set_up_server(c->server))
		return true;
	server_close_with_client(c->server, CLOSE_OUT_OF_MEMORY, NULL);
	return false;
}

void prepared_client_free(struct client *c)
{
	struct prepared_client *pc = c->prepared;

	if (pc == NULL)
		return;
	bound_portals_drop_all(&pc->bound);
	stmt_names_free(&pc->names);
	free(pc);
	c->prepared = NULL;
}

void prepared_server_free(struct server *s)
{
	struct prepared_server *ps = s->prepared;

	if (ps == NULL)
		return;
	stmt_ops_fini(&ps->ops);
	stmt_cache_fini(&ps->cache);
	free(ps);
	s->prepared = NULL;
}

void prepared_note_own(struct server *s)
{
	if (s->prepared != NULL)
		s->prepared->unnamed = 0;
}

void prepared_release(struct server *s, struct client *c)
{
	if (c != NULL && c->prepared != NULL)
		bound_portals_drop_all(&c->prepared->bound);
	if (s->prepared == NULL)
		return;
	s->prepared->is_client_waiting = s->prepared->is_batch_open = false;
	s->prepared->ahead.to = 0;
	s->prepared->replay = REPLAY_NONE;
}

size_t prepared_count_of_client(const struct client *c)
{
	return c->prepared == NULL ? 0 : stmt_names_count(c->prepared->names);
}

size_t prepared_memory_of_client(const struct client *c)
{
	return c->prepared == NULL ? 0 : stmt_names_memory(c->prepared->names);
}

size_t prepared_count_of_server(const struct server *s)
{
	return s->prepared == NULL ? 0 : stmt_cache_count(&s->prepared->cache);
}
