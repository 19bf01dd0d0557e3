#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "admin/console.h"

#include "../report/fixture.h"

static const char ini[] = "[databases]\n"
			  "[pgbouncer]\n"
			  "admin_users = boss, \n"
			  "stats_users = eye,ear\n";

static struct console console;
static struct strbuf out;

/* What the actions were asked. */
static struct {
	int reloads, shutdowns;
	enum admin_shutdown how;
	enum setting_scope scope;
	char entry[64], key[64], value[64];
	const char *error;               /* what to fail with; NULL: succeed */
} asked;

static bool on_reload(void *arg, struct strbuf *error)
{
	(void)arg;
	asked.reloads++;
	if (asked.error != NULL)
		strbuf_add_str(error, asked.error);
	return asked.error == NULL;
}

static void on_shutdown(void *arg, enum admin_shutdown how)
{
	(void)arg;
	asked.shutdowns++;
	asked.how = how;
}

static bool on_set(void *arg, const struct conf_change *c, struct strbuf *error)
{
	(void)arg;
	asked.scope = c->scope;
	snprintf(asked.entry, sizeof(asked.entry), "%.*s", (int)c->entry.n, c->entry.p);
	snprintf(asked.key, sizeof(asked.key), "%.*s", (int)c->key.n, c->key.p);
	snprintf(asked.value, sizeof(asked.value), "%.*s", (int)c->value.n, c->value.p);
	if (asked.error != NULL)
		strbuf_add_str(error, asked.error);
	return asked.error == NULL;
}

static const struct admin_actions actions = {
	.reload = on_reload, .shutdown = on_shutdown, .set = on_set, .version = "9.8.7", .listen_port = 6432};

static void on_quiet(void *arg)
{
	(void)arg;
	console_look(&console);
}

static void begin(const char *text)
{
	fixture_open(text);
	console_init(&console, &hub, &actions);
	strbuf_init(&out);
	hub.on_quiet = on_quiet;
	memset(&asked, 0, sizeof(asked));
}

static int open_console(void **state)
{
	(void)state;
	begin(ini);
	return 0;
}

static int open_compatible_console(void **state)
{
	(void)state;
	begin("[pgbouncer]\nsqlstate_compat = pgbouncer\nadmin_users = boss\n");
	return 0;
}

static int close_console(void **state)
{
	(void)state;
	strbuf_fini(&out);
	console_fini(&console);
	fixture_close();
	return 0;
}

static struct client *user(const char *name)
{
	struct client *c = fixture_client(CLIENT_CONSOLE, NULL, name);

	console.ops.may_login(c);
	return c;
}

/* The messages in `out` as a string of their types. */
static const char *types_of_out(void)
{
	static char types[256];
	size_t n = 0;

	for (size_t at = 0; at < out.n && n < sizeof(types) - 1;) {
		const uint8_t *p = (const uint8_t *)out.p + at;

		types[n++] = (char)p[0];
		at += 1 + ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]);
	}
	types[n] = '\0';
	return types;
}

static const char *ask_bytes(struct client *c, struct slice sql)
{
	strbuf_reset(&out);
	assert_true(hub.console->on_query(c, sql, &out));
	return types_of_out();
}

static const char *ask(struct client *c, const char *sql)
{
	return ask_bytes(c, slice_of(sql));
}

static bool has_said(const char *bytes, size_t n)
{
	return out.n >= n && memmem(out.p, out.n, bytes, n) != NULL;
}
#define SAID(text) has_said(text, sizeof(text)) /* with its NUL: up to the end of a field */

