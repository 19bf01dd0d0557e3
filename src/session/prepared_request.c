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

/* The same of a Bind that may have to be sent once more. */
#define COMMAND_BIND_MAX ((uint32_t)(BOUND_REST_MAX + 2 * BOUND_NAME_MAX))

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

	return h->statement.n > 0 || caches_unnamed(c) || m->len <= UNNAMED_PARSE_MAX ||
	       sql_is_candidate(text.p, text.n);
}

static bool binds_command(const struct client *c, const struct prepare_head *h)
{
	const struct stmt_named *named = c->prepared == NULL ? NULL : stmt_names_find(c->prepared->names, h->statement);

	return named != NULL && named->stmt->is_command;
}

static bool is_within(const struct msg *m, uint32_t max)
{
	return m->len <= max;
}

bool prepared_can_read_part(const struct client *c, const struct msg *m)
{
	struct prepare_head h;

	if (m->type == 'Q')
		return !is_within(m, PARSE_MAX) || !sql_is_candidate((const char *)m->body, m->have);
	if (m->type == 'E')
		return c->prepared == NULL || bound_portals_are_none(&c->prepared->bound) || m->have > HEAD_MAX;
	if (!has_head(m->type))
		return true;
	/* Of a name without end the server may think what it likes. */
	if (prepare_read(m, &h) == PEEK_SHORT)
		return m->have > HEAD_MAX;
	if (m->type == 'B')
		return !is_within(m, COMMAND_BIND_MAX) || !binds_command(c, &h);
	return m->type != 'P' || !is_within(m, PARSE_MAX) || !parse_is_needed_whole(c, m, &h);
}

/* ------------------------------------------------------------------ names */

enum prepared_verdict prepared_look_up(struct request_pass *pass, struct slice name, const struct stmt_named **named)
{
	struct client *c = pass->client;
	struct slice cut = {name.p, name.n < STMT_CLIENT_NAME_MAX ? name.n : STMT_CLIENT_NAME_MAX};
	struct prepared_server *ps = c->server->prepared;

	*named = c->prepared == NULL ? NULL : stmt_names_find(c->prepared->names, name);
	if (ps == NULL || !stmt_ops_has_earlier_changes(&ps->ops))
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

void prepared_put_head(struct request_pass *pass, const struct msg *m, const struct prepare_head *h, struct slice name)
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

enum prepared_verdict prepared_put_as(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				      const char *alias)
{
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_REPLY, prepared_put_note(pass, m->type));

	op->alias = alias;
	op->name = prepared_spelling(pass, h->statement);
	prepared_put_head(pass, m, h, slice_of(alias));
	return PREPARED_TAKEN;
}

/* A name that means nothing to us: the server knows what to say of it. */
static enum prepared_verdict pass_unknown(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	if (!prepared_is_guarded(h->statement))
		return PREPARED_FORWARD;
	/* The server refuses it, and the client hears of it by its own name. */
	return prepared_set_up_server(pass->client) ? prepared_put_as(pass, m, h, ALIAS_UNKNOWN) : PREPARED_GONE;
}

/* ------------------------------------------------------------------ Parse */

/* The name cannot be had: the server refuses one in its place that is in use, after a look at the text. */
static enum prepared_verdict put_refused(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
					 const char *alias)
{
	prepared_put_alias(pass, alias);
	return prepared_put_as(pass, m, h, alias);
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
		       struct stmt *stmt)
{
	uint64_t index = prepared_put_note(pass, 'P');

	prepared_put_has(pass, index, stmt);
	prepared_put_name(pass, index, h->statement, stmt);
	prepared_put_head(pass, m, h, stmt_name(stmt));
	/* The rest of it is here, and goes before what is put behind it. */
	pass->pos += pass->client->remain;
	pass->client->remain = 0;
	prepared_put_describe(pass, stmt);
}

/* The client gives a statement a name that is free. */
static enum prepared_verdict put_named(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				       struct stmt *stmt)
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
	if (presence != STMT_ABSENT || ps->is_doubtful)
		prepared_put_close(pass, stmt);
	else if (prepared_make_room(pass) == PREPARED_WAIT)
		return PREPARED_WAIT;
	put_parsed(pass, m, h, stmt);
	return PREPARED_TAKEN;
}

