/*
 * Reading PostgreSQL messages (PostgreSQL manual, chapter 55, protocol 3.0).
 *
 * The one place that looks at lengths. A message is a type byte, a 32-bit
 * length that counts itself but not the type, and a body.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum peek { PEEK_OK, PEEK_SHORT, PEEK_BAD };

#define MSG_HEADER_SIZE 5

struct msg {
	char type;
	uint32_t len;            /* of the body, as announced */
	uint32_t have;           /* bytes of the body that are here: at most len */
	const uint8_t *body;
};

static inline uint32_t msg_get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/*
 * Looks at the message that starts at p. PEEK_SHORT: fewer than 5 bytes are
 * here. PEEK_BAD: its length is impossible (below 4 or above `max`, which
 * bounds the whole message without its type byte, as max_packet_size does).
 */
static inline enum peek msg_peek(const uint8_t *p, size_t n, uint32_t max, struct msg *m)
{
	uint32_t size;

	if (n < MSG_HEADER_SIZE)
		return PEEK_SHORT;
	size = msg_get_u32(p + 1);
	if (size < 4 || size > max)
		return PEEK_BAD;
	n -= MSG_HEADER_SIZE;
	m->type = (char)p[0];
	m->len = size - 4;
	m->have = n < m->len ? (uint32_t)n : m->len;
	m->body = p + MSG_HEADER_SIZE;
	return PEEK_OK;
}

/* A bounded cursor over a body. A read past the end returns zeros and sets `bad`; it never reads outside. */
struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct cursor cursor_of(const uint8_t *p, size_t n)
{
	return (struct cursor){p, p + n, false};
}

static inline struct cursor msg_cursor(const struct msg *m)
{
	return cursor_of(m->body, m->have);
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
struct slice cursor_bytes(struct cursor *c, size_t n);

struct slice cursor_text(struct cursor *c);

/* Up to and past the next NUL; the slice is without it. Bad when there is none. */
static inline struct slice cursor_string(struct cursor *c)
{
	/* Most names are empty. */
	if (c->p < c->end && *c->p == '\0')
		return (struct slice){(const char *)c->p++, 0};
	return cursor_text(c);
}

/*
 * The fields of an ErrorResponse or NoticeResponse that matter here. Those
 * that are missing are empty slices; a repeated one counts once, the first.
 */
struct error_fields {
	struct slice severity, sqlstate, message, detail, hint, routine;
};
bool msg_error_fields(const struct msg *m, struct error_fields *f);
