#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tls_peers.h"

static struct identity ca;
static struct tls_cache *cache;
static struct tls_context *to_clients, *to_servers;
static struct peers peers;
static struct strbuf text, why_server, why_client;

static int make_ca(void **state)
{
	if (tempdir_enter(state) != 0)
		return -1;
	ca = make_identity((struct certificate){.cn = "ca", .is_ca = true}, NULL);
	write_identity("ca", &ca);
	return 0;
}

static int free_ca(void **state)
{
	free_identity(&ca);
	return tempdir_leave(state);
}

static int set_up(void **state)
{
	(void)state;
	cache = tls_cache_new();
	strbuf_init(&text);
	strbuf_init(&why_server);
	strbuf_init(&why_client);
	strbuf_add_str(&text, "");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close_peers(&peers);
	tls_context_unref(&to_clients);
	tls_context_unref(&to_servers);
	tls_cache_free(cache);
	strbuf_fini(&text);
	strbuf_fini(&why_server);
	strbuf_fini(&why_client);
	return 0;
}

/* Two ends, not yet in touch; the server's certificate and the client's (NULL for none) are signed by the CA. */
static void open_peers(struct certificate server, const struct certificate *client, struct tls_options both)
{
	struct identity id = make_identity(server, &ca);
	struct tls_options o = both;

	write_identity("server", &id);
	free_identity(&id);
	o.mode = TLS_REQUIRE;
	o.cert_file = "server.crt";
	o.key_file = "server.key";
	o.ca_file = "ca.crt";
	to_clients = tls_context_get(cache, TLS_TO_CLIENTS, &o, &text);
	o = both;
	o.mode = TLS_REQUIRE;
	if (client != NULL) {
		id = make_identity(*client, &ca);
		write_identity("client", &id);
		free_identity(&id);
		o.cert_file = "client.crt";
		o.key_file = "client.key";
	}
	to_servers = tls_context_get(cache, TLS_TO_SERVERS, &o, &text);
	assert_string_equal(text.p, "");
	open_sockets(&peers);
	peers.server = tls_accept_new(to_clients, peers.fds[0]);
	peers.client = tls_connect_new(to_servers, peers.fds[1], "db.test");
}

static void connect_peers(struct certificate server, const struct certificate *client, struct tls_options both)
{
	open_peers(server, client, both);
	assert_true(shake_hands(&peers, &why_server, &why_client));
}

static void assert_described(const char *expected)
{
	SSL *ends[] = {peers.server, peers.client};

	for (int i = 0; i < 2; i++) {
		strbuf_reset(&text);
		tls_describe(ends[i], &text);
		assert_string_equal(text.p, expected);
	}
}

static void a_connection_is_described_as_pgbouncer_does(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ecdhcurve = "auto"});
	assert_described("TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519");
}

static void a_named_curve_is_in_its_description(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL,
		      (struct tls_options){.protocols = "tlsv1.2", .ecdhcurve = "prime256v1"});
	assert_described("TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384/ECDH=prime256v1");
}

static void finite_fields_are_described_by_their_bits(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ecdhcurve = "ffdhe3072"});
	assert_described("TLSv1.3/TLS_AES_256_GCM_SHA384/DH=3072");
}

static void key_exchange_by_rsa_has_no_curve_to_describe(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x", .key = "RSA"}, NULL,
		      (struct tls_options){.protocols = "tlsv1.2", .ciphers = "AES128-GCM-SHA256"});
	assert_described("TLSv1.2/AES128-GCM-SHA256");
}

static bool common_name_of_client(const struct certificate *client)
{
	connect_peers((struct certificate){.cn = "x"}, client, (struct tls_options){.ktls = false});
	return tls_peer_common_name(peers.server, &text);
}

static void a_clients_common_name_is_read(void **state)
{
	(void)state;
	assert_true(common_name_of_client(&(struct certificate){.cn = "ann \xc3\xa9"}));
	assert_string_equal(text.p, "ann \xc3\xa9");
}

