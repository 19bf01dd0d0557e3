#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "tls_peers.h"

static struct identity ca, other_ca, intermediate, server_id, client_id, stranger_id, expired_id;
static struct tls_cache *cache;
static struct strbuf error, why_server, why_client;
static struct tls_options to_clients, to_servers;

static int make_certificates(void **state)
{
	if (tempdir_enter(state) != 0)
		return -1;
	ca = make_identity((struct certificate){.cn = "ca", .is_ca = true}, NULL);
	other_ca = make_identity((struct certificate){.cn = "other ca", .is_ca = true}, NULL);
	intermediate = make_identity((struct certificate){.cn = "intermediate", .is_ca = true}, &ca);
	server_id = make_identity((struct certificate){.cn = "server", .names = "DNS:db.test,IP:127.0.0.1"}, &ca);
	client_id = make_identity((struct certificate){.cn = "ann"}, &ca);
	stranger_id = make_identity((struct certificate){.cn = "ann"}, &other_ca);
	expired_id = make_identity((struct certificate){.cn = "ann", .names = "DNS:db.test", .expires_in = -60}, &ca);
	write_identity("ca", &ca);
	write_identity("other_ca", &other_ca);
	write_identity("server", &server_id);
	write_identity("client", &client_id);
	write_identity("stranger", &stranger_id);
	write_identity("expired", &expired_id);
	return 0;
}

static int free_certificates(void **state)
{
	free_identity(&ca);
	free_identity(&other_ca);
	free_identity(&intermediate);
	free_identity(&server_id);
	free_identity(&client_id);
	free_identity(&stranger_id);
	free_identity(&expired_id);
	return tempdir_leave(state);
}

static int set_up(void **state)
{
	(void)state;
	cache = tls_cache_new();
	strbuf_init(&error);
	strbuf_init(&why_server);
	strbuf_init(&why_client);
	strbuf_add_str(&error, "");
	strbuf_add_str(&why_server, "");
	strbuf_add_str(&why_client, "");
	to_clients = (struct tls_options){.mode = TLS_REQUIRE, .cert_file = "server.crt", .key_file = "server.key"};
	to_servers = (struct tls_options){.mode = TLS_REQUIRE};
	return 0;
}

static int tear_down(void **state)
{
	size_t left = tls_cache_count(cache);

	(void)state;
	tls_cache_free(cache);
	strbuf_fini(&error);
	strbuf_fini(&why_server);
	strbuf_fini(&why_client);
	return left == 0 ? 0 : -1;
}

static struct tls_context *get(enum tls_role role, const struct tls_options *o)
{
	struct tls_context *t = tls_context_get(cache, role, o, &error);

	if (t == NULL)
		fail_msg("%s", error.p);
	assert_int_equal(error.n, 0);
	return t;
}

static void assert_refused(enum tls_role role, const struct tls_options *o, const char *text)
{
	strbuf_reset(&error);
	assert_null(tls_context_get(cache, role, o, &error));
	assert_string_equal(error.p, text);
	/* Nothing stays behind to be taken for somebody else's error. */
	assert_int_equal(ERR_peek_error(), 0);
	strbuf_reset(&error);
}

/* Both ends from the options in force; a byte each way counts, for TLS 1.3 servers refuse after the client is done. */
static bool connect_to(const char *host)
{
	struct tls_context *a = get(TLS_TO_CLIENTS, &to_clients), *b = get(TLS_TO_SERVERS, &to_servers);
	struct peers p;
	bool ok;

	strbuf_reset(&why_server);
	strbuf_reset(&why_client);
	open_sockets(&p);
	p.server = tls_accept_new(a, p.fds[0]);
	p.client = tls_connect_new(b, p.fds[1], host);
	assert_non_null(p.client);
	ok = shake_hands(&p, &why_server, &why_client) && carry(p.client, p.server) && carry(p.server, p.client);
	close_peers(&p);
	tls_context_unref(&a);
	tls_context_unref(&b);
	return ok;
}

static void use_client(const char *cert, const char *key)
{
	to_servers.cert_file = cert;
	to_servers.key_file = key;
}

