#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf.h"
#include "tempdir.h"

static struct conf *load_text(const char *text)
{
	struct conf_problems problems;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = conf_load(tempdir_write("t.ini", text), NULL, 0, &problems);
	if (conf == NULL)
		fail_msg("%s", problems.errors.p);
	conf_problems_fini(&problems);
	return conf;
}

static int64_t effective(const struct conf *conf, enum setting_id id, const char *database, const char *user)
{
	return conf_effective(conf, id, conf_find_database(conf, slice_of(database)), conf_find_user(conf, slice_of(user)));
}

static void user_comes_before_database_before_global(void **state)
{
	struct conf *conf = load_text("[databases]\na = pool_size=5 pool_mode=statement\nb =\n"
				      "[users]\nann = pool_size=2 query_timeout=7\nbob =\n"
				      "[pgbouncer]\ndefault_pool_size = 9\npool_mode = transaction\n");

	(void)state;
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", "ann"), 2);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", "bob"), 5);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "b", "bob"), 9);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "none", "none"), 9);
	assert_int_equal(effective(conf, SETTING_pool_mode, "a", "ann"), POOL_MODE_STATEMENT);
	assert_int_equal(effective(conf, SETTING_pool_mode, "b", "ann"), POOL_MODE_TRANSACTION);
	assert_int_equal(effective(conf, SETTING_query_timeout, "a", "ann"), 7000000);
	assert_int_equal(effective(conf, SETTING_listen_port, "a", "ann"), 6432);
	conf_unref(&conf);
}

static void negative_inherits_and_zero_does_not(void **state)
{
	struct conf *conf = load_text("[databases]\na = pool_size=-1 min_pool_size=0 server_lifetime=0\n"
				      "[users]\nann = pool_size=0 query_timeout=-1\n"
				      "[pgbouncer]\nmin_pool_size = 3\nquery_timeout = 4\n");

	(void)state;
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", ""), 20);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", "ann"), 0);
	assert_int_equal(effective(conf, SETTING_min_pool_size, "a", ""), 0);
	assert_int_equal(effective(conf, SETTING_query_timeout, "a", "ann"), 4000000);
	assert_int_equal(effective(conf, SETTING_server_lifetime, "a", ""), 3600 * INT64_C(1000000));
	conf_unref(&conf);
}

static void a_snapshot_lives_as_long_as_a_reference(void **state)
{
	struct conf *conf = load_text("[pgbouncer]\nlogfile = /x\n"), *kept = conf_ref(conf);

	(void)state;
	conf_unref(&conf);
	assert_null(conf);
	assert_string_equal(kept->s.logfile, "/x");
	conf_unref(&kept);
	conf_unref(&kept);
}

static void a_reload_tells_what_changed(void **state)
{
	struct conf *old = load_text("[pgbouncer]\npool_mode=session\nlogfile = /x\nauth_ldap_options=ldapserver=h ldapbasedn=x ldapbindpasswd=secret1\n");
	struct conf *new = load_text("[pgbouncer]\npool_mode=transaction\nquery_wait_timeout=100ms\n"
				     "logfile = /x\nauth_ldap_options=ldapserver=h ldapbasedn=x ldapbindpasswd=secret2\n");
	struct strbuf lines;

	(void)state;
	strbuf_init(&lines);
	conf_print_changes(old, old, &lines);
	assert_int_equal(lines.n, 0);
	conf_print_changes(old, new, &lines);
	assert_string_equal(lines.p, "auth_ldap_options changed from '********' to '********'\n"
			    "pool_mode changed from 'session' to 'transaction'\n"
			    "query_wait_timeout changed from '120' to '0.1'\n");
	strbuf_fini(&lines);
	conf_unref(&old);
	conf_unref(&new);
}

static void assert_changes(const char *before, const char *after, const char *expected)
{
	struct conf *old = load_text(before), *new = load_text(after);
	struct strbuf lines;

	strbuf_init(&lines);
	conf_print_changes(old, new, &lines);
	assert_string_equal(lines.n > 0 ? lines.p : "", expected);
	strbuf_fini(&lines);
	conf_unref(&old);
	conf_unref(&new);
}