static void only_those_in_the_lists_may_log_in(void **state)
{
	static const struct {
		const char *name;
		bool may_login, is_admin;
	} cases[] = {
		{"boss", true, true}, {"eye", true, false}, {"ear", true, false}, {"bos", false, false},
		{"BOSS", false, false}, {"boss, ", false, false}, {"pgbouncer", false, false}, {"pgsluice", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client *c = fixture_client(CLIENT_AUTH, NULL, cases[i].name);

		assert_int_equal(hub.console->may_login(c), cases[i].may_login);
		assert_int_equal(c->is_admin, cases[i].is_admin);
	}
}

static void the_owner_needs_the_unix_socket_and_the_name(void **state)
{
	struct client *c = fixture_client(CLIENT_AUTH, NULL, "pgsluice");
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	c->conn.io.fd = pair[0];
	assert_false(hub.console->is_owner(c));
	c->is_unix = true;
	assert_true(hub.console->is_owner(c));
	assert_true(hub.console->may_login(c));
	assert_true(c->is_admin);
	c->user = registry_user(hub.registry, SLICE_LIT("somebody"));
	assert_false(hub.console->is_owner(c));
	assert_false(hub.console->may_login(c));
	assert_false(c->is_admin);
	close(pair[0]);
	close(pair[1]);
}

static void show_answers_with_a_table(void **state)
{
	struct client *c = user("eye");

	(void)state;
	assert_string_equal(ask(c, "SHOW VERSION;"), "TDCZ");
	assert_true(has_said("PgBouncer 1.25.2 compatible (pgsluice 9.8.7)C", 45));
	assert_true(SAID("SHOW"));
	assert_string_equal(ask(c, "select Version"), "TDCZ");
	assert_string_equal(ask(c, "show state"), "TDDDCZ");
	assert_string_equal(ask(c, "show servers"), "TCZ");
}

static void help_is_a_notice_that_names_every_command(void **state)
{
	(void)state;
	assert_string_equal(ask(user("eye"), "show help"), "NCZ");
	assert_true(SAID("MConsole usage"));
	assert_true(has_said("D\n\tSHOW HELP|COMMANDS|CONFIG|", strlen("D\n\tSHOW HELP|COMMANDS|CONFIG|")));
	assert_true(SAID("\n\tSET key = arg\n\tSET DATABASE <db> key = arg\n\tSET USER <user> key = arg\n\tRELOAD"
			 "\n\tPAUSE [<db>]\n\tRESUME [<db>]\n\tDISABLE <db>\n\tENABLE <db>\n\tRECONNECT [<db>]"
			 "\n\tKILL [<db>]\n\tKILL_CLIENT <client_id>\n\tSUSPEND\n\tWAIT_CLOSE [<db>]"
			 "\n\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS|DRAIN]"));
	assert_true(SAID("SHOW"));
}

static void an_empty_query_is_answered_as_postgresql_does(void **state)
{
	(void)state;
	assert_string_equal(ask(user("eye"), ""), "IZ");
	assert_string_equal(ask(user("eye"), " ; "), "IZ");
}

static void what_is_no_command_is_quoted_whole_and_the_session_goes_on(void **state)
{
	static const char *const wrong[] = {"foo", "show", "show nothing", "reload x", "shutdown now", "set verbose", "suspend x",
					    "pause x y", "resume = 1", "show databases pools", "reload = 1",
					    "SELECT d.datname FROM pg_database d"};
	struct client *c = user("boss");
	char sql[600] = "\\l ";

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_string_equal(ask(c, wrong[i]), "EZ");
		assert_true(has_said("Minvalid command '", 18));
		assert_true(SAID("C42601"));
	}
	memset(sql + 3, 'x', 500);
	assert_string_equal(ask(c, sql), "EZ");
	strcat(sql, "', use SHOW HELP;");
	assert_true(has_said(sql, strlen(sql) + 1));
	assert_int_equal(asked.reloads + asked.shutdowns, 0);
}

static void stats_users_may_only_look(void **state)
{
	static const char *const forbidden[] = {"reload",
						"shutdown",
						"shutdown wait_for_clients",
						"set verbose=1",
						"pause",
						"pause shop",
						"resume",
						"suspend",
						"kill",
						"kill shop",
						"kill_client 1",
						"disable shop",
						"enable shop",
						"reconnect",
						"reconnect shop",
						"wait_close",
						"wait_close shop",
						"set database shop pool_size=5",
						"set user ann pool_size=5"};
	struct client *c = user("eye");

	(void)state;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		assert_string_equal(ask(c, forbidden[i]), "EZ");
		assert_true(SAID("Madmin access needed"));
		assert_true(SAID("C42501"));
	}
	assert_int_equal(asked.reloads + asked.shutdowns, 0);
	assert_string_equal(asked.key, "");
	assert_int_equal(hub.pause, PAUSE_NOT);
}