static void use_server(const char *cert, const char *key)
{
	to_clients.cert_file = cert;
	to_clients.key_file = key;
}

static void equal_options_share_one_context(void **state)
{
	struct tls_options again = to_clients;
	struct tls_context *a, *b;

	(void)state;
	/* Modes that ask for no certificate are all the same once TLS is on. */
	again.mode = TLS_PREFER;
	again.ciphers = "";
	a = get(TLS_TO_CLIENTS, &to_clients);
	b = get(TLS_TO_CLIENTS, &again);
	assert_ptr_equal(a, b);
	assert_int_equal(tls_cache_count(cache), 1);
	tls_context_unref(&a);
	assert_null(a);
	assert_int_equal(tls_cache_count(cache), 1);
	tls_context_unref(&b);
	assert_int_equal(tls_cache_count(cache), 0);
}

static void other_options_have_another_context(void **state)
{
	struct tls_options with_ca = to_clients, with_ciphers = to_clients, with_ktls = to_clients, verifying;
	struct tls_context *t[5];

	(void)state;
	with_ca.ca_file = "ca.crt";
	with_ciphers.ciphers = "all";
	with_ktls.ktls = true;
	verifying = with_ca;
	verifying.mode = TLS_VERIFY_CA;
	t[0] = get(TLS_TO_CLIENTS, &to_clients);
	t[1] = get(TLS_TO_CLIENTS, &with_ca);
	t[2] = get(TLS_TO_CLIENTS, &with_ciphers);
	t[3] = get(TLS_TO_CLIENTS, &with_ktls);
	t[4] = get(TLS_TO_CLIENTS, &verifying);
	assert_int_equal(tls_cache_count(cache), 5);
	for (int i = 0; i < 5; i++)
		tls_context_unref(&t[i]);
}

static void changed_files_make_another_context_and_unchanged_ones_do_not(void **state)
{
	struct tls_context *a, *b;

	(void)state;
	use_server("own.crt", "own.key");
	write_identity("own", &server_id);
	a = get(TLS_TO_CLIENTS, &to_clients);
	write_identity("own", &server_id);
	b = get(TLS_TO_CLIENTS, &to_clients);
	assert_ptr_equal(a, b);
	tls_context_unref(&b);
	write_identity("own", &client_id);
	b = get(TLS_TO_CLIENTS, &to_clients);
	assert_ptr_not_equal(a, b);
	tls_context_unref(&a);
	tls_context_unref(&b);
}

static void a_connection_outlives_its_context_and_the_cache(void **state)
{
	struct tls_context *a = get(TLS_TO_CLIENTS, &to_clients), *b = get(TLS_TO_SERVERS, &to_servers);
	struct peers p;

	(void)state;
	open_sockets(&p);
	p.server = tls_accept_new(a, p.fds[0]);
	p.client = tls_connect_new(b, p.fds[1], "db.test");
	tls_context_unref(&a);
	tls_cache_free(cache);
	cache = tls_cache_new();
	tls_context_unref(&b);
	assert_true(shake_hands(&p, &why_server, &why_client));
	assert_true(carry(p.server, p.client));
	close_peers(&p);
}

static void what_is_missing_is_named(void **state)
{
	(void)state;
	use_server("", "server.key");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_sslmode requires client_tls_cert_file and client_tls_key_file");
	use_server("server.crt", "server.key");
	to_clients.mode = TLS_VERIFY_CA;
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_sslmode verify-ca or verify-full requires client_tls_ca_file");
	use_client("client.crt", NULL);
	assert_refused(TLS_TO_SERVERS, &to_servers, "server_tls_cert_file and server_tls_key_file must be set together");
}

