#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "net/buf.h"

static struct bufpool *pool;

static int set_up(void **state)
{
	(void)state;
	pool = bufpool_new();
	return pool == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	struct bufpool_figures f;

	(void)state;
	bufpool_figures(pool, &f);
	bufpool_free(pool);
	return f.lent == 0 && f.lent_bytes == 0 ? 0 : -1;
}

static void a_borrowed_buffer_is_empty_and_large_enough(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 511, 512, 4000, 4096, 65535, 65536, 65537, 1000000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf *b = buf_borrow(pool, sizes[i]);

		assert_int_equal(buf_bytes(b), 0);
		assert_true(b->cap >= sizes[i]);
		memset(b->data, 0xaa, b->cap);
		buf_return(pool, &b);
		assert_null(b);
	}
}

static void appended_bytes_stand_in_order_however_they_came(void **state)
{
	enum { N = 300000 };
	uint8_t *expected = malloc(N);
	struct buf *b = NULL;
	size_t n = 0, step = 1;

	(void)state;
	for (int i = 0; i < N; i++)
		expected[i] = (uint8_t)(i * 7 + i / 251);
	while (n < N) {
		size_t more = step < N - n ? step : N - n;

		assert_true(buf_append(pool, &b, expected + n, more));
		n += more;
		step = step * 5 % 4093 + 1;
	}
	assert_int_equal(buf_bytes(b), N);
	assert_memory_equal(b->data + b->start, expected, N);
	buf_return(pool, &b);
	free(expected);
}

static void bytes_taken_from_the_front_make_room_behind(void **state)
{
	struct buf *b = NULL;
	uint8_t piece[100];
	uint32_t cap;

	(void)state;
	memset(piece, 0, sizeof(piece));
	assert_true(buf_append(pool, &b, piece, sizeof(piece)));
	cap = b->cap;
	for (int i = 1; i < 1000; i++) {
		memset(piece, i, sizeof(piece));
		assert_true(buf_append(pool, &b, piece, sizeof(piece)));
		b->start += sizeof(piece);
		assert_int_equal(buf_bytes(b), sizeof(piece));
		assert_memory_equal(b->data + b->start, piece, sizeof(piece));
	}
	assert_int_equal(b->cap, cap);
	buf_return(pool, &b);
}

static void growing_keeps_only_what_still_waits(void **state)
{
	uint8_t old[600], more[5000];
	struct buf *b = NULL;

	(void)state;
	memset(old, 1, sizeof(old));
	memset(more, 2, sizeof(more));
	assert_true(buf_append(pool, &b, old, sizeof(old)));
	b->start += 590;
	assert_true(buf_append(pool, &b, more, sizeof(more)));
	assert_int_equal(buf_bytes(b), 10 + sizeof(more));
	assert_memory_equal(b->data + b->start, old, 10);
	assert_memory_equal(b->data + b->start + 10, more, sizeof(more));
	buf_return(pool, &b);
}

static void a_returned_buffer_is_lent_again(void **state)
{
	struct buf *a = buf_borrow(pool, 100), *was = a, *b;
	struct bufpool_figures f;

	(void)state;
	buf_return(pool, &a);
	bufpool_figures(pool, &f);
	assert_int_equal(f.kept, 1);
	b = buf_borrow(pool, 100);
	assert_ptr_equal(b, was);
	bufpool_figures(pool, &f);
	assert_int_equal(f.kept, 0);
	assert_int_equal(f.kept_bytes, 0);
	buf_return(pool, &b);
}

static void figures_count_what_is_lent_and_kept(void **state)
{
	struct buf *small = buf_borrow(pool, 1), *large = buf_borrow(pool, 1000000);
	size_t small_cap = small->cap;
	struct bufpool_figures f;

	(void)state;
	bufpool_figures(pool, &f);
	assert_int_equal(f.lent, 2);
	assert_int_equal(f.lent_bytes, small_cap + large->cap);
	assert_int_equal(f.kept, 0);
	buf_return(pool, &small);
	/* Large ones are not worth keeping. */
	buf_return(pool, &large);
	bufpool_figures(pool, &f);
	assert_int_equal(f.lent, 0);
	assert_int_equal(f.kept, 1);
	assert_int_equal(f.kept_bytes, small_cap);
}

static void only_so_many_are_kept(void **state)
{
	enum { N = 200 };
	struct buf *b[N];
	struct bufpool_figures f;

	(void)state;
	for (int i = 0; i < N; i++)
		b[i] = buf_borrow(pool, 65536);
	for (int i = 0; i < N; i++)
		buf_return(pool, &b[i]);
	bufpool_figures(pool, &f);
	assert_true(f.kept < N);
	assert_true(f.kept_bytes <= 8 * 1024 * 1024);
}

static void what_is_kept_can_be_freed(void **state)
{
	struct bufpool_figures f;
	struct buf *b;

	(void)state;
	for (size_t n = 1; n <= 65536; n *= 4) {
		b = buf_borrow(pool, n);
		buf_return(pool, &b);
	}
	bufpool_trim(pool);
	bufpool_figures(pool, &f);
	assert_int_equal(f.kept, 0);
	assert_int_equal(f.kept_bytes, 0);
	b = buf_borrow(pool, 100);
	assert_true(buf_memory(b) >= 100 + sizeof(*b));
	buf_return(pool, &b);
	assert_int_equal(buf_memory(b), 0);
}

static void returning_nothing_is_allowed(void **state)
{
	struct buf *none = NULL;

	(void)state;
	buf_return(pool, &none);
	assert_int_equal(buf_bytes(none), 0);
	bufpool_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_borrowed_buffer_is_empty_and_large_enough),
		TEST(appended_bytes_stand_in_order_however_they_came),
		TEST(bytes_taken_from_the_front_make_room_behind),
		TEST(growing_keeps_only_what_still_waits),
		TEST(a_returned_buffer_is_lent_again),
		TEST(figures_count_what_is_lent_and_kept),
		TEST(only_so_many_are_kept),
		TEST(what_is_kept_can_be_freed),
		TEST(returning_nothing_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
