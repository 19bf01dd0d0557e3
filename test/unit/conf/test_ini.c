#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/ini.h"
#include "tempdir.h"

struct fixture {
	struct arena *arena;
	struct conf_problems problems;
	struct ini_entry *first;
};

static struct fixture read_text(const char *text)
{
	struct fixture f = {.arena = arena_new()};

	conf_problems_init(&f.problems);
	tempdir_write("t.ini", text);
	f.first = ini_read("t.ini", f.arena, &f.problems);
	return f;
}

static void done(struct fixture *f)
{
	conf_problems_fini(&f->problems);
	arena_free(f->arena);
}

/* The n-th entry that has a key. */
static struct ini_entry *entry(struct fixture *f, int n)
{
	struct ini_entry *e = f->first;

	for (; e != NULL; e = e->next) {
		if (e->key != NULL && n-- == 0)
			break;
	}
	assert_non_null(e);
	return e;
}

/* The text has one entry, of this key and value, and nothing wrong. */
static void check_entry(const char *line, const char *key, const char *value)
{
	char text[1000];
	struct fixture f;

	snprintf(text, sizeof(text), "[s]\n%s\n", line);
	f = read_text(text);
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(entry(&f, 0)->section, "s");
	assert_string_equal(entry(&f, 0)->key, key);
	assert_string_equal(entry(&f, 0)->value.p, value);
	assert_int_equal(entry(&f, 0)->value.n, strlen(value));
	assert_null(entry(&f, 0)->next);
	done(&f);
}

static void check_error(const char *text, const char *error)
{
	struct fixture f = read_text(text);

	assert_int_equal(f.problems.nerrors, 1);
	if (strncmp(f.problems.errors.p, error, strlen(error)) != 0)
		assert_string_equal(f.problems.errors.p, error);
	done(&f);
}

static void values_are_kept_as_they_are(void **state)
{
	(void)state;
	check_entry("q = SELECT 1 ; SELECT 2", "q", "SELECT 1 ; SELECT 2");
	check_entry("q=a # b", "q", "a # b");
}

static void a_colon_is_no_equals_sign(void **state)
{
	(void)state;
	check_error("[s]\nkey : value\n", "t.ini:2: no entry");
	check_entry("addr = 1::2", "addr", "1::2");
}

static void blanks_around_and_in_front_do_not_matter(void **state)
{
	(void)state;
	check_entry("   \tkey\t=  a  b \t", "key", "a  b");
	check_entry("key=", "key", "");
	check_entry("key = x\r", "key", "x");
}

