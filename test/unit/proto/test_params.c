#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proto/msg.h"
#include "proto/params.h"

static struct params *params;
static struct paramset *empty;

static int set_up(void **state)
{
	const char *error;

	(void)state;
	params = params_new("search_path, Role", &error);
	empty = paramset_empty(params);
	return 0;
}

/* Each test has given back its own sets: then no atom is left either. */
static int tear_down(void **state)
{
	(void)state;
	paramset_unref(params, &empty);
	params_free(params);
	return atom_count() == 0 ? 0 : -1;
}

/* The set with these names and values: "TimeZone", "UTC", NULL. */
static struct paramset *set_of(const char *name, ...)
{
	struct paramset *s = paramset_ref(empty);
	va_list ap;

	va_start(ap, name);
	for (; name != NULL; name = va_arg(ap, const char *))
		assert_true(paramset_change(params, &s, (size_t)params_find(params, slice_of(name)),
					    slice_of(va_arg(ap, const char *))));
	va_end(ap);
	return s;
}

/* ------------------------------------------------------------------ names */

static void pgbouncers_parameters_come_first_then_the_extra_ones(void **state)
{
	static const char *const names[] = {"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings",
					    "application_name", "search_path", "Role"};

	(void)state;
	assert_int_equal(params_count(params), 7);
	for (size_t i = 0; i < 7; i++)
		assert_string_equal(params_name(params, i), names[i]);
}

static void names_are_found_without_their_case(void **state)
{
	(void)state;
	assert_int_equal(params_find(params, SLICE_LIT("datestyle")), 1);
	assert_int_equal(params_find(params, SLICE_LIT("SEARCH_PATH")), 5);
	assert_int_equal(params_find(params, SLICE_LIT("search_pat")), -1);
	assert_int_equal(params_find(params, SLICE_LIT("search_path ")), -1);
	assert_int_equal(params_find(params, SLICE_LIT("")), -1);
}

static void an_extra_name_counts_once(void **state)
{
	const char *error;
	struct params *p = params_new("timezone, work_mem,, WORK_MEM ,", &error);

	(void)state;
	assert_int_equal(params_count(p), 6);
	assert_string_equal(params_name(p, 2), "TimeZone");
	assert_string_equal(params_name(p, 5), "work_mem");
	params_free(p);
}

static void more_parameters_than_fit_are_refused(void **state)
{
	char extra[2048] = "";
	const char *error = NULL;
	struct params *p;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < PARAMS_MAX - 5; i++)
		n += (size_t)sprintf(extra + n, "ext.p%d,", i);
	p = params_new(extra, &error);
	assert_int_equal(params_count(p), PARAMS_MAX);
	params_free(p);
	sprintf(extra + n, "one_more");
	assert_null(params_new(extra, &error));
	assert_string_equal(error, "more than 64 tracked parameters");
}

/* ------------------------------------------------------------------ sets */

static void equal_sets_are_one_set(void **state)
{
	struct paramset *a = set_of("TimeZone", "UTC", "application_name", "psql", NULL);
	struct paramset *b = set_of("application_name", "psql", "timezone", "UTC", NULL);
	struct paramset *c = set_of("TimeZone", "UTC", NULL);

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_true(paramset_change(params, &c, 4, SLICE_LIT("psql")));
	assert_ptr_equal(a, c);
	paramset_unref(params, &a);
	paramset_unref(params, &b);
	paramset_unref(params, &c);
}

static void values_that_differ_only_in_case_make_different_sets(void **state)
{
	struct paramset *a = set_of("search_path", "Tenant", NULL), *b = set_of("search_path", "tenant", NULL);

	(void)state;
	assert_ptr_not_equal(a, b);
	paramset_unref(params, &a);
	paramset_unref(params, &b);
}

