/*
 * What tracked clients send: Parse, Bind, Describe, Close with their own names
 * of statements, which become those of the registry.
 */
#include "session/prepared_request.h"

#include "base/clock.h"
#include "session/prepared_put.h"

/* A Parse is kept whole, to be sent to other servers. */
#define PARSE_MAX ((uint32_t)64 * 1024 * 1024)

/* An unnamed Parse is waited for up to this length; a longer one passes as it comes. */
#define UNNAMED_PARSE_MAX ((uint32_t)64 * 1024)

/* PostgreSQL takes names of any length, and cuts them. */
#define HEAD_MAX ((uint32_t)4 * 1024 * 1024)

static bool caches_unnamed(const struct client *c)
{
	return hub_settings(c->hub)->prepared_unnamed == PREPARED_UNNAMED_CACHE;
}

/* Whether a message is known by its head alone. */
static bool has_head(char type)
{
	return type == 'P' || type == 'B' || type == 'D' || type == 'C';
}

/* The text of a Parse, as far as it is here. */
static struct slice text_of(const struct msg *m, const struct prepare_head *h)
{
	return (struct slice){(const char *)m->body + h->size, m->have - h->size};
}

static bool parse_is_needed_whole(const struct client *c, const struct msg *m, const struct prepare_head *h)
{
	struct slice text = text_of(m, h);

	return h->statement.n > 0 || caches_unnamed(c) || m->len <= UNNAMED_PARSE_MAX || sql_is_candidate(text.p, text.n);
}

static bool is_within(const struct msg *m, uint32_t max)
{
	return m->len <= max;
}

bool prepared_can_read(const struct client *c, const struct msg *m)
{
	struct prepare_head h;

	if (m->have == m->len)
		return true;
	if (m->type == 'Q')
		return !is_within(m, PARSE_MAX) || !sql_is_candidate((const char *)m->body, m->have);
	if (!has_head(m->type))
		return true;
	/* Of a name without end the server may think what it likes. */
	if (prepare_read(m, &h) == PEEK_SHORT)
		return m->have > HEAD_MAX;
	return m->type != 'P' || !is_within(m, PARSE_MAX) || !parse_is_needed_whole(c, m, &h);
}

/* ------------------------------------------------------------------ names */

enum prepared_verdict prepared_look_up(struct request_pass *pass, struct slice name, const struct stmt_named **named)
{
	struct client *c = pass->client;
	struct slice cut = {name.p, name.n < STMT_CLIENT_NAME_MAX ? name.n : STMT_CLIENT_NAME_MAX};
	struct prepared_server *ps = c->server->prepared;

	*named = c->prepared == NULL ? NULL : stmt_names_find(c->prepared->names, name);
	if (ps == NULL || ps->ops.nchanges == ps->ops.nchanges_now)
		return PREPARED_FORWARD;
	/* An operation that has taken the name away still holds its atom. */
	return stmt_ops_is_uncertain(&ps->ops, NULL, atom_find(cut)) ? PREPARED_WAIT : PREPARED_FORWARD;
}

bool prepared_is_guarded(struct slice name)
{
	return name.n >= sizeof(STMT_NAME_PREFIX) - 1 &&
	       memcmp(name.p, STMT_NAME_PREFIX, sizeof(STMT_NAME_PREFIX) - 1) == 0;
}

struct atom *prepared_spelling(struct request_pass *pass, struct slice name)
{
	struct atom *a = atom_get(name);

	if (a == NULL)
		pass->has_failed = true;
	return a;
}

/* ------------------------------------------------------------------ rewriting */

/* The message goes with another name of its statement; the rest of it as it is. */
static void put_head(struct request_pass *pass, const struct msg *m, const struct prepare_head *h, struct slice name)
{
	/* The portal's name may be of any length. */
	uint8_t room[256];
	struct strbuf b;

	if (h->portal.n + name.n + 32 <= sizeof(room))
		strbuf_init_fixed(&b, (char *)room, sizeof(room));
	else
		strbuf_init(&b);
	prepare_out_head(&b, m, h, name);
	pass->has_failed |= b.failed;
	if (!b.failed)
		pass_put_slice(pass, strbuf_slice(&b));
	if (!b.fixed)
		strbuf_fini(&b);
	pass_skip(pass, MSG_HEADER_SIZE + h->size);
	pass->client->remain = m->len - h->size;
}

