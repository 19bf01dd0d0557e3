#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "pool/stmt_names.h"

#include "../random.h"

static struct stmts *all;
static struct stmt_names *names;
static struct stmt *one, *two;
static size_t texts;             /* the atoms that are no names: the statements' texts */

static int set_up(void **state)
{
	(void)state;
	all = stmts_new();
	names = stmt_names_new(all);
	one = stmts_get(all, NULL, STMT_PARSED, SLICE_LIT("SELECT 1"));
	two = stmts_get(all, NULL, STMT_PARSED, SLICE_LIT("SELECT 2"));
	texts = atom_count();
	return names == NULL || one == NULL || two == NULL;
}

/* No reference is left, neither to a statement nor to the atom of a name. */
static int tear_down(void **state)
{
	size_t left;

	(void)state;
	stmt_names_free(&names);
	if (one->refs != 1 || two->refs != 1 || one->nclients + two->nclients != 0)
		return -1;
	stmt_unref(all, &one);
	stmt_unref(all, &two);
	left = stmts_count(all) + atom_count();
	stmts_free(&all);
	return left != 0 || names != NULL;
}

static struct stmt *meant_by(const char *name)
{
	const struct stmt_named *found = stmt_names_find(names, slice_of(name));

	return found == NULL ? NULL : found->stmt;
}

static void a_name_leads_to_its_statement(void **state)
{
	(void)state;
	assert_null(meant_by("a"));
	assert_true(stmt_names_set(names, SLICE_LIT("a"), one));
	assert_true(stmt_names_set(names, SLICE_LIT("b"), two));
	assert_ptr_equal(meant_by("a"), one);
	assert_ptr_equal(meant_by("b"), two);
	assert_null(meant_by("A"));
	assert_true(slice_is(atom_slice(stmt_names_find(names, SLICE_LIT("b"))->name), "b"));
	assert_int_equal(stmt_names_count(names), 2);
}

static void the_empty_name_is_a_name(void **state)
{
	(void)state;
	assert_null(meant_by(""));
	assert_true(stmt_names_set(names, (struct slice){NULL, 0}, one));
	assert_ptr_equal(meant_by(""), one);
	stmt_names_drop(names, SLICE_LIT(""));
	assert_null(meant_by(""));
}

static void a_name_set_again_means_something_else(void **state)
{
	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), one);
	stmt_names_set(names, SLICE_LIT("a"), two);
	assert_ptr_equal(meant_by("a"), two);
	assert_int_equal(stmt_names_count(names), 1);
	assert_int_equal(one->refs, 1);
	assert_int_equal(two->refs, 2);
}

/* Under AddressSanitizer: the statement does not go before it comes back. */
static void a_name_may_be_set_to_what_it_means_already(void **state)
{
	struct stmt *s = stmts_get(all, NULL, STMT_PARSED, SLICE_LIT("SELECT 3")), *held = s;

	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), s);
	stmt_unref(all, &held);
	assert_true(stmt_names_set(names, SLICE_LIT("a"), s));
	assert_ptr_equal(meant_by("a"), s);
	assert_int_equal(s->refs, 1);
	assert_int_equal(s->nclients, 1);
}

static void names_keep_references_and_are_counted_at_their_statements(void **state)
{
	struct stmt_names *other = stmt_names_new(all);

	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), one);
	stmt_names_set(names, SLICE_LIT("b"), one);
	stmt_names_set(other, SLICE_LIT("a"), one);
	assert_int_equal(one->nclients, 3);
	assert_int_equal(one->refs, 4);
	stmt_names_drop(names, SLICE_LIT("a"));
	assert_int_equal(one->nclients, 2);
	assert_int_equal(one->refs, 3);
	stmt_names_free(&other);
	assert_int_equal(one->nclients, 1);
}

static void a_name_knows_the_version_it_was_given_in(void **state)
{
	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), one);
	one->version++;
	assert_int_equal(stmt_names_find(names, SLICE_LIT("a"))->version, one->version - 1);
	stmt_names_renew(names, SLICE_LIT("a"));
	assert_int_equal(stmt_names_find(names, SLICE_LIT("a"))->version, one->version);
	stmt_names_renew(names, SLICE_LIT("b"));
}

