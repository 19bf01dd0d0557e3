#include "proto/scram.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stringprep.h>

#include "base/digest.h"
#include "base/sys.h"

#define NONCE_SIZE 18                   /* random bytes, as PostgreSQL; 24 characters */
#define CHANNEL_FLAG "p=tls-server-end-point"

static bool base64_add(struct strbuf *out, const void *p, size_t n)
{
	char *to = strbuf_reserve(out, (n + 2) / 3 * 4);

	if (to == NULL)
		return false;
	out->n += (size_t)EVP_EncodeBlock((unsigned char *)to, p, (int)n);
	return true;
}

/* In the place of six bits: the character is no digit. */
#define NO_DIGIT 0x80

/* What the characters of base64 stand for. */
static const uint8_t *base64_values(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static uint8_t values[UCHAR_MAX + 1];

	if (values[0] == NO_DIGIT)
		return values;
	memset(values, NO_DIGIT, sizeof(values));
	for (uint8_t i = 0; i < 64; i++)
		values[(uint8_t)digits[i]] = i;
	return values;
}

static bool base64_decode_group(const char p[4], uint8_t out[3])
{
	const uint8_t *values = base64_values();
	uint8_t a = values[(uint8_t)p[0]], b = values[(uint8_t)p[1]], c = values[(uint8_t)p[2]],
		d = values[(uint8_t)p[3]];

	out[0] = (uint8_t)(a << 2 | b >> 4);
	out[1] = (uint8_t)(b << 4 | c >> 2);
	out[2] = (uint8_t)(c << 6 | d);
	return ((a | b | c | d) & NO_DIGIT) == 0;
}

/* A padded group, of n bytes. Any digit does where the padding is. */
static bool base64_decode_end(const char p[4], size_t n, uint8_t *out)
{
	char group[] = {'A', 'A', 'A', 'A'};
	uint8_t bytes[3];
	bool ok;

	memcpy(group, p, n + 1);
	ok = base64_decode_group(group, bytes);
	memcpy(out, bytes, n);
	return ok;
}

/* Strict: padded, no blanks. (EVP_DecodeBlock() skips blanks and does not say how long the result is.) */
static bool base64_decode(struct slice text, uint8_t *out, size_t max, size_t *len)
{
	size_t pad = 0;

	if (text.n == 0 || text.n % 4 != 0)
		return false;
	while (pad < 2 && text.p[text.n - 1 - pad] == '=')
		pad++;
	*len = text.n / 4 * 3 - pad;
	if (*len > max)
		return false;
	for (size_t whole = *len / 3; whole > 0; whole--, text.p += 4, out += 3)
		if (!base64_decode_group(text.p, out))
			return false;
	return pad == 0 || base64_decode_end(text.p, 3 - pad, out);
}

static bool key_decode(struct slice text, uint8_t key[SCRAM_KEY_SIZE])
{
	size_t n;

	return base64_decode(text, key, SCRAM_KEY_SIZE, &n) && n == SCRAM_KEY_SIZE;
}

static bool hmac(const uint8_t key[SCRAM_KEY_SIZE], struct slice text, uint8_t out[SCRAM_KEY_SIZE])
{
	return digest_hmac_sha256((struct slice){(const char *)key, SCRAM_KEY_SIZE}, text, out);
}

static bool hash(const uint8_t key[SCRAM_KEY_SIZE], uint8_t out[SCRAM_KEY_SIZE])
{
	return digest_sha256((struct slice){(const char *)key, SCRAM_KEY_SIZE}, out);
}

static void xor(uint8_t to[SCRAM_KEY_SIZE], const uint8_t with[SCRAM_KEY_SIZE])
{
	for (int i = 0; i < SCRAM_KEY_SIZE; i++)
		to[i] ^= with[i];
}

static bool has_nul(struct slice text)
{
	return text.n > 0 && memchr(text.p, '\0', text.n) != NULL;
}

static void wipe(struct strbuf *b)
{
	if (b->p != NULL)
		sys_wipe(b->p, b->cap);
	strbuf_fini(b);
}

void scram_keys_fini(struct scram_keys *k)
{
	sys_wipe(k, sizeof(*k));
}

/* Cuts up to `end` off *rest; false if it is not in there. */
static bool cut(struct slice *rest, char end, struct slice *piece)
{
	const char *p = rest->n > 0 ? memchr(rest->p, end, rest->n) : NULL;

	if (p == NULL)
		return false;
	*piece = (struct slice){rest->p, (size_t)(p - rest->p)};
	rest->n -= piece->n + 1;
	rest->p = p + 1;
	return true;
}

