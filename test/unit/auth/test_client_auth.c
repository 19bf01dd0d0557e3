#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/client_auth.h"
#include "auth/md5.h"
#include "proto/out.h"

#define MD5_OF_SECRET_ANN "md59d792a3a8853c2411afb9163d088c036"   /* password "secret" */
#define SCRAM_OF_PENCIL                                              \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"               \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static const uint8_t mock_key[CLIENT_AUTH_MOCK_KEY_SIZE] = "0123456789abcdef0123456789abcde";
#define CHANNEL "the hash of a certificate"

static struct keycache *cache;
static struct strbuf out;
static struct slice channel;   /* of the next login; empty: no TLS */

static int begin(void **state)
{
	(void)state;
	channel = SLICE_LIT("");
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

/* A login as ann; secret NULL: there is no ann. */
static struct client_auth *login(enum auth_type type, const char *secret, enum secret_type mock_type)
{
	struct userlist_entry entry = {.name = "ann", .secret = secret};
	struct client_auth_params params = {
		.type = type,
		.user = SLICE_LIT("ann"),
		.mock_type = mock_type,
		.mock_key = mock_key,
		.scram_iterations = 4096,
		.keys = cache,
		.channel_binding = channel,
	};
	struct client_auth *a;

	if (secret != NULL) {
		entry.type = secret_type_of(secret);
		params.entry = &entry;
	}
	a = client_auth_new(&params);
	assert_non_null(a);
	strbuf_reset(&out);
	return a;
}

/* The body of the one message in out, an 'R' with this code. */
static struct slice request(uint32_t code)
{
	struct msg m = {0};
	struct cursor c;

	assert_int_equal(msg_peek((const uint8_t *)out.p, out.n, UINT32_MAX, &m), PEEK_OK);
	assert_int_equal(m.type, 'R');
	assert_int_equal(m.len + 5, out.n);
	c = msg_cursor(&m);
	assert_int_equal(cursor_u32(&c), code);
	return cursor_bytes(&c, cursor_left(&c));
}

/* In memory of just the size, so that a read past the end is caught. */
static enum auth_step answer(struct client_auth *a, const void *body, size_t n)
{
	uint8_t *copy = malloc(n);
	struct msg m = {'p', (uint32_t)n, (uint32_t)n, copy};
	enum auth_step step;

	if (n > 0)
		memcpy(copy, body, n);
	strbuf_reset(&out);
	step = client_auth_step(a, &m, &out);
	if (step == AUTH_FAILED)
		assert_int_equal(out.n, 0);
	free(copy);
	return step;
}

static enum auth_step answer_text(struct client_auth *a, const char *text)
{
	return answer(a, text, strlen(text) + 1);
}

static void assert_error(const struct client_auth *a, const char *sqlstate, const char *text)
{
	assert_string_equal(client_auth_error(a)->sqlstate, sqlstate);
	assert_string_equal(client_auth_error(a)->text, text);
}

static void only_those_who_are_let_in_unasked_need_no_exchange(void **state)
{
	const struct userlist_entry known = {.name = "app", .secret = ""};

	(void)state;
	assert_true(client_auth_asks_nothing(AUTH_TYPE_ANY, NULL));
	assert_true(client_auth_asks_nothing(AUTH_TYPE_TRUST, &known));
	assert_false(client_auth_asks_nothing(AUTH_TYPE_TRUST, NULL));
	assert_false(client_auth_asks_nothing(AUTH_TYPE_PLAIN, &known));
	assert_false(client_auth_asks_nothing(AUTH_TYPE_MD5, &known));
	assert_false(client_auth_asks_nothing(AUTH_TYPE_SCRAM_SHA_256, &known));
}

static void any_and_trust_ask_nothing(void **state)
{
	struct client_auth *a = login(AUTH_TYPE_ANY, NULL, SECRET_PLAIN);

	(void)state;
	assert_int_equal(client_auth_start(a, &out), AUTH_OK);
	client_auth_free(&a);
	a = login(AUTH_TYPE_TRUST, "", SECRET_PLAIN);
	assert_int_equal(client_auth_start(a, &out), AUTH_OK);
	assert_int_equal(out.n, 0);
	assert_int_equal(client_auth_password(a).n, 0);
	assert_null(client_auth_keys(a));
	client_auth_free(&a);
	a = login(AUTH_TYPE_TRUST, NULL, SECRET_PLAIN);
	assert_int_equal(client_auth_start(a, &out), AUTH_FAILED);
	assert_error(a, "28000", "\"trust\" authentication failed");
	client_auth_free(&a);
	assert_null(a);
}

static bool plain_login(const char *secret, enum secret_type mock_type, const char *password)
{
	struct client_auth *a = login(AUTH_TYPE_PLAIN, secret, mock_type);
	bool ok;

	assert_int_equal(client_auth_start(a, &out), AUTH_CONTINUE);
	assert_int_equal(request(3).n, 0);
	ok = answer_text(a, password) == AUTH_OK;
	if (ok)
		assert_true(slice_is(client_auth_password(a), password));
	else
		assert_error(a, "28P01", "password authentication failed");
	assert_int_equal(answer_text(a, password), AUTH_FAILED);      /* it is over */
	client_auth_free(&a);
	return ok;
}

static void plain_checks_every_kind_of_secret(void **state)
{
	(void)state;
	assert_true(plain_login("secret", SECRET_PLAIN, "secret"));
	assert_false(plain_login("secret", SECRET_PLAIN, "secre"));
	assert_false(plain_login("secret", SECRET_PLAIN, "secrets"));
	assert_true(plain_login(MD5_OF_SECRET_ANN, SECRET_PLAIN, "secret"));
	assert_false(plain_login(MD5_OF_SECRET_ANN, SECRET_PLAIN, MD5_OF_SECRET_ANN));
	assert_true(plain_login(SCRAM_OF_PENCIL, SECRET_PLAIN, "pencil"));
	assert_true(plain_login(SCRAM_OF_PENCIL, SECRET_PLAIN, "pencil"));
	assert_false(plain_login(SCRAM_OF_PENCIL, SECRET_PLAIN, "Pencil"));
	assert_false(plain_login(SCRAM_OF_PENCIL, SECRET_PLAIN, SCRAM_OF_PENCIL));
}

static void only_right_passwords_enter_the_cache(void **state)
{
	(void)state;
	plain_login(SCRAM_OF_PENCIL, SECRET_PLAIN, "wrong");
	plain_login(NULL, SECRET_SCRAM, "wrong");
	assert_int_equal(keycache_count(cache), 0);
	plain_login(SCRAM_OF_PENCIL, SECRET_PLAIN, "pencil");
	assert_int_equal(keycache_count(cache), 1);
}

static void nobody_gets_in_by_a_made_up_secret(void **state)
{
	const uint8_t *k = mock_key;

	(void)state;
	for (enum secret_type mock = SECRET_NONE; mock <= SECRET_SCRAM; mock++) {
		assert_false(plain_login(NULL, mock, "md5"));
		assert_false(plain_login("", mock, "x"));
		assert_false(plain_login(NULL, mock, (const char *)k));
	}
}

static void an_empty_password_is_always_refused(void **state)
{
	static const enum auth_type types[] = {AUTH_TYPE_PLAIN, AUTH_TYPE_MD5};
	static const char *const secrets[] = {NULL, "", "secret", MD5_OF_SECRET_ANN};

	(void)state;
	for (size_t t = 0; t < 2; t++) {
		for (size_t s = 0; s < 4; s++) {
			struct client_auth *a = login(types[t], secrets[s], SECRET_PLAIN);

			client_auth_start(a, &out);
			assert_int_equal(answer_text(a, ""), AUTH_FAILED);
			assert_error(a, "28P01", "empty password returned by client");
			client_auth_free(&a);
		}
	}
}

static void malformed_password_messages_are_refused(void **state)
{
	static const struct {
		const char *body;
		size_t n;
	} bad[] = {{"", 0}, {"secret", 6}, {"secret\0", 8}, {"secret\0x", 8}};
	struct client_auth *a;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		a = login(AUTH_TYPE_PLAIN, "secret", SECRET_PLAIN);
		client_auth_start(a, &out);
		assert_int_equal(answer(a, bad[i].body, bad[i].n), AUTH_FAILED);
		assert_error(a, "08P01", "password authentication failed");
		client_auth_free(&a);
	}
}