static void a_statement_is_found_by_its_name_on_servers(void **state)
{
	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), one);
	assert_ptr_equal(stmt_names_by_stmt(names, stmt_name(one)), stmt_names_find(names, SLICE_LIT("a")));
	assert_null(stmt_names_by_stmt(names, stmt_name(two)));
}

static void all_names_but_the_empty_one_are_cleared(void **state)
{
	(void)state;
	stmt_names_set(names, SLICE_LIT(""), one);
	stmt_names_set(names, SLICE_LIT("a"), two);
	assert_true(stmt_names_clear_named(names));
	assert_int_equal(stmt_names_count(names), 1);
	assert_ptr_equal(meant_by(""), one);
	stmt_names_drop(names, SLICE_LIT(""));
	assert_true(stmt_names_clear_named(names));
	assert_int_equal(stmt_names_count(names), 0);
}

static void names_of_clients_share_their_atoms(void **state)
{
	struct stmt_names *other = stmt_names_new(all);

	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), one);
	stmt_names_set(other, SLICE_LIT("a"), two);
	assert_int_equal(atom_count(), texts + 1);
	assert_ptr_equal(meant_by("a"), one);
	stmt_names_drop(names, SLICE_LIT("a"));
	assert_null(meant_by("a"));
	stmt_names_free(&other);
	assert_int_equal(atom_count(), texts);
}

static void names_are_what_their_first_63_bytes_are(void **state)
{
	const char bytes[] = "123456789012345678901234567890123456789012345678901234567890123456";
	struct atom *atom = atom_get((struct slice){bytes, 65});

	(void)state;
	stmt_names_set(names, (struct slice){bytes, 64}, one);
	assert_ptr_equal(meant_by(bytes), one);
	assert_int_equal(stmt_names_find(names, slice_of(bytes))->name->len, 63);
	stmt_names_set(names, (struct slice){bytes, 62}, two);
	assert_int_equal(stmt_names_count(names), 2);
	assert_true(stmt_names_set_atom(names, atom, two));
	assert_int_equal(stmt_names_count(names), 2);
	assert_ptr_equal(meant_by(bytes), two);
	stmt_names_drop(names, slice_of(bytes));
	assert_int_equal(stmt_names_count(names), 1);
	atom_unref(&atom);
}

static void an_atom_does_instead_of_its_text(void **state)
{
	struct atom *atom = atom_get(SLICE_LIT("a"));

	(void)state;
	assert_true(stmt_names_set_atom(names, atom, one));
	assert_int_equal(atom->refs, 2);
	assert_ptr_equal(meant_by("a"), one);
	assert_true(stmt_names_set_atom(names, atom, two));
	assert_int_equal(atom->refs, 2);
	assert_ptr_equal(meant_by("a"), two);
	atom_unref(&atom);
	assert_ptr_equal(meant_by("a"), two);
}

static void a_name_may_be_dropped_by_its_own_text(void **state)
{
	(void)state;
	stmt_names_set(names, SLICE_LIT("a"), one);
	stmt_names_drop(names, atom_slice(stmt_names_find(names, SLICE_LIT("a"))->name));
	assert_int_equal(stmt_names_count(names), 0);
}

static void dropping_what_is_not_there_changes_nothing(void **state)
{
	struct atom *known = atom_get(SLICE_LIT("b"));

	(void)state;
	stmt_names_drop(names, SLICE_LIT("a"));
	stmt_names_set(names, SLICE_LIT("a"), one);
	stmt_names_drop(names, SLICE_LIT("b"));
	assert_ptr_equal(meant_by("a"), one);
	assert_int_equal(stmt_names_count(names), 1);
	atom_unref(&known);
}

