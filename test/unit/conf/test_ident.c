#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/ident.h"
#include "tempdir.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
	struct arena *arena;
	struct conf_problems problems;
	struct ident *ident;
};

static struct fixture read_text(const char *text)
{
	struct fixture f = {.arena = arena_new()};

	conf_problems_init(&f.problems);
	f.ident = ident_read(tempdir_write("ident.conf", text), f.arena, &f.problems);
	return f;
}

static void done(struct fixture *f)
{
	ident_free(f->ident);
	conf_problems_fini(&f->problems);
	arena_free(f->arena);
}

static const char file[] =
	"# map system-user user\n"
	"m   ann          ann\n"
	"m   ann          boss   # she may be both\n"
	"m   \"Bob B\"    \"b \"\"b\"\n"
	"m   root         all\n"
	"m   quoted       \"all\"\n"
	"other ann        eve\n"
	"r   /^(.*)@corp\\.example$   \\1\n"
	"r   \"/^svc-(\\w{2,3})$\"    app_\\1_rw\n"
	"r   /^adm_       all\n"
	"r   /^(x)?y$     \\1z\n"
	"r   ops          /^ops_\n"
	"r   lit          a\\1\n"
	"r   /^two(.)     \\1\\1\n";

static void maps_allow_what_their_lines_say(void **state)
{
	static const struct {
		const char *map, *system_user, *user;
		bool allows;
	} cases[] = {
		{"m", "ann", "ann", true},          {"m", "ann", "boss", true},       {"m", "ann", "eve", false},
		{"m", "ann", "Ann", false},         {"m", "Ann", "ann", false},       {"m", "ann", "", false},
		{"other", "ann", "eve", true},      {"other", "ann", "ann", false},   {"none", "ann", "ann", false},
		{"m", "Bob B", "b \"b", true},      {"m", "Bob", "b", false},         {"m", "root", "anybody", true},
		{"m", "root", "all", true},         {"m", "quoted", "all", true},     {"m", "quoted", "ann", false},
		{"m", "all", "ann", false},         {"", "ann", "ann", false},
		{"r", "eve@corp.example", "eve", true},   {"r", "eve@corp.example", "ann", false},
		{"r", "eve@corp.example", "ev", false},   {"r", "eve@corp.example", "eve@corp.example", false},
		{"r", "eve@corpXexample", "eve", false},  {"r", "@corp.example", "", true},
		{"r", "svc-web", "app_web_rw", true},     {"r", "svc-web", "app_db_rw", false},
		{"r", "svc-webs", "app_webs_rw", false},  {"r", "svc-web", "app__rw", false},
		{"r", "adm_x", "anybody", true},          {"r", "adm", "anybody", false},
		{"r", "xy", "xz", true},                  {"r", "y", "z", false},
		{"r", "ops", "ops_1", true},              {"r", "ops", "1ops_", false},
		{"r", "lit", "a\\1", true},               {"r", "lit", "a", false},
		{"r", "twoX", "X\\1", true},              {"r", "twoX", "XX", false},
		{NULL, "ann", "ann", true},               {NULL, "ann", "boss", false},
	};
	struct fixture f = read_text(file);

	(void)state;
	if (f.problems.nerrors > 0)
		fail_msg("%s", f.problems.errors.p);
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (ident_allows(f.ident, cases[i].map, slice_of(cases[i].system_user), slice_of(cases[i].user)) !=
		    cases[i].allows)
			fail_msg("case %zu: %s as %s", i, cases[i].system_user, cases[i].user);
	}
	done(&f);
}

static void without_a_file_only_the_same_name_is_allowed(void **state)
{
	(void)state;
	assert_true(ident_allows(NULL, NULL, SLICE_LIT("a"), SLICE_LIT("a")));
	assert_false(ident_allows(NULL, "m", SLICE_LIT("a"), SLICE_LIT("a")));
	ident_free(NULL);
}

static void each_bad_line_is_an_error_of_its_own(void **state)
{
	struct fixture f = read_text("m\nm a\nm a b c\nm a,b c\nm a +g\nm /( x\nm /a \\1\nm @f x\nm \"a b\nm a /[\nm a b\n");

	(void)state;
	assert_string_equal(f.problems.errors.p,
		"ident.conf:1: the system user is missing\n"
		"ident.conf:2: the user is missing\n"
		"ident.conf:3: more than three fields; accepted: map, system user, user\n"
		"ident.conf:4: the system user is a list; accepted: one value\n"
		"ident.conf:5: +g: groups are not known here; accepted: a name, all, a /regular expression\n"
		"ident.conf:6: /(: no regular expression: Unmatched ( or \\(\n"
		"ident.conf:7: \\1: \\1 needs a part in parentheses in /a\n"
		"ident.conf:8: @f: files are not read here; accepted: the name in quotes\n"
		"ident.conf:9: a quote does not end; accepted: \"...\" with \"\" for a quote inside\n"
		"ident.conf:10: /[: no regular expression: brackets do not end\n");
	assert_int_equal(f.problems.nerrors, 10);
	done(&f);
}

static void a_missing_file_is_an_error(void **state)
{
	struct fixture f = read_text("");
	struct ident *none = ident_read("none.conf", f.arena, &f.problems);

	(void)state;
	assert_string_equal(f.problems.errors.p, "none.conf: auth_ident_file cannot be read: No such file or directory\n");
	ident_free(none);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_allow_what_their_lines_say),
		cmocka_unit_test(without_a_file_only_the_same_name_is_allowed),
		cmocka_unit_test(each_bad_line_is_an_error_of_its_own),
		cmocka_unit_test(a_missing_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
