/*
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), both roles, with channel binding to TLS
 * (tls-server-end-point, RFC 5929) or without.
 *
 * Pure: messages in, messages out. The server role needs a verifier; the
 * client role needs keys, which the caller derives or takes from a cache (the
 * derivation is the expensive part) once scram_client_challenge() has told
 * the salt. Every struct holds secrets: each has a fini that wipes it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SCRAM_MECHANISM "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS "SCRAM-SHA-256-PLUS"   /* with channel binding */
#define SCRAM_KEY_SIZE 32
#define SCRAM_SALT_SIZE 16             /* of those made here */
#define SCRAM_SALT_MAX 128             /* of those read */
#define SCRAM_NONCE_MAX 1024           /* characters of the peer's part */

/*
 * The most iterations taken from a server: about 0.04 s of the only thread. A
 * hostile server names any number it likes. PostgreSQL's default is 4096.
 */
#define SCRAM_ITERATIONS_MAX 100000

/*
 * What a password becomes under a salt: a verifier (what PostgreSQL stores),
 * and with client_key the ability to log in.
 */
struct scram_keys {
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	int iterations;
	uint8_t stored_key[SCRAM_KEY_SIZE];
	uint8_t server_key[SCRAM_KEY_SIZE];
	uint8_t client_key[SCRAM_KEY_SIZE];    /* valid if has_client_key */
	bool has_client_key;
};

void scram_keys_fini(struct scram_keys *k);

/* Reads SCRAM-SHA-256$iterations:salt$stored:server; false if it is no such text. */
bool scram_verifier_parse(struct slice text, struct scram_keys *k);
void scram_verifier_print(const struct scram_keys *k, struct strbuf *out);

/* PBKDF2 over the SASLprep'd password (the raw one if it cannot be prepared). False: bad salt length or no memory. */
bool scram_keys_derive(struct scram_keys *k, struct slice password, struct slice salt, int iterations);

/* Same salt and iterations: keys of one may be used where the other was asked for. */
bool scram_keys_same_salt(const struct scram_keys *k, struct slice salt, int iterations);

enum scram_result {
	SCRAM_OK,
	SCRAM_MALFORMED,      /* not SCRAM, or something that is not supported */
	SCRAM_REFUSED,        /* well-formed, but the peer does not know the secret */
	SCRAM_TOO_COSTLY,     /* more than SCRAM_ITERATIONS_MAX */
};

/*
 * What we say or expect about channel binding. Both sides prove what was said,
 * so that someone in between can neither relay the exchange from one TLS
 * connection to another nor talk them out of binding.
 */
enum scram_binding {
	SCRAM_BINDING_NONE,   /* we cannot: no TLS */
	SCRAM_BINDING_UNUSED, /* we can, but it is not done. As a server: we offered it. As a client: we were not offered it */
	SCRAM_BINDING_USED,   /* the mechanism is SCRAM_MECHANISM_PLUS */
};

/* The caller sets it between init and first; the data are read there and not copied. Zero: no binding. */
struct scram_channel {
	enum scram_binding binding;
	struct slice data;    /* of tls-server-end-point, the hash of the server's certificate; for USED */
};

/* The server's part: first, then final. */
struct scram_server {
	struct scram_keys keys;              /* a copy; client_key is recovered from a right proof */
	char nonce[64];                      /* our part, random since init */
	struct scram_channel channel;
	struct strbuf binding;               /* what client-final must have as c= */
	struct strbuf auth_message;          /* grows: client-first-bare, server-first, client-final-without-proof */
	struct strbuf full_nonce;
};

void scram_server_init(struct scram_server *s, const struct scram_keys *verifier);
void scram_server_fini(struct scram_server *s);

/* Reads client-first and appends server-first to out. OK or MALFORMED, also for what does not fit s->channel. */
enum scram_result scram_server_first(struct scram_server *s, struct slice client_first, struct strbuf *out);

/* Reads client-final; when OK, appends server-final to out, and s->keys has its client_key. */
enum scram_result scram_server_final(struct scram_server *s, struct slice client_final, struct strbuf *out);

/* The client's part: first, challenge, final, verify. */
struct scram_client {
	char nonce[64];                      /* our part, random since init */
	struct scram_channel channel;
	struct strbuf binding;               /* c= of client-final */
	uint8_t salt[SCRAM_SALT_MAX];        /* what the server asked for, after the challenge */
	size_t salt_len;
	int iterations;
	uint8_t server_key[SCRAM_KEY_SIZE];
	struct strbuf auth_message;
	struct strbuf full_nonce;
};

void scram_client_init(struct scram_client *c);
void scram_client_fini(struct scram_client *c);

/* Appends client-first: no user name (PostgreSQL has it from the StartupMessage). */
void scram_client_first(struct scram_client *c, struct strbuf *out);

/* Reads server-first into salt and iterations. OK, MALFORMED or TOO_COSTLY. */
enum scram_result scram_client_challenge(struct scram_client *c, struct slice server_first);

/* Appends client-final. The keys are of the challenge's salt and iterations, and have a client_key; else MALFORMED. */
enum scram_result scram_client_final(struct scram_client *c, const struct scram_keys *keys, struct strbuf *out);

/* Reads server-final. REFUSED: the server says no, or does not know the secret itself. */
enum scram_result scram_client_verify(struct scram_client *c, struct slice server_final);
