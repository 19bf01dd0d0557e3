/*
 * The exchange with a client that logs in: what to send, what to make of the
 * answer, the verdict.
 *
 * An unknown user (and one without a password) is led through the same
 * messages at the same cost as a known one with a wrong password, and then
 * refused with the same words.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "auth/auth.h"
#include "auth/keys.h"
#include "base/str.h"
#include "conf/settings.h"
#include "conf/userlist.h"
#include "proto/msg.h"
#include "proto/scram.h"

#define CLIENT_AUTH_MOCK_KEY_SIZE 32

struct client_auth_params {
	enum auth_type type;                  /* ANY, TRUST, PLAIN, MD5 or SCRAM_SHA_256 */
	struct slice user;
	const struct userlist_entry *entry;   /* NULL: no such user */
	enum secret_type mock_type;           /* client_auth_mock_type(): what an unknown user seems to have */
	const uint8_t *mock_key;              /* CLIENT_AUTH_MOCK_KEY_SIZE random bytes, the same while the process lives */
	int scram_iterations;
	struct keycache *keys;                /* outlives the exchange */
	/*
	 * Of our certificate, for tls-server-end-point: SCRAM-SHA-256-PLUS is
	 * offered too, and a client that can bind must. Empty: no TLS.
	 */
	struct slice channel_binding;
};

struct client_auth;

/* Whether whoever comes is let in unasked: there is nothing to exchange. */
bool client_auth_asks_nothing(enum auth_type type, const struct userlist_entry *entry);

/* What the slices show is copied. NULL without memory or randomness, or for a type that this file does not do. */
struct client_auth *client_auth_new(const struct client_auth_params *params);

/* Wipes and frees it and clears the caller's pointer. NULL is allowed. */
void client_auth_free(struct client_auth **auth);

/* The first step: appends what to ask. OK at once for `any` and `trust`; FAILED for trust's unknown user. */
enum auth_step client_auth_start(struct client_auth *auth, struct strbuf *out);

/*
 * A 'p' message arrived. A too long one fails by its header alone. With OK,
 * AuthenticationOk is not in out: the caller writes it in front of its
 * welcome.
 */
enum auth_step client_auth_step(struct client_auth *auth, const struct msg *m, struct strbuf *out);

/* After FAILED. The text is PgBouncer's. */
const struct auth_error *client_auth_error(const struct client_auth *auth);

/* After OK: the password if the client gave it in the clear (`plain`), else empty. Lives as long as auth. */
struct slice client_auth_password(const struct client_auth *auth);

/* After OK: the keys, with client_key, if the client proved itself by SCRAM, else NULL. Live as long as auth. */
const struct scram_keys *client_auth_keys(const struct client_auth *auth);

/* What most users of the list have: an unknown user is to look like them. PLAIN when the list is empty. */
enum secret_type client_auth_mock_type(const struct userlist *list);
