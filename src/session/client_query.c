/*
 * What a logged-in client sends: looked at header by header, and forwarded in
 * runs, straight from the read buffer.
 */
#include <stdio.h>

#include "base/clock.h"
#include "proto/msg.h"
#include "proto/rules.h"
#include "session/client.h"
#include "session/prepared.h"
#include "session/request_pass.h"
#include "session/server.h"
#include "session/timeouts.h"

/* What a console takes, besides Terminate: a query, or the extended query protocol. */
#define CONSOLE_TYPES "QPBDECHS"

/* A longer command cannot be meant for the console. */
#define CONSOLE_QUERY_MAX 16384

__attribute__((cold))
static size_t bad_header(struct client *c, const uint8_t *p, const char *detail)
{
	char text[32];

	snprintf(text, sizeof(text), "%02x%02x%02x%02x%02x", p[0], p[1], p[2], p[3], p[4]);
	client_close_with(c, CLOSE_BAD_PACKET, text, detail);
	return CONN_CLOSED;
}

static size_t bad_length(struct client *c, const uint8_t *p)
{
	return bad_header(c, p, "A message is longer than max_packet_size, or shorter than its length word.");
}

/* A server would end without a word, as if something was wrong with it. */
__attribute__((cold))
static void refuse_too_long(struct request_pass *pass)
{
	pass_flush(pass);
	bad_header(pass->client, pass->p + pass->pos, "No server takes a message of this type that is so long.");
}

/*
 * Gets the client a server for the message at hand. True: it can be sent now.
 * Otherwise the client waits (for a server, or for it to be set up), is to
 * read its answers first, or was closed.
 */
static bool acquire(struct client *c)
{
	struct pool *pool = client_pool(c);
	struct pool_server *slot;
	struct server *s;

	if (conn_is_backlogged(&c->conn)) {
		conn_pause(&c->conn);
		return false;
	}
	if (pool_session_is_down(pool)) {
		pool_session_refuse(c);
		return false;
	}
	c->request_at = clock_us();
	switch (pool_acquire(pool, &c->waiter, c->request_at, &slot)) {
	case POOL_GRANTED:
		s = server_of_slot(slot);
		server_link(s, c);
		return s->phase == SERVER_READY;
	case POOL_QUEUED_TEST_ONE:
		client_enter(c, CLIENT_WAITING);
		server_task_start(server_of_slot(slot), TASK_CHECK);
		return false;
	case POOL_QUEUED:
		client_enter(c, CLIENT_WAITING);
		/* A pool that waits for something itself waits for it with one client more, too. */
		if (!pool_is_busy(pool) && (pool->blocked_in == NULL || pool->nwaiting == 1))
			pool_session_fill(pool);
		return false;
	}
	return false;
}

static void begin_query(struct server *s)
{
	s->query_at = clock_us();
	timeouts_query_begins(s);
	if (s->xact_at == 0) {
		s->xact_at = s->query_at;
		s->has_replied = false;
	}
}

/* A message is on its way: the clocks and counters. */
static inline void note_begun(struct client *c, char type)
{
	struct server *s = c->server;

	/* What is left of a COPY that has failed is no query: nothing answers it. */
	if (s->query_at == 0 && !owed_is_clear(&s->owed))
		begin_query(s);
	if (type == 'P')
		client_pool(c)->stats.now.client_parse_count++;
	else if (type == 'B')
		client_pool(c)->stats.now.bind_count++;
}

/* Notes what the server will owe for a message that passes as it is. False: no memory for it, both are closed. */
static inline bool note_sent(struct client *c, char type)
{
	if (c->replication != REPLICATION_NONE) {
		replication_note_sent(c->server, type);
		return true;
	}
	if (!owed_sent(&c->server->owed, type)) {
		server_close_with_client(c->server, CLOSE_OUT_OF_MEMORY, NULL);
		return false;
	}
	note_begun(c, type);
	return true;
}

enum verdict { GO_ON, TAKEN, STOP, GONE };

/*
 * Its next message hangs on answers that are to come. Where a failed COPY has left it open for good which those are, one
 * that is waited for may never come.
 */