static void the_empty_value_is_not_the_unset_one(void **state)
{
	struct paramset *a = set_of("search_path", "", NULL);

	(void)state;
	assert_ptr_not_equal(a, empty);
	assert_non_null(paramset_value(a, 5));
	assert_null(paramset_value(empty, 5));
	paramset_unref(params, &a);
}

static void changing_back_leads_to_the_former_set(void **state)
{
	struct paramset *s = paramset_ref(empty);

	(void)state;
	assert_true(paramset_change(params, &s, 2, SLICE_LIT("UTC")));
	assert_string_equal(paramset_value(s, 2)->text, "UTC");
	assert_true(paramset_change(params, &s, 2, SLICE_LIT("Europe/Berlin")));
	assert_string_equal(paramset_value(s, 2)->text, "Europe/Berlin");
	assert_true(paramset_unset(params, &s, 2));
	assert_ptr_equal(s, empty);
	assert_true(paramset_unset(params, &s, 2));
	assert_ptr_equal(s, empty);
	paramset_unref(params, &s);
}

static void a_change_leaves_other_holders_of_the_set_alone(void **state)
{
	struct paramset *a = set_of("TimeZone", "UTC", NULL), *b = paramset_ref(a);

	(void)state;
	assert_true(paramset_change(params, &a, 2, SLICE_LIT("CET")));
	assert_string_equal(paramset_value(b, 2)->text, "UTC");
	paramset_unref(params, &a);
	assert_null(a);
	assert_string_equal(paramset_value(b, 2)->text, "UTC");
	paramset_unref(params, &b);
}

static void a_change_to_the_same_value_is_the_same_set(void **state)
{
	struct paramset *a = set_of("TimeZone", "UTC", NULL), *before = a;

	(void)state;
	assert_true(paramset_change(params, &a, 2, SLICE_LIT("UTC")));
	assert_ptr_equal(a, before);
	paramset_unref(params, &a);
}

static void an_overlay_wins_where_it_has_values(void **state)
{
	struct paramset *s = set_of("TimeZone", "UTC", "application_name", "psql", NULL);
	struct paramset *over = set_of("TimeZone", "CET", "search_path", "a,b", NULL);
	struct paramset *expected = set_of("TimeZone", "CET", "application_name", "psql", "search_path", "a,b", NULL);

	(void)state;
	assert_true(paramset_overlay(params, &s, over));
	assert_ptr_equal(s, expected);
	assert_true(paramset_overlay(params, &s, empty));
	assert_ptr_equal(s, expected);
	paramset_unref(params, &s);
	paramset_unref(params, &over);
	paramset_unref(params, &expected);
}

static void references_are_all_given_back(void **state)
{
	size_t before = atom_count();
	struct paramset *sets[200];
	char text[32];

	(void)state;
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "app %d", i % 50);
		sets[i] = set_of("application_name", text, "TimeZone", "UTC", NULL);
		assert_ptr_equal(sets[i], sets[i % 50]);
	}
	assert_int_equal(atom_count(), before + 51);
	for (int i = 0; i < 200; i++)
		paramset_unref(params, &sets[i]);
	assert_int_equal(atom_count(), before);
	paramset_unref(params, &sets[0]);
}

/* ------------------------------------------------------------------ the messages that switch */

struct reader {
	const uint8_t *p;
	size_t n;
};

/* The next message, which must be whole and of this type. */
static struct cursor next_message(struct reader *r, char type)
{
	struct msg m = {0};

	assert_int_equal(msg_peek(r->p, r->n, INT32_MAX, &m), PEEK_OK);
	assert_int_equal(m.type, type);
	assert_int_equal(m.have, m.len);
	r->p += MSG_HEADER_SIZE + m.len;
	r->n -= MSG_HEADER_SIZE + m.len;
	return msg_cursor(&m);
}

static void assert_at_end(const struct cursor *c)
{
	assert_false(c->bad);
	assert_int_equal(cursor_left(c), 0);
}

