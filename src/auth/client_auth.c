#include "auth/client_auth.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "auth/md5.h"
#include "base/digest.h"
#include "base/sys.h"
#include "proto/out.h"

/* The one in force is the message that is waited for. */
enum state { DONE, AWAIT_CLEARTEXT, AWAIT_MD5, AWAIT_SASL_FIRST, AWAIT_SASL_FINAL };

struct client_auth {
	enum auth_type type;
	enum state state;
	bool doomed;                      /* no such user: the secret is made up, and no answer is right */
	char *user;
	enum secret_type secret_type;
	char *secret;                     /* NULL when it is a verifier */
	struct scram_keys verifier;       /* of a password in the clear only salt and iterations */
	int iterations;
	struct keycache *cache;
	uint8_t md5_salt[MD5_SALT_SIZE];
	struct strbuf channel_binding;    /* empty: none is offered */
	struct scram_server scram;
	char *password;                   /* as given in the clear */
	bool proven_by_scram;
	struct auth_error error;
};

static enum auth_step fail(struct client_auth *a, const char *sqlstate, const char *text)
{
	a->state = DONE;
	a->error.sqlstate = sqlstate;
	snprintf(a->error.text, sizeof(a->error.text), "%s", text);
	return AUTH_FAILED;
}

static enum auth_step fail_password(struct client_auth *a)
{
	return fail(a, "28P01", "password authentication failed");
}

static enum auth_step fail_sasl(struct client_auth *a, const char *sqlstate)
{
	return fail(a, sqlstate, "SASL authentication failed");
}

/* The secret, if this type of authentication can check it; an md5 hash cannot answer SCRAM. */
static bool take_secret(struct client_auth *a, const struct userlist_entry *entry)
{
	if (entry == NULL || entry->secret[0] == '\0')
		return false;
	a->secret_type = entry->type;
	switch (entry->type) {
	case SECRET_MD5:
		if (a->type == AUTH_TYPE_SCRAM_SHA_256)
			break;
		/* fall through */
	case SECRET_PLAIN:
		a->secret = strdup(entry->secret);
		return a->secret != NULL;
	case SECRET_SCRAM:
		return scram_verifier_parse(slice_of(entry->secret), &a->verifier);
	case SECRET_NONE:
		break;
	}
	return false;
}

/*
 * The salt of a user whose secret has none of its own. It stays the same from
 * login to login, as a stored one does, and is the same for a name whether
 * there is such a user or not.
 */
static bool make_salt(struct client_auth *a, const uint8_t *mock_key)
{
	const struct slice key = {(const char *)mock_key, CLIENT_AUTH_MOCK_KEY_SIZE};
	uint8_t sum[DIGEST_SHA256_SIZE];

	if (!digest_hmac_sha256(key, slice_of(a->user), sum))
		return false;
	memcpy(a->verifier.salt, sum, SCRAM_SALT_SIZE);
	a->verifier.salt_len = SCRAM_SALT_SIZE;
	a->verifier.iterations = a->iterations;
	return true;
}

/* SCRAM is spoken, or a password in the clear is derived from. */
static bool needs_salt(const struct client_auth *a)
{
	return a->type == AUTH_TYPE_SCRAM_SHA_256 || a->secret_type == SECRET_SCRAM;
}

/*
 * A secret of the wanted kind for a user that does not exist, so that what
 * follows does not differ. It is the same at each login, as a real one is,
 * where the key cache would tell: PBKDF2 runs at the first login only.
 */
static bool make_mock_secret(struct client_auth *a, enum secret_type type)
{
	a->doomed = true;
	if (type == SECRET_NONE)
		type = SECRET_PLAIN;
	if (type == SECRET_MD5 && a->type == AUTH_TYPE_SCRAM_SHA_256)
		type = SECRET_SCRAM;
	a->secret_type = type;
	if (type == SECRET_SCRAM) {
		sys_random(a->verifier.stored_key, SCRAM_KEY_SIZE);
		sys_random(a->verifier.server_key, SCRAM_KEY_SIZE);
		return true;
	}
	/* In the place of a password it does as well. */
	a->secret = strdup("md500000000000000000000000000000000");
	return a->secret != NULL;
}

