#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/siphash.h"

#define LONGEST 1000

static uint8_t key[SIPHASH_KEY_SIZE], input[LONGEST];

/* Those of the paper: bytes that count up from 0. */
static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)i;
	return 0;
}

static void values_are_those_of_siphash_1_3(void **state)
{
	static const struct {
		size_t n;
		uint64_t hash;
	} vectors[] = {
		{0, UINT64_C(0xabac0158050fc4dc)},
		{1, UINT64_C(0xc9f49bf37d57ca93)},
		{2, UINT64_C(0x82cb9b024dc7d44d)},
		{3, UINT64_C(0x8bf80ab8e7ddf7fb)},
		{4, UINT64_C(0xcf75576088d38328)},
		{5, UINT64_C(0xdef9d52f49533b67)},
		{6, UINT64_C(0xc50d2b50c59f22a7)},
		{7, UINT64_C(0xd3927d989bb11140)},
		{8, UINT64_C(0x369095118d299a8e)},
		{9, UINT64_C(0x25a48eb36c063de4)},
		{15, UINT64_C(0xd320d86d2a519956)},
		{16, UINT64_C(0xcc4fdd1a7d908b66)},
		{17, UINT64_C(0x9cf2689063dbd80c)},
		{63, UINT64_C(0x9d199062b7bbb3a8)},
		{1000, UINT64_C(0x2cf8d9d4f270cadf)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_int_equal(siphash(key, input, vectors[i].n), vectors[i].hash);
}

static void another_key_gives_other_values(void **state)
{
	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof(key); bit++) {
		uint8_t other[SIPHASH_KEY_SIZE];

		memcpy(other, key, sizeof(key));
		other[bit / 8] ^= (uint8_t)(1 << bit % 8);
		for (size_t n = 0; n < 20; n++)
			assert_int_not_equal(siphash(other, input, n), siphash(key, input, n));
	}
}

static void every_bit_of_the_text_and_its_length_count(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 40; n++) {
		uint64_t hash = siphash(key, input, n);

		assert_int_not_equal(siphash(key, input, n - 1), hash);
		for (size_t bit = 0; bit < 8 * n; bit++) {
			input[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_not_equal(siphash(key, input, n), hash);
			input[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* Under AddressSanitizer this also shows that nothing outside the text is read: it ends where the array does. */
static void where_a_text_lies_does_not_matter(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 40; n++) {
		uint8_t *end = input + sizeof(input);
		uint64_t hash = siphash(key, end - n, n);

		for (size_t shift = 1; shift < 9; shift++) {
			uint8_t copy[64];

			memcpy(copy + shift, end - n, n);
			assert_int_equal(siphash(key, copy + shift, n), hash);
		}
	}
}

static void an_empty_text_needs_no_place(void **state)
{
	(void)state;
	assert_int_equal(siphash(key, NULL, 0), siphash(key, input, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_those_of_siphash_1_3),
		cmocka_unit_test(another_key_gives_other_values),
		cmocka_unit_test(every_bit_of_the_text_and_its_length_count),
		cmocka_unit_test(where_a_text_lies_does_not_matter),
		cmocka_unit_test(an_empty_text_needs_no_place),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
