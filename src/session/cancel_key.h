/*
 * The cancel keys that clients get.
 *
 * The first 8 bytes are laid out as PgBouncer's, so that processes of both
 * kinds can be peers: in byte 0 the highest bit is 0, bytes 1 and 2 hold the
 * peer_id (little endian) of the process that made the key, and the last two
 * bits of byte 7 say how often a request may still be handed on. The rest is
 * ours: bytes 3 to 5 hold the client's index in the slab, encrypted with the
 * other bytes, so that it takes no table to find the client, and tells nobody
 * anything. All of it together is what a stranger would have to guess: 45
 * bits, 61 without a peer_id.
 *
 * Clients that speak protocol 3.2 get as many bytes as PostgreSQL 18 gives
 * them. What follows the first 8 is derived from those, and need not be kept.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/siphash.h"
#include "base/str.h"

struct client;
struct hub;

#define CANCEL_KEY_SHORT 8
#define CANCEL_KEY_LONG 36

/* Of what the process alone knows: all keys depend on it. */
struct cancel_secret {
	uint8_t tail[32], mask[SIPHASH_KEY_SIZE];
};

/* How often a request may be handed on. */
#define CANCEL_KEY_MOST_HOPS 3

/* Gives a client its key. */
void cancel_key_make(struct client *c);

/* The whole key as the client is told it; returns its size. */
size_t cancel_key_print(const struct client *c, uint8_t room[CANCEL_KEY_LONG]);

/* The client with this key, whatever hops it has left; NULL if there is none. */
struct client *cancel_key_find(const struct hub *hub, struct slice key);

/* The peer_id and the hops left in a key that is somebody's, of at least CANCEL_KEY_SHORT bytes. */
int cancel_key_peer(struct slice key);
unsigned cancel_key_hops(struct slice key);

/* One hop less, in a copy of such a key. */
void cancel_key_take_hop(uint8_t *key);