bool client_auth_asks_nothing(enum auth_type type, const struct userlist_entry *entry)
{
	return type == AUTH_TYPE_ANY || (type == AUTH_TYPE_TRUST && entry != NULL);
}

static bool init(struct client_auth *a, const struct client_auth_params *params)
{
	a->type = params->type;
	a->iterations = params->scram_iterations;
	a->cache = params->keys;
	a->user = strndup(params->user.p, params->user.n);
	if (a->user == NULL)
		return false;
	switch (a->type) {
	case AUTH_TYPE_ANY:
	case AUTH_TYPE_TRUST:
		a->doomed = !client_auth_asks_nothing(a->type, params->entry);
		return true;
	case AUTH_TYPE_PLAIN:
	case AUTH_TYPE_MD5:
	case AUTH_TYPE_SCRAM_SHA_256:
		break;
	default:
		return false;
	}
	strbuf_add_slice(&a->channel_binding, params->channel_binding);
	if (a->channel_binding.failed)
		return false;
	if (!take_secret(a, params->entry) && !make_mock_secret(a, params->mock_type))
		return false;
	return !needs_salt(a) || a->verifier.salt_len > 0 || make_salt(a, params->mock_key);
}

struct client_auth *client_auth_new(const struct client_auth_params *params)
{
	struct client_auth *a = sys_zeroed(sizeof(*a));

	if (a != NULL && !init(a, params))
		client_auth_free(&a);
	return a;
}

void client_auth_free(struct client_auth **auth)
{
	struct client_auth *a = *auth;

	*auth = NULL;
	if (a == NULL)
		return;
	free(a->user);
	sys_wipe_text(&a->secret);
	sys_wipe_text(&a->password);
	scram_keys_fini(&a->verifier);
	strbuf_fini(&a->channel_binding);
	scram_server_fini(&a->scram);
	sys_wipe(a, sizeof(*a));
	free(a);
}

static enum auth_step ask_cleartext(struct client_auth *a, struct strbuf *out)
{
	out_auth(out, 3);
	a->state = AWAIT_CLEARTEXT;
	return AUTH_CONTINUE;
}

static enum auth_step ask_md5(struct client_auth *a, struct strbuf *out)
{
	size_t mark = out_begin(out, 'R');

	sys_random(a->md5_salt, sizeof(a->md5_salt));
	out_u32(out, 5);
	strbuf_add(out, a->md5_salt, sizeof(a->md5_salt));
	out_end(out, mark);
	a->state = AWAIT_MD5;
	return AUTH_CONTINUE;
}

static enum auth_step ask_sasl(struct client_auth *a, struct strbuf *out)
{
	size_t mark = out_begin(out, 'R');

	out_u32(out, 10);
	if (a->channel_binding.n > 0)
		out_string(out, SCRAM_MECHANISM_PLUS);
	out_string(out, SCRAM_MECHANISM);
	out_u8(out, 0);
	out_end(out, mark);
	a->state = AWAIT_SASL_FIRST;
	return AUTH_CONTINUE;
}

enum auth_step client_auth_start(struct client_auth *a, struct strbuf *out)
{
	switch (a->type) {
	case AUTH_TYPE_PLAIN:
		return ask_cleartext(a, out);
	case AUTH_TYPE_MD5:
		return a->secret_type == SECRET_SCRAM ? ask_sasl(a, out) : ask_md5(a, out);
	case AUTH_TYPE_SCRAM_SHA_256:
		return ask_sasl(a, out);
	default:
		break;
	}
	if (a->doomed)
		return fail(a, "28000", "\"trust\" authentication failed");
	return AUTH_OK;
}

