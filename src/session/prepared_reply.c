/*
 * What servers answer to tracked clients: replies that nobody asked for are
 * dropped, errors speak of statements by the client's names, and what an
 * error had the server skip is taken back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/siphash.h"
#include "proto/out.h"
#include "proto/prepare.h"
#include "session/prepared_put.h"

/* Names of the registry's are made of these. */
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789_"

/* ------------------------------------------------------------------ taking back */

static void restore_name(struct server *s, const struct stmt_op *op)
{
	struct stmt_names *names = s->client == NULL || s->client->prepared == NULL ? NULL : s->client->prepared->names;

	if (names == NULL || op->name == NULL)
		return;
	/* Without memory for it the client learns that the name means nothing, and nothing worse. */
	if (op->before == NULL || !stmt_names_set_atom(names, op->name, op->before))
		stmt_names_drop(names, atom_slice(op->name));
}

/* What it was to take away is there still: the names for certain, of the server's statements nobody knows. */
static void restore_all(struct server *s, struct stmt_op *op)
{
	struct prepared_client *pc = s->client == NULL ? NULL : s->client->prepared;

	s->prepared->is_doubtful = true;
	if (pc == NULL)
		return;
	stmt_names_free(&pc->names);
	pc->names = op->names;
	op->names = NULL;
}

/* What it was before; if messages behind those that are taken back have changed it since, what it was before them. */
static void restore_unnamed(struct server *s, const struct stmt_op *op, bool is_skipped, uint32_t behind)
{
	uint64_t of_server = is_skipped ? op->server_unnamed : 0, of_client = is_skipped ? op->client_unnamed : 0;
	struct stmt_op *later = stmt_ops_next_unnamed(&s->prepared->ops, behind);

	if (later != NULL) {
		later->server_unnamed = of_server;
		later->client_unnamed = of_client;
		return;
	}
	s->prepared->unnamed = of_server;
	if (s->client != NULL)
		s->client->unnamed = of_client;
}

/* `behind`: the first operation that is not taken back with it. */
static void take_back(struct server *s, struct stmt_op *op, bool is_skipped, uint32_t behind)
{
	struct prepared_server *ps = s->prepared;

	switch ((enum stmt_op_kind)op->kind) {
	case STMT_OP_SERVER_HAS:
		stmt_cache_drop(&ps->cache, op->stmt);
		break;
	case STMT_OP_SERVER_LOST:
		if (stmt_cache_look(&ps->cache, op->stmt) == STMT_ABSENT)
			stmt_cache_add(&ps->cache, op->stmt, op->version, clock_us());
		break;
	case STMT_OP_NAMED:
		/* A Parse of the unnamed statement that fails has dropped the one before. */
		if (!is_skipped && op->name != NULL && op->name->len == 0 && s->client != NULL &&
		    s->client->prepared != NULL)
			stmt_names_drop(s->client->prepared->names, SLICE_LIT(""));
		else
			restore_name(s, op);
		break;
	case STMT_OP_UNNAMED:
		restore_unnamed(s, op, is_skipped, behind);
		break;
	case STMT_OP_ALL_LOST:
		restore_all(s, op);
		break;
	case STMT_OP_REPLY:
	case STMT_OP_SHAPE:
		break;
	}
}

/* How many of the operations belong to messages below an index. */
static uint32_t count_below(struct stmt_ops *ops, uint64_t index)
{
	uint32_t n = 0;

	while (n < ops->n && stmt_ops_at(ops, n)->index < index)
		n++;
	return n;
}

/* The message of index `failed` met an error, and those behind it, below `next`, were skipped. */
static void take_back_all(struct server *s, uint64_t failed, uint64_t next)
{
	struct stmt_ops *ops = &s->prepared->ops;
	uint32_t n = count_below(ops, next);

	for (uint32_t i = n; i-- > 0;)
		take_back(s, stmt_ops_at(ops, i), stmt_ops_at(ops, i)->index > failed, n);
	while (n-- > 0)
		stmt_ops_pop(ops);
}

/* ------------------------------------------------------------------ everything gone */

/* What was sent behind a DEALLOCATE ALL holds for what comes after it. */
static void apply_again(struct server *s, const struct stmt_op *op)
{
	struct prepared_server *ps = s->prepared;

	if (op->kind == STMT_OP_SERVER_HAS && stmt_cache_look(&ps->cache, op->stmt) == STMT_ABSENT)
		stmt_cache_add(&ps->cache, op->stmt, op->version, clock_us());
	if (op->kind == STMT_OP_NAMED && op->stmt != NULL && op->name != NULL && s->client != NULL &&
	    s->client->prepared != NULL)
		stmt_names_set_atom(s->client->prepared->names, op->name, op->stmt);
}

