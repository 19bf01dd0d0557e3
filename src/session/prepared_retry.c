/*
 * A batch that met a statement whose result has changed since the server
 * prepared it (0A000, cached plan must not change result type) is sent once
 * more, to a server that prepares it anew: outside a transaction, where the
 * error has undone all of the batch, and as long as the client has heard
 * nothing of it. For that its bytes are recorded, if they are few.
 */
#include <string.h>
#include <sys/socket.h>

#include "session/prepared.h"

void prepared_begin_batch(struct server *s, struct request_pass *pass)
{
	struct prepared_server *ps = s->prepared;

	if (ps == NULL || s->status != 'I' || !owed_is_clear(&s->owed))
		return;
	ps->replay = REPLAY_RECORDING;
	ps->nreplay = 0;
	ps->is_told = false;
	pass->recorded = pass->pos;
}

void prepared_record(struct server *s, const struct request_pass *pass)
{
	struct prepared_server *ps = s->prepared;
	size_t n = pass->pos - pass->recorded;

	if (ps == NULL || ps->replay != REPLAY_RECORDING)
		return;
	if (n > sizeof(ps->replay_bytes) - ps->nreplay) {
		ps->replay = REPLAY_NONE;
		return;
	}
	memcpy(ps->replay_bytes + ps->nreplay, pass->p + pass->recorded, n);
	ps->nreplay += (uint32_t)n;
}

bool prepared_may_replay(const struct server *s)
{
	return s->prepared->replay == REPLAY_RECORDING && s->client != NULL && s->client->remain == 0 &&
	       s->owed.n <= 1 && s->status == 'I' && !s->owed.is_unsure;
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

bool prepared_replay(struct server *s)
{
	struct prepared_server *ps = s->prepared;
	uint8_t bytes[PREPARED_REPLAY_MAX];
	uint32_t n = ps->nreplay;

	memcpy(bytes, ps->replay_bytes, n);
	ps->replay = REPLAY_NONE;
	if (client_query_bytes(s->client, bytes, n) != n) {
		if (s->phase != SERVER_CLOSED && s->client != NULL)
			server_close_with_client(s, CLOSE_SERVER_PROTOCOL, NULL);
		return false;
	}
	/* Once is enough. */
	ps->replay = REPLAY_NONE;
	return prepared_go_on(s);
}
