/*
 * An index: from names to the entries of a configuration that bear them. It
 * lives in the configuration's arena and goes with it.
 */
#pragma once
#include "base/arena.h"
#include "base/str.h"

struct names;

struct names *names_new(struct arena *arena);

/* `name` must not be there yet, and must outlive the index, as must `entry`. */
void names_add(struct names *names, const char *name, void *entry);

/* NULL when there is none of that name. */
void *names_find(const struct names *names, struct slice name);
