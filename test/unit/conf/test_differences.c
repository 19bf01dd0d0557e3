#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/differences.h"
#include "tempdir.h"

/* The notes about a file, to be freed by the caller. */
static char *notes_of(const char *text)
{
	struct conf_problems problems;
	struct conf *conf;
	char *notes;

	conf_problems_init(&problems);
	conf = conf_load(tempdir_write("t.ini", text), NULL, 0, &problems);
	if (conf == NULL)
		fail_msg("%s", problems.errors.p);
	differences_tell(conf, "t.ini", &problems);
	assert_int_equal(problems.nwarnings, 0);
	notes = strdup(problems.notes.n > 0 ? problems.notes.p : "");
	conf_unref(&conf);
	conf_problems_fini(&problems);
	return notes;
}

static void check_note(const char *text, const char *note)
{
	char *notes = notes_of(text);

	if (strstr(notes, note) == NULL)
		fail_msg("%s", notes);
	free(notes);
}

static void check_no_note(const char *text, const char *note)
{
	char *notes = notes_of(text);

	if (strstr(notes, note) != NULL)
		fail_msg("%s", notes);
	free(notes);
}

static void what_a_file_sets_is_told_with_its_line(void **state)
{
	(void)state;
	check_note("[pgbouncer]\n\nquery_timeout = 10\n", "t.ini:3: query_timeout: The query is cancelled on the server");
	check_no_note("[pgbouncer]\n", "query_timeout");
	check_no_note("[pgbouncer]\npool_mode = transaction\n", "pool_mode");
}

static void what_has_no_effect_is_told(void **state)
{
	(void)state;
	check_note("[pgbouncer]\npkt_buf = 8192\n", "t.ini:2: pkt_buf: Accepted and without effect");
	check_note("[pgbouncer]\nservice_name = x\n", "t.ini:2: job_name: Accepted and without effect");
}

static void entries_are_told_of_by_their_names_and_keys(void **state)
{
	const char *file = "[databases]\nshop = min_pool_size=2 pool_size=3\n[users]\nann = query_timeout=1\n[pgbouncer]\n";

	(void)state;
	check_note(file, "t.ini:2: shop: min_pool_size: The connections are opened together");
	check_note(file, "t.ini:4: ann: query_timeout: The query is cancelled");
	check_no_note(file, "pool_size: Most");
}

static void a_default_that_differs_is_told_where_nothing_is_set(void **state)
{
	(void)state;
	check_note("[pgbouncer]\n", "t.ini: sqlstate_compat is not set: The pooler's own errors");
	check_note("[pgbouncer]\n", " As in PgBouncer: sqlstate_compat = pgbouncer\n");
	check_no_note("[pgbouncer]\nsqlstate_compat = postgresql\n", "sqlstate_compat");
}

static void a_file_with_all_that_is_named_is_as_pgbouncer(void **state)
{
	const struct difference *d;
	struct strbuf text;

	(void)state;
	strbuf_init(&text);
	strbuf_add_str(&text, "[pgbouncer]\n");
	for (size_t i = 0; (d = difference_at(i)) != NULL; i++)
		if (d->as_there != NULL)
			strbuf_addf(&text, "%s = %s\n", setting_info(d->id)->name, d->as_there);
	check_no_note(text.p, "is not set");
	strbuf_fini(&text);
}

static void a_file_of_our_own_is_told_nothing(void **state)
{
	char *notes = notes_of("[databases]\nshop = min_pool_size=2\n[pgsluice]\nquery_timeout = 10\npkt_buf = 8192\n");

	(void)state;
	assert_string_equal(notes, "");
	free(notes);
}

static void differences_are_sentences_about_defaults_that_differ(void **state)
{
	const struct difference *d;

	(void)state;
	for (size_t i = 0; (d = difference_at(i)) != NULL; i++) {
		assert_int_equal(d->text[strlen(d->text) - 1], '.');
		assert_int_equal(setting_info(d->id)->effect, EFFECT_NOW);
		if (d->as_there == NULL)
			continue;
		assert_int_equal(setting_info(d->id)->scope, SCOPE_GLOBAL);
		assert_true(setting_check(d->id, slice_of(d->as_there), NULL));
		assert_string_not_equal(setting_info(d->id)->default_text, d->as_there);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_file_sets_is_told_with_its_line),
		cmocka_unit_test(what_has_no_effect_is_told),
		cmocka_unit_test(entries_are_told_of_by_their_names_and_keys),
		cmocka_unit_test(a_default_that_differs_is_told_where_nothing_is_set),
		cmocka_unit_test(a_file_with_all_that_is_named_is_as_pgbouncer),
		cmocka_unit_test(a_file_of_our_own_is_told_nothing),
		cmocka_unit_test(differences_are_sentences_about_defaults_that_differ),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
