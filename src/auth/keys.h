/*
 * SCRAM keys that were derived before.
 *
 * PBKDF2 with 4096 rounds costs about 1.7 ms of the only thread, so it runs
 * once per user and salt, not once per login. Entries are found by an HMAC
 * of what they were derived from, under a random key: the cache holds no
 * password. It is bounded; the entry unused for longest goes first.
 */
#pragma once
#include <stddef.h>

#include "base/str.h"
#include "proto/scram.h"

#define KEYCACHE_SIZE 10000

struct keycache;

/* NULL without memory or randomness. */
struct keycache *keycache_new(size_t max_entries);

/* Wipes and frees it and clears the caller's pointer. NULL is allowed. */
void keycache_free(struct keycache **cache);

/* What keys are derived from. */
struct keycache_id {
	struct slice user, secret;     /* secret: the plain password */
	struct slice salt;
	int iterations;
};

/* The keys if they are there, NULL if not. Valid until the next call that may add an entry. */
const struct scram_keys *keycache_find(struct keycache *cache, const struct keycache_id *id);

/* Adds keys that were derived from id. Silently does nothing when there is no memory. */
void keycache_put(struct keycache *cache, const struct keycache_id *id, const struct scram_keys *keys);

/* Finds the keys or derives and adds them. False: no memory, or an impossible salt. */
bool keycache_derive(struct keycache *cache, const struct keycache_id *id, struct scram_keys *keys);

size_t keycache_count(const struct keycache *cache);
