#include "http/request_json.h"

struct reader {
	const char *p, *end;
};

static void skip_blanks(struct reader *r)
{
	while (r->p < r->end && strchr(" \t\r\n", *r->p) != NULL && *r->p != '\0')
		r->p++;
}

/* The next character that is no blank is this one, and is taken. */
static bool take(struct reader *r, char c)
{
	skip_blanks(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct reader *r, unsigned *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++, r->p++) {
		int digit = r->p < r->end ? hex_digit(*r->p) : -1;

		if (digit < 0)
			return false;
		*unit = *unit << 4 | (unsigned)digit;
	}
	return true;
}

/* What follows \u: a character, of which the rare ones take two units. */
static bool read_code(struct reader *r, unsigned *code)
{
	unsigned low;

	if (!read_hex(r, code) || *code == 0)
		return false;
	if (*code < 0xd800 || *code > 0xdfff)
		return true;
	if (*code > 0xdbff || r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u')
		return false;
	r->p += 2;
	if (!read_hex(r, &low) || low < 0xdc00 || low > 0xdfff)
		return false;
	*code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

static void add_utf8(struct strbuf *out, unsigned code)
{
	if (code < 0x80) {
		strbuf_add_char(out, (char)code);
		return;
	}
	if (code < 0x800) {
		strbuf_add_char(out, (char)(0xc0 | code >> 6));
	} else {
		if (code < 0x10000) {
			strbuf_add_char(out, (char)(0xe0 | code >> 12));
		} else {
			strbuf_add_char(out, (char)(0xf0 | code >> 18));
			strbuf_add_char(out, (char)(0x80 | (code >> 12 & 0x3f)));
		}
		strbuf_add_char(out, (char)(0x80 | (code >> 6 & 0x3f)));
	}
	strbuf_add_char(out, (char)(0x80 | (code & 0x3f)));
}

/* What follows a backslash. */
static bool read_escape(struct reader *r, struct strbuf *out)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *found;
	unsigned code;

	if (r->p == r->end || *r->p == '\0')
		return false;
	found = strchr(letters, *r->p);
	if (found != NULL) {
		strbuf_add_char(out, meanings[found - letters]);
		r->p++;
		return true;
	}
	if (*r->p++ != 'u' || !read_code(r, &code))
		return false;
	add_utf8(out, code);
	return true;
}

static bool read_string(struct reader *r, struct strbuf *out)
{
	if (!take(r, '"'))
		return false;
	while (r->p < r->end && *r->p != '"') {
		char c = *r->p++;

		if ((unsigned char)c < 0x20)
			return false;
		if (c != '\\')
			strbuf_add_char(out, c);
		else if (!read_escape(r, out))
			return false;
	}
	if (r->p == r->end)
		return false;
	r->p++;
	return true;
}

bool request_json_member(struct slice body, const char *key, struct strbuf *value)
{
	struct reader r = {body.p, body.p + body.n};
	struct strbuf name;
	bool is_key;

	strbuf_init(&name);
	is_key = take(&r, '{') && read_string(&r, &name) && slice_is(strbuf_slice(&name), key);
	strbuf_fini(&name);
	if (!is_key || !take(&r, ':') || !read_string(&r, value) || !take(&r, '}'))
		return false;
	skip_blanks(&r);
	return r.p == r.end && !value->failed;
}
