/*
 * Slabs: objects of one size, packed, each with a small index that finds it
 * again (a cancel key carries the index of its client). Memory comes in
 * chunks that are kept. Under AddressSanitizer a free object is poisoned and
 * reused as late as possible.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slab;

struct slab *slab_new(const char *name, size_t object_size);

/* All objects go with it. */
void slab_free(struct slab *s);

/* A zeroed object, or NULL when out of memory. */
void *slab_take(struct slab *s);
void slab_give(struct slab *s, void *object);

/* The index of an object, and the live object of an index (NULL if there is none). */
uint32_t slab_index(const struct slab *s, const void *object);
void *slab_at(const struct slab *s, uint32_t index);

/* Iteration in order of index: the first live object at or after *index, which is then set behind it; NULL at the end. */
void *slab_next(const struct slab *s, uint32_t *index);

const char *slab_name(const struct slab *s);
size_t slab_object_size(const struct slab *s);
size_t slab_used(const struct slab *s);
size_t slab_capacity(const struct slab *s);
