#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/sql.h"

/* The text in memory of just its size, so that a read past it is caught. */
static char *exact(const char *text, size_t n)
{
	char *copy = malloc(n);

	if (n > 0)
		memcpy(copy, text, n);
	return copy;
}

static struct sql read_bytes(const char *text, size_t n)
{
	char *copy = exact(text, n);
	struct sql sql;

	memset(&sql, 'g', sizeof(sql));
	sql_read((struct slice){copy, n}, &sql);
	free(copy);
	return sql;
}

static bool is_candidate(const char *text, size_t n)
{
	char *copy = exact(text, n);
	bool candidate = sql_is_candidate(copy, n);

	free(copy);
	return candidate;
}

/* With the text and the verb in what a failure prints. */
static void check(const char *text, enum sql_verb verb, const char *name)
{
	struct sql sql = read_bytes(text, strlen(text));
	char got[200], want[200];

	snprintf(got, sizeof(got), "%d %s: %s", (int)sql.verb, sql.name, text);
	snprintf(want, sizeof(want), "%d %s: %s", (int)verb, name, text);
	assert_string_equal(got, want);
	assert_int_equal(sql.name_len, strlen(name));
	if (verb != SQL_OTHER)
		assert_true(is_candidate(text, strlen(text)));
}

struct text {
	const char *text;
	const char *name;
};

#define NTEXTS(table) (sizeof(table) / sizeof((table)[0]))
#define CHECK_ALL(table, verb)                                          \
	do {                                                            \
		for (size_t i = 0; i < NTEXTS(table); i++)              \
			check((table)[i].text, verb, (table)[i].name);  \
	} while (0)

/* One PREPARE each: that a quote, comment or semicolon inside ended the statement would make it SQL_OTHER. */
static const struct text PREPARES[] = {
	{"PREPARE x AS SELECT 1", "x"},
	{"prepare X as select 1", "x"},
	{"PrEpArE Foo_1$ As SELECT 1;", "foo_1$"},
	{" \t\n\r\f\vPREPARE\nx\tAS\rSELECT 1 ; \n ;", "x"},
	{"PREPARE x (int) AS SELECT $1", "x"},
	{"PREPARE x(int, numeric(10, 2), \"a)b\")AS SELECT 1", "x"},
	{"PREPARE x(int /* ) */)AS SELECT 1", "x"},
	{"PREPARE\"X\"AS SELECT 1", "X"},
	{"PREPARE \"a\"\"b\" AS SELECT 1", "a\"b"},
	{"PREPARE \"a;b -- c /* d\" AS SELECT 1", "a;b -- c /* d"},
	{"PREPARE \"all\" AS SELECT 1", "all"},
	{"PREPARE \"select\" AS SELECT 1", "select"},
	{"PREPARE transaction AS SELECT 1", "transaction"},
	{"PREPARE transaction (int) AS SELECT 1", "transaction"},
	{"PREPARE prepare AS SELECT 1", "prepare"},
	{"PREPARE int AS SELECT 1", "int"},
	{"PREPARE \xc3\x89" "A AS SELECT 1", "\xc3\x89" "a"},
	{"PREPARE _ AS SELECT 1", "_"},
	{"/* a /* nested; */ */ PREPARE/**/x/***/AS/*/**/*/SELECT 1", "x"},
	{"-- a;\nPREPARE --b;\r x -- c\n AS SELECT 1 -- d;", "x"},
	{"PREPARE x AS SELECT 1; -- e\n /* f */ ;", "x"},
	{"PREPARE x AS SELECT 1 +--;\n1", "x"},
	{"PREPARE x AS SELECT 1 */*;*/ 1", "x"},
	{"PREPARE x AS SELECT 1 - - 1", "x"},
	{"PREPARE x AS SELECT ';', '--', '/*', '\"', '$$'", "x"},
	{"PREPARE x AS SELECT 'a'';b'", "x"},
	{"PREPARE x AS SELECT 'a\\b;'", "x"},
	{"PREPARE x AS SELECT 'a\\\\'", "x"},
	{"PREPARE x AS SELECT '\\\\\\a;'", "x"},
	{"PREPARE x AS SELECT 'a\n;'", "x"},
	{"PREPARE x AS SELECT E'a\\';b'", "x"},
	{"PREPARE x AS SELECT e'\\\\'", "x"},
	{"PREPARE x AS SELECT e'\\';'", "x"},
	{"PREPARE x AS SELECT E''';\\''", "x"},
	{"PREPARE x AS SELECT E'a'\n'\\';'", "x"},
	{"PREPARE x AS SELECT E'a' -- it's\n\t'\\';'", "x"},
	{"PREPARE x AS SELECT E'a'\r'b' \n '\\';'", "x"},
	{"PREPARE x AS SELECT B'01', X'1F', N'a;', n';'", "x"},
	{"PREPARE x AS SELECT U&'\\0061;', u&\"\\0061;\"", "x"},
	{"PREPARE x AS SELECT $$;'$$", "x"},
	{"PREPARE x AS SELECT $a$;$$;$b$;$a$", "x"},
	{"PREPARE x AS SELECT $a_1$;$a$;$_1$;$a_1$", "x"},
	{"PREPARE x AS SELECT $a_1$;$a$a_1$", "x"},
	{"PREPARE x AS SELECT $\xc3\xa9$;$\xc3\xa9$", "x"},
	{"PREPARE x AS SELECT $a$;$A$;$a$", "x"},
	{"PREPARE x AS SELECT $1$$;$$", "x"},
	{"PREPARE x AS SELECT $1, $2", "x"},
	{"PREPARE x AS SELECT a$b$, a$b$", "x"},
	{"PREPARE x AS INSERT INTO t VALUES ($1); ", "x"},
	{"PREPARE x AS EXECUTE y", "x"},
};

