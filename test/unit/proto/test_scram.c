#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proto/scram.h"

/* RFC 7677, section 3: user "user", password "pencil". */
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define CLIENT_FIRST "n,,n=user,r=" CLIENT_NONCE
#define SERVER_FIRST "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define UNPROVEN "c=biws,r=" CLIENT_NONCE SERVER_NONCE
#define CLIENT_FINAL UNPROVEN ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
#define SALT "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81"

/* The same without a user name, as PostgreSQL's clients do it; made by another program. */
#define VERIFIER                                                                     \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                               \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define NAMELESS_FINAL UNPROVEN ",p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k="
#define NAMELESS_SERVER_FINAL "v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg="

/* The same bound to a channel, and by a client that could have been; by that program too. */
#define CHANNEL                                                                      \
	"\x81\xac\xd7\x62\x14\x0f\xa6\x92\xa1\x42\x82\x2d\x2f\xbe\x4d\xc6"           \
	"\xf5\x4b\xca\xa5\x01\xf6\x8a\xb3\x7e\x5a\xee\xd0\xba\xfe\x4d\x99"
#define BOUND_FIRST "p=tls-server-end-point,,n=,r=" CLIENT_NONCE
#define BOUND_FINAL                                                                  \
	"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsgazXYhQPppKhQoItL75NxvVLyqUB9oqzflru0Lr+TZk=" \
	",r=" CLIENT_NONCE SERVER_NONCE ",p=rqjLIC7eggZ2/YEs9z/kWuGfDjXEh2/fu6mpk879p5U="
#define BOUND_SERVER_FINAL "v=GRq/rFArzKqwNF3JyH5tHIZCHBhIN1gixAdZgO6iNyo="
#define UNBOUND_FIRST "y,,n=,r=" CLIENT_NONCE
#define UNBOUND_FINAL                                                                \
	"c=eSws,r=" CLIENT_NONCE SERVER_NONCE ",p=VpuC5DGQa5ro9tXE9MnKs69NH1nxnuregZZcclqIGfM="
#define UNBOUND_SERVER_FINAL "v=FOmOj9BpTGwvnzwBtWQjBaPmVxT9I8IeHBOhcIPu3us="

static struct strbuf out;
static struct scram_keys pencil;

static struct scram_channel channel_of(enum scram_binding binding)
{
	return (struct scram_channel){binding, binding == SCRAM_BINDING_USED ? SLICE_LIT(CHANNEL) : SLICE_LIT("")};
}

static int begin(void **state)
{
	(void)state;
	strbuf_init(&out);
	return scram_verifier_parse(SLICE_LIT(VERIFIER), &pencil) ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	strbuf_fini(&out);
	return 0;
}

static void a_verifier_reads_and_prints_the_same(void **state)
{
	(void)state;
	assert_int_equal(pencil.iterations, 4096);
	assert_int_equal(pencil.salt_len, 16);
	assert_memory_equal(pencil.salt, SALT, 16);
	assert_false(pencil.has_client_key);
	scram_verifier_print(&pencil, &out);
	assert_string_equal(out.p, VERIFIER);
}

static void a_verifier_is_made_from_a_password(void **state)
{
	struct scram_keys k;

	(void)state;
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	assert_true(k.has_client_key);
	scram_verifier_print(&k, &out);
	assert_string_equal(out.p, VERIFIER);
	assert_true(scram_keys_same_salt(&k, SLICE_LIT(SALT), 4096));
	assert_false(scram_keys_same_salt(&k, SLICE_LIT(SALT), 4097));
	assert_false(scram_keys_same_salt(&k, SLICE_LIT("salt"), 4096));
}

static void a_salt_of_any_length_reads_and_prints_the_same(void **state)
{
	const char *const salts[] = {"/w==", "/+8=", "/+8A", "AAECAwQFBgcICQ=="};
	const char *keys = strchr(strchr(VERIFIER, ':'), '$');
	char text[256];
	struct scram_keys k;

	(void)state;
	for (size_t i = 0; i < sizeof(salts) / sizeof(salts[0]); i++) {
		snprintf(text, sizeof(text), "SCRAM-SHA-256$4096:%s%s", salts[i], keys);
		assert_true(scram_verifier_parse(slice_of(text), &k));
		strbuf_reset(&out);
		scram_verifier_print(&k, &out);
		assert_string_equal(out.p, text);
	}
}

