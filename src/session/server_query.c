/*
 * What a server says to its client: looked at header by header, relayed in
 * runs straight from the read buffer, up to the ReadyForQuery that sets the
 * server free.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "pool/applications.h"
#include "proto/msg.h"
#include "proto/rules.h"
#include "session/host_check.h"
#include "session/prepared.h"
#include "session/server.h"
#include "session/slow_log.h"
#include "session/timeouts.h"

static const uint8_t parse_complete[] = {'1', 0, 0, 0, 4};

/* How far a pass over the bytes has come: [run, pos) is to be relayed. */
struct pass {
	const uint8_t *p;
	size_t n, run, pos;
};

static void note_relayed(struct server *s, size_t n)
{
	s->slot.pool->stats.now.bytes_sent += n;
	if (s->prepared != NULL)
		s->prepared->told += n;
}

static void relay(struct server *s, struct pass *pass)
{
	struct client *c = s->client;
	size_t n = pass->pos - pass->run;

	conn_write(&c->conn, pass->p + pass->run, n);
	pass->run = pass->pos;
	note_relayed(s, n);
	if (conn_is_backlogged(&c->conn))
		conn_pause(&s->conn);
	/* A client that was held back because too many replies were owed goes on, if it reads them or not. */
	if (c->conn.is_paused && !conn_is_backlogged(&s->conn) && !owed_is_many(&s->owed))
		conn_unpause(&c->conn);
}

static inline void flush(struct server *s, struct pass *pass)
{
	if (pass->pos > pass->run && s->client != NULL)
		relay(s, pass);
}

static size_t broken(struct server *s, struct pass *pass)
{
	flush(s, pass);
	if (s->client != NULL)
		server_close_with_client(s, CLOSE_SERVER_PROTOCOL, NULL);
	else
		server_close(s, SERVER_END_UNEXPECTED);
	return CONN_CLOSED;
}

/* A value that the server reports is the client's too: it set it, or was told of it now. */
static bool note_parameter(struct server *s, const struct msg *m)
{
	struct client *c = s->client;
	bool is_same = c != NULL && c->params == s->params;

	if (!server_note_parameter(s, m))
		return false;
	if (is_same) {
		paramset_unref(s->hub->params, &c->params);
		c->params = paramset_ref(s->params);
	}
	return true;
}

/* Behind a switch the server's parameters are its client's, in one spelling for all clients. */
static struct application *application_of(const struct server *s)
{
	return applications_of(s->hub->applications, s->params);
}

static void count_transaction(struct server *s, struct application *app, uint64_t now)
{
	struct pool *pool = s->slot.pool;
	uint64_t took = now - s->xact_at;

	pool->stats.now.xact_count++;
	app->transactions++;
	app->wait_time += s->waited_us;
	if (s->xact_at != 0) {
		pool->stats.now.xact_time += took;
		app->transaction_time += took;
		pool_record(pool, LATENCY_TRANSACTION, took);
	}
	slow_log_transaction(s, now);
}

void server_count_transaction(struct server *s)
{
	count_transaction(s, application_of(s), clock_us());
}

static void count_query(struct server *s, struct application *app, uint64_t now)
{
	struct pool *pool = s->slot.pool;
	uint64_t took = now - s->query_at;

	pool->stats.now.query_count++;
	app->queries++;
	s->xact_queries++;
	if (s->query_at == 0)
		return;
	pool->stats.now.query_time += took;
	app->query_time += took;
	pool_record(pool, LATENCY_QUERY, took);
}

void server_count_query(struct server *s)
{
	struct application *app = application_of(s);
	uint64_t now = clock_us();
	bool goes_on = !owed_is_clear(&s->owed);

	count_query(s, app, now);
	s->query_at = goes_on ? now : 0;
	if (s->status != 'I')
		return;
	count_transaction(s, app, now);
	s->xact_at = goes_on ? now : 0;
}

static void count_ready(struct server *s)
{
	server_count_query(s);
	if (owed_is_clear(&s->owed))
		timeouts_query_ends(s);
	else
		timeouts_next_query_begins(s);
}

/*
 * A message of a server that nobody has. An error unasked for is a server's
 * last word: no client may get it in the moment before its connection ends.
 */
__attribute__((cold))
static bool take_idle_message(struct server *s, const struct msg *m)
{
	struct error_fields f;

	switch (server_rule(m->type)) {
	case REPLY_PARAMETER:
		return server_note_parameter(s, m);
	case REPLY_ERROR:
		msg_error_fields(m, &f);
		server_log(s, LOG_LEVEL_WARNING, "%.*s: %.*s", (int)f.severity.n, f.severity.n > 0 ? f.severity.p : "",
			   (int)f.message.n, f.message.n > 0 ? f.message.p : "");
		return false;
	default:
		/* Notices and notifications have nobody to go to. */
		return m->type == 'N' || m->type == 'A';
	}
}

