#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/conf.h"
#include "tempdir.h"

struct fixture {
	struct conf *conf;
	struct conf_problems problems;
};

static struct fixture load_with(const char *text, const struct conf_assignment *assignments, size_t n)
{
	struct fixture f;

	conf_problems_init(&f.problems);
	f.conf = conf_load(tempdir_write("t.ini", text), assignments, n, &f.problems);
	return f;
}

static struct fixture load(const char *text)
{
	return load_with(text, NULL, 0);
}

static void done(struct fixture *f)
{
	conf_unref(&f->conf);
	conf_problems_fini(&f->problems);
}

static struct fixture load_valid(const char *text)
{
	struct fixture f = load(text);

	if (f.conf == NULL)
		fail_msg("%s", f.problems.errors.p);
	return f;
}

static const struct conf_database *database(const struct fixture *f, const char *name)
{
	const struct conf_database *db = conf_find_database(f->conf, slice_of(name));

	assert_non_null(db);
	return db;
}

/* The text has exactly this error. */
static void check_error(const char *text, const char *error)
{
	struct fixture f = load(text);

	assert_null(f.conf);
	assert_int_equal(f.problems.nerrors, 1);
	assert_string_equal(f.problems.errors.p, error);
	done(&f);
}

#define MAIN "[pgbouncer]\n"

static void an_ordinary_file_loads_without_a_word(void **state)
{
	struct fixture f = load_valid(
		"[databases]\nmyapp = host=localhost port=5432 dbname=myapp\n"
		"[pgbouncer]\nlisten_port = 6432\nlisten_addr = *\nauth_type = md5\npool_mode = transaction\n"
		"max_client_conn = 1000\ndefault_pool_size = 25\nmin_pool_size = 10\nreserve_pool_size = 5\n"
		"reserve_pool_timeout = 3\nserver_lifetime = 3600\nserver_idle_timeout = 600\nserver_connect_timeout = 15\n"
		"server_login_retry = 15\nquery_timeout = 60\nquery_wait_timeout = 120\nclient_idle_timeout = 0\n"
		"client_login_timeout = 60\nlog_connections = 1\nlog_disconnections = 1\nlog_pooler_errors = 1\nstats_period = 60\n");

	(void)state;
	assert_int_equal(f.conf->s.default_pool_size, 25);
	assert_int_equal(f.conf->s.pool_mode, POOL_MODE_TRANSACTION);
	assert_int_equal(f.problems.nwarnings, 0);
	done(&f);
}

static void either_name_of_the_main_section_will_do_and_one_must_be_there(void **state)
{
	struct fixture f = load_valid("[pgsluice]\nlisten_port = 7000\n");

	(void)state;
	assert_int_equal(f.conf->s.listen_port, 7000);
	done(&f);
	check_error("[databases]\n", "t.ini: section [pgbouncer] (or [pgsluice]) is missing\n");
	check_error("", "t.ini: section [pgbouncer] (or [pgsluice]) is missing\n");
}

static void the_later_value_wins_across_repeated_sections_and_includes(void **state)
{
	struct fixture f;

	(void)state;
	tempdir_write("inc.ini", "[pgbouncer]\nlisten_port = 2\npool_mode = statement\n[databases]\na = host=one pool_size=3\n");
	f = load_valid("[pgbouncer]\nlisten_port = 1\n%include inc.ini\n[pgbouncer]\nlisten_port = 3\n"
		       "[databases]\na = host=two\n");
	assert_int_equal(f.conf->s.listen_port, 3);
	assert_int_equal(f.conf->s.pool_mode, POOL_MODE_STATEMENT);
	assert_string_equal(database(&f, "a")->hosts[0].host, "two");
	assert_false(database(&f, "a")->overrides.is_set[SETTING_default_pool_size]);
	assert_null(f.conf->databases->next);
	done(&f);
}