static void a_verifier_with_a_character_that_does_not_belong_there_does_not_read(void **state)
{
	const char strangers[] = {'*', ' ', '=', '\x80', '\0'};
	char text[] = VERIFIER;
	struct scram_keys k;

	(void)state;
	for (size_t at = sizeof("SCRAM-SHA-256$4096:") - 1; at < sizeof(text) - 1; at++) {
		char right = text[at];

		for (size_t i = 0; i < sizeof(strangers); i++) {
			text[at] = strangers[i];
			assert_int_equal(scram_verifier_parse((struct slice){text, sizeof(text) - 1}, &k), right == strangers[i]);
		}
		text[at] = right;
	}
}

static void no_truncation_of_a_verifier_reads(void **state)
{
	struct scram_keys k;

	(void)state;
	for (size_t n = 0; n < sizeof(VERIFIER) - 1; n++) {
		char *copy = malloc(n);

		if (n > 0)
			memcpy(copy, VERIFIER, n);
		assert_false(scram_verifier_parse((struct slice){copy, n}, &k));
		free(copy);
	}
	assert_false(scram_verifier_parse(SLICE_LIT(VERIFIER "="), &k));
	assert_false(scram_verifier_parse(SLICE_LIT(VERIFIER "AAAA"), &k));
	assert_false(scram_verifier_parse(SLICE_LIT("SCRAM-SHA-1$4096:AAAA$AAAA:AAAA"), &k));
}

/* Different texts, one password: by SASLprep. */
static bool same_keys(struct slice a, struct slice b)
{
	struct scram_keys ka, kb;

	assert_true(scram_keys_derive(&ka, a, SLICE_LIT("salt"), 1));
	assert_true(scram_keys_derive(&kb, b, SLICE_LIT("salt"), 1));
	return memcmp(ka.stored_key, kb.stored_key, SCRAM_KEY_SIZE) == 0;
}

static void passwords_are_prepared(void **state)
{
	(void)state;
	assert_true(same_keys(SLICE_LIT("I\xc2\xadX"), SLICE_LIT("IX")));          /* soft hyphen */
	assert_true(same_keys(SLICE_LIT("\xc2\xaa"), SLICE_LIT("a")));             /* feminine ordinal */
	assert_true(same_keys(SLICE_LIT("\xe2\x85\xa8"), SLICE_LIT("IX")));        /* roman nine */
	assert_true(same_keys(SLICE_LIT("a\xc2\xa0" "b"), SLICE_LIT("a b")));      /* no-break space */
	assert_false(same_keys(SLICE_LIT("User"), SLICE_LIT("user")));
}

static void what_cannot_be_prepared_is_taken_raw(void **state)
{
	(void)state;
	assert_false(same_keys(SLICE_LIT("\xe4"), SLICE_LIT("")));                 /* not UTF-8 */
	assert_false(same_keys(SLICE_LIT("a\xc2\xad\x07"), SLICE_LIT("a\x07")));   /* prohibited */
	assert_false(same_keys(SLICE_LIT("\xc2\xad"), SLICE_LIT("")));             /* nothing left */
	assert_false(same_keys(SLICE_LIT("\xd8\xa7\x31\xc2\xad"), SLICE_LIT("\xd8\xa7\x31"))); /* mixed directions */
	assert_false(same_keys(SLICE_LIT("a\xc2\xad\0"), SLICE_LIT("a")));
}

static void long_passwords_that_expand_are_prepared_without_overflow(void **state)
{
	struct strbuf text;
	struct scram_keys k;

	(void)state;
	strbuf_init(&text);
	for (int i = 0; i < 1365; i++)
		strbuf_add_str(&text, "\xef\xb7\xba");     /* U+FDFA becomes 18 code points */
	assert_true(scram_keys_derive(&k, strbuf_slice(&text), SLICE_LIT("salt"), 1));
	for (int i = 0; i < 20000; i++)
		strbuf_add_str(&text, "\xef\xb7\xba");
	assert_true(scram_keys_derive(&k, strbuf_slice(&text), SLICE_LIT("salt"), 1));
	strbuf_fini(&text);
}

