#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/problems.h"

static void an_error_is_one_line_with_its_place_and_is_counted(void **state)
{
	struct conf_problems p;

	(void)state;
	conf_problems_init(&p);
	conf_error(&p, (struct conf_place){"a.ini", 3}, "%s is wrong", "x");
	conf_error(&p, (struct conf_place){"command line", 0}, "y");
	conf_warning(&p, (struct conf_place){"a.ini", 0}, "z");
	assert_string_equal(p.errors.p, "a.ini:3: x is wrong\ncommand line: y\n");
	assert_string_equal(p.warnings.p, "a.ini: z\n");
	assert_int_equal(p.nerrors, 2);
	assert_int_equal(p.nwarnings, 1);
	conf_problems_fini(&p);
}

static void control_characters_cannot_break_the_line(void **state)
{
	struct conf_problems p;

	(void)state;
	conf_problems_init(&p);
	conf_error(&p, (struct conf_place){"a\nb", 1}, "%s", "c\x1b[d \xc3\xa4");
	assert_string_equal(p.errors.p, "a\\x0ab:1: c\\x1b[d \xc3\xa4\n");
	conf_problems_fini(&p);
}

static void a_long_text_is_cut_to_an_excerpt(void **state)
{
	static char text[5000];
	struct conf_problems p;
	struct slice s = {text, sizeof(text)};

	(void)state;
	memset(text, 'x', sizeof(text));
	conf_problems_init(&p);
	conf_error(&p, (struct conf_place){"f", 1}, "%.*s", CONF_EXCERPT(s));
	assert_in_range(p.errors.n, 80, 100);
	conf_problems_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_one_line_with_its_place_and_is_counted),
		cmocka_unit_test(control_characters_cannot_break_the_line),
		cmocka_unit_test(a_long_text_is_cut_to_an_excerpt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