static void unknown_sections_and_keys_are_errors(void **state)
{
	(void)state;
	check_error(MAIN "[nosuch]\na = 1\nb = 2\n",
		    "t.ini:2: [nosuch]: unknown section; accepted: [pgbouncer], [pgsluice], [databases], [users], [peers]\n");
	check_error(MAIN "nosuch = 1\n", "t.ini:2: nosuch: unknown setting\n");
	check_error(MAIN "[databases]\na = nosuch=1\n", "t.ini:3: a: nosuch: unknown key\n");
	check_error(MAIN "[users]\na = host=x\n", "t.ini:3: a: host: unknown key\n");
	check_error(MAIN "[users]\na = dbname=x\n", "t.ini:3: a: dbname: unknown key\n");
	check_error("a = 1\n" MAIN, "t.ini:1: a: stands before the first section\n");
}

static void an_error_names_file_line_key_value_and_what_is_accepted(void **state)
{
	(void)state;
	check_error(MAIN "default_pool_size = 20x\n",
		    "t.ini:2: default_pool_size = 20x: not an integer; accepted: an integer from 0 to 2147483647\n");
	check_error(MAIN "[databases]\nshop = pool_size=20x\n",
		    "t.ini:3: shop: pool_size = 20x: not an integer; accepted: an integer from 0 to 2147483647\n");
	check_error(MAIN "auth_type = hba\n", "t.ini:2: auth_type = hba: auth_hba_file is missing\n");
}

static void all_errors_are_collected(void **state)
{
	struct fixture f = load("[pgbouncer]\nlisten_port = x\nnosuch = 1\n[databases]\na = port=0 pool_mode=x\n[users]\nb\n");

	(void)state;
	assert_null(f.conf);
	assert_int_equal(f.problems.nerrors, 5);
	done(&f);
}

static void a_missing_file_is_the_only_error_of_its_load(void **state)
{
	struct fixture f;

	(void)state;
	conf_problems_init(&f.problems);
	f.conf = conf_load("none.ini", NULL, 0, &f.problems);
	assert_null(f.conf);
	assert_string_equal(f.problems.errors.p, "none.ini: cannot be read: No such file or directory\n");
	done(&f);
}

static void assignments_are_stronger_than_the_file(void **state)
{
	const struct conf_assignment assignments[] = {{"listen_port", "7000"}, {"service_name", "x"}};
	struct fixture f = load_with(MAIN "listen_port = 1\n", assignments, 2);

	(void)state;
	assert_int_equal(f.conf->s.listen_port, 7000);
	assert_string_equal(f.conf->s.job_name, "x");
	done(&f);
}

static void a_wrong_assignment_is_one_of_the_command_line(void **state)
{
	const struct conf_assignment assignments[] = {{"listen_port", "x"}, {"nosuch", "y"}};
	struct fixture f = load_with(MAIN, assignments, 2);

	(void)state;
	assert_string_equal(f.problems.errors.p,
			    "command line: listen_port = x: not an integer; accepted: an integer from 1 to 65535\n"
			    "command line: nosuch: unknown setting\n");
	done(&f);
}

