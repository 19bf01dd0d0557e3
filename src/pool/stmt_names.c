#include "pool/stmt_names.h"

#include <stdint.h>
#include <stdlib.h>

#define FEWEST_SLOTS 4

/*
 * Open addressing: a name lies in the slot that its hash says or in the next
 * free one behind it, without gaps between. At least a quarter is free.
 */
struct stmt_names {
	struct stmts *all;
	struct stmt_named *slots;        /* NULL before the first name; free ones have no name */
	uint32_t n;
	uint32_t nslots;                 /* a power of two, or 0 */
	size_t stmts_size;               /* of the statements and their texts */
};

struct stmt_names *stmt_names_new(struct stmts *all)
{
	struct stmt_names *names = calloc(1, sizeof(*names));

	if (names != NULL)
		names->all = all;
	return names;
}

void stmt_names_free(struct stmt_names **names)
{
	if (*names == NULL)
		return;
	stmt_names_clear(*names);
	free(*names);
	*names = NULL;
}

static struct slice cut(struct slice name)
{
	if (name.n > STMT_CLIENT_NAME_MAX)
		name.n = STMT_CLIENT_NAME_MAX;
	return name;
}

static uint32_t home_of(const struct stmt_names *names, const struct atom *name)
{
	return (uint32_t)name->hashed.hash & (names->nslots - 1);
}

static uint32_t behind(const struct stmt_names *names, uint32_t i)
{
	return (i + 1) & (names->nslots - 1);
}

/* The name's slot, or the free one where it would be. There must be slots. */
static struct stmt_named *slot_of(const struct stmt_names *names, const struct atom *name)
{
	uint32_t i = home_of(names, name);

	while (names->slots[i].name != NULL && names->slots[i].name != name)
		i = behind(names, i);
	return &names->slots[i];
}

static struct stmt_named *find(const struct stmt_names *names, struct slice name)
{
	struct atom *atom = names->n == 0 ? NULL : atom_find(cut(name));
	struct stmt_named *slot = atom == NULL ? NULL : slot_of(names, atom);

	return slot == NULL || slot->name == NULL ? NULL : slot;
}

const struct stmt_named *stmt_names_find(const struct stmt_names *names, struct slice name)
{
	return find(names, name);
}

const struct stmt_named *stmt_names_by_stmt(const struct stmt_names *names, struct slice server_name)
{
	for (uint32_t i = 0; i < names->nslots; i++) {
		if (names->slots[i].name != NULL && slice_eq(stmt_name(names->slots[i].stmt), server_name))
			return &names->slots[i];
	}
	return NULL;
}

static bool grow(struct stmt_names *names)
{
	struct stmt_names after = *names;

	after.nslots = names->nslots == 0 ? FEWEST_SLOTS : 2 * names->nslots;
	after.slots = calloc(after.nslots, sizeof(after.slots[0]));
	if (after.slots == NULL)
		return false;
	for (uint32_t i = 0; i < names->nslots; i++) {
		if (names->slots[i].name != NULL)
			*slot_of(&after, names->slots[i].name) = names->slots[i];
	}
	free(names->slots);
	*names = after;
	return true;
}

static size_t size_of(const struct stmt *stmt)
{
	return sizeof(*stmt) + sizeof(*stmt->body) + stmt->body->len;
}

/* Gives up the statement of a slot, not the name. */
static void drop_stmt(struct stmt_names *names, struct stmt_named *slot)
{
	names->stmts_size -= size_of(slot->stmt);
	slot->stmt->nclients--;
	stmt_unref(names->all, &slot->stmt);
}

static void put(struct stmt_names *names, struct stmt_named *slot, struct atom *name, struct stmt *stmt)
{
	stmt_ref(stmt)->nclients++;
	if (slot->name == NULL) {
		slot->name = atom_ref(name);
		names->n++;
	} else {
		drop_stmt(names, slot);
	}
	names->stmts_size += size_of(stmt);
	slot->stmt = stmt;
	slot->version = stmt->version;
	slot->is_used = false;
}

bool stmt_names_set_atom(struct stmt_names *names, struct atom *name, struct stmt *stmt)
{
	if (name->len > STMT_CLIENT_NAME_MAX)
		return stmt_names_set(names, atom_slice(name), stmt);
	if (4 * (names->n + 1) > 3 * names->nslots && !grow(names))
		return false;
	put(names, slot_of(names, name), name, stmt);
	return true;
}

bool stmt_names_set(struct stmt_names *names, struct slice name, struct stmt *stmt)
{
	struct atom *atom = atom_get(cut(name));
	bool ok = atom != NULL && stmt_names_set_atom(names, atom, stmt);

	atom_unref(&atom);
	return ok;
}

void stmt_names_renew(struct stmt_names *names, struct slice name)
{
	struct stmt_named *slot = find(names, name);

	if (slot == NULL)
		return;
	slot->version = slot->stmt->version;
	slot->is_used = true;
}

/* Names behind a gap, whose way from home led over it, move up. */
static void close_gap(struct stmt_names *names, uint32_t gap)
{
	uint32_t mask = names->nslots - 1;

	for (uint32_t i = behind(names, gap); names->slots[i].name != NULL; i = behind(names, i)) {
		uint32_t way = (i - home_of(names, names->slots[i].name)) & mask;

		if (way < ((i - gap) & mask))
			continue;
		names->slots[gap] = names->slots[i];
		names->slots[i] = (struct stmt_named){0};
		gap = i;
	}
}

void stmt_names_drop(struct stmt_names *names, struct slice name)
{
	struct stmt_named *slot = find(names, name);

	if (slot == NULL)
		return;
	drop_stmt(names, slot);
	atom_unref(&slot->name);
	names->n--;
	close_gap(names, (uint32_t)(slot - names->slots));
}

void stmt_names_clear(struct stmt_names *names)
{
	for (uint32_t i = 0; i < names->nslots; i++) {
		if (names->slots[i].name == NULL)
			continue;
		drop_stmt(names, &names->slots[i]);
		atom_unref(&names->slots[i].name);
	}
	free(names->slots);
	*names = (struct stmt_names){.all = names->all};
}

bool stmt_names_clear_named(struct stmt_names *names)
{
	const struct stmt_named *unnamed = stmt_names_find(names, SLICE_LIT(""));
	struct stmt *kept = unnamed == NULL ? NULL : stmt_ref(unnamed->stmt);
	bool ok;

	stmt_names_clear(names);
	ok = kept == NULL || stmt_names_set(names, SLICE_LIT(""), kept);
	stmt_unref(names->all, &kept);
	return ok;
}

size_t stmt_names_count(const struct stmt_names *names)
{
	return names->n;
}

size_t stmt_names_memory(const struct stmt_names *names)
{
	return sizeof(*names) + names->nslots * sizeof(names->slots[0]) + names->stmts_size;
}
