#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "auth/server_auth.h"
#include "proto/out.h"

#define SALT "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81"
#define CHANNEL "the hash of a certificate"
#define PLAIN_OFFER "SCRAM-SHA-256\0"
#define OFFER "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0"

static struct keycache *cache;
static struct strbuf out;

static int begin(void **state)
{
	(void)state;
	cache = keycache_new(100);
	strbuf_init(&out);
	return cache != NULL ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	keycache_free(&cache);
	strbuf_fini(&out);
	return 0;
}

static struct server_auth *login(const char *secret, enum secret_type type, const struct scram_keys *keys)
{
	const struct credentials credentials = {.user = "ann", .secret = secret, .type = type, .keys = keys};
	struct server_auth *a = server_auth_new(&credentials, cache);

	assert_non_null(a);
	strbuf_reset(&out);
	return a;
}

/* The server's message, in memory of just its size. */
static enum auth_step hear(struct server_auth *a, uint32_t code, const void *data, size_t n)
{
	uint8_t *copy = malloc(4 + n);
	struct msg m = {'R', (uint32_t)(4 + n), (uint32_t)(4 + n), copy};
	enum auth_step step;

	copy[0] = (uint8_t)(code >> 24);
	copy[1] = (uint8_t)(code >> 16);
	copy[2] = (uint8_t)(code >> 8);
	copy[3] = (uint8_t)code;
	if (n > 0)
		memcpy(copy + 4, data, n);
	strbuf_reset(&out);
	step = server_auth_step(a, &m, &out);
	if (step == AUTH_FAILED)
		assert_int_equal(out.n, 0);
	free(copy);
	return step;
}

/* A login with the password "pencil" over TLS. */
static struct server_auth *tls_login(struct slice channel, bool required)
{
	const struct credentials credentials = {
		.user = "ann",
		.secret = "pencil",
		.type = SECRET_PLAIN,
		.channel_binding = channel,
		.channel_binding_required = required,
	};
	struct server_auth *a = server_auth_new(&credentials, cache);

	assert_non_null(a);
	return a;
}

static struct slice answer(void)
{
	struct msg m = {0};

	assert_int_equal(msg_peek((const uint8_t *)out.p, out.n, UINT32_MAX, &m), PEEK_OK);
	assert_int_equal(m.type, 'p');
	assert_int_equal(m.len + 5, out.n);
	return (struct slice){(const char *)m.body, m.have};
}

static void assert_error(struct server_auth **a, const char *sqlstate, const char *text)
{
	assert_string_equal(server_auth_error(*a)->sqlstate, sqlstate);
	assert_non_null(strstr(server_auth_error(*a)->text, text));
	server_auth_free(a);
	assert_null(*a);
}

static void trust_needs_nothing(void **state)
{
	struct server_auth *a = login(NULL, SECRET_NONE, NULL);

	(void)state;
	assert_int_equal(hear(a, 0, "", 0), AUTH_OK);
	assert_int_equal(out.n, 0);
	assert_int_equal(hear(a, 0, "", 0), AUTH_FAILED);
	server_auth_free(&a);
}

static void a_cleartext_password_is_sent_when_it_is_known(void **state)
{
	struct server_auth *a = login("secret", SECRET_PLAIN, NULL);

	(void)state;
	assert_int_equal(hear(a, 3, "", 0), AUTH_CONTINUE);
	assert_int_equal(answer().n, 7);
	assert_string_equal(answer().p, "secret");
	assert_int_equal(hear(a, 0, "", 0), AUTH_OK);
	server_auth_free(&a);
	a = login("md59d792a3a8853c2411afb9163d088c036", SECRET_MD5, NULL);
	assert_int_equal(hear(a, 3, "", 0), AUTH_FAILED);
	assert_error(&a, "28000", "cleartext password, but only an md5 hash");
	a = login(NULL, SECRET_NONE, NULL);
	assert_int_equal(hear(a, 3, "", 0), AUTH_FAILED);
	assert_error(&a, "28P01", "no password is known");
	a = login("", SECRET_PLAIN, NULL);
	assert_int_equal(hear(a, 3, "", 0), AUTH_FAILED);
	assert_error(&a, "28P01", "no password is known");
}

