#include "proto/out.h"

static void put_u32(char *p, uint32_t v)
{
	p[0] = (char)(v >> 24);
	p[1] = (char)(v >> 16);
	p[2] = (char)(v >> 8);
	p[3] = (char)v;
}

size_t out_begin(struct strbuf *b, char type)
{
	size_t mark;

	if (type != 0)
		strbuf_add_char(b, type);
	mark = b->n;
	out_u32(b, 0);
	return mark;
}

void out_end(struct strbuf *b, size_t mark)
{
	if (!b->failed)
		put_u32(b->p + mark, (uint32_t)(b->n - mark));
}

void out_u8(struct strbuf *b, uint8_t v)
{
	strbuf_add(b, &v, 1);
}

void out_u16(struct strbuf *b, uint16_t v)
{
	uint8_t raw[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	strbuf_add(b, raw, sizeof(raw));
}

void out_u32(struct strbuf *b, uint32_t v)
{
	char raw[4];

	put_u32(raw, v);
	strbuf_add(b, raw, sizeof(raw));
}

void out_string(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s) + 1);
}

void out_slice_string(struct strbuf *b, struct slice s)
{
	strbuf_add_slice(b, s);
	out_u8(b, 0);
}

void out_simple(struct strbuf *b, char type)
{
	out_end(b, out_begin(b, type));
}

void out_query(struct strbuf *b, const char *sql)
{
	size_t mark = out_begin(b, 'Q');

	out_string(b, sql);
	out_end(b, mark);
}

void out_ready_for_query(struct strbuf *b, char status)
{
	size_t mark = out_begin(b, 'Z');

	strbuf_add_char(b, status);
	out_end(b, mark);
}

void out_parameter_status(struct strbuf *b, struct slice name, struct slice value)
{
	size_t mark = out_begin(b, 'S');

	out_slice_string(b, name);
	out_slice_string(b, value);
	out_end(b, mark);
}

void out_backend_key_data(struct strbuf *b, const void *key, size_t n)
{
	size_t mark = out_begin(b, 'K');

	strbuf_add(b, key, n);
	out_end(b, mark);
}

void out_command_complete(struct strbuf *b, const char *tag)
{
	size_t mark = out_begin(b, 'C');

	out_string(b, tag);
	out_end(b, mark);
}

void out_auth(struct strbuf *b, uint32_t code)
{
	size_t mark = out_begin(b, 'R');

	out_u32(b, code);
	out_end(b, mark);
}

void out_password(struct strbuf *b, struct slice password)
{
	size_t mark = out_begin(b, 'p');

	out_slice_string(b, password);
	out_end(b, mark);
}

static void field(struct strbuf *b, char code, const char *text)
{
	if (text == NULL)
		return;
	strbuf_add_char(b, code);
	out_string(b, text);
}

void out_error_response(struct strbuf *b, char type, const struct out_error *e)
{
	size_t mark = out_begin(b, type);

	field(b, 'S', e->severity);
	field(b, 'V', e->severity);
	field(b, 'C', e->sqlstate);
	field(b, 'M', e->message);
	field(b, 'D', e->detail);
	field(b, 'H', e->hint);
	out_u8(b, 0);
	out_end(b, mark);
}

void out_row_description(struct strbuf *b, const struct out_column *columns, size_t n)
{
	size_t mark = out_begin(b, 'T');

	out_u16(b, (uint16_t)n);
	for (size_t i = 0; i < n; i++) {
		out_string(b, columns[i].name);
		out_u32(b, 0);                       /* table */
		out_u16(b, 0);                       /* column of the table */
		out_u32(b, columns[i].type_oid);
		out_u16(b, (uint16_t)columns[i].type_size);
		out_u32(b, UINT32_MAX);              /* no type modifier */
		out_u16(b, columns[i].is_binary);
	}
	out_end(b, mark);
}

size_t out_row_begin(struct strbuf *b, size_t ncolumns)
{
	size_t mark = out_begin(b, 'D');

	out_u16(b, (uint16_t)ncolumns);
	return mark;
}

void out_row_text(struct strbuf *b, struct slice value)
{
	out_u32(b, (uint32_t)value.n);
	strbuf_add_slice(b, value);
}

void out_row_null(struct strbuf *b)
{
	out_u32(b, UINT32_MAX);
}