static void a_database_has_what_its_entry_says(void **state)
{
	struct fixture f = load_valid(MAIN "[databases]\n"
		"shop = host=10.0.0.1 port=5433 dbname=shop2 user=ann password='s3 ''x' connect_query='SELECT 1 ; SELECT 2' "
		"client_encoding=UTF8 timezone='Europe/Paris' timezone=UTC pool_size=7 pool_mode=transaction reserve_pool=2 "
		"query_wait_timeout=1500ms auth_user=bob load_balance_hosts=disable\n"
		"\"a = b\" = host=x\n* = host=y\n");
	const struct conf_database *db = database(&f, "shop");

	(void)state;
	assert_int_equal(db->nhosts, 1);
	assert_string_equal(db->hosts[0].host, "10.0.0.1");
	assert_int_equal(db->hosts[0].port, 5433);
	assert_string_equal(db->dbname, "shop2");
	assert_string_equal(db->user, "ann");
	assert_string_equal(db->password, "s3 'x");
	assert_string_equal(db->connect_query, "SELECT 1 ; SELECT 2");
	assert_int_equal(db->nparameters, 2);
	assert_string_equal(db->parameters[1].name, "timezone");
	assert_string_equal(db->parameters[1].value, "UTC");
	assert_int_equal(db->overrides.number[SETTING_default_pool_size], 7);
	assert_int_equal(db->overrides.number[SETTING_pool_mode], POOL_MODE_TRANSACTION);
	assert_int_equal(db->overrides.number[SETTING_reserve_pool_size], 2);
	assert_int_equal(db->overrides.number[SETTING_query_wait_timeout], 1500000);
	assert_int_equal(db->overrides.number[SETTING_load_balance_hosts], LOAD_BALANCE_DISABLE);
	assert_string_equal(db->overrides.string[SETTING_auth_user], "bob");
	assert_string_equal(db->at.file, "t.ini");
	assert_int_equal(db->at.line, 3);
	assert_string_equal(db->next->name, "a = b");
	assert_string_equal(database(&f, "*")->hosts[0].host, "y");
	done(&f);
}

static void an_empty_entry_is_a_database_on_the_unix_socket(void **state)
{
	struct fixture f = load_valid("[databases]\na =\n[pgbouncer]\nunix_socket_dir = /run/x\n");

	(void)state;
	assert_int_equal(database(&f, "a")->nhosts, 1);
	assert_string_equal(database(&f, "a")->hosts[0].host, "/run/x");
	assert_int_equal(database(&f, "a")->hosts[0].port, 5432);
	assert_null(database(&f, "a")->dbname);
	assert_null(database(&f, "a")->user);
	done(&f);
	check_error("[databases]\na = port=1\n[pgbouncer]\nunix_socket_dir =\n",
		    "t.ini:2: a: host is missing, and unix_socket_dir is empty; accepted: either of them\n");
}

static void several_hosts_share_one_port(void **state)
{
	struct fixture f = load_valid(MAIN "[databases]\na = host='h1, /dir,@abs,::1' port=6000\n");
	const struct conf_database *db = database(&f, "a");

	(void)state;
	assert_int_equal(db->nhosts, 4);
	assert_string_equal(db->hosts[1].host, "/dir");
	assert_string_equal(db->hosts[3].host, "::1");
	assert_int_equal(db->hosts[3].port, 6000);
	done(&f);
	check_error(MAIN "[databases]\na = host=h1,h2 port=1,2\n",
		    "t.ini:3: a: port = 1,2: one port holds for all hosts; accepted: an integer from 1 to 65535\n");
	check_error(MAIN "[databases]\na = host=h1,,h2\n",
		    "t.ini:3: a: host = h1,,h2: a host is missing; accepted: a list with commas between\n");
}

static void names_of_the_console_are_reserved(void **state)
{
	(void)state;
	check_error(MAIN "[databases]\npgbouncer = host=x\n",
		    "t.ini:3: pgbouncer: reserved for the admin console; accepted: another name\n");
	check_error(MAIN "[databases]\n\"pgsluice\" = host=x\n",
		    "t.ini:3: pgsluice: reserved for the admin console; accepted: another name\n");
	check_error(MAIN "auth_dbname = pgbouncer\n",
		    "t.ini:2: auth_dbname = pgbouncer: the admin console has no users; accepted: the name of another database\n");
}

static void names_have_a_longest_length(void **state)
{
	char text[400], name[130] = "";
	struct fixture f;

	(void)state;
	memset(name, 'n', 63);
	snprintf(text, sizeof(text), MAIN "[databases]\n%s =\n", name);
	f = load_valid(text);
	done(&f);
	name[63] = 'n';
	snprintf(text, sizeof(text), MAIN "[databases]\n%s =\n", name);
	f = load(text);
	assert_non_null(strstr(f.problems.errors.p, "accepted: at most 63 bytes"));
	done(&f);
	memset(name, 'n', 128);
	snprintf(text, sizeof(text), MAIN "[users]\n%s =\n", name);
	f = load(text);
	assert_non_null(strstr(f.problems.errors.p, "accepted: at most 127 bytes"));
	done(&f);
}