static bool is_all_lost_tag(const struct msg *m)
{
	const struct slice tag = {(const char *)m->body, m->have > 0 ? m->have - 1 : 0};

	return slice_is(tag, "DEALLOCATE ALL") || slice_is(tag, "DISCARD ALL");
}

static bool is_expected(struct stmt_ops *ops, uint64_t index)
{
	for (uint32_t i = 0; i < ops->n && stmt_ops_at(ops, i)->index <= index; i++)
		if (stmt_ops_at(ops, i)->kind == STMT_OP_ALL_LOST && stmt_ops_at(ops, i)->index == index)
			return true;
	return false;
}

/* The tag tells, however the statement came about: in a string of several, say. */
static void all_lost(struct server *s, uint64_t index)
{
	struct prepared_server *ps = s->prepared;

	ps->is_doubtful = false;
	if (is_expected(&ps->ops, index))
		return;
	stmt_cache_clear(&ps->cache);
	if (s->client != NULL && s->client->prepared != NULL)
		(void)stmt_names_clear_named(s->client->prepared->names);
	for (uint32_t i = 0; i < ps->ops.n; i++)
		if (stmt_ops_at(&ps->ops, i)->index > index)
			apply_again(s, stmt_ops_at(&ps->ops, i));
}

/* ------------------------------------------------------------------ errors */

/* The first operation of the message of that index, or NULL. */
static struct stmt_op *op_of(struct stmt_ops *ops, uint64_t index)
{
	uint32_t i = count_below(ops, index);

	return i < ops->n && stmt_ops_at(ops, i)->index == index ? stmt_ops_at(ops, i) : NULL;
}

static bool has_alias(const struct stmt_op *op, const char *alias)
{
	return op->alias != NULL && strcmp(op->alias, alias) == 0;
}

/* The server refuses the name that stands for one too many; other errors are the statement's own. */
static bool is_refused_name(const struct msg *m)
{
	struct error_fields f;

	return msg_error_fields(m, &f) && slice_is(f.sqlstate, "42P05");
}

static void tell_full(const struct hub *hub, struct strbuf *changed)
{
	char detail[64];
	const struct out_error error = {
		.severity = "ERROR",
		.sqlstate = "54000",
		.message = "too many prepared statements (max_client_prepared_statements)",
		.detail = detail,
		.hint = "Deallocate those that are not needed, or raise max_client_prepared_statements.",
	};

	snprintf(detail, sizeof(detail), "max_client_prepared_statements is %" PRId64 ".",
		 hub_settings(hub)->max_client_prepared_statements);
	out_error_response(changed, 'E', &error);
}

static void tell_large(struct strbuf *changed)
{
	char detail[80];
	const struct out_error error = {
		.severity = "ERROR",
		.sqlstate = "54000",
		.message = "prepared statements are too long",
		.detail = detail,
		.hint = "Deallocate those that are not needed.",
	};

	snprintf(detail, sizeof(detail), "The prepared statements of one client may take %zu MB.", PREPARED_MEMORY_MAX >> 20);
	out_error_response(changed, 'E', &error);
}

static bool change_error(const struct hub *hub, const struct stmt_op *op, const struct msg *m, struct strbuf *changed)
{
	struct prepare_error change = {.at = op->at, .shift = -op->shift};

	if (has_alias(op, ALIAS_FULL) && is_refused_name(m)) {
		tell_full(hub, changed);
		return true;
	}
	if (has_alias(op, ALIAS_LARGE) && is_refused_name(m)) {
		tell_large(changed);
		return true;
	}
	if (op->name == NULL || (op->alias == NULL && op->stmt == NULL))
		return false;
	change.from = op->alias != NULL ? slice_of(op->alias) : stmt_name(op->stmt);
	change.to = atom_slice(op->name);
	return prepare_out_error(changed, m, &change);
}