static void reload_tells_how_it_went(void **state)
{
	struct client *c = user("boss");

	(void)state;
	assert_string_equal(ask(c, "reload"), "CZ");
	assert_true(SAID("RELOAD"));
	asked.error = "x.ini:1: one\nx.ini:2: two\n";
	assert_string_equal(ask(c, "RELOAD;"), "EZ");
	assert_true(SAID("CF0000"));
	assert_true(SAID("MRELOAD failed, see logs for additional details"));
	assert_true(SAID("Dx.ini:1: one\nx.ini:2: two"));
	assert_int_equal(asked.reloads, 2);
}

static void shutdown_has_four_kinds(void **state)
{
	struct client *c = user("boss");

	(void)state;
	assert_string_equal(ask(c, "shutdown wait_for_servers"), "CZ");
	assert_int_equal(asked.how, ADMIN_SHUTDOWN_WAIT_FOR_SERVERS);
	assert_true(SAID("SHUTDOWN"));
	assert_string_equal(ask(c, "SHUTDOWN WAIT_FOR_CLIENTS"), "CZ");
	assert_int_equal(asked.how, ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS);
	assert_string_equal(ask(c, "SHUTDOWN DRAIN"), "CZ");
	assert_int_equal(asked.how, ADMIN_SHUTDOWN_DRAIN);
	assert_string_equal(ask(c, "shutdown"), "");
	assert_int_equal(asked.how, ADMIN_SHUTDOWN_IMMEDIATE);
	assert_int_equal(asked.shutdowns, 4);
}

static void set_passes_key_and_value_on(void **state)
{
	struct client *c = user("boss");

	(void)state;
	assert_string_equal(ask(c, "set server_check_query = 'select ''1'''"), "CZ");
	assert_string_equal(asked.key, "server_check_query");
	assert_string_equal(asked.value, "select '1'");
	assert_true(SAID("SET server_check_query=select '1'"));
	asked.error = "not an integer";
	assert_string_equal(ask(c, "set verbose to x"), "EZ");
	assert_true(SAID("MSET failed"));
	assert_true(SAID("C22023"));
	assert_true(SAID("Dnot an integer"));
}

static void set_of_an_entry_passes_its_name_on_too(void **state)
{
	struct client *c = user("boss");

	(void)state;
	assert_string_equal(ask(c, "SET DATABASE shop pool_size = 5"), "CZ");
	assert_int_equal(asked.scope, SCOPE_DATABASE);
	assert_string_equal(asked.entry, "shop");
	assert_string_equal(asked.key, "pool_size");
	assert_string_equal(asked.value, "5");
	assert_true(SAID("SET DATABASE shop pool_size=5"));
	assert_string_equal(ask(c, "set user \"An n\" query_timeout to '1 s'"), "CZ");
	assert_int_equal(asked.scope, SCOPE_USER);
	assert_string_equal(asked.entry, "An n");
	assert_true(SAID("SET USER An n query_timeout=1 s"));
	assert_string_equal(ask(c, "set verbose = 1"), "CZ");
	assert_int_equal(asked.scope, SCOPE_GLOBAL);
	assert_string_equal(asked.entry, "");
}

static void a_tag_of_set_does_not_repeat_a_secret(void **state)
{
	(void)state;
	assert_string_equal(ask(user("boss"), "set auth_ldap_options = 'ldapbindpasswd=hush'"), "CZ");
	assert_true(SAID("SET auth_ldap_options=********"));
	assert_false(has_said("hush", 4));
}

static void set_of_what_needs_a_restart_does_nothing_and_says_so(void **state)
{
	(void)state;
	assert_string_equal(ask(user("boss"), "set listen_port=1"), "NCZ");
	assert_true(SAID("SWARNING"));
	assert_true(SAID("SET listen_port=1"));
	assert_string_equal(asked.key, "");
}

