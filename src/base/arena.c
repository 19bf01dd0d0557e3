#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attempt.h"

#define BLOCK_SIZE 16384

struct block {
	struct block *next;
	size_t used, size;
	max_align_t data[];
};

struct arena {
	struct block *blocks;    /* the first one is the one being filled */
	size_t size;
	struct guard guard;
};

static void *must(void *p)
{
	if (p == NULL)
		attempt_give_up();
	return p;
}

static void undo_arena(void *a)
{
	arena_free(a);
}

struct arena *arena_new(void)
{
	struct arena *a = must(calloc(1, sizeof(struct arena)));

	guard_set(&a->guard, undo_arena, a);
	return a;
}

void arena_free(struct arena *a)
{
	struct block *b, *next;

	if (a == NULL)
		return;
	guard_lift(&a->guard);
	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		explicit_bzero(b->data, b->used);    /* there may have been passwords in it */
		free(b);
	}
	free(a);
}

static struct block *block_new(size_t size)
{
	struct block *b = NULL;
	size_t bytes;

	if (!__builtin_add_overflow(sizeof(*b), size, &bytes))
		b = calloc(1, bytes);
	must(b);
	b->size = size;
	return b;
}

/* Something large gets a block of its own, behind the one being filled, whose rest stays of use. */
static void *alloc_large(struct arena *a, size_t n)
{
	struct block *b = block_new(n);

	b->used = n;
	if (a->blocks != NULL) {
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		a->blocks = b;
	}
	return b->data;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct block *b = a->blocks;
	size_t align = alignof(max_align_t);
	size_t rounded = n > SIZE_MAX - align ? n : (n + align - 1) / align * align;
	void *p;

	a->size += rounded;
	if (rounded > BLOCK_SIZE / 4)
		return alloc_large(a, rounded);
	if (b == NULL || b->size - b->used < rounded) {
		b = block_new(BLOCK_SIZE);
		b->next = a->blocks;
		a->blocks = b;
	}
	p = (char *)b->data + b->used;
	b->used += rounded;
	return p;
}

char *arena_copy(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return p;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list ap, again;
	char *p;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (n < 0)
		n = 0;
	p = arena_alloc(a, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, format, ap);
	va_end(ap);
	return p;
}

size_t arena_size(const struct arena *a)
{
	return a->size;
}
