#include "base/atom.h"

#include <stdlib.h>

#include "base/siphash.h"

static struct hashtable all;
static size_t memory;            /* of the atoms, without the table */

static uint64_t hash_of(struct slice text)
{
	return siphash_here(text.p, text.n);
}

static struct atom *find(struct slice text, uint64_t hash)
{
	struct hashed *h = hashtable_find(&all, hash);

	/* `hashed` is the first member. */
	while (h != NULL && !slice_eq(atom_slice((struct atom *)h), text))
		h = hashtable_find_next(h);
	return (struct atom *)h;
}

static struct atom *make(struct slice text, uint64_t hash)
{
	struct atom *a = malloc(sizeof(*a) + text.n + 1);

	if (a == NULL)
		return NULL;
	a->hashed.hash = hash;
	a->refs = 1;
	a->len = (uint32_t)text.n;
	if (text.n > 0)
		memcpy(a->text, text.p, text.n);
	a->text[text.n] = '\0';
	if (!hashtable_add(&all, &a->hashed)) {
		free(a);
		return NULL;
	}
	memory += sizeof(*a) + text.n + 1;
	return a;
}

struct atom *atom_get(struct slice text)
{
	uint64_t hash = hash_of(text);
	struct atom *a = find(text, hash);

	return a == NULL ? make(text, hash) : atom_ref(a);
}

struct atom *atom_find(struct slice text)
{
	return find(text, hash_of(text));
}

struct atom *atom_ref(struct atom *a)
{
	a->refs++;
	return a;
}

void atom_unref(struct atom **a)
{
	struct atom *dead = *a;

	*a = NULL;
	if (dead == NULL || --dead->refs > 0)
		return;
	hashtable_remove(&all, &dead->hashed);
	memory -= sizeof(*dead) + dead->len + 1;
	free(dead);
}

size_t atom_count(void)
{
	return all.n;
}

size_t atom_memory(void)
{
	return memory + hashtable_memory(&all);
}
