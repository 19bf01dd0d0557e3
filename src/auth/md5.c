#include "auth/md5.h"

#include <openssl/evp.h>

static bool md5_text(struct slice a, struct slice b, char out[MD5_TEXT_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sum[16];
	bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 &&
		  EVP_DigestUpdate(ctx, a.p, a.n) == 1 && EVP_DigestUpdate(ctx, b.p, b.n) == 1 &&
		  EVP_DigestFinal_ex(ctx, sum, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	if (!ok)
		return false;
	memcpy(out, "md5", 3);
	for (int i = 0; i < 16; i++) {
		out[3 + 2 * i] = hex[sum[i] >> 4];
		out[4 + 2 * i] = hex[sum[i] & 15];
	}
	out[MD5_TEXT_SIZE - 1] = '\0';
	return true;
}

bool md5_secret(struct slice password, struct slice user, char out[MD5_TEXT_SIZE])
{
	return md5_text(password, user, out);
}

bool md5_response(const char secret[MD5_TEXT_SIZE], const uint8_t salt[MD5_SALT_SIZE], char out[MD5_TEXT_SIZE])
{
	return md5_text((struct slice){secret + 3, 32}, (struct slice){(const char *)salt, MD5_SALT_SIZE}, out);
}
