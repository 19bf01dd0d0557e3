#include "base/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/sys.h"

struct algorithm {
	const char *name;
	EVP_MD *md;              /* NULL: not asked for yet */
	EVP_MD_CTX *ctx;
};

static struct algorithm sha256 = {.name = "SHA256"}, md5 = {.name = "MD5"};

static bool find(struct algorithm *a)
{
	if (a->md == NULL)
		a->md = EVP_MD_fetch(NULL, a->name, NULL);
	if (a->ctx == NULL)
		a->ctx = EVP_MD_CTX_new();
	return a->md != NULL && a->ctx != NULL;
}

static bool hash(struct algorithm *a, struct slice first, struct slice second, uint8_t *out)
{
	return find(a) && EVP_DigestInit_ex2(a->ctx, a->md, NULL) == 1 &&
	       EVP_DigestUpdate(a->ctx, first.p, first.n) == 1 && EVP_DigestUpdate(a->ctx, second.p, second.n) == 1 &&
	       EVP_DigestFinal_ex(a->ctx, out, NULL) == 1;
}

bool digest_sha256(struct slice text, uint8_t out[DIGEST_SHA256_SIZE])
{
	return hash(&sha256, text, (struct slice){NULL, 0}, out);
}

bool digest_md5(struct slice first, struct slice second, uint8_t out[DIGEST_MD5_SIZE])
{
	return hash(&md5, first, second, out);
}

/* The hash of the key, every byte of it changed by `pad`, with the text behind it. */
static bool hash_padded(struct slice key, uint8_t pad, struct slice text, uint8_t out[DIGEST_SHA256_SIZE])
{
	uint8_t block[DIGEST_HMAC_KEY_MAX];
	bool ok;

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key.n; i++)
		block[i] ^= (uint8_t)key.p[i];
	ok = hash(&sha256, (struct slice){(const char *)block, sizeof(block)}, text, out);
	sys_wipe(block, sizeof(block));
	return ok;
}

bool digest_hmac_sha256(struct slice key, struct slice text, uint8_t out[DIGEST_SHA256_SIZE])
{
	return key.n <= DIGEST_HMAC_KEY_MAX && hash_padded(key, 0x36, text, out) &&
	       hash_padded(key, 0x5c, (struct slice){(const char *)out, DIGEST_SHA256_SIZE}, out);
}