static bool is_needed_whole(const struct server *s, const struct msg *m)
{
	if (m->type == 'Z' || m->type == 'S')
		return true;
	return s->client == NULL ? m->type == 'E' : s->prepared != NULL && prepared_needs_whole(s, m);
}

enum verdict { GO_ON, READY, BROKEN };

/* A primary that refuses to write (25006) may be one no longer. Only what is here of the message is looked at. */
__attribute__((cold))
static void look_at_error(const struct server *s, const struct msg *m)
{
	struct error_fields f;

	if (m->have < m->len)
		return;
	msg_error_fields(m, &f);
	if (slice_is(f.sqlstate, "25006"))
		host_checks_now(s->slot.pool);
}

static enum verdict take_message(struct server *s, const struct msg *m)
{
	if (s->client == NULL)
		return take_idle_message(s, m) ? GO_ON : BROKEN;
	if (s->replication != REPLICATION_NONE) {
		replication_note_reply(s, m);
		return server_rule(m->type) == REPLY_REJECT ? BROKEN : GO_ON;
	}
	switch (server_rule(m->type)) {
	case REPLY_PASS:
		return GO_ON;
	case REPLY_ERROR:
		if (s->slot.pool->settings.attrs != TARGET_ANY)
			look_at_error(s, m);
		return owed_reply(&s->owed, m->type) ? GO_ON : BROKEN;
	case REPLY_STEP:
	case REPLY_COPY_IN:
		return owed_reply(&s->owed, m->type) ? GO_ON : BROKEN;
	case REPLY_PARAMETER:
		return note_parameter(s, m) ? GO_ON : BROKEN;
	case REPLY_READY:
		if (m->len != 1 || !owed_reply(&s->owed, 'Z'))
			return BROKEN;
		s->status = (char)m->body[0];
		return READY;
	case REPLY_REJECT:
		break;
	}
	return BROKEN;
}

static inline bool breaks_statement_mode(const struct server *s)
{
	return s->slot.pool->settings.mode == POOL_MODE_STATEMENT && s->status != 'I' && owed_is_clear(&s->owed);
}

/* The message does not go to the client; something else may in its place. */
static void relay_instead(struct server *s, const struct msg *m, struct pass *pass, const void *p, size_t n)
{
	flush(s, pass);
	if (n > 0) {
		conn_write(&s->client->conn, p, n);
		note_relayed(s, n);
	}
	pass->pos += MSG_HEADER_SIZE + m->len;
	pass->run = pass->pos;
}

/* One of those replies of which `told` had come before the batch was sent again: `mute` are still to be left out. */
static bool is_told_before(uint32_t *mute)
{
	if (*mute == 0)
		return false;
	(*mute)--;
	return true;
}

/* A reply that comes before any result is on its way to the client, unless it has had it. True: it has. */
static bool note_before_result(struct server *s, const struct msg *m, enum stmt_reply reply)
{
	struct prepared_server *ps = s->prepared;

	if (reply == STMT_REPLY_PARSED || (reply == STMT_REPLY_PASS && m->type == '1')) {
		if (is_told_before(&ps->nparsed_mute))
			return true;
		ps->nparsed_told++;
		ps->told_before += sizeof(parse_complete);
	} else if (reply == STMT_REPLY_PASS && m->type == 't' && m->have == m->len) {
		if (is_told_before(&ps->nparams_mute))
			return true;
		ps->nparams_told++;
		ps->told_before += MSG_HEADER_SIZE + m->len;
	}
	return false;
}

/* Whether the client has got, or is about to get, something of the results of this batch. */
static bool is_told(const struct server *s, const struct pass *pass)
{
	return s->prepared->told + (pass->pos - pass->run) != s->prepared->told_before;
}

/*
 * A reply of a server that has prepared statements; `first` as in
 * prepared_reply(). True: it is done with, whatever became of it.
 */