static void what_drivers_set_and_ask_first_is_faked_for_anyone(void **state)
{
	struct client *c = user("eye");

	(void)state;
	assert_string_equal(ask(c, "SET datestyle TO 'ISO'"), "NCZ");
	assert_true(SAID("MSET ignored"));
	assert_true(SAID("SET"));
	assert_string_equal(ask(c, "set Client_Encoding=utf8"), "NCZ");
	assert_string_equal(asked.key, "");
	assert_string_equal(ask(c, "SHOW default_transaction_isolation"), "TDCZ");
	assert_true(has_said("read committed", 14));
	assert_string_equal(ask(c, "show timezone"), "TDCZ");
	assert_string_equal(ask(c, "show standard_conforming_strings"), "TDCZ");
}

static void queries_are_counted(void **state)
{
	struct client *c = user("eye");

	(void)state;
	ask(c, "show version");
	ask(c, "foo");
	assert_int_equal(console.stats.now.query_count, 2);
	assert_int_equal(console.stats.now.xact_count, 2);
}

static void a_nul_byte_ends_nothing_but_the_message(void **state)
{
	(void)state;
	assert_string_equal(ask_bytes(user("boss"), SLICE_LIT("reload\0")), "EZ");
	assert_int_equal(asked.reloads, 0);
}

static void pgbouncers_sqlstates_when_asked_for(void **state)
{
	struct client *c = user("boss");

	(void)state;
	ask(c, "foo");
	assert_true(SAID("C08P01"));
	asked.error = "";
	ask(c, "reload");
	assert_true(SAID("CF0000"));
}

/* ------------------------------------------------------------------ commands that wait */

static const struct conn_ops no_ops;

/* An admin with a connection, for answers that come later; the other end of it. */
static struct client *connected(int *end)
{
	struct client *c = user("boss");
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	conn_open(&c->conn, hub.loop, pair[0], &no_ops);
	*end = pair[1];
	return c;
}

static void disconnect(struct client *c, int end)
{
	close(end);
	ev_io_stop(hub.loop->ev, &c->conn.io);
	close(c->conn.io.fd);
	c->conn.is_open = false;
}

/* What has come since, after the loop has had its turns. */
static const char *hear(int end)
{
	char room[4096];
	ssize_t n;

	for (int i = 0; i < 3; i++)
		ev_run(hub.loop->ev, EVRUN_NOWAIT);
	strbuf_reset(&out);
	n = read(end, room, sizeof(room));
	strbuf_add(&out, room, n > 0 ? (size_t)n : 0);
	return types_of_out();
}

static const char shop[] = "[databases]\nshop = host=127.0.0.1\n* = host=127.0.0.1\n[pgbouncer]\nadmin_users = boss\n";
static const char only_shop[] = "[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nadmin_users = boss\n";

static int open_shop(void **state)
{
	(void)state;
	begin(shop);
	return 0;
}

/* Without automatic databases. */
static int open_only_shop(void **state)
{
	(void)state;
	begin(only_shop);
	return 0;
}

static void pause_and_suspend_are_answered_from_the_loop(void **state)
{
	static const struct {
		const char *sql, *tag;
		enum pause_mode mode;
	} cases[] = {{"pause", "PAUSE", PAUSE_ALL}, {"suspend;", "SUSPEND", PAUSE_SUSPEND}};
	int end;
	struct client *c = connected(&end);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(ask(c, cases[i].sql), "");
		assert_int_equal(c->state, CLIENT_CONSOLE_WAIT);
		assert_int_equal(hub.pause, cases[i].mode);
		assert_string_equal(hear(end), "CZ");
		assert_true(has_said(cases[i].tag, strlen(cases[i].tag) + 1));
		assert_int_equal(c->state, CLIENT_CONSOLE);
		assert_int_equal(hub.nwaits, 0);
		assert_string_equal(ask(c, "resume"), "CZ");
		assert_true(SAID("RESUME"));
		assert_int_equal(hub.pause, PAUSE_NOT);
	}
	disconnect(c, end);
}