/* Nothing of the client's message goes to the server: what was put stands for it. */
static void skip_whole(struct request_pass *pass, const struct msg *m)
{
	pass_skip(pass, MSG_HEADER_SIZE + m->len);
}

/* With a name that is no statement's: the server refuses it, and the client hears of it by its own name. */
static enum prepared_verdict put_unknown(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	struct stmt_op *op;

	if (!prepared_set_up_server(pass->client))
		return PREPARED_GONE;
	op = prepared_put_op(pass, STMT_OP_REPLY, prepared_put_note(pass, m->type));
	op->alias = ALIAS_UNKNOWN;
	op->name = prepared_spelling(pass, h->statement);
	put_head(pass, m, h, SLICE_LIT(ALIAS_UNKNOWN));
	return PREPARED_TAKEN;
}

/* A name that means nothing to us: the server knows what to say of it. */
static enum prepared_verdict pass_unknown(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	return prepared_is_guarded(h->statement) ? put_unknown(pass, m, h) : PREPARED_FORWARD;
}

/* ------------------------------------------------------------------ Parse */

/* What was exchanged in the text, for the errors that speak of it. */
static void note_exchange(struct request_pass *pass, uint64_t index, const struct parse_text *text)
{
	struct stmt_op *op;

	if (text->alias == NULL && text->stmt == NULL)
		return;
	op = prepared_put_op(pass, STMT_OP_REPLY, index);
	op->alias = text->alias;
	op->stmt = text->stmt == NULL ? NULL : stmt_ref(text->stmt);
	op->name = prepared_spelling(pass, text->name);
	op->at = text->at;
	op->shift = text->shift;
}

/* A Parse by this name; the text from the client's bytes where they are the same. */
static void put_parse(struct request_pass *pass, const struct msg *m, const struct prepare_head *h, struct slice name,
		      const struct parse_text *text)
{
	uint8_t room[64];
	struct strbuf b;

	if ((const uint8_t *)text->rest.p == m->body + h->size) {
		put_head(pass, m, h, name);
		return;
	}
	strbuf_init_fixed(&b, (char *)room, sizeof(room));
	prepare_out_parse_head(&b, name, text->rest.n);
	pass_put_slice(pass, strbuf_slice(&b));
	pass_put_slice(pass, text->rest);
	skip_whole(pass, m);
}

/* The name is in use: the server refuses it, after a look at the text, as it would the client's own. */
static enum prepared_verdict put_taken(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				       const struct parse_text *text)
{
	struct stmt_op *op;
	uint64_t index;

	prepared_put_alias(pass, ALIAS_TAKEN);
	index = prepared_put_note(pass, 'P');
	op = prepared_put_op(pass, STMT_OP_REPLY, index);
	op->alias = ALIAS_TAKEN;
	op->name = prepared_spelling(pass, h->statement);
	note_exchange(pass, index, text);
	put_parse(pass, m, h, SLICE_LIT(ALIAS_TAKEN), text);
	return PREPARED_TAKEN;
}

/*
 * Whether the server would take any Parse. In a failed transaction it takes
 * few; and while an earlier batch is not answered, who knows.
 */
static bool is_surely_sound(const struct server *s)
{
	return s->status != 'E' && s->owed.first >= s->prepared->batch_at;
}

static void put_parsed(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
		       const struct parse_text *text, struct stmt *stmt)
{
	uint64_t index = prepared_put_note(pass, 'P');
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_SERVER_HAS, index);

	op->stmt = stmt_ref(stmt);
	op->version = stmt->version;
	if (!stmt_cache_add(&pass->client->server->prepared->cache, stmt, stmt->version, clock_us()))
		pass->has_failed = true;
	client_pool(pass->client)->stats.now.server_parse_count++;
	prepared_put_name(pass, index, h->statement, stmt);
	note_exchange(pass, index, text);
	put_parse(pass, m, h, stmt_name(stmt), text);
}

/* The client gives a statement a name that is free. */
static enum prepared_verdict put_named(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				       const struct parse_text *text, struct stmt *stmt)
{
	struct server *s = pass->client->server;
	struct prepared_server *ps = s->prepared;
	enum stmt_presence presence;

