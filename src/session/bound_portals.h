/*
 * The portals of one client that run a PREPARE, EXECUTE or DEALLOCATE, bound
 * and not executed yet: what such a text does counts when it is executed. By
 * then other messages, another of these portals even, may have changed what it
 * was bound for; then it is bound once more, for which its Bind is kept.
 *
 * Portals end with their transaction. Those that are kept here longer are
 * unknown to the server, which then says so; all go when the client gives its
 * server back.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atom.h"
#include "base/str.h"
#include "pool/stmts.h"
#include "proto/sql.h"

/* Of so many the one that was bound first is forgotten when another is bound: nobody has use for more than a few. */
#define BOUND_PORTALS_MAX 64

/* Names that are longer are not kept: PostgreSQL takes them of any length. */
#define BOUND_NAME_MAX 1024

/* A Bind with formats for as many columns as a result may have (1664) is shorter; a longer one is not kept. */
#define BOUND_REST_MAX 4096

struct bound_portal {
	TAILQ_ENTRY(bound_portal) link;
	struct atom *name;       /* the portal's */
	struct stmt *command;    /* whose text it runs */
	enum sql_verb verb;
	bool is_change;          /* a PREPARE of a name that is free, a DEALLOCATE of one that is there */
	struct stmt *stmt;       /* whose name is in the text now, or */
	const char *alias;       /* what is; static */
	struct atom *clients;    /* the name in the client's text */
	uint32_t at;             /* as in struct stmt_op */
	int32_t shift;
	uint64_t nchanges;       /* stmt_ops' nmade when it was bound */
	uint32_t nrest;
	uint8_t rest[];          /* of its Bind, behind the names; empty: it cannot be bound once more */
};

struct bound_portals {
	struct stmts *all;
	TAILQ_HEAD(, bound_portal) list; /* in the order in which they were bound */
	unsigned n;
};

void bound_portals_init(struct bound_portals *b, struct stmts *all);

static inline bool bound_portals_are_none(const struct bound_portals *b)
{
	return b->n == 0;
}

/* NULL: there is none of this name. */
struct bound_portal *bound_portals_find(const struct bound_portals *b, struct slice name);

/*
 * A new one, for the caller to fill in; there is none of this name. The
 * references that it gets become its own. `rest` is copied if it is not too
 * long. NULL: the name is too long, or out of memory. *is_lost: another has
 * been forgotten for it.
 */
struct bound_portal *bound_portals_put(struct bound_portals *b, struct slice name, struct slice rest, bool *is_lost);

/* What its text is sent as is about to be found anew. */
void bound_portal_clear(struct bound_portals *b, struct bound_portal *p);

void bound_portals_drop(struct bound_portals *b, struct bound_portal *p);
void bound_portals_drop_all(struct bound_portals *b);
