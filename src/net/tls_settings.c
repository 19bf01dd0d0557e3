#include "net/tls_settings.h"

#include <openssl/err.h>

#define V_ALL (TLS_V1_0 | TLS_V1_1 | TLS_V1_2 | TLS_V1_3)
#define V_SECURE (TLS_V1_2 | TLS_V1_3)

static const struct {
	const char *name;
	unsigned versions;
} protocol_words[] = {
	{"tlsv1.0", TLS_V1_0}, {"tlsv1.1", TLS_V1_1}, {"tlsv1.2", TLS_V1_2}, {"tlsv1.3", TLS_V1_3}, {"tlsv1", V_ALL},
	{"all", V_ALL},        {"legacy", V_ALL},     {"secure", V_SECURE},  {"default", V_SECURE},
};

static const struct {
	unsigned version;
	int number;
	uint64_t leave_out;
} versions_known[] = {
	{TLS_V1_0, TLS1_VERSION, SSL_OP_NO_TLSv1},
	{TLS_V1_1, TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
	{TLS_V1_2, TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
	{TLS_V1_3, TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static unsigned versions_of(struct slice word)
{
	for (size_t i = 0; i < COUNT(protocol_words); i++)
		if (slice_is_nocase(word, protocol_words[i].name))
			return protocol_words[i].versions;
	return 0;
}

/* The next word of a list separated by commas or colons; false at its end. */
static bool next_word(struct slice *rest, struct slice *word)
{
	size_t n = 0;

	if (rest->n == 0)
		return false;
	while (n < rest->n && rest->p[n] != ',' && rest->p[n] != ':')
		n++;
	*word = slice_trim((struct slice){rest->p, n});
	n += n < rest->n;
	rest->p += n;
	rest->n -= n;
	return true;
}

bool tls_parse_protocols(struct slice text, unsigned *versions, struct slice *unknown)
{
	struct slice rest = slice_trim(text), word;
	unsigned chosen = rest.n == 0 ? V_SECURE : 0;

	while (next_word(&rest, &word)) {
		bool is_negated = word.n > 0 && word.p[0] == '!';
		unsigned v = versions_of(is_negated ? (struct slice){word.p + 1, word.n - 1} : word);

		*unknown = word;
		if (v == 0)
			return false;
		if (!is_negated)
			chosen |= v;
		else
			chosen = (chosen == 0 ? V_ALL : chosen) & ~v;
	}
	*unknown = (struct slice){"", 0};
	*versions = chosen;
	return chosen != 0;
}

const char *tls_setting_prefix(enum tls_role role)
{
	return role == TLS_TO_CLIENTS ? "client_" : "server_";
}

static bool refuse(struct strbuf *error, enum tls_role role, const char *setting, const char *why, const char *value)
{
	ERR_clear_error();
	strbuf_addf(error, "%s%s: %s: \"%s\"", tls_setting_prefix(role), setting, why, value);
	return false;
}

static bool apply_protocols(SSL_CTX *ctx, enum tls_role role, const char *text, struct strbuf *error)
{
	unsigned versions;
	struct slice unknown;
	int lowest = 0, highest = 0;

	if (!tls_parse_protocols(slice_of(text), &versions, &unknown)) {
		if (unknown.n == 0)
			return refuse(error, role, "tls_protocols", "leaves no protocol", text);
		strbuf_addf(error, "%stls_protocols: unknown protocol: \"%.*s\"", tls_setting_prefix(role),
			    (int)unknown.n, unknown.p);
		return false;
	}
	for (size_t i = 0; i < COUNT(versions_known); i++) {
		if ((versions & versions_known[i].version) == 0) {
			SSL_CTX_set_options(ctx, versions_known[i].leave_out);
			continue;
		}
		SSL_CTX_clear_options(ctx, versions_known[i].leave_out);
		highest = versions_known[i].number;
		if (lowest == 0)
			lowest = highest;
	}
	/* Explicit bounds too: the system's openssl.cnf may have set narrower ones. */
	if (SSL_CTX_set_min_proto_version(ctx, lowest) != 1 || SSL_CTX_set_max_proto_version(ctx, highest) != 1)
		return refuse(error, role, "tls_protocols", "not supported by OpenSSL", text);
	return true;
}

static const char *cipher_list_of(const char *text)
{
	static const char *const system_words[] = {"", "default", "secure", "fast", "normal"};

	for (size_t i = 0; i < COUNT(system_words); i++)
		if (slice_is_nocase(slice_of(text), system_words[i]))
			return NULL;
	/* Not those without authentication or encryption: nobody who asks for TLS means them. */
	return slice_is_nocase(slice_of(text), "all") ? "ALL:!aNULL:!eNULL" : text;
}

static bool apply_ciphers(SSL_CTX *ctx, enum tls_role role, const struct tls_options *o, struct strbuf *error)
{
	const char *list = cipher_list_of(o->ciphers);

	if (list != NULL && SSL_CTX_set_cipher_list(ctx, list) != 1)
		return refuse(error, role, "tls_ciphers", "no known cipher in", o->ciphers);
	if (o->tls13_ciphers[0] != '\0' && SSL_CTX_set_ciphersuites(ctx, o->tls13_ciphers) != 1)
		return refuse(error, role, "tls13_ciphers", "no known cipher suite in", o->tls13_ciphers);
	return true;
}

/* OpenSSL has no switch for ECDHE, so its ciphers go. TLS 1.3 cannot do without groups and keeps them. */
static bool drop_ecdhe(SSL_CTX *ctx, enum tls_role role, struct strbuf *error)
{
	STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);
	struct strbuf list;
	bool ok;

	strbuf_init(&list);
	strbuf_add_str(&list, "");
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
		const SSL_CIPHER *c = sk_SSL_CIPHER_value(ciphers, i);
		int exchange = SSL_CIPHER_get_kx_nid(c);

		/* "any" is TLS 1.3's, which is no part of this list. */
		if (exchange != NID_kx_ecdhe && exchange != NID_kx_ecdhe_psk && exchange != NID_kx_any)
			strbuf_addf(&list, "%s%s", list.n > 0 ? ":" : "", SSL_CIPHER_get_name(c));
	}
	ok = !list.failed && list.n > 0 && SSL_CTX_set_cipher_list(ctx, list.p) == 1;
	strbuf_fini(&list);
	return ok || refuse(error, role, "tls_ecdhcurve", "leaves no cipher", "none");
}

static bool apply_curves(SSL_CTX *ctx, enum tls_role role, const char *text, struct strbuf *error)
{
	struct slice rest = slice_trim(slice_of(text)), word;
	struct strbuf list;
	bool ok;

	if (rest.n == 0 || slice_is_nocase(rest, "auto"))
		return true;
	if (slice_is_nocase(rest, "none"))
		return drop_ecdhe(ctx, role, error);
	strbuf_init(&list);
	while (next_word(&rest, &word))
		strbuf_addf(&list, "%s%.*s", list.n > 0 ? ":" : "", (int)word.n, word.p);
	ok = !list.failed && SSL_CTX_set1_groups_list(ctx, list.p) == 1;
	strbuf_fini(&list);
	return ok || refuse(error, role, "tls_ecdhcurve", "unknown curve", text);
}

/* OpenSSL's own parameters: as strong as the certificate's key (1), or of 1024 bits where its security level allows (2). */
static bool apply_dheparams(SSL_CTX *ctx, enum tls_role role, const char *text, struct strbuf *error)
{
	struct slice word = slice_trim(slice_of(text));
	int how;

	if (word.n == 0 || slice_is_nocase(word, "auto"))
		how = 1;
	else if (slice_is_nocase(word, "legacy"))
		how = 2;
	else if (slice_is_nocase(word, "none"))
		how = 0;
	else
		return refuse(error, role, "tls_dheparams", "must be none, auto or legacy, not", text);
	SSL_CTX_set_dh_auto(ctx, how);
	return true;
}

bool tls_apply_settings(SSL_CTX *ctx, enum tls_role role, const struct tls_options *o, struct strbuf *error)
{
	return apply_protocols(ctx, role, o->protocols, error) && apply_ciphers(ctx, role, o, error) &&
	       apply_curves(ctx, role, o->ecdhcurve, error) && apply_dheparams(ctx, role, o->dheparams, error);
}
