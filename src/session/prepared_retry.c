/*
 * A batch that met a statement whose result has changed since the server
 * prepared it (0A000, cached plan must not change result type) is sent once
 * more, to a server that prepares it anew: outside a transaction, where the
 * error has undone all of the batch, as long as the client has heard nothing
 * of it but what comes before any result, and if it will be told what the rows are: a driver
 * that has asked before and does not ask again would read them as the old ones,
 * so it gets the error, as from PostgreSQL. For that the bytes of batches are
 * recorded, if they are few.
 */
#include <string.h>
#include <sys/socket.h>

#include "proto/prepare.h"
#include "session/prepared.h"

void prepared_begin_recording(struct prepared_server *ps, struct request_pass *pass)
{
	ps->replay = REPLAY_RECORDING;
	ps->nreplay = 0;
	ps->told = ps->told_before = 0;
	ps->nparsed_told = ps->nparams_told = 0;
	ps->nparsed_mute = ps->nparams_mute = 0;
	pass->recorded = pass->pos;
}

void prepared_record_bytes(struct prepared_server *ps, const struct request_pass *pass)
{
	size_t n = pass->pos - pass->recorded;

	if (n > sizeof(ps->replay_bytes) - ps->nreplay) {
		ps->replay = REPLAY_NONE;
		return;
	}
	memcpy(ps->replay_bytes + ps->nreplay, pass->p + pass->recorded, n);
	ps->nreplay += (uint32_t)n;
}

/* Whether the client does not know of the rows that it may get, or is told in this batch. */
static bool is_open_to_change(const struct server *s, const struct stmt_op *failed)
{
	const struct prepared_server *ps = s->prepared;
	unsigned nbinds = 0, nknown = 0;
	struct msg m;

	for (size_t pos = 0; pos < ps->nreplay; pos += MSG_HEADER_SIZE + m.len) {
		if (msg_peek(ps->replay_bytes + pos, ps->nreplay - pos, INT32_MAX, &m) != PEEK_OK)
			return false;
		nbinds += m.type == 'B';
		nknown += m.type == 'P' || (m.type == 'D' && m.have > 0 && m.body[0] == 'P');
	}
	if (nbinds <= 1 && failed->is_first_use)
		return true;
	return nbinds <= nknown && hub_settings(s->hub)->prepared_result_change == RESULT_CHANGE_RETRY;
}

bool prepared_may_replay(const struct server *s, const struct stmt_op *failed)
{
	/* No other batch was sent behind it, and all of it that was sent is recorded. */
	return s->prepared->replay == REPLAY_RECORDING && s->client != NULL && s->client->remain == 0 &&
	       s->owed.n <= 1 && s->status == 'I' && !s->owed.is_unsure && is_open_to_change(s, failed);
}

/* The client has not sent its Sync yet: until one comes the server would not listen. */
static void put_sync(struct server *s)
{
	static const char sync[] = {'S', 0, 0, 0, 4};
	uint64_t index = owed_next(&s->owed);

	/* Without memory for it the server is ended: its answers could not be told apart any more. */
	if (!stmt_ops_reserve(&s->prepared->ops, 1) || !owed_sent(&s->owed, 'S')) {
		shutdown(conn_fd(&s->conn), SHUT_RDWR);
		return;
	}
	stmt_ops_push(&s->prepared->ops, STMT_OP_REPLY, index)->reply = STMT_REPLY_DROP;
	conn_write(&s->conn, sync, sizeof(sync));
}

void prepared_wait_for_replay(struct server *s)
{
	s->prepared->replay = REPLAY_WAITING;
	s->slot.pool->stats.now.prepared_retries++;
	if (s->owed.is_skipping)
		put_sync(s);
}

/* The names that the batch gave before it failed are free again, so that it may give them once more. */
static void forget_names(struct server *s)
{
	const struct prepared_server *ps = s->prepared;
	uint32_t left = ps->nparsed_told;
	struct prepare_head h;
	struct msg m;

	if (s->client->prepared == NULL)
		return;
	for (size_t pos = 0; left > 0 && pos < ps->nreplay; pos += MSG_HEADER_SIZE + m.len) {
		if (msg_peek(ps->replay_bytes + pos, ps->nreplay - pos, INT32_MAX, &m) != PEEK_OK)
			return;
		if (m.type != 'P')
			continue;
		left--;
		if (prepare_read(&m, &h) == PEEK_OK)
			stmt_names_drop(s->client->prepared->names, h.statement);
	}
}

bool prepared_replay(struct server *s)
{
	struct prepared_server *ps = s->prepared;
	uint8_t bytes[PREPARED_REPLAY_MAX];
	uint32_t n = ps->nreplay, nparsed, nparams;

	memcpy(bytes, ps->replay_bytes, n);
	ps->replay = REPLAY_NONE;
	nparsed = ps->nparsed_told;
	nparams = ps->nparams_told;
	forget_names(s);
	if (client_query_bytes(s->client, bytes, n) != n) {
		if (s->phase != SERVER_CLOSED && s->client != NULL)
			server_close_with_client(s, CLOSE_SERVER_PROTOCOL, NULL);
		return false;
	}
	/* Once is enough. */
	ps->replay = REPLAY_NONE;
	ps->nparsed_mute = nparsed;
	ps->nparams_mute = nparams;
	return prepared_go_on(s);
}
