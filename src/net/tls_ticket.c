#include "net/tls_ticket.h"

#include <openssl/core_names.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"

#define PERIOD_US (TLS_TICKET_SECONDS * CLOCK_SECOND)

void tls_tickets_init(struct tls_tickets *tickets, uint64_t now_us)
{
	tickets->made_at = now_us;
	sys_random(&tickets->current, sizeof(tickets->current));
	/* Of a key that nobody has seen there are no tickets. */
	sys_random(&tickets->former, sizeof(tickets->former));
}

void tls_tickets_rotate(struct tls_tickets *tickets, uint64_t now_us)
{
	if (now_us - tickets->made_at < PERIOD_US)
		return;
	if (now_us - tickets->made_at >= 2 * PERIOD_US) {
		tls_tickets_init(tickets, now_us);
		return;
	}
	tickets->former = tickets->current;
	sys_random(&tickets->current, sizeof(tickets->current));
	/* In step with the day it was due, or a former key would be known for longer than a day. */
	tickets->made_at += PERIOD_US;
}

const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *tickets, const uint8_t name[16])
{
	if (memcmp(tickets->current.name, name, sizeof(tickets->current.name)) == 0)
		return &tickets->current;
	if (memcmp(tickets->former.name, name, sizeof(tickets->former.name)) == 0)
		return &tickets->former;
	return NULL;
}

static void free_tickets(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	(void)parent;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (p == NULL)
		return;
	sys_wipe(p, sizeof(struct tls_tickets));
	free(p);
}

/* Where an SSL_CTX keeps its keys; -1 when OpenSSL has no room for them. */
static int slot(void)
{
	static int index = -1;

	if (index == -1)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_tickets);
	return index;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Answers of the callback. */
enum { TICKET_ERROR = -1, TICKET_UNKNOWN, TICKET_GOOD, TICKET_RENEW };

static int seal(const struct tls_tickets *tickets, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	const struct tls_ticket_key *key = &tickets->current;

	memcpy(name, key->name, sizeof(key->name));
	sys_random(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
	if (EVP_EncryptInit_ex2(cipher, EVP_aes_256_cbc(), key->cipher, iv, NULL) != 1 || !set_mac(mac, key))
		return TICKET_ERROR;
	return TICKET_GOOD;
}

static int unseal(SSL *ssl, const struct tls_tickets *tickets, const uint8_t *name, const uint8_t *iv,
		  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	const struct tls_ticket_key *key = tls_tickets_find(tickets, name);

	if (key == NULL)
		return TICKET_UNKNOWN;
	if (!set_mac(mac, key) || EVP_DecryptInit_ex2(cipher, EVP_aes_256_cbc(), key->cipher, iv, NULL) != 1)
		return TICKET_ERROR;
	/* TLS 1.3 clients use a ticket once, so that nobody can tell their connections apart: they need another. */
	return key == &tickets->current && SSL_version(ssl) < TLS1_3_VERSION ? TICKET_GOOD : TICKET_RENEW;
}

static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
			 int is_new)
{
	struct tls_tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot());

	tls_tickets_rotate(tickets, clock_us());
	return is_new ? seal(tickets, name, iv, cipher, mac) : unseal(ssl, tickets, name, iv, cipher, mac);
}

static int on_ticket_made(SSL *ssl, void *arg)
{
	(void)ssl;
	(void)arg;
	return 1;
}

/* A client certificate that was good when the session began may have expired since. */
static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n,
					SSL_TICKET_STATUS status, void *arg)
{
	X509 *peer = session != NULL ? SSL_SESSION_get0_peer(session) : NULL;

	(void)ssl;
	(void)name;
	(void)n;
	(void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (peer != NULL && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

bool tls_tickets_install(SSL_CTX *ctx)
{
	struct tls_tickets *tickets = malloc(sizeof(*tickets));

	if (tickets == NULL)
		return false;
	tls_tickets_init(tickets, clock_us());
	if (SSL_CTX_set_ex_data(ctx, slot(), tickets) != 1) {
		free(tickets);
		return false;
	}
	/* One is enough: each resumption brings the next. */
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_timeout(ctx, TLS_TICKET_SECONDS);
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key) == 1 &&
	       SSL_CTX_set_session_ticket_cb(ctx, on_ticket_made, on_ticket_read, NULL) == 1;
}