__attribute__((cold))
static enum verdict wait_for_answers(struct client *c)
{
	if (c->server->owed.is_lost) {
		server_close_with_client(c->server, CLOSE_SERVER_PROTOCOL,
					 "Too much was sent behind a COPY that has failed to tell what the server has answered.");
		return GONE;
	}
	c->server->prepared->is_client_waiting = true;
	hang_ups_hold_back(c);
	return STOP;
}

/* Of a client whose prepared statements follow it, any message that the server runs. */
static enum verdict look_up_statement(struct client *c, const struct msg *m, struct request_pass *pass)
{
	switch (prepared_request(c, m, pass)) {
	case PREPARED_FORWARD:
		break;
	case PREPARED_TAKEN:
		note_begun(c, m->type);
		prepared_sent(c, m->type);
		return TAKEN;
	case PREPARED_WAIT:
		return wait_for_answers(c);
	case PREPARED_GONE:
		return GONE;
	}
	return GO_ON;
}

static inline enum verdict prepare_forward(struct client *c, const struct msg *m, struct request_pass *pass)
{
	if (m->type == 'Q' && hub_settings(c->hub)->disable_pqexec) {
		pass_flush(pass);
		client_close(c, CLOSE_PQEXEC_DISALLOWED);
		return GONE;
	}
	if (pass->is_tracked && !prepared_can_read(c, m))
		return STOP;
	if (c->server == NULL && !acquire(c))
		return c->state == CLIENT_CLOSED ? GONE : STOP;
	if (!pass->is_tracked)
		return GO_ON;
	prepared_begin_batch(c->server, pass);
	return prepared_is_foreign(c, m) ? GO_ON : look_up_statement(c, m, pass);
}

/* It was to leave, and asks for something more: see session/drain.h. */
__attribute__((cold))
static enum verdict answer_with_end(struct client *c, struct request_pass *pass)
{
	pass_flush(pass);
	client_close(c, CLOSE_ADMIN_SHUTDOWN);
	return GONE;
}

/* Whether the message may be forwarded, after what it takes for that. */
static inline enum verdict prepare(struct client *c, const struct msg *m, struct request_pass *pass)
{
	switch (client_rule(m->type)) {
	case REQUEST_FORWARD:
		return c->is_leaving ? answer_with_end(c, pass) : prepare_forward(c, m, pass);
	case REQUEST_COPY:
		return GO_ON;
	case REQUEST_TERMINATE:
		pass_flush(pass);
		client_close(c, CLOSE_CLIENT_QUIT);
		return GONE;
	case REQUEST_REJECT:
		break;
	}
	pass_flush(pass);
	client_close(c, CLOSE_UNKNOWN_PACKET);
	return GONE;
}

/* The body of a message, as far as it is here. Without a server (left-over COPY data) it is dropped. */
static inline void pass_body(struct client *c, struct request_pass *pass)
{
	size_t left = pass->n - pass->pos, here = left < c->remain ? left : c->remain;

	pass->pos += here;
	c->remain -= (uint32_t)here;
	if (c->server == NULL)
		pass->run = pass->pos;
}

/* A message that passes as it is, as far as it is here. False: both ends were closed. */
static inline bool pass_on(struct client *c, const struct msg *m, struct request_pass *pass)
{
	pass->pos += MSG_HEADER_SIZE + m->have;
	c->remain = m->len - m->have;
	if (c->server == NULL) {
		pass->run = pass->pos;
		return true;
	}
	if (!note_sent(c, m->type))
		return false;
	if (pass->is_tracked)
		prepared_sent(c, m->type);
	return true;
}

/* Goes from message to message as far as they can be sent. False: the client was closed. */
static bool pass_messages(struct client *c, struct request_pass *pass)
{
	uint32_t max = (uint32_t)hub_settings(c->hub)->max_packet_size;

	if (c->remain > 0)
		pass_body(c, pass);
	while (pass->pos < pass->n) {
		struct msg m;

		switch (msg_peek(pass->p + pass->pos, pass->n - pass->pos, max, &m)) {
		case PEEK_SHORT:
			return true;
		case PEEK_BAD:
			pass_flush(pass);
			bad_length(c, pass->p + pass->pos);
			return false;
		case PEEK_OK:
			break;
		}
		if (client_is_too_long(m.type, m.len)) {
			refuse_too_long(pass);
			return false;
		}
		switch (prepare(c, &m, pass)) {
		case GONE:
			return false;
		case STOP:
			return true;
		case TAKEN:
			/* If only its head was rewritten, the body passes as it is. */
			pass_body(c, pass);
			break;
		case GO_ON:
			if (!pass_on(c, &m, pass))
				return false;
			break;
		}
	}
	return true;
}