static void a_message_is_waited_for_unless_it_is_too_long(void **state)
{
	struct client_auth *a = login(AUTH_TYPE_PLAIN, "secret", SECRET_PLAIN);
	struct msg m = {'p', 7, 6, (const uint8_t *)"secret"};

	(void)state;
	client_auth_start(a, &out);
	assert_int_equal(client_auth_step(a, &m, &out), AUTH_SHORT);
	m.have = 7;
	assert_int_equal(client_auth_step(a, &m, &out), AUTH_OK);
	client_auth_free(&a);
	a = login(AUTH_TYPE_PLAIN, "secret", SECRET_PLAIN);
	client_auth_start(a, &out);
	m.len = AUTH_MESSAGE_MAX + 1;
	assert_int_equal(client_auth_step(a, &m, &out), AUTH_FAILED);
	assert_error(a, "08P01", "password too long");
	client_auth_free(&a);
}

static bool md5_login(const char *secret, enum secret_type mock_type, const char *password)
{
	struct client_auth *a = login(AUTH_TYPE_MD5, secret, mock_type);
	char stored[MD5_TEXT_SIZE], response[MD5_TEXT_SIZE];
	struct slice salt;
	bool ok;

	assert_int_equal(client_auth_start(a, &out), AUTH_CONTINUE);
	salt = request(5);
	assert_int_equal(salt.n, MD5_SALT_SIZE);
	assert_true(md5_secret(slice_of(password), SLICE_LIT("ann"), stored));
	assert_true(md5_response(stored, (const uint8_t *)salt.p, response));
	ok = answer_text(a, response) == AUTH_OK;
	if (!ok)
		assert_error(a, "28P01", "password authentication failed");
	client_auth_free(&a);
	return ok;
}

