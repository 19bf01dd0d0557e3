/*
 * The whole pooler in this process, and the sockets around it: clients
 * connect to it, and the servers that it opens connect to us. The loop turns
 * when it is told to, time passes when it is told to (world/chance.h).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "pooler/pooler.h"

#define WORLD_SECOND UINT64_C(1000000)

struct world {
	struct pooler *pooler;
	int servers;                     /* listens in the place of PostgreSQL */
};

/*
 * The configuration of a text in which @@ stands for the folder, an abstract
 * one, of all sockets: the pooler's own at port 6432, PostgreSQL's at 5432.
 * The text ends in section [pgbouncer]: auth_file and auth_hba_file with these
 * contents are added, unless they are NULL. The caller unrefs it, if it ever
 * wants to.
 */
struct conf *world_conf(const char *ini, const char *users, const char *hba);

/* Only writes the files, from which the next RELOAD reads; returns the first one's name. */
const char *world_write_conf(const char *ini, const char *users, const char *hba);

/* Chance follows from the seed until world_close(). */
void world_open(struct world *w, struct conf *conf, uint64_t seed);

/* What is open at our end is to be closed before. */
void world_close(struct world *w);

/* The loop takes what has come, and what is due. */
void world_turn(void);

/* Time passes, in steps that let what is due in between happen. */
void world_pass(uint64_t us);

/* A client's end of a new connection; -1: nobody listens any more. Not blocking, as all of them. */
int world_connect(const struct world *w);

/* Our end of a connection that the pooler has opened to a server; -1: there is none. */
int world_accept(const struct world *w);

/* Sends what the socket takes; the rest is lost. */
void world_send(int fd, const void *p, size_t n);

/* Reads what has come to the end of a buffer. False: the other side has closed. */
bool world_receive(int fd, struct strbuf *to);