static void a_reload_tells_what_changed_of_entries_without_their_secrets(void **state)
{
	(void)state;
	assert_changes(
		"[pgbouncer]\n[databases]\na = host=x user=u password=s1 pool_size=3 timezone=UTC connect_query='select 1'\n",
		"[pgbouncer]\n[databases]\na = host=x,y port=6 dbname=d password=s2 min_pool_size=1 datestyle=ISO "
		"pool_mode=session\n",
		"database a: host changed from 'x:5432' to 'x:6,y:6'\n"
		"database a: dbname changed from '' to 'd'\n"
		"database a: user changed from 'u' to ''\n"
		"database a: password changed\n"
		"database a: connect_query changed\n"
		"database a: timezone changed from 'UTC' to ''\n"
		"database a: datestyle changed from '' to 'ISO'\n"
		"database a: pool_size changed from '3' to inherited\n"
		"database a: min_pool_size changed from inherited to '1'\n"
		"database a: pool_mode changed from inherited to 'session'\n");
	assert_changes(
		"[pgbouncer]\n[databases]\na = host=x\nb = host=x\n[peers]\n1 = host=x\n2 = host=x\n",
		"[pgbouncer]\n[databases]\na = host=x\nc = host=x\n[peers]\n2 = host=y port=7 pool_size=1\n3 = host=x\n",
		"database b: removed\ndatabase c: added\n"
		"peer 1: removed\npeer 2: host changed from 'x' to 'y'\npeer 2: port changed from '6432' to '7'\n"
		"peer 2: pool_size changed from inherited to '1'\npeer 3: added\n");
	assert_changes("[pgbouncer]\n[users]\nann = pool_size=1\nbob = query_timeout=2\n",
		       "[pgbouncer]\n[users]\nbob = query_timeout=1min\neve = pool_mode=session\n",
		       "user ann: pool_size changed from '1' to inherited\n"
		       "user bob: query_timeout changed from '2' to '60'\n"
		       "user eve: pool_mode changed from inherited to 'session'\n");
}

static void a_reload_tells_how_many_secrets_changed(void **state)
{
	(void)state;
	tempdir_write("one.txt", "\"ann\" \"x\"\n\"bob\" \"x\"\n\"eve\" \"x\"\n");
	tempdir_write("two.txt", "\"eve\" \"y\"\n\"bob\" \"x\"\n\"joe\" \"x\"\n\"sue\" \"x\"\n");
	assert_changes("[pgbouncer]\nauth_file = one.txt\n", "[pgbouncer]\nauth_file = two.txt\n",
		       "auth_file changed from 'one.txt' to 'two.txt'\n"
		       "auth_file: 2 users added, 1 removed, 1 with another secret\n");
}

static void a_reload_tells_that_rules_and_maps_changed(void **state)
{
	(void)state;
	tempdir_write("hba.conf", "local @names all trust\n");
	tempdir_write("names", "a\n");
	tempdir_write("ident.conf", "m x y\n");
	assert_changes("[pgbouncer]\nauth_hba_file = hba.conf\nauth_ident_file = ident.conf\n", "[pgbouncer]\n",
		       "auth_hba_file changed from 'hba.conf' to ''\nauth_ident_file changed from 'ident.conf' to ''\n"
		       "auth_hba_file: its text changed\nauth_ident_file: its text changed\n");
	assert_changes("[pgbouncer]\nauth_hba_file = hba.conf\n", "[pgbouncer]\nauth_hba_file = hba.conf\n", "");
}

/* --- what the console sets --- */

static struct conf *with(struct conf *conf, enum setting_scope scope, const char *entry, const char *key,
			 const char *value)
{
	const struct conf_change change = {scope, slice_of(entry), slice_of(key), slice_of(value)};
	struct strbuf error;
	struct conf *changed;

	strbuf_init(&error);
	changed = conf_with(conf, &change, &error);
	if (changed == NULL)
		fail_msg("%s", error.p);
	strbuf_fini(&error);
	conf_unref(&conf);
	return changed;
}

