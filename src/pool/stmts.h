/*
 * The statements that clients prepare, each held once however many clients and
 * servers have it, and the name it goes by on every server.
 *
 * A statement lives as long as somebody holds a reference: a client that has a
 * name for it, a server that has it, a message under way.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
	struct hashed hashed;    /* among all, by kind and body */
	struct stmt *needs;      /* what this one's text names ("EXECUTE pgsluice_1"), with a reference; or NULL */
	uint64_t id;             /* from 1 up, never used twice */
	uint32_t refs;
	uint32_t version;        /* from 1; the caller raises it when what servers have is out of date */
	uint32_t nclients;       /* names that clients have for it; kept by stmt_names */
	uint32_t nservers;       /* servers that have it; kept by stmt_cache */
	uint64_t nbinds;         /* uses, counted by the caller */
	uint8_t kind;            /* enum stmt_kind */
	uint8_t name_len;
	char name[STMT_NAME_SIZE]; /* NUL-terminated */
	uint32_t size;
	char body[];
};

struct stmts;

/* NULL when out of memory. */
struct stmts *stmts_new(void);

/* All references must have been dropped; clears the caller's pointer, NULL inside is allowed. */
void stmts_free(struct stmts **all);

/*
 * The statement with this body, made if there is none, with a reference for
 * the caller; NULL when out of memory. `needs` may be NULL; else the caller's
 * reference to it stays its own (two bodies that name the same statement by
 * its name have the same needs: it is no part of the key).
 */
struct stmt *stmts_get(struct stmts *all, enum stmt_kind kind, struct slice body, struct stmt *needs);

struct stmt *stmt_ref(struct stmt *s);

/* Drops the reference and clears the caller's pointer; NULL inside is allowed. */
void stmt_unref(struct stmts *all, struct stmt **s);

static inline struct slice stmt_name(const struct stmt *s)
{
	return (struct slice){s->name, s->name_len};
}

static inline struct slice stmt_body(const struct stmt *s)
{
	return (struct slice){s->body, s->size};
}

/* The SQL text of it, for people: of a STMT_PARSED up to its NUL. */
struct slice stmt_text(const struct stmt *s);

/* How many there are and their memory, the table's with it. */
size_t stmts_count(const struct stmts *all);
size_t stmts_memory(const struct stmts *all);

/* One after the other, in no order: NULL begins, NULL ends. Nothing may be added or dropped meanwhile. */
const struct stmt *stmts_next(const struct stmts *all, const struct stmt *s);