static void files_that_cannot_be_used_are_named_with_the_reason(void **state)
{
	(void)state;
	use_server("none.crt", "server.key");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_cert_file: cannot read \"none.crt\": No such file or directory");
	use_server("/", "server.key");
	assert_refused(TLS_TO_CLIENTS, &to_clients, "client_tls_cert_file: cannot read \"/\": Is a directory");
	use_server("server.key", "server.key");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_cert_file: cannot load certificate \"server.key\": no start line");
	use_server("server.crt", "client.key");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_key_file: cannot load private key \"client.key\": key values mismatch");
	use_server("server.crt", "server.crt");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_key_file: cannot load private key \"server.crt\": no private key in it");
	use_server("server.crt",
		   tempdir_write("broken.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"));
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_key_file: cannot load private key \"broken.key\": no private key in it");
	use_server(tempdir_write("empty.crt", ""), "server.key");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_cert_file: cannot load certificate \"empty.crt\": no start line");
	use_server("server.crt", "server.key");
	to_clients.ca_file = tempdir_write("broken.crt", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
	assert_refused(TLS_TO_CLIENTS, &to_clients,
		       "client_tls_ca_file: cannot load authorities \"broken.crt\": bad base64 decode");
	to_servers.mode = TLS_VERIFY_CA;
	to_servers.ca_file = "none.crt";
	assert_refused(TLS_TO_SERVERS, &to_servers,
		       "server_tls_ca_file: cannot read \"none.crt\": No such file or directory");
}

static void a_key_with_a_passphrase_is_refused_without_asking_for_it(void **state)
{
	(void)state;
	use_server("server.crt", write_key("locked.key", server_id.key, "secret"));
	strbuf_reset(&error);
	assert_null(tls_context_get(cache, TLS_TO_CLIENTS, &to_clients, &error));
	assert_string_equal(error.p,
			    "client_tls_key_file: cannot load private key \"locked.key\": it needs a passphrase");
}

static void settings_at_fault_are_refused(void **state)
{
	(void)state;
	to_servers.protocols = "sslv2";
	assert_refused(TLS_TO_SERVERS, &to_servers, "server_tls_protocols: unknown protocol: \"sslv2\"");
}

static void without_verification_any_server_will_do(void **state)
{
	(void)state;
	to_servers.ca_file = "other_ca.crt";
	assert_true(connect_to("elsewhere.test"));
	use_server("expired.crt", "expired.key");
	assert_true(connect_to("elsewhere.test"));
	assert_true(connect_to(""));
}

static void verify_ca_wants_a_certificate_of_the_ca_for_whatever_host(void **state)
{
	(void)state;
	to_servers.mode = TLS_VERIFY_CA;
	to_servers.ca_file = "ca.crt";
	assert_true(connect_to("elsewhere.test"));
	to_servers.ca_file = "other_ca.crt";
	assert_false(connect_to("db.test"));
	assert_string_equal(why_client.p, "certificate verify failed (unable to get local issuer certificate)");
	assert_string_equal(why_server.p, "tlsv1 alert unknown ca");
	to_servers.ca_file = "ca.crt";
	use_server("expired.crt", "expired.key");
	assert_false(connect_to("db.test"));
	assert_string_equal(why_client.p, "certificate verify failed (certificate has expired)");
}

static void without_a_ca_file_servers_are_checked_against_the_systems(void **state)
{
	(void)state;
	to_servers.mode = TLS_VERIFY_CA;
	assert_false(connect_to("db.test"));
}

static void verify_full_wants_the_host_too(void **state)
{
	(void)state;
	to_servers.mode = TLS_VERIFY_FULL;
	to_servers.ca_file = "ca.crt";
	assert_true(connect_to("db.test"));
	assert_true(connect_to("DB.test"));
	assert_true(connect_to("127.0.0.1"));
	assert_false(connect_to("elsewhere.test"));
	assert_string_equal(why_client.p, "certificate verify failed (hostname mismatch)");
	assert_false(connect_to("127.0.0.2"));
	assert_string_equal(why_client.p, "certificate verify failed (IP address mismatch)");
	/* Names in the certificate: the common name is none of them. */
	assert_false(connect_to("server"));
	use_server("stranger.crt", "stranger.key");
	assert_false(connect_to("ann"));
}

/* A server with a certificate of these names, asked for as `host`. */
static bool names_match(struct certificate c, const char *host)
{
	struct identity id = make_identity(c, &ca);
	bool ok;

	write_identity("named", &id);
	free_identity(&id);
	use_server("named.crt", "named.key");
	to_servers.mode = TLS_VERIFY_FULL;
	to_servers.ca_file = "ca.crt";
	ok = connect_to(host);
	return ok;
}