static void md5_checks_md5_and_plain_secrets(void **state)
{
	(void)state;
	assert_true(md5_login("secret", SECRET_SCRAM, "secret"));
	assert_true(md5_login(MD5_OF_SECRET_ANN, SECRET_SCRAM, "secret"));
	assert_false(md5_login("secret", SECRET_SCRAM, "other"));
	assert_false(md5_login(MD5_OF_SECRET_ANN, SECRET_SCRAM, "other"));
	assert_false(md5_login(NULL, SECRET_MD5, "secret"));
	assert_false(md5_login(NULL, SECRET_PLAIN, "secret"));
	assert_false(md5_login("", SECRET_PLAIN, ""));
}

static void sasl_initial(struct strbuf *b, const char *mechanism, struct slice data)
{
	strbuf_reset(b);
	out_string(b, mechanism);
	out_u32(b, (uint32_t)data.n);
	strbuf_add_slice(b, data);
}

/* Runs the client's part with a password, bound or not to a channel. */
static enum auth_step bound_answers(struct client_auth *a, const char *password, struct scram_channel bound)
{
	const char *mechanism = bound.binding == SCRAM_BINDING_USED ? SCRAM_MECHANISM_PLUS : SCRAM_MECHANISM;
	struct strbuf text, body;
	struct scram_client c;
	struct scram_keys keys;
	enum auth_step step;

