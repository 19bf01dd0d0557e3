#include "session/prepared_put.h"

#include "base/clock.h"
#include "proto/prepare.h"

/* Names and heads of messages of our own. */
#define ROOM 256

/* As many statements go for one that comes, if the limit was lowered. */
#define EVICTED_AT_ONCE 16

static struct prepared_server *server_part(const struct request_pass *pass)
{
	return pass->client->server->prepared;
}

static struct stats *stats_of(const struct request_pass *pass)
{
	return &client_pool(pass->client)->stats.now;
}

uint64_t prepared_put_note(struct request_pass *pass, char type)
{
	struct owed *owed = &pass->client->server->owed;
	uint64_t index = owed_next(owed);

	if (!owed_sent(owed, type))
		pass->has_failed = true;
	return index;
}

struct stmt_op *prepared_put_op(struct request_pass *pass, enum stmt_op_kind kind, uint64_t index)
{
	return stmt_ops_push(&server_part(pass)->ops, kind, index);
}

static struct stmt_op *dropped(struct request_pass *pass, enum stmt_op_kind kind, char type)
{
	struct stmt_op *op = prepared_put_op(pass, kind, prepared_put_note(pass, type));

	op->reply = STMT_REPLY_DROP;
	return op;
}

static void put_close(struct request_pass *pass, char kind, struct slice name)
{
	char room[ROOM];
	struct strbuf b;

	strbuf_init_fixed(&b, room, sizeof(room));
	prepare_out_close(&b, kind, name);
	pass_put_slice(pass, strbuf_slice(&b));
}

static void put_parse(struct request_pass *pass, struct slice name, struct slice rest)
{
	char room[ROOM];
	struct strbuf b;

	strbuf_init_fixed(&b, room, sizeof(room));
	prepare_out_parse_head(&b, name, rest.n);
	pass_put_slice(pass, strbuf_slice(&b));
	pass_put_slice(pass, rest);
}

void prepared_put_close(struct request_pass *pass, struct stmt *stmt)
{
	struct stmt_op *op = dropped(pass, STMT_OP_SERVER_LOST, 'C');

	op->stmt = stmt_ref(stmt);
	op->version = stmt_cache_drop(&server_part(pass)->cache, stmt);
	put_close(pass, 'S', stmt_name(stmt));
}

void prepared_note_unnamed(struct request_pass *pass, uint64_t index, uint64_t of_server, uint64_t of_client)
{
	struct prepared_server *ps = server_part(pass);
	struct client *c = pass->client;
	struct stmt_op *op;

	if (ps->unnamed == of_server && c->unnamed == of_client)
		return;
	op = prepared_put_op(pass, STMT_OP_UNNAMED, index);
	op->server_unnamed = ps->unnamed;
	op->client_unnamed = c->unnamed;
	ps->unnamed = of_server;
	c->unnamed = of_client;
}

void prepared_put_close_unnamed(struct request_pass *pass)
{
	uint64_t index = dropped(pass, STMT_OP_REPLY, 'C')->index;

	prepared_note_unnamed(pass, index, 0, pass->client->unnamed);
	put_close(pass, 'S', SLICE_LIT(""));
}

void prepared_put_parse_unnamed(struct request_pass *pass, struct stmt *stmt)
{
	uint64_t index = dropped(pass, STMT_OP_REPLY, 'P')->index;

	prepared_note_unnamed(pass, index, pass->client->unnamed, pass->client->unnamed);
	put_parse(pass, SLICE_LIT(""), stmt_body(stmt));
	stats_of(pass)->server_parse_count++;
}

void prepared_put_all_lost(struct request_pass *pass, uint64_t index)
{
	struct prepared_client *pc = pass->client->prepared;
	struct stmt_names *none = stmt_names_new(pass->client->hub->stmts);
	const struct stmt_named *unnamed;

	if (none == NULL) {
		pass->has_failed = true;
		return;
	}
	/* The unnamed one stays. */
	unnamed = stmt_names_find(pc->names, SLICE_LIT(""));
	if (unnamed != NULL && !stmt_names_set(none, SLICE_LIT(""), unnamed->stmt))
		pass->has_failed = true;
	prepared_put_op(pass, STMT_OP_ALL_LOST, index)->names = pc->names;
	pc->names = none;
	stmt_cache_clear(&server_part(pass)->cache);
}

struct stmt_op *prepared_put_text(struct request_pass *pass, const char *alias, const struct slice *text, size_t n)
{
	static const char no_types[] = {0, 0, 0};
	size_t size = sizeof(no_types);
	struct stmt_op *op;
	char room[ROOM];
	struct strbuf b;