static void values_of_64_kib_survive(void **state)
{
	size_t n = 65536;
	char *text = malloc(2 * n + 200), *p = text;
	struct fixture f;

	(void)state;
	p += sprintf(p, MAIN "ignore_startup_parameters = ");
	memset(p, 'x', n);
	p += n;
	p += sprintf(p, "\n[databases]\na = connect_query='");
	memset(p, 'y', n);
	p += n;
	sprintf(p, "'\n");
	f = load_valid(text);
	free(text);
	assert_int_equal(strlen(f.conf->s.ignore_startup_parameters), n);
	assert_int_equal(strlen(database(&f, "a")->connect_query), n);
	done(&f);
}

static void no_message_has_a_password(void **state)
{
	static const char *const entries[] = {
		"a = host=x password=hunter2 port=0", "a = password='hunter2", "a = password=very hunter2",
		"a = password=very hunter2=x y", "a = password=a b=c hunter2=d", "a = password='x'hunter2", "a host=x password=hunter2",
		"a = password= hunter2=", "a = user= password=hunter2",
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct fixture f = load((snprintf(text, sizeof(text), MAIN "[databases]\n%s\n", entries[i]), text));

		assert_null(f.conf);
		assert_null(strstr(f.problems.errors.p, "hunter2"));
		done(&f);
	}
	/* A database in the wrong section. */
	check_error(MAIN "a = host=x password=hunter2\n", "t.ini:2: a: unknown setting\n");
}

static void users_have_settings_of_their_own(void **state)
{
	struct fixture f = load_valid(MAIN "[users]\nann = pool_mode=session pool_size=3 max_user_connections=4\n\"b b\" =\n");
	const struct conf_user *user = conf_find_user(f.conf, SLICE_LIT("ann"));

	(void)state;
	assert_int_equal(user->overrides.number[SETTING_default_pool_size], 3);
	assert_int_equal(user->overrides.number[SETTING_max_user_connections], 4);
	assert_non_null(conf_find_user(f.conf, SLICE_LIT("b b")));
	assert_null(conf_find_user(f.conf, SLICE_LIT("*")));
	assert_int_equal(f.problems.nwarnings, 0);
	done(&f);
}

static void peers_have_a_number_and_a_host(void **state)
{
	struct fixture f = load_valid(MAIN "[peers]\n1 = host=/tmp/a\n2 = host=b port=7 pool_size=3\n");

	(void)state;
	assert_int_equal(f.conf->peers->id, 1);
	assert_int_equal(f.conf->peers->port, 6432);
	assert_string_equal(f.conf->peers->next->host, "b");
	assert_int_equal(f.conf->peers->next->port, 7);
	assert_int_equal(f.conf->peers->next->overrides.number[SETTING_default_pool_size], 3);
	assert_int_equal(f.problems.nwarnings, 0);
	done(&f);
	check_error(MAIN "[peers]\n0 = host=x\n", "t.ini:3: 0: no peer's number; accepted: an integer from 1 to 65535\n");
	check_error(MAIN "[peers]\n1 = port=1\n", "t.ini:3: 1: host is missing\n");
	check_error(MAIN "[peers]\n1 = host=x pool_mode=session\n", "t.ini:3: 1: pool_mode: unknown key\n");
}

