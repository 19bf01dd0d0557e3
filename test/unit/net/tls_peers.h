/*
 * Certificates made on the spot, and two ends of TLS that shake hands over a
 * socket pair in one thread.
 */
#pragma once
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <time.h>

#include "net/tls.h"

#include "../conf/tempdir.h"

/* A certificate and its key; `issuer` NULL is itself. */
struct identity {
	X509 *x;
	EVP_PKEY *key;
};

struct certificate {
	const char *cn;    /* NULL: an empty subject */
	int cn_size;       /* 0: as long as the text */
	const char *names; /* "DNS:a.test,IP:127.0.0.1", NULL for none */
	const char *key;   /* "EC" unless set */
	const char *hash;  /* "SHA256" unless set; "" for keys that want none */
	bool is_ca, is_pss;
	long expires_in; /* seconds; 0 is an hour */
};

static inline EVP_PKEY *make_key(const char *type)
{
	if (type == NULL || strcmp(type, "EC") == 0)
		return EVP_EC_gen("P-256");
	if (strcmp(type, "RSA") == 0)
		return EVP_RSA_gen(2048);
	return EVP_PKEY_Q_keygen(NULL, NULL, type);
}

static inline void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (e == NULL || X509_add_ext(x, e, -1) != 1)
		abort();
	X509_EXTENSION_free(e);
}

static inline void sign(X509 *x, EVP_PKEY *key, const struct certificate *c)
{
	const char *hash = c->hash == NULL ? "SHA256" : c->hash;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;

	if (EVP_DigestSignInit_ex(md, &pctx, hash[0] == '\0' ? NULL : hash, NULL, NULL, key, NULL) != 1 ||
	    (c->is_pss && EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1) || X509_sign_ctx(x, md) <= 0)
		abort();
	EVP_MD_CTX_free(md);
}

static inline struct identity make_identity(struct certificate c, const struct identity *issuer)
{
	static long serial;
	struct identity id = {X509_new(), make_key(c.key)};
	X509_NAME *subject = X509_get_subject_name(id.x);

	if (issuer == NULL)
		issuer = &id;
	X509_set_version(id.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(id.x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(id.x), c.expires_in == 0 ? 3600 : c.expires_in);
	if (c.cn != NULL)
		X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const unsigned char *)c.cn,
					   c.cn_size == 0 ? -1 : c.cn_size, -1, 0);
	X509_set_issuer_name(id.x, X509_get_subject_name(issuer->x));
	X509_set_pubkey(id.x, id.key);
	if (c.is_ca)
		extend(id.x, issuer->x, NID_basic_constraints, "critical,CA:TRUE");
	if (c.names != NULL)
		extend(id.x, issuer->x, NID_subject_alt_name, c.names);
	sign(id.x, issuer->key, &c);
	return id;
}

static inline void free_identity(struct identity *id)
{
	X509_free(id->x);
	EVP_PKEY_free(id->key);
	*id = (struct identity){NULL, NULL};
}

/* Written with the chain that leads from it, n certificates. */
static inline const char *write_certificates(const char *name, X509 *const *x, size_t n)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long size;

	for (size_t i = 0; i < n; i++)
		PEM_write_bio_X509(bio, x[i]);
	size = BIO_get_mem_data(bio, &p);
	tempdir_write_bytes(name, p, (size_t)size);
	BIO_free(bio);
	return name;
}

static inline const char *write_key(const char *name, EVP_PKEY *key, const char *passphrase)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long size;

	PEM_write_bio_PrivateKey(bio, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
				 (const unsigned char *)passphrase, passphrase != NULL ? (int)strlen(passphrase) : 0,
				 NULL, NULL);
	size = BIO_get_mem_data(bio, &p);
	tempdir_write_bytes(name, p, (size_t)size);
	BIO_free(bio);
	return name;
}

/* Both as files: "<name>.crt" and "<name>.key". */
static inline void write_identity(const char *name, const struct identity *id)
{
	char file[32];

	snprintf(file, sizeof(file), "%s.crt", name);
	write_certificates(file, &id->x, 1);
	snprintf(file, sizeof(file), "%s.key", name);
	write_key(file, id->key, NULL);
}

struct peers {
	int fds[2];
	SSL *server, *client;
	bool server_ok, client_ok;
};

/* A client that is no part of the pooler. */
static inline SSL *plain_client(SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, fd);
	SSL_set_connect_state(ssl);
	return ssl;
}

static inline void open_sockets(struct peers *p)
{
	*p = (struct peers){.fds = {-1, -1}};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds) != 0)
		abort();
}

static inline bool step(SSL *ssl, bool *ok)
{
	int result;

	if (*ok)
		return false;
	ERR_clear_error();
	result = SSL_do_handshake(ssl);
	*ok = result == 1;
	if (result == 1)
		return true;
	return SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ || SSL_get_error(ssl, result) == SSL_ERROR_WANT_WRITE;
}

/* Why an end's handshake failed goes to the text; both run until they are done or have failed. */
static inline bool shake_hands(struct peers *p, struct strbuf *why_server, struct strbuf *why_client)
{
	bool server_runs = true, client_runs = true;

	for (int i = 0; i < 20 && (server_runs || client_runs); i++) {
		if (client_runs && !step(p->client, &p->client_ok)) {
			if (!p->client_ok)
				tls_explain(p->client, errno, why_client);
			client_runs = false;
		}
		if (server_runs && !step(p->server, &p->server_ok)) {
			if (!p->server_ok)
				tls_explain(p->server, errno, why_server);
			server_runs = false;
		}
	}
	return p->server_ok && p->client_ok;
}

/* Bytes from one end to the other; also brings a client its tickets, and the server's late refusal. */
static inline bool carry(SSL *from, SSL *to)
{
	char got[4];

	ERR_clear_error();
	return SSL_write(from, "ping", 4) == 4 && SSL_read(to, got, 4) == 4 && memcmp(got, "ping", 4) == 0;
}

static inline void close_peers(struct peers *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
	for (int i = 0; i < 2; i++)
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	ERR_clear_error();
}
