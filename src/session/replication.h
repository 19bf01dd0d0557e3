/*
 * Replication connections: a client that asks for one (the startup parameter
 * `replication`) has a server connection of its own. It is opened for that
 * client, with what its startup packet said, and ends with it. It counts under
 * pool_size and the other bounds as any other. What goes through is relayed
 * and not looked at: COPY in both directions at once, keepalives, for years;
 * no timeout for queries or transactions cuts it. What it is at is known from the
 * types of messages, as well as a drain needs it.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"

struct client;
struct msg;
struct pool;
struct server;

/* X(name, word in SHOW) */
#define REPLICATION_KINDS(X)     \
	X(NONE, "none")          \
	X(LOGICAL, "logical")    \
	X(PHYSICAL, "physical")

enum replication {
#define X(name, word) REPLICATION_##name,
	REPLICATION_KINDS(X)
#undef X
};

const char *replication_word(enum replication kind);

/* The parameter's value as PostgreSQL reads it. False: it is none. */
bool replication_parse(struct slice value, enum replication *kind);

/* A server is about to be opened for the pool: it is for the first such client that has none under way, if it is its turn. */
void replication_assign(struct server *s);

/* Appends what that client's startup packet asked for to the server's own. */
void replication_add_params(const struct server *s, struct strbuf *out);

/* The server has logged in: its client is greeted with what it has told. */
void replication_begin(struct server *s, const struct strbuf *welcome);

/* The client of a server that is about to log in; NULL: it has gone. */
struct client *replication_client(const struct server *s);

/* A message of this type goes to the server of such a client; one has come from it. */
void replication_note_sent(struct server *s, char type);
void replication_note_reply(struct server *s, const struct msg *m);

/* Everything that was sent is answered, and no transaction is open. */
bool replication_is_at_rest(const struct server *s);

/* Those who wait have no room while servers rest: one of these ends. False: there is none, or nobody waits for that. */
bool replication_make_room(struct pool *pool);
