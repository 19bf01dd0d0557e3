/*
 * A world with its servers and a bystander: a client that does what clients
 * do, whatever somebody else says meanwhile, and must get its own answers.
 */
#pragma once
#include "backend.h"
#include "world.h"

#define STAGE_BACKENDS 16

/* The head of a configuration: a database for each pool mode. */
#define STAGE_MODES                                             \
	"[databases]\n"                                         \
	"transaction = host=@@ port=5432 pool_mode=transaction\n" \
	"session = host=@@ port=5432 pool_mode=session\n"       \
	"statement = host=@@ port=5432 pool_mode=statement\n"

struct stage {
	struct world world;
	struct backend backends[STAGE_BACKENDS];
	uint32_t last_id;
	bool is_mute;                    /* servers connect, and nobody answers for them */
	int mute[STAGE_BACKENDS];        /* their sockets; -1 */
	int bystander;                   /* its socket; -1 */
	struct strbuf heard;             /* by the bystander */
	unsigned nqueries;
};

void stage_open(struct stage *s, struct conf *conf, uint64_t seed);
void stage_close(struct stage *s);

/* Takes over the connections that the pooler has opened. Whether there was one. */
bool stage_accept(struct stage *s);

/* One of the servers that answer looks at what has come, and what it says of whom to cancel is done. */
bool stage_turn_backend(struct stage *s, struct backend *b);

/* The loop turns once, and all servers. Whether something has moved. */
bool stage_turn(struct stage *s);

/* The same until nothing moves any more. */
void stage_settle(struct stage *s);

/* The same while time passes. */
void stage_pass(struct stage *s, uint64_t us);

/* A client that says it is this user, and wants that database; its socket, or -1. */
int stage_login(struct stage *s, const char *user, const char *database);

/* The same with another startup parameter. */
int stage_login_with(struct stage *s, const char *user, const char *database, const char *name, const char *value);

/* A connection that nobody answers for; -1: there is none. */
int stage_mute(const struct stage *s);

/* Closes one. */
void stage_drop_mute(struct stage *s, int fd);

/* The bystander logs in, or asks, and hears its own answer and no other. */
void stage_bystander_enters(struct stage *s, const char *user, const char *database);
void stage_bystander_asks(struct stage *s);

/*
 * Whoever has come must have left nothing behind: with servers that answer,
 * and after all that may have to be waited for, a newcomer is served.
 */
void stage_must_recover(struct stage *s, const char *user, const char *database);
