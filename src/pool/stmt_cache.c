#include "pool/stmt_cache.h"

#include <stdlib.h>
#include <string.h>

#define FEWEST_ENTRIES 8

/* Indexes, half as long as pointers, stay right when the entries move. */
#define NONE UINT32_MAX

struct stmt_cached {
	struct stmt *stmt;
	uint64_t used_at;
	uint32_t version;
	uint32_t older, newer;           /* by last use */
	uint32_t next;                   /* in its bucket, or among the spare ones */
};

void stmt_cache_init(struct stmt_cache *c, struct stmts *all)
{
	*c = (struct stmt_cache){.all = all, .oldest = NONE, .newest = NONE, .spare = NONE};
}

void stmt_cache_fini(struct stmt_cache *c)
{
	stmt_cache_clear(c);
	free(c->entries);
	free(c->buckets);
	stmt_cache_init(c, c->all);
}

/* --- buckets --- */

static uint32_t *bucket_of(const struct stmt_cache *c, const struct stmt *s)
{
	return &c->buckets[s->hashed.hash & (c->nbuckets - 1)];
}

static uint32_t find(const struct stmt_cache *c, const struct stmt *s)
{
	uint32_t i = c->n == 0 ? NONE : *bucket_of(c, s);

	while (i != NONE && c->entries[i].stmt != s)
		i = c->entries[i].next;
	return i;
}

static void put_into_bucket(struct stmt_cache *c, uint32_t i)
{
	uint32_t *bucket = bucket_of(c, c->entries[i].stmt);

	c->entries[i].next = *bucket;
	*bucket = i;
}

static void take_from_bucket(struct stmt_cache *c, uint32_t i)
{
	uint32_t *link = bucket_of(c, c->entries[i].stmt);

	while (*link != i)
		link = &c->entries[*link].next;
	*link = c->entries[i].next;
}

/* --- order of use --- */

static void chain_as_newest(struct stmt_cache *c, uint32_t i)
{
	c->entries[i].older = c->newest;
	c->entries[i].newer = NONE;
	if (c->newest == NONE)
		c->oldest = i;
	else
		c->entries[c->newest].newer = i;
	c->newest = i;
}

static void unchain(struct stmt_cache *c, uint32_t i)
{
	const struct stmt_cached *e = &c->entries[i];

	if (e->older == NONE)
		c->oldest = e->newer;
	else
		c->entries[e->older].newer = e->newer;
	if (e->newer == NONE)
		c->newest = e->older;
	else
		c->entries[e->newer].older = e->older;
}

/* --- slots --- */

static void give_slot(struct stmt_cache *c, uint32_t i)
{
	c->entries[i].next = c->spare;
	c->spare = i;
}

/* There must be a spare one. */
static uint32_t take_slot(struct stmt_cache *c)
{
	uint32_t i = c->spare;

	c->spare = c->entries[i].next;
	return i;
}

/* All slots are in use: as many again, and as many buckets as slots. */
static bool grow(struct stmt_cache *c)
{
	uint32_t cap = c->cap == 0 ? FEWEST_ENTRIES : 2 * c->cap;
	uint32_t *buckets = malloc(cap * sizeof(buckets[0]));
	struct stmt_cached *entries = buckets == NULL ? NULL : realloc(c->entries, cap * sizeof(entries[0]));

	if (entries == NULL) {
		free(buckets);
		return false;
	}
	free(c->buckets);
	c->entries = entries;
	c->buckets = buckets;
	c->nbuckets = cap;
	/* Every byte of NONE is 0xff. */
	memset(buckets, 0xff, cap * sizeof(buckets[0]));
	for (uint32_t i = 0; i < c->cap; i++)
		put_into_bucket(c, i);
	for (uint32_t i = cap; i-- > c->cap;)
		give_slot(c, i);
	c->cap = cap;
	return true;
}

/* --- what a server has --- */

static enum stmt_presence presence(const struct stmt_cache *c, uint32_t i)
{
	if (i == NONE)
		return STMT_ABSENT;
	return c->entries[i].version == c->entries[i].stmt->version ? STMT_PRESENT : STMT_STALE;
}

enum stmt_presence stmt_cache_use(struct stmt_cache *c, const struct stmt *s, uint64_t now)
{
	uint32_t i = find(c, s);

	if (i != NONE) {
		unchain(c, i);
		chain_as_newest(c, i);
		c->entries[i].used_at = now;
	}
	return presence(c, i);
}

enum stmt_presence stmt_cache_look(const struct stmt_cache *c, const struct stmt *s)
{
	return presence(c, find(c, s));
}

bool stmt_cache_add(struct stmt_cache *c, struct stmt *s, uint32_t version, uint64_t now)
{
	uint32_t i;

	if (c->spare == NONE && !grow(c))
		return false;
	i = take_slot(c);
	c->entries[i].stmt = stmt_ref(s);
	c->entries[i].version = version;
	c->entries[i].used_at = now;
	put_into_bucket(c, i);
	chain_as_newest(c, i);
	s->nservers++;
	c->n++;
	return true;
}

static void drop(struct stmt_cache *c, uint32_t i)
{
	take_from_bucket(c, i);
	unchain(c, i);
	c->entries[i].stmt->nservers--;
	stmt_unref(c->all, &c->entries[i].stmt);
	give_slot(c, i);
	c->n--;
}

uint32_t stmt_cache_drop(struct stmt_cache *c, struct stmt *s)
{
	uint32_t i = find(c, s);

	if (i == NONE)
		return 0;
	drop(c, i);
	return c->entries[i].version;
}

void stmt_cache_clear(struct stmt_cache *c)
{
	while (c->oldest != NONE)
		drop(c, c->oldest);
}

struct stmt *stmt_cache_oldest(const struct stmt_cache *c, const struct stmt *after, uint64_t *used_at)
{
	uint32_t i = c->oldest;

	if (after != NULL) {
		i = find(c, after);
		if (i != NONE)
			i = c->entries[i].newer;
	}
	if (i == NONE)
		return NULL;
	if (used_at != NULL)
		*used_at = c->entries[i].used_at;
	return c->entries[i].stmt;
}