static void an_impossible_salt_derives_nothing(void **state)
{
	const char salt[SCRAM_SALT_MAX + 1] = {0};
	struct scram_keys k;

	(void)state;
	assert_false(scram_keys_derive(&k, SLICE_LIT("x"), SLICE_LIT(""), 1));
	assert_false(scram_keys_derive(&k, SLICE_LIT("x"), (struct slice){salt, sizeof(salt)}, 1));
	assert_true(scram_keys_derive(&k, SLICE_LIT("x"), (struct slice){salt, sizeof(salt) - 1}, 1));
	assert_false(scram_keys_derive(&k, SLICE_LIT("x"), SLICE_LIT("salt"), 0));
}

/* A server that has answered CLIENT_FIRST. */
static void init_server(struct scram_server *s, const char *client_first)
{
	scram_server_init(s, &pencil);
	strcpy(s->nonce, SERVER_NONCE);
	strbuf_reset(&out);
	assert_int_equal(scram_server_first(s, slice_of(client_first), &out), SCRAM_OK);
	assert_string_equal(out.p, SERVER_FIRST);
	strbuf_reset(&out);
}

static void the_server_passes_the_rfc_exchange(void **state)
{
	struct scram_keys derived;
	struct scram_server s;

	(void)state;
	init_server(&s, CLIENT_FIRST);
	assert_int_equal(scram_server_final(&s, SLICE_LIT(CLIENT_FINAL), &out), SCRAM_OK);
	assert_string_equal(out.p, SERVER_FINAL);
	assert_true(scram_keys_derive(&derived, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	assert_true(s.keys.has_client_key);
	assert_memory_equal(s.keys.client_key, derived.client_key, SCRAM_KEY_SIZE);
	scram_server_fini(&s);
}

static enum scram_result final_result(const char *client_first, const char *client_final)
{
	struct scram_server s;
	enum scram_result result;

	init_server(&s, client_first);
	result = scram_server_final(&s, slice_of(client_final), &out);
	assert_int_equal(out.n > 0, result == SCRAM_OK);
	assert_int_equal(s.keys.has_client_key, result == SCRAM_OK);
	scram_server_fini(&s);
	return result;
}

static void the_server_refuses_a_wrong_proof_and_malformed_finals(void **state)
{
	static const char *const malformed[] = {
		"", "c=biws", UNPROVEN, UNPROVEN ",", UNPROVEN ",p=", UNPROVEN ",p=AAAA",
		UNPROVEN "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		UNPROVEN ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=,",
		UNPROVEN ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=,x=y",
		UNPROVEN ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7And*Q=",
		UNPROVEN ",1=x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=eSws,r=" CLIENT_NONCE SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=,r=" CLIENT_NONCE SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"r=" CLIENT_NONCE SERVER_NONCE ",c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		assert_int_equal(final_result(CLIENT_FIRST, malformed[i]), SCRAM_MALFORMED);
	assert_int_equal(final_result(CLIENT_FIRST, UNPROVEN ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR="),
			 SCRAM_OK);      /* the bits behind the last byte do not count */
	assert_int_equal(final_result(CLIENT_FIRST, UNPROVEN ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
			 SCRAM_REFUSED);
	assert_int_equal(final_result(CLIENT_FIRST, UNPROVEN ",x=y,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
			 SCRAM_REFUSED); /* an extension is part of what is proven */
}

static void the_client_may_say_that_it_could_bind_a_channel(void **state)
{
	(void)state;
	assert_int_equal(final_result("y,,n=user,r=" CLIENT_NONCE, CLIENT_FINAL), SCRAM_MALFORMED);
	assert_int_equal(final_result("y,,n=user,r=" CLIENT_NONCE, "c=eSws,r=" CLIENT_NONCE SERVER_NONCE
				      ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), SCRAM_REFUSED);
}

static enum scram_result first_result(enum scram_binding binding, const char *client_first)
{
	struct scram_server s;
	enum scram_result result;

	strbuf_reset(&out);
	scram_server_init(&s, &pencil);
	s.channel = channel_of(binding);
	result = scram_server_first(&s, slice_of(client_first), &out);
	assert_int_equal(out.n > 0, result == SCRAM_OK);
	scram_server_fini(&s);
	return result;
}

static void the_flag_must_fit_what_was_offered_and_selected(void **state)
{
	static const struct {
		const char *flag;
		enum scram_result none, unused, used;
	} flags[] = {
		{"n", SCRAM_OK, SCRAM_OK, SCRAM_MALFORMED},
		{"y", SCRAM_OK, SCRAM_MALFORMED, SCRAM_MALFORMED},   /* we did offer it: a downgrade */
		{"p=tls-server-end-point", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_OK},
		{"p=tls-server-end-poin", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"p=tls-server-end-point ", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"P=tls-server-end-point", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"p=tls-unique", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"p=tls-exporter", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"p=", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"p", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
		{"", SCRAM_MALFORMED, SCRAM_MALFORMED, SCRAM_MALFORMED},
	};
	char first[64];

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		snprintf(first, sizeof(first), "%s,,n=,r=abc", flags[i].flag);
		assert_int_equal(first_result(SCRAM_BINDING_NONE, first), flags[i].none);
		assert_int_equal(first_result(SCRAM_BINDING_UNUSED, first), flags[i].unused);
		assert_int_equal(first_result(SCRAM_BINDING_USED, first), flags[i].used);
		snprintf(first, sizeof(first), "%s,a=root,n=,r=abc", flags[i].flag);
		for (enum scram_binding b = SCRAM_BINDING_NONE; b <= SCRAM_BINDING_USED; b++)
			assert_int_equal(first_result(b, first), SCRAM_MALFORMED);
	}
}

/* A server that is bound to this channel and has answered BOUND_FIRST. */
static void init_bound_server(struct scram_server *s, struct slice channel)
{
	scram_server_init(s, &pencil);
	strcpy(s->nonce, SERVER_NONCE);
	s->channel = (struct scram_channel){SCRAM_BINDING_USED, channel};
	strbuf_reset(&out);
	assert_int_equal(scram_server_first(s, SLICE_LIT(BOUND_FIRST), &out), SCRAM_OK);
	assert_string_equal(out.p, SERVER_FIRST);
	strbuf_reset(&out);
}

static enum scram_result bound_result(struct slice channel, struct slice client_final)
{
	struct scram_server s;
	enum scram_result result;

	init_bound_server(&s, channel);
	result = scram_server_final(&s, client_final, &out);
	assert_int_equal(out.n > 0, result == SCRAM_OK);
	scram_server_fini(&s);
	return result;
}

static void the_server_takes_a_proof_bound_to_its_channel_only(void **state)
{
	char other[] = CHANNEL;
	struct slice proof = SLICE_LIT(",r=" CLIENT_NONCE SERVER_NONCE ",p=rqjLIC7eggZ2/YEs9z/kWuGfDjXEh2/fu6mpk879p5U=");
	static const char *const bindings[] = {
		"c=", "c=biws", "c=eSws",
		"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws",                /* the header alone */
		"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsgazXYhQPppKhQoItL75NxvVLyqUB9oqzflru0Lr+TZk",
		"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsgazXYhQPppKhQoItL75NxvVLyqUB9oqzflru0Lr+TZkA",
		"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsgazXYhQPppKhQoItL75NxvVLyqUB9oqzflru0Lr+TZk=AAAA",
	};

	(void)state;
	assert_int_equal(bound_result(SLICE_LIT(CHANNEL), SLICE_LIT(BOUND_FINAL)), SCRAM_OK);
	assert_string_equal(out.p, BOUND_SERVER_FINAL);
	for (size_t i = 0; i < sizeof(other) - 1; i++) {
		other[i] ^= 1;
		assert_int_equal(bound_result((struct slice){other, sizeof(other) - 1}, SLICE_LIT(BOUND_FINAL)),
				 SCRAM_MALFORMED);
		other[i] ^= 1;
	}
	assert_int_equal(bound_result((struct slice){other, 31}, SLICE_LIT(BOUND_FINAL)), SCRAM_MALFORMED);
	for (size_t i = 0; i < sizeof(bindings) / sizeof(bindings[0]); i++) {
		struct strbuf text;

		strbuf_init(&text);
		strbuf_add_str(&text, bindings[i]);
		strbuf_add_slice(&text, proof);
		assert_int_equal(bound_result(SLICE_LIT(CHANNEL), strbuf_slice(&text)), SCRAM_MALFORMED);
		strbuf_fini(&text);
	}
}

static void malformed_client_firsts_are_refused(void **state)
{
	static const char *const malformed[] = {
		"", "n", "n,", "n,,", "n,,n=user", "n,,n=user,", "n,,n=user,r=", "n,,r=abc", "n,,r=abc,n=user",
		"p=tls-server-end-point,,n=user,r=abc", "n,a=root,n=user,r=abc", "x,,n=,r=abc", ",,n=,r=abc",
		"n,,m=x,n=user,r=abc", "n,,n=user,r=a\x7f", "n,,n=user,r=a b", "n,,n=user,r=a\xc3\xa4",
		"n,,n=user,r=abc,", "n,,n=user,r=abc,x", "n,,n=user,r=abc,1=2",
	};
	struct scram_server s;

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		scram_server_init(&s, &pencil);
		assert_int_equal(scram_server_first(&s, slice_of(malformed[i]), &out), SCRAM_MALFORMED);
		assert_int_equal(out.n, 0);
		scram_server_fini(&s);
	}
	scram_server_init(&s, &pencil);
	assert_int_equal(scram_server_first(&s, SLICE_LIT("n,,n=a\0b,r=abc"), &out), SCRAM_MALFORMED);
	scram_server_fini(&s);
}

static void a_nonce_has_a_bound(void **state)
{
	struct scram_server s;
	struct strbuf first;

	(void)state;
	strbuf_init(&first);
	strbuf_add_str(&first, "n,,n=,r=");
	for (int i = 0; i < SCRAM_NONCE_MAX; i++)
		strbuf_add_char(&first, 'x');
	scram_server_init(&s, &pencil);
	assert_int_equal(scram_server_first(&s, strbuf_slice(&first), &out), SCRAM_OK);
	scram_server_fini(&s);
	strbuf_add_char(&first, 'x');
	scram_server_init(&s, &pencil);
	assert_int_equal(scram_server_first(&s, strbuf_slice(&first), &out), SCRAM_MALFORMED);
	scram_server_fini(&s);
	strbuf_fini(&first);
}

/* A client that has sent its first message. */
static void init_client(struct scram_client *c)
{
	scram_client_init(c);
	strcpy(c->nonce, CLIENT_NONCE);
	strbuf_reset(&out);
	scram_client_first(c, &out);
	assert_string_equal(out.p, "n,,n=,r=" CLIENT_NONCE);
	strbuf_reset(&out);
}

static void the_client_makes_the_known_messages(void **state)
{
	struct scram_client c;
	struct scram_keys k;

	(void)state;
	init_client(&c);
	assert_int_equal(scram_client_challenge(&c, SLICE_LIT(SERVER_FIRST)), SCRAM_OK);
	assert_int_equal(c.iterations, 4096);
	assert_int_equal(c.salt_len, 16);
	assert_memory_equal(c.salt, SALT, 16);
	assert_int_equal(scram_client_final(&c, &pencil, &out), SCRAM_MALFORMED);  /* a verifier cannot log in */
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT("other salt"), 4096));
	assert_int_equal(scram_client_final(&c, &k, &out), SCRAM_MALFORMED);
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	assert_int_equal(scram_client_final(&c, &k, &out), SCRAM_OK);
	assert_string_equal(out.p, NAMELESS_FINAL);
	assert_int_equal(scram_client_verify(&c, SLICE_LIT(SERVER_FINAL)), SCRAM_REFUSED);
	assert_int_equal(scram_client_verify(&c, SLICE_LIT("e=invalid-proof")), SCRAM_REFUSED);
	assert_int_equal(scram_client_verify(&c, SLICE_LIT("")), SCRAM_MALFORMED);
	for (size_t n = 0; n < sizeof(NAMELESS_SERVER_FINAL) - 1; n++)
		assert_int_equal(scram_client_verify(&c, (struct slice){NAMELESS_SERVER_FINAL, n}), SCRAM_MALFORMED);
	assert_int_equal(scram_client_verify(&c, SLICE_LIT(NAMELESS_SERVER_FINAL)), SCRAM_OK);
	scram_client_fini(&c);
}

static void the_client_binds_as_it_is_told(void **state)
{
	static const struct {
		enum scram_binding binding;
		const char *first, *final, *server_final;
	} cases[] = {
		{SCRAM_BINDING_NONE, "n,,n=,r=" CLIENT_NONCE, NAMELESS_FINAL, NAMELESS_SERVER_FINAL},
		{SCRAM_BINDING_UNUSED, UNBOUND_FIRST, UNBOUND_FINAL, UNBOUND_SERVER_FINAL},
		{SCRAM_BINDING_USED, BOUND_FIRST, BOUND_FINAL, BOUND_SERVER_FINAL},
	};
	struct scram_client c;
	struct scram_keys k;

	(void)state;
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scram_client_init(&c);
		strcpy(c.nonce, CLIENT_NONCE);
		c.channel = channel_of(cases[i].binding);
		strbuf_reset(&out);
		scram_client_first(&c, &out);
		assert_string_equal(out.p, cases[i].first);
		assert_int_equal(scram_client_challenge(&c, SLICE_LIT(SERVER_FIRST)), SCRAM_OK);
		strbuf_reset(&out);
		assert_int_equal(scram_client_final(&c, &k, &out), SCRAM_OK);
		assert_string_equal(out.p, cases[i].final);
		assert_int_equal(scram_client_verify(&c, slice_of(cases[i].server_final)), SCRAM_OK);
		scram_client_fini(&c);
	}
}

static void a_hostile_challenge_is_refused(void **state)
{
	static const char *const malformed[] = {
		"", "r=", "e=other-error",
		"r=" CLIENT_NONCE ",s=AAAA,i=1",               /* nothing of the server's own */
		"r=x" CLIENT_NONCE "x,s=AAAA,i=1",             /* not ours in front */
		"r=" CLIENT_NONCE "x,s=,i=1", "r=" CLIENT_NONCE "x,s=AAA,i=1", "r=" CLIENT_NONCE "x,s=A AA,i=1",
		"r=" CLIENT_NONCE "x,s====,i=1", "r=" CLIENT_NONCE "x,s=A=AA,i=1",
		"r=" CLIENT_NONCE "x,s=AAAA,i=0", "r=" CLIENT_NONCE "x,s=AAAA,i=-1", "r=" CLIENT_NONCE "x,s=AAAA,i=1x",
		"r=" CLIENT_NONCE "x,s=AAAA,i=2147483648", "r=" CLIENT_NONCE "x,s=AAAA,i=99999999999999999999",
		"m=x,r=" CLIENT_NONCE "x,s=AAAA,i=1", "r=" CLIENT_NONCE "x,s=AAAA,i=1,", "r=" CLIENT_NONCE "\t,s=AAAA,i=1",
	};
	struct scram_client c;

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		init_client(&c);
		assert_int_equal(scram_client_challenge(&c, slice_of(malformed[i])), SCRAM_MALFORMED);
		scram_client_fini(&c);
	}
}

static void a_challenge_that_would_take_long_is_refused(void **state)
{
	struct scram_client c;

	(void)state;
	init_client(&c);
	assert_int_equal(scram_client_challenge(&c, SLICE_LIT("r=" CLIENT_NONCE "x,s=AAAA,i=100000,x=y")), SCRAM_OK);
	scram_client_fini(&c);
	init_client(&c);
	assert_int_equal(scram_client_challenge(&c, SLICE_LIT("r=" CLIENT_NONCE "x,s=AAAA,i=100001,x=y")), SCRAM_TOO_COSTLY);
	assert_int_equal(scram_client_challenge(&c, SLICE_LIT("r=" CLIENT_NONCE "x,s=AAAA,i=2147483647")), SCRAM_TOO_COSTLY);
	scram_client_fini(&c);
}

static void both_roles_understand_each_other(void **state)
{
	struct strbuf reply;
	struct scram_client c;
	struct scram_server s;
	struct scram_keys k;

	(void)state;
	strbuf_init(&reply);
	scram_client_init(&c);
	scram_server_init(&s, &pencil);
	assert_string_not_equal(c.nonce, s.nonce);
	scram_client_first(&c, &out);
	assert_int_equal(scram_server_first(&s, strbuf_slice(&out), &reply), SCRAM_OK);
	assert_int_equal(scram_client_challenge(&c, strbuf_slice(&reply)), SCRAM_OK);
	assert_true(scram_keys_derive(&k, SLICE_LIT("pencil"), SLICE_LIT(SALT), 4096));
	strbuf_reset(&out);
	assert_int_equal(scram_client_final(&c, &k, &out), SCRAM_OK);
	strbuf_reset(&reply);
	assert_int_equal(scram_server_final(&s, strbuf_slice(&out), &reply), SCRAM_OK);
	assert_int_equal(scram_client_verify(&c, strbuf_slice(&reply)), SCRAM_OK);
	scram_client_fini(&c);
	scram_server_fini(&s);
	strbuf_fini(&reply);
}

/* In memory of just the size, so that a read past the end is caught. */
static void no_truncation_is_taken_for_the_whole(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof(CLIENT_FINAL) - 1; n++) {
		char *copy = malloc(n);
		struct scram_server s;

		if (n > 0)
			memcpy(copy, CLIENT_FINAL, n);
		init_server(&s, CLIENT_FIRST);
		assert_int_equal(scram_server_final(&s, (struct slice){copy, n}, &out), SCRAM_MALFORMED);
		scram_server_fini(&s);
		free(copy);
	}
	for (size_t n = 0; n < sizeof(BOUND_FINAL) - 1; n++) {
		char *copy = malloc(n);

		if (n > 0)
			memcpy(copy, BOUND_FINAL, n);
		assert_int_equal(bound_result(SLICE_LIT(CHANNEL), (struct slice){copy, n}), SCRAM_MALFORMED);
		free(copy);
	}
	for (size_t n = 0; n < sizeof(BOUND_FIRST) - 1; n++) {
		char *copy = malloc(n);
		struct scram_server s;

		if (n > 0)
			memcpy(copy, BOUND_FIRST, n);
		scram_server_init(&s, &pencil);
		s.channel = channel_of(SCRAM_BINDING_USED);
		/* A shorter nonce is still one. */
		assert_int_equal(scram_server_first(&s, (struct slice){copy, n}, &out),
				 n > sizeof(BOUND_FIRST) - sizeof(CLIENT_NONCE) ? SCRAM_OK : SCRAM_MALFORMED);
		scram_server_fini(&s);
		free(copy);
	}
	for (size_t n = 0; n < sizeof(SERVER_FIRST) - 1; n++) {
		char *copy = malloc(n);
		struct scram_client c;

		if (n > 0)
			memcpy(copy, SERVER_FIRST, n);
		init_client(&c);
		if (scram_client_challenge(&c, (struct slice){copy, n}) == SCRAM_OK)
			assert_true(n > sizeof(SERVER_FIRST) - 1 - 4);   /* i=4, i=40, i=409 */
		scram_client_fini(&c);
		free(copy);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_verifier_reads_and_prints_the_same),
		TEST(a_verifier_is_made_from_a_password),
		TEST(a_salt_of_any_length_reads_and_prints_the_same),
		TEST(a_verifier_with_a_character_that_does_not_belong_there_does_not_read),
		TEST(no_truncation_of_a_verifier_reads),
		TEST(passwords_are_prepared),
		TEST(what_cannot_be_prepared_is_taken_raw),
		TEST(long_passwords_that_expand_are_prepared_without_overflow),
		TEST(an_impossible_salt_derives_nothing),
		TEST(the_server_passes_the_rfc_exchange),
		TEST(the_server_refuses_a_wrong_proof_and_malformed_finals),
		TEST(the_client_may_say_that_it_could_bind_a_channel),
		TEST(the_flag_must_fit_what_was_offered_and_selected),
		TEST(the_server_takes_a_proof_bound_to_its_channel_only),
		TEST(malformed_client_firsts_are_refused),
		TEST(a_nonce_has_a_bound),
		TEST(the_client_makes_the_known_messages),
		TEST(the_client_binds_as_it_is_told),
		TEST(a_hostile_challenge_is_refused),
		TEST(a_challenge_that_would_take_long_is_refused),
		TEST(both_roles_understand_each_other),
		TEST(no_truncation_is_taken_for_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
