/*
 * Statements that we run ourselves on a server between two clients:
 * connect_query, server_check_query, server_reset_query, the end of a
 * transaction that was left open, and the switch to a client's session
 * parameters. Their replies end here, and so do those of a query whose client
 * has gone (TASK_DRAIN; what that leads to is in server_abandon.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "proto/rules.h"
#include "session/prepared.h"
#include "session/server.h"
#include "session/server_host.h"

/* The value of a parameter of which all we know is that it may have any: equal to no client's, which hold no NUL. */
#define UNKNOWN_VALUE SLICE_LIT("\0")

static void write_query(struct server *s, const char *sql, struct strbuf *out)
{
	out_query(out, sql);
	owed_sent(&s->owed, 'Q');
}

static void write_switch(struct server *s, struct strbuf *out)
{
	s->params_before = paramset_ref(s->params);
	s->nswitch = (uint8_t)params_out_switch(s->hub->params, s->params, s->client->params, out, s->switch_index);
	s->iswitch = 0;
	owed_sent(&s->owed, 'P');
	for (unsigned i = 0; i < s->nswitch; i++) {
		owed_sent(&s->owed, 'B');
		owed_sent(&s->owed, 'E');
	}
	owed_sent(&s->owed, 'S');
}

/* The login's covers the connect_query, too; what a client has left behind has one for all of it. */
static bool has_deadline_already(enum server_task task)
{
	return task == TASK_CONNECT_QUERY || task == TASK_DRAIN || task == TASK_ROLLBACK;
}

void server_task_start(struct server *s, enum server_task task)
{
	const struct settings *set = hub_settings(s->hub);
	struct strbuf out;

	s->task = (uint8_t)task;
	s->phase = SERVER_TASK;
	s->is_failed_task = false;
	if (task != TASK_DRAIN)
		prepared_note_own(s);
	if (!has_deadline_already(task))
		deadline_arm(&s->deadline, pool_session(s->slot.pool)->server_connect);
	strbuf_init(&out);
	switch (task) {
	case TASK_CONNECT_QUERY:
		write_query(s, s->slot.pool->database->conf->connect_query, &out);
		break;
	case TASK_CHECK:
		write_query(s, strcmp(set->server_check_query, "<empty>") == 0 ? "" : set->server_check_query, &out);
		break;
	case TASK_RESET:
		pool_server_enter(&s->slot, POOL_SERVER_TESTED);
		write_query(s, set->server_reset_query, &out);
		break;
	case TASK_SWITCH:
		write_switch(s, &out);
		break;
	case TASK_DRAIN:
		break;
	case TASK_ROLLBACK:
		pool_server_enter(&s->slot, POOL_SERVER_TESTED);
		write_query(s, "ROLLBACK", &out);
		break;
	}
	/* Out of memory shows as a server that never answers in its task; better to end it. */
	if (out.failed)
		shutdown(conn_fd(&s->conn), SHUT_RDWR);
	else
		conn_write(&s->conn, out.p, out.n);
	strbuf_fini(&out);
}

/* ------------------------------------------------------------------ replies */

bool server_note_parameter(struct server *s, const struct msg *m)
{
	struct cursor cursor = msg_cursor(m);
	struct slice name = cursor_string(&cursor), value = cursor_string(&cursor);
	int i;

	if (cursor.bad)
		return false;
	server_host_note_parameter(s, name, value);
	i = params_find(s->hub->params, name);
	if (i < 0)
		return true;
	s->reported |= UINT64_C(1) << i;
	return paramset_change(s->hub->params, &s->params, (size_t)i, value);
}

/* The value of one switched parameter in the server's own spelling. */
static bool note_switched(struct server *s, const struct msg *m)
{
	struct cursor cursor = msg_cursor(m);
	uint16_t columns = cursor_u16(&cursor);
	uint32_t size = cursor_u32(&cursor);
	struct slice value = cursor_bytes(&cursor, size == UINT32_MAX ? 0 : size);
	size_t i;

	if (cursor.bad || columns != 1 || s->iswitch >= s->nswitch)
		return false;
	i = s->switch_index[s->iswitch++];
	/* Back to the default, whatever that is: unset, as a client has it that never set it. */
	if (s->client != NULL && paramset_value(s->client->params, i) == NULL)
		return paramset_unset(s->hub->params, &s->params, i);
	return paramset_change(s->hub->params, &s->params, i, value);
}

