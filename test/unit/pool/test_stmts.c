#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "pool/stmts.h"

#include "../random.h"

static struct stmts *all;

static int set_up(void **state)
{
	(void)state;
	all = stmts_new();
	return all == NULL;
}

/* Every test drops what it took. */
static int tear_down(void **state)
{
	size_t left = stmts_count(all), memory = stmts_memory(all);

	(void)state;
	stmts_free(&all);
	return left != 0 || memory != 0 || all != NULL;
}

static struct stmt *get(enum stmt_kind kind, const char *body)
{
	return stmts_get(all, NULL, kind, slice_of(body));
}

static void equal_bodies_of_one_kind_are_one_statement(void **state)
{
	char elsewhere[] = "SELECT 1";
	struct stmt *a = get(STMT_PARSED, "SELECT 1"), *b = get(STMT_PARSED, elsewhere);
	struct stmt *other_kind = get(STMT_SQL, "SELECT 1"), *other_body = get(STMT_PARSED, "SELECT 2");
	struct stmt *shorter = get(STMT_PARSED, "SELECT ");

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, other_kind);
	assert_ptr_not_equal(a, other_body);
	assert_ptr_not_equal(a, shorter);
	assert_int_equal(stmts_count(all), 4);
	assert_true(slice_is(stmt_body(a), "SELECT 1"));
	assert_int_equal(a->kind, STMT_PARSED);
	assert_int_equal(other_kind->kind, STMT_SQL);
	stmt_unref(all, &a);
	stmt_unref(all, &b);
	stmt_unref(all, &other_kind);
	stmt_unref(all, &other_body);
	stmt_unref(all, &shorter);
}

static void one_is_found_again_by_hash_and_id_until_it_is_gone(void **state)
{
	struct stmt *a = get(STMT_PARSED, "SELECT 1"), *b = get(STMT_PARSED, "SELECT 2");
	uint64_t hash = a->hashed.hash, id = a->id;

	(void)state;
	assert_ptr_equal(stmts_find_again(all, hash, id), a);
	assert_null(stmts_find_again(all, hash, b->id));
	stmt_unref(all, &a);
	assert_null(stmts_find_again(all, hash, id));
	a = get(STMT_PARSED, "SELECT 1");
	assert_null(stmts_find_again(all, hash, id));
	stmt_unref(all, &a);
	stmt_unref(all, &b);
}

static void a_body_may_be_empty_or_hold_nul(void **state)
{
	struct stmt *nothing = stmts_get(all, NULL, STMT_PARSED, (struct slice){NULL, 0});
	struct stmt *a = stmts_get(all, NULL, STMT_PARSED, (struct slice){"x\0a", 3});
	struct stmt *b = stmts_get(all, NULL, STMT_PARSED, (struct slice){"x\0b", 3});

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_int_equal(stmt_body(nothing).n, 0);
	assert_true(slice_eq(stmt_body(b), (struct slice){"x\0b", 3}));
	stmt_unref(all, &nothing);
	stmt_unref(all, &a);
	stmt_unref(all, &b);
}

static void names_are_the_prefix_and_ids_that_are_never_used_twice(void **state)
{
	char name[STMT_NAME_SIZE];
	uint64_t last = 0;

	(void)state;
	for (unsigned i = 1; i <= 300; i++) {
		struct stmt *s = get(STMT_SQL, " AS SELECT 1");

		assert_int_equal(s->id, last + 1);
		snprintf(name, sizeof(name), "pgsluice_%x", i);
		assert_string_equal(s->name, name);
		assert_true(slice_is(stmt_name(s), name));
		last = s->id;
		stmt_unref(all, &s);
	}
}

static void a_new_one_is_in_version_1_and_nobody_has_it(void **state)
{
	struct stmt *s = get(STMT_PARSED, "SELECT 1");

	(void)state;
	assert_int_equal(s->version, 1);
	assert_int_equal(s->nclients, 0);
	assert_int_equal(s->nservers, 0);
	assert_int_equal(s->nbinds, 0);
	stmt_unref(all, &s);
}

static void it_lives_until_the_last_reference_is_dropped(void **state)
{
	struct stmt *a = get(STMT_PARSED, "SELECT 1"), *b = stmt_ref(a), *c = get(STMT_PARSED, "SELECT 1");
	uint64_t id = a->id;

	(void)state;
	stmt_unref(all, &a);
	assert_null(a);
	stmt_unref(all, &c);
	assert_true(slice_is(stmt_body(b), "SELECT 1"));
	stmt_unref(all, &b);
	assert_int_equal(stmts_count(all), 0);
	stmt_unref(all, &b);
	a = get(STMT_PARSED, "SELECT 1");
	assert_true(a->id > id);
	stmt_unref(all, &a);
}

