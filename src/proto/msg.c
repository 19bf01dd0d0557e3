#include "proto/msg.h"

/* The next n bytes, or NULL and a cursor that gives nothing any more. */
static const uint8_t *take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > cursor_left(c)) {
		c->bad = true;
		c->p = c->end;
		return NULL;
	}
	c->p += n;
	return p;
}

uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = take(c, 1);

	return p != NULL ? *p : 0;
}

uint16_t cursor_u16(struct cursor *c)
{
	const uint8_t *p = take(c, 2);

	return p != NULL ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t cursor_u32(struct cursor *c)
{
	const uint8_t *p = take(c, 4);

	return p != NULL ? msg_get_u32(p) : 0;
}

struct slice cursor_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = take(c, n);

	return p != NULL ? (struct slice){(const char *)p, n} : SLICE_LIT("");
}

struct slice cursor_text(struct cursor *c)
{
	size_t left = cursor_left(c);
	const uint8_t *nul = left > 0 ? memchr(c->p, '\0', left) : NULL;
	struct slice s = cursor_bytes(c, nul != NULL ? (size_t)(nul - c->p) + 1 : left + 1);

	if (!c->bad)
		s.n--;
	return s;
}

static struct slice *field_of(struct error_fields *f, struct slice *localized, uint8_t code)
{
	switch (code) {
	case 'S':
		return localized;
	case 'V':
		return &f->severity;
	case 'C':
		return &f->sqlstate;
	case 'M':
		return &f->message;
	case 'D':
		return &f->detail;
	case 'H':
		return &f->hint;
	case 'R':
		return &f->routine;
	default:
		return NULL;
	}
}

bool msg_error_fields(const struct msg *m, struct error_fields *f)
{
	static const struct slice empty = {"", 0};
	struct cursor c = msg_cursor(m);
	struct slice localized = empty;
	uint8_t code;

	*f = (struct error_fields){empty, empty, empty, empty, empty, empty};
	while ((code = cursor_u8(&c)) != 0) {
		struct slice text = cursor_string(&c);
		struct slice *field = field_of(f, &localized, code);

		if (!c.bad && field != NULL && field->n == 0)
			*field = text;
	}
	/* V, since PostgreSQL 9.6, is S untranslated; other servers may send only S. */
	if (f->severity.n == 0)
		f->severity = localized;
	return !c.bad && cursor_left(&c) == 0;
}