/* In a time that depends on neither's content. */
static bool same_text(struct slice a, struct slice b)
{
	uint8_t sum_a[DIGEST_SHA256_SIZE], sum_b[DIGEST_SHA256_SIZE];

	return digest_sha256(a, sum_a) && digest_sha256(b, sum_b) &&
	       CRYPTO_memcmp(sum_a, sum_b, sizeof(sum_a)) == 0;
}

/* Only right passwords get into the cache: guesses would push the others out. */
static bool matches_verifier(const struct client_auth *a, struct slice password)
{
	const struct scram_keys *verifier = &a->verifier, *known;
	const struct keycache_id id = {.user = slice_of(a->user),
				       .secret = password,
				       .salt = {(const char *)verifier->salt, verifier->salt_len},
				       .iterations = verifier->iterations};
	struct scram_keys derived = {0};
	bool ok = false;

	known = keycache_find(a->cache, &id);
	if (known != NULL)
		ok = CRYPTO_memcmp(known->stored_key, verifier->stored_key, SCRAM_KEY_SIZE) == 0;
	else if (scram_keys_derive(&derived, password, id.salt, id.iterations))
		ok = CRYPTO_memcmp(derived.stored_key, verifier->stored_key, SCRAM_KEY_SIZE) == 0;
	if (ok && known == NULL)
		keycache_put(a->cache, &id, &derived);
	scram_keys_fini(&derived);
	return ok;
}

static bool password_matches(const struct client_auth *a, struct slice password)
{
	char hashed[MD5_TEXT_SIZE];

	switch (a->secret_type) {
	case SECRET_PLAIN:
		return same_text(password, slice_of(a->secret));
	case SECRET_MD5:
		return md5_secret(password, slice_of(a->user), hashed) &&
		       same_text(slice_of(hashed), slice_of(a->secret));
	case SECRET_SCRAM:
		return matches_verifier(a, password);
	case SECRET_NONE:
		break;
	}
	return false;
}

static enum auth_step on_cleartext(struct client_auth *a, struct slice password)
{
	if (!password_matches(a, password) || a->doomed)
		return fail_password(a);
	a->password = strndup(password.p, password.n);
	if (a->password == NULL)
		return fail_password(a);
	a->state = DONE;
	return AUTH_OK;
}

static enum auth_step on_md5(struct client_auth *a, struct slice answer)
{
	char hashed[MD5_TEXT_SIZE], expected[MD5_TEXT_SIZE];
	const char *secret = a->secret;
	bool ok = true;

	if (a->secret_type == SECRET_PLAIN) {
		ok = md5_secret(slice_of(a->secret), slice_of(a->user), hashed);
		secret = hashed;
	}
	ok = ok && md5_response(secret, a->md5_salt, expected) && answer.n == MD5_TEXT_SIZE - 1 &&
	     CRYPTO_memcmp(answer.p, expected, answer.n) == 0;
	sys_wipe(hashed, sizeof(hashed));
	if (!ok || a->doomed)
		return fail_password(a);
	a->state = DONE;
	return AUTH_OK;
}

/* A PasswordMessage: one text, whichever way it is made. */
static enum auth_step on_password(struct client_auth *a, const struct msg *m)
{
	struct cursor c = msg_cursor(m);
	struct slice text = cursor_string(&c);

	if (c.bad || cursor_left(&c) != 0)
		return fail(a, "08P01", "password authentication failed");
	if (text.n == 0)
		return fail(a, "28P01", "empty password returned by client");
	return a->state == AWAIT_MD5 ? on_md5(a, text) : on_cleartext(a, text);
}

/* By the mechanism that the client selected; false if it was not offered. */
static bool choose_channel(const struct client_auth *a, struct slice mechanism, struct scram_channel *channel)
{
	bool can_bind = a->channel_binding.n > 0;

	*channel = (struct scram_channel){SCRAM_BINDING_USED, strbuf_slice(&a->channel_binding)};
	if (slice_is(mechanism, SCRAM_MECHANISM_PLUS))
		return can_bind;
	channel->binding = can_bind ? SCRAM_BINDING_UNUSED : SCRAM_BINDING_NONE;
	return slice_is(mechanism, SCRAM_MECHANISM);
}

