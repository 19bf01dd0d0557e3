/*
 * An arena: many small allocations that live and die together, as those of a
 * configuration snapshot do. Without memory the attempt is given up in which
 * they are filled, and the arenas that were made in it are freed; outside of
 * attempts that ends the program (base/attempt.h). Arenas are filled at start
 * and at reload, never on behalf of a client.
 */
#pragma once
#include <stddef.h>

#include "base/str.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a);

/* n zeroed bytes, aligned for any type. */
void *arena_alloc(struct arena *a, size_t n);

/* A NUL-terminated copy. */
char *arena_copy(struct arena *a, struct slice s);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3), nonnull(2)));

/* All bytes handed out so far, for SHOW MEM. */
size_t arena_size(const struct arena *a);
