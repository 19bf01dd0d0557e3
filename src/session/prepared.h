/*
 * Prepared statements in transaction and statement mode: what clients prepare
 * follows them from server to server (PostgreSQL manual, 55.2.3 Extended
 * Query).
 *
 * Each message of a client still has exactly one message that it leads to at
 * the server, so replies keep their order and an error has the server skip
 * what the client expects it to skip. What changes are the names; and other
 * messages are put in between, whose replies the client does not see: a Parse
 * of what the server lacks, a Close of what has to go. Where nothing needs to
 * be done, the message becomes a Close of a portal that does not exist, which
 * always succeeds.
 *
 * What a message changes (a name of the client's, what the server has) counts
 * from when it is sent, and is taken back if an error has it skipped
 * (pool/stmt_ops). Messages that hang on what is still uncertain wait.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "pool/pool.h"
#include "pool/stmt_cache.h"
#include "pool/stmt_names.h"
#include "pool/stmt_ops.h"
#include "proto/msg.h"
#include "proto/prepare.h"
#include "proto/sql.h"
#include "session/bound_portals.h"
#include "session/client.h"
#include "session/request_pass.h"
#include "session/server.h"

/* The client's part; made with its first named statement. */
struct prepared_client {
	struct stmt_names *names;
	struct bound_portals bound;
	bool keeps_unnamed;      /* it has once used an unnamed statement of an earlier batch */
};

/* The bytes of a batch that could be sent once more: as long as nothing of its answer has reached the client. */
#define PREPARED_REPLAY_MAX 4096

enum replay_state {
	REPLAY_NONE,             /* the batch under way cannot be sent again */
	REPLAY_RECORDING,
	REPLAY_WAITING,          /* it is to be sent again when the server is ready */
};

/* The server's part; made when a client that is tracked first uses it. */
struct prepared_server {
	struct stmt_cache cache;
	bool is_doubtful;        /* it may have more than the cache says: a DEALLOCATE ALL has failed */
	struct stmt_ops ops;
	uint64_t batch_at;       /* the index of the first message of the batch under way */
	bool is_batch_open;      /* messages of the extended protocol that no Sync and no simple query has ended */
	uint64_t unnamed;        /* which unnamed statement it has, as in struct client; 0: no client's */
	bool is_client_waiting;  /* for answers that make certain what its next message means */
	struct {
		uint64_t from, to;       /* indexes of what was put ahead of a simple query that waits for it; to = 0: none */
		bool has_failed;
	} ahead;
	uint64_t told;           /* bytes relayed to the client since the batch was begun, */
	uint64_t told_before;    /* of these, in ParseComplete and ParameterDescription: what comes before any result */
	/* So many ParseComplete and ParameterDescription were told, and are still not to be told again with the batch. */
	uint32_t nparsed_told, nparsed_mute, nparams_told, nparams_mute;
	enum replay_state replay;
	uint32_t nreplay;
	uint8_t replay_bytes[PREPARED_REPLAY_MAX];
};

/* Whether the statements of a client follow it. Those that it has once prepared do, whatever a reload changes. */
static inline bool prepared_is_tracked(const struct client *c)
{
	return c->prepared != NULL || (client_pool(c)->settings.mode != POOL_MODE_SESSION &&
				       hub_settings(c->hub)->max_prepared_statements > 0);
}

/* ------------------------------------------------------------------ requests (prepared_request.c, prepared_sql.c) */

enum prepared_verdict {
	PREPARED_FORWARD,        /* the message passes as it is */
	PREPARED_TAKEN,          /* the head was rewritten and is behind pass->pos; c->remain of the body are to follow */
	PREPARED_WAIT,           /* it is to be offered again, when answers have come (prepared_go_on()) */
	PREPARED_GONE,           /* the client was closed */
};

/* For the next: of messages that are not whole. */
__attribute__((cold))
bool prepared_can_read_part(const struct client *c, const struct msg *m);

/* Whether as much of a tracked client's message is here as it takes to decide. False: more of it has to come first. */
static inline bool prepared_can_read(const struct client *c, const struct msg *m)
{
	return m->have == m->len || prepared_can_read_part(c, m);
}

/* Whether a simple query is none of ours: neither its text nor those that it drops, the unnamed statements. */
static inline bool prepared_is_foreign_query(const struct client *c, const struct msg *m)
{
	const struct prepared_server *ps = c->server->prepared;

	return c->prepared == NULL && c->unnamed == 0 && (ps == NULL || (ps->unnamed == 0 && ps->ops.n == 0)) &&
	       !sql_is_candidate((const char *)m->body, m->have);
}

/* Whether a Bind is that of the client's own unnamed statement, which the server has, to the unnamed portal. */
static inline bool prepared_binds_own_unnamed(const struct client *c, const struct msg *m)
{
	const struct prepared_server *ps = c->server->prepared;

	return prepare_is_unnamed(m) && c->prepared == NULL && ps != NULL && c->unnamed != 0 &&
	       ps->unnamed == c->unnamed && !stmt_ops_is_unnamed_uncertain(&ps->ops) &&
	       !stmt_ops_has_earlier_changes(&ps->ops);
}