static void one_prepare_is_recognized_with_its_name(void **state)
{
	(void)state;
	CHECK_ALL(PREPARES, SQL_PREPARE);
}

static const struct text EXECUTES[] = {
	{"EXECUTE x", "x"},
	{"execute X;", "x"},
	{"EXECUTE \"X\"", "X"},
	{"EXECUTE\"x\"(1)", "x"},
	{"EXECUTE x(1, ';)', f((2)), $$)$$) ;;", "x"},
	{"EXECUTE x /* y */ () -- z", "x"},
	{"EXECUTE execute", "execute"},
	{"EXECUTE e", "e"},
	{"EXECUTE u", "u"},
};

static void one_execute_is_recognized_with_its_name(void **state)
{
	(void)state;
	CHECK_ALL(EXECUTES, SQL_EXECUTE);
}

static const struct text DEALLOCATES[] = {
	{"DEALLOCATE x", "x"},
	{"deallocate prepare X;", "x"},
	{"DEALLOCATE PREPARE prepare", "prepare"},
	{"DEALLOCATE PREPARE", "prepare"},
	{"DEALLOCATE prepare ; ", "prepare"},
	{"DEALLOCATE \"prepare\"", "prepare"},
	{"DEALLOCATE \"all\"", "all"},
	{"DEALLOCATE PREPARE \"ALL\"", "ALL"},
	{"DEALLOCATE/**/\"a b\"", "a b"},
};

static void one_deallocate_is_recognized_with_its_name(void **state)
{
	(void)state;
	CHECK_ALL(DEALLOCATES, SQL_DEALLOCATE);
}

static void all_of_them_are_recognized(void **state)
{
	(void)state;
	check("DEALLOCATE ALL", SQL_DEALLOCATE_ALL, "");
	check("deallocate prepare all;", SQL_DEALLOCATE_ALL, "");
	check("/**/DEALLOCATE--\nALL", SQL_DEALLOCATE_ALL, "");
	check("DISCARD ALL", SQL_DISCARD_ALL, "");
	check(" discard/**/all ; -- x", SQL_DISCARD_ALL, "");
}

