#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/hash.h"
#include "net/tls.h"
#include "net/tls_recipe.h"
#include "net/tls_settings.h"
#include "net/tls_ticket.h"

/* How much of a context's identity goes into its sessions: OpenSSL's bound. */
#define SESSION_CONTEXT_SIZE SSL_MAX_SID_CTX_LENGTH

struct tls_context {
	UT_hash_handle hh;
	uint8_t key[TLS_RECIPE_HASH_SIZE];
	struct tls_cache *cache; /* NULL once that is gone */
	unsigned refs;
	enum tls_verify verify;
	SSL_CTX *ssl_ctx;
};

struct tls_cache {
	struct tls_context *contexts;
};

struct tls_cache *tls_cache_new(void)
{
	return calloc(1, sizeof(struct tls_cache));
}

void tls_cache_free(struct tls_cache *cache)
{
	struct tls_context *t, *next;

	if (cache == NULL)
		return;
	HASH_ITER (hh, cache->contexts, t, next) {
		HASH_DEL(cache->contexts, t);
		t->cache = NULL;
	}
	free(cache);
}

size_t tls_cache_count(const struct tls_cache *cache)
{
	return HASH_COUNT(cache->contexts);
}

/* "client_tls_cert_file: cannot load certificate "x.pem": no start line"; NULL for the reason takes OpenSSL's. */
static bool complain(struct strbuf *error, const struct tls_recipe *r, const char *setting, const char *what,
		     const char *file, const char *reason)
{
	strbuf_addf(error, "%s%s: %s \"%s\": ", tls_setting_prefix(r->role), setting, what, file);
	if (reason != NULL)
		strbuf_add_str(error, reason);
	else if (!tls_add_error(error))
		strbuf_add_str(error, "out of memory");
	ERR_clear_error();
	return false;
}

/* A daemon cannot be asked for the passphrase of a key; notes that it was. */
static int refuse_passphrase(char *p, int size, int is_writing, void *was_asked)
{
	(void)p;
	(void)size;
	(void)is_writing;
	if (was_asked != NULL)
		*(bool *)was_asked = true;
	return -1;
}

/* The next certificate in a PEM file; NULL and an empty error queue at its end. */
static X509 *next_certificate(BIO *bio)
{
	X509 *x = PEM_read_bio_X509_AUX(bio, NULL, refuse_passphrase, NULL);
	unsigned long e = ERR_peek_last_error();

	if (x == NULL && ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE)
		ERR_clear_error();
	return x;
}

/* Calls use() for each certificate in the file. Returns how many there were; -1, and OpenSSL's error queue, on failure. */
static int each_certificate(SSL_CTX *ctx, const struct tls_recipe *r, const struct tls_file *file,
			    bool (*use)(SSL_CTX *ctx, const struct tls_recipe *r, X509 *x, int i))
{
	BIO *bio = BIO_new_mem_buf(file->p, (int)file->n);
	int n = 0;
	bool ok = bio != NULL;
	X509 *x;

	ERR_clear_error();
	while (ok && (x = next_certificate(bio)) != NULL) {
		ok = use(ctx, r, x, n++);
		X509_free(x);
	}
	BIO_free(bio);
	ok = ok && ERR_peek_error() == 0;
	if (ok && n == 0)
		ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
	return ok && n > 0 ? n : -1;
}

/* The first is ours, the others lead from it to the CA. */
static bool use_own_certificate(SSL_CTX *ctx, const struct tls_recipe *r, X509 *x, int i)
{
	(void)r;
	return i == 0 ? SSL_CTX_use_certificate(ctx, x) == 1 : SSL_CTX_add1_chain_cert(ctx, x) == 1;
}

static bool use_authority(SSL_CTX *ctx, const struct tls_recipe *r, X509 *x, int i)
{
	(void)i;
	/* Clients are told whose certificates will do: some choose theirs by that. */
	if (r->role == TLS_TO_CLIENTS && SSL_CTX_add_client_CA(ctx, x) != 1)
		return false;
	return X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x) == 1;
}

