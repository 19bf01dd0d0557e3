/*
 * The TLS contexts that the settings ask for, towards clients and towards
 * servers.
 */
#pragma once
#include "conf/settings.h"
#include "control/connection.h"
#include "net/tls.h"

struct tls_setup {
	enum tls_mode client_mode, server_mode;
	struct tls_context *clients, *servers;   /* NULL: disabled */
	bool is_server_direct;                   /* TLS from the first byte, without asking */
};

/*
 * Loads certificates and keys. False, and *error with the setting and file at
 * fault, when one cannot be used; then *setup is empty.
 */
bool tls_setup_load(struct tls_cache *cache, const struct settings *s, struct tls_setup *setup, struct strbuf *error);
void tls_setup_drop(struct tls_setup *setup);

/* The same for connections that the pooler makes for itself; the texts are those of the settings. */
struct connection_tls tls_setup_connections(const struct settings *s);

/* Whether open server connections were made as this one asks. */
bool tls_setup_same_servers(const struct tls_setup *a, const struct tls_setup *b);