static bool read_iterations(struct slice text, int max, int *iterations)
{
	int64_t value;

	if (!slice_to_int64(text, &value) || value < 1 || value > max)
		return false;
	*iterations = (int)value;
	return true;
}

static bool verifier_parse(struct slice rest, struct scram_keys *k)
{
	struct slice mechanism, iterations, salt, stored;

	return cut(&rest, '$', &mechanism) && slice_is(mechanism, SCRAM_MECHANISM) &&
	       cut(&rest, ':', &iterations) && read_iterations(iterations, INT_MAX, &k->iterations) &&
	       cut(&rest, '$', &salt) && base64_decode(salt, k->salt, sizeof(k->salt), &k->salt_len) &&
	       cut(&rest, ':', &stored) && key_decode(stored, k->stored_key) &&
	       key_decode(rest, k->server_key);
}

bool scram_verifier_parse(struct slice text, struct scram_keys *k)
{
	memset(k, 0, sizeof(*k));
	if (verifier_parse(text, k))
		return true;
	scram_keys_fini(k);
	return false;
}

void scram_verifier_print(const struct scram_keys *k, struct strbuf *out)
{
	strbuf_addf(out, SCRAM_MECHANISM "$%d:", k->iterations);
	base64_add(out, k->salt, k->salt_len);
	strbuf_add_char(out, '$');
	base64_add(out, k->stored_key, SCRAM_KEY_SIZE);
	strbuf_add_char(out, ':');
	base64_add(out, k->server_key, SCRAM_KEY_SIZE);
}

/*
 * SASLprep costs more than linear time and comes before any proof, so a
 * stranger's password must not be long. Above this it is taken as it is.
 */
#define SASLPREP_MAX 4096

/* The code points that one can become: U+FDFA. */
#define SASLPREP_EXPANSION 18

/*
 * The prepared text, to be freed, or NULL when SASLprep refuses it. Not by
 * stringprep_profile(), which starts over for every 50 code points of growth.
 */
static char *saslprep(const uint32_t *from, size_t n)
{
	size_t room = n * SASLPREP_EXPANSION + 1;
	uint32_t *text = calloc(room, sizeof(*text));
	char *prepared = NULL;

	if (text == NULL)
		return NULL;
	memcpy(text, from, n * sizeof(*text));
	if (stringprep_4i(text, &n, room, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep) == STRINGPREP_OK && n > 0)
		prepared = stringprep_ucs4_to_utf8(text, (ssize_t)n, NULL, NULL);
	sys_wipe(text, room * sizeof(*text));
	free(text);
	return prepared;
}

/*
 * The password as SCRAM wants it, to be freed, or NULL when that is the raw
 * one: ASCII does not change, and what SASLprep refuses (another encoding
 * than UTF-8, unassigned code points) PostgreSQL takes raw too.
 */
static char *prepare_password(struct slice raw)
{
	bool ascii = true;
	uint32_t *decoded;
	size_t n;
	char *prepared;

	for (size_t i = 0; i < raw.n; i++)
		ascii = ascii && (unsigned char)raw.p[i] < 0x80;
	if (ascii || raw.n > SASLPREP_MAX || has_nul(raw))
		return NULL;
	decoded = stringprep_utf8_to_ucs4(raw.p, (ssize_t)raw.n, &n);
	if (decoded == NULL)
		return NULL;
	prepared = saslprep(decoded, n);
	sys_wipe(decoded, n * sizeof(*decoded));
	free(decoded);
	return prepared;
}

static bool salt_password(struct slice password, const struct scram_keys *k, uint8_t salted[SCRAM_KEY_SIZE])
{
	char *prepared = prepare_password(password);
	bool ok;

	if (prepared != NULL)
		password = slice_of(prepared);
	ok = password.n <= INT_MAX &&
	     PKCS5_PBKDF2_HMAC(password.p, (int)password.n, k->salt, (int)k->salt_len, k->iterations, EVP_sha256(),
			       SCRAM_KEY_SIZE, salted) == 1;
	if (prepared != NULL) {
		sys_wipe(prepared, password.n);
		free(prepared);
	}
	return ok;
}

