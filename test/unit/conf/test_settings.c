#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/settings.h"

/* The value as it is shown once read, or what the parser says against it. */
static const char *read_and_print(enum setting_id id, const char *text)
{
	static char result[300];
	struct arena *arena = arena_new();
	struct settings s;
	struct setting_value value;
	struct strbuf out;

	settings_init(&s, arena);
	strbuf_init_fixed(&out, result, sizeof(result));
	if (setting_parse(id, slice_of(text), &value, &out)) {
		setting_store(&s, id, &value, arena);
		setting_print(&s, id, &out);
	}
	arena_free(arena);
	return result;
}

#define check(name, text, shown) assert_string_equal(read_and_print(SETTING_##name, text), shown)
#define check_refused(name, text) assert_false(setting_check(SETTING_##name, slice_of(text), NULL))

static void every_default_is_valid_and_prints_as_a_valid_value(void **state)
{
	struct arena *arena = arena_new();
	struct settings s;

	(void)state;
	settings_init(&s, arena);
	for (int i = 0; i < SETTING_COUNT; i++) {
		enum setting_id id = (enum setting_id)i;
		struct strbuf out;

		assert_true(setting_check(id, slice_of(setting_info(id)->default_text), NULL));
		assert_true(setting_is_default(&s, id));
		strbuf_init(&out);
		setting_print(&s, id, &out);
		assert_string_equal(out.p, setting_info(id)->default_text);
		strbuf_fini(&out);
	}
	arena_free(arena);
}

static void every_setting_is_documented_and_found_by_its_name(void **state)
{
	(void)state;
	for (int i = 0; i < SETTING_COUNT; i++) {
		const struct setting_info *info = setting_info((enum setting_id)i);
		enum setting_id id;

		assert_true(setting_find(slice_of(info->name), &id));
		assert_int_equal(id, i);
		assert_in_range(strlen(info->doc), 20, 200);
		assert_int_equal(info->doc[strlen(info->doc) - 1], '.');
	}
}

static void settings_are_listed_by_name(void **state)
{
	(void)state;
	for (size_t i = 1; i < SETTING_COUNT; i++) {
		const char *before = setting_info(setting_by_rank(i - 1))->name;

		assert_true(strcmp(before, setting_info(setting_by_rank(i))->name) < 0);
	}
}

static void aliases_are_found_where_they_belong(void **state)
{
	enum setting_id id;

	(void)state;
	assert_true(setting_find(SLICE_LIT("service_name"), &id) && id == SETTING_job_name);
	assert_true(setting_find_entity(SLICE_LIT("reserve_pool"), SCOPE_DATABASE, &id) && id == SETTING_reserve_pool_size);
	assert_false(setting_find(SLICE_LIT("reserve_pool"), &id));
	assert_false(setting_find(SLICE_LIT("Pool_Mode"), &id));
	assert_false(setting_find(SLICE_LIT("pool_size"), &id));
}

static void entities_have_the_keys_of_their_scope_only(void **state)
{
	enum setting_id id;

	(void)state;
	assert_true(setting_find_entity(SLICE_LIT("pool_size"), SCOPE_USER, &id) && id == SETTING_default_pool_size);
	assert_true(setting_find_entity(SLICE_LIT("pool_size"), SCOPE_PEER, &id));
	assert_true(setting_find_entity(SLICE_LIT("min_pool_size"), SCOPE_DATABASE, &id));
	assert_false(setting_find_entity(SLICE_LIT("min_pool_size"), SCOPE_USER, &id));
	assert_false(setting_find_entity(SLICE_LIT("default_pool_size"), SCOPE_DATABASE, &id));
	assert_false(setting_find_entity(SLICE_LIT("query_timeout"), SCOPE_DATABASE, &id));
	assert_false(setting_find_entity(SLICE_LIT("listen_port"), SCOPE_DATABASE, &id));
}

static void booleans_have_eight_spellings(void **state)
{
	static const char *const yes[] = {"1", "on", "Yes", "TRUE"}, *const no[] = {"0", "off", "No", "FALSE"};

	(void)state;
	for (int i = 0; i < 4; i++) {
		check(so_reuseport, yes[i], "1");
		check(so_reuseport, no[i], "0");
	}
	check(so_reuseport, "2", "not a switch; accepted: 0, 1, on, off, yes, no, true, false");
	check_refused(so_reuseport, "");
	check_refused(so_reuseport, "o");
}

static void integers_are_decimal_hexadecimal_or_octal(void **state)
{
	(void)state;
	check(listen_port, "6432", "6432");
	check(listen_port, "0x1920", "6432");
	check(listen_port, "014440", "6432");
	check(max_client_conn, "0", "0");
}