static bool take_prepared(struct server *s, const struct msg *m, uint64_t first, struct pass *pass)
{
	enum stmt_reply reply;
	struct strbuf changed;

	strbuf_init(&changed);
	reply = prepared_reply(s, m, first, is_told(s, pass), &changed);
	if ((m->type == 'Z' && prepared_is_to_replay(s)) || note_before_result(s, m, reply))
		reply = STMT_REPLY_DROP;
	/* Of what is too long to be seen whole, the rest is on its way already. */
	if (m->have < m->len || (reply == STMT_REPLY_PASS && (changed.n == 0 || changed.failed))) {
		strbuf_fini(&changed);
		return false;
	}
	if (reply == STMT_REPLY_PARSED)
		relay_instead(s, m, pass, parse_complete, sizeof(parse_complete));
	else
		relay_instead(s, m, pass, changed.p, reply == STMT_REPLY_DROP ? 0 : changed.n);
	strbuf_fini(&changed);
	return true;
}

/* No operation waits for a reply: of those that come most mean nothing to prepared statements. */
static inline bool is_quiet(const struct prepared_server *ps)
{
	return ps->ops.n == 0 && ps->replay != REPLAY_WAITING;
}

/* Nothing hangs on the reply: it says no more than that a step is done. */
static inline bool means_nothing_to_prepared(const struct prepared_server *ps, const struct msg *m)
{
	return is_quiet(ps) && m->type != 'E' && m->type != '1' && m->type != 't' &&
	       !(m->type == 'C' && prepared_may_be_all_lost(m));
}

static inline bool matters_to_prepared(const struct server *s, const struct msg *m)
{
	return s->prepared != NULL && s->client != NULL && !means_nothing_to_prepared(s->prepared, m);
}

/*
 * What most messages are: rows and the like, and steps on which nothing hangs. Such a step is ticked off. For a server
 * whose prepared statements, if it `has_statements`, are quiet.
 */
static inline bool is_plain(struct server *s, const struct msg *m, bool has_statements)
{
	switch (server_rule(m->type)) {
	case REPLY_PASS:
		return m->type != 't';
	case REPLY_STEP:
		return !(has_statements && (m->type == '1' || (m->type == 'C' && prepared_may_be_all_lost(m)))) &&
		       owed_reply(&s->owed, m->type);
	default:
		return false;
	}
}

/* Goes past plain messages, of which nobody has to see more than the head. */
static void pass_plain(struct server *s, struct pass *pass, uint32_t max)
{
	bool has_statements = s->prepared != NULL;
	size_t pos = pass->pos;
	struct msg m;

	if (s->client == NULL || s->replication != REPLICATION_NONE || (has_statements && !is_quiet(s->prepared)))
		return;
	while (msg_peek(pass->p + pos, pass->n - pos, max, &m) == PEEK_OK && is_plain(s, &m, has_statements)) {
		pos += MSG_HEADER_SIZE + m.have;
		s->remain = m.len - m.have;
	}
	pass->pos = pos;
}

/* A ReadyForQuery has come, and all before it is relayed. False: the server is closed. */
static bool go_on(struct server *s)
{
	if (s->prepared == NULL || s->client == NULL)
		return true;
	if (prepared_is_to_replay(s) && owed_is_clear(&s->owed))
		return prepared_replay(s);
	return prepared_go_on(s);
}

/* The client keeps its server: a pool mode that would have it otherwise cannot. */
static void note_pin(const struct server *s)
{
	const struct pool *pool = s->slot.pool;
	enum pin why = PIN_UNSURE;

	if (pool->settings.mode == POOL_MODE_SESSION)
		return;
	if (conn_is_backlogged(&s->conn))
		why = PIN_BACKLOG;
	else if (s->client->remain > 0)
		why = PIN_HALF_MESSAGE;
	else if (s->owed.n > 0)
		why = PIN_PIPELINE;
	else if (s->owed.is_unsynced)
		why = PIN_UNSYNCED;
	pool_session(pool)->counts.pins[why]++;
}

/*
 * Behind the last answer a server may still have something to tell its client,
 * but no answer. One that says more, or less than a whole message, is not the
 * next client's: that would take it for the answer to its own query.
 */
__attribute__((cold))
static bool has_said_all(struct server *s, struct pass *pass, uint32_t max)
{
	while (pass->pos < pass->n) {
		struct msg m;

		if (msg_peek(pass->p + pass->pos, pass->n - pass->pos, max, &m) != PEEK_OK || m.have < m.len)
			return false;
		if (m.type != 'N' && m.type != 'A' && (m.type != 'S' || !note_parameter(s, &m)))
			return false;
		pass->pos += MSG_HEADER_SIZE + m.len;
	}
	return true;
}

/* Whether others get the server at the end of each transaction. */
static bool is_shared(const struct server *s)
{
	return s->slot.pool->settings.mode != POOL_MODE_SESSION && s->replication == REPLICATION_NONE;
}