static void what_does_not_fit_the_state_is_refused(void **state)
{
	static const struct {
		enum pause_mode pause;
		enum shutdown_mode shutdown;
		const char *sql, *sqlstate, *message;
	} cases[] = {
		{PAUSE_NOT, SHUTDOWN_NOT, "resume", "C55000", "Mpooler is not paused/suspended"},
		{PAUSE_NOT, SHUTDOWN_NOT, "resume shop", "C55000", "Mdatabase shop is not paused"},
		{PAUSE_NOT, SHUTDOWN_NOT, "resume pgsluice", "C55000", "Mdatabase pgsluice is not paused"},
		{PAUSE_NOT, SHUTDOWN_NOT, "resume other", "C3D000", "Mno such database: other"},
		{PAUSE_NOT, SHUTDOWN_NOT, "pause pgbouncer", "C3D000", "Mcannot pause admin db: pgbouncer"},
		{PAUSE_ALL, SHUTDOWN_NOT, "pause", "C55000", "Malready suspended/paused"},
		{PAUSE_ALL, SHUTDOWN_NOT, "suspend", "C55000", "Malready suspended/paused"},
		{PAUSE_SUSPEND, SHUTDOWN_NOT, "pause", "C55000", "Malready suspended/paused"},
		{PAUSE_SUSPEND, SHUTDOWN_NOT, "pause shop", "C55000", "Malready suspended/paused"},
		{PAUSE_ALL, SHUTDOWN_WAIT_FOR_CLIENTS, "resume", "C55000", "Mpooler is shutting down"},
		{PAUSE_NOT, SHUTDOWN_WAIT_FOR_SERVERS, "pause", "C55000", "Mpooler is shutting down"},
		{PAUSE_NOT, SHUTDOWN_WAIT_FOR_CLIENTS, "suspend", "C55000", "Mpooler is shutting down"},
	};
	struct client *c = user("boss");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hub.pause = cases[i].pause;
		hub.shutdown = cases[i].shutdown;
		assert_string_equal(ask(c, cases[i].sql), "EZ");
		assert_true(has_said(cases[i].sqlstate, strlen(cases[i].sqlstate) + 1));
		assert_true(has_said(cases[i].message, strlen(cases[i].message) + 1));
		assert_int_equal(hub.pause, cases[i].pause);
	}
	hub.shutdown = SHUTDOWN_NOT;
	hub.pause = PAUSE_NOT;
	registry_database(hub.registry, SLICE_LIT("shop"))->is_paused = true;
	assert_string_equal(ask(c, "suspend"), "EZ");
	assert_true(SAID("Mcannot suspend with paused databases"));
}

static void a_command_about_a_database_names_what_is_wrong_with_it(void **state)
{
	static const struct {
		const char *sql, *sqlstate, *message;
	} cases[] = {
		{"kill other", "C3D000", "Mno such database: other"},
		{"kill \"Shop\"", "C3D000", "Mno such database: Shop"},
		{"kill pgbouncer", "C3D000", "Mcannot kill admin db: pgbouncer"},
		{"disable", "C42601", "Ma database is required"},
		{"disable other", "C3D000", "Mno such database: other"},
		{"disable pgsluice", "C3D000", "Mcannot disable admin db: pgsluice"},
		{"enable", "C42601", "Ma database is required"},
		{"enable other", "C3D000", "Mno such database: other"},
		{"enable pgbouncer", "C3D000", "Mcannot disable admin db: pgbouncer"},
		{"reconnect other", "C3D000", "Mno such database: other"},
		{"reconnect pgbouncer", "C3D000", "Mcannot reconnect admin db: pgbouncer"},
		{"wait_close other", "C3D000", "Mno such database: other"},
		{"wait_close pgbouncer", "C3D000", "Mcannot wait in admin db: pgbouncer"},
		{"kill_client nobody", "C22023", "Minvalid client pointer supplied"},
		{"kill_client 12x", "C22023", "Minvalid client pointer supplied"},
		{"kill_client -1", "C22023", "Minvalid client pointer supplied"},
		{"kill_client 0x", "C22023", "Minvalid client pointer supplied"},
		{"kill_client 99999999999999999999", "C22023", "Minvalid client pointer supplied"},
		{"kill_client \" 1\"", "C22023", "Minvalid client pointer supplied"},
		{"kill_client 99", "C42704", "Mclient not found"},
		{"kill_client 0x10", "C42704", "Mclient not found"},
	};
	struct client *c = user("boss");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(ask(c, cases[i].sql), "EZ");
		assert_true(has_said(cases[i].sqlstate, strlen(cases[i].sqlstate) + 1));
		assert_true(has_said(cases[i].message, strlen(cases[i].message) + 1));
	}
	assert_null(registry_find_database(hub.registry, SLICE_LIT("other")));
}