	if (stmt_ops_is_uncertain(&ps->ops, stmt, NULL))
		return PREPARED_WAIT;
	presence = stmt_cache_use(&ps->cache, stmt, clock_us());
	if (presence == STMT_PRESENT && is_surely_sound(s)) {
		client_pool(pass->client)->stats.now.prepared_hits++;
		prepared_put_name(pass, prepared_put_nothing(pass), h->statement, stmt)->reply = STMT_REPLY_PARSED;
		skip_whole(pass, m);
		return PREPARED_TAKEN;
	}
	if (presence != STMT_ABSENT)
		prepared_put_close(pass, stmt);
	else if (prepared_make_room(pass, stmt->needs) == PREPARED_WAIT)
		return PREPARED_WAIT;
	put_parsed(pass, m, h, text, stmt);
	return PREPARED_TAKEN;
}

static enum prepared_verdict parse_named(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
					 const struct parse_text *text)
{
	const struct stmt_named *named;
	enum prepared_verdict verdict = prepared_look_up(pass, h->statement, &named);
	struct stmt *stmt;

	if (verdict == PREPARED_WAIT)
		return verdict;
	if (named != NULL && h->statement.n > 0)
		return put_taken(pass, m, h, text);
	stmt = stmts_get(pass->client->hub->stmts, STMT_PARSED, text->rest, text->needs);
	if (stmt == NULL) {
		pass->has_failed = true;
		return PREPARED_TAKEN;
	}
	verdict = put_named(pass, m, h, text, stmt);
	stmt_unref(pass->client->hub->stmts, &stmt);
	return verdict;
}

/* Whether it is bound in the same go, by a Bind that is here, too. */
static bool is_bound_at_once(const struct request_pass *pass, const struct msg *m)
{
	size_t pos = pass->pos + MSG_HEADER_SIZE + m->len;
	struct msg next;

	while (pos < pass->n && msg_peek(pass->p + pos, pass->n - pos, INT32_MAX, &next) == PEEK_OK) {
		if (next.type != 'D')
			return next.type == 'B';
		if (next.have < next.len)
			return false;
		pos += MSG_HEADER_SIZE + next.len;
	}
	return false;
}

/*
 * The text of an unnamed statement is kept when it may be needed on another
 * server. One that is bound at once seldom is, and keeping all would cost
 * each query a look into the registry; clients that have shown otherwise are
 * remembered.
 */
static struct stmt *kept_unnamed(struct request_pass *pass, const struct msg *m, const struct parse_text *text)
{
	const struct client *c = pass->client;
	struct stmt *stmt;

	if (m->have < m->len || !is_within(m, PARSE_MAX) || ((c->prepared == NULL || !c->prepared->keeps_unnamed) && is_bound_at_once(pass, m)))
		return NULL;
	stmt = stmts_get(c->hub->stmts, STMT_PARSED, text->rest, text->needs);
	if (stmt == NULL)
		pass->has_failed = true;
	return stmt;
}

/* What is kept of the client's unnamed statement; NULL: nothing. */
static void note_kept(struct request_pass *pass, uint64_t index, struct stmt *kept)
{
	const struct client *c = pass->client;

	if (c->prepared != NULL && (kept != NULL || stmt_names_find(c->prepared->names, SLICE_LIT("")) != NULL))
		prepared_put_name(pass, index, SLICE_LIT(""), kept);
}

/* Neither the server nor the client has an unnamed statement any more. */
static void note_no_unnamed(struct request_pass *pass)
{
	uint64_t index = owed_next(&pass->client->server->owed);

	prepared_note_unnamed(pass, index, 0, 0);
	note_kept(pass, index, NULL);
}

static enum prepared_verdict parse_unnamed(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
					   const struct parse_text *text)
{
	struct client *c = pass->client;
	struct stmt *kept = kept_unnamed(pass, m, text);
	uint64_t index = owed_next(&c->server->owed), unnamed = ++c->hub->last_unnamed;

	if (kept != NULL && !prepared_set_up(c)) {
		stmt_unref(c->hub->stmts, &kept);
		return PREPARED_GONE;
	}
	prepared_note_unnamed(pass, index, unnamed, unnamed);
	note_kept(pass, index, kept);
	stmt_unref(c->hub->stmts, &kept);
	note_exchange(pass, index, text);
	if ((const uint8_t *)text->rest.p == m->body + h->size)
		return PREPARED_FORWARD;
	prepared_put_note(pass, 'P');
	put_parse(pass, m, h, SLICE_LIT(""), text);
	return PREPARED_TAKEN;
}

