/*
 * PREPARE, EXECUTE and DEALLOCATE of tracked clients, as simple queries and as
 * texts of Parse: their names become those of the registry. What such a text
 * means shows when it runs, so a parsed one is parsed again, with the other
 * name in it, when it is bound.
 */
#include "session/prepared_put.h"
#include "session/prepared_request.h"

#include "proto/out.h"

/* The other name stands in quotes, for the client's may have, and touch the words around it. */
#define QUOTES 2

/* The name in a text that is exchanged for another. */
struct exchange {
	struct slice name;       /* the one on the server */
	struct stmt *stmt;       /* whose it is, or */
	const char *alias;       /* what it is; NULL with `stmt` */
	bool is_change;          /* PREPARE of a name that is free, DEALLOCATE of one that is there */
};

static struct exchange for_alias(const char *alias)
{
	return (struct exchange){.name = slice_of(alias), .alias = alias};
}

static struct exchange for_stmt(struct stmt *stmt)
{
	return (struct exchange){.name = stmt_name(stmt), .stmt = stmt};
}

static bool is_for_all(enum sql_verb verb)
{
	return verb == SQL_DEALLOCATE_ALL || verb == SQL_DISCARD_ALL;
}

static struct slice sql_name(const struct sql *sql)
{
	return (struct slice){sql->name, sql->name_len};
}

/* Characters, as the server counts them in UTF-8 and in encodings of one byte alike as long as they are ASCII. */
static uint32_t characters(struct slice text)
{
	uint32_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	return n;
}

static uint32_t name_begins_at(const char *text, const struct sql *sql)
{
	return characters((struct slice){text, sql->name_at});
}

/* How many characters more there are with the other name. */
static int32_t name_shift(const char *text, const struct sql *sql, struct slice name)
{
	const struct slice clients = {text + sql->name_at, sql->name_end - sql->name_at};

	return (int32_t)name.n + QUOTES - (int32_t)characters(clients);
}

/* PREPARE: the text behind the name, which with it makes the statement anew on another server. */
static struct stmt *prepared_by(struct request_pass *pass, const char *text, const struct sql *sql)
{
	struct stmt *stmt = stmts_get(pass->client->hub->stmts, client_pool(pass->client), STMT_SQL,
				      (struct slice){text + sql->name_end, sql->end - sql->name_end});

	if (stmt == NULL)
		pass->has_failed = true;
	return stmt;
}

/* ------------------------------------------------------------------ what has to be there before */

/*
 * Before a PREPARE of a name that is free: the server must not have the
 * statement. It is made by the text itself, so that the server judges that.
 */
static enum prepared_verdict clear_the_way(struct request_pass *pass, struct stmt *stmt)
{
	struct prepared_server *ps = pass->client->server->prepared;

	if (stmt_ops_is_uncertain(&ps->ops, stmt, NULL))
		return PREPARED_WAIT;
	if (stmt_cache_look(&ps->cache, stmt) == STMT_ABSENT && !ps->is_doubtful)
		return prepared_make_room(pass);
	prepared_put_close(pass, stmt);
	return PREPARED_FORWARD;
}

/*
 * Makes what the statement needs on the server, and finds what its name is to
 * become there. x->name.p stays NULL if the text may pass as it is.
 */
static enum prepared_verdict make_way(struct request_pass *pass, const char *text, const struct sql *sql,
				      struct exchange *x)
{
	const struct stmt_named *named;
	enum prepared_verdict verdict = prepared_look_up(pass, sql_name(sql), &named);

