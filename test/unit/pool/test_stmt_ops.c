#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/stmt_ops.h"

static struct stmts *all;
static struct stmt *one, *two;
static struct atom *name, *other_name;
static struct stmt_ops ops;

static int set_up(void **state)
{
	(void)state;
	all = stmts_new();
	one = stmts_get(all, NULL, STMT_PARSED, SLICE_LIT("SELECT 1"));
	two = stmts_get(all, NULL, STMT_PARSED, SLICE_LIT("SELECT 2"));
	name = atom_get(SLICE_LIT("name"));
	other_name = atom_get(SLICE_LIT("other"));
	stmt_ops_init(&ops, all);
	return stmt_ops_reserve(&ops, 8) ? 0 : -1;
}

/* No reference is left. */
static int tear_down(void **state)
{
	size_t left;

	(void)state;
	stmt_ops_fini(&ops);
	stmt_unref(all, &one);
	stmt_unref(all, &two);
	atom_unref(&name);
	atom_unref(&other_name);
	left = stmts_count(all);
	stmts_free(&all);
	return left != 0;
}

static struct stmt_op *push(enum stmt_op_kind kind, uint64_t index, struct stmt *stmt)
{
	struct stmt_op *op = stmt_ops_push(&ops, kind, index);

	op->stmt = stmt == NULL ? NULL : stmt_ref(stmt);
	return op;
}

static void the_ring_keeps_its_order_when_it_grows(void **state)
{
	uint64_t next = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		assert_true(stmt_ops_reserve(&ops, 1));
		push(STMT_OP_REPLY, i, i % 2 ? one : two);
		if (i % 3 != 0)
			continue;
		assert_int_equal(stmt_ops_at(&ops, 0)->index, next);
		assert_ptr_equal(stmt_ops_at(&ops, 0)->stmt, next % 2 ? one : two);
		stmt_ops_pop(&ops);
		next++;
	}
	for (uint32_t i = 0; i < ops.n; i++)
		assert_int_equal(stmt_ops_at(&ops, i)->index, next + i);
}

static void a_popped_operation_gives_up_what_it_holds(void **state)
{
	struct stmt_op *op;
	uint32_t refs = one->refs;

	(void)state;
	op = push(STMT_OP_NAMED, 0, one);
	op->before = stmt_ref(two);
	op->name = atom_ref(name);
	stmt_ops_pop(&ops);
	assert_int_equal(one->refs, refs);
	assert_int_equal(two->refs, refs);
	assert_int_equal(name->refs, 1);
	assert_int_equal(ops.n, 0);
}

static void what_the_batch_under_way_changes_is_certain(void **state)
{
	(void)state;
	push(STMT_OP_SERVER_HAS, 0, one);
	push(STMT_OP_NAMED, 0, one)->name = atom_ref(name);
	assert_false(stmt_ops_is_uncertain(&ops, one, name));
	assert_true(stmt_ops_has_named(&ops, name));
	assert_false(stmt_ops_has_named(&ops, other_name));
}

static void what_an_earlier_batch_changes_is_uncertain_until_answered(void **state)
{
	(void)state;
	push(STMT_OP_SERVER_HAS, 0, one);
	push(STMT_OP_NAMED, 0, one)->name = atom_ref(name);
	stmt_ops_end_batch(&ops);
	assert_true(stmt_ops_is_uncertain(&ops, one, NULL));
	assert_true(stmt_ops_is_uncertain(&ops, NULL, name));
	assert_false(stmt_ops_is_uncertain(&ops, two, other_name));
	assert_false(stmt_ops_has_named(&ops, name));
	stmt_ops_pop(&ops);
	assert_false(stmt_ops_is_uncertain(&ops, one, NULL));
	assert_true(stmt_ops_is_uncertain(&ops, NULL, name));
	stmt_ops_pop(&ops);
	assert_false(stmt_ops_is_uncertain(&ops, one, name));
}

static void a_deallocate_all_makes_everything_uncertain(void **state)
{
	(void)state;
	push(STMT_OP_ALL_LOST, 0, NULL);
	assert_false(stmt_ops_is_uncertain(&ops, one, name));
	stmt_ops_end_batch(&ops);
	assert_true(stmt_ops_is_uncertain(&ops, one, NULL));
	assert_true(stmt_ops_is_uncertain(&ops, NULL, name));
}

static void uses_make_nothing_uncertain(void **state)
{
	(void)state;
	push(STMT_OP_REPLY, 0, one)->is_use = true;
	push(STMT_OP_SHAPE, 1, one);
	stmt_ops_end_batch(&ops);
	assert_false(stmt_ops_is_uncertain(&ops, one, name));
	assert_true(stmt_ops_awaits_shape(&ops, one));
	assert_false(stmt_ops_awaits_shape(&ops, two));
}

static void in_a_very_long_pipeline_any_operation_may_be_the_one(void **state)
{
	(void)state;
	push(STMT_OP_SERVER_HAS, 0, one);
	stmt_ops_end_batch(&ops);
	assert_false(stmt_ops_is_uncertain(&ops, two, NULL));
	assert_true(stmt_ops_reserve(&ops, 1000));
	for (uint64_t i = 1; i < 1000; i++)
		push(STMT_OP_REPLY, i, NULL);
	assert_true(stmt_ops_is_uncertain(&ops, two, NULL));
	stmt_ops_pop(&ops);
	assert_false(stmt_ops_is_uncertain(&ops, one, NULL));
}

/* So that a pipeline of batches with a Parse and a Bind each goes on without waiting. */
static void the_last_change_of_the_unnamed_statement_counts(void **state)
{
	(void)state;
	assert_false(stmt_ops_is_unnamed_uncertain(&ops));
	push(STMT_OP_UNNAMED, 0, NULL);
	assert_false(stmt_ops_is_unnamed_uncertain(&ops));
	stmt_ops_end_batch(&ops);
	assert_true(stmt_ops_is_unnamed_uncertain(&ops));
	assert_false(stmt_ops_is_uncertain(&ops, one, name));
	push(STMT_OP_UNNAMED, 1, NULL);
	assert_false(stmt_ops_is_unnamed_uncertain(&ops));
	assert_int_equal(stmt_ops_next_unnamed(&ops, 1)->index, 1);
	assert_null(stmt_ops_next_unnamed(&ops, 2));
}

#define CLAIM(claim) cmocka_unit_test_setup_teardown(claim, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(the_ring_keeps_its_order_when_it_grows),
		CLAIM(a_popped_operation_gives_up_what_it_holds),
		CLAIM(what_the_batch_under_way_changes_is_certain),
		CLAIM(what_an_earlier_batch_changes_is_uncertain_until_answered),
		CLAIM(a_deallocate_all_makes_everything_uncertain),
		CLAIM(uses_make_nothing_uncertain),
		CLAIM(in_a_very_long_pipeline_any_operation_may_be_the_one),
		CLAIM(the_last_change_of_the_unnamed_statement_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