/* Bind (name, value; NULL: SQL null) and Execute, all in text format and of the unnamed statement and portal. */
static void assert_bind_and_execute(struct reader *r, const char *name, struct slice value)
{
	struct cursor c = next_message(r, 'B');

	assert_int_equal(cursor_string(&c).n, 0);
	assert_int_equal(cursor_string(&c).n, 0);
	assert_int_equal(cursor_u16(&c), 0);
	assert_int_equal(cursor_u16(&c), 2);
	assert_true(slice_is(cursor_bytes(&c, cursor_u32(&c)), name));
	if (value.p == NULL) {
		assert_int_equal(cursor_u32(&c), UINT32_MAX);
	} else {
		assert_int_equal(cursor_u32(&c), value.n);
		assert_true(slice_eq(cursor_bytes(&c, value.n), value));
	}
	assert_int_equal(cursor_u16(&c), 0);
	assert_at_end(&c);
	c = next_message(r, 'E');
	assert_int_equal(cursor_string(&c).n, 0);
	assert_int_equal(cursor_u32(&c), 0);
	assert_at_end(&c);
}

static void assert_parse(struct reader *r)
{
	struct cursor c = next_message(r, 'P');

	assert_int_equal(cursor_string(&c).n, 0);
	assert_string_equal(cursor_string(&c).p, "SELECT pg_catalog.set_config($1, $2, false)");
	assert_int_equal(cursor_u16(&c), 0);
	assert_at_end(&c);
}

/* The messages end in a Sync, and nothing stands behind it. */
static void assert_sync(struct reader *r)
{
	struct cursor c = next_message(r, 'S');

	assert_at_end(&c);
	assert_int_equal(r->n, 0);
}

static struct strbuf out;
static uint8_t indices[PARAMS_MAX];

static struct reader switched(const struct paramset *from, const struct paramset *to, size_t expected)
{
	strbuf_init(&out);
	assert_int_equal(params_out_switch(params, from, to, &out, indices), expected);
	assert_false(out.failed);
	return (struct reader){(const uint8_t *)out.p, out.n};
}

static void only_differences_are_switched(void **state)
{
	struct paramset *from = set_of("TimeZone", "UTC", "application_name", "psql", NULL);
	struct paramset *to = set_of("TimeZone", "CET", "application_name", "psql", "search_path", "a, \"B\"", NULL);
	struct reader r = switched(from, to, 2);

	(void)state;
	assert_parse(&r);
	assert_bind_and_execute(&r, "TimeZone", SLICE_LIT("CET"));
	assert_bind_and_execute(&r, "search_path", SLICE_LIT("a, \"B\""));
	assert_sync(&r);
	assert_int_equal(indices[0], 2);
	assert_int_equal(indices[1], 5);
	strbuf_fini(&out);
	paramset_unref(params, &from);
	paramset_unref(params, &to);
}

static void client_encoding_goes_first(void **state)
{
	struct paramset *to = set_of("Role", "r", "application_name", "a", "client_encoding", "LATIN1", NULL);
	struct reader r = switched(empty, to, 3);

	(void)state;
	assert_parse(&r);
	assert_bind_and_execute(&r, "client_encoding", SLICE_LIT("LATIN1"));
	assert_bind_and_execute(&r, "application_name", SLICE_LIT("a"));
	assert_bind_and_execute(&r, "Role", SLICE_LIT("r"));
	assert_sync(&r);
	assert_int_equal(indices[0], 0);
	strbuf_fini(&out);
	paramset_unref(params, &to);
}

static void an_unset_value_goes_back_to_the_default(void **state)
{
	struct paramset *from = set_of("TimeZone", "UTC", "search_path", "", NULL);
	struct reader r = switched(from, empty, 2);

	(void)state;
	assert_parse(&r);
	assert_bind_and_execute(&r, "TimeZone", (struct slice){NULL, 0});
	assert_bind_and_execute(&r, "search_path", (struct slice){NULL, 0});
	assert_sync(&r);
	strbuf_fini(&out);
	paramset_unref(params, &from);
}

