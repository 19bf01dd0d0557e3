#include "session/cancel_key.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/digest.h"
#include "base/sys.h"
#include "session/client.h"
#include "session/hub.h"

#define HOPS 0x03

/* Three bytes of a key. */
#define INDEX_MASK 0xffffffu

static const uint8_t *bytes_of(struct slice key)
{
	return (const uint8_t *)key.p;
}

int cancel_key_peer(struct slice key)
{
	return bytes_of(key)[1] | bytes_of(key)[2] << 8;
}

unsigned cancel_key_hops(struct slice key)
{
	return bytes_of(key)[7] & HOPS;
}

void cancel_key_take_hop(uint8_t *key)
{
	key[7]--;
}

/*
 * The index, encrypted or decrypted, with what nobody can tell who does not
 * know the secret. Not with OpenSSL's HMAC: every login comes by here, and it
 * would be a quarter of one.
 */
static uint32_t crypt_index(const struct hub *hub, const uint8_t *k, uint32_t index)
{
	const uint8_t others[] = {k[0], k[1], k[2], k[6], (uint8_t)(k[7] | HOPS)};

	return index ^ (uint32_t)(siphash(hub->cancel_secret.mask, others, sizeof(others)) & INDEX_MASK);
}

void cancel_key_make(struct client *c)
{
	uint16_t id = (uint16_t)hub_settings(c->hub)->peer_id;
	uint8_t *k = c->cancel_key;
	uint32_t index;

	sys_random(k, sizeof(c->cancel_key));
	k[0] &= 0x7f; /* read as a process id, it is not negative */
	if (id != 0) {
		k[1] = (uint8_t)id;
		k[2] = (uint8_t)(id >> 8);
	}
	k[7] |= CANCEL_KEY_MOST_HOPS;
	index = crypt_index(c->hub, k, slab_index(c->hub->clients, c));
	k[3] = (uint8_t)(index >> 16);
	k[4] = (uint8_t)(index >> 8);
	k[5] = (uint8_t)index;
}

size_t cancel_key_print(const struct client *c, uint8_t room[CANCEL_KEY_LONG])
{
	const struct cancel_secret *secret = &c->hub->cancel_secret;
	uint8_t tail[DIGEST_SHA256_SIZE] = {0};

	memcpy(room, c->cancel_key, CANCEL_KEY_SHORT);
	if (!c->has_long_key)
		return CANCEL_KEY_SHORT;
	digest_hmac_sha256((struct slice){(const char *)secret->tail, sizeof(secret->tail)},
			   (struct slice){(const char *)c->cancel_key, CANCEL_KEY_SHORT}, tail);
	memcpy(room + CANCEL_KEY_SHORT, tail, CANCEL_KEY_LONG - CANCEL_KEY_SHORT);
	return CANCEL_KEY_LONG;
}

static bool is_key_of(const struct client *c, struct slice key)
{
	uint8_t mine[CANCEL_KEY_LONG], asked[CANCEL_KEY_LONG];

	if (cancel_key_print(c, mine) != key.n)
		return false;
	memcpy(asked, key.p, key.n);
	asked[7] |= HOPS;
	return CRYPTO_memcmp(mine, asked, key.n) == 0;
}

struct client *cancel_key_find(const struct hub *hub, struct slice key)
{
	const uint8_t *k = bytes_of(key);
	struct client *c;

	if (key.n != CANCEL_KEY_SHORT && key.n != CANCEL_KEY_LONG)
		return NULL;
	c = slab_at(hub->clients, crypt_index(hub, k, (uint32_t)k[3] << 16 | (uint32_t)k[4] << 8 | k[5]));
	/* Those who have not come that far have no key. */
	if (c == NULL || c->state == CLIENT_STARTUP || c->state == CLIENT_CANCEL || c->state == CLIENT_CLOSED ||
	    c->login != NULL || !is_key_of(c, key))
		return NULL;
	return c;
}