	strbuf_init(&text);
	strbuf_init(&body);
	scram_client_init(&c);
	c.channel = bound;
	scram_client_first(&c, &text);
	sasl_initial(&body, mechanism, strbuf_slice(&text));
	assert_int_equal(answer(a, body.p, body.n), AUTH_CONTINUE);
	assert_int_equal(scram_client_challenge(&c, request(11)), SCRAM_OK);
	assert_true(scram_keys_derive(&keys, slice_of(password), (struct slice){(const char *)c.salt, c.salt_len},
				      c.iterations));
	strbuf_reset(&text);
	assert_int_equal(scram_client_final(&c, &keys, &text), SCRAM_OK);
	step = answer(a, text.p, text.n);
	if (step == AUTH_OK) {
		assert_int_equal(scram_client_verify(&c, request(12)), SCRAM_OK);
		assert_memory_equal(client_auth_keys(a)->client_key, keys.client_key, SCRAM_KEY_SIZE);
	}
	scram_client_fini(&c);
	strbuf_fini(&text);
	strbuf_fini(&body);
	return step;
}

static enum auth_step scram_answers(struct client_auth *a, const char *password)
{
	return bound_answers(a, password, (struct scram_channel){.binding = SCRAM_BINDING_NONE});
}

static bool scram_login(enum auth_type type, const char *secret, enum secret_type mock_type, const char *password)
{
	struct client_auth *a = login(type, secret, mock_type);
	struct slice mechanisms;
	bool ok;

	assert_int_equal(client_auth_start(a, &out), AUTH_CONTINUE);
	mechanisms = request(10);
	assert_int_equal(mechanisms.n, sizeof("SCRAM-SHA-256\0"));
	assert_memory_equal(mechanisms.p, "SCRAM-SHA-256\0", mechanisms.n);
	ok = scram_answers(a, password) == AUTH_OK;
	if (!ok) {
		assert_error(a, "28P01", "SASL authentication failed");
		assert_null(client_auth_keys(a));
	}
	client_auth_free(&a);
	return ok;
}

static void scram_checks_verifiers_and_plain_secrets(void **state)
{
	(void)state;
	assert_true(scram_login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL, SECRET_PLAIN, "pencil"));
	assert_false(scram_login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL, SECRET_PLAIN, "Pencil"));
	assert_true(scram_login(AUTH_TYPE_SCRAM_SHA_256, "secret", SECRET_PLAIN, "secret"));
	assert_false(scram_login(AUTH_TYPE_SCRAM_SHA_256, "secret", SECRET_PLAIN, "other"));
	assert_true(scram_login(AUTH_TYPE_MD5, SCRAM_OF_PENCIL, SECRET_PLAIN, "pencil"));
	assert_false(scram_login(AUTH_TYPE_MD5, SCRAM_OF_PENCIL, SECRET_PLAIN, "Pencil"));
}

static void scram_refuses_an_md5_secret_like_an_unknown_user(void **state)
{
	(void)state;
	for (enum secret_type mock = SECRET_NONE; mock <= SECRET_SCRAM; mock++) {
		assert_false(scram_login(AUTH_TYPE_SCRAM_SHA_256, MD5_OF_SECRET_ANN, mock, "secret"));
		assert_false(scram_login(AUTH_TYPE_SCRAM_SHA_256, NULL, mock, "secret"));
		assert_false(scram_login(AUTH_TYPE_SCRAM_SHA_256, "", mock, ""));
	}
	assert_false(scram_login(AUTH_TYPE_MD5, NULL, SECRET_SCRAM, "secret"));
}

/* The salt and iteration count that a login is asked with. */
static void challenge_of(const char *secret, enum secret_type mock_type, struct scram_client *c)
{
	struct client_auth *a = login(AUTH_TYPE_SCRAM_SHA_256, secret, mock_type);
	struct strbuf text, body;

	strbuf_init(&text);
	strbuf_init(&body);
	client_auth_start(a, &out);
	scram_client_init(c);
	scram_client_first(c, &text);
	sasl_initial(&body, SCRAM_MECHANISM, strbuf_slice(&text));
	assert_int_equal(answer(a, body.p, body.n), AUTH_CONTINUE);
	assert_int_equal(scram_client_challenge(c, request(11)), SCRAM_OK);
	strbuf_fini(&text);
	strbuf_fini(&body);
	client_auth_free(&a);
}