/* Whether a message changes nothing about statements, theirs or ours. What the server makes of it is its business. */
static inline bool prepared_is_foreign(const struct client *c, const struct msg *m)
{
	switch (m->type) {
	case 'Q':
		return prepared_is_foreign_query(c, m);
	case 'B':
		return prepared_binds_own_unnamed(c, m);
	case 'E':
		return c->prepared == NULL || bound_portals_are_none(&c->prepared->bound);
	case 'D':
	case 'C':
		return m->have > 0 && m->body[0] != 'S';
	default:
		return m->type != 'P';
	}
}

/*
 * A message that is not foreign, of a tracked client that has a server, before it is noted as sent. It starts at
 * pass->pos.
 */
enum prepared_verdict prepared_request(struct client *c, const struct msg *m, struct request_pass *pass);

/* For the next: a Sync or a simple query. */
void prepared_sent_last(struct client *c);

/* After a message of any kind of a tracked client was noted as sent. */
static inline void prepared_sent(struct client *c, char type)
{
	if (type == 'S' || type == 'Q')
		prepared_sent_last(c);
	else if (c->server->prepared != NULL && (owed_requests[(unsigned char)type] & OWED_STEPS) != 0)
		c->server->prepared->is_batch_open = true;
}

/* ------------------------------------------------------------------ replies (prepared_reply.c) */

/*
 * A message of a server that has prepared statements, after owed_reply(),
 * which had `first` as the index of the first that was owed before. The
 * message must be whole if prepared_needs_whole() said so. With `changed` not
 * empty afterwards, that is to be sent in the message's place. `is_told`: the
 * client has got, or is about to get, some of the answer to this batch.
 */
enum stmt_reply prepared_reply(struct server *s, const struct msg *m, uint64_t first, bool is_told,
			       struct strbuf *changed);
bool prepared_needs_whole(const struct server *s, const struct msg *m);

/* Whether a CommandComplete has the length of one that tells of statements that are all gone. */
static inline bool prepared_may_be_all_lost(const struct msg *m)
{
	return m->len == sizeof("DEALLOCATE ALL") || m->len == sizeof("DISCARD ALL");
}

/* The same for one that no client gets: of what a client has left behind, or of a statement of our own. */
void prepared_note_reply(struct server *s, const struct msg *m, uint64_t first);

/* Whether its client waits until it is set up, or for answers that make certain what its next message means. */
static inline bool prepared_has_client_wait(const struct server *s)
{
	return s->phase != SERVER_READY || (s->prepared != NULL && s->prepared->is_client_waiting);
}

/* Answers have come: the client goes on if it waits for them. False: the server was closed. */
bool prepared_go_on(struct server *s);

/* ------------------------------------------------------------------ once more (prepared_retry.c) */

/* For the two below. */
void prepared_begin_recording(struct prepared_server *ps, struct request_pass *pass);
void prepared_record_bytes(struct prepared_server *ps, const struct request_pass *pass);

/* A message of a tracked client's is about to be sent: if it begins a batch, that is recorded. At pass->pos. */
static inline void prepared_begin_batch(struct server *s, struct request_pass *pass)
{
	if (s->prepared != NULL && s->status == 'I' && owed_is_clear(&s->owed))
		prepared_begin_recording(s->prepared, pass);
}

/* What the pass has taken since then is part of the batch. */
static inline void prepared_record(struct server *s, const struct request_pass *pass)
{
	if (s->prepared != NULL && s->prepared->replay == REPLAY_RECORDING)
		prepared_record_bytes(s->prepared, pass);
}

/* After owed_reply() of an error of that message: whether its batch may and can be sent again. */
bool prepared_may_replay(const struct server *s, const struct stmt_op *failed);

/* It will be sent again. */
void prepared_wait_for_replay(struct server *s);

static inline bool prepared_is_to_replay(const struct server *s)
{
	return s->prepared != NULL && s->prepared->replay == REPLAY_WAITING;
}

/* The server is ready: sends it again. False: the server was closed. */
bool prepared_replay(struct server *s);

/* ------------------------------------------------------------------ the objects (prepared.c) */

/* Makes what is missing, for the server only or for both. False: out of memory, and both were closed. */
bool prepared_set_up_server(struct client *c);
bool prepared_set_up(struct client *c);

/* NULL inside is allowed. */
void prepared_client_free(struct client *c);
void prepared_server_free(struct server *s);

/* A statement of our own goes to the server: its unnamed one is nobody's. */
void prepared_note_own(struct server *s);

/* Another client may have the server next. `c`: the one that has had it; NULL: it has gone. */
void prepared_release(struct server *s, struct client *c);

/* For SHOW. */
size_t prepared_count_of_client(const struct client *c);
size_t prepared_memory_of_client(const struct client *c);
size_t prepared_count_of_server(const struct server *s);