static void a_client_that_comes_back_keeps_its_name(void **state)
{
	SSL_SESSION *session;

	(void)state;
	assert_true(common_name_of_client(&(struct certificate){.cn = "ann"}));
	assert_true(carry(peers.server, peers.client));
	session = SSL_get1_session(peers.client);
	SSL_shutdown(peers.client);
	close_peers(&peers);
	open_sockets(&peers);
	peers.server = tls_accept_new(to_clients, peers.fds[0]);
	peers.client = tls_connect_new(to_servers, peers.fds[1], "db.test");
	SSL_set_session(peers.client, session);
	SSL_SESSION_free(session);
	assert_true(shake_hands(&peers, &why_server, &why_client));
	assert_true(SSL_session_reused(peers.server));
	strbuf_reset(&text);
	assert_true(tls_peer_common_name(peers.server, &text));
	assert_string_equal(text.p, "ann");
}

static void a_client_without_certificate_has_no_name(void **state)
{
	(void)state;
	assert_false(common_name_of_client(NULL));
}

static void a_certificate_without_common_name_gives_none(void **state)
{
	(void)state;
	assert_false(common_name_of_client(&(struct certificate){.names = "DNS:ann"}));
}

static void a_common_name_with_a_nul_is_refused(void **state)
{
	(void)state;
	assert_false(common_name_of_client(&(struct certificate){.cn = "ann\0bob", .cn_size = 7}));
	assert_int_equal(text.n, 0);
}

static void a_name_that_was_not_verified_does_not_count(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	assert_int_not_equal(SSL_get_verify_result(peers.client), X509_V_OK);
	assert_false(tls_peer_common_name(peers.client, &text));
}

/* Both ends agree on channel binding data made with this hash. */
static void assert_end_point(const EVP_MD *hash)
{
	uint8_t ours[TLS_END_POINT_MAX], theirs[TLS_END_POINT_MAX], expected[EVP_MAX_MD_SIZE];
	unsigned n;

	assert_int_equal(X509_digest(SSL_get0_peer_certificate(peers.client), hash, expected, &n), 1);
	assert_int_equal(tls_end_point(peers.server, ours), n);
	assert_int_equal(tls_end_point(peers.client, theirs), n);
	assert_memory_equal(ours, expected, n);
	assert_memory_equal(theirs, expected, n);
}

static void channel_binding_takes_the_hash_of_the_signature(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x", .hash = "SHA384"}, NULL, (struct tls_options){.ktls = false});
	assert_end_point(EVP_sha384());
}

static void channel_binding_takes_sha256_for_weaker_hashes(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x", .hash = "SHA1"}, NULL,
		      (struct tls_options){.ciphers = "DEFAULT:@SECLEVEL=0"});
	assert_end_point(EVP_sha256());
}

static void channel_binding_knows_the_hash_inside_pss(void **state)
{
	struct identity kept = ca;

	(void)state;
	ca = make_identity((struct certificate){.cn = "ca", .is_ca = true, .key = "RSA"}, NULL);
	connect_peers((struct certificate){.cn = "x", .hash = "SHA512", .is_pss = true}, NULL,
		      (struct tls_options){.ktls = false});
	assert_end_point(EVP_sha512());
	free_identity(&ca);
	ca = kept;
}

static void there_is_no_channel_binding_to_a_signature_without_a_hash(void **state)
{
	struct identity kept = ca;
	uint8_t data[TLS_END_POINT_MAX];

	(void)state;
	ca = make_identity((struct certificate){.cn = "ca", .is_ca = true, .key = "ED25519", .hash = ""}, NULL);
	connect_peers((struct certificate){.cn = "x", .hash = ""}, NULL, (struct tls_options){.ktls = false});
	assert_int_equal(tls_end_point(peers.server, data), 0);
	assert_int_equal(tls_end_point(peers.client, data), 0);
	free_identity(&ca);
	ca = kept;
}

static void alpn_is_agreed_on_when_offered(void **state)
{
	(void)state;
	open_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	assert_true(tls_offer_alpn(peers.client));
	assert_true(shake_hands(&peers, &why_server, &why_client));
	assert_true(tls_has_alpn(peers.server));
	assert_true(tls_has_alpn(peers.client));
}

static void alpn_is_no_condition(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	assert_false(tls_has_alpn(peers.server));
	assert_false(tls_has_alpn(peers.client));
}

static void alpn_for_another_protocol_is_refused(void **state)
{
	(void)state;
	open_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	SSL_set_alpn_protos(peers.client, (const unsigned char *)"\2h2", 3);
	assert_false(shake_hands(&peers, &why_server, &why_client));
	assert_string_equal(why_server.p, "no application protocol");
	assert_string_equal(why_client.p, "tlsv1 alert no application protocol");
}

