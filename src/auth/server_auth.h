/*
 * The exchange with a server that we log in to: answers to its
 * Authentication messages.
 *
 * The server is not trusted: it may ask once, only for what protocol 3.0 has,
 * and when it asks for SCRAM it must prove that it knows the secret too. Over
 * TLS the proofs are bound to its certificate if it offers that, as libpq does
 * with channel_binding=prefer.
 */
#pragma once
#include "auth/auth.h"
#include "auth/keys.h"
#include "base/str.h"
#include "conf/userlist.h"
#include "proto/msg.h"
#include "proto/scram.h"

/* Who we are and what we know. */
struct credentials {
	const char *user;
	const char *secret;              /* NULL: none */
	enum secret_type type;           /* of secret */
	const struct scram_keys *keys;   /* with client_key, learnt from a client's login; NULL: none */
	struct slice channel_binding;    /* of the server's certificate, for tls-server-end-point; empty: no TLS */
	bool channel_binding_required;   /* a server that does not offer it, or asks for no SCRAM, is refused */
};

struct server_auth;

/* The credentials are copied; `cache` outlives the exchange. NULL without memory. */
struct server_auth *server_auth_new(const struct credentials *credentials, struct keycache *cache);

/* Wipes and frees it and clears the caller's pointer. NULL is allowed. */
void server_auth_free(struct server_auth **auth);

/* An 'R' message arrived. OK is AuthenticationOk. */
enum auth_step server_auth_step(struct server_auth *auth, const struct msg *m, struct strbuf *out);

/* Whether AuthenticationOk has come, and was good: only then may the server go on to anything else. */
bool server_auth_is_ok(const struct server_auth *auth);

/* After FAILED. */
const struct auth_error *server_auth_error(const struct server_auth *auth);