/* Also what would be recognized if the quote or comment in it were read in another way. */
static const struct text OTHERS[] = {
	{"", ""},
	{";", ""},
	{" -- PREPARE x AS SELECT 1", ""},
	{"SELECT 1", ""},
	{"\"PREPARE\" x AS SELECT 1", ""},
	{"PREPAREx AS SELECT 1", ""},
	{"EXECUTE$ x", ""},
	{"; PREPARE x AS SELECT 1", ""},
	{"BEGIN; DEALLOCATE x", ""},
	{"EXPLAIN EXECUTE x", ""},
	{"PREPARE", ""},
	{"PREPARE x", ""},
	{"PREPARE x AS", ""},
	{"PREPARE x AS ;", ""},
	{"PREPARE x SELECT 1", ""},
	{"PREPARE x \"AS\" SELECT 1", ""},
	{"PREPARE x.y AS SELECT 1", ""},
	{"PREPARE 1x AS SELECT 1", ""},
	{"PREPARE $1 AS SELECT 1", ""},
	{"PREPARE 'x' AS SELECT 1", ""},
	{"PREPARE \"\" AS SELECT 1", ""},
	{"PREPARE \"x AS SELECT 1", ""},
	{"PREPARE U&\"x\" AS SELECT 1", ""},
	{"PREPARE select AS SELECT 1", ""},
	{"PREPARE AS AS SELECT 1", ""},
	{"PREPARE all AS SELECT 1", ""},
	{"PREPARE With AS SELECT 1", ""},
	{"PREPARE verbose AS SELECT 1", ""},
	{"PREPARE system_user AS SELECT 1", ""},
	{"PREPARE TRANSACTION 'x'", ""},
	{"PREPARE x (int AS SELECT 1", ""},
	{"PREPARE x (int)) AS SELECT 1", ""},
	{"PREPARE x (int; text) AS SELECT 1", ""},
	{"PREPARE x AS SELECT 1; SELECT 2", ""},
	{"PREPARE x AS SELECT 1;; DEALLOCATE x", ""},
	{"PREPARE x AS SELECT 1 /* /* */", ""},
	{"PREPARE x AS SELECT 1; /*", ""},
	{"PREPARE x AS SELECT 'a", ""},
	{"PREPARE x AS SELECT '\\'", ""},
	{"PREPARE x AS SELECT '\\'; DEALLOCATE x; --'", ""},
	{"PREPARE x AS SELECT 'a\\\\\\''", ""},
	{"PREPARE x AS SELECT '\\\\', '\\''", ""},
	{"PREPARE x AS SELECT N'\\'", ""},
	{"PREPARE x AS SELECT ee'\\'", ""},
	{"PREPARE x AS SELECT e '\\'", ""},
	{"PREPARE x AS SELECT E'\\\\'; SELECT '", ""},
	{"PREPARE x AS SELECT E'a\\'", ""},
	{"PREPARE x AS SELECT E'a\\", ""},
	{"PREPARE x AS SELECT E'a' '\\'", ""},
	{"PREPARE x AS SELECT E'a' '\\';'", ""},
	{"PREPARE x AS SELECT E'a' /*\n*/ '\\';'", ""},
	{"PREPARE x AS SELECT E'a'\n/**/'\\'", ""},
	{"PREPARE x AS SELECT E'a'\n'b", ""},
	{"PREPARE x AS SELECT \"a", ""},
	{"PREPARE x AS SELECT \"a\\\"; SELECT \"b\"", ""},
	{"PREPARE x AS SELECT $$a", ""},
	{"PREPARE x AS SELECT $a$a$b$", ""},
	{"PREPARE x AS SELECT $a$;$A$", ""},
	{"PREPARE x AS SELECT $a b$;$a b$", ""},
	{"PREPARE x AS SELECT $1$;$1$", ""},
	{"PREPARE x AS SELECT x$$;$$", ""},
	{"PREPARE x AS SELECT $a-$;$a-$", ""},
	{"EXECUTE", ""},
	{"EXECUTE x y", ""},
	{"EXECUTE x.y", ""},
	{"EXECUTE x(1", ""},
	{"EXECUTE x(1) y", ""},
	{"EXECUTE x)", ""},
	{"EXECUTE x; EXECUTE y", ""},
	{"EXECUTE table", ""},
	{"EXECUTE U&\"x\"", ""},
	{"DEALLOCATE", ""},
	{"DEALLOCATE PREPARE x y", ""},
	{"DEALLOCATE PREPARE PREPARE x", ""},
	{"DEALLOCATE \"prepare\" x", ""},
	{"DEALLOCATE PREPARE 'x'", ""},
	{"DEALLOCATE ALL x", ""},
	{"DEALLOCATE ALL; SELECT 1", ""},
	{"DEALLOCATE user", ""},
	{"DISCARD", ""},
	{"DISCARD PLANS", ""},
	{"DISCARD \"all\"", ""},
	{"DISCARD ALL ALL", ""},
};

static void what_is_anything_else_or_uncertain_is_other(void **state)
{
	(void)state;
	CHECK_ALL(OTHERS, SQL_OTHER);
}