/* The statement of a Parse that is whole here; NULL when out of memory, which is noted. */
static struct stmt *stmt_of(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	struct slice rest = text_of(m, h);
	struct stmt *stmt = stmts_get(pass->client->hub->stmts, client_pool(pass->client), STMT_PARSED, rest);
	struct sql sql;

	if (stmt == NULL) {
		pass->has_failed = true;
		return NULL;
	}
	if (!stmt->is_command && sql_is_candidate(rest.p, rest.n)) {
		sql_read(stmt_text(stmt), &sql);
		stmt->is_command = sql.verb != SQL_OTHER;
	}
	return stmt;
}

static enum prepared_verdict parse_named(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	const struct stmt_named *named;
	enum prepared_verdict verdict = prepared_look_up(pass, h->statement, &named);
	const char *refusal;
	struct stmt *stmt;

	if (verdict == PREPARED_WAIT)
		return verdict;
	if (named != NULL && h->statement.n > 0)
		return put_refused(pass, m, h, ALIAS_TAKEN);
	refusal = h->statement.n == 0 ? NULL : prepared_refusal(pass->client, m->len);
	if (refusal != NULL)
		return put_refused(pass, m, h, refusal);
	stmt = stmt_of(pass, m, h);
	if (stmt == NULL)
		return PREPARED_TAKEN;
	verdict = put_named(pass, m, h, stmt);
	stmt_unref(pass->client->hub->stmts, &stmt);
	return verdict;
}