static void an_integer_with_anything_behind_it_is_none(void **state)
{
	(void)state;
	check(listen_port, "20x", "not an integer; accepted: an integer from 1 to 65535");
	check_refused(listen_port, "2 0");
	check_refused(listen_port, "08");
	check_refused(listen_port, "0x");
	check_refused(listen_port, "");
	check_refused(listen_port, "1.5");
	check_refused(listen_port, "99999999999999999999");
}

static void integers_have_bounds(void **state)
{
	(void)state;
	check(listen_port, "0", "out of range; accepted: an integer from 1 to 65535");
	check_refused(listen_port, "65536");
	check_refused(max_client_conn, "-1");
	check_refused(server_connect_parallel, "1001");
	check(max_packet_size, "2147483647", "2147483647");
}

static void modes_are_octal_with_a_leading_zero(void **state)
{
	(void)state;
	check(unix_socket_mode, "0770", "0770");
	check(unix_socket_mode, "0", "0000");
	check_refused(unix_socket_mode, "777");
	check_refused(unix_socket_mode, "0778");
	check_refused(unix_socket_mode, "01777");
}

static void durations_are_seconds_unless_they_have_a_unit(void **state)
{
	(void)state;
	check(query_wait_timeout, "120", "120");
	check(query_wait_timeout, "0.5", "0.5");
	check(query_wait_timeout, ".25", "0.25");
	check(query_wait_timeout, "5s", "5");
	check(query_wait_timeout, "10min", "600");
	check(query_wait_timeout, "100ms", "0.1");
	check(query_wait_timeout, "1h", "3600");
	check(query_wait_timeout, "1d", "86400");
	check(query_wait_timeout, "1.5 min", "90");
	check(query_wait_timeout, "7us", "0.000007");
	check(query_wait_timeout, "0.1234567", "0.123456");
}