static void an_indented_entry_is_no_continuation(void **state)
{
	struct fixture f = read_text("[s]\na = 1\n   b = 2\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(entry(&f, 0)->value.p, "1");
	assert_string_equal(entry(&f, 1)->key, "b");
	done(&f);
}

static void quoted_keys_may_have_anything(void **state)
{
	(void)state;
	check_entry("\"a = ]b; [c\" = 1", "a = ]b; [c", "1");
	check_entry("\"say \"\"hi\"\"\"=1", "say \"hi\"", "1");
	check_entry("\"my.db\" = host=x", "my.db", "host=x");
	check_entry("\"\xc3\xa4\" = 1", "\xc3\xa4", "1");
}

static void plain_keys_have_letters_digits_and_a_few_more(void **state)
{
	(void)state;
	check_entry("* = host=x", "*", "host=x");
	check_entry("a_b.c-d*9 = 1", "a_b.c-d*9", "1");
	check_error("[s]\na b = 1\n", "t.ini:2: no entry");
	check_error("[s]\n= 1\n", "t.ini:2: no entry");
	check_error("[s]\nkey\n", "t.ini:2: no entry");
	check_error("[s]\n\"open = 1\n", "t.ini:2: a quoted name does not end");
}

static void long_values_and_keys_survive(void **state)
{
	size_t n = 65536;
	char *text = malloc(2 * n + 100), *p = text;
	struct fixture f;

	(void)state;
	p += sprintf(p, "[s]\nx = ");
	memset(p, 'v', n);
	p += n;
	p += sprintf(p, "\n\"");
	memset(p, 'k', n);
	p += n;
	sprintf(p, "\" = 1\nlast = 2\n");
	f = read_text(text);
	free(text);
	assert_int_equal(f.problems.nerrors, 0);
	assert_int_equal(entry(&f, 0)->value.n, n);
	assert_int_equal(strlen(entry(&f, 1)->key), n);
	assert_int_equal(entry(&f, 2)->at.line, 4);
	done(&f);
}

static void comments_stand_at_the_start_of_a_line_only(void **state)
{
	struct fixture f = read_text("; one\n# two\n  ; three = 3\n[s]\n ;x\na = 1 ; not one\n#" "\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(entry(&f, 0)->value.p, "1 ; not one");
	assert_int_equal(entry(&f, 0)->at.line, 6);
	done(&f);
}

static void heads_of_sections_are_told_even_when_empty(void **state)
{
	struct fixture f = read_text("\xef\xbb\xbf[a]\n[ b ]\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(f.first->section, "a");
	assert_null(f.first->key);
	assert_string_equal(f.first->next->section, "b");
	done(&f);
}

static void a_broken_head_is_an_error(void **state)
{
	(void)state;
	check_error("[a\n", "t.ini:1: [a: ");
	check_error("[a] b\n", "t.ini:1: [a] b: ");
	check_error("[]\n", "t.ini:1: []: no name");
	check_error("[this_name_is_longer_than_any_section_has_a_right_to]\n", "t.ini:1: ");
}

static void an_entry_before_the_first_section_has_none(void **state)
{
	struct fixture f = read_text("a = 1\n");

	(void)state;
	assert_null(entry(&f, 0)->section);
	done(&f);
}

static void an_included_file_goes_in_as_its_text_would(void **state)
{
	struct fixture f;

	(void)state;
	tempdir_write("inc.ini", "b = 2\n[t]\nc = 3\n");
	f = read_text("[s]\na = 1\n%include  inc.ini \nd = 4\n");
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(entry(&f, 1)->section, "s");
	assert_string_equal(entry(&f, 1)->at.file, "inc.ini");
	assert_int_equal(entry(&f, 1)->at.line, 1);
	assert_string_equal(entry(&f, 3)->section, "t");
	assert_string_equal(entry(&f, 3)->at.file, "t.ini");
	assert_int_equal(entry(&f, 3)->at.line, 4);
	done(&f);
}

static void files_that_include_each_other_by_twos_are_told_once_and_soon(void **state)
{
	struct fixture f = read_text("%include t.ini\n%include t.ini\n");

	(void)state;
	assert_non_null(strstr(f.problems.errors.p, "more files are included than accepted: 1000"));
	assert_true(f.problems.nerrors < 1000);
	done(&f);
}

static void includes_nest_to_depth_ten(void **state)
{
	char name[32], text[64];
	struct fixture f;

	(void)state;
	for (int i = 1; i <= 10; i++) {
		snprintf(name, sizeof(name), "n%d.ini", i);
		snprintf(text, sizeof(text), i < 10 ? "%%include n%d.ini\n" : "[deep]\nx = %d\n", i + 1);
		tempdir_write(name, text);
	}
	f = read_text("%include n1.ini\n");
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(entry(&f, 0)->section, "deep");
	done(&f);
	check_error("%include t.ini\n", "t.ini:1: %include t.ini: files include each other too deeply");
}

static void a_file_that_is_missing_is_named(void **state)
{
	struct fixture f = {.arena = arena_new()};

	(void)state;
	conf_problems_init(&f.problems);
	assert_null(ini_read("none.ini", f.arena, &f.problems));
	assert_string_equal(f.problems.errors.p, "none.ini: cannot be read: No such file or directory\n");
	done(&f);
	check_error("\n%include none.ini\n", "t.ini:2: %include none.ini: cannot be read: No such file or directory\n");
	check_error("%import x\n", "t.ini:1: %import x: unknown directive");
}

static void every_error_is_found_and_the_rest_still_read(void **state)
{
	struct fixture f = read_text("[s]\nbad\na = 1\n[x\n%y\nb = 2\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 3);
	assert_string_equal(entry(&f, 1)->key, "b");
	done(&f);
}

static void no_error_repeats_a_line_that_may_hold_a_password(void **state)
{
	struct fixture f = read_text("[databases]\ndb host=x password=hunter2\n\"db = password=hunter2\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 2);
	assert_null(strstr(f.problems.errors.p, "hunter2"));
	done(&f);
}

static void a_nul_byte_is_an_error(void **state)
{
	struct fixture f = {.arena = arena_new()};

	(void)state;
	conf_problems_init(&f.problems);
	tempdir_write_bytes("t.ini", "[s]\na = \0b\n", 11);
	ini_read("t.ini", f.arena, &f.problems);
	assert_string_equal(f.problems.errors.p, "t.ini:2: contains a NUL byte\n");
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_kept_as_they_are),
		cmocka_unit_test(a_colon_is_no_equals_sign),
		cmocka_unit_test(blanks_around_and_in_front_do_not_matter),
		cmocka_unit_test(an_indented_entry_is_no_continuation),
		cmocka_unit_test(quoted_keys_may_have_anything),
		cmocka_unit_test(plain_keys_have_letters_digits_and_a_few_more),
		cmocka_unit_test(long_values_and_keys_survive),
		cmocka_unit_test(comments_stand_at_the_start_of_a_line_only),
		cmocka_unit_test(heads_of_sections_are_told_even_when_empty),
		cmocka_unit_test(a_broken_head_is_an_error),
		cmocka_unit_test(an_entry_before_the_first_section_has_none),
		cmocka_unit_test(an_included_file_goes_in_as_its_text_would),
		cmocka_unit_test(files_that_include_each_other_by_twos_are_told_once_and_soon),
		cmocka_unit_test(includes_nest_to_depth_ten),
		cmocka_unit_test(a_file_that_is_missing_is_named),
		cmocka_unit_test(every_error_is_found_and_the_rest_still_read),
		cmocka_unit_test(no_error_repeats_a_line_that_may_hold_a_password),
		cmocka_unit_test(a_nul_byte_is_an_error),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
