#include "base/hashtable.h"

#include <stdlib.h>

#define FEWEST_BUCKETS 8

static struct hashed **bucket_of(const struct hashtable *t, uint64_t hash)
{
	return &t->buckets[hash & (t->nbuckets - 1)];
}

static struct hashed *with_hash(struct hashed *h, uint64_t hash)
{
	while (h != NULL && h->hash != hash)
		h = h->next;
	return h;
}

struct hashed *hashtable_find(const struct hashtable *t, uint64_t hash)
{
	return t->n == 0 ? NULL : with_hash(*bucket_of(t, hash), hash);
}

struct hashed *hashtable_find_next(const struct hashed *h)
{
	return with_hash(h->next, h->hash);
}

static void put(const struct hashtable *t, struct hashed *h)
{
	struct hashed **bucket = bucket_of(t, h->hash);

	h->next = *bucket;
	*bucket = h;
}

/* Without memory the table stays as it is. */
static void resize(struct hashtable *t, size_t nbuckets)
{
	struct hashtable after = {.nbuckets = nbuckets, .n = t->n};

	after.buckets = calloc(nbuckets, sizeof(after.buckets[0]));
	if (after.buckets == NULL)
		return;
	for (size_t i = 0; i < t->nbuckets; i++) {
		struct hashed *next;

		for (struct hashed *h = t->buckets[i]; h != NULL; h = next) {
			next = h->next;
			put(&after, h);
		}
	}
	free(t->buckets);
	*t = after;
}

/* A table that cannot grow has longer chains, and that is all: only the first buckets are needed. */
bool hashtable_add(struct hashtable *t, struct hashed *h)
{
	if (t->n >= t->nbuckets)
		resize(t, t->nbuckets == 0 ? FEWEST_BUCKETS : 2 * t->nbuckets);
	if (t->nbuckets == 0)
		return false;
	put(t, h);
	t->n++;
	return true;
}

void hashtable_remove(struct hashtable *t, struct hashed *h)
{
	struct hashed **link = bucket_of(t, h->hash);

	while (*link != h)
		link = &(*link)->next;
	*link = h->next;
	if (--t->n == 0) {
		free(t->buckets);
		*t = (struct hashtable){0};
	} else if (t->n < t->nbuckets / 8 && t->nbuckets > FEWEST_BUCKETS) {
		resize(t, t->nbuckets / 2);
	}
}

struct hashed *hashtable_next(const struct hashtable *t, const struct hashed *h)
{
	size_t i = 0;

	if (h != NULL && h->next != NULL)
		return h->next;
	if (h != NULL)
		i = (h->hash & (t->nbuckets - 1)) + 1;
	while (i < t->nbuckets && t->buckets[i] == NULL)
		i++;
	return i < t->nbuckets ? t->buckets[i] : NULL;
}

size_t hashtable_memory(const struct hashtable *t)
{
	return t->nbuckets * sizeof(t->buckets[0]);
}
