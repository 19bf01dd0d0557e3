#include "pool/stmt_ops.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 16

/* Looking through more than this for each message of a long pipeline would take longer than waiting. */
#define LOOKED_THROUGH 256

void stmt_ops_init(struct stmt_ops *ops, struct stmts *all)
{
	memset(ops, 0, sizeof(*ops));
	ops->all = all;
}

void stmt_ops_fini(struct stmt_ops *ops)
{
	while (ops->n > 0)
		stmt_ops_pop(ops);
	free(ops->ring);
	stmt_ops_init(ops, ops->all);
}

bool stmt_ops_grow(struct stmt_ops *ops, uint32_t n)
{
	uint32_t cap = ops->cap == 0 ? FIRST_CAP : ops->cap;
	struct stmt_op *larger;

	while (cap - ops->n < n)
		cap *= 2;
	larger = malloc(cap * sizeof(*larger));
	if (larger == NULL)
		return false;
	for (uint32_t i = 0; i < ops->n; i++)
		larger[i] = *stmt_ops_at(ops, i);
	free(ops->ring);
	ops->ring = larger;
	ops->head = 0;
	ops->cap = cap;
	return true;
}

static bool is_counted(enum stmt_op_kind kind)
{
	return kind != STMT_OP_REPLY && kind != STMT_OP_SHAPE && kind != STMT_OP_UNNAMED;
}

struct stmt_op *stmt_ops_push(struct stmt_ops *ops, enum stmt_op_kind kind, uint64_t index)
{
	struct stmt_op *op = stmt_ops_at(ops, ops->n++);

	memset(op, 0, sizeof(*op));
	op->kind = (uint8_t)kind;
	op->index = index;
	op->batch = ops->batch;
	if (is_counted(kind)) {
		ops->nchanges++;
		ops->nchanges_now++;
		ops->nmade++;
	}
	ops->nshapes += kind == STMT_OP_SHAPE;
	if (kind == STMT_OP_UNNAMED) {
		ops->nunnamed++;
		ops->unnamed_batch = ops->batch;
	}
	return op;
}

void stmt_ops_pop(struct stmt_ops *ops)
{
	struct stmt_op *op = stmt_ops_at(ops, 0);

	if (is_counted(op->kind)) {
		ops->nchanges--;
		if (op->batch == ops->batch)
			ops->nchanges_now--;
	}
	ops->nshapes -= op->kind == STMT_OP_SHAPE;
	ops->nunnamed -= op->kind == STMT_OP_UNNAMED;
	stmt_unref(ops->all, &op->stmt);
	stmt_unref(ops->all, &op->before);
	stmt_names_free(&op->names);
	atom_unref(&op->name);
	ops->head = (ops->head + 1) & (ops->cap - 1);
	ops->n--;
}

static bool concerns(const struct stmt_op *op, const struct stmt *stmt, const struct atom *name)
{
	if (op->kind == STMT_OP_ALL_LOST)
		return true;
	if (op->kind == STMT_OP_NAMED)
		return op->name == name && name != NULL;
	return (op->kind == STMT_OP_SERVER_HAS || op->kind == STMT_OP_SERVER_LOST) && op->stmt == stmt && stmt != NULL;
}

bool stmt_ops_is_uncertain(struct stmt_ops *ops, const struct stmt *stmt, const struct atom *name)
{
	if (!stmt_ops_has_earlier_changes(ops))
		return false;
	if (ops->n > LOOKED_THROUGH)
		return true;
	for (uint32_t i = 0; i < ops->n; i++) {
		const struct stmt_op *op = stmt_ops_at(ops, i);

		if (op->batch != ops->batch && concerns(op, stmt, name))
			return true;
	}
	return false;
}

bool stmt_ops_awaits_shape(struct stmt_ops *ops, const struct stmt *stmt)
{
	uint32_t left = ops->nshapes;

	for (uint32_t i = 0; left > 0; i++) {
		const struct stmt_op *op = stmt_ops_at(ops, i);

		if (op->kind == STMT_OP_SHAPE && op->stmt == stmt)
			return true;
		left -= op->kind == STMT_OP_SHAPE;
	}
	return false;
}

bool stmt_ops_has_named(struct stmt_ops *ops, const struct atom *name)
{
	for (uint32_t i = ops->n; i-- > 0 && stmt_ops_at(ops, i)->batch == ops->batch;)
		if (stmt_ops_at(ops, i)->kind == STMT_OP_NAMED && stmt_ops_at(ops, i)->name == name)
			return true;
	return false;
}

struct stmt_op *stmt_ops_next_unnamed(struct stmt_ops *ops, uint32_t i)
{
	while (i < ops->n && stmt_ops_at(ops, i)->kind != STMT_OP_UNNAMED)
		i++;
	return i < ops->n ? stmt_ops_at(ops, i) : NULL;
}
