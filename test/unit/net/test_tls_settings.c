#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "net/tls_settings.h"

static SSL_CTX *ctx;
static struct strbuf error;
static struct tls_options options;

static int set_up(void **state)
{
	(void)state;
	ctx = SSL_CTX_new(TLS_server_method());
	strbuf_init(&error);
	strbuf_add_str(&error, "");
	options = (struct tls_options){
		.protocols = "", .ciphers = "", .tls13_ciphers = "", .ecdhcurve = "", .dheparams = ""};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	SSL_CTX_free(ctx);
	strbuf_fini(&error);
	return 0;
}

static bool apply(void)
{
	return tls_apply_settings(ctx, TLS_TO_CLIENTS, &options, &error);
}

static void lists_of_protocols_are_understood(void **state)
{
	static const struct {
		const char *text;
		unsigned versions;
	} cases[] = {
		{"", TLS_V1_2 | TLS_V1_3},
		{"secure", TLS_V1_2 | TLS_V1_3},
		{"default", TLS_V1_2 | TLS_V1_3},
		{"all", 15},
		{"legacy", 15},
		{"tlsv1", 15},
		{"TLSv1.2", TLS_V1_2},
		{"tlsv1.0, tlsv1.1", TLS_V1_0 | TLS_V1_1},
		{"tlsv1.2:tlsv1.3", TLS_V1_2 | TLS_V1_3},
		{"all, !tlsv1.0,!tlsv1.1", TLS_V1_2 | TLS_V1_3},
		{"!tlsv1.3", TLS_V1_0 | TLS_V1_1 | TLS_V1_2},
		{" secure , ! tlsv1.2", 0},
		{"tlsv1.2,!tlsv1.2", 0},
		{"tlsv1.4", 0},
		{"secure,,tlsv1.1", 0},
		{"sslv3", 0},
		{"!", 0},
	};
	unsigned versions;
	struct slice unknown;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		versions = 0;
		assert_int_equal(tls_parse_protocols(slice_of(cases[i].text), &versions, &unknown),
				 cases[i].versions != 0);
		assert_int_equal(versions, cases[i].versions);
	}
}

static void the_word_that_is_no_protocol_is_named(void **state)
{
	(void)state;
	options.protocols = "tlsv1.2, sslv3";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls_protocols: unknown protocol: \"sslv3\"");
}

static void a_list_that_leaves_no_protocol_is_refused(void **state)
{
	(void)state;
	options.protocols = "tlsv1.2,!tlsv1.2";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls_protocols: leaves no protocol: \"tlsv1.2,!tlsv1.2\"");
}

static void protocols_bound_the_versions_also_below_the_systems(void **state)
{
	(void)state;
	options.protocols = "tlsv1.0,tlsv1.2";
	assert_true(apply());
	assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_VERSION);
	assert_int_equal(SSL_CTX_get_max_proto_version(ctx), TLS1_2_VERSION);
	assert_true((SSL_CTX_get_options(ctx) & SSL_OP_NO_TLSv1_1) != 0);
	assert_true((SSL_CTX_get_options(ctx) & SSL_OP_NO_TLSv1_2) == 0);
}

static int count_of(bool (*is_counted)(const SSL_CIPHER *c))
{
	STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);
	int n = 0;

	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
		n += is_counted(sk_SSL_CIPHER_value(ciphers, i));
	return n;
}

static bool is_any(const SSL_CIPHER *c)
{
	(void)c;
	return true;
}

static bool is_ecdhe(const SSL_CIPHER *c)
{
	return SSL_CIPHER_get_kx_nid(c) == NID_kx_ecdhe;
}

static bool is_dhe(const SSL_CIPHER *c)
{
	return SSL_CIPHER_get_kx_nid(c) == NID_kx_dhe;
}

static bool is_tls13(const SSL_CIPHER *c)
{
	return SSL_CIPHER_get_kx_nid(c) == NID_kx_any;
}

