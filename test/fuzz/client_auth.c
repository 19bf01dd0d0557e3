/*
 * The exchange with a client that logs in, as the client's bytes have it. An
 * input is a byte that chooses the method and the kind of secret, and lines:
 *
 *   =body         a message as it is, its NUL added
 *   iMECH data    an initial SASL response
 *   sdata         a further one
 *   h             what an honest client says next
 *
 * In data, byte 1 stands for the nonce of the exchange.
 */
#include "auth/client_auth.h"
#include "exchange.h"
#include "proto/out.h"

struct exchange {
	struct client_auth *auth;
	enum secret_type secret;
	struct scram_client honest;
	bool has_begun;                  /* the honest client has */
	bool is_proven;                  /* and has sent its proof, or the password was right */
	struct talk talk;
};

static const struct userlist_entry *entry_of(enum secret_type type)
{
	static struct userlist_entry entries[SECRET_SCRAM + 1];
	static char verifier[256];
	struct scram_keys keys;
	struct strbuf text;

	if (entries[SECRET_SCRAM].secret == NULL) {
		must(scram_keys_derive(&keys, slice_of(PASSWORD), SLICE_LIT("saltsaltsaltsalt"), ITERATIONS));
		strbuf_init_fixed(&text, verifier, sizeof(verifier));
		scram_verifier_print(&keys, &text);
		entries[SECRET_PLAIN] = (struct userlist_entry){USER, PASSWORD, SECRET_PLAIN};
		entries[SECRET_MD5] = (struct userlist_entry){USER, PASSWORD_AS_MD5, SECRET_MD5};
		entries[SECRET_SCRAM] = (struct userlist_entry){USER, verifier, SECRET_SCRAM};
	}
	return type == SECRET_NONE ? NULL : &entries[type];
}

/* ------------------------------------------------------------------ what is said */

/* What stands behind r= in the last message. */
static struct slice nonce_heard(const struct exchange *x)
{
	const char *from = x->talk.heard.n == 0 ? NULL : memmem(x->talk.heard.p, x->talk.heard.n, "r=", 2);
	const char *end = x->talk.heard.p + x->talk.heard.n, *to;

	if (from == NULL)
		return (struct slice){"", 0};
	to = memchr(from, ',', (size_t)(end - from));
	return (struct slice){from + 2, (size_t)((to == NULL ? end : to) - from) - 2};
}

static void say_data(struct exchange *x, struct slice data)
{
	for (size_t i = 0; i < data.n; i++) {
		if (data.p[i] == 1)
			strbuf_add_slice(&x->talk.said, nonce_heard(x));
		else
			strbuf_add_char(&x->talk.said, data.p[i]);
	}
}

/* The length in front of the data is right, of whatever there is. */
static void say_initial(struct exchange *x, struct slice mechanism, struct slice data)
{
	struct strbuf body = x->talk.said;

	strbuf_init(&x->talk.said);
	say_data(x, data);
	out_slice_string(&body, mechanism);
	out_u32(&body, (uint32_t)x->talk.said.n);
	strbuf_add_slice(&body, strbuf_slice(&x->talk.said));
	strbuf_fini(&x->talk.said);
	x->talk.said = body;
}

static void begin_honestly(struct exchange *x)
{
	struct strbuf first;

	strbuf_init(&first);
	scram_client_init(&x->honest);
	x->has_begun = true;
	scram_client_first(&x->honest, &first);
	say_initial(x, SLICE_LIT(SCRAM_MECHANISM), strbuf_slice(&first));
	strbuf_fini(&first);
}

/* Nothing but a proof for the challenge that was heard: what else there is is not worth one. */
static void prove_honestly(struct exchange *x)
{
	struct slice challenge = {x->talk.heard.p + 9, x->talk.heard.n < 9 ? 0 : x->talk.heard.n - 9};
	struct scram_client *c = &x->honest;
	struct scram_keys keys;

	if (scram_client_challenge(c, challenge) != SCRAM_OK)
		return;
	if (scram_keys_derive(&keys, slice_of(PASSWORD), (struct slice){(char *)c->salt, c->salt_len}, c->iterations))
		x->is_proven = scram_client_final(c, &keys, &x->talk.said) == SCRAM_OK;
	scram_keys_fini(&keys);
}

