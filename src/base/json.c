#include "base/json.h"

#define REPLACEMENT "\xef\xbf\xbd"

void json_init(struct json *j, struct strbuf *out)
{
	*j = (struct json){.out = out};
}

/* What stands between the last value and the next. */
static void separate(struct json *j)
{
	if (j->is_behind_value)
		strbuf_add_char(j->out, ',');
	j->is_behind_value = true;
}

static void begin(struct json *j, char bracket)
{
	separate(j);
	strbuf_add_char(j->out, bracket);
	j->is_behind_value = false;
}

static void end(struct json *j, char bracket)
{
	strbuf_add_char(j->out, bracket);
	j->is_behind_value = true;
}

void json_object_begin(struct json *j)
{
	begin(j, '{');
}

void json_object_end(struct json *j)
{
	end(j, '}');
}

void json_array_begin(struct json *j)
{
	begin(j, '[');
}

void json_array_end(struct json *j)
{
	end(j, ']');
}

/* How many bytes the character at the beginning takes; 0: what is there is not UTF-8 (RFC 3629). */
static size_t character(const unsigned char *p, size_t n)
{
	static const struct {
		unsigned char first, last;       /* of the first byte */
		unsigned char low, high;         /* of the second */
		unsigned char n;
	} forms[] = {
		{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (p[0] < forms[i].first || p[0] > forms[i].last)
			continue;
		if (forms[i].n > n || (forms[i].n > 1 && (p[1] < forms[i].low || p[1] > forms[i].high)))
			return 0;
		for (size_t k = 2; k < forms[i].n; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].n;
	}
	return 0;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != 0x7f;
}

static void add_escaped(struct strbuf *out, unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		strbuf_addf(out, "\\%c", c);
		break;
	case '\n':
		strbuf_add_str(out, "\\n");
		break;
	case '\r':
		strbuf_add_str(out, "\\r");
		break;
	case '\t':
		strbuf_add_str(out, "\\t");
		break;
	default:
		strbuf_addf(out, "\\u%04x", c);
	}
}

/* Runs of what needs no escape are added at once. */
static void add_text(struct strbuf *out, struct slice text)
{
	const unsigned char *p = (const unsigned char *)text.p;
	size_t at = 0;

	while (at < text.n) {
		size_t run = at, n;

		while (run < text.n && is_plain(p[run]))
			run++;
		strbuf_add(out, p + at, run - at);
		at = run;
		if (at == text.n)
			break;
		n = character(p + at, text.n - at);
		if (n == 0)
			strbuf_add_str(out, REPLACEMENT);
		else if (n == 1)
			add_escaped(out, p[at]);
		else
			strbuf_add(out, p + at, n);
		at += n == 0 ? 1 : n;
	}
}

static void add_quoted(struct strbuf *out, struct slice text)
{
	strbuf_add_char(out, '"');
	add_text(out, text);
	strbuf_add_char(out, '"');
}

void json_key(struct json *j, const char *key)
{
	separate(j);
	add_quoted(j->out, slice_of(key));
	strbuf_add_char(j->out, ':');
	j->is_behind_value = false;
}

void json_string(struct json *j, struct slice value)
{
	separate(j);
	add_quoted(j->out, value);
}

void json_verbatim(struct json *j, struct slice value)
{
	separate(j);
	strbuf_add_slice(j->out, value);
}

void json_integer(struct json *j, int64_t value)
{
	separate(j);
	strbuf_addf(j->out, "%lld", (long long)value);
}

void json_boolean(struct json *j, bool value)
{
	json_verbatim(j, value ? SLICE_LIT("true") : SLICE_LIT("false"));
}

void json_null(struct json *j)
{
	json_verbatim(j, SLICE_LIT("null"));
}
