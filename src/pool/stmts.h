/*
 * The statements that clients prepare, each held once for a pool however many
 * of its clients and servers have it, and the name it goes by on servers. Texts
 * are held once for all: the same text may mean something else in each pool.
 *
 * A statement lives as long as somebody holds a reference: a client that has a
 * name for it, a server that has it, a message under way.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atom.h"
#include "base/hashtable.h"
#include "base/str.h"

/* How names on servers begin. What clients call their own statements never gets there. */
#define STMT_NAME_PREFIX "pgsluice_"
#define STMT_NAME_SIZE 32

enum stmt_kind {
	STMT_PARSED,      /* by the extended protocol: the body is what follows the name in a Parse message */
	STMT_SQL,         /* by PREPARE: the body is what follows the name there, up to its end */
};

struct stmt {
	struct hashed hashed;    /* among all, by scope, kind and body */
	const void *scope;       /* whose it is: the pool */
	uint64_t id;             /* from 1 up, never used twice */
	uint32_t refs;
	uint32_t version;        /* from 1; the caller raises it when what servers have is out of date */
	uint32_t nclients;       /* names that clients have for it; kept by stmt_names */
	uint32_t nservers;       /* servers that have it; kept by stmt_cache */
	uint64_t nbinds;         /* uses, counted by the caller */
	uint8_t kind;            /* enum stmt_kind */
	bool is_command;         /* PREPARE, EXECUTE, DEALLOCATE and the like: kept by the caller */
	uint64_t shape;          /* a hash of the rows it returns, 0: not known; kept by the caller */
	uint8_t name_len;
	char name[STMT_NAME_SIZE]; /* NUL-terminated */
	struct atom *body;
};

struct stmts;

/* NULL when out of memory. */
struct stmts *stmts_new(void);

/* All references must have been dropped; clears the caller's pointer, NULL inside is allowed. */
void stmts_free(struct stmts **all);

/*
 * The statement with this body in a scope, made if there is none, with a
 * reference for the caller; NULL when out of memory.
 */
struct stmt *stmts_get(struct stmts *all, const void *scope, enum stmt_kind kind, struct slice body);

struct stmt *stmt_ref(struct stmt *s);

/* For the next: the last reference has gone. */
void stmt_drop(struct stmts *all, struct stmt *dead);

/* Drops the reference and clears the caller's pointer; NULL inside is allowed. */
static inline void stmt_unref(struct stmts *all, struct stmt **s)
{
	struct stmt *mine = *s;

	*s = NULL;
	if (mine != NULL && --mine->refs == 0)
		stmt_drop(all, mine);
}

static inline struct slice stmt_name(const struct stmt *s)
{
	return (struct slice){s->name, s->name_len};
}

static inline struct slice stmt_body(const struct stmt *s)
{
	return atom_slice(s->body);
}

/* The SQL text of it, for people: of a STMT_PARSED up to its NUL. */
struct slice stmt_text(const struct stmt *s);

/* How many there are and their memory, the table's with it; that of the texts is atoms'. */
size_t stmts_count(const struct stmts *all);
size_t stmts_memory(const struct stmts *all);

/* One that there has been, by its hash and id; NULL: it is gone. */
const struct stmt *stmts_find_again(const struct stmts *all, uint64_t hash, uint64_t id);

/* One after the other, in no order: NULL begins, NULL ends. Nothing may be added or dropped meanwhile. */
const struct stmt *stmts_next(const struct stmts *all, const struct stmt *s);
