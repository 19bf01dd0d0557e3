#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/userlist.h"
#include "tempdir.h"

#define STORED "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

struct fixture {
	struct arena *arena;
	struct userlist *list;
	struct conf_problems problems;
};

static struct fixture read_text(const char *text)
{
	struct fixture f = {.arena = arena_new()};

	conf_problems_init(&f.problems);
	f.list = userlist_new(f.arena);
	userlist_read(f.list, tempdir_write("users.txt", text), &f.problems);
	return f;
}

static void done(struct fixture *f)
{
	conf_problems_fini(&f->problems);
	arena_free(f->arena);
}

static const char *secret(struct fixture *f, const char *name)
{
	const struct userlist_entry *entry = userlist_find(f->list, slice_of(name));

	return entry != NULL ? entry->secret : NULL;
}

static void users_have_the_secrets_of_their_lines(void **state)
{
	struct fixture f = read_text("; comment\n\n\"ann\" \"pw\"\n  \"bob\"\t\"\" rest is ignored\n\"c\"\"d\" \"e\"\"f\"\r\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 0);
	assert_int_equal(userlist_count(f.list), 3);
	assert_string_equal(secret(&f, "ann"), "pw");
	assert_string_equal(secret(&f, "bob"), "");
	assert_string_equal(secret(&f, "c\"d"), "e\"f");
	assert_null(secret(&f, "eve"));
	assert_string_equal(userlist_at(f.list, 1)->name, "bob");
	done(&f);
}

static void the_later_of_two_lines_wins(void **state)
{
	struct fixture f = read_text("\"a\" \"1\"\n\"a\" \"2\"\n");

	(void)state;
	assert_int_equal(userlist_count(f.list), 1);
	assert_string_equal(secret(&f, "a"), "2");
	done(&f);
}

static void bad_lines_are_all_named_without_their_secrets(void **state)
{
	struct fixture f = read_text("\"a\" \"hunter2\n\"b\" hunter2\nc \"hunter2\"\n\"d\" \"ok\"\n\"hunter2\"\n");

	(void)state;
	assert_int_equal(f.problems.nerrors, 4);
	assert_non_null(strstr(f.problems.errors.p, "users.txt:1: "));
	assert_non_null(strstr(f.problems.errors.p, "users.txt:2: "));
	assert_non_null(strstr(f.problems.errors.p, "users.txt:3: "));
	assert_non_null(strstr(f.problems.errors.p, "users.txt:5: "));
	assert_null(strstr(f.problems.errors.p, "users.txt:4: "));
	assert_null(strstr(f.problems.errors.p, "hunter2"));
	done(&f);
}

static void a_missing_file_is_named(void **state)
{
	struct fixture f = read_text("");

	(void)state;
	userlist_read(f.list, "none.txt", &f.problems);
	assert_int_equal(f.problems.nerrors, 1);
	assert_string_equal(f.problems.errors.p, "none.txt: auth_file cannot be read: No such file or directory\n");
	done(&f);
}

static void kinds_of_secrets_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(secret_type_of(""), SECRET_NONE);
	assert_int_equal(secret_type_of("pw"), SECRET_PLAIN);
	assert_int_equal(secret_type_of("md50123456789abcdef0123456789abcdef"), SECRET_MD5);
	assert_int_equal(secret_type_of("md50123456789abcdef0123456789abcde"), SECRET_PLAIN);
	assert_int_equal(secret_type_of("md50123456789abcdef0123456789abcdeg"), SECRET_PLAIN);
	assert_int_equal(secret_type_of("SCRAM-SHA-256$4096:c2FsdA==$" STORED ":" STORED), SECRET_SCRAM);
}