static void the_auth_file_is_part_of_the_snapshot(void **state)
{
	struct fixture f;

	(void)state;
	tempdir_write("users.txt", "\"ann\" \"x\"\n");
	f = load_valid(MAIN "auth_file = users.txt\n");
	assert_string_equal(userlist_find(f.conf->userlist, SLICE_LIT("ann"))->secret, "x");
	done(&f);
	f = load_valid(MAIN);
	assert_int_equal(userlist_count(f.conf->userlist), 0);
	done(&f);
	f = load(MAIN "auth_file = none.txt\n");
	assert_string_equal(f.problems.errors.p, "none.txt: auth_file cannot be read: No such file or directory\n"
						 "t.ini:2: auth_file = none.txt: the file cannot be used\n");
	done(&f);
	tempdir_write("users.txt", "\"ann\" \"x\"\nann\nbob\n");
	f = load(MAIN "auth_file = users.txt\n");
	assert_int_equal(f.problems.nerrors, 3);
	done(&f);
}

static void the_files_of_rules_and_maps_are_part_of_the_snapshot(void **state)
{
	struct hba_request request = {.is_unix = true, .user = SLICE_LIT("ann"), .database = SLICE_LIT("shop")};
	struct strbuf error;
	struct fixture f;
	struct conf *with;

	(void)state;
	tempdir_write("hba.conf", "local /^shop all peer map=m\n");
	tempdir_write("ident.conf", "m /^(.*)@x$ \\1\n");
	f = load_valid(MAIN "auth_hba_file = hba.conf\nauth_ident_file = ident.conf\n");
	strbuf_init(&error);
	with = conf_with(f.conf, &(struct conf_change){.key = SLICE_LIT("stats_period"), .value = SLICE_LIT("7")}, &error);
	strbuf_fini(&error);
	assert_non_null(with);
	conf_unref(&f.conf);
	assert_string_equal(hba_find(with->hba, &request)->map, "m");
	assert_true(ident_allows(with->ident, "m", SLICE_LIT("ann@x"), SLICE_LIT("ann")));
	conf_unref(&with);
	done(&f);
	f = load_valid(MAIN);
	assert_null(f.conf->hba);
	assert_null(f.conf->ident);
	done(&f);
	tempdir_write("hba.conf", "local /^a all trust\nhost all all nowhere reject\n");
	f = load(MAIN "auth_hba_file = hba.conf\nauth_ident_file = none\n");
	assert_null(f.conf);
	/* Each with the line that names the file. */
	assert_int_equal(f.problems.nerrors, 4);
	assert_non_null(strstr(f.problems.errors.p, "t.ini:2: auth_hba_file = hba.conf: the file cannot be used\n"));
	assert_non_null(strstr(f.problems.errors.p, "t.ini:3: auth_ident_file = none: the file cannot be used\n"));
	done(&f);
}

static void it_is_known_where_each_value_was_said(void **state)
{
	static const struct conf_assignment assignment = {"stats_period", "5"};
	struct conf_problems problems;
	struct conf *conf;

	(void)state;
	tempdir_write("inc.ini", "[pgbouncer]\nverbose = 1\n[users]\nann = pool_size=1\n");
	conf_problems_init(&problems);
	conf = conf_load(tempdir_write("t.ini", MAIN "listen_port = 1\n%include inc.ini\n"), &assignment, 1,
			 &problems);
	assert_non_null(conf);
	assert_string_equal(conf->origins[SETTING_verbose].file, "inc.ini");
	assert_int_equal(conf->origins[SETTING_verbose].line, 2);
	assert_string_equal(conf->origins[SETTING_stats_period].file, CONF_COMMAND_LINE);
	assert_null(conf->origins[SETTING_logfile].file);
	assert_string_equal(conf_origin(conf, SETTING_logfile).file, "t.ini");
	assert_string_equal(conf->users->at.file, "inc.ini");
	assert_int_equal(conf->users->at.line, 4);
	conf_unref(&conf);
	conf_problems_fini(&problems);
}