static void what_is_other_says_nothing_else(void **state)
{
	struct sql none = {.verb = SQL_OTHER}, sql;

	(void)state;
	for (size_t i = 0; i < NTEXTS(OTHERS); i++) {
		sql = read_bytes(OTHERS[i].text, strlen(OTHERS[i].text));
		assert_int_equal(sql.name_len + sql.name_at + sql.name_end + sql.end, 0);
		assert_memory_equal(sql.name, none.name, sizeof(none.name));
	}
}

static void a_nul_byte_makes_it_other(void **state)
{
	const char text[] = "PREPARE x AS SELECT '1' ;";

	(void)state;
	assert_int_equal(read_bytes(text, sizeof(text) - 1).verb, SQL_PREPARE);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char with[sizeof(text)];

		memcpy(with, text, i);
		with[i] = '\0';
		memcpy(with + i + 1, text + i, sizeof(text) - 1 - i);
		assert_int_equal(read_bytes(with, sizeof(with)).verb, SQL_OTHER);
	}
	assert_int_equal(read_bytes(text, sizeof(text)).verb, SQL_OTHER);
}

/* Where the text has [ and ], the name; where it has |, the end. */
static void check_places(const char *marked)
{
	size_t n = 0, at = 0, name_end = 0, stop = 0;
	struct sql sql;
	char text[200];

	for (const char *p = marked; *p != '\0'; p++) {
		if (*p == '[')
			at = n;
		else if (*p == ']')
			name_end = n;
		else if (*p == '|')
			stop = n;
		else
			text[n++] = *p;
	}
	sql = read_bytes(text, n);
	assert_int_not_equal(sql.verb, SQL_OTHER);
	assert_int_equal(sql.name_at, at);
	assert_int_equal(sql.name_end, name_end);
	assert_int_equal(sql.end, stop);
}

static void name_and_end_are_found_where_they_stand(void **state)
{
	(void)state;
	check_places("PREPARE [x] AS SELECT 1|");
	check_places(" /* a */ PREPARE/**/[\"a\"\"b\"](int) AS SELECT 'b'| -- c\n ; /* d */ ;");
	check_places("EXECUTE [x]|");
	check_places("EXECUTE [x] (1, 2)| /* a */");
	check_places("\nDEALLOCATE PREPARE [Prepare]|;");
	check_places("DEALLOCATE [prepare]| ;");
	check_places("DEALLOCATE ALL| ;");
	check_places("DISCARD ALL|--");
}

#define TEN "0123456789"
#define SIXTY "a123456789" TEN TEN TEN TEN TEN

static const struct text LONG_NAMES[] = {
	{"EXECUTE " SIXTY "AbC", SIXTY "abc"},
	{"EXECUTE " SIXTY "AbCdEf", SIXTY "abc"},
	{"EXECUTE \"" SIXTY "\"\"\"\"\"\"\"\"\"", SIXTY "\"\"\""},
	{"EXECUTE " SIXTY "a\xc3\xa9", SIXTY "a\xc3\xa9"},
	{"EXECUTE " SIXTY "a\xc3\xa9x", SIXTY "a\xc3\xa9"},
	{"EXECUTE " SIXTY "ab\xc3\xa9", SIXTY "ab"},
	{"EXECUTE " SIXTY "\xe2\x82\xacx", SIXTY "\xe2\x82\xac"},
	{"EXECUTE " SIXTY "a\xe2\x82\xac", SIXTY "a"},
	{"EXECUTE " SIXTY "ab\xe2\x82\xac", SIXTY "ab"},
	{"EXECUTE " SIXTY "\xf0\x9f\x98\x80", SIXTY},
	{"EXECUTE \"" SIXTY "a\xf0\x9f\x98\x80\"", SIXTY "a"},
	{"EXECUTE " SIXTY "ab\xf0\x9f\x98\x80", SIXTY "ab"},
	{"EXECUTE " SIXTY "\x80\x80\x80\x80\x80", SIXTY "\x80\x80\x80"},
};

static void names_are_cut_between_characters(void **state)
{
	(void)state;
	CHECK_ALL(LONG_NAMES, SQL_EXECUTE);
}

static void what_is_no_candidate_shows_in_its_first_word(void **state)
{
	(void)state;
	assert_false(is_candidate("SELECT 1", 8));
	assert_false(is_candidate("s", 1));
	assert_false(is_candidate("DELETE", 6));
	assert_false(is_candidate("explain", 7));
	assert_false(is_candidate(" /* a */ -- b\nUPDATE", 20));
	assert_false(is_candidate("-1", 2));
	assert_false(is_candidate("/ ", 2));
	assert_false(is_candidate("\0", 1));
	assert_false(is_candidate("PRE\0", 4));
}