static bool explain_read_of(SSL *ssl)
{
	char byte;
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_read(ssl, &byte, 1);
	assert_true(result <= 0);
	return tls_explain(ssl, errno, &text);
}

static void a_peer_that_says_good_bye_is_no_error(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	SSL_shutdown(peers.client);
	assert_false(explain_read_of(peers.server));
	assert_int_equal(text.n, 0);
}

static void a_peer_that_just_hangs_up_is_no_error(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	close(peers.fds[1]);
	peers.fds[1] = -1;
	assert_false(explain_read_of(peers.server));
	assert_int_equal(text.n, 0);
}

static void a_peer_that_hangs_up_before_the_handshake_is_no_error(void **state)
{
	(void)state;
	open_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	close(peers.fds[1]);
	peers.fds[1] = -1;
	ERR_clear_error();
	errno = EAGAIN;
	assert_true(SSL_do_handshake(peers.server) <= 0);
	assert_false(tls_explain(peers.server, errno, &text));
	assert_int_equal(text.n, 0);
	assert_int_equal(ERR_peek_error(), 0);
}

static void what_is_no_tls_is_said_to_be_none(void **state)
{
	(void)state;
	open_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	assert_int_equal(write(peers.fds[1], "GET / HTTP/1.1\r\n\r\n", 18), 18);
	ERR_clear_error();
	assert_true(SSL_do_handshake(peers.server) <= 0);
	assert_true(tls_explain(peers.server, errno, &text));
	assert_string_equal(text.p, "http request");
	assert_int_equal(ERR_peek_error(), 0);
}

static void records_that_were_tampered_with_are_an_error(void **state)
{
	static const char record[] = "\x17\x03\x03\x00\x20 no such bytes were ever sent...";

	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	assert_int_equal(write(peers.fds[1], record, 37), 37);
	assert_true(explain_read_of(peers.server));
	assert_string_equal(text.p, "decryption failed or bad record mac");
}

static void a_failure_of_the_socket_is_told_by_its_errno(void **state)
{
	(void)state;
	open_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.ktls = false});
	ERR_clear_error();
	assert_true(tls_explain(peers.server, ETIMEDOUT, &text));
	assert_string_equal(text.p, "Connection timed out");
}

static void renegotiation_is_refused(void **state)
{
	(void)state;
	connect_peers((struct certificate){.cn = "x"}, NULL, (struct tls_options){.protocols = "tlsv1.2"});
	SSL_clear_options(peers.client, SSL_OP_NO_RENEGOTIATION);
	assert_int_equal(SSL_renegotiate(peers.client), 1);
	assert_true(SSL_do_handshake(peers.client) <= 0);
	explain_read_of(peers.server);
	assert_true(explain_read_of(peers.client));
	assert_string_equal(text.p, "no renegotiation");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_connection_is_described_as_pgbouncer_does),
		TEST(a_named_curve_is_in_its_description),
		TEST(finite_fields_are_described_by_their_bits),
		TEST(key_exchange_by_rsa_has_no_curve_to_describe),
		TEST(a_clients_common_name_is_read),
		TEST(a_client_that_comes_back_keeps_its_name),
		TEST(a_client_without_certificate_has_no_name),
		TEST(a_certificate_without_common_name_gives_none),
		TEST(a_common_name_with_a_nul_is_refused),
		TEST(a_name_that_was_not_verified_does_not_count),
		TEST(channel_binding_takes_the_hash_of_the_signature),
		TEST(channel_binding_takes_sha256_for_weaker_hashes),
		TEST(channel_binding_knows_the_hash_inside_pss),
		TEST(there_is_no_channel_binding_to_a_signature_without_a_hash),
		TEST(alpn_is_agreed_on_when_offered),
		TEST(alpn_is_no_condition),
		TEST(alpn_for_another_protocol_is_refused),
		TEST(a_peer_that_says_good_bye_is_no_error),
		TEST(a_peer_that_just_hangs_up_is_no_error),
		TEST(a_peer_that_hangs_up_before_the_handshake_is_no_error),
		TEST(what_is_no_tls_is_said_to_be_none),
		TEST(records_that_were_tampered_with_are_an_error),
		TEST(a_failure_of_the_socket_is_told_by_its_errno),
		TEST(renegotiation_is_refused),
	};

	return cmocka_run_group_tests(tests, make_ca, free_ca);
}