static void an_unknown_user_is_challenged_as_a_known_one(void **state)
{
	struct scram_client first, again, known, verifier;

	(void)state;
	challenge_of(NULL, SECRET_PLAIN, &first);
	challenge_of(NULL, SECRET_SCRAM, &again);
	challenge_of("secret", SECRET_PLAIN, &known);
	challenge_of(SCRAM_OF_PENCIL, SECRET_PLAIN, &verifier);
	assert_int_equal(first.salt_len, verifier.salt_len);
	assert_int_equal(first.salt_len, again.salt_len);
	assert_memory_equal(first.salt, again.salt, first.salt_len);
	assert_memory_equal(first.salt, known.salt, first.salt_len);
	assert_int_equal(first.iterations, known.iterations);
	scram_client_fini(&first);
	scram_client_fini(&again);
	scram_client_fini(&known);
	scram_client_fini(&verifier);
}

static void a_plain_secret_costs_one_derivation_for_known_and_unknown(void **state)
{
	(void)state;
	scram_login(AUTH_TYPE_SCRAM_SHA_256, "secret", SECRET_PLAIN, "wrong");
	assert_int_equal(keycache_count(cache), 1);
	scram_login(AUTH_TYPE_SCRAM_SHA_256, "secret", SECRET_PLAIN, "secret");
	assert_int_equal(keycache_count(cache), 1);
	scram_login(AUTH_TYPE_SCRAM_SHA_256, NULL, SECRET_PLAIN, "wrong");
	assert_int_equal(keycache_count(cache), 2);
	scram_login(AUTH_TYPE_SCRAM_SHA_256, NULL, SECRET_PLAIN, "wrong");
	assert_int_equal(keycache_count(cache), 2);
}

static void assert_sasl_refused(const void *body, size_t n, const char *text)
{
	struct client_auth *a = login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL, SECRET_PLAIN);

	client_auth_start(a, &out);
	assert_int_equal(answer(a, body, n), AUTH_FAILED);
	assert_error(a, "08P01", text);
	client_auth_free(&a);
}

#define INITIAL "SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc"

static void malformed_sasl_messages_are_refused(void **state)
{
	struct client_auth *a = login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL, SECRET_PLAIN);

	(void)state;
	client_auth_start(a, &out);
	assert_int_equal(answer(a, INITIAL, sizeof(INITIAL) - 1), AUTH_CONTINUE);
	assert_int_equal(answer(a, "c=biws", 6), AUTH_FAILED);
	assert_error(a, "08P01", "SASL authentication failed");
	client_auth_free(&a);
	for (size_t n = 0; n < sizeof(INITIAL) - 1; n++)
		assert_sasl_refused(INITIAL, n, "SASL authentication failed");
	assert_sasl_refused(INITIAL, sizeof(INITIAL), "SASL authentication failed");
	assert_sasl_refused("SCRAM-SHA-256\0\xff\xff\xff\xff", 18, "SASL authentication failed");
	assert_sasl_refused("SCRAM-SHA-256\0\0\0\0\0", 18, "SASL authentication failed");
	assert_sasl_refused("SCRAM-SHA-1\0\0\0\0\x0bn,,n=,r=abc", 27,
			    "client selected an invalid SASL authentication mechanism");
	assert_sasl_refused("SCRAM-SHA-256-PLUS\0\0\0\0\x0bn,,n=,r=abc", 34,
			    "client selected an invalid SASL authentication mechanism");
	assert_sasl_refused("md59009ce60b9ca97f1e752376843d1309e", 36, "SASL authentication failed");
}

static void assert_offer(const char *offer, size_t n)
{
	struct slice mechanisms = request(10);

	assert_int_equal(mechanisms.n, n);
	assert_memory_equal(mechanisms.p, offer, n);
}

