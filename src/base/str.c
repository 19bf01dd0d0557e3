#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Not tolower(): the locale must not decide what a keyword is. */
static char lower(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c;
}

bool slice_is_nocase(struct slice a, const char *s)
{
	size_t n = strlen(s);

	if (a.n != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (lower(a.p[i]) != lower(s[i]))
			return false;
	}
	return true;
}

struct slice slice_trim(struct slice a)
{
	while (a.n > 0 && is_blank(a.p[0])) {
		a.p++;
		a.n--;
	}
	while (a.n > 0 && is_blank(a.p[a.n - 1]))
		a.n--;
	return a;
}

/*
 * Behind a separator at the very end one more, empty, piece follows. *rest
 * points here to tell that from a text that is used up.
 */
static const char last_piece[] = "";

bool slice_split(struct slice *rest, char separator, struct slice *piece)
{
	const char *end;

	if (rest->n == 0 && rest->p != last_piece)
		return false;
	end = memchr(rest->p, separator, rest->n);
	if (end == NULL) {
		*piece = slice_trim(*rest);
		*rest = (struct slice){NULL, 0};
		return true;
	}
	*piece = slice_trim((struct slice){rest->p, (size_t)(end - rest->p)});
	rest->n -= (size_t)(end - rest->p) + 1;
	rest->p = rest->n == 0 ? last_piece : end + 1;
	return true;
}

bool slice_in_list(struct slice list, struct slice name, bool nocase)
{
	struct slice one;

	while (slice_split(&list, ',', &one)) {
		if (one.n == name.n && (nocase ? strncasecmp(one.p, name.p, name.n) : memcmp(one.p, name.p, name.n)) == 0)
			return true;
	}
	return false;
}

bool slice_to_int64(struct slice a, int64_t *value)
{
	bool negative = a.n > 0 && a.p[0] == '-';
	int64_t v = 0;
	size_t i = negative || (a.n > 0 && a.p[0] == '+') ? 1 : 0;

	if (i == a.n)
		return false;
	/* Counted downwards, as the smallest value has no positive twin. */
	for (; i < a.n; i++) {
		if (a.p[i] < '0' || a.p[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, (int64_t)10, &v))
			return false;
		if (__builtin_sub_overflow(v, (int64_t)(a.p[i] - '0'), &v))
			return false;
	}
	if (!negative && __builtin_sub_overflow((int64_t)0, v, &v))
		return false;
	*value = v;
	return true;
}

void strbuf_init_fixed(struct strbuf *b, char *p, size_t cap)
{
	*b = (struct strbuf){.p = p, .cap = cap, .fixed = true};
	p[0] = '\0';
}

void strbuf_reset(struct strbuf *b)
{
	b->n = 0;
	b->failed = false;
	if (b->p != NULL)
		b->p[0] = '\0';
}

/* Room for n more bytes and the NUL. */
static bool make_room(struct strbuf *b, size_t n)
{
	size_t need, cap;
	char *p;

	if (b->failed)
		return false;
	if (b->p != NULL && n < b->cap - b->n)
		return true;
	b->failed = true;
	if (b->fixed || __builtin_add_overflow(b->n, n, &need) || __builtin_add_overflow(need, (size_t)1, &need))
		return false;
	cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
	if (cap < need)
		cap = need;
	if (cap < 64)
		cap = 64;
	p = realloc(b->p, cap);
	if (p == NULL)
		return false;
	b->p = p;
	b->cap = cap;
	b->p[b->n] = '\0';
	b->failed = false;
	return true;
}

/* The NUL stands behind the room from the start, so the caller need not care for it. */
char *strbuf_reserve(struct strbuf *b, size_t n)
{
	if (!make_room(b, n))
		return NULL;
	b->p[b->n + n] = '\0';
	return b->p + b->n;
}

void strbuf_add(struct strbuf *b, const void *p, size_t n)
{
	char *room = strbuf_reserve(b, n);

	if (room == NULL)
		return;
	if (n > 0)
		memcpy(room, p, n);
	b->n += n;
}

void strbuf_add_str(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_add_slice(struct strbuf *b, struct slice s)
{
	strbuf_add(b, s.p, s.n);
}

void strbuf_add_char(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

static void add_digits(struct strbuf *b, uint64_t value, unsigned base, bool is_negative)
{
	char text[24], *p = text + sizeof(text);

	do {
		*--p = "0123456789abcdef"[value % base];
		value /= base;
	} while (value > 0);
	if (is_negative)
		*--p = '-';
	strbuf_add(b, p, (size_t)(text + sizeof(text) - p));
}

void strbuf_add_int(struct strbuf *b, int64_t value)
{
	/* The smallest value has no positive twin among the signed. */
	add_digits(b, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0);
}

void strbuf_add_hex(struct strbuf *b, uint64_t value)
{
	add_digits(b, value, 16, false);
}

void strbuf_addf(struct strbuf *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	strbuf_addv(b, format, ap);
	va_end(ap);
}

void strbuf_addv(struct strbuf *b, const char *format, va_list ap)
{
	va_list again;
	int n;
	char *room;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return;
	}
	room = strbuf_reserve(b, (size_t)n);
	if (room == NULL)
		return;
	vsnprintf(room, (size_t)n + 1, format, ap);
	b->n += (size_t)n;
}
