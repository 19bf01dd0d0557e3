/*
 * Servers whose client has left in the middle of something: what still runs
 * is cancelled, or let run if the client has taken its leave, the replies are
 * dropped (TASK_DRAIN), the transaction is rolled back (TASK_ROLLBACK), and
 * the server is released as any other.
 *
 * Two deadlines of the server's have another meaning here. `deadline` bounds
 * all of this, from the moment on when nobody wants the query any more: while
 * it is not armed, the query runs on behalf of a client that left it behind,
 * and `query_deadline` and `xact_deadline` go on for that. Once it is armed,
 * `query_deadline` says when a query that still runs is cancelled once more.
 */
#include "base/clock.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "session/cancel_request.h"
#include "session/server.h"
#include "session/slow_log.h"

/* The bound when server_connect_timeout, which holds for statements of our own, sets none. */
#define LONGEST_US (15 * CLOCK_SECOND)

/*
 * A cancel request does nothing when it comes before the backend has read the
 * query, and of a pipeline it ends one query only. So there may be another
 * one soon; later ones, to a backend that takes its time, are less urgent.
 */
#define CANCEL_SOON_US (CLOCK_SECOND / 10)
#define CANCEL_LATER_US CLOCK_SECOND

/*
 * A client that takes its leave and closes its socket stops a PostgreSQL that
 * goes on answering: to nobody's use it would send a table to its end. As
 * much as fits into sockets' buffers may have gone unnoticed.
 */
#define DROPPED_MAX ((uint64_t)1024 * 1024)

static void on_too_long(struct deadline *d)
{
	server_close((struct server *)((char *)d - offsetof(struct server, deadline)), SERVER_END_ABANDONED);
}

static void set_bound(struct server *s)
{
	uint64_t span = (uint64_t)hub_settings(s->hub)->server_connect_timeout;

	deadline_arm(&s->deadline, deadline_list(s->hub->loop, span != 0 ? span : LONGEST_US, on_too_long));
}

/* Its client has left it behind to be run: neither cancelled nor bounded by us. */
static bool is_left_to_run(const struct server *s)
{
	return !deadline_is_armed(&s->deadline);
}

static void release(struct server *s)
{
	s->phase = SERVER_READY;
	deadline_disarm(&s->deadline);
	server_release(s);
}

/* ------------------------------------------------------------------ ending what runs */

/* One request at a time: while one is under way, nobody knows what the next would hit. */
static bool cancel(struct server *s)
{
	return s->ncancels > 0 || cancel_request_send(s);
}

static void on_still_running(struct deadline *d)
{
	struct server *s = (struct server *)((char *)d - offsetof(struct server, query_deadline));

	cancel(s);
	deadline_arm(&s->query_deadline, deadline_list(s->hub->loop, CANCEL_LATER_US, on_still_running));
	/* It is not as good as there any more: whoever waits gets another one, if the pool may have it. */
	pool_server_enter(&s->slot, POOL_SERVER_ACTIVE);
	pool_session_fill(s->slot.pool);
}

static void watch_query(struct server *s)
{
	deadline_arm(&s->query_deadline, deadline_list(s->hub->loop, CANCEL_SOON_US, on_still_running));
}

/* A server that waits for COPY data hears that there will be no more, and fails. False: it does not wait for any. */
static bool end_copy(struct server *s)
{
	struct strbuf out;
	char room[64];
	size_t mark;

	if (!s->owed.is_copying_in)
		return false;
	strbuf_init_fixed(&out, room, sizeof(room));
	mark = out_begin(&out, 'f');
	out_string(&out, "the client has gone");
	out_end(&out, mark);
	owed_sent(&s->owed, 'f');
	conn_write(&s->conn, out.p, out.n);
	return true;
}

/* Nobody wants the query any more. False: it cannot be ended. */
static bool end_query(struct server *s)
{
	server_log(s, LOG_LEVEL_DEBUG, "client gone in a query: cancelling it");
	set_bound(s);
	deadline_disarm(&s->xact_deadline);
	watch_query(s);
	return end_copy(s) || cancel(s);
}

/* ------------------------------------------------------------------ dropping replies */