	if (verdict == PREPARED_WAIT)
		return verdict;
	if (sql->verb == SQL_PREPARE && named == NULL && prepared_refusal(pass->client, sql->end) != NULL) {
		*x = for_alias(prepared_refusal(pass->client, sql->end));
		prepared_put_alias(pass, x->alias);
		return PREPARED_FORWARD;
	}
	if (sql->verb == SQL_PREPARE && named == NULL) {
		struct stmt *stmt = prepared_by(pass, text, sql);

		if (stmt == NULL)
			return PREPARED_FORWARD;
		*x = for_stmt(stmt);
		x->is_change = true;
		return clear_the_way(pass, stmt);
	}
	if (named == NULL) {
		if (prepared_is_guarded(sql_name(sql)))
			*x = for_alias(ALIAS_UNKNOWN);
		return PREPARED_FORWARD;
	}
	if (sql->verb == SQL_EXECUTE) {
		*x = for_stmt(stmt_ref(named->stmt));
		return prepared_ensure(pass, named->stmt);
	}
	*x = for_alias(sql->verb == SQL_PREPARE ? ALIAS_TAKEN : ALIAS_DROPPED);
	x->is_change = sql->verb == SQL_DEALLOCATE;
	prepared_put_alias(pass, x->alias);
	return PREPARED_FORWARD;
}

/* ------------------------------------------------------------------ simple queries */

/* The query with the other name in it. */
static void put_query(struct request_pass *pass, const struct msg *m, const struct sql *sql, struct slice name)
{
	const char *text = (const char *)m->body;
	char room[MSG_HEADER_SIZE + 1];
	struct strbuf b;

	strbuf_init_fixed(&b, room, sizeof(room));
	strbuf_add_char(&b, 'Q');
	out_u32(&b, (uint32_t)(4 + m->len - (sql->name_end - sql->name_at) + name.n + QUOTES));
	pass_put_slice(pass, strbuf_slice(&b));
	pass_put(pass, text, sql->name_at);
	pass_put(pass, "\"", 1);
	pass_put_slice(pass, name);
	pass_put(pass, "\"", 1);
	pass_put(pass, text + sql->name_end, m->len - sql->name_end);
	pass_skip(pass, MSG_HEADER_SIZE + m->len);
}

/* What a PREPARE or DEALLOCATE changes if it succeeds. */
static void note_change(struct request_pass *pass, uint64_t index, struct slice name, struct stmt *stmt, bool is_query)
{
	struct stmt_cache *cache = &pass->client->server->prepared->cache;

	if (stmt != NULL && stmt_cache_look(cache, stmt) == STMT_ABSENT)
		prepared_put_has(pass, index, stmt)->is_query = is_query;
	prepared_put_name(pass, index, name, stmt)->is_query = is_query;
}

/* What errors are to say in the place of the other name. */
static void note_spelling(struct request_pass *pass, struct stmt_op *op, const char *text, const struct sql *sql,
			  const struct exchange *x)
{
	op->stmt = x->stmt == NULL ? NULL : stmt_ref(x->stmt);
	op->alias = x->alias;
	op->name = prepared_spelling(pass, sql_name(sql));
	op->at = name_begins_at(text, sql);
	op->shift = name_shift(text, sql, x->name);
}

static void put_exchanged(struct request_pass *pass, const struct msg *m, const struct sql *sql,
			  const struct exchange *x)
{
	const char *text = (const char *)m->body;
	uint64_t index = prepared_put_note(pass, 'Q');
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_REPLY, index);

	op->is_query = true;
	op->is_use = sql->verb == SQL_EXECUTE && x->stmt != NULL;
	note_spelling(pass, op, text, sql, x);
	if (x->is_change)
		note_change(pass, index, sql_name(sql), x->stmt, true);
	put_query(pass, m, sql, x->name);
}

static enum prepared_verdict query_all(struct request_pass *pass)
{
	struct client *c = pass->client;

	if (stmt_ops_has_earlier_changes(&c->server->prepared->ops))
		return PREPARED_WAIT;
	prepared_put_all_lost(pass, owed_next(&c->server->owed));
	stmt_ops_at(&c->server->prepared->ops, c->server->prepared->ops.n - 1)->is_query = true;
	return PREPARED_FORWARD;
}

/*
 * Where a batch is open no Sync may be put between it and the query, so that an
 * error in what was put ahead would have the server skip the query: nobody would
 * answer it. It waits until all that has been answered.
 */
static enum prepared_verdict wait_for_ahead(struct request_pass *pass, uint64_t from)
{
	const struct server *s = pass->client->server;

	prepared_put_flush(pass);
	s->prepared->ahead.from = from;
	s->prepared->ahead.to = owed_next(&s->owed);
	s->prepared->ahead.has_failed = false;
	return PREPARED_WAIT;
}

