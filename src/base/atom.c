#include "base/atom.h"

#include <stdlib.h>

static struct atom *all;
static size_t memory;

struct atom *atom_get(struct slice text)
{
	struct atom *a;

	if (text.n == 0)
		text.p = "";
	HASH_FIND(hh, all, text.p, text.n, a);
	if (a != NULL)
		return atom_ref(a);
	a = malloc(sizeof(*a) + text.n + 1);
	if (a == NULL)
		return NULL;
	a->refs = 1;
	a->len = (uint32_t)text.n;
	memcpy(a->text, text.p, text.n);
	a->text[text.n] = '\0';
	HASH_ADD_KEYPTR(hh, all, a->text, a->len, a);
	memory += sizeof(*a) + text.n + 1;
	return a;
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
	HASH_DEL(all, dead);
	memory -= sizeof(*dead) + dead->len + 1;
	free(dead);
}

size_t atom_count(void)
{
	return HASH_COUNT(all);
}

size_t atom_memory(void)
{
	return memory;
}