static void what_is_no_duration_is_refused(void **state)
{
	static const char *const wrong[] = {"", "s", ".", "5 sec", "5m", "1e3", "5s5", "-1", "0x10", "1d2h", "99999999999999",
					    "106751991167300d"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_refused(query_wait_timeout, wrong[i]);
	check_refused(stats_period, "0");
}

static void milliseconds_are_plain_or_have_a_unit(void **state)
{
	(void)state;
	check(tcp_user_timeout, "1500", "1500");
	check(tcp_user_timeout, "30s", "30000");
	check_refused(tcp_user_timeout, "1us");
}

static void sizes_are_bytes_unless_they_have_a_unit(void **state)
{
	(void)state;
	check(max_memory, "0", "0");
	check(max_memory, "4096", "4096");
	check(max_memory, "512kB", "524288");
	check(max_memory, "512 MB", "536870912");
	check(max_memory, "2gb", "2147483648");
	check(max_memory, "1TB", "1099511627776");
	check_refused(max_memory, "");
	check_refused(max_memory, "-1");
	check_refused(max_memory, "MB");
	check_refused(max_memory, "1.5GB");
	check_refused(max_memory, "9000000TB");
	check_refused(max_memory, "20000000000000000000");
}

static void choices_are_words_in_any_case(void **state)
{
	(void)state;
	check(pool_mode, "Transaction", "transaction");
	check(auth_type, "SCRAM-SHA-256", "scram-sha-256");
	check(auth_type, "ldap", "ldap");
	check(auth_type, "kerberos",
	      "unknown value; accepted: any, trust, plain, md5, scram-sha-256, cert, hba, ldap, pam");
	check(load_balance_hosts, "disable", "disable");
	check(load_balance_hosts, "Least-Connections", "least-connections");
	check(load_balance_hosts, "random", "unknown value; accepted: disable, round-robin, least-connections");
	check(target_session_attrs, "prefer-standby", "prefer-standby");
	check(target_session_attrs, "master",
	      "unknown value; accepted: any, read-write, read-only, primary, standby, prefer-standby");
	check(server_down_action, "wait", "wait");
	check(pool_mode, "trans", "unknown value; accepted: session, transaction, statement");
}

static void choices_have_words_for_their_values_and_no_others(void **state)
{
	(void)state;
	assert_string_equal(setting_choice_word(SETTING_pool_mode, POOL_MODE_STATEMENT), "statement");
	assert_string_equal(setting_choice_word(SETTING_auth_type, AUTH_TYPE_PAM), "pam");
	assert_string_equal(setting_choice_word(SETTING_server_tls_sslmode, TLS_MODE_VERIFY_FULL), "verify-full");
	assert_string_equal(setting_choice_word(SETTING_load_balance_hosts, LOAD_BALANCE_ROUND_ROBIN), "round-robin");
	assert_string_equal(setting_choice_word(SETTING_load_balance_hosts, LOAD_BALANCE_LEAST_CONNECTIONS),
			    "least-connections");
	assert_string_equal(setting_choice_word(SETTING_target_session_attrs, TARGET_READ_ONLY), "read-only");
	assert_string_equal(setting_choice_word(SETTING_target_session_attrs, TARGET_PREFER_STANDBY), "prefer-standby");
	assert_string_equal(setting_choice_word(SETTING_server_down_action, SERVER_DOWN_WAIT), "wait");
	assert_string_equal(setting_choice_word(SETTING_sqlstate_compat, SQLSTATE_COMPAT_PGBOUNCER), "pgbouncer");
	assert_null(setting_choice_word(SETTING_pool_mode, 3));
	assert_null(setting_choice_word(SETTING_pool_mode, -1));
	assert_null(setting_choice_word(SETTING_listen_port, 0));
}

static void a_secret_is_never_printed(void **state)
{
	(void)state;
	check(auth_ldap_options, "ldapbindpasswd=hunter2", "********");
	check(auth_ldap_options, "", "");
}

static void negative_values_are_recognised_for_inheritance(void **state)
{
	(void)state;
	assert_true(setting_is_negative(SETTING_default_pool_size, SLICE_LIT("-1")));
	assert_true(setting_is_negative(SETTING_query_timeout, SLICE_LIT("-1s")));
	assert_false(setting_is_negative(SETTING_default_pool_size, SLICE_LIT("-1x")));
	assert_false(setting_is_negative(SETTING_default_pool_size, SLICE_LIT("0")));
	assert_false(setting_is_negative(SETTING_auth_query, SLICE_LIT("-1")));
}

static void values_are_stored_in_the_types_of_the_struct(void **state)
{
	struct arena *arena = arena_new();
	struct settings s;

	(void)state;
	settings_init(&s, arena);
	assert_int_equal(s.query_wait_timeout, 120 * INT64_C(1000000));
	assert_int_equal(s.unix_socket_mode, 0777);
	assert_true(s.log_connections);
	assert_int_equal(s.auth_type, AUTH_TYPE_MD5);
	assert_int_equal(s.pool_mode, POOL_MODE_SESSION);
	assert_string_equal(s.server_reset_query, "DISCARD ALL");
	assert_string_equal(s.auth_file, "");
	assert_int_equal(setting_number(&s, SETTING_listen_port), 6432);
	assert_int_equal(s.max_prepared_statements, 200);
	arena_free(arena);
}

static void equal_and_default_compare_values(void **state)
{
	struct arena *arena = arena_new();
	struct settings a, b;

	(void)state;
	settings_init(&a, arena);
	settings_init(&b, arena);
	assert_true(setting_equal(&a, &b, SETTING_logfile));
	b.logfile = "x";
	b.listen_port = 1;
	b.syslog = true;
	assert_false(setting_equal(&a, &b, SETTING_logfile));
	assert_false(setting_equal(&a, &b, SETTING_listen_port));
	assert_false(setting_is_default(&b, SETTING_syslog));
	assert_true(setting_is_default(&b, SETTING_pool_mode));
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_default_is_valid_and_prints_as_a_valid_value),
		cmocka_unit_test(every_setting_is_documented_and_found_by_its_name),
		cmocka_unit_test(settings_are_listed_by_name),
		cmocka_unit_test(aliases_are_found_where_they_belong),
		cmocka_unit_test(entities_have_the_keys_of_their_scope_only),
		cmocka_unit_test(booleans_have_eight_spellings),
		cmocka_unit_test(integers_are_decimal_hexadecimal_or_octal),
		cmocka_unit_test(an_integer_with_anything_behind_it_is_none),
		cmocka_unit_test(integers_have_bounds),
		cmocka_unit_test(modes_are_octal_with_a_leading_zero),
		cmocka_unit_test(durations_are_seconds_unless_they_have_a_unit),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(milliseconds_are_plain_or_have_a_unit),
		cmocka_unit_test(sizes_are_bytes_unless_they_have_a_unit),
		cmocka_unit_test(choices_are_words_in_any_case),
		cmocka_unit_test(choices_have_words_for_their_values_and_no_others),
		cmocka_unit_test(a_secret_is_never_printed),
		cmocka_unit_test(negative_values_are_recognised_for_inheritance),
		cmocka_unit_test(values_are_stored_in_the_types_of_the_struct),
		cmocka_unit_test(equal_and_default_compare_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