bool scram_keys_derive(struct scram_keys *k, struct slice password, struct slice salt, int iterations)
{
	uint8_t salted[SCRAM_KEY_SIZE];
	bool ok;

	memset(k, 0, sizeof(*k));
	if (salt.n == 0 || salt.n > sizeof(k->salt) || iterations < 1)
		return false;
	memcpy(k->salt, salt.p, salt.n);
	k->salt_len = salt.n;
	k->iterations = iterations;
	ok = salt_password(password, k, salted) && hmac(salted, SLICE_LIT("Client Key"), k->client_key) &&
	     hmac(salted, SLICE_LIT("Server Key"), k->server_key) && hash(k->client_key, k->stored_key);
	if (ok)
		k->has_client_key = true;
	else
		scram_keys_fini(k);
	sys_wipe(salted, sizeof(salted));
	return ok;
}

bool scram_keys_same_salt(const struct scram_keys *k, struct slice salt, int iterations)
{
	return k->iterations == iterations && slice_eq((struct slice){(const char *)k->salt, k->salt_len}, salt);
}

static void make_nonce(char nonce[64])
{
	uint8_t raw[NONCE_SIZE];

	sys_random(raw, sizeof(raw));
	EVP_EncodeBlock((unsigned char *)nonce, raw, sizeof(raw));
}

/*
 * The next attribute, `x=value`, cut off *rest with the comma behind it.
 * rest->p becomes NULL behind the last, so that a trailing comma is noticed.
 */