static void what_may_still_become_one_is_a_candidate(void **state)
{
	static const char *const TEXTS[] = {"", " ", "-", "/", "--", "-- SELECT", "/* SELECT", "/* /* */ SELECT", "d",
					    "DE", "dis", "Pre", "execut"};

	(void)state;
	for (size_t i = 0; i < NTEXTS(TEXTS); i++)
		assert_true(is_candidate(TEXTS[i], strlen(TEXTS[i])));
}

static void each_beginning_of_a_statement_is_a_candidate(void **state)
{
	static const struct text *const TABLES[] = {PREPARES, EXECUTES, DEALLOCATES};
	static const size_t SIZES[] = {NTEXTS(PREPARES), NTEXTS(EXECUTES), NTEXTS(DEALLOCATES)};

	(void)state;
	for (size_t t = 0; t < NTEXTS(TABLES); t++) {
		for (size_t i = 0; i < SIZES[t]; i++) {
			for (size_t n = 0; n <= strlen(TABLES[t][i].text); n++)
				assert_true(is_candidate(TABLES[t][i].text, n));
		}
	}
}

/* Whatever it is taken for, what is said of it is true of the bytes that are here. */
static void check_sound(const char *text, size_t n)
{
	struct sql sql = read_bytes(text, n);

	assert_true(sql.verb <= SQL_DISCARD_ALL);
	assert_true(sql.name_at <= sql.name_end);
	assert_true(sql.name_end <= sql.end);
	assert_true(sql.end <= n);
	assert_true(sql.name_len <= SQL_NAME_MAX);
	assert_int_equal(strlen(sql.name), sql.name_len);
	if (sql.verb != SQL_OTHER)
		assert_true(is_candidate(text, n));
}

static void every_truncation_is_survived(void **state)
{
	(void)state;
	for (size_t i = 0; i < NTEXTS(PREPARES); i++) {
		for (size_t n = 0; n <= strlen(PREPARES[i].text); n++)
			check_sound(PREPARES[i].text, n);
	}
	for (size_t i = 0; i < NTEXTS(OTHERS); i++) {
		for (size_t n = 0; n <= strlen(OTHERS[i].text); n++)
			check_sound(OTHERS[i].text, n);
	}
}

static uint32_t seed;

static uint32_t roll(uint32_t sides)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 10) % sides;
}

/* Of pieces that mean something to a lexer, and any bytes. */
static void random_texts_are_survived(void **state)
{
	static const char *const PIECES[] = {"PREPARE", "execute ", "deallocate ", "x", " as ", "all", "'", "\\", "\"",
					     "$$", "$a$", "/*", "*/", "--", "\n", ";", "(", ")", "E'", "U&", "1",
					     "\xc3\xa9", "-", "/"};

	(void)state;
	seed = (uint32_t)time(NULL);
	print_message("seed %u\n", (unsigned)seed);
	for (int i = 0; i < 50000; i++) {
		char text[15 * (1 + sizeof("deallocate "))];
		size_t n = 0, pieces = roll(16);

		for (size_t k = 0; k < pieces; k++) {
			const char *piece = PIECES[roll(k == 0 ? 3 : NTEXTS(PIECES))];

			if (roll(20) == 0)
				text[n++] = (char)roll(256);
			memcpy(text + n, piece, strlen(piece));
			n += strlen(piece);
		}
		check_sound(text, n);
		is_candidate(text, roll((uint32_t)n + 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_prepare_is_recognized_with_its_name),
		cmocka_unit_test(one_execute_is_recognized_with_its_name),
		cmocka_unit_test(one_deallocate_is_recognized_with_its_name),
		cmocka_unit_test(all_of_them_are_recognized),
		cmocka_unit_test(what_is_anything_else_or_uncertain_is_other),
		cmocka_unit_test(what_is_other_says_nothing_else),
		cmocka_unit_test(a_nul_byte_makes_it_other),
		cmocka_unit_test(name_and_end_are_found_where_they_stand),
		cmocka_unit_test(names_are_cut_between_characters),
		cmocka_unit_test(what_is_no_candidate_shows_in_its_first_word),
		cmocka_unit_test(what_may_still_become_one_is_a_candidate),
		cmocka_unit_test(each_beginning_of_a_statement_is_a_candidate),
		cmocka_unit_test(every_truncation_is_survived),
		cmocka_unit_test(random_texts_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
