#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "auth/md5.h"

static void the_stored_form_is_md5_of_password_and_user(void **state)
{
	char secret[MD5_TEXT_SIZE];

	(void)state;
	assert_true(md5_secret(SLICE_LIT("secret"), SLICE_LIT("ann"), secret));
	assert_string_equal(secret, "md59d792a3a8853c2411afb9163d088c036");
}

static void the_answer_is_salted(void **state)
{
	const uint8_t salt[MD5_SALT_SIZE] = {1, 2, 3, 4};
	char answer[MD5_TEXT_SIZE];

	(void)state;
	assert_true(md5_response("md59d792a3a8853c2411afb9163d088c036", salt, answer));
	assert_string_equal(answer, "md59009ce60b9ca97f1e752376843d1309e");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_stored_form_is_md5_of_password_and_user),
		cmocka_unit_test(the_answer_is_salted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