/* The server is being set up for the client, or is to get its batch once more: as if the client still waited. */
static bool is_server_busy(const struct server *s)
{
	return s->phase != SERVER_READY || prepared_is_to_replay(s);
}

size_t client_query_bytes(struct client *c, const uint8_t *p, size_t n)
{
	struct request_pass pass;

	if (c->server != NULL && is_server_busy(c->server)) {
		if (c->server->prepared != NULL)
			c->server->prepared->is_client_waiting = true;
		hang_ups_hold_back(c);
		return 0;
	}
	pass_begin(&pass, c, p, n);
	pass.is_tracked = c->replication == REPLICATION_NONE && prepared_is_tracked(c);
	if (!pass_messages(c, &pass))
		return CONN_CLOSED;
	if (c->server != NULL)
		prepared_record(c->server, &pass);
	pass_flush(&pass);
	/* The end of COPY data that came behind the server's ReadyForQuery is what the release waited for. */
	if (c->server != NULL && c->remain == 0 && c->server->owed.n == 0 && !timeouts_rests(c->server))
		server_settle(c->server);
	/* During a shutdown that was the client's last transaction. */
	return c->state == CLIENT_CLOSED ? CONN_CLOSED : pass.pos;
}

/*
 * While its command lasts a console is listened to for its end alone. What
 * else it says is kept, unread: once paused, its end would not be noticed.
 */
static size_t waiting_console_bytes(struct client *c, const uint8_t *p, size_t n)
{
	if (p[0] == 'X') {
		client_close(c, CLOSE_CLIENT_QUIT);
		return CONN_CLOSED;
	}
	if (n > CONSOLE_QUERY_MAX)
		conn_pause(&c->conn);
	return 0;
}

bool client_has_taken_leave(const struct client *c)
{
	size_t pos = 0, n;
	const uint8_t *p = conn_kept(&c->conn, &n);
	struct msg m;

	while (pos < n && msg_peek(p + pos, n - pos, INT32_MAX, &m) == PEEK_OK && m.have == m.len) {
		if (client_rule(m.type) == REQUEST_TERMINATE)
			return true;
		pos += MSG_HEADER_SIZE + m.len;
	}
	return false;
}

size_t client_console_bytes(struct client *c, const uint8_t *p, size_t n)
{
	struct strbuf out;
	struct msg m;
	bool is_alive;

	if (c->state == CLIENT_CONSOLE_WAIT)
		return waiting_console_bytes(c, p, n);
	/* One that does not read its answers is not asked for more, nor while one is on its way. */
	if (conn_is_backlogged(&c->conn) || c->hub->console->is_telling(c)) {
		conn_pause(&c->conn);
		return 0;
	}
	switch (msg_peek(p, n, CONSOLE_QUERY_MAX, &m)) {
	case PEEK_SHORT:
		return 0;
	case PEEK_BAD:
		return bad_length(c, p);
	case PEEK_OK:
		break;
	}
	if (m.type == '\0' || strchr(CONSOLE_TYPES, m.type) == NULL) {
		client_close(c, m.type == 'X' ? CLOSE_CLIENT_QUIT : CLOSE_UNKNOWN_PACKET);
		return CONN_CLOSED;
	}
	if (m.have < m.len)
		return 0;
	c->request_at = clock_us();
	strbuf_init(&out);
	if (m.type == 'Q')
		is_alive = c->hub->console->on_query(c, (struct slice){(const char *)m.body, m.len > 0 ? m.len - 1 : 0}, &out);
	else
		is_alive = c->hub->console->on_extended(c, &m, &out);
	if (is_alive)
		conn_write(&c->conn, out.p, out.n);
	strbuf_fini(&out);
	return is_alive ? MSG_HEADER_SIZE + m.len : CONN_CLOSED;
}
