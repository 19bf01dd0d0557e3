#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "session/errors.h"

#define START (1000 * CLOCK_SECOND)

static struct errors errors;

static int begin(void **state)
{
	(void)state;
	memset(&errors, 0, sizeof(errors));
	return 0;
}

static void note(const char *reason, const char *user, uint64_t now)
{
	errors_note(&errors,
		    &(struct error_seen){
			    .reason = reason, .sqlstate = "28P01", .database = "shop", .user = user, .message = user},
		    now);
}

static void note_number(const char *reason, unsigned i, uint64_t now)
{
	char user[16];

	snprintf(user, sizeof(user), "u%u", i);
	note(reason, user, now);
}

static const struct error_group *group(const char *reason, const char *user)
{
	for (unsigned i = 0; i < errors.n; i++) {
		const struct error_group *g = &errors.groups[i];

		if (strcmp(g->reason, reason) == 0 && (user == NULL ? g->is_rest : !g->is_rest && strcmp(g->user, user) == 0))
			return g;
	}
	return NULL;
}

static uint64_t total(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < errors.n; i++)
		n += errors.groups[i].count;
	return n;
}

static void the_same_again_is_counted_with_the_first_and_last_time_and_the_last_message(void **state)
{
	struct error_seen seen = {
		.reason = "A", .sqlstate = "28P01", .database = "shop", .user = "ann", .message = "one"};

	(void)state;
	errors_note(&errors, &seen, START);
	errors_note(&errors, &seen, START + 1);
	seen.message = "two";
	errors_note(&errors, &seen, START + 2);
	assert_int_equal(errors.n, 1);
	assert_int_equal(errors.groups[0].count, 3);
	assert_int_equal(errors.groups[0].first_at, START);
	assert_int_equal(errors.groups[0].last_at, START + 2);
	assert_string_equal(errors.groups[0].message, "two");
}

static void reason_sqlstate_database_and_user_make_a_group(void **state)
{
	static const struct error_seen different[] = {
		{.reason = "A", .sqlstate = "1", .database = "d", .user = "u", .message = ""},
		{.reason = "B", .sqlstate = "1", .database = "d", .user = "u", .message = ""},
		{.reason = "A", .sqlstate = "2", .database = "d", .user = "u", .message = ""},
		{.reason = "A", .sqlstate = "1", .database = "e", .user = "u", .message = ""},
		{.reason = "A", .sqlstate = "1", .database = "d", .user = "v", .message = ""},
	};

	(void)state;
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < 5; i++)
			errors_note(&errors, &different[i], START);
	assert_int_equal(errors.n, 5);
	assert_int_equal(total(), 10);
}

static void names_beyond_the_bound_are_counted_as_the_rest_of_their_reason(void **state)
{
	(void)state;
	note("OTHER", "ann", START);
	for (unsigned i = 0; i < 10000; i++)
		note_number("A", i, START + i);
	assert_int_equal(errors.n, 1 + ERRORS_NAMES_PER_REASON + 1);
	assert_int_equal(total(), 10001);
	assert_int_equal(group("A", NULL)->count, 10000 - ERRORS_NAMES_PER_REASON);
	assert_int_equal(group("A", NULL)->last_at, START + 9999);
	assert_string_equal(group("A", NULL)->message, "u9999");
	assert_int_equal(group("A", "u0")->count, 1);
	assert_int_equal(group("OTHER", "ann")->count, 1);
}

static void a_name_that_has_not_been_met_for_long_makes_way_and_is_counted_with_the_rest(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ERRORS_NAMES_PER_REASON; i++)
		note_number("A", i, START + i);
	note_number("A", 0, START + ERRORS_STALE_US);
	note_number("A", 0, START + ERRORS_STALE_US);
	note("A", "early", START + ERRORS_STALE_US);
	assert_null(group("A", "early"));
	note("A", "new", START + ERRORS_STALE_US + 1);
	assert_non_null(group("A", "new"));
	assert_null(group("A", "u1"));
	assert_int_equal(group("A", "u0")->count, 3);
	assert_int_equal(group("A", NULL)->count, 2);
	assert_int_equal(group("A", NULL)->first_at, START + 1);
	assert_string_equal(group("A", NULL)->message, "early");
	assert_int_equal(total(), ERRORS_NAMES_PER_REASON + 4);
}

/* Whoever is not let in can choose names, and a good part of the reasons. */
static void a_flood_of_many_reasons_leaves_every_reason_a_place(void **state)
{
	static char reasons[CLOSE_REASON_COUNT + 1][8];

	(void)state;
	note("OURS", "ann", START);
	for (unsigned k = 0; k <= CLOSE_REASON_COUNT; k++) {
		snprintf(reasons[k], sizeof(reasons[k]), "R%u", k);
		for (unsigned i = 0; i < 100; i++)
			note_number(reasons[k], i, START + 1 + k * 100 + i);
	}
	assert_int_equal(errors.n, ERRORS_MAX);
	assert_non_null(group("OURS", "ann"));
	for (unsigned k = 0; k <= CLOSE_REASON_COUNT; k++) {
		unsigned n = 0;

		for (unsigned i = 0; i < errors.n; i++)
			n += strcmp(errors.groups[i].reason, reasons[k]) == 0;
		assert_true(n > 0);
	}
}

static void texts_that_are_too_long_are_cut_between_characters(void **state)
{
	char name[400], message[400];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	memset(message, 'm', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	/* A character of three bytes, of which two would fit. */
	memcpy(message + 253, "\xe2\x82\xac", 3);
	errors_note(&errors,
		    &(struct error_seen){.reason = "A", .sqlstate = name, .database = name, .user = name, .message = message},
		    START);
	assert_int_equal(strlen(errors.groups[0].sqlstate), 5);
	assert_int_equal(strlen(errors.groups[0].database), 63);
	assert_int_equal(strlen(errors.groups[0].user), 127);
	assert_int_equal(strlen(errors.groups[0].message), 253);
	memset(message, 0x80, sizeof(message) - 1);
	errors_note(&errors,
		    &(struct error_seen){.reason = "A", .sqlstate = "", .database = "", .user = "", .message = message},
		    START);
	assert_true(strlen(errors.groups[1].message) >= 252);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_same_again_is_counted_with_the_first_and_last_time_and_the_last_message, begin),
		cmocka_unit_test_setup(reason_sqlstate_database_and_user_make_a_group, begin),
		cmocka_unit_test_setup(names_beyond_the_bound_are_counted_as_the_rest_of_their_reason, begin),
		cmocka_unit_test_setup(a_name_that_has_not_been_met_for_long_makes_way_and_is_counted_with_the_rest, begin),
		cmocka_unit_test_setup(a_flood_of_many_reasons_leaves_every_reason_a_place, begin),
		cmocka_unit_test_setup(texts_that_are_too_long_are_cut_between_characters, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
