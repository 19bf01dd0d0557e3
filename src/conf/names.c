#include "conf/names.h"

/* The tables come from the arena: a variable `names` is in scope wherever uthash allocates. */
#define uthash_malloc(size) arena_alloc(names->arena, (size))
#define uthash_free(p, size) ((void)(p), (void)(size))
#include "base/hash.h"

struct node {
	void *entry;
	UT_hash_handle hh;
};

struct names {
	struct arena *arena;
	struct node *nodes;
};

struct names *names_new(struct arena *arena)
{
	struct names *names = arena_alloc(arena, sizeof(*names));

	names->arena = arena;
	return names;
}

void names_add(struct names *names, const char *name, void *entry)
{
	struct node *node = arena_alloc(names->arena, sizeof(*node));

	node->entry = entry;
	HASH_ADD_KEYPTR(hh, names->nodes, name, strlen(name), node);
}

void *names_find(const struct names *names, struct slice name)
{
	struct node *node;

	HASH_FIND(hh, names->nodes, name.p, name.n, node);
	return node != NULL ? node->entry : NULL;
}