static bool next_attribute(struct slice *rest, char *name, struct slice *value)
{
	struct slice piece;

	if (rest->p == NULL)
		return false;
	if (!cut(rest, ',', &piece)) {
		piece = *rest;
		*rest = (struct slice){NULL, 0};
	}
	if (piece.n < 2 || piece.p[1] != '=')
		return false;
	*name = piece.p[0];
	*value = (struct slice){piece.p + 2, piece.n - 2};
	return (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z');
}

static bool attribute(struct slice *rest, char want, struct slice *value)
{
	char name;

	return next_attribute(rest, &name, value) && name == want;
}

/* RFC 5802 lets further attributes follow; those that we do not know are ignored. */
static bool skip_extensions(struct slice *rest)
{
	struct slice value;
	char name;

	while (rest->p != NULL) {
		if (!next_attribute(rest, &name, &value))
			return false;
	}
	return true;
}

static bool nonce_is_sound(struct slice nonce)
{
	for (size_t i = 0; i < nonce.n; i++) {
		if (nonce.p[i] < 0x21 || nonce.p[i] > 0x7e || nonce.p[i] == ',')
			return false;
	}
	return nonce.n > 0 && nonce.n <= SCRAM_NONCE_MAX;
}

void scram_server_init(struct scram_server *s, const struct scram_keys *verifier)
{
	memset(s, 0, sizeof(*s));
	s->keys = *verifier;
	make_nonce(s->nonce);
}

void scram_server_fini(struct scram_server *s)
{
	wipe(&s->binding);
	wipe(&s->auth_message);
	wipe(&s->full_nonce);
	sys_wipe(s, sizeof(*s));
}

/* The text of c=: it repeats the header of client-first and adds the channel's data when it is bound. */
static void make_binding(struct strbuf *out, struct slice gs2_header, const struct scram_channel *channel)
{
	struct strbuf raw;

	strbuf_init(&raw);
	strbuf_add_slice(&raw, gs2_header);
	if (channel->binding == SCRAM_BINDING_USED)
		strbuf_add_slice(&raw, channel->data);
	if (raw.failed)
		out->failed = true;
	else
		base64_add(out, raw.p, raw.n);
	strbuf_fini(&raw);
}

/*
 * "n": the client cannot bind. "y": it could but believes that we cannot; if
 * we offered it, someone on the way took the offer out. "p=": it binds.
 */
static bool flag_fits(struct slice flag, enum scram_binding binding)
{
	switch (binding) {
	case SCRAM_BINDING_NONE:
		return slice_is(flag, "n") || slice_is(flag, "y");
	case SCRAM_BINDING_UNUSED:
		return slice_is(flag, "n");
	case SCRAM_BINDING_USED:
		return slice_is(flag, CHANNEL_FLAG);
	}
	return false;
}

/*
 * The header in front of client-first: a flag for channel binding, then an
 * authorization identity, which PostgreSQL does not have.
 */
static bool read_gs2_header(struct slice *rest, enum scram_binding binding)
{
	struct slice flag, authzid;

	return cut(rest, ',', &flag) && flag_fits(flag, binding) && cut(rest, ',', &authzid) && authzid.n == 0;
}

enum scram_result scram_server_first(struct scram_server *s, struct slice client_first, struct strbuf *out)
{
	struct slice rest = client_first, bare, user, nonce;
	struct strbuf *message = &s->auth_message;
	size_t reply;

	if (has_nul(client_first) || !read_gs2_header(&rest, s->channel.binding))
		return SCRAM_MALFORMED;
	bare = rest;
	/* The user name is that of the StartupMessage, as in PostgreSQL; this one is ignored. */
	if (!attribute(&rest, 'n', &user) || !attribute(&rest, 'r', &nonce) || !nonce_is_sound(nonce) ||
	    !skip_extensions(&rest))
		return SCRAM_MALFORMED;
	make_binding(&s->binding, (struct slice){client_first.p, client_first.n - bare.n}, &s->channel);
	strbuf_add_slice(&s->full_nonce, nonce);
	strbuf_add_str(&s->full_nonce, s->nonce);
	strbuf_add_slice(message, bare);
	strbuf_add_char(message, ',');
	reply = message->n;
	strbuf_add_str(message, "r=");
	strbuf_add_slice(message, strbuf_slice(&s->full_nonce));
	strbuf_add_str(message, ",s=");
	base64_add(message, s->keys.salt, s->keys.salt_len);
	strbuf_addf(message, ",i=%d", s->keys.iterations);
	if (s->binding.failed || s->full_nonce.failed || message->failed)
		return SCRAM_MALFORMED;
	strbuf_add(out, message->p + reply, message->n - reply);
	return SCRAM_OK;
}

/*
 * Splits client-final; *unproven is what stands before the proof. Another c=
 * than expected: someone on the way changed the header, or has a TLS
 * connection of his own to each side.
 */
static bool read_client_final(const struct scram_server *s, struct slice text, struct slice *unproven,
			      uint8_t proof[SCRAM_KEY_SIZE])
{
	struct slice rest = text, binding, nonce, value;
	char name;

	if (has_nul(text) || !attribute(&rest, 'c', &binding) || !attribute(&rest, 'r', &nonce) ||
	    !slice_eq(binding, strbuf_slice(&s->binding)) || !slice_eq(nonce, strbuf_slice(&s->full_nonce)))
		return false;
	do {
		if (rest.p == NULL)
			return false;
		*unproven = (struct slice){text.p, (size_t)(rest.p - text.p) - 1};
		if (!next_attribute(&rest, &name, &value))
			return false;
	} while (name != 'p');
	return rest.p == NULL && key_decode(value, proof);
}

/* Turns the proof into the ClientKey it was made with, and says whether that is the right one. */
static bool proof_is_right(const struct scram_server *s, uint8_t proof[SCRAM_KEY_SIZE])
{
	uint8_t signature[SCRAM_KEY_SIZE], hashed[SCRAM_KEY_SIZE];

	if (!hmac(s->keys.stored_key, strbuf_slice(&s->auth_message), signature))
		return false;
	xor(proof, signature);
	return hash(proof, hashed) && CRYPTO_memcmp(hashed, s->keys.stored_key, SCRAM_KEY_SIZE) == 0;
}

enum scram_result scram_server_final(struct scram_server *s, struct slice client_final, struct strbuf *out)
{
	uint8_t proof[SCRAM_KEY_SIZE], signature[SCRAM_KEY_SIZE];
	struct slice unproven;
	enum scram_result result = SCRAM_MALFORMED;

	if (!read_client_final(s, client_final, &unproven, proof))
		goto out;
	strbuf_add_char(&s->auth_message, ',');
	strbuf_add_slice(&s->auth_message, unproven);
	if (s->auth_message.failed)
		goto out;
	result = SCRAM_REFUSED;
	if (!proof_is_right(s, proof) || !hmac(s->keys.server_key, strbuf_slice(&s->auth_message), signature))
		goto out;
	memcpy(s->keys.client_key, proof, SCRAM_KEY_SIZE);
	s->keys.has_client_key = true;
	strbuf_add_str(out, "v=");
	base64_add(out, signature, sizeof(signature));
	result = SCRAM_OK;
out:
	sys_wipe(proof, sizeof(proof));
	return result;
}

void scram_client_init(struct scram_client *c)
{
	memset(c, 0, sizeof(*c));
	make_nonce(c->nonce);
}

void scram_client_fini(struct scram_client *c)
{
	wipe(&c->binding);
	wipe(&c->auth_message);
	wipe(&c->full_nonce);
	sys_wipe(c, sizeof(*c));
}

static struct slice own_gs2_header(enum scram_binding binding)
{
	switch (binding) {
	case SCRAM_BINDING_UNUSED:
		return SLICE_LIT("y,,");
	case SCRAM_BINDING_USED:
		return SLICE_LIT(CHANNEL_FLAG ",,");
	case SCRAM_BINDING_NONE:
		break;
	}
	return SLICE_LIT("n,,");
}

void scram_client_first(struct scram_client *c, struct strbuf *out)
{
	struct slice header = own_gs2_header(c->channel.binding);

	make_binding(&c->binding, header, &c->channel);
	strbuf_addf(&c->auth_message, "n=,r=%s", c->nonce);
	strbuf_add_slice(out, header);
	strbuf_add_slice(out, strbuf_slice(&c->auth_message));
}

/* The server's nonce is ours with something of its own behind it. */
static bool continues_nonce(const struct scram_client *c, struct slice nonce)
{
	size_t n = strlen(c->nonce);

	return nonce.n > n && memcmp(nonce.p, c->nonce, n) == 0 &&
	       nonce_is_sound((struct slice){nonce.p + n, nonce.n - n});
}

enum scram_result scram_client_challenge(struct scram_client *c, struct slice server_first)
{
	struct slice rest = server_first, nonce, salt, iterations;

	if (has_nul(server_first) || !attribute(&rest, 'r', &nonce) || !attribute(&rest, 's', &salt) ||
	    !attribute(&rest, 'i', &iterations) || !skip_extensions(&rest))
		return SCRAM_MALFORMED;
	if (!continues_nonce(c, nonce) || !base64_decode(salt, c->salt, sizeof(c->salt), &c->salt_len) ||
	    !read_iterations(iterations, INT_MAX, &c->iterations))
		return SCRAM_MALFORMED;
	if (c->iterations > SCRAM_ITERATIONS_MAX)
		return SCRAM_TOO_COSTLY;
	strbuf_add_slice(&c->full_nonce, nonce);
	strbuf_add_char(&c->auth_message, ',');
	strbuf_add_slice(&c->auth_message, server_first);
	return c->binding.failed || c->full_nonce.failed || c->auth_message.failed ? SCRAM_MALFORMED : SCRAM_OK;
}

enum scram_result scram_client_final(struct scram_client *c, const struct scram_keys *keys, struct strbuf *out)
{
	struct slice salt = {(const char *)c->salt, c->salt_len};
	struct strbuf *message = &c->auth_message;
	uint8_t proof[SCRAM_KEY_SIZE];
	size_t unproven;

	if (!keys->has_client_key || !scram_keys_same_salt(keys, salt, c->iterations))
		return SCRAM_MALFORMED;
	memcpy(c->server_key, keys->server_key, SCRAM_KEY_SIZE);
	strbuf_add_char(message, ',');
	unproven = message->n;
	strbuf_add_str(message, "c=");
	strbuf_add_slice(message, strbuf_slice(&c->binding));
	strbuf_add_str(message, ",r=");
	strbuf_add_slice(message, strbuf_slice(&c->full_nonce));
	if (message->failed || !hmac(keys->stored_key, strbuf_slice(message), proof))
		return SCRAM_MALFORMED;
	xor(proof, keys->client_key);
	strbuf_add(out, message->p + unproven, message->n - unproven);
	strbuf_add_str(out, ",p=");
	base64_add(out, proof, sizeof(proof));
	sys_wipe(proof, sizeof(proof));
	return SCRAM_OK;
}

enum scram_result scram_client_verify(struct scram_client *c, struct slice server_final)
{
	uint8_t signature[SCRAM_KEY_SIZE], expected[SCRAM_KEY_SIZE];
	struct slice rest = server_final, value;
	char name;

	if (!next_attribute(&rest, &name, &value))
		return SCRAM_MALFORMED;
	if (name == 'e')
		return SCRAM_REFUSED;
	if (name != 'v' || !key_decode(value, signature) || !skip_extensions(&rest))
		return SCRAM_MALFORMED;
	if (!hmac(c->server_key, strbuf_slice(&c->auth_message), expected))
		return SCRAM_MALFORMED;
	return CRYPTO_memcmp(signature, expected, SCRAM_KEY_SIZE) == 0 ? SCRAM_OK : SCRAM_REFUSED;
}