static void changes_add_up_and_leave_what_was_loaded_alone(void **state)
{
	struct conf *loaded =
		load_text("[databases]\na = host=x pool_size=5 auth_user=u\nb = host=y\n[users]\nann = pool_size=2\n"
			  "[pgbouncer]\nlogfile = /x\n");
	struct conf *conf = conf_ref(loaded);

	(void)state;
	conf = with(conf, SCOPE_GLOBAL, "", "logfile", "/y");
	conf = with(conf, SCOPE_DATABASE, "a", "pool_size", "6");
	conf = with(conf, SCOPE_DATABASE, "a", "auth_user", "v");
	conf = with(conf, SCOPE_USER, "ann", "query_timeout", "3");
	conf = with(conf, SCOPE_USER, "bob", "pool_size", "4");
	conf = with(conf, SCOPE_GLOBAL, "", "verbose", "1");
	assert_string_equal(conf->s.logfile, "/y");
	assert_int_equal(conf->s.verbose, 1);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", ""), 6);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "b", ""), 20);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", "ann"), 2);
	assert_int_equal(effective(conf, SETTING_query_timeout, "a", "ann"), 3000000);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", "bob"), 4);
	assert_string_equal(conf_effective_string(conf, SETTING_auth_user, conf_find_database(conf, SLICE_LIT("a"))),
			    "v");
	assert_string_equal(conf_find_database(conf, SLICE_LIT("a"))->hosts[0].host, "x");
	assert_string_equal(conf->origins[SETTING_logfile].file, CONF_SET);
	assert_true(conf_find_database(conf, SLICE_LIT("a"))->overrides.is_from_console[SETTING_default_pool_size]);
	assert_false(conf_find_user(conf, SLICE_LIT("ann"))->overrides.is_from_console[SETTING_default_pool_size]);
	assert_int_equal(effective(loaded, SETTING_default_pool_size, "a", ""), 5);
	assert_string_equal(loaded->s.logfile, "/x");
	assert_null(conf_find_user(loaded, SLICE_LIT("bob")));
	conf_unref(&loaded);
	assert_int_equal(conf->databases->hosts[0].port, 5432);
	conf_unref(&conf);
}

static void a_setting_that_is_changed_often_costs_as_much_as_once(void **state)
{
	struct conf *conf = load_text("[databases]\na = host=x\n[pgbouncer]\n");
	size_t size = 0;
	char text[16];

	(void)state;
	for (int i = 1000; i < 3000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		conf = with(conf, SCOPE_DATABASE, "a", "pool_size", text);
		conf = with(conf, SCOPE_GLOBAL, "", "stats_period", text);
		if (i == 1000)
			size = arena_size(conf->arena);
		assert_int_equal(arena_size(conf->arena), size);
	}
	assert_int_equal(conf->base->refs, 1);
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", ""), 2999);
	conf_unref(&conf);
}

static void a_negative_value_takes_away_what_an_entry_has(void **state)
{
	struct conf *conf = load_text("[databases]\na = host=x pool_size=5\n[pgbouncer]\ndefault_pool_size = 9\n");

	(void)state;
	conf = with(conf, SCOPE_DATABASE, "a", "pool_size", "-1");
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", ""), 9);
	conf = with(conf, SCOPE_DATABASE, "a", "pool_size", "0");
	assert_int_equal(effective(conf, SETTING_default_pool_size, "a", ""), 0);
	conf_unref(&conf);
}

static void a_database_of_the_template_gets_an_entry_like_it(void **state)
{
	struct conf *conf = load_text("[databases]\n* = host=x pool_size=5\n[pgbouncer]\n");
	const struct conf_database *tenant;

	(void)state;
	conf = with(conf, SCOPE_DATABASE, "tenant", "min_pool_size", "1");
	tenant = conf_find_database(conf, SLICE_LIT("tenant"));
	assert_string_equal(tenant->name, "tenant");
	assert_int_equal(effective(conf, SETTING_default_pool_size, "tenant", ""), 5);
	assert_int_equal(effective(conf, SETTING_min_pool_size, "tenant", ""), 1);
	assert_int_equal(effective(conf, SETTING_min_pool_size, "*", ""), 0);
	assert_true(conf_database_same_server(tenant, conf_find_database(conf, SLICE_LIT("*"))));
	conf = with(conf, SCOPE_DATABASE, "*", "pool_size", "6");
	assert_int_equal(effective(conf, SETTING_default_pool_size, "*", ""), 6);
	conf_unref(&conf);
}