/* What is said happens to be the right password's message. */
static bool is_password(const struct exchange *x)
{
	return x->talk.said.n == sizeof(PASSWORD) && memcmp(x->talk.said.p, PASSWORD, sizeof(PASSWORD)) == 0;
}

static void say(struct exchange *x, struct slice line)
{
	struct slice rest = {line.p + 1, line.n - 1}, mechanism;

	strbuf_reset(&x->talk.said);
	switch (line.p[0]) {
	case 'i':
		mechanism = (struct slice){rest.p, rest.n};
		for (mechanism.n = 0; mechanism.n < rest.n && rest.p[mechanism.n] != ' '; mechanism.n++)
			;
		rest.p += mechanism.n + (mechanism.n < rest.n);
		rest.n -= mechanism.n + (mechanism.n < rest.n);
		say_initial(x, mechanism, rest);
		break;
	case 's':
		say_data(x, rest);
		x->is_proven = is_password(x);
		break;
	case 'h':
		if (x->has_begun)
			prove_honestly(x);
		else
			begin_honestly(x);
		break;
	default:
		strbuf_add_slice(&x->talk.said, rest);
		strbuf_add_char(&x->talk.said, '\0');
		x->is_proven = is_password(x);
	}
}

/* ------------------------------------------------------------------ the exchange */

static enum auth_step step(struct exchange *x)
{
	struct msg m = {.type = 'p', .len = (uint32_t)x->talk.said.n, .have = (uint32_t)x->talk.said.n};
	struct strbuf out;
	enum auth_step result;

	/* Of just that size, so that a read beyond it is found. */
	uint8_t *body = malloc(x->talk.said.n);

	if (x->talk.said.n > 0)
		memcpy(body, x->talk.said.p, x->talk.said.n);
	m.body = body;
	strbuf_init(&out);
	result = client_auth_step(x->auth, &m, &out);
	must(result != AUTH_SHORT && !out.failed);
	must(result != AUTH_FAILED || out.n == 0);
	free(body);
	strbuf_fini(&x->talk.heard);
	x->talk.heard = out;
	return result;
}

static void run(struct exchange *x, struct slice lines)
{
	struct slice line;
	enum auth_step result = client_auth_start(x->auth, &x->talk.heard);

	while (result == AUTH_CONTINUE && talk_next(&lines, &line)) {
		say(x, line);
		result = step(x);
		must(result != AUTH_OK || x->is_proven);
		must(result != AUTH_OK || x->secret != SECRET_NONE);
	}
	if (result == AUTH_FAILED)
		must(client_auth_error(x->auth)->text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum auth_type types[] = {AUTH_TYPE_PLAIN, AUTH_TYPE_MD5, AUTH_TYPE_SCRAM_SHA_256};
	static const uint8_t mock_key[CLIENT_AUTH_MOCK_KEY_SIZE];
	struct client_auth_params params = {
		.user = SLICE_LIT(USER), .mock_key = mock_key, .scram_iterations = ITERATIONS,
	};
	struct exchange x = {.has_begun = false};

	if (size < 2)
		return 0;
	talk_begin(&x.talk, data[0]);
	x.secret = (enum secret_type)(data[0] >> 2 & 3);
	params.type = types[data[0] & 3 ? (data[0] & 3) - 1 : 2];
	params.entry = entry_of(x.secret);
	params.mock_type = (enum secret_type)(data[0] >> 4 & 3);
	params.keys = x.talk.keys;
	if ((data[0] & 0x40) != 0)
		params.channel_binding = CHANNEL_BINDING;
	x.auth = client_auth_new(&params);
	must(x.auth != NULL);
	run(&x, (struct slice){(const char *)data + 1, size - 1});
	if (x.has_begun)
		scram_client_fini(&x.honest);
	client_auth_free(&x.auth);
	talk_end(&x.talk);
	return 0;
}