static void the_text_is_a_parsed_ones_query_and_the_whole_of_the_others(void **state)
{
	const struct slice body = {"SELECT $1\0\0\1\0\0\0\27", 16};
	struct stmt *parsed = stmts_get(all, NULL, STMT_PARSED, body), *sql = get(STMT_SQL, "(int) AS SELECT $1");
	struct stmt *endless = get(STMT_PARSED, "SELECT 1");

	(void)state;
	assert_true(slice_is(stmt_text(parsed), "SELECT $1"));
	assert_true(slice_is(stmt_text(sql), "(int) AS SELECT $1"));
	assert_true(slice_is(stmt_text(endless), "SELECT 1"));
	stmt_unref(all, &parsed);
	stmt_unref(all, &sql);
	stmt_unref(all, &endless);
}

static void each_scope_has_statements_of_its_own_and_texts_are_shared(void **state)
{
	const int here = 0, there = 0;
	struct stmt *a = stmts_get(all, &here, STMT_PARSED, SLICE_LIT("SELECT 1"));
	struct stmt *b = stmts_get(all, &there, STMT_PARSED, SLICE_LIT("SELECT 1"));

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(a->body, b->body);
	stmt_unref(all, &a);
	a = stmts_get(all, &there, STMT_PARSED, SLICE_LIT("SELECT 1"));
	assert_ptr_equal(a, b);
	stmt_unref(all, &a);
	stmt_unref(all, &b);
}

static void memory_grows_by_the_structs_of_statements_at_least(void **state)
{
	struct stmt *one = get(STMT_PARSED, "SELECT 1"), *other;
	size_t before = stmts_memory(all);

	(void)state;
	other = get(STMT_PARSED, "SELECT 12345");
	assert_int_equal(stmts_memory(all) - before, sizeof(*other));
	assert_true(before > sizeof(*one));
	stmt_unref(all, &other);
	assert_int_equal(stmts_memory(all), before);
	stmt_unref(all, &one);
	assert_int_equal(stmts_memory(all), 0);
}

#define BODIES 600

static struct slice body_of(unsigned i, char room[16])
{
	return (struct slice){room, (size_t)snprintf(room, 16, "%u", i / 2)};
}

/* A statement for each number; even and odd ones are of different kinds, and share their bodies. */
static void it_agrees_with_counted_references_after_random_steps(void **state)
{
	static struct {
		struct stmt *stmt;
		unsigned refs;
	} model[BODIES];
	size_t live = 0, seen = 0;
	char room[16];

	(void)state;
	random_start();
	for (unsigned step = 0; step < 50000; step++) {
		unsigned i = random_below(BODIES);

		if (random_below(2) == 0) {
			struct stmt *s = stmts_get(all, NULL, i % 2 == 0 ? STMT_PARSED : STMT_SQL, body_of(i, room));

			if (model[i].refs++ == 0) {
				model[i].stmt = s;
				live++;
			}
			assert_ptr_equal(s, model[i].stmt);
		} else if (model[i].refs > 0) {
			struct stmt *s = model[i].stmt;

			assert_true(slice_eq(stmt_body(s), body_of(i, room)));
			stmt_unref(all, &s);
			live -= --model[i].refs == 0;
		}
		assert_int_equal(stmts_count(all), live);
	}
	for (const struct stmt *s = stmts_next(all, NULL); s != NULL; s = stmts_next(all, s)) {
		assert_in_range(s->refs, 1, UINT32_MAX);
		seen++;
	}
	assert_int_equal(seen, live);
	for (unsigned i = 0; i < BODIES; i++) {
		while (model[i].refs-- > 0) {
			struct stmt *s = model[i].stmt;

			stmt_unref(all, &s);
		}
	}
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(equal_bodies_of_one_kind_are_one_statement),
		CLAIM(one_is_found_again_by_hash_and_id_until_it_is_gone),
		CLAIM(a_body_may_be_empty_or_hold_nul),
		CLAIM(names_are_the_prefix_and_ids_that_are_never_used_twice),
		CLAIM(a_new_one_is_in_version_1_and_nobody_has_it),
		CLAIM(it_lives_until_the_last_reference_is_dropped),
		CLAIM(the_text_is_a_parsed_ones_query_and_the_whole_of_the_others),
		CLAIM(each_scope_has_statements_of_its_own_and_texts_are_shared),
		CLAIM(memory_grows_by_the_structs_of_statements_at_least),
		CLAIM(it_agrees_with_counted_references_after_random_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
