#include "auth/server_auth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/md5.h"
#include "base/sys.h"
#include "proto/out.h"

/* What was sent last. */
enum state { NOTHING_SENT, PASSWORD_SENT, SASL_FIRST_SENT, SASL_FINAL_SENT, SERVER_VERIFIED, OK, DONE };

struct server_auth {
	enum state state;
	char *user;
	char *secret;
	enum secret_type type;
	struct scram_keys keys;       /* learnt from a client */
	bool has_keys;
	struct keycache *cache;
	struct strbuf channel_binding;    /* empty: none is possible */
	bool channel_binding_required;
	struct scram_client scram;
	struct auth_error error;
};

struct server_auth *server_auth_new(const struct credentials *credentials, struct keycache *cache)
{
	struct server_auth *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->cache = cache;
	strbuf_add_slice(&a->channel_binding, credentials->channel_binding);
	a->channel_binding_required = credentials->channel_binding_required;
	a->user = strdup(credentials->user);
	if (credentials->secret != NULL && credentials->secret[0] != '\0') {
		a->secret = strdup(credentials->secret);
		a->type = a->secret != NULL ? credentials->type : SECRET_NONE;
	}
	if (credentials->keys != NULL && credentials->keys->has_client_key) {
		a->keys = *credentials->keys;
		a->has_keys = true;
	}
	if (a->user == NULL || a->channel_binding.failed ||
	    (a->secret == NULL && credentials->secret != NULL && credentials->secret[0] != '\0'))
		server_auth_free(&a);
	return a;
}

void server_auth_free(struct server_auth **auth)
{
	struct server_auth *a = *auth;

	*auth = NULL;
	if (a == NULL)
		return;
	free(a->user);
	sys_wipe_text(&a->secret);
	strbuf_fini(&a->channel_binding);
	scram_client_fini(&a->scram);
	sys_wipe(a, sizeof(*a));
	free(a);
}

__attribute__((format(printf, 3, 4)))
static enum auth_step fail(struct server_auth *a, const char *sqlstate, const char *format, ...)
{
	va_list ap;

	a->state = DONE;
	a->error.sqlstate = sqlstate;
	va_start(ap, format);
	vsnprintf(a->error.text, sizeof(a->error.text), format, ap);
	va_end(ap);
	return AUTH_FAILED;
}

static enum auth_step fail_protocol(struct server_auth *a)
{
	return fail(a, "08P01", "server sent an unexpected or malformed authentication message");
}

/* The server wants something that cannot be made from what is known. */
static enum auth_step fail_secret(struct server_auth *a, const char *wanted)
{
	switch (a->type) {
	case SECRET_MD5:
		return fail(a, "28000", "server asks for %s, but only an md5 hash of the password is known", wanted);
	case SECRET_SCRAM:
		return fail(a, "28000", "server asks for %s, but only a SCRAM verifier of the password is known", wanted);
	default:
		return fail(a, "28P01", "server asks for %s, but no password is known", wanted);
	}
}

static enum auth_step fail_unbound(struct server_auth *a)
{
	if (a->channel_binding.n == 0)
		return fail(a, "28000", "channel binding is required, but the connection to the server is not TLS or has "
					"a certificate that cannot be bound to");
	return fail(a, "28000", "channel binding is required, but the server does not offer " SCRAM_MECHANISM_PLUS);
}

static enum auth_step on_ask_cleartext(struct server_auth *a, struct strbuf *out)
{
	if (a->type != SECRET_PLAIN)
		return fail_secret(a, "a cleartext password");
	out_password(out, slice_of(a->secret));
	a->state = PASSWORD_SENT;
	return AUTH_CONTINUE;
}

static enum auth_step on_ask_md5(struct server_auth *a, struct slice salt, struct strbuf *out)
{
	char hashed[MD5_TEXT_SIZE], response[MD5_TEXT_SIZE];
	const char *secret = a->secret;
	bool ok = true;

	if (salt.n != MD5_SALT_SIZE)
		return fail_protocol(a);
	if (a->type != SECRET_PLAIN && a->type != SECRET_MD5)
		return fail_secret(a, "md5 authentication");
	if (a->type == SECRET_PLAIN) {
		ok = md5_secret(slice_of(a->secret), slice_of(a->user), hashed);
		secret = hashed;
	}
	ok = ok && md5_response(secret, (const uint8_t *)salt.p, response);
	sys_wipe(hashed, sizeof(hashed));
	if (!ok)
		return fail(a, "28000", "server asks for md5 authentication, but MD5 is not available");
	out_password(out, slice_of(response));
	a->state = PASSWORD_SENT;
	return AUTH_CONTINUE;
}