static void names_are_compared_as_libpq_does(void **state)
{
	(void)state;
	assert_true(names_match((struct certificate){.cn = "db.test"}, "db.test"));
	assert_true(names_match((struct certificate){.cn = "*.db.test"}, "one.db.test"));
	assert_true(names_match((struct certificate){.cn = "x", .names = "DNS:*.db.test"}, "one.db.test"));
	assert_false(names_match((struct certificate){.cn = "x", .names = "DNS:*.db.test"}, "db.test"));
	assert_false(names_match((struct certificate){.cn = "x", .names = "DNS:*.db.test"}, "a.b.db.test"));
	assert_false(names_match((struct certificate){.cn = "x", .names = "DNS:d*.db.test"}, "da.db.test"));
	/* An address next to it does not hide the common name from a host name. */
	assert_true(names_match((struct certificate){.cn = "db.test", .names = "IP:10.0.0.1"}, "db.test"));
	assert_false(names_match((struct certificate){.cn = "db.test\0.evil", .cn_size = 13}, "db.test"));
}

static void addresses_are_compared_as_libpq_does(void **state)
{
	(void)state;
	assert_true(names_match((struct certificate){.cn = "x", .names = "IP:::1"}, "::1"));
	assert_true(names_match((struct certificate){.cn = "127.0.0.1"}, "127.0.0.1"));
	assert_true(names_match((struct certificate){.cn = "127.0.0.1", .names = "DNS:db.test"}, "127.0.0.1"));
	assert_true(names_match((struct certificate){.cn = "x", .names = "DNS:127.0.0.1"}, "127.0.0.1"));
	assert_false(names_match((struct certificate){.cn = "127.0.0.1", .names = "IP:10.0.0.1"}, "127.0.0.1"));
	assert_false(names_match((struct certificate){.cn = "*.0.0.1"}, "127.0.0.1"));
	assert_false(names_match((struct certificate){.cn = "x"}, "127.0.0.1"));
}

static void verify_full_without_a_host_is_no_connection(void **state)
{
	struct tls_context *t;

	(void)state;
	to_servers.mode = TLS_VERIFY_FULL;
	to_servers.ca_file = "ca.crt";
	t = get(TLS_TO_SERVERS, &to_servers);
	assert_null(tls_connect_new(t, 0, ""));
	tls_context_unref(&t);
}

static void an_intermediate_comes_with_the_servers_certificate(void **state)
{
	struct identity id = make_identity((struct certificate){.cn = "db.test"}, &intermediate);

	(void)state;
	write_certificates("chain.crt", (X509 *[]){id.x, intermediate.x}, 2);
	write_key("chain.key", id.key, NULL);
	write_certificates("alone.crt", &id.x, 1);
	free_identity(&id);
	to_servers.mode = TLS_VERIFY_FULL;
	to_servers.ca_file = "ca.crt";
	use_server("chain.crt", "chain.key");
	assert_true(connect_to("db.test"));
	use_server("alone.crt", "chain.key");
	assert_false(connect_to("db.test"));
}

static void a_ca_file_may_hold_several(void **state)
{
	(void)state;
	write_certificates("both.crt", (X509 *[]){other_ca.x, ca.x}, 2);
	to_servers.mode = TLS_VERIFY_FULL;
	to_servers.ca_file = "both.crt";
	assert_true(connect_to("db.test"));
}

static void names_are_sent_as_sni_and_addresses_are_not(void **state)
{
	struct tls_context *t = get(TLS_TO_SERVERS, &to_servers);
	SSL *ssl = tls_connect_new(t, 0, "db.test");

	(void)state;
	assert_string_equal(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), "db.test");
	SSL_free(ssl);
	ssl = tls_connect_new(t, 0, "::1");
	assert_null(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	SSL_free(ssl);
	tls_context_unref(&t);
}

static void clients_are_not_asked_for_certificates_without_a_ca(void **state)
{
	(void)state;
	use_client("stranger.crt", "stranger.key");
	assert_true(connect_to("db.test"));
}

