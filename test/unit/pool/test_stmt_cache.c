#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pool/stmt_cache.h"

#include "../random.h"

#define STMTS 300

static struct stmts *all;
static struct stmt *stmts[STMTS];
static struct stmt_cache cache;

static int set_up(void **state)
{
	char body[16];

	(void)state;
	all = stmts_new();
	for (unsigned i = 0; i < STMTS; i++) {
		snprintf(body, sizeof(body), "SELECT %u", i);
		stmts[i] = stmts_get(all, STMT_PARSED, slice_of(body), NULL);
	}
	stmt_cache_init(&cache, all);
	return 0;
}

/* No reference is left. */
static int tear_down(void **state)
{
	size_t left;

	(void)state;
	stmt_cache_fini(&cache);
	for (unsigned i = 0; i < STMTS; i++) {
		if (stmts[i]->nservers != 0)
			return -1;
		stmt_unref(all, &stmts[i]);
	}
	left = stmts_count(all);
	stmts_free(&all);
	return left != 0;
}

static void add(unsigned i)
{
	assert_true(stmt_cache_add(&cache, stmts[i], stmts[i]->version, 1000 + i));
}

/* Exactly these, oldest first. */
static void assert_order(const char *expected)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_add_str(&text, "");
	for (const struct stmt *s = stmt_cache_oldest(&cache, NULL, NULL); s != NULL;
	     s = stmt_cache_oldest(&cache, s, NULL))
		strbuf_addf(&text, "%s%u", text.n > 0 ? " " : "", (unsigned)s->id - 1);
	assert_string_equal(text.p, expected);
	strbuf_fini(&text);
}

static void what_is_added_is_present_until_it_is_dropped(void **state)
{
	(void)state;
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_ABSENT);
	assert_int_equal(stmt_cache_use(&cache, stmts[0], 1), STMT_ABSENT);
	add(0);
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_PRESENT);
	assert_int_equal(stmt_cache_use(&cache, stmts[0], 1), STMT_PRESENT);
	assert_int_equal(stmt_cache_look(&cache, stmts[1]), STMT_ABSENT);
	assert_int_equal(stmt_cache_count(&cache), 1);
	assert_int_equal(stmt_cache_drop(&cache, stmts[0]), 1);
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_ABSENT);
	assert_int_equal(stmt_cache_count(&cache), 0);
}

static void one_of_an_older_version_is_stale(void **state)
{
	(void)state;
	add(0);
	stmts[0]->version++;
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_STALE);
	assert_int_equal(stmt_cache_use(&cache, stmts[0], 1), STMT_STALE);
	assert_int_equal(stmt_cache_drop(&cache, stmts[0]), 1);
	assert_true(stmt_cache_add(&cache, stmts[0], 1, 1));
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_STALE);
	stmt_cache_drop(&cache, stmts[0]);
	assert_true(stmt_cache_add(&cache, stmts[0], 2, 1));
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_PRESENT);
	assert_int_equal(stmt_cache_drop(&cache, stmts[0]), 2);
}

static void dropping_what_is_absent_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(stmt_cache_drop(&cache, stmts[0]), 0);
	add(1);
	assert_int_equal(stmt_cache_drop(&cache, stmts[0]), 0);
	assert_order("1");
}

static void the_order_is_that_of_the_last_uses(void **state)
{
	(void)state;
	assert_order("");
	for (unsigned i = 0; i < 5; i++)
		add(i);
	assert_order("0 1 2 3 4");
	stmt_cache_use(&cache, stmts[2], 1);
	assert_order("0 1 3 4 2");
	stmt_cache_use(&cache, stmts[0], 1);
	stmt_cache_use(&cache, stmts[0], 1);
	assert_order("1 3 4 2 0");
	stmt_cache_drop(&cache, stmts[1]);
	stmt_cache_drop(&cache, stmts[0]);
	stmt_cache_drop(&cache, stmts[4]);
	assert_order("3 2");
	add(4);
	assert_order("3 2 4");
}