/* A name of the registry's in an error that has none of the operations' in it: the client's name for that. */
static void translate_any(const struct server *s, const struct msg *m, struct strbuf *changed)
{
	const char *at = memmem(m->body, m->have, STMT_NAME_PREFIX, strlen(STMT_NAME_PREFIX));
	const char *end = (const char *)m->body + m->have;
	const struct stmt_named *named;
	struct prepare_error change = {.from = {at, 0}};

	if (at == NULL || s->client == NULL || s->client->prepared == NULL)
		return;
	while (at + change.from.n < end && at[change.from.n] != '\0' && strchr(NAME_CHARACTERS, at[change.from.n]) != NULL)
		change.from.n++;
	named = stmt_names_by_stmt(s->client->prepared->names, change.from);
	if (named == NULL)
		return;
	change.to = atom_slice(named->name);
	prepare_out_error(changed, m, &change);
}

/* The error in the client's words, if it speaks of one of our names. */
static void translate(struct server *s, uint64_t index, const struct msg *m, struct strbuf *changed)
{
	struct stmt_ops *ops = &s->prepared->ops;

	for (uint32_t i = count_below(ops, index); i < ops->n && stmt_ops_at(ops, i)->index == index; i++)
		if (change_error(s->hub, stmt_ops_at(ops, i), m, changed))
			return;
	translate_any(s, m, changed);
}

/*
 * The statement that the server has is of no use any more: its result has
 * changed, or somebody has dropped it behind our back. The routine that
 * reports it tells it from errors of what the statement itself does.
 */
static bool is_outdated(struct server *s, struct stmt_op *op, const struct msg *m)
{
	struct error_fields f;

	if (op == NULL || !op->is_use || op->stmt == NULL || m->have < m->len || !msg_error_fields(m, &f))
		return false;
	if (slice_is(f.sqlstate, "0A000") && slice_is(f.routine, "RevalidateCachedQuery")) {
		op->stmt->version++;
		op->stmt->shape = 0;
		/* It knows now. */
		if (s->client != NULL && s->client->prepared != NULL && op->name != NULL)
			stmt_names_renew(s->client->prepared->names, atom_slice(op->name));
		return true;
	}
	return slice_is(f.sqlstate, "26000") && slice_is(f.routine, "FetchPreparedStatement") &&
	       stmt_cache_drop(&s->prepared->cache, op->stmt) != 0;
}

/* In the words of the server, which says it to those who have one of their own. */
static void tell_outdated(struct strbuf *changed)
{
	static const struct out_error error = {
		.severity = "ERROR", .sqlstate = "0A000", .message = "cached plan must not change result type"};
	size_t mark;

	out_error_response(changed, 'E', &error);
	if (changed->failed)
		return;
	/* postgres.js goes by the routine. In the place of the NUL that ends the fields. */
	changed->n--;
	out_u8(changed, 'R');
	out_string(changed, "RevalidateCachedQuery");
	out_u8(changed, 0);
	mark = 1;
	out_end(changed, mark);
}

/* What was put before a simple query has failed: that will fail, too, and say nothing new. */
static void mute_query_behind(struct stmt_ops *ops, uint64_t next)
{
	struct stmt_op *sync = op_of(ops, next), *query = op_of(ops, next + 1);

	if (sync == NULL || !sync->is_injected_sync || query == NULL || !query->is_query)
		return;
	query->is_mute = true;
}

/* An error in a simple query: what it was to change is known to have failed when it ends. */
static enum stmt_reply query_failed(struct stmt_ops *ops, uint64_t index)
{
	struct stmt_op *first = op_of(ops, index);

	for (uint32_t i = 0; i < ops->n && stmt_ops_at(ops, i)->index <= index; i++)
		stmt_ops_at(ops, i)->has_failed = stmt_ops_at(ops, i)->is_query;
	return first != NULL && first->is_mute ? STMT_REPLY_DROP : STMT_REPLY_PASS;
}

/* A simple query waits for what was put ahead of it. After an error of the client's own batch it is skipped itself. */
static void note_error_ahead(struct prepared_server *ps, uint64_t index)
{
	if (index < ps->ahead.from)
		ps->ahead.to = 0;
	else
		ps->ahead.has_failed = index < ps->ahead.to;
}

static enum stmt_reply on_error(struct server *s, const struct msg *m, uint64_t first, bool is_told,
				struct strbuf *changed)
{
	struct stmt_ops *ops = &s->prepared->ops;
	struct stmt_op *op = op_of(ops, first);
	enum stmt_reply reply = STMT_REPLY_PASS;
	bool retry = is_outdated(s, op, m) && !is_told && prepared_may_replay(s, op);