static void with_a_ca_a_clients_certificate_is_checked_if_it_has_one(void **state)
{
	(void)state;
	to_clients.ca_file = "ca.crt";
	assert_true(connect_to("db.test"));
	use_client("client.crt", "client.key");
	assert_true(connect_to("db.test"));
	use_client("stranger.crt", "stranger.key");
	assert_false(connect_to("db.test"));
	assert_string_equal(why_server.p, "certificate verify failed (unable to get local issuer certificate)");
}

static void verification_demands_a_certificate_from_clients(void **state)
{
	(void)state;
	to_clients.ca_file = "ca.crt";
	for (enum tls_mode mode = TLS_VERIFY_CA; mode <= TLS_VERIFY_FULL; mode++) {
		to_clients.mode = mode;
		use_client(NULL, NULL);
		assert_false(connect_to("db.test"));
		assert_string_equal(why_server.p, "peer did not return a certificate");
		use_client("client.crt", "client.key");
		assert_true(connect_to("db.test"));
		use_client("stranger.crt", "stranger.key");
		assert_false(connect_to("db.test"));
		use_client("expired.crt", "expired.key");
		assert_false(connect_to("db.test"));
		assert_string_equal(why_server.p, "certificate verify failed (certificate has expired)");
	}
}

static void ends_without_a_common_version_do_not_meet(void **state)
{
	(void)state;
	to_clients.protocols = "tlsv1.3";
	to_servers.protocols = "tlsv1.2";
	assert_false(connect_to("db.test"));
	assert_string_equal(why_server.p, "unsupported protocol");
	assert_string_equal(why_client.p, "tlsv1 alert protocol version");
}

static void old_versions_work_where_they_are_asked_for(void **state)
{
	(void)state;
	to_clients.protocols = to_servers.protocols = "tlsv1.0";
	to_clients.ciphers = to_servers.ciphers = "DEFAULT:@SECLEVEL=0";
	assert_true(connect_to("db.test"));
}

static void without_curves_tls_1_2_takes_dh(void **state)
{
	struct identity id = make_identity((struct certificate){.cn = "db.test", .key = "RSA"}, &ca);

	(void)state;
	write_identity("rsa", &id);
	free_identity(&id);
	use_server("rsa.crt", "rsa.key");
	to_clients.ecdhcurve = "none";
	to_clients.protocols = "tlsv1.2";
	to_servers.ciphers = "kDHE";
	assert_true(connect_to("db.test"));
	to_clients.dheparams = "none";
	assert_false(connect_to("db.test"));
	assert_string_equal(why_server.p, "no shared cipher");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_options_share_one_context),
		TEST(other_options_have_another_context),
		TEST(changed_files_make_another_context_and_unchanged_ones_do_not),
		TEST(a_connection_outlives_its_context_and_the_cache),
		TEST(what_is_missing_is_named),
		TEST(files_that_cannot_be_used_are_named_with_the_reason),
		TEST(a_key_with_a_passphrase_is_refused_without_asking_for_it),
		TEST(settings_at_fault_are_refused),
		TEST(without_verification_any_server_will_do),
		TEST(verify_ca_wants_a_certificate_of_the_ca_for_whatever_host),
		TEST(without_a_ca_file_servers_are_checked_against_the_systems),
		TEST(verify_full_wants_the_host_too),
		TEST(names_are_compared_as_libpq_does),
		TEST(addresses_are_compared_as_libpq_does),
		TEST(verify_full_without_a_host_is_no_connection),
		TEST(an_intermediate_comes_with_the_servers_certificate),
		TEST(a_ca_file_may_hold_several),
		TEST(names_are_sent_as_sni_and_addresses_are_not),
		TEST(clients_are_not_asked_for_certificates_without_a_ca),
		TEST(with_a_ca_a_clients_certificate_is_checked_if_it_has_one),
		TEST(verification_demands_a_certificate_from_clients),
		TEST(ends_without_a_common_version_do_not_meet),
		TEST(old_versions_work_where_they_are_asked_for),
		TEST(without_curves_tls_1_2_takes_dh),
	};

	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