static void md5_is_answered_from_plain_and_hash(void **state)
{
	static const struct {
		const char *secret;
		enum secret_type type;
	} known[] = {{"secret", SECRET_PLAIN}, {"md59d792a3a8853c2411afb9163d088c036", SECRET_MD5}};
	struct server_auth *a;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		a = login(known[i].secret, known[i].type, NULL);
		assert_int_equal(hear(a, 5, "\1\2\3\4", 4), AUTH_CONTINUE);
		assert_int_equal(answer().n, 36);
		assert_string_equal(answer().p, "md59009ce60b9ca97f1e752376843d1309e");
		assert_int_equal(hear(a, 0, "", 0), AUTH_OK);
		server_auth_free(&a);
	}
	a = login("SCRAM-SHA-256$...", SECRET_SCRAM, NULL);
	assert_int_equal(hear(a, 5, "\1\2\3\4", 4), AUTH_FAILED);
	assert_error(&a, "28000", "md5 authentication, but only a SCRAM verifier");
	for (size_t n = 0; n < 6; n++) {
		a = login("secret", SECRET_PLAIN, NULL);
		assert_int_equal(hear(a, 5, "\1\2\3\4\5", n), n == 4 ? AUTH_CONTINUE : AUTH_FAILED);
		server_auth_free(&a);
	}
}

/* A PostgreSQL that knows ann by the password "pencil". */
static void init_postgres(struct scram_server *s)
{
	struct scram_keys k;

	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	scram_server_init(s, &k);
}

/* From the offer to the challenge. */
static enum auth_step challenge(struct server_auth *a, struct scram_server *s)
{
	struct strbuf reply;
	struct cursor c;
	uint32_t n;
	enum auth_step step;

	strbuf_init(&reply);
	init_postgres(s);
	assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_CONTINUE);
	c = cursor_of((const uint8_t *)answer().p, answer().n);
	assert_true(slice_is(cursor_string(&c), SCRAM_MECHANISM));
	n = cursor_u32(&c);
	assert_int_equal(n, cursor_left(&c));
	assert_int_equal(scram_server_first(s, cursor_bytes(&c, n), &reply), SCRAM_OK);
	step = hear(a, 11, reply.p, reply.n);
	strbuf_fini(&reply);
	return step;
}

static void assert_scram_works(struct server_auth *a)
{
	struct scram_server s;
	struct strbuf reply;

	strbuf_init(&reply);
	assert_int_equal(challenge(a, &s), AUTH_CONTINUE);
	assert_int_equal(scram_server_final(&s, answer(), &reply), SCRAM_OK);
	assert_int_equal(hear(a, 12, reply.p, reply.n), AUTH_CONTINUE);
	assert_int_equal(out.n, 0);
	assert_int_equal(hear(a, 0, "", 0), AUTH_OK);
	scram_server_fini(&s);
	strbuf_fini(&reply);
	server_auth_free(&a);
}

static void scram_works_with_a_plain_secret_derived_once(void **state)
{
	(void)state;
	assert_scram_works(login("pencil", SECRET_PLAIN, NULL));
	assert_int_equal(keycache_count(cache), 1);
	assert_scram_works(login("pencil", SECRET_PLAIN, NULL));
	assert_int_equal(keycache_count(cache), 1);
}

static void scram_works_with_the_keys_of_a_client(void **state)
{
	struct scram_keys k;
	struct scram_server s;
	struct server_auth *a;

	(void)state;
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	assert_scram_works(login("SCRAM-SHA-256$...", SECRET_SCRAM, &k));
	assert_scram_works(login(NULL, SECRET_NONE, &k));
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT("another salt"), 4096));
	a = login("SCRAM-SHA-256$...", SECRET_SCRAM, &k);
	assert_int_equal(challenge(a, &s), AUTH_FAILED);
	scram_server_fini(&s);
	assert_non_null(strstr(server_auth_error(a)->detail, "another salt or iteration count"));
	assert_error(&a, "28000", "do not fit the server's verifier");
}

static void scram_needs_more_than_a_hash_or_verifier(void **state)
{
	struct server_auth *a = login("md59d792a3a8853c2411afb9163d088c036", SECRET_MD5, NULL);
	struct scram_keys verifier;

	(void)state;
	assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_FAILED);
	assert_error(&a, "28000", "SCRAM-SHA-256 authentication, but only an md5 hash");
	assert_true(scram_keys_derive(&verifier, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	verifier.has_client_key = false;
	a = login("SCRAM-SHA-256$...", SECRET_SCRAM, &verifier);
	assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_FAILED);
	assert_error(&a, "28000", "only a SCRAM verifier");
}

/* Our SASLInitialResponse to this offer: its data; *mechanism is the one selected. */
static struct slice respond(struct server_auth *a, const char *offer, size_t n, struct slice *mechanism)
{
	struct cursor c;

	assert_int_equal(hear(a, 10, offer, n), AUTH_CONTINUE);
	c = cursor_of((const uint8_t *)answer().p, answer().n);
	*mechanism = cursor_string(&c);
	n = cursor_u32(&c);
	assert_int_equal(n, cursor_left(&c));
	return cursor_bytes(&c, (uint32_t)n);
}

/* To a PostgreSQL that has this channel. */
static enum scram_result bound_login(struct server_auth *a, struct slice channel)
{
	struct scram_server s;
	struct strbuf reply;
	struct slice mechanism, first;
	enum scram_result result;

