/*
 * TLS over OpenSSL, for both sides of the pooler: contexts (tls_context.c) and
 * what is asked of one connection (tls.c).
 *
 * A tls_context is one SSL_CTX with its certificates and CA store. Equal
 * options over equal file contents give the same context, however many ask:
 * files are read once, hashed, and loaded from what was read. A context is
 * never changed; a reload asks anew and swaps when it gets another one.
 *
 * The SSL objects made here are plain OpenSSL: whoever owns one calls
 * SSL_do_handshake(), SSL_read(), SSL_write() and SSL_free() on it. They read
 * ahead: whole records may wait in memory that the socket will not announce
 * again, so read until SSL_ERROR_WANT_READ (SSL_has_pending() is no substitute:
 * it is true for a part of a record, too). At rest one costs 14 kB towards a
 * client and 18 kB towards a server; 5 kB of that is the parsed certificate of
 * the peer, if it has shown one.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* In PgBouncer's order: from TLS_VERIFY_CA on, the peer must have a certificate from the CA. */
enum tls_mode { TLS_DISABLE, TLS_ALLOW, TLS_PREFER, TLS_REQUIRE, TLS_VERIFY_CA, TLS_VERIFY_FULL };

/* Whom a context talks to. Error texts begin with the setting: client_tls_... or server_tls_... */
enum tls_role { TLS_TO_CLIENTS, TLS_TO_SERVERS };

/* As in the settings; "" or NULL is "not set". */
struct tls_options {
	enum tls_mode mode;
	const char *ca_file, *cert_file, *key_file;
	const char *protocols; /* tlsv1.0 to tlsv1.3, tlsv1, all, legacy, secure, default, each also after "!" */
	const char *ciphers;   /* default, secure, fast, normal (OpenSSL's own), all, or OpenSSL's syntax */
	const char *tls13_ciphers;
	const char *ecdhcurve; /* none, auto, or names */
	const char *dheparams; /* none, auto, legacy */
	bool ktls;             /* the kernel encrypts, where it can */
};

struct tls_cache;
struct tls_context;

/* NULL: out of memory. */
struct tls_cache *tls_cache_new(void);

/* Contexts still referred to live on, found by nobody. */
void tls_cache_free(struct tls_cache *cache);

/* Different contexts alive. */
size_t tls_cache_count(const struct tls_cache *cache);

/*
 * A reference to the context for these options, made if there is none yet.
 * NULL, and a text naming the setting (and file) at fault, when there can be
 * none. `mode` must not be TLS_DISABLE.
 */
struct tls_context *tls_context_get(struct tls_cache *cache, enum tls_role role, const struct tls_options *options,
				    struct strbuf *error);
struct tls_context *tls_context_ref(struct tls_context *t);

/* Clears the caller's pointer; NULL is allowed. SSL objects made from it may live on. */
void tls_context_unref(struct tls_context **t);

/* A server's end over a connected socket, before its handshake. NULL: out of memory. */
SSL *tls_accept_new(struct tls_context *t, int fd);

/*
 * A client's end, to `host`: a name (sent as SNI, unless it is an address) or
 * an IP address, that the certificate is checked against in verify-full. NULL:
 * out of memory, or verify-full without a host.
 */
SSL *tls_connect_new(struct tls_context *t, int fd, const char *host);

/* Offers ALPN "postgresql", as libpq 17 always does; servers that know none ignore it. False: out of memory. */
bool tls_offer_alpn(SSL *ssl);

/* "postgresql" was agreed on: what a direct connection, without SSLRequest, must have done. */
bool tls_has_alpn(const SSL *ssl);

/* As PostgreSQL 17: a client that offers protocols must offer ours, or it takes us for something else and is refused. */
void tls_demand_alpn(SSL_CTX *ctx);

/* "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519": version, cipher and key exchange, as in SHOW CLIENTS. */
void tls_describe(SSL *ssl, struct strbuf *text);

/*
 * Common name of the peer's verified certificate. False when there is no such
 * certificate or name, or the name contains a NUL (and would be taken for
 * another by whoever reads C strings).
 */
bool tls_peer_common_name(SSL *ssl, struct strbuf *name);

/* Largest tls-server-end-point data: a SHA-512. */
#define TLS_END_POINT_MAX 64

/*
 * Channel binding data "tls-server-end-point" (RFC 5929) of the connection:
 * the hash of the server's certificate, which is ours towards clients and the
 * peer's towards servers. Returns its size; 0 when none is defined for such a
 * certificate (its signature algorithm has no hash: Ed25519), and then
 * SCRAM-SHA-256-PLUS must not be offered or chosen.
 */
size_t tls_end_point(SSL *ssl, uint8_t data[TLS_END_POINT_MAX]);

/*
 * Tells in one line why the last call on `ssl` failed, from OpenSSL's error
 * queue (and empties it) or else from `error`, its errno if that is known. False
 * when there is nothing to complain about: the peer has just closed the
 * connection, and the text stays as it was.
 */
bool tls_explain(SSL *ssl, int error, struct strbuf *text);

/* Appends the first reason in OpenSSL's error queue, and empties it. False when it was empty. */
bool tls_add_error(struct strbuf *text);
