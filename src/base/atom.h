/*
 * Atoms: texts held once however many use them, so that two are equal exactly
 * when their pointers are, and a client that shares its user name and its
 * parameters with a thousand others pays for pointers only.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/hashtable.h"
#include "base/str.h"

struct atom {
	struct hashed hashed;    /* under a key that nobody knows: clients choose the texts */
	uint32_t refs;
	uint32_t len;
	char text[];             /* NUL-terminated; may hold any other byte */
};

/* The atom of a text, with a reference for the caller; NULL when out of memory. */
struct atom *atom_get(struct slice text);

/* The atom of a text if there is one, without a reference; else NULL. */
struct atom *atom_find(struct slice text);

struct atom *atom_ref(struct atom *a);

/* Drops the reference and clears the caller's pointer; NULL inside is allowed. */
void atom_unref(struct atom **a);

static inline struct slice atom_slice(const struct atom *a)
{
	return (struct slice){a->text, a->len};
}

/* How many there are and their memory, for SHOW MEM. */
size_t atom_count(void);
size_t atom_memory(void);