enum prepared_verdict prepared_sql_query_again(struct request_pass *pass, const struct msg *m)
{
	const struct server *s = pass->client->server;

	if (s->owed.first < s->prepared->ahead.to)
		return PREPARED_WAIT;
	s->prepared->ahead.to = 0;
	if (!s->prepared->ahead.has_failed)
		return PREPARED_FORWARD;
	/* The client has had the error as that of its query, which a Sync ends as well as its own end would. */
	prepared_put_clients_sync(pass);
	pass_skip(pass, MSG_HEADER_SIZE + m->len);
	return PREPARED_TAKEN;
}

enum prepared_verdict prepared_sql_query(struct request_pass *pass, const struct msg *m, const struct sql *sql)
{
	struct client *c = pass->client;
	struct owed *owed = &c->server->owed;
	uint64_t before = owed_next(owed);
	struct exchange x = {.stmt = NULL};
	enum prepared_verdict verdict;
	bool is_batch_open;

	if (!prepared_set_up(c))
		return PREPARED_GONE;
	if (is_for_all(sql->verb))
		return query_all(pass);
	/* A Sync would commit what is there. */
	is_batch_open = c->server->prepared->is_batch_open;
	verdict = make_way(pass, (const char *)m->body, sql, &x);
	if (owed_next(owed) != before && !is_batch_open)
		prepared_put_sync(pass);
	else if (owed_next(owed) != before && sql->verb == SQL_EXECUTE && verdict == PREPARED_FORWARD)
		verdict = wait_for_ahead(pass, before);
	if (verdict == PREPARED_FORWARD && x.name.p != NULL) {
		put_exchanged(pass, m, sql, &x);
		verdict = PREPARED_TAKEN;
	}
	stmt_unref(c->hub->stmts, &x.stmt);
	return verdict;
}

/* ------------------------------------------------------------------ Bind and Execute */

/* What the text of a portal is sent as. */
static void note_sent_as(struct request_pass *pass, struct bound_portal *p, const char *text, const struct sql *sql,
			 const struct exchange *x)
{
	p->is_change = x->is_change;
	p->stmt = x->stmt == NULL ? NULL : stmt_ref(x->stmt);
	p->alias = x->alias;
	p->clients = prepared_spelling(pass, sql_name(sql));
	if (x->name.p != NULL) {
		p->at = name_begins_at(text, sql);
		p->shift = name_shift(text, sql, x->name);
	}
	p->nchanges = pass->client->server->prepared->ops.nmade;
}

/* It counts when the portal is executed. */
static void remember(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
		     struct stmt *command, const struct sql *sql, const struct exchange *x)
{
	const struct slice rest = {(const char *)m->body + h->size, m->have == m->len ? m->len - h->size : 0};
	bool is_lost;
	struct bound_portal *p = bound_portals_put(&pass->client->prepared->bound, h->portal, rest, &is_lost);

	/* What nobody takes note of may leave more on the server than we know. */
	if (is_lost || h->portal.n > BOUND_NAME_MAX)
		pass->client->server->prepared->is_doubtful = true;
	if (p == NULL) {
		pass->has_failed |= h->portal.n <= BOUND_NAME_MAX;
		return;
	}
	p->command = stmt_ref(command);
	p->verb = sql->verb;
	note_sent_as(pass, p, stmt_text(command).p, sql, x);
}

/* The text with the other name, as a statement of its own. */
static void put_run(struct request_pass *pass, struct slice text, const struct sql *sql, const struct exchange *x)
{
	const struct slice pieces[] = {{text.p, sql->name_at},
				       SLICE_LIT("\""),
				       x->name,
				       SLICE_LIT("\""),
				       {text.p + sql->name_end, text.n - sql->name_end}};
	struct stmt_op *op = prepared_put_text(pass, ALIAS_RUN, pieces, sizeof(pieces) / sizeof(pieces[0]));

	note_spelling(pass, op, text.p, sql, x);
}

enum prepared_verdict prepared_sql_use(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				       const struct stmt_named *named)
{
	struct stmts *all = pass->client->hub->stmts;
	struct stmt *held = stmt_ref(named->stmt);
	const struct slice text = stmt_text(held);
	struct exchange x = {.stmt = NULL};
	enum prepared_verdict verdict = PREPARED_FORWARD;
	struct sql sql;