static void a_broken_scram_secret_is_a_plain_password(void **state)
{
	static const char *const broken[] = {
		"SCRAM-SHA-256$", "SCRAM-SHA-256$4096:c2FsdA==$" STORED, "SCRAM-SHA-256$x:c2FsdA==$" STORED ":" STORED,
		"SCRAM-SHA-256$0:c2FsdA==$" STORED ":" STORED, "SCRAM-SHA-256$4096:$" STORED ":" STORED,
		"SCRAM-SHA-256$4096:c2FsdA==$AAAA:" STORED, "SCRAM-SHA-256$4096:c2FsdA==$" STORED ":" STORED "$",
		"scram-sha-256$4096:c2FsdA==$" STORED ":" STORED,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(secret_type_of(broken[i]), SECRET_PLAIN);
}

static void names_and_secrets_have_a_longest_length(void **state)
{
	static char name[200], pass[70000], text[71000];
	struct fixture f;

	(void)state;
	memset(name, 'n', 127);
	memset(pass, 'p', 65531);
	snprintf(text, sizeof(text), "\"%s\" \"%s\"\n", name, pass);
	f = read_text(text);
	assert_int_equal(f.problems.nerrors, 0);
	assert_string_equal(secret(&f, name), pass);
	done(&f);
	name[127] = 'n';
	f = read_text((snprintf(text, sizeof(text), "\"%s\" \"\"\n", name), text));
	assert_int_equal(f.problems.nerrors, 1);
	done(&f);
	pass[65531] = 'p';
	f = read_text((snprintf(text, sizeof(text), "\"a\" \"%s\"\n", pass), text));
	assert_int_equal(f.problems.nerrors, 1);
	done(&f);
}

static void a_salt_is_not_longer_than_logins_can_use(void **state)
{
	static char salt[173], text[512];
	struct fixture f;

	(void)state;
	memset(salt, 'A', 172);
	salt[171] = '=';
	f = read_text((snprintf(text, sizeof(text), "\"a\" \"SCRAM-SHA-256$1:%s$" STORED ":" STORED "\"\n", salt), text));
	assert_int_equal(f.problems.nerrors, 0);
	assert_int_equal(userlist_at(f.list, 0)->type, SECRET_SCRAM);
	done(&f);
	salt[171] = 'A';
	f = read_text((snprintf(text, sizeof(text), "\"a\" \"SCRAM-SHA-256$1:%s$" STORED ":" STORED "\"\n", salt), text));
	assert_int_equal(f.problems.nerrors, 1);
	assert_non_null(strstr(f.problems.errors.p, "the salt of the SCRAM secret is too long"));
	assert_int_equal(userlist_count(f.list), 0);
	done(&f);
}

static void a_line_that_was_put_is_read_back(void **state)
{
	static const char *const names[] = {"ann", "", "o\"neil", "\"", "a b", "; c", "d\r"};
	struct strbuf lines;
	struct fixture f;

	(void)state;
	strbuf_init(&lines);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(userlist_put(&lines, names[i], i % 2 == 0 ? "\"s\"" : ""));
	f = read_text(lines.p);
	assert_int_equal(f.problems.nerrors, 0);
	assert_int_equal(userlist_count(f.list), sizeof(names) / sizeof(names[0]));
	for (size_t i = 0; i < userlist_count(f.list); i++) {
		assert_string_equal(userlist_at(f.list, i)->name, names[i]);
		assert_string_equal(userlist_at(f.list, i)->secret, i % 2 == 0 ? "\"s\"" : "");
	}
	done(&f);
	strbuf_fini(&lines);
}

static void what_no_line_can_hold_is_not_put(void **state)
{
	static char name[129];
	struct strbuf lines;

	(void)state;
	memset(name, 'n', 128);
	strbuf_init(&lines);
	assert_false(userlist_put(&lines, "a\nb", "s"));
	assert_false(userlist_put(&lines, "a", "s\n"));
	assert_false(userlist_put(&lines, name, "s"));
	assert_int_equal(lines.n, 0);
	strbuf_fini(&lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_have_the_secrets_of_their_lines),
		cmocka_unit_test(the_later_of_two_lines_wins),
		cmocka_unit_test(bad_lines_are_all_named_without_their_secrets),
		cmocka_unit_test(a_missing_file_is_named),
		cmocka_unit_test(kinds_of_secrets_are_told_apart),
		cmocka_unit_test(a_broken_scram_secret_is_a_plain_password),
		cmocka_unit_test(names_and_secrets_have_a_longest_length),
		cmocka_unit_test(a_salt_is_not_longer_than_logins_can_use),
		cmocka_unit_test(a_line_that_was_put_is_read_back),
		cmocka_unit_test(what_no_line_can_hold_is_not_put),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
