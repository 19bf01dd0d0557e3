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
		cmocka_unit_test(a_change_of_what_a_server_was_opened_with_is_noticed),
		cmocka_unit_test(a_change_of_sizes_and_modes_leaves_servers_alone),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
