#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/fields.h"
#include "tempdir.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
	struct arena *arena;
	struct conf_problems problems;
	struct fields fields;
};

static void open_bytes(struct fixture *f, const char *text, size_t n)
{
	const char *error;

	f->arena = arena_new();
	conf_problems_init(&f->problems);
	assert_true(fields_open(&f->fields, tempdir_write_bytes("fields", text, n), f->arena, &f->problems, &error));
}

static void open_text(struct fixture *f, const char *text)
{
	open_bytes(f, text, strlen(text));
}

static void done(struct fixture *f)
{
	conf_problems_fini(&f->problems);
	arena_free(f->arena);
}

/* A whole file in one text: `12:[a] ["b"],[c]`, with the line, quotes around what was quoted, commas between. */
static void print(struct fixture *f, struct strbuf *out)
{
	struct fields_token token;
	enum fields_step step;

	while (fields_next_line(&f->fields)) {
		strbuf_addf(out, "%s%d:", out->n > 0 ? " " : "", f->fields.at.line);
		while ((step = fields_take(&f->fields, &token)) == FIELDS_TOKEN)
			strbuf_addf(out, token.is_quoted ? "[\"%s\"]%s" : "[%s]%s", token.text.p, token.has_more ? "," : "");
		if (step == FIELDS_BAD)
			strbuf_add_str(out, "!");
	}
}

static void lines_fall_into_tokens_as_in_postgresql(void **state)
{
	static const struct {
		const char *text, *tokens;
	} cases[] = {
		{"", ""},
		{"\n \n\t\r\n# x\n  # y", ""},
		{"a b\tc\r\n", "1:[a][b][c]"},
		{"\n\na", "3:[a]"},
		{"a,b c", "1:[a],[b][c]"},
		{"a, b c", "1:[a],[b][c]"},
		{"a ,b c", "1:[a][b][c]"},
		{"a,,b,", "1:[a],[b],"},
		{"a#b c\nd", "1:[a] 2:[d]"},
		{"a,# b", "1:[a],"},
		{"\"a b,c#d\" e", "1:[\"a b,c#d\"][e]"},
		{"\"a\"\"b\" \"\"\"\" \"\"", "1:[\"a\"b\"][\"\"\"][\"\"]"},
		{"a\" b\"c d", "1:[a bc][d]"},
		{"\"a\"b", "1:[\"ab\"]"},
		{"a\\\nb c\nd", "1:[ab][c] 3:[d]"},
		{"a \\\r\nb\\\n\\\nc\nd", "1:[a][bc] 5:[d]"},
		{"# a \\\nb\nc", "3:[c]"},
		{"a \\", "1:[a]"},
		{"\\", ""},
		{"a\\b \\\\\nc", "1:[a\\b][\\c]"},
		{"a \"b\nc", "1:[a]! 2:[c]"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture f;
		struct strbuf out;

		strbuf_init(&out);
		strbuf_add_str(&out, "");
		open_text(&f, cases[i].text);
		print(&f, &out);
		assert_string_equal(out.p, cases[i].tokens);
		strbuf_fini(&out);
		done(&f);
	}
}

static void an_open_quote_and_a_nul_byte_are_errors_that_show_nothing_of_the_line(void **state)
{
	static const char text[] = "a \"secret\nb se\0cret\n";
	struct fixture f;
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	open_bytes(&f, text, sizeof(text) - 1);
	print(&f, &out);
	assert_string_equal(out.p, "1:[a]! 2:[b]!");
	assert_string_equal(f.problems.errors.p,
			    "fields:1: a quote does not end; accepted: \"...\" with \"\" for a quote inside\n"
			    "fields:2: contains a NUL byte\n");
	strbuf_fini(&out);
	done(&f);
}

static void a_field_that_must_be_one_token_is_named_when_it_is_not(void **state)
{
	struct fields_token token;
	struct fixture f;

	(void)state;
	open_text(&f, "a\nb,c\n");
	assert_true(fields_next_line(&f.fields));
	assert_true(fields_take_one(&f.fields, "type", &token));
	assert_string_equal(token.text.p, "a");
	assert_false(fields_take_one(&f.fields, "method", &token));
	assert_true(fields_next_line(&f.fields));
	assert_false(fields_take_one(&f.fields, "type", &token));
	assert_string_equal(f.problems.errors.p, "fields:1: the method is missing\n"
						 "fields:2: the type is a list; accepted: one value\n");
	done(&f);
}

static void an_excerpt_ends_before_a_value(void **state)
{
	(void)state;
	assert_true(slice_is(fields_excerpt(SLICE_LIT("ldapbindpasswd=secret")), "ldapbindpasswd"));
	assert_true(slice_is(fields_excerpt(SLICE_LIT("ident")), "ident"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_fall_into_tokens_as_in_postgresql),
		cmocka_unit_test(an_open_quote_and_a_nul_byte_are_errors_that_show_nothing_of_the_line),
		cmocka_unit_test(a_field_that_must_be_one_token_is_named_when_it_is_not),
		cmocka_unit_test(an_excerpt_ends_before_a_value),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
