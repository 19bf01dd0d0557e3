/*
 * auth_file: users and their secrets.
 *
 * Lines `"name" "secret"`, both quoted, "" for one quote inside; anything behind
 * the second string is ignored, as are empty lines and those that start with ';'.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/problems.h"

enum secret_type { SECRET_NONE, SECRET_PLAIN, SECRET_MD5, SECRET_SCRAM };

struct userlist_entry {
	const char *name;
	const char *secret;           /* "" when the line gives an empty one */
	enum secret_type type;        /* md5 + 32 hex digits; SCRAM-SHA-256$iter:salt$stored:server; else plain */
};

struct userlist;

/* An empty list. */
struct userlist *userlist_new(struct arena *arena);

/* Adds the file's lines. */
void userlist_read(struct userlist *list, const char *file, struct conf_problems *problems);

const struct userlist_entry *userlist_find(const struct userlist *list, struct slice name);
size_t userlist_count(const struct userlist *list);
const struct userlist_entry *userlist_at(const struct userlist *list, size_t i);

/*
 * Adds the line that is read back as this user with this secret. False, and nothing added: no line can hold them, for
 * one is too long or has a line's end in it.
 */
bool userlist_put(struct strbuf *lines, const char *name, const char *secret);

/* What kind of secret a text is. */
enum secret_type secret_type_of(const char *secret);
