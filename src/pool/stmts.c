#include "pool/stmts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/siphash.h"
#include "base/sys.h"

struct stmts {
	struct hashtable table;
	uint64_t last_id;
	size_t memory;           /* of the statements, without the table */
	/* A key for each kind: equal bodies of two kinds do not fall together. */
	uint8_t keys[STMT_SQL + 1][SIPHASH_KEY_SIZE];
};

struct stmts *stmts_new(void)
{
	struct stmts *all = calloc(1, sizeof(*all));

	if (all != NULL)
		sys_random(all->keys, sizeof(all->keys));
	return all;
}

void stmts_free(struct stmts **all)
{
	free(*all);
	*all = NULL;
}

static struct stmt *find(const struct stmts *all, enum stmt_kind kind, struct slice body, uint64_t hash)
{
	for (struct hashed *h = hashtable_find(&all->table, hash); h != NULL; h = hashtable_find_next(h)) {
		struct stmt *s = (struct stmt *)h; /* `hashed` is the first member */

		if (s->kind == kind && slice_eq(stmt_body(s), body))
			return s;
	}
	return NULL;
}

static struct stmt *make(struct stmts *all, enum stmt_kind kind, struct slice body, uint64_t hash)
{
	struct stmt *s = malloc(sizeof(*s) + body.n);

	if (s == NULL)
		return NULL;
	*s = (struct stmt){.hashed.hash = hash, .refs = 1, .version = 1, .kind = (uint8_t)kind};
	s->size = (uint32_t)body.n;
	if (body.n > 0)
		memcpy(s->body, body.p, body.n);
	if (!hashtable_add(&all->table, &s->hashed)) {
		free(s);
		return NULL;
	}
	s->id = ++all->last_id;
	s->name_len = (uint8_t)snprintf(s->name, sizeof(s->name), STMT_NAME_PREFIX "%" PRIx64, s->id);
	all->memory += sizeof(*s) + body.n;
	return s;
}

struct stmt *stmts_get(struct stmts *all, enum stmt_kind kind, struct slice body, struct stmt *needs)
{
	uint64_t hash = siphash(all->keys[kind], body.p, body.n);
	struct stmt *s = find(all, kind, body, hash);

	if (s != NULL)
		return stmt_ref(s);
	s = make(all, kind, body, hash);
	if (s != NULL && needs != NULL)
		s->needs = stmt_ref(needs);
	return s;
}

struct stmt *stmt_ref(struct stmt *s)
{
	s->refs++;
	return s;
}

/* A loop, because clients decide how long the chain of needs is. */
void stmt_unref(struct stmts *all, struct stmt **s)
{
	struct stmt *dead = *s;

	*s = NULL;
	while (dead != NULL && --dead->refs == 0) {
		struct stmt *needs = dead->needs;

		hashtable_remove(&all->table, &dead->hashed);
		all->memory -= sizeof(*dead) + dead->size;
		free(dead);
		dead = needs;
	}
}

struct slice stmt_text(const struct stmt *s)
{
	return (struct slice){s->body, s->kind == STMT_PARSED ? strnlen(s->body, s->size) : s->size};
}

size_t stmts_count(const struct stmts *all)
{
	return all->table.n;
}

size_t stmts_memory(const struct stmts *all)
{
	return all->memory + hashtable_memory(&all->table);
}

const struct stmt *stmts_next(const struct stmts *all, const struct stmt *s)
{
	return (const struct stmt *)hashtable_next(&all->table, s == NULL ? NULL : &s->hashed);
}
