/*
 * Which prepared statements one server has, least recently used first.
 *
 * Finding, using, adding and dropping one are a look into a table each, and
 * allocate nothing once the table has grown to what is in use. The cache holds a
 * reference to each; dropping one may free it, unless the caller holds another.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/stmts.h"

struct stmt_cached;

struct stmt_cache {
	struct stmts *all;
	struct stmt_cached *entries;     /* slots; used ones are chained by last use */
	uint32_t *buckets;
	uint32_t n, cap, nbuckets;
	uint32_t oldest, newest, spare;  /* indexes; spare: the first slot that is free */
};

void stmt_cache_init(struct stmt_cache *c, struct stmts *all);
void stmt_cache_fini(struct stmt_cache *c);

enum stmt_presence {
	STMT_ABSENT,
	STMT_STALE,       /* in an older version */
	STMT_PRESENT,
};

/* Whether the server has it; if so, it is now the one used last (`now`: microseconds, for stmt_cache_oldest()). */
enum stmt_presence stmt_cache_use(struct stmt_cache *c, const struct stmt *s, uint64_t now);

/* The same without its counting as a use. */
enum stmt_presence stmt_cache_look(const struct stmt_cache *c, const struct stmt *s);

/* The server has it now, in this version. It must be absent. False when out of memory. */
bool stmt_cache_add(struct stmt_cache *c, struct stmt *s, uint32_t version, uint64_t now);

/* The server has it no more; returns the version that it had (0 and nothing happens if it was absent). */
uint32_t stmt_cache_drop(struct stmt_cache *c, struct stmt *s);
void stmt_cache_clear(struct stmt_cache *c);

/*
 * The one used longest ago, and, given one, the one used next; NULL at the
 * end. *used_at (may be NULL) gets when that was.
 */
struct stmt *stmt_cache_oldest(const struct stmt_cache *c, const struct stmt *after, uint64_t *used_at);

static inline uint32_t stmt_cache_count(const struct stmt_cache *c)
{
	return c->n;
}
