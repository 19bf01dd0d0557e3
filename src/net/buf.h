/*
 * Byte buffers, lent out only while bytes are waiting.
 *
 * A connection with nothing in flight holds no buffer: it borrows one when a
 * write comes up short or bytes must wait for a server, and returns it as soon
 * as they have gone. Sizes come in classes; returned buffers of the common
 * classes are kept for the next borrower, within a bound.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	struct buf *next;        /* in the pool's free list */
	uint32_t cap;
	uint32_t start, end;     /* the bytes that wait are data[start, end) */
	uint8_t data[];
};

struct bufpool;

struct bufpool *bufpool_new(void);
void bufpool_free(struct bufpool *pool);

/* An empty buffer for at least n bytes, or NULL when out of memory. */
struct buf *buf_borrow(struct bufpool *pool, size_t n);

/* Gives *b back and clears the caller's pointer. NULL inside is allowed. */
void buf_return(struct bufpool *pool, struct buf **b);

/*
 * Appends all of [p, p + n) to *b, which is borrowed when NULL and exchanged
 * for a larger one when it is too small. False, and nothing changed, when out
 * of memory.
 */
bool buf_append(struct bufpool *pool, struct buf **b, const void *p, size_t n);

static inline size_t buf_bytes(const struct buf *b)
{
	return b == NULL ? 0 : b->end - b->start;
}

/* The room of it, taken or not. */
static inline size_t buf_memory(const struct buf *b)
{
	return b == NULL ? 0 : sizeof(*b) + b->cap;
}

/* Frees what is kept for the next borrowers. */
void bufpool_trim(struct bufpool *pool);

/* Figures for SHOW MEM. */
struct bufpool_figures {
	size_t lent, lent_bytes, kept, kept_bytes;
};
void bufpool_figures(const struct bufpool *pool, struct bufpool_figures *f);