struct offer {
	bool plain, plus;
};

/* The list of mechanisms ends with an empty name. */
static struct offer read_offer(struct cursor *c)
{
	struct offer offer = {false, false};
	struct slice name;

	while ((name = cursor_string(c)).n > 0) {
		offer.plain = offer.plain || slice_is(name, SCRAM_MECHANISM);
		offer.plus = offer.plus || slice_is(name, SCRAM_MECHANISM_PLUS);
	}
	return offer;
}

/*
 * Where binding is possible but was not offered, the server is told that it
 * was possible: one that did offer it learns that someone on the way took the
 * offer out.
 */
static struct scram_channel choose_channel(const struct server_auth *a, struct offer offer)
{
	struct scram_channel channel = {SCRAM_BINDING_NONE, strbuf_slice(&a->channel_binding)};

	if (channel.data.n > 0)
		channel.binding = offer.plus ? SCRAM_BINDING_USED : SCRAM_BINDING_UNUSED;
	return channel;
}

static void send_sasl_first(struct server_auth *a, struct strbuf *out)
{
	bool bound = a->scram.channel.binding == SCRAM_BINDING_USED;
	struct strbuf first;
	size_t mark;

	strbuf_init(&first);
	scram_client_first(&a->scram, &first);
	mark = out_begin(out, 'p');
	out_string(out, bound ? SCRAM_MECHANISM_PLUS : SCRAM_MECHANISM);
	out_u32(out, (uint32_t)first.n);
	strbuf_add_slice(out, strbuf_slice(&first));
	out_end(out, mark);
	strbuf_fini(&first);
}

static enum auth_step on_ask_sasl(struct server_auth *a, struct cursor *c, struct strbuf *out)
{
	struct offer offer = read_offer(c);
	struct scram_channel channel = choose_channel(a, offer);
	bool bound = channel.binding == SCRAM_BINDING_USED;

	if (c->bad || cursor_left(c) != 0)
		return fail_protocol(a);
	if (!bound && a->channel_binding_required)
		return fail_unbound(a);
	if (!bound && !offer.plain)
		return fail(a, "28000", "server offers no SASL mechanism that is supported (" SCRAM_MECHANISM ")");
	if (a->type != SECRET_PLAIN && !a->has_keys)
		return fail_secret(a, SCRAM_MECHANISM " authentication");
	scram_client_init(&a->scram);
	a->scram.channel = channel;
	send_sasl_first(a, out);
	a->state = SASL_FIRST_SENT;
	return AUTH_CONTINUE;
}

static bool find_keys(struct server_auth *a, struct scram_keys *keys)
{
	struct keycache_id id = {
		.user = slice_of(a->user),
		.secret = a->secret != NULL ? slice_of(a->secret) : SLICE_LIT(""),
		.salt = {(const char *)a->scram.salt, a->scram.salt_len},
		.iterations = a->scram.iterations,
	};

	if (a->type == SECRET_PLAIN)
		return keycache_derive(a->cache, &id, keys);
	*keys = a->keys;
	return scram_keys_same_salt(keys, id.salt, id.iterations);
}

static enum auth_step send_proof(struct server_auth *a, const struct scram_keys *keys, struct strbuf *out)
{
	size_t mark = out_begin(out, 'p');

	if (scram_client_final(&a->scram, keys, out) != SCRAM_OK)
		return fail_protocol(a);
	out_end(out, mark);
	a->state = SASL_FINAL_SENT;
	return AUTH_CONTINUE;
}

/* The keys that a client proved to have were made with the salt of another verifier than the server's. */
static enum auth_step fail_keys(struct server_auth *a)
{
	fail(a, "28000", "SCRAM keys of user \"%s\" do not fit the server's verifier", a->user);
	a->error.detail = "The server's SCRAM verifier of this user has another salt or iteration count than the "
			  "verifier that the pooler knows.";
	a->error.hint = "Copy the user's verifier from the server's pg_authid into auth_file, or let auth_query read it "
			"from the server that is logged in to.";
	return AUTH_FAILED;
}