	note_error_ahead(s->prepared, first);
	if (op != NULL && op->is_outdated)
		tell_outdated(changed);
	else if (m->have == m->len && !retry)
		translate(s, first, m, changed);
	if (s->owed.first == first) {
		reply = query_failed(ops, first);
	} else {
		mute_query_behind(ops, s->owed.first);
		take_back_all(s, first, s->owed.first);
	}
	if (!retry)
		return reply;
	prepared_wait_for_replay(s);
	return STMT_REPLY_DROP;
}

/* ------------------------------------------------------------------ the rows a statement returns */

static uint64_t hash_of_rows(const struct msg *m)
{
	static const uint8_t no_key[SIPHASH_KEY_SIZE];
	struct cursor c = msg_cursor(m);
	uint64_t hash = (uint8_t)m->type;
	unsigned n = m->type == 'T' ? cursor_u16(&c) : 0;

	for (unsigned i = 0; i < n && !c.bad; i++) {
		struct slice name = cursor_string(&c);

		/* Which table and column it is from is nothing that a reader of rows relies on. */
		cursor_bytes(&c, 6);
		hash = 31 * hash + siphash(no_key, name.p, name.n);
		hash = 31 * hash + cursor_u32(&c);
		hash = 31 * hash + cursor_u16(&c);
		hash = 31 * hash + cursor_u32(&c);
		cursor_bytes(&c, 2);
	}
	return hash == 0 ? 1 : hash;
}

/* A server that has prepared the statement just now says what rows it returns. */
static void note_shape(struct server *s, struct stmt *stmt, const struct msg *m)
{
	struct stmt_cache *cache = &s->prepared->cache;
	uint64_t shape = hash_of_rows(m), before = stmt->shape;

	stmt->shape = shape;
	if (before == 0 || before == shape)
		return;
	stmt->version++;
	if (stmt_cache_drop(cache, stmt) != 0)
		stmt_cache_add(cache, stmt, stmt->version, clock_us());
}

/* ------------------------------------------------------------------ all */

/* The messages below the first that is owed now have been answered. */
static enum stmt_reply settle(struct server *s, const struct msg *m, uint64_t first)
{
	struct stmt_ops *ops = &s->prepared->ops;
	enum stmt_reply reply = STMT_REPLY_PASS;

	while (ops->n > 0 && stmt_ops_at(ops, 0)->index < s->owed.first) {
		struct stmt_op *op = stmt_ops_at(ops, 0);

		if (op->index == first && op->reply != STMT_REPLY_PASS)
			reply = op->reply;
		if (op->kind == STMT_OP_SHAPE)
			note_shape(s, op->stmt, m);
		if (op->has_failed)
			take_back(s, op, false, 1);
		stmt_ops_pop(ops);
	}
	return reply;
}

/* What was asked for by us and not by the client: parameters and rows of a statement, rows of a portal. */
static bool is_for_us(const struct server *s, uint64_t first)
{
	const struct stmt_op *op = op_of(&s->prepared->ops, first);

	return op != NULL && op->reply == STMT_REPLY_DROP;
}

enum stmt_reply prepared_reply(struct server *s, const struct msg *m, uint64_t first, bool is_told,
			       struct strbuf *changed)
{
	if (m->type == 'C' && is_all_lost_tag(m))
		all_lost(s, first);
	if (m->type == 'E')
		return on_error(s, m, first, is_told, changed);
	if (m->type == 't')
		return is_for_us(s, first) ? STMT_REPLY_DROP : STMT_REPLY_PASS;
	return s->owed.first > first ? settle(s, m, first) : STMT_REPLY_PASS;
}

void prepared_note_reply(struct server *s, const struct msg *m, uint64_t first)
{
	struct strbuf unused;

	strbuf_init(&unused);
	prepared_reply(s, m, first, true, &unused);
	strbuf_fini(&unused);
}

bool prepared_needs_whole(const struct server *s, const struct msg *m)
{
	switch (m->type) {
	case 'E':
		return m->len <= SERVER_WHOLE_MAX;
	case 'C':
		return s->prepared->ops.n > 0 || prepared_may_be_all_lost(m);
	case 'T':
	case 't':
		return is_for_us(s, s->owed.first);
	default:
		return false;
	}
}

bool prepared_go_on(struct server *s)
{
	struct prepared_server *ps = s->prepared;

	if (!ps->is_client_waiting || ps->replay == REPLAY_WAITING)
		return true;
	ps->is_client_waiting = false;
	if (s->client != NULL)
		conn_resume(&s->client->conn);
	return s->phase != SERVER_CLOSED;
}
