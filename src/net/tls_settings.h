/*
 * What the words in the TLS settings mean, applied to an SSL_CTX: protocols,
 * ciphers, curves, DH parameters.
 */
#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/str.h"
#include "net/tls.h"

/* TLS versions as a set. */
enum { TLS_V1_0 = 1, TLS_V1_1 = 2, TLS_V1_2 = 4, TLS_V1_3 = 8 };

/*
 * "tlsv1.2,tlsv1.3", "secure", "all, !tlsv1.0" and the like; "" is "secure".
 * False, and *unknown the word at fault, when one is not known; *unknown is
 * empty when no version remains.
 */
bool tls_parse_protocols(struct slice text, unsigned *versions, struct slice *unknown);

/* Applies protocols, ciphers, tls13_ciphers, ecdhcurve and dheparams. False, with a text that names the setting. */
bool tls_apply_settings(SSL_CTX *ctx, enum tls_role role, const struct tls_options *options, struct strbuf *error);

/* "client_" or "server_", for the name of a setting in a text. */
const char *tls_setting_prefix(enum tls_role role);