static enum auth_step on_sasl_first(struct client_auth *a, const struct msg *m, struct strbuf *out)
{
	struct cursor c = msg_cursor(m);
	struct slice mechanism = cursor_string(&c);
	struct slice data = cursor_bytes(&c, cursor_u32(&c));
	struct scram_channel channel;
	size_t mark;

	if (c.bad || cursor_left(&c) != 0)
		return fail_sasl(a, "08P01");
	if (!choose_channel(a, mechanism, &channel))
		return fail(a, "08P01", "client selected an invalid SASL authentication mechanism");
	/* Keys of a plain secret wait for the proof: a stranger must not get 4096 rounds for one packet. */
	scram_server_init(&a->scram, &a->verifier);
	a->scram.channel = channel;
	mark = out_begin(out, 'R');
	out_u32(out, 11);
	if (scram_server_first(&a->scram, data, out) != SCRAM_OK)
		return fail_sasl(a, "08P01");
	out_end(out, mark);
	a->state = AWAIT_SASL_FINAL;
	return AUTH_CONTINUE;
}

static bool derive_from_plain(struct client_auth *a)
{
	struct keycache_id id = {
		.user = slice_of(a->user),
		.secret = slice_of(a->secret),
		.salt = {(const char *)a->verifier.salt, a->verifier.salt_len},
		.iterations = a->iterations,
	};

	return keycache_derive(a->cache, &id, &a->scram.keys);
}

static enum auth_step on_sasl_final(struct client_auth *a, const struct msg *m, struct strbuf *out)
{
	struct slice data = {(const char *)m->body, m->have};
	enum scram_result result;
	size_t mark;

	if (a->secret_type == SECRET_PLAIN && !derive_from_plain(a))
		return fail_sasl(a, "28P01");
	mark = out_begin(out, 'R');
	out_u32(out, 12);
	result = scram_server_final(&a->scram, data, out);
	if (result != SCRAM_OK || a->doomed)
		return fail_sasl(a, result == SCRAM_MALFORMED ? "08P01" : "28P01");
	out_end(out, mark);
	a->state = DONE;
	a->proven_by_scram = true;
	return AUTH_OK;
}

static enum auth_step on_message(struct client_auth *a, const struct msg *m, struct strbuf *out)
{
	switch (a->state) {
	case AWAIT_CLEARTEXT:
	case AWAIT_MD5:
		return on_password(a, m);
	case AWAIT_SASL_FIRST:
		return on_sasl_first(a, m, out);
	case AWAIT_SASL_FINAL:
		return on_sasl_final(a, m, out);
	case DONE:
		break;
	}
	return fail_password(a);
}

enum auth_step client_auth_step(struct client_auth *a, const struct msg *m, struct strbuf *out)
{
	size_t before = out->n;
	enum auth_step step;

	if (m->len > AUTH_MESSAGE_MAX)
		return fail(a, "08P01", "password too long");
	if (m->have < m->len)
		return AUTH_SHORT;
	step = on_message(a, m, out);
	if (step == AUTH_FAILED)
		auth_take_back(out, before);
	return step;
}

const struct auth_error *client_auth_error(const struct client_auth *a)
{
	return &a->error;
}

struct slice client_auth_password(const struct client_auth *a)
{
	return a->password != NULL ? slice_of(a->password) : SLICE_LIT("");
}

const struct scram_keys *client_auth_keys(const struct client_auth *a)
{
	return a->proven_by_scram ? &a->scram.keys : NULL;
}

enum secret_type client_auth_mock_type(const struct userlist *list)
{
	size_t counts[SECRET_SCRAM + 1] = {0};
	enum secret_type most = SECRET_PLAIN;

	for (size_t i = 0; i < userlist_count(list); i++)
		counts[userlist_at(list, i)->type]++;
	if (counts[SECRET_MD5] > counts[most])
		most = SECRET_MD5;
	if (counts[SECRET_SCRAM] > counts[most])
		most = SECRET_SCRAM;
	return most;
}