static void a_look_is_no_use(void **state)
{
	uint64_t used_at;

	(void)state;
	add(0);
	add(1);
	stmt_cache_look(&cache, stmts[0]);
	assert_order("0 1");
	stmt_cache_oldest(&cache, NULL, &used_at);
	assert_int_equal(used_at, 1000);
}

static void when_each_was_used_last_is_known(void **state)
{
	uint64_t used_at = 7;

	(void)state;
	assert_null(stmt_cache_oldest(&cache, NULL, &used_at));
	add(0);
	add(1);
	stmt_cache_use(&cache, stmts[0], 5000);
	assert_ptr_equal(stmt_cache_oldest(&cache, NULL, &used_at), stmts[1]);
	assert_int_equal(used_at, 1001);
	assert_ptr_equal(stmt_cache_oldest(&cache, stmts[1], &used_at), stmts[0]);
	assert_int_equal(used_at, 5000);
	assert_null(stmt_cache_oldest(&cache, stmts[0], &used_at));
	assert_null(stmt_cache_oldest(&cache, stmts[2], &used_at));
}

static void it_keeps_references_and_is_counted_at_its_statements(void **state)
{
	struct stmt *s = stmts_get(all, STMT_SQL, SLICE_LIT(" AS SELECT 1"), NULL), *held = s;
	struct stmt_cache other;

	(void)state;
	stmt_cache_init(&other, all);
	assert_true(stmt_cache_add(&cache, s, 1, 1));
	assert_true(stmt_cache_add(&other, s, 1, 1));
	stmt_unref(all, &held);
	assert_int_equal(s->refs, 2);
	assert_int_equal(s->nservers, 2);
	stmt_cache_fini(&other);
	assert_int_equal(s->refs, 1);
	assert_int_equal(s->nservers, 1);
	assert_int_equal(stmt_cache_drop(&cache, s), 1);
	assert_int_equal(stmts_count(all), STMTS);
}

static void clearing_drops_all_and_keeps_the_memory(void **state)
{
	const struct stmt_cached *entries;

	(void)state;
	stmt_cache_clear(&cache);
	for (unsigned i = 0; i < 100; i++)
		add(i);
	entries = cache.entries;
	stmt_cache_clear(&cache);
	assert_int_equal(stmt_cache_count(&cache), 0);
	assert_int_equal(stmts[0]->nservers, 0);
	assert_int_equal(stmts[0]->refs, 1);
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_ABSENT);
	assert_order("");
	for (unsigned i = 100; i < 200; i++)
		add(i);
	assert_ptr_equal(cache.entries, entries);
	assert_int_equal(stmt_cache_count(&cache), 100);
}

/* One goes, one comes, at every size: the slot of the one is that of the other. */
static void exchanging_one_for_another_allocates_nothing(void **state)
{
	unsigned next = 0;

	(void)state;
	for (unsigned size = 1; size <= 40; size++) {
		struct stmt_cache before;

		add(next++ % STMTS);
		before = cache;
		for (unsigned i = 0; i < STMTS; i++) {
			stmt_cache_drop(&cache, stmt_cache_oldest(&cache, NULL, NULL));
			add(next++ % STMTS);
		}
		assert_int_equal(stmt_cache_count(&cache), size);
		assert_ptr_equal(cache.entries, before.entries);
		assert_ptr_equal(cache.buckets, before.buckets);
		assert_int_equal(cache.cap, before.cap);
	}
}

static void after_fini_it_is_as_after_init(void **state)
{
	(void)state;
	add(0);
	stmt_cache_fini(&cache);
	assert_int_equal(stmt_cache_count(&cache), 0);
	assert_int_equal(stmt_cache_look(&cache, stmts[0]), STMT_ABSENT);
	add(0);
	assert_order("0");
}

/* The model: an array in order of use. */
static struct {
	unsigned stmt;
	uint32_t version;
	uint64_t used_at;
} model[STMTS];
static unsigned n;