/* The client asked for a parameter that the server does not take: it hears so in the server's words. */
static void refuse_client(struct server *s, const struct msg *m)
{
	struct client *c = s->client;
	struct error_fields f;
	char *sqlstate, *message;
	struct close_error e;

	if (c == NULL)
		return;
	s->client = NULL;
	c->server = NULL;
	msg_error_fields(m, &f);
	sqlstate = strndup(f.sqlstate.n > 0 ? f.sqlstate.p : "", f.sqlstate.n);
	message = strndup(f.message.n > 0 ? f.message.p : "", f.message.n);
	e = (struct close_error){.sqlstate = sqlstate != NULL && f.sqlstate.n == 5 ? sqlstate : "22023",
				 .message = message == NULL ? "invalid parameter" : message,
				 .detail = "The server refused a session parameter that this client brought along."};
	client_close_error(c, CLOSE_PARAMETERS_REFUSED, &e);
	free(sqlstate);
	free(message);
}

static void note_error(struct server *s, const struct msg *m)
{
	struct error_fields f;

	s->is_failed_task = true;
	msg_error_fields(m, &f);
	server_log(s, LOG_LEVEL_WARNING, "%.*s: %.*s", (int)f.severity.n, f.severity.n > 0 ? f.severity.p : "",
		   (int)f.message.n, f.message.n > 0 ? f.message.p : "");
	if (s->task != TASK_SWITCH)
		return;
	/* The server rolls all of it back. */
	if (s->params_before != NULL) {
		paramset_unref(s->hub->params, &s->params);
		s->params = s->params_before;
		s->params_before = NULL;
	}
	refuse_client(s, m);
}

/*
 * A reset puts back what the server does not report, too: what such a
 * parameter was switched to by us no longer holds.
 */
static bool forget_unreported(struct server *s)
{
	for (size_t i = 0; i < params_count(s->hub->params); i++) {
		if ((s->reported >> i & 1) || paramset_value(s->params, i) == NULL)
			continue;
		if (!paramset_change(s->hub->params, &s->params, i, UNKNOWN_VALUE))
			return false;
	}
	return true;
}

static enum server_end failure_of(const struct server *s)
{
	switch (s->task) {
	case TASK_CONNECT_QUERY:
		return SERVER_END_CONNECT_QUERY_FAILED;
	case TASK_CHECK:
		return SERVER_END_CHECK_FAILED;
	case TASK_RESET:
		return SERVER_END_RESET_FAILED;
	case TASK_ROLLBACK:
		return SERVER_END_ROLLBACK_FAILED;
	default:
		return SERVER_END_SWITCH_FAILED;
	}
}

static void finish_switch(struct server *s)
{
	struct client *c = s->client;

	s->phase = SERVER_READY;
	deadline_disarm(&s->deadline);
	paramset_unref(s->hub->params, &s->params_before);
	if (c == NULL) {
		server_offer(s);
		return;
	}
	paramset_unref(s->hub->params, &c->params);
	c->params = paramset_ref(s->params);
	conn_resume(&c->conn);
}

/* ReadyForQuery: the task is done. The server may be closed behind this, or another's, or in the next task. */
static void finish(struct server *s)
{
	if (s->status != 'I' || (s->is_failed_task && s->task != TASK_SWITCH) ||
	    (s->task == TASK_RESET && !forget_unreported(s))) {
		if (s->client != NULL)
			server_close_with_client(s, CLOSE_SERVER_PROTOCOL, NULL);
		else if (s->task == TASK_CONNECT_QUERY)
			server_login_refused(s, server_end_text(failure_of(s)));
		else
			server_close(s, failure_of(s));
		return;
	}
	if (s->task == TASK_SWITCH) {
		finish_switch(s);
	} else if (s->task == TASK_CONNECT_QUERY) {
		server_ready(s);
	} else if (s->task == TASK_ROLLBACK) {
		server_abandon_rolled_back(s);
	} else {
		s->phase = SERVER_READY;
		deadline_disarm(&s->deadline);
		server_offer(s);
	}
}

