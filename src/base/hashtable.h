/*
 * Tables of objects that carry their own links: chains of those whose hashes
 * fall together, in buckets that double as they fill and halve as they empty.
 * The caller hashes (siphash, where clients choose the keys) and compares.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of each object; `hash` is set by the caller before it is added, and stays. */
struct hashed {
	struct hashed *next;
	uint64_t hash;
};

/* All zeros: an empty table. Without an object it owns no memory. */
struct hashtable {
	struct hashed **buckets;
	size_t nbuckets;         /* a power of two, or 0 */
	size_t n;
};

/* The first object with this hash, then the next one with the same; NULL: none. */
struct hashed *hashtable_find(const struct hashtable *t, uint64_t hash);
struct hashed *hashtable_find_next(const struct hashed *h);

/* False, and nothing changed, when out of memory. */
bool hashtable_add(struct hashtable *t, struct hashed *h);

/* It must be in the table. */
void hashtable_remove(struct hashtable *t, struct hashed *h);

/* One after the other, in no order: NULL begins, NULL ends. Nothing may be added or removed meanwhile. */
struct hashed *hashtable_next(const struct hashtable *t, const struct hashed *h);

/* Of the table alone, without its objects. */
size_t hashtable_memory(const struct hashtable *t);
