/*
 * Session tickets under keys of our own: a client that comes back within a
 * day or so costs no signature.
 *
 * A key makes tickets for a day and is still known for a day after that, then
 * nobody can read its tickets any more. The keys belong to one SSL_CTX: a
 * changed certificate or CA starts with new ones, and so asks everybody anew.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* How long a session can be resumed. */
#define TLS_TICKET_SECONDS 86400

struct tls_ticket_key {
	uint8_t name[16]; /* sent in the clear, says which key it was */
	uint8_t cipher[32], mac[32];
};

struct tls_tickets {
	uint64_t made_at; /* the current one */
	struct tls_ticket_key current, former;
};

void tls_tickets_init(struct tls_tickets *tickets, uint64_t now_us);

/* Changes keys that are due. */
void tls_tickets_rotate(struct tls_tickets *tickets, uint64_t now_us);

/* The key of this name, NULL when there is none. */
const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *tickets, const uint8_t name[16]);

/* Makes the context give out and take tickets, with keys that live as long as it does. False: out of memory. */
bool tls_tickets_install(SSL_CTX *ctx);