	dropped(pass, STMT_OP_REPLY, 'C');
	put_close(pass, 'S', slice_of(alias));
	op = dropped(pass, STMT_OP_REPLY, 'P');
	for (size_t i = 0; i < n; i++)
		size += text[i].n;
	strbuf_init_fixed(&b, room, sizeof(room));
	prepare_out_parse_head(&b, slice_of(alias), size);
	pass_put_slice(pass, strbuf_slice(&b));
	for (size_t i = 0; i < n; i++)
		pass_put_slice(pass, text[i]);
	pass_put(pass, no_types, sizeof(no_types));
	return op;
}

void prepared_put_alias(struct request_pass *pass, const char *alias)
{
	prepared_put_text(pass, alias, NULL, 0);
}

void prepared_put_bind_anew(struct request_pass *pass, struct slice portal, const char *alias, struct slice rest)
{
	const struct prepare_head h = {.portal = portal, .size = (uint32_t)portal.n + 2};
	const struct msg m = {.type = 'B', .len = h.size + (uint32_t)rest.n};
	struct strbuf b;

	dropped(pass, STMT_OP_REPLY, 'D');
	dropped(pass, STMT_OP_REPLY, 'C');
	dropped(pass, STMT_OP_REPLY, 'B');
	strbuf_init(&b);
	prepare_out_describe(&b, 'P', portal);
	prepare_out_close(&b, 'P', portal);
	prepare_out_head(&b, &m, &h, slice_of(alias));
	strbuf_add_slice(&b, rest);
	pass->has_failed |= b.failed;
	pass_put_slice(pass, strbuf_slice(&b));
	strbuf_fini(&b);
}

uint64_t prepared_put_nothing(struct request_pass *pass)
{
	uint64_t index = prepared_put_note(pass, 'C');

	put_close(pass, 'P', SLICE_LIT(ALIAS_PORTAL));
	return index;
}

static void put_sync(struct request_pass *pass)
{
	static const char sync[] = {'S', 0, 0, 0, 4};

	pass_put(pass, sync, sizeof(sync));
}

void prepared_put_clients_sync(struct request_pass *pass)
{
	prepared_put_note(pass, 'S');
	put_sync(pass);
}

void prepared_put_sync(struct request_pass *pass)
{
	struct prepared_server *ps = server_part(pass);

	dropped(pass, STMT_OP_REPLY, 'S')->is_injected_sync = true;
	put_sync(pass);
	stmt_ops_end_batch(&ps->ops);
	ps->batch_at = owed_next(&pass->client->server->owed);
}

/* ------------------------------------------------------------------ what the server lacks */

struct stmt_op *prepared_put_has(struct request_pass *pass, uint64_t index, struct stmt *stmt)
{
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_SERVER_HAS, index);

	op->stmt = stmt_ref(stmt);
	op->version = stmt->version;
	if (!stmt_cache_add(&server_part(pass)->cache, stmt, stmt->version, clock_us()))
		pass->has_failed = true;
	stats_of(pass)->server_parse_count++;
	return op;
}

static void note_has(struct request_pass *pass, struct stmt *stmt, char type)
{
	prepared_put_has(pass, prepared_put_note(pass, type), stmt)->reply = STMT_REPLY_DROP;
}

/*
 * By the extended protocol, so that it may stand between a client's messages,
 * and by names that nobody else uses: the unnamed ones may be the client's.
 */
static void put_sql(struct request_pass *pass, struct stmt *stmt)
{
	static const struct slice alias = {ALIAS_SQL, sizeof(ALIAS_SQL) - 1};
	const struct slice text[] = {SLICE_LIT("PREPARE \""), stmt_name(stmt), SLICE_LIT("\""), stmt_body(stmt)};
	char room[ROOM];
	struct strbuf b;

	dropped(pass, STMT_OP_REPLY, 'C');
	put_close(pass, 'P', alias);
	prepared_put_text(pass, ALIAS_SQL, text, sizeof(text) / sizeof(text[0]));
	dropped(pass, STMT_OP_REPLY, 'B');
	note_has(pass, stmt, 'E');
	strbuf_init_fixed(&b, room, sizeof(room));
	prepare_out_bind(&b, alias, alias);
	prepare_out_execute(&b, alias);
	pass_put_slice(pass, strbuf_slice(&b));
}

void prepared_put_describe(struct request_pass *pass, struct stmt *stmt)
{
	char room[ROOM];
	struct strbuf b;

	dropped(pass, STMT_OP_SHAPE, 'D')->stmt = stmt_ref(stmt);
	strbuf_init_fixed(&b, room, sizeof(room));
	prepare_out_describe(&b, 'S', stmt_name(stmt));
	pass_put_slice(pass, strbuf_slice(&b));
}

void prepared_put_flush(struct request_pass *pass)
{
	static const char flush[] = {'H', 0, 0, 0, 4};

	prepared_put_note(pass, 'H');
	pass_put(pass, flush, sizeof(flush));
}