static void what_cannot_be_set_is_refused_with_the_reason(void **state)
{
	static const struct {
		enum setting_scope scope;
		const char *entry, *key, *value, *error;
	} cases[] = {
		{SCOPE_GLOBAL, "", "nosuch", "1", "unknown parameter \"nosuch\""},
		{SCOPE_GLOBAL, "", "listen_port", "1", "listen_port can only be changed by a restart"},
		{SCOPE_GLOBAL, "", "auth_dbname", "pgbouncer",
		 "the admin console has no users; accepted: the name of another database"},
		{SCOPE_DATABASE, "b", "pool_size", "1", "no such database: b"},
		{SCOPE_DATABASE, "a", "pool_size", "x", "not an integer; accepted: an integer from 0 to 2147483647"},
		{SCOPE_DATABASE, "a", "host", "y", "a database has no setting \"host\" that can be changed here"},
		{SCOPE_DATABASE, "a", "password", "y", "a database has no setting \"password\" that can be changed here"},
		{SCOPE_DATABASE, "a", "query_timeout", "1",
		 "a database has no setting \"query_timeout\" that can be changed here"},
		{SCOPE_DATABASE, "a", "default_pool_size", "1",
		 "a database has no setting \"default_pool_size\" that can be changed here"},
		{SCOPE_USER, "a", "min_pool_size", "1",
		 "a user has no setting \"min_pool_size\" that can be changed here"},
		{SCOPE_DATABASE, "a234567890123456789012345678901234567890123456789012345678901234", "pool_size", "1",
		 "the name is too long"},
	};
	struct conf *conf = load_text("[databases]\na = host=x\n[pgbouncer]\n");
	struct strbuf error;

	(void)state;
	strbuf_init(&error);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct conf_change change = {cases[i].scope, slice_of(cases[i].entry), slice_of(cases[i].key),
						   slice_of(cases[i].value)};

		strbuf_reset(&error);
		assert_null(conf_with(conf, &change, &error));
		assert_string_equal(error.p, cases[i].error);
	}
	strbuf_fini(&error);
	conf_unref(&conf);
}

static bool same_server(const char *one, const char *other)
{
	char text[400];
	struct conf *conf;
	bool same;

	snprintf(text, sizeof(text), "[pgbouncer]\n[databases]\na = %s\nb = %s\n", one, other);
	conf = load_text(text);
	same = conf_database_same_server(conf_find_database(conf, SLICE_LIT("a")), conf_find_database(conf, SLICE_LIT("b")));
	conf_unref(&conf);
	return same;
}

static void a_change_of_what_a_server_was_opened_with_is_noticed(void **state)
{
	(void)state;
	assert_false(same_server("host=x", "host=y"));
	assert_false(same_server("host=x", "host=x,y"));
	assert_false(same_server("host=x", "host=x port=1"));
	assert_false(same_server("", "host=x"));
	assert_false(same_server("dbname=x", ""));
	assert_false(same_server("user=x", "user=y"));
	assert_false(same_server("connect_query='a'", "connect_query='b'"));
	assert_false(same_server("timezone=UTC", "timezone=CET"));
	assert_false(same_server("timezone=UTC", ""));
	assert_false(same_server("auth_query='a'", ""));
	assert_false(same_server("load_balance_hosts=disable", ""));
	assert_false(same_server("target_session_attrs=standby", ""));
	assert_false(same_server("target_session_attrs=standby", "target_session_attrs=primary"));
}

static void a_change_of_sizes_and_modes_leaves_servers_alone(void **state)
{
	(void)state;
	assert_true(same_server("host=x pool_size=1 pool_mode=session password=a", "host=x password=b min_pool_size=2"));
	assert_true(same_server("", "host=/tmp port=5432"));
	assert_true(same_server("guaranteed_pool_size=1 max_db_connections=9", "server_down_action=wait"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_comes_before_database_before_global),
		cmocka_unit_test(negative_inherits_and_zero_does_not),
		cmocka_unit_test(a_snapshot_lives_as_long_as_a_reference),
		cmocka_unit_test(a_reload_tells_what_changed),
		cmocka_unit_test(a_reload_tells_what_changed_of_entries_without_their_secrets),
		cmocka_unit_test(a_reload_tells_how_many_secrets_changed),
		cmocka_unit_test(a_reload_tells_that_rules_and_maps_changed),
		cmocka_unit_test(changes_add_up_and_leave_what_was_loaded_alone),
		cmocka_unit_test(a_setting_that_is_changed_often_costs_as_much_as_once),
		cmocka_unit_test(a_negative_value_takes_away_what_an_entry_has),
		cmocka_unit_test(a_database_of_the_template_gets_an_entry_like_it),
		cmocka_unit_test(what_cannot_be_set_is_refused_with_the_reason),
		cmocka_unit_test(a_change_of_what_a_server_was_opened_with_is_noticed),
		cmocka_unit_test(a_change_of_sizes_and_modes_leaves_servers_alone),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
