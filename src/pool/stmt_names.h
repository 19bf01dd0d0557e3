/*
 * What one client calls its prepared statements.
 *
 * Made when a client prepares its first one, so that all others pay for a
 * pointer only. PostgreSQL cuts the names of statements to 63 bytes, so names
 * that begin with the same 63 bytes are one. The empty name is a name.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/atom.h"
#include "base/str.h"
#include "pool/stmts.h"

#define STMT_CLIENT_NAME_MAX 63

struct stmt_names;

struct stmt_named {
	struct atom *name;
	struct stmt *stmt;
	uint32_t version;        /* of the statement, when the name was given or renewed */
	bool is_used;            /* it was renewed */
};

/* NULL when out of memory. */
struct stmt_names *stmt_names_new(struct stmts *all);
void stmt_names_free(struct stmt_names **names);

/* NULL: there is none. What is pointed to is valid until the next change of the names. */
const struct stmt_named *stmt_names_find(const struct stmt_names *names, struct slice name);

/* A name of the statement that goes by this one on servers; NULL: there is none. Goes through all of them. */
const struct stmt_named *stmt_names_by_stmt(const struct stmt_names *names, struct slice server_name);

/*
 * Gives a statement the name, which may have meant another; the statement gets
 * a reference of its own, and the atom of the name, too. The same, not with a
 * text but with its atom. False, and nothing changed, when out of memory.
 */
bool stmt_names_set(struct stmt_names *names, struct slice name, struct stmt *stmt);
bool stmt_names_set_atom(struct stmt_names *names, struct atom *name, struct stmt *stmt);

/* The client uses the name, and knows of the statement's present version. Nothing happens if there is no such name. */
void stmt_names_renew(struct stmt_names *names, struct slice name);

/* Nothing happens if there is no such name. */
void stmt_names_drop(struct stmt_names *names, struct slice name);
void stmt_names_clear(struct stmt_names *names);

/* All but the empty name. False: out of memory, and that is gone, too. */
bool stmt_names_clear_named(struct stmt_names *names);

size_t stmt_names_count(const struct stmt_names *names);

/* With the statements and their texts, as if nobody else had them. */
size_t stmt_names_memory(const struct stmt_names *names);