void prepared_put_parse(struct request_pass *pass, struct stmt *stmt)
{
	if (server_part(pass)->is_doubtful)
		prepared_put_close(pass, stmt);
	if (stmt->kind == STMT_SQL) {
		put_sql(pass, stmt);
		return;
	}
	note_has(pass, stmt, 'P');
	put_parse(pass, stmt_name(stmt), stmt_body(stmt));
	prepared_put_describe(pass, stmt);
}

static bool is_over_age(const struct request_pass *pass, uint64_t used_at)
{
	const struct settings *set = hub_settings(pass->client->hub);

	return set->prepared_unnamed == PREPARED_UNNAMED_CACHE && set->prepared_unnamed_idle_timeout > 0 &&
	       clock_us() - used_at > (uint64_t)set->prepared_unnamed_idle_timeout;
}

/* Whether the server would have too many statements with so many more. */
static bool is_full(const struct request_pass *pass, uint32_t more)
{
	int64_t max = hub_settings(pass->client->hub)->max_prepared_statements;

	/* Statements of those who prepared them before it was set to 0 are not lost. */
	return stmt_cache_count(&server_part(pass)->cache) + more > (max > 0 ? max : 1);
}

/* The one that goes next; NULL: none has to, or none can. */
static struct stmt *victim(struct request_pass *pass, const struct stmt *needed, uint32_t more, bool *waits)
{
	struct prepared_server *ps = server_part(pass);
	bool full = is_full(pass, more);
	uint64_t used_at;

	*waits = false;
	for (struct stmt *s = stmt_cache_oldest(&ps->cache, NULL, &used_at); s != NULL;
	     s = stmt_cache_oldest(&ps->cache, s, &used_at)) {
		if (!full && !is_over_age(pass, used_at))
			return NULL;
		if (s == needed)
			continue;
		if (!stmt_ops_is_uncertain(&ps->ops, s, NULL))
			return s;
		*waits = full;
	}
	return NULL;
}

/* One statement is not to go. False: which could go is uncertain. */
static bool evict(struct request_pass *pass, const struct stmt *needed, uint32_t more)
{
	bool waits = false;

	for (unsigned i = 0; i < EVICTED_AT_ONCE; i++) {
		struct stmt *s = victim(pass, needed, more, &waits);

		if (s == NULL)
			break;
		prepared_put_close(pass, s);
		stats_of(pass)->prepared_evictions++;
	}
	return !waits;
}

enum prepared_verdict prepared_make_room(struct request_pass *pass)
{
	return evict(pass, NULL, 1) ? PREPARED_FORWARD : PREPARED_WAIT;
}

enum prepared_verdict prepared_ensure(struct request_pass *pass, struct stmt *stmt)
{
	struct prepared_server *ps = server_part(pass);
	enum stmt_presence presence = stmt_cache_use(&ps->cache, stmt, clock_us());

	if (stmt_ops_is_uncertain(&ps->ops, stmt, NULL))
		return PREPARED_WAIT;
	if (presence == STMT_PRESENT) {
		stats_of(pass)->prepared_hits++;
		/* The bound may have been lowered. */
		if (is_full(pass, 0))
			evict(pass, stmt, 0);
		return PREPARED_FORWARD;
	}
	if (presence == STMT_STALE)
		prepared_put_close(pass, stmt);
	else if (prepared_make_room(pass) == PREPARED_WAIT)
		return PREPARED_WAIT;
	prepared_put_parse(pass, stmt);
	return PREPARED_FORWARD;
}

/* ------------------------------------------------------------------ names */

const char *prepared_refusal(const struct client *c, size_t size)
{
	int64_t most = hub_settings(c->hub)->max_client_prepared_statements;

	if (most != 0 && (int64_t)stmt_names_count(c->prepared->names) >= most)
		return ALIAS_FULL;
	return stmt_names_memory(c->prepared->names) + size > PREPARED_MEMORY_MAX ? ALIAS_LARGE : NULL;
}

struct stmt_op *prepared_put_name(struct request_pass *pass, uint64_t index, struct slice name, struct stmt *stmt)
{
	struct stmt_names *names = pass->client->prepared->names;
	const struct stmt_named *named = stmt_names_find(names, name);
	struct stmt_op *op = prepared_put_op(pass, STMT_OP_NAMED, index);

	if (named != NULL) {
		op->name = atom_ref(named->name);
		op->before = stmt_ref(named->stmt);
	}
	if (stmt == NULL) {
		stmt_names_drop(names, name);
		return op;
	}
	op->stmt = stmt_ref(stmt);
	if (!stmt_names_set(names, name, stmt)) {
		pass->has_failed = true;
	} else if (op->name == NULL) {
		op->name = atom_ref(stmt_names_find(names, name)->name);
	}
	return op;
}
