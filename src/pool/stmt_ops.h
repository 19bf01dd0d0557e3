/*
 * What has been sent to a server about prepared statements and not been
 * answered yet, in order: what it changes, so that it can be taken back if an
 * error has the server skip it, and what becomes of the answer.
 *
 * An operation belongs to one message, which is known by its index among all
 * that are owed (see proto/owed.h); one message may have several.
 *
 * A batch is what an error can have the server skip together: it ends at a
 * Sync. Whatever an operation of the batch under way changes may be relied on
 * by what follows in it; that of an earlier one is uncertain until answered.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atom.h"
#include "pool/stmt_names.h"
#include "pool/stmts.h"

enum stmt_op_kind {
	STMT_OP_REPLY,           /* changes nothing: its reply is not for the client, or speaks of a statement */
	STMT_OP_SERVER_HAS,      /* the server has the statement from now on */
	STMT_OP_SERVER_LOST,     /* it has it no more; `version` is the one it had */
	STMT_OP_NAMED,           /* the client calls `stmt` so; it called `before` so until now; either may be NULL */
	STMT_OP_UNNAMED,         /* the unnamed statement is another one; those of server and client were these before */
	STMT_OP_SHAPE,           /* what the server says of the statement's rows is for us */
	STMT_OP_ALL_LOST,        /* DEALLOCATE ALL or DISCARD ALL; `names` were the client's before */
};

enum stmt_reply {
	STMT_REPLY_PASS,
	STMT_REPLY_DROP,         /* the client did not ask for it */
	STMT_REPLY_PARSED,       /* the client is told ParseComplete in its place */
};

struct stmt_op {
	uint64_t index;
	uint64_t server_unnamed, client_unnamed;
	struct stmt *stmt, *before;      /* with a reference each */
	struct stmt_names *names;        /* owned */
	struct atom *name;               /* the client's name for it, with a reference */
	const char *alias;               /* static: the name by which the message speaks of it, if it is not that of `stmt` */
	uint32_t batch;
	uint32_t version;
	uint32_t at;                     /* the name was exchanged behind so many characters of the query, */
	int32_t shift;                   /* for one that has so many more (see prepare_out_error()) */
	uint8_t kind;                    /* enum stmt_op_kind */
	uint8_t reply;                   /* enum stmt_reply */
	bool is_use;                     /* of `stmt`: Bind, Describe, EXECUTE */
	bool is_first_use;               /* by this name: the client has been told nothing of the rows yet */
	bool is_outdated;                /* a Bind that was made to fail: the client expects other rows than it would get */
	bool is_query;                   /* the message is a simple Query: its end is ReadyForQuery */
	bool is_injected_sync;
	bool has_failed;                 /* a simple Query: an error has come */
	bool is_mute;                    /* the client has had the error that this one follows from */
};

struct stmt_ops {
	struct stmts *all;
	struct stmt_op *ring;
	uint32_t head, n, cap;
	uint32_t batch;                  /* the one under way */
	uint32_t nchanges;               /* operations that change something but the unnamed statement, */
	uint32_t nchanges_now;           /* of these, in the batch under way */
	uint64_t nmade;                  /* so many of these there have been */
	uint32_t nshapes, nunnamed;      /* STMT_OP_SHAPE, STMT_OP_UNNAMED */
	uint32_t unnamed_batch;          /* of the last STMT_OP_UNNAMED */
};

void stmt_ops_init(struct stmt_ops *ops, struct stmts *all);
void stmt_ops_fini(struct stmt_ops *ops);

/* For stmt_ops_reserve(). */
bool stmt_ops_grow(struct stmt_ops *ops, uint32_t n);

/* Room for n more, so that stmt_ops_push() cannot fail. False: out of memory. */
static inline bool stmt_ops_reserve(struct stmt_ops *ops, uint32_t n)
{
	return ops->cap - ops->n >= n || stmt_ops_grow(ops, n);
}

/* A new one at the end, of the batch under way; the caller fills in what is not zero. References become the ring's. */
struct stmt_op *stmt_ops_push(struct stmt_ops *ops, enum stmt_op_kind kind, uint64_t index);

static inline struct stmt_op *stmt_ops_at(const struct stmt_ops *ops, uint32_t i)
{
	return &ops->ring[(ops->head + i) & (ops->cap - 1)];
}

/* The first one is done with: its references are dropped. */
void stmt_ops_pop(struct stmt_ops *ops);

/* A Sync or a simple Query has been sent. */
static inline void stmt_ops_end_batch(struct stmt_ops *ops)
{
	ops->batch++;
	ops->nchanges_now = 0;
}

/* Whether anything but the unnamed statement hangs on the answer to an earlier batch. */
static inline bool stmt_ops_has_earlier_changes(const struct stmt_ops *ops)
{
	return ops->nchanges != ops->nchanges_now;
}

/*
 * Whether it hangs on the answer to an earlier batch what the statement or the
 * name is now. Either may be NULL. Of very many operations any may be the one.
 */
bool stmt_ops_is_uncertain(struct stmt_ops *ops, const struct stmt *stmt, const struct atom *name);

/* Whether an answer to STMT_OP_SHAPE is still to come for the statement. */
bool stmt_ops_awaits_shape(struct stmt_ops *ops, const struct stmt *stmt);

/* Whether the batch under way has given a statement the name. */
bool stmt_ops_has_named(struct stmt_ops *ops, const struct atom *name);

/* Whether the unnamed statement is what an earlier batch has made of it, if that succeeds. */
static inline bool stmt_ops_is_unnamed_uncertain(const struct stmt_ops *ops)
{
	return ops->nunnamed > 0 && ops->unnamed_batch != ops->batch;
}

/* The first that changes the unnamed statement, from the i-th on; NULL: there is none. */
struct stmt_op *stmt_ops_next_unnamed(struct stmt_ops *ops, uint32_t i);