/* What comes behind a ReadyForQuery that the client gets. False: the server is for others, or closed. */
static bool after_ready(struct server *s, struct pass *pass, uint32_t max)
{
	const struct client *c = s->client;

	count_ready(s);
	if (s->prepared != NULL && s->prepared->is_client_waiting) {
		flush(s, pass);
		if (!go_on(s))
			return false;
	}
	if (s->status != 'I')
		return true;
	if (pass->pos < pass->n && is_shared(s) && server_is_between_transactions(s) && !has_said_all(s, pass, max)) {
		s->slot.close_needed = true;
		s->retired_because = SERVER_END_UNEXPECTED;
	}
	/* The client has its answer before anybody else gets the server. */
	flush(s, pass);
	/* What the client has gone on with may have been its end: another may have the server, or nobody. */
	if (!server_settle(s) && s->client == c)
		note_pin(s);
	/* Closed, set up for the next client, or that client's already. */
	if (s->phase != SERVER_READY)
		return false;
	pass->run = pass->pos;
	return true;
}

/* Between two messages of a replication connection. True: a drain has ended it. */
static inline bool ends_replication(struct server *s, struct pass *pass)
{
	if (s->replication == REPLICATION_NONE || s->client == NULL || s->hub->drain.phase < DRAIN_PACED)
		return false;
	flush(s, pass);
	drain_look(s->client);
	return s->phase == SERVER_CLOSED;
}

/* The rest of a message whose beginning has come before. */
static inline void pass_rest(struct server *s, struct pass *pass)
{
	size_t left = pass->n - pass->pos, here = left < s->remain ? left : s->remain;

	pass->pos += here;
	s->remain -= (uint32_t)here;
}

/* LATER: more of it has to come first. OVER: what else there is is for others, or the server is closed. */
enum course { NEXT, LATER, OVER };

__attribute__((cold))
static enum course end_as_broken(struct server *s, struct pass *pass)
{
	broken(s, pass);
	return OVER;
}

/* A message that is not plain. */
static enum course take_next(struct server *s, const struct msg *m, struct pass *pass, uint32_t max)
{
	uint64_t first = s->owed.first;
	enum verdict verdict;

	if (m->have < m->len && is_needed_whole(s, m))
		return m->len > SERVER_WHOLE_MAX ? end_as_broken(s, pass) : LATER;
	verdict = take_message(s, m);
	if (verdict == BROKEN)
		return end_as_broken(s, pass);
	if (matters_to_prepared(s, m) && take_prepared(s, m, first, pass))
		return verdict == READY && !go_on(s) ? OVER : NEXT;
	if (verdict == READY && breaks_statement_mode(s)) {
		/* In the place of the ReadyForQuery, which would tell the client to go on. */
		flush(s, pass);
		server_close_with_client(s, CLOSE_STATEMENT_MODE, NULL);
		return OVER;
	}
	pass->pos += MSG_HEADER_SIZE + m->have;
	s->remain = m->len - m->have;
	return verdict == READY && !after_ready(s, pass, max) ? OVER : NEXT;
}

/* Goes from message to message as far as they are here. False: see OVER. */
static bool take_messages(struct server *s, struct pass *pass)
{
	uint32_t max = (uint32_t)hub_settings(s->hub)->max_packet_size;
	enum course course = NEXT;
	struct msg m;

	pass_rest(s, pass);
	while (course == NEXT) {
		pass_plain(s, pass, max);
		if (pass->pos == pass->n)
			return true;
		if (ends_replication(s, pass))
			return false;
		switch (msg_peek(pass->p + pass->pos, pass->n - pass->pos, max, &m)) {
		case PEEK_SHORT:
			return true;
		case PEEK_BAD:
			course = end_as_broken(s, pass);
			break;
		case PEEK_OK:
			course = take_next(s, &m, pass, max);
			break;
		}
	}
	return course == LATER;
}

size_t server_query_bytes(struct server *s, const uint8_t *p, size_t n)
{
	struct pass pass = {.p = p, .n = n};

	s->has_replied = true;
	if (!take_messages(s, &pass))
		return s->phase == SERVER_CLOSED ? CONN_CLOSED : pass.pos;
	flush(s, &pass);
	if (s->prepared != NULL && !prepared_go_on(s))
		return CONN_CLOSED;
	if (s->owed.n == 0 && s->remain == 0 && s->client != NULL && s->replication == REPLICATION_NONE)
		timeouts_rests(s);
	return s->remain == 0 && ends_replication(s, &pass) ? CONN_CLOSED : pass.pos;
}
