#include "proto/startup.h"

#include <stdio.h>

#include "proto/out.h"

#define CODE(major, minor) ((uint32_t)(major) << 16 | (minor))

/* Outside any protocol version, so that they cannot be taken for one. */
#define CODE_CANCEL CODE(1234, 5678)
#define CODE_SSL CODE(1234, 5679)
#define CODE_GSSENC CODE(1234, 5680)

#define PROTOCOL_3_0 CODE(3, 0)

static enum startup_kind bad(struct startup *s, const char *text)
{
	snprintf(s->error, sizeof(s->error), "%s", text);
	return STARTUP_BAD;
}

/* Shows the first bytes: they tell whether it was HTTP, TLS, or a plain port scan. */
static enum startup_kind bad_header(struct startup *s, const uint8_t *p, size_t n)
{
	char hex[2 * 8 + 1] = "";

	for (size_t i = 0; i < n && i < 8; i++)
		snprintf(hex + 2 * i, 3, "%02x", p[i]);
	snprintf(s->error, sizeof(s->error), "bad packet header: '%s'", hex);
	return STARTUP_BAD;
}

/* Pairs of non-empty names and values, then one NUL that is the packet's last byte. */
static bool params_are_sound(struct slice params)
{
	struct cursor c = cursor_of((const uint8_t *)params.p, params.n);

	while (cursor_string(&c).n > 0)
		cursor_string(&c);
	return !c.bad && cursor_left(&c) == 0;
}

static enum startup_kind parse_message(struct startup *s, uint32_t code, struct cursor *c)
{
	uint32_t major = code >> 16;

	if (major < 3)
		return STARTUP_OLD_PROTOCOL;
	if (major > 3) {
		snprintf(s->error, sizeof(s->error), "unsupported frontend protocol %u.%u: server supports 3.0 to 3.%d",
			 (unsigned)major, (unsigned)(code & 0xffff), STARTUP_NEWEST_MINOR);
		return STARTUP_BAD;
	}
	s->minor = (uint16_t)code;
	s->params = cursor_bytes(c, cursor_left(c));
	if (!params_are_sound(s->params))
		return bad(s, "invalid startup packet layout: expected terminator as last byte");
	return STARTUP_MESSAGE;
}

enum startup_kind startup_parse(const uint8_t *p, size_t n, struct startup *s)
{
	struct cursor c = cursor_of(p, n);
	uint32_t size, code;
	size_t rest;

	memset(s, 0, sizeof(*s));
	size = cursor_u32(&c);
	if (c.bad)
		return STARTUP_SHORT;
	if (size < 8 || size > STARTUP_MAX_SIZE + 4)
		return bad_header(s, p, n);
	s->size = size;
	if (n < size)
		return STARTUP_SHORT;
	c = cursor_of(p + 4, size - 4);
	code = cursor_u32(&c);
	rest = cursor_left(&c);
	if (code == CODE_CANCEL && rest >= STARTUP_CANCEL_KEY_MIN && rest <= STARTUP_CANCEL_KEY_MAX) {
		s->cancel_key = cursor_bytes(&c, rest);
		return STARTUP_CANCEL;
	}
	if (code == CODE_SSL && rest == 0)
		return STARTUP_SSL_REQUEST;
	if (code == CODE_GSSENC && rest == 0)
		return STARTUP_GSSENC_REQUEST;
	if (code >> 16 == 1234)
		return bad_header(s, p, n);
	return parse_message(s, code, &c);
}

bool startup_next_param(struct cursor *c, struct slice *name, struct slice *value)
{
	*name = cursor_string(c);
	if (c->bad || name->n == 0)
		return false;
	*value = cursor_string(c);
	return !c->bad;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(struct slice *rest)
{
	while (rest->n > 0 && is_blank(*rest->p)) {
		rest->p++;
		rest->n--;
	}
}

/* The next word, unescaped, appended to `word` with a NUL; false when there is none. */
static bool next_word(struct slice *rest, struct strbuf *word)
{
	bool escaped = false;

	skip_blanks(rest);
	if (rest->n == 0)
		return false;
	for (; rest->n > 0 && (escaped || !is_blank(*rest->p)); rest->p++, rest->n--) {
		if (!escaped && *rest->p == '\\') {
			escaped = true;
			continue;
		}
		escaped = false;
		strbuf_add_char(word, *rest->p);
	}
	return true;
}

enum startup_option startup_next_option(struct slice *rest, struct strbuf *scratch, struct slice *name,
					struct slice *value)
{
	char *p, *equals;

	strbuf_reset(scratch);
	if (!next_word(rest, scratch))
		return STARTUP_OPTION_END;
	if (scratch->failed || scratch->n < 2)
		return STARTUP_OPTION_BAD;
	if (memcmp(scratch->p, "-c", 2) != 0 && memcmp(scratch->p, "--", 2) != 0)
		return STARTUP_OPTION_BAD;
	/* "-c name=value": the setting is the next word. "--" alone ends options in PostgreSQL, and is nothing here. */
	if (scratch->n == 2 && (scratch->p[1] == '-' || !next_word(rest, scratch)))
		return STARTUP_OPTION_BAD;
	if (scratch->failed)
		return STARTUP_OPTION_BAD;
	p = scratch->p + 2;
	equals = strchr(p, '=');
	if (equals == NULL || equals == p)
		return STARTUP_OPTION_BAD;
	*equals = '\0';
	for (char *dash = p; (dash = strchr(dash, '-')) != NULL; dash++)
		*dash = '_';
	*name = (struct slice){p, (size_t)(equals - p)};
	*value = (struct slice){equals + 1, (size_t)(scratch->p + scratch->n - (equals + 1))};
	return STARTUP_OPTION_OK;
}

size_t startup_begin(struct strbuf *b)
{
	size_t mark = out_begin(b, 0);

	out_u32(b, PROTOCOL_3_0);
	return mark;
}

void startup_add_param(struct strbuf *b, struct slice name, struct slice value)
{
	out_slice_string(b, name);
	out_slice_string(b, value);
}

void startup_end(struct strbuf *b, size_t mark)
{
	out_u8(b, 0);
	out_end(b, mark);
}

const uint8_t startup_ssl_request[8] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

void startup_out_cancel(struct strbuf *b, const void *key, size_t n)
{
	size_t mark = out_begin(b, 0);

	out_u32(b, CODE_CANCEL);
	strbuf_add(b, key, n);
	out_end(b, mark);
}

void startup_out_negotiate(struct strbuf *b, unsigned minor, const struct slice *unknown, size_t n)
{
	size_t mark = out_begin(b, 'v');

	out_u32(b, CODE(3, minor));
	out_u32(b, (uint32_t)n);
	for (size_t i = 0; i < n; i++)
		out_slice_string(b, unknown[i]);
	out_end(b, mark);
}