static void disable_holds_until_enable(void **state)
{
	const struct database *db = registry_find_database(hub.registry, SLICE_LIT("shop"));
	struct client *c = user("boss");

	(void)state;
	assert_string_equal(ask(c, "disable \"shop\""), "CZ");
	assert_true(SAID("DISABLE"));
	assert_true(db->is_disabled);
	assert_string_equal(ask(c, "ENABLE shop;"), "CZ");
	assert_true(SAID("ENABLE"));
	assert_false(db->is_disabled);
}

static void kill_leaves_its_databases_paused(void **state)
{
	const struct database *db = registry_find_database(hub.registry, SLICE_LIT("shop"));
	struct client *c = user("boss");

	(void)state;
	assert_string_equal(ask(c, "kill shop"), "CZ");
	assert_true(SAID("KILL"));
	assert_true(db->is_paused);
	assert_int_equal(hub.pause, PAUSE_NOT);
	ask(c, "resume shop");
	assert_string_equal(ask(c, "kill"), "CZ");
	assert_int_equal(hub.pause, PAUSE_ALL);
	assert_string_equal(ask(c, "kill"), "EZ");
	assert_true(SAID("Malready suspended/paused"));
	ask(c, "resume");
	hub.pause = PAUSE_SUSPEND;
	assert_string_equal(ask(c, "kill shop"), "EZ");
	assert_true(SAID("Malready suspended/paused"));
	hub.pause = PAUSE_NOT;
}

static void wait_close_waits_for_servers_that_are_to_go(void **state)
{
	struct server *s = fixture_server(fixture_pool("shop", "ann"), POOL_SERVER_ACTIVE);
	int end;
	struct client *c = connected(&end);

	(void)state;
	assert_string_equal(ask(c, "wait_close"), "");
	assert_string_equal(hear(end), "CZ");
	assert_true(SAID("WAIT_CLOSE"));
	s->slot.close_needed = true;
	assert_string_equal(ask(c, "wait_close shop"), "");
	assert_string_equal(hear(end), "");
	s->phase = SERVER_CLOSED;
	hub_note_quiet(&hub);
	assert_string_equal(hear(end), "CZ");
	assert_true(SAID("WAIT_CLOSE"));
	disconnect(c, end);
}

static void a_wait_close_that_is_cancelled_undoes_nothing(void **state)
{
	struct server *s = fixture_server(fixture_pool("shop", "ann"), POOL_SERVER_ACTIVE);
	int end;
	struct client *c = connected(&end);

	(void)state;
	s->slot.close_needed = true;
	ask(c, "wait_close");
	hub.console->on_cancel(c);
	assert_string_equal(hear(end), "EZ");
	assert_true(SAID("C57014"));
	assert_true(s->slot.close_needed);
	assert_int_equal(hub.pause, PAUSE_NOT);
	disconnect(c, end);
}

static void pause_makes_the_automatic_database_that_it_names(void **state)
{
	int end;
	struct client *c = connected(&end);

	(void)state;
	assert_string_equal(ask(c, "pause other"), "");
	assert_true(registry_find_database(hub.registry, SLICE_LIT("other"))->is_paused);
	assert_string_equal(hear(end), "CZ");
	assert_int_equal(hub.pause, PAUSE_NOT);
	assert_string_equal(ask(c, "resume other"), "CZ");
	assert_false(registry_find_database(hub.registry, SLICE_LIT("other"))->is_paused);
	disconnect(c, end);
}

static void what_is_cancelled_is_undone(void **state)
{
	int end;
	struct client *c = connected(&end);

	(void)state;
	ask(c, "pause");
	hub.console->on_cancel(c);
	assert_int_equal(hub.pause, PAUSE_ALL);
	assert_string_equal(hear(end), "EZ");
	assert_true(SAID("C57014"));
	assert_int_equal(hub.pause, PAUSE_NOT);
	assert_int_equal(hub.nwaits, 0);
	disconnect(c, end);
}