static void values_travel_as_they_are(void **state)
{
	static const char *const values[] = {
		"it's", "a'; DROP TABLE t; --", "back\\slash\\'", "\"Tenant\", \"$user\"", "%s%n", "$1", "",
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98", "\xff\xfe not UTF-8", "line\nline\r\t\x01",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct paramset *to = set_of("search_path", values[i], NULL);
		struct reader r = switched(empty, to, 1);

		assert_parse(&r);
		assert_bind_and_execute(&r, "search_path", slice_of(values[i]));
		assert_sync(&r);
		strbuf_fini(&out);
		paramset_unref(params, &to);
	}
}

static void a_value_of_60_kib_travels_whole(void **state)
{
	enum { N = 60 * 1024 };
	char *value = malloc(N + 1);
	struct paramset *to;
	struct reader r;

	(void)state;
	for (int i = 0; i < N; i++)
		value[i] = (char)('!' + i % 90);
	value[N] = '\0';
	to = set_of("search_path", value, NULL);
	r = switched(empty, to, 1);
	assert_parse(&r);
	assert_bind_and_execute(&r, "search_path", slice_of(value));
	assert_sync(&r);
	strbuf_fini(&out);
	paramset_unref(params, &to);
	free(value);
}

static void values_that_differ_only_in_case_are_switched(void **state)
{
	struct paramset *from = set_of("application_name", "App", NULL), *to = set_of("application_name", "app", NULL);
	struct reader r = switched(from, to, 1);

	(void)state;
	assert_parse(&r);
	assert_bind_and_execute(&r, "application_name", SLICE_LIT("app"));
	assert_sync(&r);
	strbuf_fini(&out);
	paramset_unref(params, &from);
	paramset_unref(params, &to);
}

static void every_set_value_has_its_parameter_status(void **state)
{
	struct paramset *s = set_of("client_encoding", "UTF8", "search_path", "", "TimeZone", "UTC", NULL);
	struct reader r;
	struct cursor c;

	(void)state;
	strbuf_init(&out);
	params_out_status(params, empty, &out);
	assert_int_equal(out.n, 0);
	params_out_status(params, s, &out);
	r = (struct reader){(const uint8_t *)out.p, out.n};
	c = next_message(&r, 'S');
	assert_string_equal(cursor_string(&c).p, "client_encoding");
	assert_string_equal(cursor_string(&c).p, "UTF8");
	assert_at_end(&c);
	c = next_message(&r, 'S');
	assert_string_equal(cursor_string(&c).p, "TimeZone");
	assert_string_equal(cursor_string(&c).p, "UTC");
	c = next_message(&r, 'S');
	assert_string_equal(cursor_string(&c).p, "search_path");
	assert_string_equal(cursor_string(&c).p, "");
	assert_int_equal(r.n, 0);
	strbuf_fini(&out);
	paramset_unref(params, &s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pgbouncers_parameters_come_first_then_the_extra_ones),
		TEST(names_are_found_without_their_case),
		TEST(an_extra_name_counts_once),
		TEST(more_parameters_than_fit_are_refused),
		TEST(equal_sets_are_one_set),
		TEST(values_that_differ_only_in_case_make_different_sets),
		TEST(the_empty_value_is_not_the_unset_one),
		TEST(changing_back_leads_to_the_former_set),
		TEST(a_change_leaves_other_holders_of_the_set_alone),
		TEST(a_change_to_the_same_value_is_the_same_set),
		TEST(an_overlay_wins_where_it_has_values),
		TEST(references_are_all_given_back),
		TEST(only_differences_are_switched),
		TEST(client_encoding_goes_first),
		TEST(an_unset_value_goes_back_to_the_default),
		TEST(values_travel_as_they_are),
		TEST(a_value_of_60_kib_travels_whole),
		TEST(values_that_differ_only_in_case_are_switched),
		TEST(every_set_value_has_its_parameter_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
