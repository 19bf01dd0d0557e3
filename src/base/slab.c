#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define REUSE_LATE 1
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define REUSE_LATE 0
#endif

/* A chunk is aligned to its size, so that an object's address gives its chunk. */
#define CHUNK_SIZE ((size_t)64 * 1024)

/* So many are allocated together: what is aligned like this costs a page more. What is not touched costs nothing. */
#define CHUNKS_A_BLOCK 16

struct chunk {
	uint32_t number;
	uint64_t live[];         /* one bit an object */
};

struct slab {
	const char *name;
	size_t size;             /* of an object, rounded up */
	uint32_t per_chunk;
	size_t first;            /* offset of the first object in a chunk */
	struct chunk **chunks;
	uint32_t nchunks;
	uint32_t *free;          /* indices that are free: a stack, or a ring under AddressSanitizer */
	size_t nfree, head;
	size_t free_cap;
	size_t used;
};

struct slab *slab_new(const char *name, size_t object_size)
{
	struct slab *s = calloc(1, sizeof(*s));
	size_t words;

	if (s == NULL)
		return NULL;
	s->name = name;
	s->size = (object_size + 15) & ~(size_t)15;
	words = (CHUNK_SIZE / s->size + 63) / 64;
	s->first = (sizeof(struct chunk) + words * sizeof(uint64_t) + 15) & ~(size_t)15;
	s->per_chunk = (uint32_t)((CHUNK_SIZE - s->first) / s->size);
	return s;
}

void slab_free(struct slab *s)
{
	if (s == NULL)
		return;
	for (uint32_t i = 0; i < s->nchunks; i++)
		ASAN_UNPOISON_MEMORY_REGION(s->chunks[i], CHUNK_SIZE);
	for (uint32_t i = 0; i < s->nchunks; i += CHUNKS_A_BLOCK)
		free(s->chunks[i]);
	free(s->chunks);
	free(s->free);
	free(s);
}

static void *object_at(const struct slab *s, uint32_t index)
{
	return (char *)s->chunks[index / s->per_chunk] + s->first + (size_t)(index % s->per_chunk) * s->size;
}

static void push_free(struct slab *s, uint32_t index)
{
	s->free[(s->head + s->nfree++) % s->free_cap] = index;
}

static uint32_t pop_free(struct slab *s)
{
	uint32_t index;

	s->nfree--;
	if (!REUSE_LATE)
		return s->free[s->nfree];
	index = s->free[s->head];
	s->head = (s->head + 1) % s->free_cap;
	return index;
}

/* The memory of the next one; NULL when out of memory. */
static struct chunk *next_chunk(const struct slab *s)
{
	if (s->nchunks % CHUNKS_A_BLOCK == 0)
		return aligned_alloc(CHUNK_SIZE, CHUNKS_A_BLOCK * CHUNK_SIZE);
	return (struct chunk *)((char *)s->chunks[s->nchunks - 1] + CHUNK_SIZE);
}

/* Called only when nothing is free, so the ring of free indices is empty and may move. */
static bool add_chunk(struct slab *s)
{
	size_t total = (size_t)(s->nchunks + 1) * s->per_chunk;
	struct chunk **chunks = realloc(s->chunks, (s->nchunks + 1) * sizeof(*chunks));
	uint32_t *indices;
	struct chunk *c;

	if (chunks == NULL)
		return false;
	s->chunks = chunks;
	indices = realloc(s->free, total * sizeof(*indices));
	if (indices == NULL)
		return false;
	s->free = indices;
	s->free_cap = total;
	s->head = 0;
	c = next_chunk(s);
	if (c == NULL)
		return false;
	memset(c, 0, s->first);
	c->number = s->nchunks;
	s->chunks[s->nchunks++] = c;
	ASAN_POISON_MEMORY_REGION((char *)c + s->first, CHUNK_SIZE - s->first);
	for (uint32_t i = 0; i < s->per_chunk; i++)
		push_free(s, (uint32_t)(total - 1 - i));
	return true;
}

void *slab_take(struct slab *s)
{
	uint32_t index, bit;
	void *object;

	if (s->nfree == 0 && !add_chunk(s))
		return NULL;
	index = pop_free(s);
	bit = index % s->per_chunk;
	s->chunks[index / s->per_chunk]->live[bit / 64] |= UINT64_C(1) << (bit % 64);
	s->used++;
	object = object_at(s, index);
	ASAN_UNPOISON_MEMORY_REGION(object, s->size);
	memset(object, 0, s->size);
	return object;
}

static struct chunk *chunk_of(const void *object)
{
	return (struct chunk *)((uintptr_t)object & ~(uintptr_t)(CHUNK_SIZE - 1));
}

uint32_t slab_index(const struct slab *s, const void *object)
{
	const struct chunk *c = chunk_of(object);
	size_t offset = (size_t)((const char *)object - (const char *)c) - s->first;

	return c->number * s->per_chunk + (uint32_t)(offset / s->size);
}

void slab_give(struct slab *s, void *object)
{
	uint32_t index = slab_index(s, object);
	uint32_t bit = index % s->per_chunk;

	chunk_of(object)->live[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
	s->used--;
	ASAN_POISON_MEMORY_REGION(object, s->size);
	push_free(s, index);
}

static bool is_live(const struct slab *s, uint32_t index)
{
	uint32_t bit = index % s->per_chunk;

	return (s->chunks[index / s->per_chunk]->live[bit / 64] >> (bit % 64)) & 1;
}

void *slab_at(const struct slab *s, uint32_t index)
{
	if (index / s->per_chunk >= s->nchunks || !is_live(s, index))
		return NULL;
	return object_at(s, index);
}

void *slab_next(const struct slab *s, uint32_t *index)
{
	uint32_t end = s->nchunks * s->per_chunk;

	while (*index < end) {
		uint32_t i = (*index)++;

		if (is_live(s, i))
			return object_at(s, i);
	}
	return NULL;
}

const char *slab_name(const struct slab *s)
{
	return s->name;
}

size_t slab_object_size(const struct slab *s)
{
	return s->size;
}

size_t slab_used(const struct slab *s)
{
	return s->used;
}

size_t slab_capacity(const struct slab *s)
{
	return (size_t)s->nchunks * s->per_chunk;
}
