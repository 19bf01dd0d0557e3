#include "proto/prepare.h"

#include <endian.h>
#include <string.h>

#include "proto/out.h"

static bool has_kind(const struct msg *m)
{
	return m->type == 'D' || m->type == 'C';
}

enum peek prepare_read(const struct msg *m, struct prepare_head *h)
{
	struct cursor c = msg_cursor(m);

	*h = (struct prepare_head){0, SLICE_LIT(""), SLICE_LIT(""), 0};
	if (has_kind(m))
		h->kind = (char)cursor_u8(&c);
	if (m->type == 'B' || (has_kind(m) && h->kind != 'S'))
		h->portal = cursor_string(&c);
	if (m->type == 'B' || m->type == 'P' || h->kind == 'S')
		h->statement = cursor_string(&c);
	if (c.bad)
		return m->have < m->len ? PEEK_SHORT : PEEK_BAD;
	h->size = (uint32_t)(c.p - m->body);
	return PEEK_OK;
}

bool prepare_is_valid_parse(struct slice rest)
{
	const char *end = memchr(rest.p, '\0', rest.n);
	size_t left = end == NULL ? 0 : (size_t)(rest.p + rest.n - end) - 1;
	uint16_t ntypes;

	if (left < sizeof(ntypes))
		return false;
	memcpy(&ntypes, end + 1, sizeof(ntypes));
	return left - sizeof(ntypes) == be16toh(ntypes) * sizeof(uint32_t);
}

/* Where out_begin() and out_end() do not do, because the body's end is not written here. */
static void out_header(struct strbuf *b, char type, size_t len)
{
	strbuf_add_char(b, type);
	out_u32(b, (uint32_t)(len + sizeof(uint32_t)));
}

static char *put_string(char *p, struct slice s)
{
	memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p + s.n + 1;
}

/* On the way of each Bind: in one go. */
void prepare_out_head(struct strbuf *b, const struct msg *m, const struct prepare_head *h, struct slice statement)
{
	size_t head = MSG_HEADER_SIZE + h->size - h->statement.n + statement.n;
	uint32_t len = htobe32((uint32_t)(sizeof(len) + m->len - h->statement.n + statement.n));
	char *p = strbuf_reserve(b, head);

	if (p == NULL)
		return;
	*p++ = m->type;
	memcpy(p, &len, sizeof(len));
	p += sizeof(len);
	if (has_kind(m))
		*p++ = h->kind;
	if (m->type == 'B')
		p = put_string(p, h->portal);
	put_string(p, statement);
	b->n += head;
}

void prepare_out_parse_head(struct strbuf *b, struct slice statement, size_t rest)
{
	out_header(b, 'P', statement.n + 1 + rest);
	out_slice_string(b, statement);
}

void prepare_out_bind(struct strbuf *b, struct slice portal, struct slice statement)
{
	size_t mark = out_begin(b, 'B');

	out_slice_string(b, portal);
	out_slice_string(b, statement);
	out_u16(b, 0);                               /* formats of parameters */
	out_u16(b, 0);                               /* parameters */
	out_u16(b, 0);                               /* formats of results: all text */
	out_end(b, mark);
}

void prepare_out_execute(struct strbuf *b, struct slice portal)
{
	size_t mark = out_begin(b, 'E');

	out_slice_string(b, portal);
	out_u32(b, 0);
	out_end(b, mark);
}

void prepare_out_close(struct strbuf *b, char kind, struct slice name)
{
	size_t mark = out_begin(b, 'C');

	strbuf_add_char(b, kind);
	out_slice_string(b, name);
	out_end(b, mark);
}

void prepare_out_describe(struct strbuf *b, char kind, struct slice name)
{
	size_t mark = out_begin(b, 'D');

	strbuf_add_char(b, kind);
	out_slice_string(b, name);
	out_end(b, mark);
}

/* Bytes above ASCII are none: in some languages the server puts names between « and » with no blank. */
static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Cuts what stands before the next such word, and the word, off *text; false when there is none. */
static bool next_word(struct slice *text, struct slice word, struct slice *before)
{
	const char *start = text->p, *end = text->p + text->n, *p = start;

	if (word.n == 0)
		return false;
	while ((p = memmem(p, (size_t)(end - p), word.p, word.n)) != NULL) {
		const char *behind = p + word.n;

		if ((p == start || !is_word_char(p[-1])) && (behind == end || !is_word_char(*behind))) {
			*before = (struct slice){start, (size_t)(p - start)};
			*text = (struct slice){behind, (size_t)(end - behind)};
			return true;
		}
		p++;
	}
	return false;
}

/* What text is about to become of a position; false: it stays as it is. */
static bool moved_position(struct slice text, const struct prepare_error *change, int64_t *position)
{
	int64_t old;

	if (change->shift == 0 || !slice_to_int64(text, &old) || old > INT32_MAX || old <= (int64_t)change->at)
		return false;
	*position = old + change->shift < 1 ? 1 : old + change->shift;
	return *position != old;
}

static bool is_text(uint8_t code)
{
	return code == 'M' || code == 'D' || code == 'H' || code == 'W';
}

static bool field_changes(uint8_t code, struct slice text, const struct prepare_error *change)
{
	struct slice before;
	int64_t position;

	if (code == 'P')
		return moved_position(text, change, &position);
	return is_text(code) && next_word(&text, change->from, &before);
}

/* Whether it is a whole, sound message in which something changes. */
static bool error_changes(const struct msg *m, const struct prepare_error *change)
{
	struct cursor c = msg_cursor(m);
	bool changes = false;
	uint8_t code;

	while ((code = cursor_u8(&c)) != 0)
		changes |= field_changes(code, cursor_string(&c), change);
	return changes && !c.bad && cursor_left(&c) == 0 && m->have == m->len;
}

static void out_renamed(struct strbuf *b, struct slice text, const struct prepare_error *change)
{
	struct slice before;

	while (next_word(&text, change->from, &before)) {
		strbuf_add_slice(b, before);
		strbuf_add_slice(b, change->to);
	}
	out_slice_string(b, text);
}

static void out_field(struct strbuf *b, uint8_t code, struct slice text, const struct prepare_error *change)
{
	int64_t position;

	out_u8(b, code);
	if (is_text(code)) {
		out_renamed(b, text, change);
	} else if (code == 'P' && moved_position(text, change, &position)) {
		strbuf_addf(b, "%lld", (long long)position);
		out_u8(b, 0);
	} else {
		out_slice_string(b, text);
	}
}

bool prepare_out_error(struct strbuf *b, const struct msg *m, const struct prepare_error *change)
{
	struct cursor c = msg_cursor(m);
	uint8_t code;
	size_t mark;

	if (!error_changes(m, change))
		return false;
	mark = out_begin(b, m->type);
	while ((code = cursor_u8(&c)) != 0)
		out_field(b, code, cursor_string(&c), change);
	out_u8(b, 0);
	out_end(b, mark);
	return true;
}
