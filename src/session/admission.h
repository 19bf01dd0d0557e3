/*
 * Who gives way when more come than there is room for: connections that have
 * not said who they are, and take their time over it.
 *
 * They are kept in the order in which they are waited for. There may be as
 * many as max_client_conn says, and ADMISSION_LEAST in any case; for one more
 * the oldest goes. It goes as well when descriptors or memory run short. Where
 * max_client_conn is reached, those go that have been silent in the middle of
 * their login for ADMISSION_PATIENCE. Nobody who has logged in is touched.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "pool/pool.h"

struct client;
struct hub;

/* So many may be about to log in, however few clients there may be: a storm of them is no attack. */
#define ADMISSION_LEAST 1000

/* No client that goes about it needs longer for its part of a login. */
#define ADMISSION_PATIENCE (5 * CLOCK_SECOND)

/* Descriptors that clients leave to servers and to all else: an eighth of those there may be, and no more than this. */
#define ADMISSION_RESERVE 256

/* In the hub. */
struct admission {
	struct pool_clients awaited;     /* in CLIENT_STARTUP and CLIENT_AUTH, by their waiter.link */
	unsigned n;
	size_t max_descriptors;          /* the limit of open files; 0: not known */
};

void admission_init(struct admission *a);

/*
 * A connection is there, in CLIENT_STARTUP; its descriptor says how many are
 * open. Others may be closed for it, or it is, where there is no room.
 */
void admission_enter(struct client *c);

/* It is asked for more, in CLIENT_AUTH. */
void admission_ask(struct client *c);

/* It is not waited for any more. Nothing happens to one that was not. */
void admission_leave(struct client *c);

/* max_client_conn is reached. True: somebody has made room. */
bool admission_make_room(struct hub *hub);
