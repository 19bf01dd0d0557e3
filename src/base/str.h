/*
 * Text by reference (slice) and text being built (strbuf).
 *
 * A slice owns nothing and need not end in NUL. A strbuf writes either into
 * memory of the caller's, of a fixed size, or into heap memory that grows. A
 * write that does not fit (or for which there is no memory) changes nothing
 * and marks the buffer `failed`; further writes are ignored, so a caller
 * checks once, at the end.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

#define SLICE_LIT(s) ((struct slice){(s), sizeof(s) - 1})

static inline struct slice slice_of(const char *s)
{
	return (struct slice){s, strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_of(s));
}

/* As slice_is(), ASCII letters compared without their case. */
bool slice_is_nocase(struct slice a, const char *s);

/* Without ASCII blanks at both ends. */
struct slice slice_trim(struct slice a);

/*
 * Cuts the next piece, up to `separator`, off *rest and trims it. False when
 * nothing is left. "a, b" gives "a" and "b"; an empty piece is given too.
 */
bool slice_split(struct slice *rest, char separator, struct slice *piece);

/* Whether a list with commas between names this one; ASCII case counts or not. */
bool slice_in_list(struct slice list, struct slice name, bool nocase);

/* A decimal number with an optional sign and nothing else; false if it is none or does not fit. */
bool slice_to_int64(struct slice a, int64_t *value);

struct strbuf {
	char *p;       /* NUL-terminated text while !failed, even when empty; NULL before the first write to the heap */
	size_t n;      /* bytes of text, without the NUL */
	size_t cap;
	bool fixed;
	bool failed;
};

/* Writes into [p, p + cap); cap must be at least 1. */
void strbuf_init_fixed(struct strbuf *b, char *p, size_t cap);

/* Writes to heap memory, to be freed by strbuf_fini(). */
static inline void strbuf_init(struct strbuf *b)
{
	*b = (struct strbuf){0};
}

static inline void strbuf_fini(struct strbuf *b)
{
	if (b->p != NULL && !b->fixed)
		free(b->p);
	*b = (struct strbuf){0};
}

/* Empty again, the memory kept, `failed` cleared. */
void strbuf_reset(struct strbuf *b);

/* Room for n more bytes, which the caller fills and then counts by adding to b->n; NULL when there is none. */
char *strbuf_reserve(struct strbuf *b, size_t n);

void strbuf_add(struct strbuf *b, const void *p, size_t n);
void strbuf_add_str(struct strbuf *b, const char *s);
void strbuf_add_slice(struct strbuf *b, struct slice s);
void strbuf_add_char(struct strbuf *b, char c);

/* In decimal, with a sign if negative; in hexadecimal. As strbuf_addf() writes them, in a fraction of the time. */
void strbuf_add_int(struct strbuf *b, int64_t value);
void strbuf_add_hex(struct strbuf *b, uint64_t value);
void strbuf_addf(struct strbuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strbuf_addv(struct strbuf *b, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

static inline struct slice strbuf_slice(const struct strbuf *b)
{
	return (struct slice){b->p, b->n};
}