/* A login over TLS, just asked. */
static struct client_auth *tls_login(enum auth_type type, const char *secret)
{
	struct client_auth *a;

	channel = SLICE_LIT(CHANNEL);
	a = login(type, secret, SECRET_SCRAM);
	assert_int_equal(client_auth_start(a, &out), AUTH_CONTINUE);
	assert_offer("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", sizeof("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0"));
	return a;
}

static void over_tls_a_client_may_bind_its_login(void **state)
{
	static const char *const secrets[] = {SCRAM_OF_PENCIL, "pencil"};
	const struct scram_channel same = {SCRAM_BINDING_USED, SLICE_LIT(CHANNEL)};
	const struct scram_channel other = {SCRAM_BINDING_USED, SLICE_LIT("the hash of another's")};
	struct client_auth *a;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		a = tls_login(AUTH_TYPE_SCRAM_SHA_256, secrets[i]);
		assert_int_equal(bound_answers(a, "pencil", same), AUTH_OK);
		client_auth_free(&a);
		a = tls_login(AUTH_TYPE_SCRAM_SHA_256, secrets[i]);
		assert_int_equal(bound_answers(a, "Pencil", same), AUTH_FAILED);
		assert_error(a, "28P01", "SASL authentication failed");
		client_auth_free(&a);
		a = tls_login(AUTH_TYPE_SCRAM_SHA_256, secrets[i]);
		assert_int_equal(bound_answers(a, "pencil", other), AUTH_FAILED);
		assert_error(a, "08P01", "SASL authentication failed");
		client_auth_free(&a);
	}
	a = tls_login(AUTH_TYPE_MD5, SCRAM_OF_PENCIL);
	assert_int_equal(bound_answers(a, "pencil", same), AUTH_OK);
	client_auth_free(&a);
	a = tls_login(AUTH_TYPE_SCRAM_SHA_256, NULL);
	assert_int_equal(bound_answers(a, "pencil", same), AUTH_FAILED);
	assert_error(a, "28P01", "SASL authentication failed");
	client_auth_free(&a);
}

static void a_client_that_cannot_bind_need_not(void **state)
{
	struct client_auth *a = tls_login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL);

	(void)state;
	assert_int_equal(scram_answers(a, "pencil"), AUTH_OK);
	client_auth_free(&a);
}

/* The client's first message, with this mechanism and flag. */
static enum auth_step select_mechanism(struct client_auth *a, const char *mechanism, const char *flag)
{
	struct strbuf text, body;
	enum auth_step step;

	strbuf_init(&text);
	strbuf_init(&body);
	strbuf_addf(&text, "%s,,n=,r=abc", flag);
	sasl_initial(&body, mechanism, strbuf_slice(&text));
	step = answer(a, body.p, body.n);
	strbuf_fini(&text);
	strbuf_fini(&body);
	return step;
}

static void the_mechanism_and_the_flag_must_fit_the_offer(void **state)
{
	static const struct {
		bool tls;
		const char *mechanism, *flag;
		enum auth_step step;
	} cases[] = {
		{true, SCRAM_MECHANISM_PLUS, "p=tls-server-end-point", AUTH_CONTINUE},
		{true, SCRAM_MECHANISM_PLUS, "p=tls-unique", AUTH_FAILED},
		{true, SCRAM_MECHANISM_PLUS, "n", AUTH_FAILED},
		{true, SCRAM_MECHANISM_PLUS, "y", AUTH_FAILED},
		{true, SCRAM_MECHANISM, "n", AUTH_CONTINUE},
		{true, SCRAM_MECHANISM, "y", AUTH_FAILED},
		{true, SCRAM_MECHANISM, "p=tls-server-end-point", AUTH_FAILED},
		{false, SCRAM_MECHANISM, "n", AUTH_CONTINUE},
		{false, SCRAM_MECHANISM, "y", AUTH_CONTINUE},
		{false, SCRAM_MECHANISM, "p=tls-server-end-point", AUTH_FAILED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client_auth *a;

		channel = cases[i].tls ? SLICE_LIT(CHANNEL) : SLICE_LIT("");
		a = login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL, SECRET_PLAIN);
		client_auth_start(a, &out);
		assert_int_equal(select_mechanism(a, cases[i].mechanism, cases[i].flag), cases[i].step);
		if (cases[i].step == AUTH_FAILED)
			assert_error(a, "08P01", "SASL authentication failed");
		client_auth_free(&a);
	}
}

