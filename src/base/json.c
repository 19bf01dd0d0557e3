#include "base/json.h"

#include "base/utf8.h"

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
	size_t at = 0;

	while (at < text.n) {
		size_t run = at, n;

		while (run < text.n && is_plain((unsigned char)text.p[run]))
			run++;
		strbuf_add(out, text.p + at, run - at);
		at = run;
		if (at == text.n)
			break;
		n = utf8_character((struct slice){text.p + at, text.n - at});
		if (n == 0)
			strbuf_add_str(out, UTF8_REPLACEMENT);
		else if (n == 1)
			add_escaped(out, (unsigned char)text.p[at]);
		else
			strbuf_add(out, text.p + at, n);
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
