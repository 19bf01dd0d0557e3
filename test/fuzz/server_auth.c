/*
 * The exchange with a server that we log in to, as the server's bytes have it:
 * it may be anybody. An input is a byte that chooses what is known of the
 * password, and lines, one for each Authentication message:
 *
 *   o             AuthenticationOk
 *   p, m          a password in the clear, or as md5, is asked for
 *   aMECH MECH    SASL is asked for
 *   cdata, fdata  SASLContinue, SASLFinal
 *   h             what an honest server says next
 *   #code data    any other message, the code a digit
 *
 * In data, byte 1 stands for the nonce of the exchange.
 */
#include "auth/server_auth.h"
#include "exchange.h"
#include "proto/out.h"

struct exchange {
	struct server_auth *auth;
	struct scram_server honest;
	bool has_begun;                  /* the honest server has */
	bool is_proven;                  /* and has sent its own proof */
	bool is_sasl;                    /* the client has answered a request for SASL */
	struct talk talk;
};

static const struct scram_keys *keys(void)
{
	static struct scram_keys k;

	if (k.iterations == 0)
		must(scram_keys_derive(&k, slice_of(PASSWORD), SLICE_LIT("saltsaltsaltsalt"), ITERATIONS));
	return &k;
}

/* ------------------------------------------------------------------ what is said */

static struct slice nonce_heard(const struct exchange *x)
{
	const char *from = x->talk.heard.n == 0 ? NULL : memmem(x->talk.heard.p, x->talk.heard.n, "r=", 2);

	if (from == NULL)
		return (struct slice){"", 0};
	return (struct slice){from + 2, x->talk.heard.n - (size_t)(from + 2 - x->talk.heard.p)};
}

static void say_data(struct exchange *x, uint32_t code, struct slice data)
{
	out_u32(&x->talk.said, code);
	for (size_t i = 0; i < data.n; i++) {
		if (data.p[i] == 1)
			strbuf_add_slice(&x->talk.said, nonce_heard(x));
		else
			strbuf_add_char(&x->talk.said, data.p[i]);
	}
}

static void say_mechanisms(struct exchange *x, struct slice list)
{
	struct slice mechanism;

	out_u32(&x->talk.said, 10);
	while (slice_split(&list, ' ', &mechanism))
		out_slice_string(&x->talk.said, mechanism);
	out_u8(&x->talk.said, 0);
}

/* What the client has said in its last message, of SASL. */
static struct slice data_heard(const struct exchange *x)
{
	struct cursor c = cursor_of((const uint8_t *)x->talk.heard.p, x->talk.heard.n);

	cursor_bytes(&c, MSG_HEADER_SIZE);
	if (!x->has_begun) {
		cursor_string(&c);
		return cursor_bytes(&c, cursor_u32(&c));
	}
	return cursor_bytes(&c, cursor_left(&c));
}

static void say_honestly(struct exchange *x)
{
	if (!x->is_sasl) {
		say_mechanisms(x, SLICE_LIT(SCRAM_MECHANISM));
	} else if (!x->has_begun) {
		out_u32(&x->talk.said, 11);
		scram_server_init(&x->honest, keys());
		scram_server_first(&x->honest, data_heard(x), &x->talk.said);
		x->has_begun = true;
	} else {
		out_u32(&x->talk.said, 12);
		x->is_proven = scram_server_final(&x->honest, data_heard(x), &x->talk.said) == SCRAM_OK;
	}
}

static void say(struct exchange *x, struct slice line)
{
	struct slice rest = {line.p + 1, line.n - 1};

	strbuf_reset(&x->talk.said);
	switch (line.p[0]) {
	case 'o':
		out_u32(&x->talk.said, 0);
		break;
	case 'p':
		out_u32(&x->talk.said, 3);
		break;
	case 'm':
		say_data(x, 5, rest);
		break;
	case 'a':
		say_mechanisms(x, rest);
		break;
	case 'c':
		say_data(x, 11, rest);
		break;
	case 'f':
		say_data(x, 12, rest);
		break;
	case 'h':
		say_honestly(x);
		break;
	default:
		say_data(x, (uint32_t)(uint8_t)line.p[0] - '0', rest);
	}
}

/* ------------------------------------------------------------------ the exchange */

static enum auth_step step(struct exchange *x)
{
	uint8_t *body = malloc(x->talk.said.n);
	struct msg m = {.type = 'R', .len = (uint32_t)x->talk.said.n, .have = (uint32_t)x->talk.said.n, .body = body};
	enum auth_step result;
	struct strbuf out;

	if (x->talk.said.n > 0)
		memcpy(body, x->talk.said.p, x->talk.said.n);
	strbuf_init(&out);
	result = server_auth_step(x->auth, &m, &out);
	must(result != AUTH_SHORT && !out.failed);
	must(result == AUTH_CONTINUE || out.n == 0);
	if (out.n > 0) {
		x->is_sasl = x->is_sasl || body[3] == 10;
		strbuf_fini(&x->talk.heard);
		x->talk.heard = out;
	} else {
		strbuf_fini(&out);
	}
	free(body);
	return result;
}

static void run(struct exchange *x, struct slice lines)
{
	enum auth_step result = AUTH_CONTINUE;
	struct slice line;

	while (result == AUTH_CONTINUE && talk_next(&lines, &line)) {
		say(x, line);
		result = step(x);
		/* Where SCRAM was begun, a server that does not prove itself does not pass. */
		must(result != AUTH_OK || !x->is_sasl || x->is_proven);
	}
	if (result == AUTH_FAILED)
		must(server_auth_error(x->auth)->text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials credentials = {.user = USER};
	struct exchange x = {.has_begun = false};

	if (size < 2)
		return 0;
	talk_begin(&x.talk, data[0]);
	if ((data[0] & 1) == 0) {
		credentials.secret = PASSWORD;
		credentials.type = SECRET_PLAIN;
	} else if ((data[0] & 2) != 0) {
		credentials.secret = PASSWORD_AS_MD5;
		credentials.type = SECRET_MD5;
	} else {
		credentials.keys = keys();
	}
	if ((data[0] & 4) != 0)
		credentials.channel_binding = CHANNEL_BINDING;
	credentials.channel_binding_required = (data[0] & 8) != 0;
	x.auth = server_auth_new(&credentials, x.talk.keys);
	must(x.auth != NULL);
	run(&x, (struct slice){(const char *)data + 1, size - 1});
	if (x.has_begun)
		scram_server_fini(&x.honest);
	server_auth_free(&x.auth);
	talk_end(&x.talk);
	return 0;
}