enum prepared_verdict prepared_parse(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				     const struct parse_text *text)
{
	if (h->statement.n == 0 && !caches_unnamed(pass->client))
		return parse_unnamed(pass, m, h, text);
	if (!prepared_set_up(pass->client))
		return PREPARED_GONE;
	return parse_named(pass, m, h, text);
}

static enum prepared_verdict parse(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	const struct parse_text text = {.rest = text_of(m, h)};
	struct sql sql = {.verb = SQL_OTHER};

	if (!is_within(m, PARSE_MAX) && h->statement.n > 0) {
		client_close(pass->client, CLOSE_STATEMENT_TOO_LONG);
		return PREPARED_GONE;
	}
	if (m->have < m->len || !is_within(m, PARSE_MAX))
		return parse_unnamed(pass, m, h, &text);
	if (!prepare_is_valid_parse(text.rest))
		return PREPARED_FORWARD;
	if (sql_is_candidate(text.rest.p, text.rest.n))
		sql_read((struct slice){text.rest.p, strlen(text.rest.p)}, &sql);
	return sql.verb == SQL_OTHER ? prepared_parse(pass, m, h, &text) : prepared_sql_parse(pass, m, h, &sql);
}

/* ------------------------------------------------------------------ Bind, Describe, Close */

/* The server's unnamed statement may be somebody else's. */
static enum prepared_verdict use_unnamed(struct request_pass *pass)
{
	struct client *c = pass->client;
	struct prepared_server *ps = c->server->prepared;
	const struct stmt_named *named;

	if (stmt_ops_is_unnamed_uncertain(&ps->ops))
		return PREPARED_WAIT;
	if (ps->unnamed == c->unnamed && c->unnamed != 0)
		return PREPARED_FORWARD;
	if (prepared_look_up(pass, SLICE_LIT(""), &named) == PREPARED_WAIT)
		return PREPARED_WAIT;
	if (named == NULL) {
		if (!prepared_set_up(c))
			return PREPARED_GONE;
		c->prepared->keeps_unnamed = true;
		prepared_put_close_unnamed(pass);
		return PREPARED_FORWARD;
	}
	if (named->stmt->needs != NULL && prepared_ensure(pass, named->stmt->needs) == PREPARED_WAIT)
		return PREPARED_WAIT;
	prepared_put_parse_unnamed(pass, named->stmt);
	return PREPARED_FORWARD;
}

/* A Bind or Describe of a statement. */
static enum prepared_verdict use(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	const struct stmt_named *named;
	struct stmt_op *op;

	if (!prepared_set_up_server(pass->client))
		return PREPARED_GONE;
	if (prepared_look_up(pass, h->statement, &named) == PREPARED_WAIT)
		return PREPARED_WAIT;
	if (h->statement.n == 0 && (named == NULL || !caches_unnamed(pass->client)))
		return use_unnamed(pass);
	if (named == NULL)
		return pass_unknown(pass, m, h);
	if (prepared_ensure(pass, named->stmt) == PREPARED_WAIT)
		return PREPARED_WAIT;
	op = prepared_put_op(pass, STMT_OP_REPLY, prepared_put_note(pass, m->type));
	op->is_use = true;
	op->stmt = stmt_ref(named->stmt);
	/* Errors repeat what was said, and be it longer than what is kept. */
	op->name = h->statement.n > STMT_CLIENT_NAME_MAX ? prepared_spelling(pass, h->statement) : atom_ref(named->name);
	named->stmt->nbinds += m->type == 'B';
	put_head(pass, m, h, stmt_name(named->stmt));
	return PREPARED_TAKEN;
}

/* The statement stays on the server, for others. */
static enum prepared_verdict close_named(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	const struct stmt_named *named;

	if (prepared_look_up(pass, h->statement, &named) == PREPARED_WAIT)
		return PREPARED_WAIT;
	/* One with more in it is an error, which the server reports. */
	if (named == NULL || h->size != m->len)
		return pass_unknown(pass, m, h);
	if (!prepared_set_up_server(pass->client))
		return PREPARED_GONE;
	prepared_put_name(pass, prepared_put_nothing(pass), h->statement, NULL);
	skip_whole(pass, m);
	return PREPARED_TAKEN;
}

