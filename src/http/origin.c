#include "http/origin.h"

#include <stdio.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool origin_token(const unsigned char key[ORIGIN_KEY_SIZE], const char *user, char token[ORIGIN_TOKEN_SIZE])
{
	unsigned char sum[32];

	if (HMAC(EVP_sha256(), key, ORIGIN_KEY_SIZE, (const unsigned char *)user, strlen(user), sum, NULL) == NULL)
		return false;
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(token + 2 * i, 3, "%02x", sum[i]);
	return true;
}

static const char *header(struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* The scheme does not count: TLS may have ended before us. */
static bool is_same_origin(struct exchange *x)
{
	const char *origin = header(x, "Origin"), *host = header(x, MHD_HTTP_HEADER_HOST), *authority;

	if (origin == NULL)
		return true;
	authority = strstr(origin, "://");
	return authority != NULL && host != NULL && slice_is_nocase(slice_of(authority + 3), host);
}

/* Not told by older browsers. */
static bool is_fetched_by_own_page(struct exchange *x)
{
	const char *site = header(x, "Sec-Fetch-Site");

	return site == NULL || strcmp(site, "same-origin") == 0;
}

static bool is_json(struct exchange *x)
{
	const char *type = header(x, MHD_HTTP_HEADER_CONTENT_TYPE);
	struct slice s = slice_of(type == NULL ? "" : type);

	s.n = strcspn(s.p, ";");
	return slice_is_nocase(slice_trim(s), "application/json");
}

static bool has_token(struct exchange *x, const unsigned char key[ORIGIN_KEY_SIZE], const char *user)
{
	const char *given = header(x, ORIGIN_TOKEN_HEADER);
	char token[ORIGIN_TOKEN_SIZE];

	return given != NULL && origin_token(key, user, token) && strlen(given) == strlen(token) &&
	       CRYPTO_memcmp(given, token, strlen(token)) == 0;
}

const char *origin_fault(struct exchange *x, const unsigned char key[ORIGIN_KEY_SIZE], const char *user)
{
	if (!is_same_origin(x) || !is_fetched_by_own_page(x))
		return "the request comes from another origin";
	if (!is_json(x))
		return "the request's Content-Type is not application/json";
	if (!has_token(x, key, user))
		return "the header " ORIGIN_TOKEN_HEADER " does not have the csrf_token of /api/session";
	return NULL;
}