static unsigned model_find(unsigned stmt)
{
	unsigned i = 0;

	while (i < n && model[i].stmt != stmt)
		i++;
	return i;
}

static void model_remove(unsigned i)
{
	memmove(&model[i], &model[i + 1], (--n - i) * sizeof(model[0]));
}

static void model_add(unsigned stmt, uint32_t version, uint64_t now)
{
	model[n].stmt = stmt;
	model[n].version = version;
	model[n++].used_at = now;
}

static enum stmt_presence model_presence(unsigned stmt)
{
	unsigned i = model_find(stmt);

	if (i == n)
		return STMT_ABSENT;
	return model[i].version == stmts[stmt]->version ? STMT_PRESENT : STMT_STALE;
}

static void step_use(unsigned stmt, uint64_t now)
{
	enum stmt_presence presence = model_presence(stmt);

	assert_int_equal(stmt_cache_use(&cache, stmts[stmt], now), presence);
	if (presence == STMT_ABSENT) {
		uint32_t version = stmts[stmt]->version - random_below(2);

		assert_true(stmt_cache_add(&cache, stmts[stmt], version, now));
		model_add(stmt, version, now);
	} else {
		uint32_t version = model[model_find(stmt)].version;

		model_remove(model_find(stmt));
		model_add(stmt, version, now);
	}
}

static void step_drop(unsigned stmt)
{
	unsigned i = model_find(stmt);

	assert_int_equal(stmt_cache_drop(&cache, stmts[stmt]), i == n ? 0 : model[i].version);
	if (i < n)
		model_remove(i);
}

static void step_clear(void)
{
	stmt_cache_clear(&cache);
	n = 0;
}

static void assert_is_model(void)
{
	const struct stmt *s = NULL;
	uint64_t used_at;

	for (unsigned i = 0; i < n; i++) {
		s = stmt_cache_oldest(&cache, s, &used_at);
		assert_ptr_equal(s, stmts[model[i].stmt]);
		assert_int_equal(used_at, model[i].used_at);
	}
	if (s != NULL || n == 0)
		assert_null(stmt_cache_oldest(&cache, s, NULL));
}

static void it_agrees_with_a_sorted_array_after_random_steps(void **state)
{
	(void)state;
	random_start();
	n = 0;
	for (unsigned i = 0; i < STMTS; i++)
		stmts[i]->version = 2;
	for (uint64_t now = 1; now <= 30000; now++) {
		unsigned stmt = random_below(now % 10000 < 5000 ? 12 : STMTS);
		unsigned what = random_below(100);

		if (what < 55)
			step_use(stmt, now);
		else if (what < 90)
			step_drop(stmt);
		else if (what < 99)
			assert_int_equal(stmt_cache_look(&cache, stmts[stmt]), model_presence(stmt));
		else if (random_below(20) > 0)
			stmts[stmt]->version++;
		else
			step_clear();
		assert_int_equal(stmt_cache_count(&cache), n);
		if (now % 50 == 0)
			assert_is_model();
	}
	assert_is_model();
	for (unsigned i = 0; i < STMTS; i++)
		assert_int_equal(stmts[i]->nservers, model_presence(i) != STMT_ABSENT);
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(what_is_added_is_present_until_it_is_dropped),
		CLAIM(one_of_an_older_version_is_stale),
		CLAIM(dropping_what_is_absent_changes_nothing),
		CLAIM(the_order_is_that_of_the_last_uses),
		CLAIM(a_look_is_no_use),
		CLAIM(when_each_was_used_last_is_known),
		CLAIM(it_keeps_references_and_is_counted_at_its_statements),
		CLAIM(clearing_drops_all_and_keeps_the_memory),
		CLAIM(exchanging_one_for_another_allocates_nothing),
		CLAIM(after_fini_it_is_as_after_init),
		CLAIM(it_agrees_with_a_sorted_array_after_random_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