/* What runs in a pipeline is bounded as it would be had the client stayed. */
static void bound_next_query(struct server *s)
{
	if (deadline_is_armed(&s->query_deadline))
		deadline_arm(&s->query_deadline, s->query_deadline.list);
	if (s->status == 'I' && deadline_is_armed(&s->xact_deadline))
		deadline_arm(&s->xact_deadline, s->xact_deadline.list);
}

static void note_ready(struct server *s)
{
	server_count_query(s);
	if (owed_is_clear(&s->owed))
		server_abandon_go_on(s);
	else if (is_left_to_run(s))
		bound_next_query(s);
	else
		watch_query(s);
}

/*
 * A Sync in the place of one that never came would commit what PostgreSQL, the
 * client gone, throws away. And without knowing how many replies are to come
 * nobody knows which one is the last.
 */
static bool is_beyond_repair(const struct owed *o)
{
	return o->is_unsynced || o->is_unsure || o->is_lost;
}

void server_abandon_note(struct server *s, const struct msg *m)
{
	s->dropped += m->len;
	if (is_beyond_repair(&s->owed))
		server_close(s, SERVER_END_NOT_READY); /* NOLINT(bugprone-branch-clone): the last one does the same */
	else if (m->type == 'Z')
		note_ready(s);
	else if (m->type == 'G')
		end_copy(s);
	else if (s->dropped > DROPPED_MAX && is_left_to_run(s) && !end_query(s))
		server_close(s, SERVER_END_NOT_READY);
}

/* ------------------------------------------------------------------ the transaction */

void server_abandon_go_on(struct server *s)
{
	if (!owed_is_clear(&s->owed))
		return;
	deadline_disarm(&s->query_deadline);
	deadline_disarm(&s->xact_deadline);
	if (is_left_to_run(s))
		set_bound(s);
	/* It would hit the ROLLBACK; its end leads here again. */
	if (s->ncancels > 0)
		return;
	s->phase = SERVER_READY;
	/* Half a message from or to the server counts as not between transactions: the ROLLBACK comes behind both. */
	if (server_is_between_transactions(s))
		release(s);
	else
		server_task_start(s, TASK_ROLLBACK);
}

void server_abandon_rolled_back(struct server *s)
{
	/* Otherwise it was only to be sure. */
	if (s->xact_at != 0) {
		server_count_transaction(s);
		if (hub_settings(s->hub)->log_disconnections)
			server_log(s, LOG_LEVEL_LOG, "client gone in a transaction: rolled back");
	}
	release(s);
}

/* ------------------------------------------------------------------ the client leaves */

static bool is_to_be_kept(const struct server *s, enum leaving how)
{
	return how != LEAVING_MID_MESSAGE && how != LEAVING_WITH_POOLER && !is_beyond_repair(&s->owed) &&
	       hub_settings(s->hub)->server_abandoned == SERVER_ABANDONED_ROLLBACK;
}

/* A query that runs on would keep its locks though its connection is closed. */
static bool is_to_be_canceled(const struct server *s, enum leaving how)
{
	return (how == LEAVING_VANISHED || how == LEAVING_MID_MESSAGE) && s->owed.n > 0 &&
	       hub_settings(s->hub)->server_abandoned == SERVER_ABANDONED_ROLLBACK;
}

static void begin(struct server *s, enum leaving how)
{
	conn_unpause(&s->conn);
	s->dropped = 0;
	server_task_start(s, TASK_DRAIN);
	if (owed_is_clear(&s->owed)) {
		pool_server_enter(&s->slot, POOL_SERVER_TESTED);
		server_abandon_go_on(s);
	} else if (how == LEAVING_ORDERLY) {
		end_copy(s);
	} else {
		pool_server_enter(&s->slot, POOL_SERVER_TESTED);
		if (!end_query(s))
			server_close(s, SERVER_END_NOT_READY);
	}
}

void server_abandon(struct server *s, enum leaving how)
{
	if (is_to_be_kept(s, how)) {
		begin(s, how);
		return;
	}
	if (is_to_be_canceled(s, how))
		cancel(s);
	server_close(s, SERVER_END_NOT_READY);
}