static enum auth_step fail_costly(struct server_auth *a)
{
	fail(a, "54000", "server asks for %d SCRAM iterations, at most %d are made", a->scram.iterations,
	     SCRAM_ITERATIONS_MAX);
	a->error.hint = "Lower scram_iterations on the server and set the user's password again.";
	return AUTH_FAILED;
}

static enum auth_step on_sasl_challenge(struct server_auth *a, struct slice data, struct strbuf *out)
{
	enum scram_result result = scram_client_challenge(&a->scram, data);
	struct scram_keys keys;
	enum auth_step step;

	if (result == SCRAM_TOO_COSTLY)
		return fail_costly(a);
	if (result != SCRAM_OK)
		return fail(a, "08P01", "server sent a malformed SCRAM challenge");
	if (find_keys(a, &keys))
		step = send_proof(a, &keys, out);
	else
		step = fail_keys(a);
	scram_keys_fini(&keys);
	return step;
}

static enum auth_step on_sasl_final(struct server_auth *a, struct slice data)
{
	switch (scram_client_verify(&a->scram, data)) {
	case SCRAM_OK:
		a->state = SERVER_VERIFIED;
		return AUTH_CONTINUE;
	case SCRAM_REFUSED:
		return fail(a, "28P01", "server did not prove that it knows the password");
	case SCRAM_MALFORMED:
	case SCRAM_TOO_COSTLY:
		break;
	}
	return fail_protocol(a);
}

/* Also for a server that skips its own part of SCRAM: it may not be the one that it seems. */
static enum auth_step on_authentication_ok(struct server_auth *a)
{
	if (a->state == SASL_FIRST_SENT || a->state == SASL_FINAL_SENT)
		return fail(a, "28000", "server ended SCRAM authentication without proving that it knows the password");
	if (a->state == OK || a->state == DONE)
		return fail_protocol(a);
	a->state = OK;
	return AUTH_OK;
}

static enum auth_step on_unsupported(struct server_auth *a, uint32_t code)
{
	static const char *const names[] = {
		[1] = "Kerberos V4", [2] = "Kerberos V5", [4] = "crypt", [6] = "SCM credential", [7] = "GSSAPI", [9] = "SSPI",
	};
	const char *name = code < sizeof(names) / sizeof(names[0]) ? names[code] : NULL;

	if (name != NULL)
		return fail(a, "28000", "server asks for %s authentication, which is not supported", name);
	return fail(a, "28000", "server asks for an unknown authentication method (%u)", (unsigned)code);
}

static enum auth_step on_message(struct server_auth *a, const struct msg *m, struct strbuf *out)
{
	struct cursor c = msg_cursor(m);
	uint32_t code = cursor_u32(&c);
	struct slice rest = {(const char *)c.p, cursor_left(&c)};

	/* Only SCRAM can be bound; a server that is not the right one must not even see an md5 hash. */
	if (a->state == NOTHING_SENT && code != 10 && a->channel_binding_required)
		return fail_unbound(a);
	if (code == 0)
		return on_authentication_ok(a);
	if (code == 11 && a->state == SASL_FIRST_SENT)
		return on_sasl_challenge(a, rest, out);
	if (code == 12 && a->state == SASL_FINAL_SENT)
		return on_sasl_final(a, rest);
	if (code == 11 || code == 12 || a->state != NOTHING_SENT)
		return fail_protocol(a);
	switch (code) {
	case 3:
		return on_ask_cleartext(a, out);
	case 5:
		return on_ask_md5(a, rest, out);
	case 10:
		return on_ask_sasl(a, &c, out);
	default:
		return on_unsupported(a, code);
	}
}

enum auth_step server_auth_step(struct server_auth *a, const struct msg *m, struct strbuf *out)
{
	size_t before = out->n;
	enum auth_step step;

	if (m->len > AUTH_MESSAGE_MAX || m->len < 4)
		return fail_protocol(a);
	if (m->have < m->len)
		return AUTH_SHORT;
	step = on_message(a, m, out);
	if (step == AUTH_FAILED)
		auth_take_back(out, before);
	return step;
}

bool server_auth_is_ok(const struct server_auth *a)
{
	return a->state == OK;
}

const struct auth_error *server_auth_error(const struct server_auth *a)
{
	return &a->error;
}
