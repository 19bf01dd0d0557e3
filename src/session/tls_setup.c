#include "session/tls_setup.h"

/* The settings' modes and those of net/tls are the same list, in the same order. */
_Static_assert((int)TLS_MODE_DISABLE == (int)TLS_DISABLE && (int)TLS_MODE_PREFER == (int)TLS_PREFER &&
		       (int)TLS_MODE_VERIFY_FULL == (int)TLS_VERIFY_FULL,
	       "enum tls_mode is made from the setting's value");

static struct tls_options client_options(const struct settings *s)
{
	return (struct tls_options){
		.mode = (enum tls_mode)s->client_tls_sslmode,
		.ca_file = s->client_tls_ca_file,
		.cert_file = s->client_tls_cert_file,
		.key_file = s->client_tls_key_file,
		.protocols = s->client_tls_protocols,
		.ciphers = s->client_tls_ciphers,
		.tls13_ciphers = s->client_tls13_ciphers,
		.ecdhcurve = s->client_tls_ecdhcurve,
		.dheparams = s->client_tls_dheparams,
		.ktls = s->tls_kernel,
	};
}

static struct tls_options server_options(const struct settings *s)
{
	return (struct tls_options){
		.mode = (enum tls_mode)s->server_tls_sslmode,
		.ca_file = s->server_tls_ca_file,
		.cert_file = s->server_tls_cert_file,
		.key_file = s->server_tls_key_file,
		.protocols = s->server_tls_protocols,
		.ciphers = s->server_tls_ciphers,
		.tls13_ciphers = s->server_tls13_ciphers,
		.ktls = s->tls_kernel,
	};
}

bool tls_setup_load(struct tls_cache *cache, const struct settings *s, struct tls_setup *setup, struct strbuf *error)
{
	const struct tls_options clients = client_options(s), servers = server_options(s);
	bool is_direct = s->server_tls_negotiation == TLS_NEGOTIATION_DIRECT;
	bool ok = true;

	if (is_direct && servers.mode != TLS_DISABLE && servers.mode < TLS_REQUIRE) {
		strbuf_add_str(error, "server_tls_negotiation = direct asks no server whether it has TLS; "
				      "accepted with server_tls_sslmode: disable, require, verify-ca, verify-full");
		*setup = (struct tls_setup){.client_mode = TLS_DISABLE};
		return false;
	}
	*setup = (struct tls_setup){.client_mode = clients.mode,
				    .server_mode = servers.mode,
				    .is_server_direct = is_direct};
	if (clients.mode != TLS_DISABLE) {
		setup->clients = tls_context_get(cache, TLS_TO_CLIENTS, &clients, error);
		ok = setup->clients != NULL;
	}
	if (ok && servers.mode != TLS_DISABLE) {
		setup->servers = tls_context_get(cache, TLS_TO_SERVERS, &servers, error);
		ok = setup->servers != NULL;
	}
	if (!ok)
		tls_setup_drop(setup);
	return ok;
}

void tls_setup_drop(struct tls_setup *setup)
{
	tls_context_unref(&setup->clients);
	tls_context_unref(&setup->servers);
	*setup = (struct tls_setup){.client_mode = TLS_DISABLE};
}

bool tls_setup_same_servers(const struct tls_setup *a, const struct tls_setup *b)
{
	return a->server_mode == b->server_mode && a->servers == b->servers && a->is_server_direct == b->is_server_direct;
}

struct connection_tls tls_setup_connections(const struct settings *s)
{
	return (struct connection_tls){.sslmode = setting_choice_word(SETTING_server_tls_sslmode, s->server_tls_sslmode),
				       .ca_file = s->server_tls_ca_file,
				       .cert_file = s->server_tls_cert_file,
				       .key_file = s->server_tls_key_file};
}
