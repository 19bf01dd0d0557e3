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
	uint8_t key[SIPHASH_KEY_SIZE];
};

struct stmts *stmts_new(void)
{
	struct stmts *all = calloc(1, sizeof(*all));

	if (all != NULL)
		sys_random(all->key, sizeof(all->key));
	return all;
}

void stmts_free(struct stmts **all)
{
	free(*all);
	*all = NULL;
}

static uint64_t hash_of(const struct stmts *all, const void *scope, enum stmt_kind kind, const struct atom *body)
{
	const uintptr_t key[] = {(uintptr_t)scope, (uintptr_t)body, (uintptr_t)kind};

	return siphash(all->key, key, sizeof(key));
}

static struct stmt *find(const struct stmts *all, const void *scope, enum stmt_kind kind, const struct atom *body,
			 uint64_t hash)
{
	for (struct hashed *h = hashtable_find(&all->table, hash); h != NULL; h = hashtable_find_next(h)) {
		struct stmt *s = (struct stmt *)h; /* `hashed` is the first member */

		if (s->kind == kind && s->scope == scope && s->body == body)
			return s;
	}
	return NULL;
}

/* Takes over the reference to the body if it succeeds. */
static struct stmt *make(struct stmts *all, const void *scope, enum stmt_kind kind, struct atom *body, uint64_t hash)
{
	struct stmt *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->hashed.hash = hash;
	s->scope = scope;
	s->body = body;
	s->refs = s->version = 1;
	s->kind = (uint8_t)kind;
	if (!hashtable_add(&all->table, &s->hashed)) {
		free(s);
		return NULL;
	}
	s->id = ++all->last_id;
	s->name_len = (uint8_t)snprintf(s->name, sizeof(s->name), STMT_NAME_PREFIX "%" PRIx64, s->id);
	all->memory += sizeof(*s);
	return s;
}

struct stmt *stmts_get(struct stmts *all, const void *scope, enum stmt_kind kind, struct slice body)
{
	struct atom *text = atom_get(body);
	struct stmt *s;
	uint64_t hash;

	if (text == NULL)
		return NULL;
	hash = hash_of(all, scope, kind, text);
	s = find(all, scope, kind, text, hash);
	if (s != NULL) {
		atom_unref(&text);
		return stmt_ref(s);
	}
	s = make(all, scope, kind, text, hash);
	if (s == NULL)
		atom_unref(&text);
	return s;
}

struct stmt *stmt_ref(struct stmt *s)
{
	s->refs++;
	return s;
}

void stmt_drop(struct stmts *all, struct stmt *dead)
{
	hashtable_remove(&all->table, &dead->hashed);
	all->memory -= sizeof(*dead);
	atom_unref(&dead->body);
	free(dead);
}

struct slice stmt_text(const struct stmt *s)
{
	const struct slice body = stmt_body(s);

	return (struct slice){body.p, s->kind == STMT_PARSED ? strnlen(body.p, body.n) : body.n};
}

size_t stmts_count(const struct stmts *all)
{
	return all->table.n;
}

size_t stmts_memory(const struct stmts *all)
{
	return all->memory + hashtable_memory(&all->table);
}

const struct stmt *stmts_find_again(const struct stmts *all, uint64_t hash, uint64_t id)
{
	for (struct hashed *h = hashtable_find(&all->table, hash); h != NULL; h = hashtable_find_next(h)) {
		const struct stmt *s = (const struct stmt *)h;

		if (s->id == id)
			return s;
	}
	return NULL;
}

const struct stmt *stmts_next(const struct stmts *all, const struct stmt *s)
{
	return (const struct stmt *)hashtable_next(&all->table, s == NULL ? NULL : &s->hashed);
}