/* Whether it is bound in the same go, by a Bind that is here, too. */
static bool is_bound_at_once(const struct request_pass *pass, const struct msg *m)
{
	size_t pos = pass->pos + MSG_HEADER_SIZE + m->len;
	struct prepare_head h;
	struct msg next;

	while (pos < pass->n && msg_peek(pass->p + pos, pass->n - pos, INT32_MAX, &next) == PEEK_OK) {
		if (next.type == 'B')
			return prepare_is_unnamed(&next) ||
			       (prepare_read(&next, &h) == PEEK_OK && h.statement.n == 0);
		if (next.type != 'D')
			return false;
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
static bool is_to_be_kept(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	const struct client *c = pass->client;
	struct slice text = text_of(m, h);

	if (m->have < m->len || !is_within(m, PARSE_MAX))
		return false;
	return (c->prepared != NULL && c->prepared->keeps_unnamed) || sql_is_candidate(text.p, text.n) ||
	       !is_bound_at_once(pass, m);
}

/* What is kept of the client's unnamed statement; NULL: nothing. */
static void note_kept(struct request_pass *pass, uint64_t index, struct stmt *kept)
{
	const struct client *c = pass->client;

	if (c->prepared != NULL && (kept != NULL || stmt_names_find(c->prepared->names, SLICE_LIT("")) != NULL))
		prepared_put_name(pass, index, SLICE_LIT(""), kept);
}

/* Neither the server nor the client has an unnamed statement behind the message of this index. */
static void note_no_unnamed(struct request_pass *pass, uint64_t index)
{
	prepared_note_unnamed(pass, index, 0, 0);
	note_kept(pass, index, NULL);
}

static enum prepared_verdict parse_unnamed(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	struct client *c = pass->client;
	uint64_t index = owed_next(&c->server->owed), unnamed;
	const struct stmt_named *before;
	struct stmt *kept = NULL;

	if (prepared_look_up(pass, SLICE_LIT(""), &before) == PREPARED_WAIT)
		return PREPARED_WAIT;
	if (is_to_be_kept(pass, m, h)) {
		if (!prepared_set_up(c))
			return PREPARED_GONE;
		kept = stmt_of(pass, m, h);
	}
	unnamed = ++c->hub->last_unnamed;
	prepared_note_unnamed(pass, index, unnamed, unnamed);
	note_kept(pass, index, kept);
	stmt_unref(c->hub->stmts, &kept);
	return PREPARED_FORWARD;
}

static enum prepared_verdict parse(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	if (!is_within(m, PARSE_MAX) && h->statement.n > 0) {
		client_close(pass->client, CLOSE_STATEMENT_TOO_LONG);
		return PREPARED_GONE;
	}
	if (m->have == m->len && !prepare_is_valid_parse(text_of(m, h)))
		return PREPARED_FORWARD;
	if (h->statement.n == 0 && (!caches_unnamed(pass->client) || m->have < m->len || !is_within(m, PARSE_MAX)))
		return parse_unnamed(pass, m, h);
	return prepared_set_up(pass->client) ? parse_named(pass, m, h) : PREPARED_GONE;
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
	prepared_put_parse_unnamed(pass, named->stmt);
	return PREPARED_FORWARD;
}

/* Whether the client will be told, behind a Bind, what rows the portal returns: by a Describe that is here, too. */
static bool is_described_at_once(const struct request_pass *pass, const struct msg *m)
{
	size_t pos = pass->pos + MSG_HEADER_SIZE + m->len;
	struct msg next;

	while (pos < pass->n && msg_peek(pass->p + pos, pass->n - pos, INT32_MAX, &next) == PEEK_OK) {
		if (next.type == 'D' && next.have > 0 && next.body[0] == 'P')
			return true;
		if (next.type == 'E' || next.type == 'S' || next.have < next.len)
			return false;
		pos += MSG_HEADER_SIZE + next.len;
	}
	return false;
}

/* Whether the client goes by what it was told before of the rows that come, and will not be told anew. */
static bool relies_on_shape(const struct request_pass *pass, const struct msg *m, const struct stmt_named *named)
{
	bool is_told = hub_settings(pass->client->hub)->prepared_result_change == RESULT_CHANGE_RETRY &&
		       is_described_at_once(pass, m);

	return m->type == 'B' && named->is_used && !is_told &&
	       !stmt_ops_has_named(&pass->client->server->prepared->ops, named->name);
}

/* The message by the server's name; with `is_outdated` by one that does not exist there. */
static void put_use(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
		    const struct stmt_named *named, bool is_outdated)
{
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_REPLY, prepared_put_note(pass, m->type));

	op->is_use = !is_outdated;
	op->is_first_use = !named->is_used;
	op->is_outdated = is_outdated;
	op->stmt = stmt_ref(named->stmt);
	/* Errors repeat what was said, and be it longer than what is kept. */
	op->name = h->statement.n > STMT_CLIENT_NAME_MAX ? prepared_spelling(pass, h->statement)
							  : atom_ref(named->name);
	named->stmt->nbinds += m->type == 'B';
	prepared_put_head(pass, m, h, is_outdated ? SLICE_LIT(ALIAS_UNKNOWN) : stmt_name(named->stmt));
}

/* A statement of the registry. */
static enum prepared_verdict use_named(struct request_pass *pass, const struct msg *m, const struct prepare_head *h,
				       const struct stmt_named *named)
{
	struct stmt_ops *ops = &pass->client->server->prepared->ops;
	bool is_known = named->stmt->shape != 0, is_outdated = false;

	if (prepared_ensure(pass, named->stmt) == PREPARED_WAIT)
		return PREPARED_WAIT;
	/* Where nothing has changed and nothing is asked for it does not matter who relies on what. */
	if (is_known && stmt_ops_awaits_shape(ops, named->stmt) && relies_on_shape(pass, m, named)) {
		prepared_put_flush(pass);
		return PREPARED_WAIT;
	}
	if (named->version != named->stmt->version)
		is_outdated = relies_on_shape(pass, m, named);
	put_use(pass, m, h, named, is_outdated);
	if (!named->is_used || named->version != named->stmt->version)
		stmt_names_renew(pass->client->prepared->names, h->statement);
	return PREPARED_TAKEN;
}

/* A Bind or Describe of a statement. */
static enum prepared_verdict use(struct request_pass *pass, const struct msg *m, const struct prepare_head *h)
{
	const struct stmt_named *named;

	if (!prepared_set_up_server(pass->client))
		return PREPARED_GONE;
	if (prepared_look_up(pass, h->statement, &named) == PREPARED_WAIT)
		return PREPARED_WAIT;
	if (m->type == 'B')
		prepared_sql_rebind(pass, h);
	if (named != NULL && named->stmt->is_command) {
		enum prepared_verdict verdict = prepared_sql_use(pass, m, h, named);

		if (verdict != PREPARED_FORWARD)
			return verdict;
		named = stmt_names_find(pass->client->prepared->names, h->statement);
	}
	if (h->statement.n == 0 && (named == NULL || !caches_unnamed(pass->client)))
		return use_unnamed(pass);
	return named == NULL ? pass_unknown(pass, m, h) : use_named(pass, m, h, named);
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
	const struct stmt_named *named;

	if (!prepared_set_up_server(c))
		return PREPARED_GONE;
	if (stmt_ops_is_unnamed_uncertain(&c->server->prepared->ops) ||
	    prepared_look_up(pass, SLICE_LIT(""), &named) == PREPARED_WAIT)
		return PREPARED_WAIT;
	note_no_unnamed(pass, owed_next(&c->server->owed));
	return PREPARED_FORWARD;
}

/* ------------------------------------------------------------------ simple queries */

/* PostgreSQL drops the unnamed statement at each, unless it skips that. False: out of memory, and both were closed. */
static bool drop_unnamed(struct request_pass *pass, uint64_t index)
{
	struct client *c = pass->client;
	bool has_kept = c->prepared != NULL && stmt_names_find(c->prepared->names, SLICE_LIT("")) != NULL;

	if (!has_kept && c->unnamed == 0 && (c->server->prepared == NULL || c->server->prepared->unnamed == 0))
		return true;
	if (!prepared_set_up_server(c))
		return false;
	note_no_unnamed(pass, index);
	return true;
}

/* Whether the simple query at hand is one that waits for what was put ahead of it. */
static bool has_ahead(const struct prepared_server *ps)
{
	return ps != NULL && ps->ahead.to != 0;
}

static enum prepared_verdict query(struct request_pass *pass, const struct msg *m)
{
	enum prepared_verdict verdict = PREPARED_FORWARD;
	struct slice text = {(const char *)m->body, m->have};
	struct sql sql = {.verb = SQL_OTHER};
	const struct stmt_named *unnamed;
	uint64_t index;

	if (prepared_look_up(pass, SLICE_LIT(""), &unnamed) == PREPARED_WAIT)
		return PREPARED_WAIT;
	if (m->have == m->len && m->len > 0 && sql_is_candidate(text.p, text.n) && text.p[text.n - 1] == '\0')
		sql_read((struct slice){text.p, text.n - 1}, &sql);
	if (has_ahead(pass->client->server->prepared))
		verdict = prepared_sql_query_again(pass, m);
	if (verdict == PREPARED_FORWARD && sql.verb != SQL_OTHER)
		verdict = prepared_sql_query(pass, m, &sql);
	if (verdict == PREPARED_GONE || verdict == PREPARED_WAIT)
		return verdict;
	index = owed_next(&pass->client->server->owed) - (verdict == PREPARED_TAKEN);
	return drop_unnamed(pass, index) ? verdict : PREPARED_GONE;
}

/* ------------------------------------------------------------------ all */

static enum prepared_verdict dispatch(struct request_pass *pass, const struct msg *m)
{
	struct prepare_head h;

	switch (m->type) {
	case 'Q':
		return query(pass, m);
	case 'E':
		return prepared_sql_execute(pass, m);
	case 'P':
	case 'B':
	case 'D':
	case 'C':
		break;
	default:
		return PREPARED_FORWARD;
	}
	/* What makes no sense the server may judge. */
	if (m->type == 'P' && prepare_is_unnamed(m))
		h = (struct prepare_head){.statement = SLICE_LIT(""), .size = 1};
	else if (prepare_read(m, &h) != PEEK_OK)
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

	/* What the server skips changes nothing. A query that something was put ahead of is not skipped with that. */
	if (c->server->owed.is_skipping && !has_ahead(ps))
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

void prepared_sent_last(struct client *c)
{
	struct prepared_server *ps = c->server->prepared;

	if (ps == NULL)
		return;
	stmt_ops_end_batch(&ps->ops);
	ps->is_batch_open = false;
	ps->batch_at = owed_next(&c->server->owed);
}