	strbuf_init(&reply);
	init_postgres(&s);
	s.channel = (struct scram_channel){SCRAM_BINDING_USED, channel};
	first = respond(a, OFFER, sizeof(OFFER), &mechanism);
	assert_true(slice_is(mechanism, SCRAM_MECHANISM_PLUS));
	assert_int_equal(scram_server_first(&s, first, &reply), SCRAM_OK);
	assert_int_equal(hear(a, 11, reply.p, reply.n), AUTH_CONTINUE);
	strbuf_reset(&reply);
	result = scram_server_final(&s, answer(), &reply);
	if (result == SCRAM_OK) {
		assert_int_equal(hear(a, 12, reply.p, reply.n), AUTH_CONTINUE);
		assert_int_equal(hear(a, 0, "", 0), AUTH_OK);
	}
	scram_server_fini(&s);
	strbuf_fini(&reply);
	server_auth_free(&a);
	return result;
}

static void over_tls_the_login_is_bound_if_the_server_offers_it(void **state)
{
	(void)state;
	assert_int_equal(bound_login(tls_login(SLICE_LIT(CHANNEL), false), SLICE_LIT(CHANNEL)), SCRAM_OK);
	assert_int_equal(bound_login(tls_login(SLICE_LIT(CHANNEL), true), SLICE_LIT(CHANNEL)), SCRAM_OK);
	assert_int_equal(bound_login(tls_login(SLICE_LIT(CHANNEL), false), SLICE_LIT("another's")), SCRAM_MALFORMED);
}

static void plus_alone_is_enough_over_tls(void **state)
{
	struct server_auth *a = tls_login(SLICE_LIT(CHANNEL), false);
	struct slice mechanism;

	(void)state;
	respond(a, "SCRAM-SHA-256-PLUS\0", 20, &mechanism);
	assert_true(slice_is(mechanism, SCRAM_MECHANISM_PLUS));
	server_auth_free(&a);
}

static void a_server_is_told_whether_we_could_have_bound(void **state)
{
	static const struct {
		struct slice channel;
		const char *offer;
		size_t n;
		const char *flag;
	} cases[] = {
		{{CHANNEL, sizeof(CHANNEL) - 1}, PLAIN_OFFER, sizeof(PLAIN_OFFER), "y,,"},
		{{"", 0}, PLAIN_OFFER, sizeof(PLAIN_OFFER), "n,,"},
		{{"", 0}, OFFER, sizeof(OFFER), "n,,"},
	};
	struct slice mechanism, first;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct server_auth *a = tls_login(cases[i].channel, false);

		first = respond(a, cases[i].offer, cases[i].n, &mechanism);
		assert_true(slice_is(mechanism, SCRAM_MECHANISM));
		assert_true(first.n > 3);
		assert_memory_equal(first.p, cases[i].flag, 3);
		server_auth_free(&a);
	}
}

static void required_binding_refuses_everything_else(void **state)
{
	static const uint32_t codes[] = {0, 2, 3, 5, 7, 9, 11, 12, 13};
	struct server_auth *a;

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		a = tls_login(SLICE_LIT(CHANNEL), true);
		assert_int_equal(hear(a, codes[i], "\1\2\3\4", 4), AUTH_FAILED);
		assert_error(&a, "28000", "does not offer SCRAM-SHA-256-PLUS");
	}
	a = tls_login(SLICE_LIT(CHANNEL), true);
	assert_int_equal(hear(a, 10, PLAIN_OFFER, sizeof(PLAIN_OFFER)), AUTH_FAILED);
	assert_error(&a, "28000", "does not offer SCRAM-SHA-256-PLUS");
	a = tls_login(SLICE_LIT(""), true);
	assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_FAILED);
	assert_error(&a, "28000", "is not TLS or has a certificate that cannot be bound to");
	a = tls_login(SLICE_LIT(CHANNEL), true);
	assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_CONTINUE);
	assert_int_equal(hear(a, 0, "", 0), AUTH_FAILED);
	assert_error(&a, "28000", "without proving");
}

static void a_list_of_mechanisms_is_read_whole(void **state)
{
	struct server_auth *a;

	(void)state;
	for (size_t n = 0; n < sizeof(OFFER); n++) {
		a = login("pencil", SECRET_PLAIN, NULL);
		assert_int_equal(hear(a, 10, OFFER, n), AUTH_FAILED);
		assert_error(&a, "08P01", "malformed");
		a = tls_login(SLICE_LIT(CHANNEL), true);
		assert_int_equal(hear(a, 10, OFFER, n), AUTH_FAILED);
		assert_error(&a, "08P01", "malformed");
	}
	a = login("pencil", SECRET_PLAIN, NULL);
	assert_int_equal(hear(a, 10, "SCRAM-SHA-256-PLUS\0", 20), AUTH_FAILED);
	assert_error(&a, "28000", "no SASL mechanism that is supported");
}

