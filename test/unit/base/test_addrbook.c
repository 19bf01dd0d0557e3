#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/addrbook.h"

static struct addrbook book;

static int empty(void **state)
{
	(void)state;
	book = (struct addrbook){0};
	return 0;
}

static struct addr v4(uint32_t host, uint16_t port)
{
	return (struct addr){.family = AF_INET, .port = port, .u.v4.s_addr = host};
}

static void the_same_address_has_the_same_number(void **state)
{
	const struct addr a = v4(1, 6432), b = v4(2, 6432), c = v4(1, 6433), d = {.family = AF_UNIX};
	uint8_t first = addrbook_note(&book, &a);

	(void)state;
	assert_int_not_equal(first, 0);
	assert_int_equal(addrbook_note(&book, &a), first);
	assert_int_not_equal(addrbook_note(&book, &b), first);
	assert_int_not_equal(addrbook_note(&book, &c), first);
	assert_int_not_equal(addrbook_note(&book, &d), first);
	assert_int_equal(addrbook_note(&book, &a), first);
	assert_int_equal(book.n, 4);
}

static void a_number_leads_back_to_its_address(void **state)
{
	const struct addr a = v4(1, 6432), b = v4(2, 6433);

	(void)state;
	addrbook_note(&book, &a);
	assert_int_equal(addrbook_at(&book, addrbook_note(&book, &b))->port, 6433);
	assert_int_equal(addrbook_at(&book, addrbook_note(&book, &a))->port, 6432);
	assert_null(addrbook_at(&book, 0));
}

static void what_does_not_fit_or_is_unknown_has_no_number(void **state)
{
	const struct addr unknown = {0};
	struct addr a;

	(void)state;
	assert_int_equal(addrbook_note(&book, &unknown), 0);
	for (uint32_t i = 1; i <= UINT8_MAX; i++) {
		a = v4(i, 6432);
		assert_int_equal(addrbook_note(&book, &a), i);
	}
	a = v4(1000, 6432);
	assert_int_equal(addrbook_note(&book, &a), 0);
	a = v4(UINT8_MAX, 6432);
	assert_int_equal(addrbook_note(&book, &a), UINT8_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_same_address_has_the_same_number, empty),
		cmocka_unit_test_setup(a_number_leads_back_to_its_address, empty),
		cmocka_unit_test_setup(what_does_not_fit_or_is_unknown_has_no_number, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
