#include "password.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 32 /* of a SHA-256 */
#define TEXT_MAX 256

/* The codes of authentication requests (PostgreSQL manual, 55.7). */
enum { REQUEST_OK = 0, REQUEST_MD5 = 5, REQUEST_SASL = 10, REQUEST_SASL_CONTINUE = 11, REQUEST_SASL_FINAL = 12 };

/* Of the salt that was asked for last. */
static struct keys {
	char salt[TEXT_MAX];
	int iterations;
	uint8_t client[SIZE], stored[SIZE], server[SIZE];
} known;

static void put_size(uint8_t *to, size_t n)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(n >> (24 - 8 * i));
}

/* A message of type 'p' around n bytes that stand behind its header already. */
static int finish_message(uint8_t *out, size_t n)
{
	out[0] = 'p';
	put_size(out + 1, n + 4);
	return (int)n + 5;
}

/* ------------------------------------------------------------------ md5 */

static void md5_hex(const char *text, const void *salt, size_t nsalt, char hex[33])
{
	uint8_t digest[16], data[TEXT_MAX];
	size_t n = strlen(text);

	if (n + nsalt > sizeof(data))
		abort();
	memcpy(data, text, n);
	memcpy(data + n, salt, nsalt);
	EVP_Digest(data, n + nsalt, digest, NULL, EVP_md5(), NULL);
	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static int answer_md5(const char *user, const char *password, const uint8_t salt[4], uint8_t *out)
{
	char hex[33];

	md5_hex(password, user, strlen(user), hex);
	md5_hex(hex, salt, 4, hex);
	return finish_message(out, (size_t)sprintf((char *)out + 5, "md5%s", hex) + 1);
}

/* ------------------------------------------------------------------ SCRAM-SHA-256 (RFC 5802, 7677) */

static void mac(const uint8_t key[SIZE], const char *text, uint8_t result[SIZE])
{
	HMAC(EVP_sha256(), key, SIZE, (const uint8_t *)text, strlen(text), result, NULL);
}

static bool learn_keys(const char *password, const char *salt, int iterations)
{
	uint8_t salted[SIZE], bytes[TEXT_MAX];
	size_t n = strlen(salt);
	int nbytes;

	if (strcmp(known.salt, salt) == 0 && known.iterations == iterations)
		return true;
	nbytes = EVP_DecodeBlock(bytes, (const uint8_t *)salt, (int)n);
	if (nbytes < 0)
		return false;
	while (n > 0 && salt[--n] == '=')
		nbytes--;
	PKCS5_PBKDF2_HMAC(password, -1, bytes, nbytes, iterations, EVP_sha256(), SIZE, salted);
	mac(salted, "Client Key", known.client);
	mac(salted, "Server Key", known.server);
	EVP_Digest(known.client, SIZE, known.stored, NULL, EVP_sha256(), NULL);
	strcpy(known.salt, salt);
	known.iterations = iterations;
	return true;
}

static int answer_sasl(struct password_exchange *x, uint8_t *out)
{
	static const char mechanism[] = "SCRAM-SHA-256";
	uint8_t random[12], *first = out + 5 + sizeof(mechanism) + 4;
	int n;

	RAND_bytes(random, sizeof(random));
	EVP_EncodeBlock((uint8_t *)x->nonce, random, sizeof(random));
	memcpy(out + 5, mechanism, sizeof(mechanism));
	n = sprintf((char *)first, "n,,n=,r=%s", x->nonce);
	put_size(first - 4, (size_t)n);
	return finish_message(out, sizeof(mechanism) + 4 + (size_t)n);
}

static int answer_sasl_continue(struct password_exchange *x, const char *password, const char *server_first,
				uint8_t *out)
{
	char nonce[TEXT_MAX], salt[TEXT_MAX], all[4 * TEXT_MAX], encoded[45];
	uint8_t proof[SIZE];
	int iterations, n;

	if (sscanf(server_first, "r=%255[^,],s=%255[^,],i=%d", nonce, salt, &iterations) != 3 ||
	    strncmp(nonce, x->nonce, strlen(x->nonce)) != 0 || !learn_keys(password, salt, iterations))
		return -1;
	snprintf(all, sizeof(all), "n=,r=%s,%s,c=biws,r=%s", x->nonce, server_first, nonce);
	mac(known.server, all, x->server_signature);
	mac(known.stored, all, proof);
	for (int i = 0; i < SIZE; i++)
		proof[i] ^= known.client[i];
	EVP_EncodeBlock((uint8_t *)encoded, proof, SIZE);
	n = snprintf((char *)out + 5, PASSWORD_ANSWER_MAX - 5, "c=biws,r=%s,p=%s", nonce, encoded);
	return finish_message(out, (size_t)n);
}

static int check_sasl_final(const struct password_exchange *x, const char *server_final)
{
	char expected[48] = "v=";

	EVP_EncodeBlock((uint8_t *)expected + 2, x->server_signature, SIZE);
	return strcmp(server_final, expected) == 0 ? 0 : -1;
}

int password_answer(struct password_exchange *x, const char *user, const char *password, const uint8_t *request,
		    size_t n, uint8_t out[PASSWORD_ANSWER_MAX])
{
	char data[TEXT_MAX] = "";

	if (n < 4 || n - 4 >= sizeof(data))
		return -1;
	memcpy(data, request + 4, n - 4);
	switch (request[0] << 24 | request[1] << 16 | request[2] << 8 | request[3]) {
	case REQUEST_OK:
		return 0;
	case REQUEST_MD5:
		return n == 8 ? answer_md5(user, password, request + 4, out) : -1;
	case REQUEST_SASL:
		return answer_sasl(x, out);
	case REQUEST_SASL_CONTINUE:
		return answer_sasl_continue(x, password, data, out);
	case REQUEST_SASL_FINAL:
		return check_sasl_final(x, data);
	default:
		return -1;
	}
}