static enum prepared_verdict close_unnamed(struct request_pass *pass)
{
	struct client *c = pass->client;

	if (!prepared_set_up_server(c))
		return PREPARED_GONE;
	if (stmt_ops_is_unnamed_uncertain(&c->server->prepared->ops))
		return PREPARED_WAIT;
	note_no_unnamed(pass);
	return PREPARED_FORWARD;
}

/* ------------------------------------------------------------------ simple queries */

/* PostgreSQL drops the unnamed statement at each, unless it skips that. */
static enum prepared_verdict drop_unnamed(struct request_pass *pass)
{
	struct client *c = pass->client;
	bool has_kept = c->prepared != NULL && stmt_names_find(c->prepared->names, SLICE_LIT("")) != NULL;

	if (!has_kept && c->unnamed == 0 && (c->server->prepared == NULL || c->server->prepared->unnamed == 0))
		return PREPARED_FORWARD;
	if (!prepared_set_up_server(c))
		return PREPARED_GONE;
	note_no_unnamed(pass);
	return PREPARED_FORWARD;
}

static enum prepared_verdict query(struct request_pass *pass, const struct msg *m)
{
	enum prepared_verdict verdict = PREPARED_FORWARD;
	struct slice text = {(const char *)m->body, m->have};
	struct sql sql = {.verb = SQL_OTHER};

	if (m->have == m->len && m->len > 0 && sql_is_candidate(text.p, text.n) && text.p[text.n - 1] == '\0')
		sql_read((struct slice){text.p, text.n - 1}, &sql);
	if (sql.verb != SQL_OTHER)
		verdict = prepared_sql_query(pass, m, &sql);
	return verdict == PREPARED_FORWARD ? drop_unnamed(pass) : verdict;
}

/* ------------------------------------------------------------------ all */

static enum prepared_verdict dispatch(struct request_pass *pass, const struct msg *m)
{
	struct prepare_head h;

	switch (m->type) {
	case 'Q':
		return query(pass, m);
	case 'E':
		if (pass->client->prepared != NULL)
			prepared_sql_execute(pass);
		return PREPARED_FORWARD;
	case 'P':
	case 'B':
	case 'D':
	case 'C':
		break;
	default:
		return PREPARED_FORWARD;
	}
	/* What makes no sense the server may judge. */
	if (prepare_read(m, &h) != PEEK_OK)
		return PREPARED_FORWARD;
	if (m->type == 'P')
		return prepared_set_up_server(pass->client) ? parse(pass, m, &h) : PREPARED_GONE;
	if (m->type == 'B')
		return use(pass, m, &h);
	if (h.kind != 'S')
		return PREPARED_FORWARD;
	if (m->type == 'D')
		return use(pass, m, &h);
	return h.statement.n == 0 ? close_unnamed(pass) : close_named(pass, m, &h);
}

enum prepared_verdict prepared_request(struct client *c, const struct msg *m, struct request_pass *pass)
{
	struct prepared_server *ps = c->server->prepared;
	enum prepared_verdict verdict = PREPARED_TAKEN;

	/* What the server skips changes nothing. */
	if (c->server->owed.is_skipping)
		return PREPARED_FORWARD;
	if (ps != NULL && !stmt_ops_reserve(&ps->ops, PUT_OPS_MAX))
		pass->has_failed = true;
	else
		verdict = dispatch(pass, m);
	if (pass->has_failed && verdict != PREPARED_GONE) {
		server_close_with_client(c->server, CLOSE_OUT_OF_MEMORY, NULL);
		return PREPARED_GONE;
	}
	return verdict;
}

void prepared_sent(struct client *c, char type)
{
	struct prepared_server *ps = c->server->prepared;

	if (type != 'S' && type != 'Q')
		return;
	if (c->prepared != NULL && c->prepared->sql.verb != SQL_OTHER)
		prepared_forget_sql(c);
	if (ps == NULL)
		return;
	stmt_ops_end_batch(&ps->ops);
	ps->batch_at = owed_next(&c->server->owed);
}