	sql_read(text, &sql);
	if (!is_for_all(sql.verb))
		verdict = make_way(pass, text.p, &sql, &x);
	if (verdict == PREPARED_FORWARD && m->type == 'B')
		remember(pass, m, h, held, &sql, &x);
	if (verdict == PREPARED_FORWARD && x.name.p != NULL) {
		put_run(pass, text, &sql, &x);
		verdict = prepared_put_as(pass, m, h, ALIAS_RUN);
	}
	stmt_unref(all, &x.stmt);
	stmt_unref(all, &held);
	return verdict;
}

/*
 * Since the portal was bound something has changed of what clients and servers
 * have: what its text is to be sent as is found once more, and it is bound to
 * that. PREPARED_WAIT: that hangs on what has not been answered yet.
 */
static enum prepared_verdict bind_anew(struct request_pass *pass, struct bound_portal *p)
{
	const struct slice text = stmt_text(p->command), rest = {(const char *)p->rest, p->nrest};
	struct exchange x = {.stmt = NULL};
	enum prepared_verdict verdict;
	struct sql sql;

	sql_read(text, &sql);
	verdict = make_way(pass, text.p, &sql, &x);
	if (verdict == PREPARED_FORWARD) {
		if (x.name.p != NULL)
			put_run(pass, text, &sql, &x);
		else
			prepared_put_text(pass, ALIAS_RUN, &text, 1);
		prepared_put_bind_anew(pass, atom_slice(p->name), ALIAS_RUN, rest);
		bound_portal_clear(&pass->client->prepared->bound, p);
		note_sent_as(pass, p, text.p, &sql, &x);
	}
	stmt_unref(pass->client->hub->stmts, &x.stmt);
	return verdict;
}

static void note_execute(struct request_pass *pass, const struct bound_portal *p)
{
	uint64_t index = owed_next(&pass->client->server->owed);
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_REPLY, index);

	op->stmt = p->stmt == NULL ? NULL : stmt_ref(p->stmt);
	op->alias = p->alias;
	op->name = p->clients == NULL ? NULL : atom_ref(p->clients);
	op->at = p->at;
	op->shift = p->shift;
	if (p->is_change && p->clients != NULL)
		note_change(pass, index, atom_slice(p->clients), p->stmt, false);
}

void prepared_sql_rebind(struct request_pass *pass, const struct prepare_head *h)
{
	struct prepared_client *pc = pass->client->prepared;
	struct bound_portal *p = pc == NULL ? NULL : bound_portals_find(&pc->bound, h->portal);

	if (p != NULL)
		bound_portals_drop(&pc->bound, p);
}

static enum prepared_verdict execute_for_all(struct request_pass *pass)
{
	const struct server *s = pass->client->server;

	if (stmt_ops_has_earlier_changes(&s->prepared->ops))
		return PREPARED_WAIT;
	prepared_put_all_lost(pass, owed_next(&s->owed));
	return PREPARED_FORWARD;
}

static enum prepared_verdict execute_for_one(struct request_pass *pass, struct bound_portal *p)
{
	bool is_outdated = p->nrest > 0 && p->nchanges != pass->client->server->prepared->ops.nmade;

	if (is_outdated && bind_anew(pass, p) == PREPARED_WAIT)
		return PREPARED_WAIT;
	note_execute(pass, p);
	return PREPARED_FORWARD;
}

enum prepared_verdict prepared_sql_execute(struct request_pass *pass, const struct msg *m)
{
	struct bound_portals *bound = &pass->client->prepared->bound;
	struct cursor body = msg_cursor(m);
	struct slice portal = cursor_string(&body);
	struct bound_portal *p = body.bad ? NULL : bound_portals_find(bound, portal);
	enum prepared_verdict verdict;

	if (p == NULL)
		return PREPARED_FORWARD;
	verdict = is_for_all(p->verb) ? execute_for_all(pass) : execute_for_one(pass, p);
	if (verdict == PREPARED_FORWARD)
		bound_portals_drop(bound, p);
	return verdict;
}