/* Whether a message of this type is looked into, so that all of it has to be here. */
static bool is_needed_whole(const struct server *s, const struct msg *m)
{
	switch (m->type) {
	case 'S':
	case 'Z':
		return true;
	case 'E':
		return s->task != TASK_DRAIN;
	case 'D':
		return s->task == TASK_SWITCH;
	default:
		return s->prepared != NULL && prepared_needs_whole(s, m);
	}
}

/* Nothing of our own asks for data, but a client's query may, whose replies are dropped here. */
static bool has_a_place(const struct server *s, char type)
{
	return server_rule(type) != REPLY_REJECT && (server_rule(type) != REPLY_COPY_IN || s->task == TASK_DRAIN);
}

/* False: the server makes no sense. */
static bool take_message(struct server *s, const struct msg *m)
{
	uint64_t first = s->owed.first;

	if (!has_a_place(s, m->type) || !owed_reply(&s->owed, m->type))
		return false;
	if (s->prepared != NULL)
		prepared_note_reply(s, m, first);
	switch (m->type) {
	case 'E':
		if (s->task != TASK_DRAIN)
			note_error(s, m);
		return true;
	case 'S':
		return server_note_parameter(s, m);
	case 'D':
		return s->task != TASK_SWITCH || note_switched(s, m);
	case 'Z':
		s->status = 'E';
		if (m->len == 1)
			s->status = (char)m->body[0];
		return true;
	default:
		return true;
	}
}

static size_t broken(struct server *s)
{
	if (s->client != NULL)
		server_close_with_client(s, CLOSE_SERVER_PROTOCOL, NULL);
	else
		server_close(s, SERVER_END_SERVER_PROTOCOL);
	return CONN_CLOSED;
}

/*
 * The server has answered all that it was asked, and goes on: whoever gets it
 * next, or our own next statement, would take that for an answer. True: it is closed.
 */
static bool ends_for_saying_more(struct server *s)
{
	if (s->task == TASK_DRAIN) {
		server_close(s, SERVER_END_UNEXPECTED);
		return true;
	}
	/* What follows the switch is for the client that it was made for. */
	s->is_failed_task |= s->task != TASK_SWITCH;
	return false;
}

size_t server_task_bytes(struct server *s, const uint8_t *p, size_t n)
{
	size_t pos = 0;

	while (pos < n) {
		struct msg m;
		enum peek peek;

		if (s->remain > 0) {
			size_t here = n - pos < s->remain ? n - pos : s->remain;

			pos += here;
			s->remain -= (uint32_t)here;
			continue;
		}
		peek = msg_peek(p + pos, n - pos, INT32_MAX, &m);
		if (peek == PEEK_SHORT)
			return pos;
		if (peek == PEEK_BAD)
			return broken(s);
		if (is_needed_whole(s, &m)) {
			if (m.len > SERVER_WHOLE_MAX)
				return broken(s);
			if (m.have < m.len)
				return pos;
		}
		if (!take_message(s, &m))
			return broken(s);
		pos += MSG_HEADER_SIZE + m.have;
		s->remain = m.len - m.have;
		if (m.type == 'Z' && pos < n && owed_is_clear(&s->owed) && ends_for_saying_more(s))
			return CONN_CLOSED;
		if (s->task == TASK_DRAIN)
			server_abandon_note(s, &m);
		else if (m.type == 'Z' && owed_is_clear(&s->owed))
			finish(s);
		if (s->phase != SERVER_TASK)
			return s->phase == SERVER_CLOSED ? CONN_CLOSED : pos;
	}
	return pos;
}
