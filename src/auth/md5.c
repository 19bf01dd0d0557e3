#include "auth/md5.h"

#include "base/digest.h"

static bool md5_text(struct slice a, struct slice b, char out[MD5_TEXT_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t sum[DIGEST_MD5_SIZE];

	if (!digest_md5(a, b, sum))
		return false;
	memcpy(out, "md5", 3);
	for (int i = 0; i < DIGEST_MD5_SIZE; i++) {
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