static void a_server_must_prove_that_it_knows_the_password(void **state)
{
	struct server_auth *a = login("pencil", SECRET_PLAIN, NULL);
	struct scram_server s;

	(void)state;
	assert_int_equal(challenge(a, &s), AUTH_CONTINUE);
	scram_server_fini(&s);
	assert_int_equal(hear(a, 12, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", 46), AUTH_FAILED);
	assert_error(&a, "28P01", "did not prove");
	a = login("pencil", SECRET_PLAIN, NULL);
	assert_int_equal(challenge(a, &s), AUTH_CONTINUE);
	scram_server_fini(&s);
	assert_int_equal(hear(a, 0, "", 0), AUTH_FAILED);
	assert_error(&a, "28000", "without proving");
	a = login("pencil", SECRET_PLAIN, NULL);
	assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_CONTINUE);
	assert_int_equal(hear(a, 0, "", 0), AUTH_FAILED);
	assert_error(&a, "28000", "without proving");
}

static void a_server_asks_once_and_in_order(void **state)
{
	static const uint32_t codes[] = {3, 5, 10, 11, 12, 7};
	struct server_auth *a;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		a = login("pencil", SECRET_PLAIN, NULL);
		assert_int_equal(hear(a, 3, "", 0), AUTH_CONTINUE);
		assert_int_equal(hear(a, codes[i], "\1\2\3\4", 4), AUTH_FAILED);
		assert_error(&a, "08P01", "unexpected");
	}
	for (size_t i = 0; i < 5; i++) {
		if (codes[i] == 11)
			continue;
		a = login("pencil", SECRET_PLAIN, NULL);
		assert_int_equal(hear(a, 10, OFFER, sizeof(OFFER)), AUTH_CONTINUE);
		assert_int_equal(hear(a, codes[i], "\1\2\3\4", 4), AUTH_FAILED);
		assert_error(&a, "08P01", "unexpected");
	}
	a = login("pencil", SECRET_PLAIN, NULL);
	assert_int_equal(hear(a, 11, "r=x,s=AAAA,i=1", 14), AUTH_FAILED);
	assert_error(&a, "08P01", "unexpected");
}

static void unsupported_methods_are_named(void **state)
{
	static const struct {
		uint32_t code;
		const char *name;
	} methods[] = {{2, "Kerberos V5"}, {7, "GSSAPI"}, {9, "SSPI"}, {8, "(8)"}, {13, "(13)"}, {UINT32_MAX, "(4294967295)"}};
	struct server_auth *a;

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		a = login("pencil", SECRET_PLAIN, NULL);
		assert_int_equal(hear(a, methods[i].code, "", 0), AUTH_FAILED);
		assert_error(&a, "28000", methods[i].name);
	}
}

static void a_message_is_waited_for_unless_its_length_is_impossible(void **state)
{
	struct server_auth *a = login("pencil", SECRET_PLAIN, NULL);
	struct msg m = {'R', 4, 3, (const uint8_t *)"\0\0\0\0"};

	(void)state;
	assert_int_equal(server_auth_step(a, &m, &out), AUTH_SHORT);
	m.have = 4;
	assert_int_equal(server_auth_step(a, &m, &out), AUTH_OK);
	server_auth_free(&a);
	for (uint32_t len = 0; len < 4; len++) {
		a = login("pencil", SECRET_PLAIN, NULL);
		m.len = m.have = len;
		assert_int_equal(server_auth_step(a, &m, &out), AUTH_FAILED);
		server_auth_free(&a);
	}
	a = login("pencil", SECRET_PLAIN, NULL);
	m.len = AUTH_MESSAGE_MAX + 1;
	assert_int_equal(server_auth_step(a, &m, &out), AUTH_FAILED);
	server_auth_free(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(trust_needs_nothing),
		TEST(a_cleartext_password_is_sent_when_it_is_known),
		TEST(md5_is_answered_from_plain_and_hash),
		TEST(scram_works_with_a_plain_secret_derived_once),
		TEST(scram_works_with_the_keys_of_a_client),
		TEST(scram_needs_more_than_a_hash_or_verifier),
		TEST(over_tls_the_login_is_bound_if_the_server_offers_it),
		TEST(plus_alone_is_enough_over_tls),
		TEST(a_server_is_told_whether_we_could_have_bound),
		TEST(required_binding_refuses_everything_else),
		TEST(a_list_of_mechanisms_is_read_whole),
		TEST(a_server_must_prove_that_it_knows_the_password),
		TEST(a_server_asks_once_and_in_order),
		TEST(unsupported_methods_are_named),
		TEST(a_message_is_waited_for_unless_its_length_is_impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