static void cleared_names_are_all_gone_and_may_come_again(void **state)
{
	(void)state;
	stmt_names_clear(names);
	stmt_names_set(names, SLICE_LIT("a"), one);
	stmt_names_set(names, SLICE_LIT("b"), two);
	stmt_names_clear(names);
	assert_int_equal(stmt_names_count(names), 0);
	assert_int_equal(one->refs, 1);
	assert_null(meant_by("a"));
	stmt_names_set(names, SLICE_LIT("a"), two);
	assert_ptr_equal(meant_by("a"), two);
}

static void freeing_nothing_is_allowed(void **state)
{
	struct stmt_names *none = NULL;

	(void)state;
	stmt_names_free(&none);
}

#define NAMES 300

static void they_agree_with_an_array_after_random_steps(void **state)
{
	static struct stmt *model[NAMES];
	size_t n = 0, clients = 0;
	char name[16];

	(void)state;
	random_start();
	for (unsigned step = 0; step < 40000; step++) {
		/* Few names at first and in the end, many in between; now and then none. */
		unsigned i = random_below(step % 20000 < 10000 ? 8 : NAMES);

		snprintf(name, sizeof(name), "stmt%u", i);
		assert_ptr_equal(meant_by(name), model[i]);
		switch (random_below(3)) {
		case 0:
			n += model[i] == NULL;
			model[i] = random_below(2) == 0 ? one : two;
			assert_true(stmt_names_set(names, slice_of(name), model[i]));
			break;
		case 1:
			n -= model[i] != NULL;
			model[i] = NULL;
			stmt_names_drop(names, slice_of(name));
			break;
		default:
			if (random_below(3000) > 0)
				break;
			n = 0;
			memset(model, 0, sizeof(model));
			stmt_names_clear(names);
		}
		assert_int_equal(stmt_names_count(names), n);
		assert_int_equal(one->nclients + two->nclients, n);
	}
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "stmt%u", i);
		assert_ptr_equal(meant_by(name), model[i]);
		clients += model[i] == one;
	}
	assert_int_equal(one->nclients, clients);
	assert_int_equal(atom_count(), texts + n);
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static void what_a_client_has_is_counted_until_it_is_dropped(void **state)
{
	size_t none = stmt_names_memory(names), with_one, with_two;

	(void)state;
	assert_true(stmt_names_set(names, SLICE_LIT("a"), one));
	with_one = stmt_names_memory(names);
	assert_true(with_one > none + stmt_body(one).n);
	assert_true(stmt_names_set(names, SLICE_LIT("b"), two));
	with_two = stmt_names_memory(names);
	assert_true(with_two > with_one + stmt_body(two).n);
	assert_true(stmt_names_set(names, SLICE_LIT("b"), two));
	assert_int_equal(stmt_names_memory(names), with_two);
	stmt_names_drop(names, SLICE_LIT("b"));
	assert_int_equal(stmt_names_memory(names), with_one);
	stmt_names_clear(names);
	assert_int_equal(stmt_names_memory(names), none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_name_leads_to_its_statement),
		CLAIM(the_empty_name_is_a_name),
		CLAIM(a_name_set_again_means_something_else),
		CLAIM(a_name_may_be_set_to_what_it_means_already),
		CLAIM(names_keep_references_and_are_counted_at_their_statements),
		CLAIM(a_name_knows_the_version_it_was_given_in),
		CLAIM(a_statement_is_found_by_its_name_on_servers),
		CLAIM(all_names_but_the_empty_one_are_cleared),
		CLAIM(names_of_clients_share_their_atoms),
		CLAIM(names_are_what_their_first_63_bytes_are),
		CLAIM(an_atom_does_instead_of_its_text),
		CLAIM(a_name_may_be_dropped_by_its_own_text),
		CLAIM(dropping_what_is_not_there_changes_nothing),
		CLAIM(cleared_names_are_all_gone_and_may_come_again),
		CLAIM(what_a_client_has_is_counted_until_it_is_dropped),
		CLAIM(freeing_nothing_is_allowed),
		CLAIM(they_agree_with_an_array_after_random_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
