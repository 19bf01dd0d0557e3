#include "net/buf.h"

#include <stdlib.h>
#include <string.h>

/* Data sizes that are kept for reuse, and how many of each; anything larger goes back to malloc. */
static const struct {
	uint32_t cap;
	size_t keep;
} classes[] = {{512 - sizeof(struct buf), 4096}, {4096 - sizeof(struct buf), 1024}, {65536, 64}, {262144, 8}};

#define NCLASSES (sizeof(classes) / sizeof(classes[0]))

struct bufpool {
	struct buf *free[NCLASSES];
	size_t nfree[NCLASSES];
	size_t lent, lent_bytes;
};

struct bufpool *bufpool_new(void)
{
	return calloc(1, sizeof(struct bufpool));
}

void bufpool_trim(struct bufpool *pool)
{
	for (size_t i = 0; i < NCLASSES; i++) {
		while (pool->free[i] != NULL) {
			struct buf *b = pool->free[i];

			pool->free[i] = b->next;
			free(b);
		}
		pool->nfree[i] = 0;
	}
}

void bufpool_free(struct bufpool *pool)
{
	if (pool == NULL)
		return;
	bufpool_trim(pool);
	free(pool);
}

static size_t class_for(size_t n)
{
	size_t i = 0;

	while (i < NCLASSES && classes[i].cap < n)
		i++;
	return i;
}

static struct buf *allocate(size_t cap)
{
	struct buf *b = malloc(sizeof(*b) + cap);

	if (b != NULL)
		b->cap = (uint32_t)cap;
	return b;
}

struct buf *buf_borrow(struct bufpool *pool, size_t n)
{
	size_t i = class_for(n);
	struct buf *b;

	if (i < NCLASSES && pool->free[i] != NULL) {
		b = pool->free[i];
		pool->free[i] = b->next;
		pool->nfree[i]--;
	} else {
		b = allocate(i < NCLASSES ? classes[i].cap : n);
		if (b == NULL)
			return NULL;
	}
	b->next = NULL;
	b->start = b->end = 0;
	pool->lent++;
	pool->lent_bytes += b->cap;
	return b;
}

void buf_return(struct bufpool *pool, struct buf **b)
{
	struct buf *old = *b;
	size_t i;

	*b = NULL;
	if (old == NULL)
		return;
	pool->lent--;
	pool->lent_bytes -= old->cap;
	i = class_for(old->cap);
	if (i < NCLASSES && classes[i].cap == old->cap && pool->nfree[i] < classes[i].keep) {
		old->next = pool->free[i];
		pool->free[i] = old;
		pool->nfree[i]++;
	} else {
		free(old);
	}
}

/* Doubling keeps the cost of a message that arrives in many pieces linear. */
static bool grow(struct bufpool *pool, struct buf **b, size_t more)
{
	struct buf *old = *b;
	size_t have = buf_bytes(old);
	size_t want = have + more;
	struct buf *larger;

	if (old != NULL && want < (size_t)old->cap * 2)
		want = (size_t)old->cap * 2;
	if (want > UINT32_MAX)
		return false;
	larger = buf_borrow(pool, want);
	if (larger == NULL)
		return false;
	if (have > 0)
		memcpy(larger->data, old->data + old->start, have);
	larger->end = (uint32_t)have;
	buf_return(pool, b);
	*b = larger;
	return true;
}

bool buf_append(struct bufpool *pool, struct buf **b, const void *p, size_t n)
{
	if (*b != NULL && (*b)->start > 0 && (*b)->cap - (*b)->end < n) {
		memmove((*b)->data, (*b)->data + (*b)->start, buf_bytes(*b));
		(*b)->end -= (*b)->start;
		(*b)->start = 0;
	}
	if ((*b == NULL || (*b)->cap - (*b)->end < n) && !grow(pool, b, n))
		return false;
	memcpy((*b)->data + (*b)->end, p, n);
	(*b)->end += (uint32_t)n;
	return true;
}

void bufpool_figures(const struct bufpool *pool, struct bufpool_figures *f)
{
	*f = (struct bufpool_figures){.lent = pool->lent, .lent_bytes = pool->lent_bytes};
	for (size_t i = 0; i < NCLASSES; i++) {
		f->kept += pool->nfree[i];
		f->kept_bytes += pool->nfree[i] * classes[i].cap;
	}
}