/* Why there is no key, where OpenSSL's own words ("unsupported", "interrupted or cancelled") do not say it. */
static const char *reason_for_no_key(bool was_asked)
{
	unsigned long e = ERR_peek_error();

	if (was_asked)
		return "it needs a passphrase";
	return ERR_GET_LIB(e) == ERR_LIB_OSSL_DECODER ? "no private key in it" : NULL;
}

static bool load_key(SSL_CTX *ctx, const struct tls_recipe *r, struct strbuf *error)
{
	bool was_asked = false, ok;
	EVP_PKEY *key = NULL;
	BIO *bio = BIO_new_mem_buf(r->key.p, (int)r->key.n);

	ERR_clear_error();
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &was_asked);
	BIO_free(bio);
	/* Checks that it belongs to the certificate, too. */
	ok = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
	if (!ok)
		complain(error, r, "tls_key_file", "cannot load private key", r->options.key_file,
			 key == NULL ? reason_for_no_key(was_asked) : NULL);
	EVP_PKEY_free(key);
	return ok;
}

static bool load_certificate(SSL_CTX *ctx, const struct tls_recipe *r, struct strbuf *error)
{
	if (r->cert.p == NULL)
		return true;
	if (each_certificate(ctx, r, &r->cert, use_own_certificate) < 0)
		return complain(error, r, "tls_cert_file", "cannot load certificate", r->options.cert_file, NULL);
	return load_key(ctx, r, error);
}

static bool load_authorities(SSL_CTX *ctx, const struct tls_recipe *r, struct strbuf *error)
{
	if (r->verify == CHECK_NOTHING)
		return true;
	if (r->ca.p == NULL)
		/* Servers only: PgBouncer, too, then trusts whom the system trusts. */
		return SSL_CTX_set_default_verify_paths(ctx) == 1 ||
		       complain(error, r, "tls_ca_file", "cannot load authorities", "(system)", NULL);
	return each_certificate(ctx, r, &r->ca, use_authority) > 0 ||
	       complain(error, r, "tls_ca_file", "cannot load authorities", r->options.ca_file, NULL);
}

static bool has_address(X509 *x)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++)
		found = sk_GENERAL_NAME_value(names, i)->type == GEN_IPADD;
	GENERAL_NAMES_free(names);
	return found;
}

/*
 * Certificates for an IP address that have it as text, in a dNSName or in the
 * common name: OpenSSL refuses them, libpq and PgBouncer do not. As in libpq,
 * the common name counts only when there is no iPAddress entry.
 */
static int on_verify(int ok, X509_STORE_CTX *store)
{
	unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS;
	X509 *x = X509_STORE_CTX_get_current_cert(store);
	char *address;

	if (ok || X509_STORE_CTX_get_error(store) != X509_V_ERR_IP_ADDRESS_MISMATCH)
		return ok;
	flags |= has_address(x) ? X509_CHECK_FLAG_NEVER_CHECK_SUBJECT : X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT;
	address = X509_VERIFY_PARAM_get1_ip_asc(X509_STORE_CTX_get0_param(store));
	ok = address != NULL && X509_check_host(x, address, 0, flags, NULL) == 1;
	OPENSSL_free(address);
	if (ok)
		X509_STORE_CTX_set_error(store, X509_V_OK);
	return ok;
}

static void set_verify(SSL_CTX *ctx, enum tls_verify verify)
{
	switch (verify) {
	case CHECK_NOTHING:
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		break;
	case CHECK_IF_GIVEN:
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
		break;
	case CHECK_CHAIN:
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		break;
	case CHECK_CHAIN_AND_NAME:
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
		break;
	}
}

static void set_modes(SSL_CTX *ctx, const struct tls_recipe *r)
{
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* What has been read ahead is out of the kernel's reach when it takes over decryption. */
	SSL_CTX_set_read_ahead(ctx, !r->options.ktls);
	if (r->options.ktls)
		SSL_CTX_set_options(ctx, SSL_OP_ENABLE_KTLS);
}

static bool set_up_for_clients(SSL_CTX *ctx, const struct tls_recipe *r)
{
	if (r->role != TLS_TO_CLIENTS)
		return true;
	tls_demand_alpn(ctx);
	return SSL_CTX_set_session_id_context(ctx, r->hash, SESSION_CONTEXT_SIZE) == 1 && tls_tickets_install(ctx);
}