static void what_nobody_waits_for_any_more_is_undone(void **state)
{
	int end;
	struct client *c = connected(&end);

	(void)state;
	ask(c, "pause shop");
	hub.console->on_gone(c);
	assert_string_equal(hear(end), "");
	assert_false(registry_find_database(hub.registry, SLICE_LIT("shop"))->is_paused);
	/* Unless the program ends: then it stays. */
	c->state = CLIENT_CONSOLE;
	ask(c, "pause");
	hub.shutdown = SHUTDOWN_WAIT_FOR_SERVERS;
	hub.console->on_gone(c);
	hear(end);
	assert_int_equal(hub.pause, PAUSE_ALL);
	assert_int_equal(hub.nwaits, 0);
	disconnect(c, end);
}

static void a_suspended_pooler_without_admins_goes_on(void **state)
{
	int end;
	struct client *c = connected(&end), *other = user("boss");

	(void)state;
	ask(c, "suspend");
	assert_string_equal(hear(end), "CZ");
	other->state = CLIENT_CLOSED;
	hub.console->on_gone(other);
	hear(end);
	assert_int_equal(hub.pause, PAUSE_SUSPEND);
	c->state = CLIENT_CLOSED;
	hub.console->on_gone(c);
	hear(end);
	assert_int_equal(hub.pause, PAUSE_NOT);
	disconnect(c, end);
}

static void who_waits_for_what_another_has_undone_is_told(void **state)
{
	int end;
	struct client *c = connected(&end);

	(void)state;
	ask(c, "pause");
	assert_string_equal(ask(user("boss"), "resume"), "CZ");
	assert_string_equal(hear(end), "EZ");
	assert_true(SAID("MPAUSE was undone before it was complete"));
	assert_int_equal(c->state, CLIENT_CONSOLE);
	disconnect(c, end);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_console, close_console)
	const struct CMUnitTest tests[] = {
		TEST(only_those_in_the_lists_may_log_in),
		TEST(the_owner_needs_the_unix_socket_and_the_name),
		TEST(show_answers_with_a_table),
		TEST(help_is_a_notice_that_names_every_command),
		TEST(an_empty_query_is_answered_as_postgresql_does),
		TEST(what_is_no_command_is_quoted_whole_and_the_session_goes_on),
		TEST(stats_users_may_only_look),
		TEST(reload_tells_how_it_went),
		TEST(shutdown_has_four_kinds),
		TEST(set_passes_key_and_value_on),
		TEST(set_of_an_entry_passes_its_name_on_too),
		TEST(a_tag_of_set_does_not_repeat_a_secret),
		TEST(set_of_what_needs_a_restart_does_nothing_and_says_so),
		TEST(what_drivers_set_and_ask_first_is_faked_for_anyone),
		TEST(queries_are_counted),
		TEST(a_nul_byte_ends_nothing_but_the_message),
#define SHOP_TEST(name) cmocka_unit_test_setup_teardown(name, open_shop, close_console)
		SHOP_TEST(pause_and_suspend_are_answered_from_the_loop),
		SHOP_TEST(what_does_not_fit_the_state_is_refused),
		cmocka_unit_test_setup_teardown(a_command_about_a_database_names_what_is_wrong_with_it, open_only_shop,
						close_console),
		SHOP_TEST(disable_holds_until_enable),
		SHOP_TEST(kill_leaves_its_databases_paused),
		SHOP_TEST(wait_close_waits_for_servers_that_are_to_go),
		SHOP_TEST(a_wait_close_that_is_cancelled_undoes_nothing),
		SHOP_TEST(pause_makes_the_automatic_database_that_it_names),
		SHOP_TEST(what_is_cancelled_is_undone),
		SHOP_TEST(what_nobody_waits_for_any_more_is_undone),
		SHOP_TEST(a_suspended_pooler_without_admins_goes_on),
		SHOP_TEST(who_waits_for_what_another_has_undone_is_told),
		cmocka_unit_test_setup_teardown(pgbouncers_sqlstates_when_asked_for, open_compatible_console, close_console),
	};

	return cmocka_run_group_tests(tests, tempdir_enter_quietly, tempdir_leave);
}
