#include "auth/keys.h"

#include <stdlib.h>

#include <openssl/rand.h>

#include "base/digest.h"
#include "base/hash.h"
#include "base/sys.h"

struct entry {
	uint8_t digest[DIGEST_SHA256_SIZE];
	struct scram_keys keys;
	UT_hash_handle hh;
};

/* uthash keeps the order of insertion; an entry that is used is inserted anew, so the first one is the oldest. */
struct keycache {
	struct entry *entries;
	size_t max;
	uint8_t hmac_key[32];
};

struct keycache *keycache_new(size_t max_entries)
{
	struct keycache *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	cache->max = max_entries;
	if (RAND_bytes(cache->hmac_key, sizeof(cache->hmac_key)) != 1)
		keycache_free(&cache);
	return cache;
}

static void remove_entry(struct keycache *cache, struct entry *e)
{
	HASH_DEL(cache->entries, e);
	sys_wipe(e, sizeof(*e));
	free(e);
}

void keycache_free(struct keycache **cache)
{
	struct keycache *c = *cache;

	*cache = NULL;
	if (c == NULL)
		return;
	while (c->entries != NULL)
		remove_entry(c, c->entries);
	sys_wipe(c, sizeof(*c));
	free(c);
}

/* Each part is hashed by itself first, so that no two ids make the same bytes. */
static bool digest(const struct keycache *cache, const struct keycache_id *id, uint8_t out[DIGEST_SHA256_SIZE])
{
	const struct slice iterations = {(const char *)&id->iterations, sizeof(id->iterations)};
	const struct slice parts[] = {id->user, id->secret, id->salt, iterations};
	const struct slice key = {(const char *)cache->hmac_key, sizeof(cache->hmac_key)};
	uint8_t sums[4 * DIGEST_SHA256_SIZE];

	for (size_t i = 0; i < 4; i++) {
		if (!digest_hmac_sha256(key, parts[i], sums + i * DIGEST_SHA256_SIZE))
			return false;
	}
	return digest_hmac_sha256(key, (struct slice){(const char *)sums, sizeof(sums)}, out);
}

/* As the newest. False, and the entry freed, when there is no memory. */
static bool insert(struct keycache *cache, struct entry *e)
{
	HASH_ADD(hh, cache->entries, digest, DIGEST_SHA256_SIZE, e);
	if (HASH_HAS(e))
		return true;
	sys_wipe(e, sizeof(*e));
	free(e);
	return false;
}

static const struct scram_keys *find(struct keycache *cache, const uint8_t key[DIGEST_SHA256_SIZE])
{
	struct entry *e;

	HASH_FIND(hh, cache->entries, key, DIGEST_SHA256_SIZE, e);
	if (e == NULL)
		return NULL;
	HASH_DEL(cache->entries, e);
	return insert(cache, e) ? &e->keys : NULL;
}

const struct scram_keys *keycache_find(struct keycache *cache, const struct keycache_id *id)
{
	uint8_t key[DIGEST_SHA256_SIZE];

	return digest(cache, id, key) ? find(cache, key) : NULL;
}

void keycache_put(struct keycache *cache, const struct keycache_id *id, const struct scram_keys *keys)
{
	uint8_t key[DIGEST_SHA256_SIZE];
	struct entry *e;

	if (!digest(cache, id, key) || find(cache, key) != NULL)
		return;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return;
	memcpy(e->digest, key, sizeof(key));
	e->keys = *keys;
	if (insert(cache, e) && HASH_COUNT(cache->entries) > cache->max)
		remove_entry(cache, cache->entries);
}

bool keycache_derive(struct keycache *cache, const struct keycache_id *id, struct scram_keys *keys)
{
	const struct scram_keys *known = keycache_find(cache, id);

	if (known != NULL) {
		*keys = *known;
		return true;
	}
	if (!scram_keys_derive(keys, id->secret, id->salt, id->iterations))
		return false;
	keycache_put(cache, id, keys);
	return true;
}

size_t keycache_count(const struct keycache *cache)
{
	return HASH_COUNT(cache->entries);
}
