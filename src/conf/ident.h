/*
 * auth_ident_file: which names of the operating system, or of certificates,
 * may log in as which users.
 *
 * Lines `map system-user user` in the format of pg_ident.conf. A system-user
 * that begins with / is a regular expression, and \1 in its user stands for what
 * the first ( ) matched; the user may be `all` or an expression as well.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/problems.h"

struct ident;

/*
 * Reads a file into the arena; what cannot be read goes to `problems`. Never
 * NULL; ident_free() gives back what the arena does not hold, before that ends.
 */
struct ident *ident_read(const char *file, struct arena *arena, struct conf_problems *problems);
void ident_free(struct ident *ident);

/* A number that tells these maps, by the text of their file, from others; of no maps, 0. */
uint64_t ident_digest(const struct ident *ident);

/*
 * Whether a map lets the system user log in as the user. Without a map (NULL)
 * the two must be the same. `ident` may be NULL: there are no maps.
 */
bool ident_allows(const struct ident *ident, const char *map, struct slice system_user, struct slice user);
