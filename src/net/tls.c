#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

/* As on the wire: a length and the name. */
static const uint8_t alpn_postgresql[] = "\x0apostgresql";

#define ALPN_NAME (alpn_postgresql + 1)
#define ALPN_NAME_SIZE (sizeof(alpn_postgresql) - 2)

bool tls_offer_alpn(SSL *ssl)
{
	/* Alone among OpenSSL's functions this one gives 0 for success. */
	return SSL_set_alpn_protos(ssl, alpn_postgresql, sizeof(alpn_postgresql) - 1) == 0;
}

bool tls_has_alpn(const SSL *ssl)
{
	const unsigned char *name;
	unsigned n;

	SSL_get0_alpn_selected(ssl, &name, &n);
	return n == ALPN_NAME_SIZE && memcmp(name, ALPN_NAME, n) == 0;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *nout, const unsigned char *in, unsigned nin,
		   void *arg)
{
	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, nout, alpn_postgresql, sizeof(alpn_postgresql) - 1, in, nin) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

void tls_demand_alpn(SSL_CTX *ctx)
{
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
}

/* Bits of the finite-field group of the handshake; 0 when there was none. */
static int dh_bits(SSL *ssl, int group)
{
	EVP_PKEY *key = NULL;
	int bits = 0;

	switch (group) {
	case NID_ffdhe2048:
		return 2048;
	case NID_ffdhe3072:
		return 3072;
	case NID_ffdhe4096:
		return 4096;
	case NID_ffdhe6144:
		return 6144;
	case NID_ffdhe8192:
		return 8192;
	default:
		break;
	}
	if (SSL_get_peer_tmp_key(ssl, &key) == 1 && EVP_PKEY_is_a(key, "DH"))
		bits = EVP_PKEY_get_bits(key);
	EVP_PKEY_free(key);
	return bits;
}

void tls_describe(SSL *ssl, struct strbuf *text)
{
	int group = (int)SSL_get_negotiated_group(ssl);
	int bits = dh_bits(ssl, group);
	const char *name = group == NID_undef ? NULL : OBJ_nid2sn(group);

	ERR_clear_error();
	strbuf_addf(text, "%s/%s", SSL_get_version(ssl), SSL_get_cipher(ssl));
	if (bits > 0)
		strbuf_addf(text, "/DH=%d", bits);
	else if (name != NULL)
		strbuf_addf(text, "/ECDH=%s", name);
}

bool tls_peer_common_name(SSL *ssl, struct strbuf *name)
{
	X509 *peer = SSL_get0_peer_certificate(ssl);
	X509_NAME *subject = peer != NULL ? X509_get_subject_name(peer) : NULL;
	int at = subject != NULL ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
	unsigned char *text = NULL;
	int n;
	bool is_good;

	if (at < 0 || SSL_get_verify_result(ssl) != X509_V_OK)
		return false;
	n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	is_good = n > 0 && memchr(text, '\0', (size_t)n) == NULL;
	if (is_good)
		strbuf_add(name, text, (size_t)n);
	OPENSSL_free(text);
	ERR_clear_error();
	return is_good;
}

size_t tls_end_point(SSL *ssl, uint8_t data[TLS_END_POINT_MAX])
{
	X509 *x = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
	int hash = NID_undef;
	unsigned n = 0;
	const EVP_MD *md = NULL;

	if (x == NULL)
		return 0;
	if (X509_get_signature_info(x, &hash, NULL, NULL, NULL) == 1 && hash != NID_undef)
		md = EVP_get_digestbynid(hash == NID_md5 || hash == NID_sha1 ? NID_sha256 : hash);
	if (md == NULL || EVP_MD_get_size(md) > TLS_END_POINT_MAX || X509_digest(x, md, data, &n) != 1)
		n = 0;
	ERR_clear_error();
	return n;
}

bool tls_add_error(struct strbuf *text)
{
	unsigned long e = ERR_get_error();
	const char *reason = ERR_reason_error_string(e);

	ERR_clear_error();
	if (e == 0)
		return false;
	if (ERR_SYSTEM_ERROR(e))
		strbuf_add_str(text, strerror(ERR_GET_REASON(e)));
	else if (reason != NULL)
		strbuf_add_str(text, reason);
	else
		strbuf_addf(text, "OpenSSL error %08lX", e);
	return true;
}

/* The peer has gone away, politely or not, without an error of its own or ours. */
static bool is_mere_close(unsigned long e, int error)
{
	if (e != 0)
		return ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
	/* An end of file sets no errno: what stands there is from before (EAGAIN), or says "it was not the socket". */
	return error <= 0 || error == EAGAIN || error == EPROTO || error == ECONNRESET || error == EPIPE;
}

bool tls_explain(SSL *ssl, int error, struct strbuf *text)
{
	unsigned long e = ERR_peek_error();

	if (is_mere_close(e, error)) {
		ERR_clear_error();
		return false;
	}
	if (!tls_add_error(text))
		strbuf_add_str(text, strerror(error));
	/* "certificate verify failed" says nothing about what is wrong with it. */
	if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		strbuf_addf(text, " (%s)", X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
	return true;
}