#define BOUND_INITIAL "SCRAM-SHA-256-PLUS\0\0\0\0\x20p=tls-server-end-point,,n=,r=abc"

static void no_truncation_of_a_bound_login_is_taken(void **state)
{
	struct client_auth *a;

	(void)state;
	for (size_t n = 0; n < sizeof(BOUND_INITIAL); n++) {
		a = tls_login(AUTH_TYPE_SCRAM_SHA_256, SCRAM_OF_PENCIL);
		assert_int_equal(answer(a, BOUND_INITIAL, n),
				 n == sizeof(BOUND_INITIAL) - 1 ? AUTH_CONTINUE : AUTH_FAILED);
		client_auth_free(&a);
	}
}

static void the_external_types_are_not_done_here(void **state)
{
	struct client_auth_params params = {.user = SLICE_LIT("ann"), .mock_key = mock_key, .keys = cache};

	(void)state;
	params.type = AUTH_TYPE_PAM;
	assert_null(client_auth_new(&params));
	params.type = AUTH_TYPE_HBA;
	assert_null(client_auth_new(&params));
}

static void the_mock_is_what_most_users_have(void **state)
{
	char file[] = "/tmp/test_client_auth.XXXXXX";
	struct arena *arena = arena_new();
	struct userlist *list = userlist_new(arena);
	struct conf_problems problems;
	int fd = mkstemp(file);
	FILE *f = fdopen(fd, "w");

	(void)state;
	assert_int_equal(client_auth_mock_type(list), SECRET_PLAIN);
	fprintf(f, "\"a\" \"x\"\n\"b\" \"%s\"\n\"c\" \"%s\"\n\"d\" \"\"\n\"e\" \"\"\n\"f\" \"\"\n", MD5_OF_SECRET_ANN,
		MD5_OF_SECRET_ANN);
	fclose(f);
	conf_problems_init(&problems);
	userlist_read(list, file, &problems);
	assert_int_equal(problems.nerrors, 0);
	assert_int_equal(client_auth_mock_type(list), SECRET_MD5);
	conf_problems_fini(&problems);
	unlink(file);
	arena_free(arena);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_those_who_are_let_in_unasked_need_no_exchange),
		TEST(any_and_trust_ask_nothing),
		TEST(plain_checks_every_kind_of_secret),
		TEST(only_right_passwords_enter_the_cache),
		TEST(nobody_gets_in_by_a_made_up_secret),
		TEST(an_empty_password_is_always_refused),
		TEST(malformed_password_messages_are_refused),
		TEST(a_message_is_waited_for_unless_it_is_too_long),
		TEST(md5_checks_md5_and_plain_secrets),
		TEST(scram_checks_verifiers_and_plain_secrets),
		TEST(scram_refuses_an_md5_secret_like_an_unknown_user),
		TEST(an_unknown_user_is_challenged_as_a_known_one),
		TEST(a_plain_secret_costs_one_derivation_for_known_and_unknown),
		TEST(malformed_sasl_messages_are_refused),
		TEST(over_tls_a_client_may_bind_its_login),
		TEST(a_client_that_cannot_bind_need_not),
		TEST(the_mechanism_and_the_flag_must_fit_the_offer),
		TEST(no_truncation_of_a_bound_login_is_taken),
		TEST(the_external_types_are_not_done_here),
		TEST(the_mock_is_what_most_users_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