static void a_reload_keeps_what_only_a_restart_changes_and_warns(void **state)
{
	struct fixture f = load_valid(MAIN "listen_port = 1\nunix_socket_dir = /one\nstats_period = 1\n[databases]\na =\n");
	struct conf_problems problems;
	struct conf *conf;

	(void)state;
	conf_problems_init(&problems);
	tempdir_write("t.ini", MAIN "unix_socket_dir = /two\nstats_period = 2\n[databases]\na =\n");
	conf = conf_reload("t.ini", NULL, 0, f.conf, &problems);
	assert_non_null(conf);
	assert_int_equal(conf->s.listen_port, 1);
	assert_int_equal(conf->origins[SETTING_listen_port].line, 2);
	assert_string_equal(conf->s.unix_socket_dir, "/one");
	assert_string_equal(conf->databases->hosts[0].host, "/one");
	assert_int_equal(conf->s.stats_period, 2000000);
	assert_string_equal(problems.warnings.p, "t.ini: listen_port: '6432' needs a restart; until then it is '1'\n"
						 "t.ini:2: unix_socket_dir: '/two' needs a restart; until then it is '/one'\n");
	/* What it keeps is its own. */
	done(&f);
	assert_string_equal(conf->s.unix_socket_dir, "/one");
	conf_unref(&conf);
	conf_problems_fini(&problems);
}

static void conffile_is_the_file_that_was_read(void **state)
{
	struct fixture f = load_valid(MAIN);

	(void)state;
	assert_string_equal(f.conf->s.conffile, "t.ini");
	done(&f);
	f = load_valid(MAIN "conffile = other.ini\n");
	assert_string_equal(f.conf->s.conffile, "other.ini");
	done(&f);
}

/* A count that grows with the square of the entries would take minutes here. */
static void many_entries_load(void **state)
{
	enum { N = 20000 };
	struct strbuf text;
	struct fixture f;

	(void)state;
	strbuf_init(&text);
	strbuf_add_str(&text, MAIN "[databases]\n");
	for (int i = 0; i < N; i++)
		strbuf_addf(&text, "db%d = host=h%d pool_size=%d\n", i, i, i);
	strbuf_add_str(&text, "[users]\n");
	for (int i = 0; i < N; i++)
		strbuf_addf(&text, "u%d = pool_size=%d\n", i, i);
	f = load_valid(text.p);
	assert_string_equal(database(&f, "db19999")->hosts[0].host, "h19999");
	assert_int_equal(conf_find_user(f.conf, SLICE_LIT("u19999"))->overrides.number[SETTING_default_pool_size], 19999);
	strbuf_fini(&text);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_file_loads_without_a_word),
		cmocka_unit_test(either_name_of_the_main_section_will_do_and_one_must_be_there),
		cmocka_unit_test(the_later_value_wins_across_repeated_sections_and_includes),
		cmocka_unit_test(unknown_sections_and_keys_are_errors),
		cmocka_unit_test(an_error_names_file_line_key_value_and_what_is_accepted),
		cmocka_unit_test(all_errors_are_collected),
		cmocka_unit_test(a_missing_file_is_the_only_error_of_its_load),
		cmocka_unit_test(assignments_are_stronger_than_the_file),
		cmocka_unit_test(a_wrong_assignment_is_one_of_the_command_line),
		cmocka_unit_test(a_database_has_what_its_entry_says),
		cmocka_unit_test(an_empty_entry_is_a_database_on_the_unix_socket),
		cmocka_unit_test(several_hosts_share_one_port),
		cmocka_unit_test(names_of_the_console_are_reserved),
		cmocka_unit_test(names_have_a_longest_length),
		cmocka_unit_test(values_of_64_kib_survive),
		cmocka_unit_test(no_message_has_a_password),
		cmocka_unit_test(users_have_settings_of_their_own),
		cmocka_unit_test(peers_have_a_number_and_a_host),
		cmocka_unit_test(the_auth_file_is_part_of_the_snapshot),
		cmocka_unit_test(the_files_of_rules_and_maps_are_part_of_the_snapshot),
		cmocka_unit_test(it_is_known_where_each_value_was_said),
		cmocka_unit_test(a_reload_keeps_what_only_a_restart_changes_and_warns),
		cmocka_unit_test(conffile_is_the_file_that_was_read),
		cmocka_unit_test(many_entries_load),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