static bool is_anonymous_or_clear(const SSL_CIPHER *c)
{
	return SSL_CIPHER_get_auth_nid(c) == NID_auth_null || SSL_CIPHER_get_cipher_nid(c) == NID_undef;
}

static void keywords_for_ciphers_keep_those_of_openssl(void **state)
{
	static const char *const words[] = {"", "default", "secure", "Fast", "normal"};
	int before = count_of(is_any);

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		options.ciphers = words[i];
		assert_true(apply());
		assert_int_equal(count_of(is_any), before);
	}
}

static void all_ciphers_are_more_but_none_without_authentication_or_encryption(void **state)
{
	int before = count_of(is_any);

	(void)state;
	options.ciphers = "all";
	assert_true(apply());
	assert_true(count_of(is_any) > before);
	assert_int_equal(count_of(is_anonymous_or_clear), 0);
}

static void ciphers_are_taken_as_openssl_writes_them(void **state)
{
	(void)state;
	options.ciphers = "ECDHE-RSA-AES128-GCM-SHA256:@STRENGTH:@SECLEVEL=0";
	options.tls13_ciphers = "TLS_AES_128_GCM_SHA256";
	assert_true(apply());
	assert_int_equal(SSL_CTX_get_security_level(ctx), 0);
	assert_int_equal(count_of(is_any), 2);
}

static void unknown_ciphers_are_refused(void **state)
{
	(void)state;
	options.ciphers = "ROT13";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls_ciphers: no known cipher in: \"ROT13\"");
	strbuf_reset(&error);
	options.ciphers = "";
	options.tls13_ciphers = "TLS_ROT13";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls13_ciphers: no known cipher suite in: \"TLS_ROT13\"");
}

static void no_curve_means_no_ecdhe_before_tls_1_3(void **state)
{
	int before = count_of(is_dhe), tls13 = count_of(is_tls13);

	(void)state;
	assert_true(count_of(is_ecdhe) > 0);
	options.ecdhcurve = "none";
	assert_true(apply());
	assert_int_equal(count_of(is_ecdhe), 0);
	assert_int_equal(count_of(is_dhe), before);
	assert_int_equal(count_of(is_tls13), tls13);
}

static void no_curve_and_only_ecdhe_ciphers_contradict_each_other(void **state)
{
	(void)state;
	options.ciphers = "ECDHE+AESGCM";
	options.ecdhcurve = "none";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls_ecdhcurve: leaves no cipher: \"none\"");
}

static void curves_are_known_by_name_one_or_several(void **state)
{
	static const char *const good[] = {"auto", "", "X25519", "prime256v1", "secp384r1", "X25519, P-256:P-384"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		options.ecdhcurve = good[i];
		assert_true(apply());
	}
	options.ecdhcurve = "prime256v1,circle";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls_ecdhcurve: unknown curve: \"prime256v1,circle\"");
}

static void dh_parameters_are_three_words(void **state)
{
	static const char *const good[] = {"", "auto", "none", "legacy"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		options.dheparams = good[i];
		assert_true(apply());
	}
	options.dheparams = "/etc/dh.pem";
	assert_false(apply());
	assert_string_equal(error.p, "client_tls_dheparams: must be none, auto or legacy, not: \"/etc/dh.pem\"");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lists_of_protocols_are_understood),
		TEST(the_word_that_is_no_protocol_is_named),
		TEST(a_list_that_leaves_no_protocol_is_refused),
		TEST(protocols_bound_the_versions_also_below_the_systems),
		TEST(keywords_for_ciphers_keep_those_of_openssl),
		TEST(all_ciphers_are_more_but_none_without_authentication_or_encryption),
		TEST(ciphers_are_taken_as_openssl_writes_them),
		TEST(unknown_ciphers_are_refused),
		TEST(no_curve_means_no_ecdhe_before_tls_1_3),
		TEST(no_curve_and_only_ecdhe_ciphers_contradict_each_other),
		TEST(curves_are_known_by_name_one_or_several),
		TEST(dh_parameters_are_three_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