/* NULL, with a text in *error, when the recipe is no good. */
static SSL_CTX *make_ssl_ctx(const struct tls_recipe *r, struct strbuf *error)
{
	SSL_CTX *ctx = SSL_CTX_new(r->role == TLS_TO_CLIENTS ? TLS_server_method() : TLS_client_method());

	ERR_clear_error();
	if (ctx == NULL) {
		strbuf_add_str(error, "out of memory");
		return NULL;
	}
	set_modes(ctx, r);
	set_verify(ctx, r->verify);
	if (!tls_apply_settings(ctx, r->role, &r->options, error) || !load_authorities(ctx, r, error) ||
	    !load_certificate(ctx, r, error))
		goto fail;
	if (!set_up_for_clients(ctx, r)) {
		strbuf_add_str(error, "out of memory");
		goto fail;
	}
	return ctx;
fail:
	SSL_CTX_free(ctx);
	return NULL;
}

/* In the cache; NULL when out of memory. */
static struct tls_context *add_context(struct tls_cache *cache, const struct tls_recipe *r)
{
	struct tls_context *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	memcpy(t->key, r->hash, sizeof(t->key));
	HASH_ADD(hh, cache->contexts, key, sizeof(t->key), t);
	if (!HASH_HAS(t)) {
		free(t);
		return NULL;
	}
	t->verify = r->verify;
	t->cache = cache;
	t->refs = 1;
	return t;
}

static struct tls_context *make_context(struct tls_cache *cache, const struct tls_recipe *r, struct strbuf *error)
{
	SSL_CTX *ctx = make_ssl_ctx(r, error);
	struct tls_context *t;

	if (ctx == NULL)
		return NULL;
	t = add_context(cache, r);
	if (t == NULL) {
		strbuf_add_str(error, "out of memory");
		SSL_CTX_free(ctx);
		return NULL;
	}
	t->ssl_ctx = ctx;
	return t;
}

struct tls_context *tls_context_get(struct tls_cache *cache, enum tls_role role, const struct tls_options *options,
				    struct strbuf *error)
{
	struct tls_recipe r;
	struct tls_context *t = NULL;

	if (tls_recipe_init(&r, role, options, error)) {
		HASH_FIND(hh, cache->contexts, r.hash, sizeof(r.hash), t);
		t = t != NULL ? tls_context_ref(t) : make_context(cache, &r, error);
	}
	tls_recipe_fini(&r);
	return t;
}

struct tls_context *tls_context_ref(struct tls_context *t)
{
	t->refs++;
	return t;
}

void tls_context_unref(struct tls_context **p)
{
	struct tls_context *t = *p;

	*p = NULL;
	if (t == NULL || --t->refs > 0)
		return;
	if (t->cache != NULL)
		HASH_DEL(t->cache->contexts, t);
	SSL_CTX_free(t->ssl_ctx);
	free(t);
}

static SSL *new_over(struct tls_context *t, int fd)
{
	SSL *ssl = SSL_new(t->ssl_ctx);

	if (ssl != NULL && SSL_set_fd(ssl, fd) == 1)
		return ssl;
	SSL_free(ssl);
	ERR_clear_error();
	return NULL;
}

SSL *tls_accept_new(struct tls_context *t, int fd)
{
	SSL *ssl = new_over(t, fd);

	if (ssl != NULL)
		SSL_set_accept_state(ssl);
	return ssl;
}

static bool is_address(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* Has the certificate checked against the host. */
static bool expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	if (host[0] == '\0')
		return false;
	if (is_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	/* As libpq: "*" is a whole label or none. */
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

SSL *tls_connect_new(struct tls_context *t, int fd, const char *host)
{
	SSL *ssl = new_over(t, fd);
	bool ok;

	if (ssl == NULL)
		return NULL;
	SSL_set_connect_state(ssl);
	ok = t->verify != CHECK_CHAIN_AND_NAME || expect_host(ssl, host);
	if (ok && host[0] != '\0' && !is_address(host))
		ok = SSL_set_tlsext_host_name(ssl, host) == 1;
	if (ok)
		return ssl;
	SSL_free(ssl);
	ERR_clear_error();
	return NULL;
}
