#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "base/clock.h"
#include "report/stats_line.h"
#include "report/tables.h"

#include "fixture.h"

static const char ini[] =
	"[databases]\n"
	"shop = host=127.0.0.1 port=5999 dbname=x\n"
	"two = host=127.0.0.1,127.0.0.2 pool_mode=transaction pool_size=7 reserve_pool_size=3\n"
	"sock = user=forced\n"
	"* = host=127.0.0.9\n"
	"[users]\n"
	"ann = pool_mode=statement pool_size=5 max_user_connections=9\n"
	"[pgbouncer]\n"
	"auth_file = users.txt\n"
	"server_check_delay = 30\n"
	"stats_period = 10\n"
	"listen_port = 6432\n";

static struct stats_history console;
static struct report report = {.hub = &hub, .console = &console, .version = "9.8.7", .listen_port = 6432};

static int open_hub(void **state)
{
	(void)state;
	tempdir_write("users.txt", "\"bob\" \"\"\n\"ann\" \"\"\n");
	fixture_open(ini);
	console = (struct stats_history){0};
	return 0;
}

static int close_hub(void **state)
{
	(void)state;
	fixture_close();
	return 0;
}

/* All rows as text, cells separated by '|', rows by '\n', nulls as "~". */
struct text_sink {
	struct row_sink sink;
	size_t ncolumns;
	struct strbuf text;
};

static void print_row(struct row_sink *sink, const struct cell *cells)
{
	struct text_sink *t = (struct text_sink *)sink;
	char room[CELL_ROOM];

	for (size_t i = 0; i < t->ncolumns; i++) {
		if (i > 0)
			strbuf_add_char(&t->text, '|');
		if (cells[i].kind == CELL_NULL)
			strbuf_add_char(&t->text, '~');
		else
			strbuf_add_slice(&t->text, cell_print(&cells[i], room));
	}
	strbuf_add_char(&t->text, '\n');
}

/* The whole table, told in pieces of so many. */
static void tell_in_pieces(const struct table *table, unsigned most, struct text_sink *t)
{
	struct table_place place = {0};
	enum told told;

	do {
		told = table->piece(&report, &place, most, &t->sink);
	} while (told == TOLD_SOME);
	assert_int_equal(told, TOLD_ALL);
	table_leave(&place);
}

static void assert_rows(const struct table *table, const char *expected)
{
	struct text_sink t = {.sink.on_row = print_row, .ncolumns = table->ncolumns};

	strbuf_init(&t.text);
	assert_true(table_tell(table, &report, &t.sink));
	assert_string_equal(t.text.p == NULL ? "" : t.text.p, expected);
	strbuf_fini(&t.text);
}

static void assert_columns(const struct table *table, const char *expected)
{
	static const char *const types[] = {
		[COLUMN_TEXT] = "s", [COLUMN_INT4] = "i", [COLUMN_INT8] = "q",
		[COLUMN_NUMERIC] = "N", [COLUMN_TIME] = "T", [COLUMN_BYTEA] = "b",
		[COLUMN_RATIO] = "R",
	};
	struct strbuf text;

	strbuf_init(&text);
	for (size_t i = 0; i < table->ncolumns; i++)
		strbuf_addf(&text, "%s%s %s", i > 0 ? ", " : "", table->columns[i].name, types[table->columns[i].type]);
	assert_string_equal(text.p, expected);
	strbuf_fini(&text);
}

static void columns_of_our_own_tables_are_these(void **state)
{
	(void)state;
	assert_columns(&table_hosts, "address s, state s, role s, failures i, last_error s, last_detail s, next_try T, "
				     "connecting i, servers i");
	assert_columns(&table_capacity,
		       "host s, state s, max_connections i, reserved i, in_use i, in_use_by_pooler i, pools i, pools_limit q, "
		       "instances i, needed q, percent q, recommended_pool_size i, checked_at T, advice s");
	assert_columns(&table_capacity_pools,
		       "database s, user s, pool_size i, working_size i, samples i, waited i, held_mean s, held_p99 i, recommended_pool_size i");
	assert_columns(&table_capacity_use, "host s, application_name s, connections i");
	assert_columns(&table_waiting, "id i, database s, user s, addr s, wait i, wait_us i, wait_for s, reason s, detail s");
	assert_columns(&table_prepared_statements,
		       "name s, kind s, query s, version q, clients q, servers q, binds N, size q");
	assert_columns(&table_prepared_stats,
		       "database s, client_parses N, server_parses N, binds N, hits N, evictions N, retries N");
	assert_columns(&table_process, "key s, value q");
	assert_columns(&table_pool_stats,
		       "database s, user s, active i, idle i, waiting i, limit i, transactions q, queries q, hits q, "
		       "misses q, created q, closed q, open i, reuse_ratio R, load_factor R, oldest_wait_us q, client_closes q, login_failures q, "
		       "timeouts q, pins q");
	assert_columns(&table_pool_events, "database s, user s, event s, reason s, message s, count q");
	assert_columns(&table_latency,
		       "database s, user s, kind s, count q, p50 q, p90 q, p99 q, p99_9 q, max q, mean q");
	assert_columns(&table_latency_totals,
		       "database s, user s, kind s, count q, sum_us q, below_7 q, below_9 q, below_10 q, below_12 q, "
		       "below_13 q, below_16 q, below_17 q, below_19 q, below_20 q, below_22 q, below_23 q, below_26 q");
	assert_columns(&table_applications,
		       "application_name s, clients i, transactions q, queries q, transaction_time_us q, query_time_us q, "
		       "wait_time_us q");
	assert_columns(&table_clients_ext,
		       "id q, database s, user s, addr s, port i, application_name s, state s, server_id q, server_pid i, "
		       "wait_for s, wait_reason s, connection_age q, request_age q, transaction_age q, query_age q, wait_age q");
	assert_columns(&table_all, "name s, setting s, description s");
	assert_columns(&table_errors,
		       "sqlstate s, reason s, database s, user s, count q, first T, last T, message s");
}

static void tables_are_found_in_any_case(void **state)
{
	(void)state;
	assert_ptr_equal(table_find(SLICE_LIT("Stats_Totals")), &table_stats_totals);
	assert_null(table_find(SLICE_LIT("STATS_TOTAL")));
}

static void databases_come_by_name_with_the_console(void **state)
{
	(void)state;
	fixture_server(fixture_pool("two", "ann"), POOL_SERVER_ACTIVE);
	fixture_client(CLIENT_CONSOLE, NULL, "boss");
	assert_rows(&table_databases,
		    "pgbouncer|~|6432|pgbouncer|pgbouncer|2|0|0|3600|statement|~|0|0|0|1|0|0\n"
		    "shop|127.0.0.1|5999|x|~|20|0|0|3600|~|~|0|0|0|0|0|0\n"
		    "sock|~|5432|sock|forced|20|0|0|3600|~|~|0|0|0|0|0|0\n"
		    "two|127.0.0.1,127.0.0.2|5432|two|~|7|0|3|3600|transaction|round-robin|0|1|0|0|0|0\n");
}

static void a_removed_database_is_not_shown(void **state)
{
	(void)state;
	registry_reload(hub.registry, fixture_conf("[databases]\nshop = host=h\n[pgbouncer]\n"));
	assert_rows(&table_databases,
		    "pgbouncer|~|6432|pgbouncer|pgbouncer|2|0|0|3600|statement|~|0|0|0|0|0|0\n"
		    "shop|h|5432|shop|~|20|0|0|3600|~|~|0|0|0|0|0|0\n");
}

static void users_are_all_that_are_known_from_anywhere(void **state)
{
	(void)state;
	fixture_server(fixture_pool("shop", "ann"), POOL_SERVER_ACTIVE);
	fixture_server(fixture_pool("two", "ann"), POOL_SERVER_ACTIVE);
	fixture_server(fixture_pool("sock", "bob"), POOL_SERVER_ACTIVE);
	registry_user(hub.registry, SLICE_LIT("bob"))->nclients = 4;
	assert_rows(&table_users,
		    "ann|        5||statement|9|2|0|0\n"
		    "bob|||~|0|0|0|4\n"
		    "forced|||~|0|1|0|0\n"
		    "pgbouncer|||~|0|0|0|0\n");
}

static void pools_count_their_clients_and_servers(void **state)
{
	struct pool *pool = fixture_pool("two", "ann");
	struct pool_client waiter = {0}, login = {0};
	uint64_t now = clock_us();
	struct pool_server *granted;
	struct server *s;

	(void)state;
	pool->nclients = 6;
	assert_int_equal(pool_acquire(pool, &waiter, now - 2500000, &granted), POOL_QUEUED);
	pool_await_login(pool, &login, now);
	fixture_server(pool, POOL_SERVER_ACTIVE)->ncancels = 1;
	/* Whether there is a request is looked at, and no more of it. */
	hub.cancels.tqh_first = (struct cancel_request *)&hub;
	fixture_server(pool, POOL_SERVER_TESTED);
	fixture_server(pool, POOL_SERVER_BEING_CANCELED);
	fixture_server(pool, POOL_SERVER_IDLE)->slot.idle_since = now;
	s = fixture_server(pool, POOL_SERVER_IDLE);
	s->slot.idle_since = now - 31 * CLOCK_SECOND;
	fixture_server(pool, POOL_SERVER_IDLE)->slot.idle_since = now - 32 * CLOCK_SECOND;
	fixture_client(CLIENT_CONSOLE, NULL, "boss");
	assert_rows(&table_pools,
		    "pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|0|0|0|statement|~\n"
		    "two|ann|5|2|1|0|1|1|1|1|2|1|0|2|500000|statement|round-robin\n");
}

static void stats_are_summed_over_a_databases_pools(void **state)
{
	struct pool *one = fixture_pool("shop", "ann"), *other = fixture_pool("shop", "bob");

	(void)state;
	one->stats.now = (struct stats){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	other->stats.now =
		(struct stats){100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500, 1600};
	console.now.query_count = console.now.xact_count = 7;
	assert_rows(&table_stats_totals,
		    "pgbouncer|0|7|7|0|0|0|0|0|0|0|0\n"
		    "shop|101|202|303|404|505|606|707|808|909|1010|1111\n");
	assert_rows(&table_stats,
		    "pgbouncer|0|7|7|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
		    "shop|101|202|303|404|505|606|707|808|909|1010|1111|0|0|0|0|0|0|0|0|0|0|0\n");
	assert_rows(&table_prepared_stats,
		    "pgbouncer|0|0|0|0|0|0\n"
		    "shop|909|1010|1111|1212|1313|1414\n");
}

static void averages_are_of_the_last_whole_period(void **state)
{
	struct pool *pool = fixture_pool("shop", "ann");

	(void)state;
	pool->stats.now = (struct stats){1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 0, 0, 0, 0, 0};
	stats_turn(&pool->stats);
	stats_add(&pool->stats.now, &(struct stats){20, 30, 40, 50, 60, 3000, 8000, 400, 70, 80, 90, 0, 0, 0, 0, 0});
	stats_turn(&pool->stats);
	stats_add(&pool->stats.now, &(struct stats){999, 999, 999, 999, 999, 999, 999, 999, 999, 999, 999, 0, 0, 0, 0, 0});
	assert_rows(&table_stats_averages,
		    "pgbouncer|0|0|0|0|0|0|0|0|0|0|0\n"
		    "shop|2|3|4|5|6|100|200|20|7|8|9\n");
}

/* Two databases and their pools, statements, clients: something for every table. */
static void populate(struct stmt *made[3])
{
	fixture_server(fixture_pool("shop", "ann"), POOL_SERVER_ACTIVE);
	fixture_server(fixture_pool("zoo", "bob"), POOL_SERVER_IDLE);
	for (unsigned i = 0; i < 3; i++) {
		char body[] = "SELECT 0";

		body[7] = (char)('0' + i);
		made[i] = stmts_get(hub.stmts, NULL, STMT_SQL, slice_of(body));
		fixture_client(CLIENT_IDLE, "shop", "ann");
	}
}

static void however_small_its_pieces_are_a_table_is_the_same(void **state)
{
	struct stmt *made[3];

	(void)state;
	populate(made);
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		struct text_sink t = {.sink.on_row = print_row, .ncolumns = tables[i]->ncolumns};

		/* The time that the process has run is another each time. */
		if (tables[i]->piece == NULL || tables[i] == &table_process)
			continue;
		strbuf_init(&t.text);
		strbuf_add_str(&t.text, "");
		tell_in_pieces(tables[i], 1, &t);
		assert_rows(tables[i], t.text.p);
		strbuf_fini(&t.text);
	}
	for (unsigned i = 0; i < 3; i++)
		stmt_unref(hub.stmts, &made[i]);
}

/* The first row, and then those that are left after `change`. */
static void assert_told_around(const struct table *table, void (*change)(void), const char *expected)
{
	struct text_sink t = {.sink.on_row = print_row, .ncolumns = 1};
	struct table_place place = {0};

	strbuf_init(&t.text);
	assert_int_equal(table->piece(&report, &place, 1, &t.sink), TOLD_SOME);
	change();
	assert_int_equal(table->piece(&report, &place, 100, &t.sink), TOLD_ALL);
	table_leave(&place);
	assert_string_equal(t.text.p, expected);
	strbuf_fini(&t.text);
}

static void drop_zoo(void)
{
	registry_drop_database(hub.registry, registry_find_database(hub.registry, SLICE_LIT("zoo")));
}

static void drop_pool(void)
{
	registry_drop_pool(hub.registry, fixture_pool("two", "ann"));
}

static void drop_user(void)
{
	registry_drop_user(hub.registry, registry_find_user(hub.registry, SLICE_LIT("zoe")));
}

static void drop_host(void)
{
	registry_reload(hub.registry, fixture_conf("[databases]\nsock =\n[pgbouncer]\n"));
}

static struct stmt *dropped;

static void drop_statement(void)
{
	stmt_unref(hub.stmts, &dropped);
}

static void what_goes_while_a_table_is_told_is_left_out(void **state)
{
	struct stmt *stays[2];

	(void)state;
	fixture_pool("zoo", "ann");
	assert_told_around(&table_databases, drop_zoo, "pgbouncer\nshop\nsock\ntwo\n");
	fixture_pool("zoo", "ann");
	fixture_pool("shop", "ann");
	assert_told_around(&table_stats, drop_zoo, "pgbouncer\nshop\n");
	fixture_pool("two", "ann");
	assert_told_around(&table_pools, drop_pool, "pgbouncer\nshop\n");
	registry_user(hub.registry, SLICE_LIT("zoe"));
	assert_told_around(&table_users, drop_user, "ann\nbob\npgbouncer\n");
	stays[0] = stmts_get(hub.stmts, NULL, STMT_SQL, SLICE_LIT("a"));
	dropped = stmts_get(hub.stmts, NULL, STMT_SQL, SLICE_LIT("b"));
	stays[1] = stmts_get(hub.stmts, NULL, STMT_SQL, SLICE_LIT("c"));
	assert_told_around(&table_prepared_statements, drop_statement, "pgsluice_1\npgsluice_3\n");
	stmt_unref(hub.stmts, &stays[0]);
	stmt_unref(hub.stmts, &stays[1]);
	assert_told_around(&table_hosts, drop_host, "/tmp:5432\n");
}

static void lists_count_what_the_tables_have(void **state)
{
	static const struct {
		const char *name;
		const struct table *table;
	} lists[] = {{"databases|", &table_databases}, {"\nusers|", &table_users}, {"\npools|", &table_pools}};
	struct text_sink all = {.sink.on_row = print_row, .ncolumns = 2};
	struct stmt *made[3];

	(void)state;
	populate(made);
	registry_user(hub.registry, SLICE_LIT("zoe"));
	strbuf_init(&all.text);
	assert_true(table_tell(&table_lists, &report, &all.sink));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct text_sink t = {.sink.on_row = print_row, .ncolumns = 0};
		const char *at = strstr(all.text.p, lists[i].name);

		strbuf_init(&t.text);
		tell_in_pieces(lists[i].table, 100, &t);
		assert_non_null(at);
		assert_int_equal(atoi(at + strlen(lists[i].name)), t.text.n);
		strbuf_fini(&t.text);
	}
	strbuf_fini(&all.text);
	for (unsigned i = 0; i < 3; i++)
		stmt_unref(hub.stmts, &made[i]);
}

static void totals_keep_what_removed_databases_had(void **state)
{
	(void)state;
	fixture_pool("two", "ann")->stats.now = (struct stats){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	console.now.query_count = 1;
	registry_reload(hub.registry, fixture_conf("[databases]\nshop = host=h\n[pgbouncer]\n"));
	assert_rows(&table_totals,
		    "total_server_assignment_count|1\ntotal_xact_count|2\ntotal_query_count|4\ntotal_client_bytes|4\n"
		    "total_server_bytes|5\ntotal_xact_time|6\ntotal_query_time|7\ntotal_wait_time|8\n"
		    "total_ps_client_parse_count|9\ntotal_ps_server_parse_count|10\ntotal_ps_bind_count|11\n"
		    "avg_server_assignment_count|0\navg_xact_count|0\navg_query_count|0\navg_client_bytes|0\n"
		    "avg_server_bytes|0\navg_xact_time|0\navg_query_time|0\navg_wait_time|0\n"
		    "avg_ps_client_parse_count|0\navg_ps_server_parse_count|0\navg_ps_bind_count|0\n");
	assert_rows(&table_stats_totals, "pgbouncer|0|0|1|0|0|0|0|0|0|0|0\n");
}

static void pools_tell_how_well_they_do(void **state)
{
	struct pool *pool = fixture_pool("two", "bob");
	struct pool_counts *c = &pool_session(pool)->counts;

	(void)state;
	fixture_server(pool, POOL_SERVER_ACTIVE);
	fixture_server(pool, POOL_SERVER_IDLE);
	pool->stats.now.xact_count = 20;
	pool->stats.now.query_count = 30;
	pool->stats.now.pool_hits = 10;
	pool->stats.now.pool_misses = 3;
	pool->stats.now.server_assignment_count = 12;
	c->created = 4;
	c->closed[SERVER_END_LIFETIME] = c->closed[SERVER_END_KILL] = 1;
	c->client_closes[CLOSE_QUERY_TIMEOUT] = 5;
	c->client_closes[CLOSE_CLIENT_QUIT] = 6;
	c->login_failures[CLOSE_LOGIN_TIMEOUT_DOWN] = 7;
	c->pins[PIN_PIPELINE] = 8;
	fixture_pool("shop", "cid");
	assert_rows(&table_pool_stats,
		    "shop|cid|0|0|0|20|0|0|0|0|0|0|0|~|0.0000|0|0|0|0|0\n"
		    "two|bob|1|1|0|7|20|30|10|3|4|2|2|0.6667|0.1429|0|11|7|12|8\n");
	assert_rows(&table_pool_events,
		    "two|bob|server_closed|LIFETIME|server lifetime over|1\n"
		    "two|bob|server_closed|KILL|database removed|1\n"
		    "two|bob|client_closed|CLIENT_QUIT|client close request|6\n"
		    "two|bob|client_closed|QUERY_TIMEOUT|query_timeout|5\n"
		    "two|bob|login_failed|LOGIN_TIMEOUT_DOWN|client_login_timeout (server down)|7\n"
		    "two|bob|pinned|PIPELINE|the client has asked for more already|8\n");
}

static void a_pool_that_opens_more_than_it_gives_out_reuses_nothing(void **state)
{
	struct pool *pool = fixture_pool("two", "bob");

	(void)state;
	pool_session(pool)->counts.created = 3;
	pool->stats.now.server_assignment_count = 2;
	assert_rows(&table_pool_stats, "two|bob|0|0|0|7|0|0|0|0|3|0|0|0.0000|0.0000|0|0|0|0|0\n");
}

static void latencies_are_of_all_pools_and_of_each(void **state)
{
	struct pool *one = fixture_pool("two", "bob"), *other = fixture_pool("shop", "ann");

	(void)state;
	for (int i = 0; i < 98; i++)
		pool_record(one, LATENCY_QUERY, 40);
	pool_record(other, LATENCY_QUERY, 5);
	pool_turn_latency(other);
	pool_record(other, LATENCY_QUERY, 70000);
	pool_record(other, LATENCY_LOGIN, 9);
	assert_rows(&table_latency,
		    "shop|ann|query|2|5|70000|70000|70000|70000|35002\n"
		    "shop|ann|login|1|9|9|9|9|9|9\n"
		    "two|bob|query|98|40|40|40|40|40|40\n"
		    "~|~|wait|0|~|~|~|~|~|~\n"
		    "~|~|query|100|43|43|43|70000|70000|739\n"
		    "~|~|transaction|0|~|~|~|~|~|~\n"
		    "~|~|connect|0|~|~|~|~|~|~\n"
		    "~|~|login|1|9|9|9|9|9|9\n");
	pool_turn_latency(one);
	pool_turn_latency(one);
	pool_turn_latency(other);
	pool_turn_latency(other);
	assert_rows(&table_latency,
		    "~|~|wait|0|~|~|~|~|~|~\n"
		    "~|~|query|0|~|~|~|~|~|~\n"
		    "~|~|transaction|0|~|~|~|~|~|~\n"
		    "~|~|connect|0|~|~|~|~|~|~\n"
		    "~|~|login|0|~|~|~|~|~|~\n");
}

static struct client *client_named(enum client_state state, const char *name)
{
	struct client *c = fixture_client(state, "shop", "ann");
	int i = params_find(hub.params, SLICE_LIT("application_name"));

	assert_true(paramset_change(hub.params, &c->params, (size_t)i, slice_of(name)));
	return c;
}

static void applications_come_by_transactions_and_the_others_last(void **state)
{
	struct client *few = client_named(CLIENT_IDLE, "few"), *many = client_named(CLIENT_ACTIVE, "many");
	struct application *app;

	(void)state;
	app = applications_of(hub.applications, few->params);
	app->transactions = 1;
	app->queries = 2;
	app->wait_time = 3;
	applications_of(hub.applications, many->params)->transactions = 10;
	hub.applications->places[0].query_time = 7;
	client_named(CLIENT_WAITING, "many");
	client_named(CLIENT_CONSOLE, "many");
	client_named(CLIENT_IDLE, "has run nothing");
	assert_rows(&table_applications,
		    "many|2|10|0|0|0|0\n"
		    "few|1|1|2|0|0|3\n"
		    "other|1|0|0|0|7|0\n");
}

static void the_line_for_the_log_has_pgbouncers_wording(void **state)
{
	struct pool *pool = fixture_pool("shop", "ann");
	struct strbuf line;

	(void)state;
	pool->stats.now = (struct stats){20, 30, 40, 50, 60, 3000, 8000, 400, 70, 80, 90, 0, 0, 0, 0, 0};
	stats_turn(&pool->stats);
	strbuf_init(&line);
	stats_line_print(&hub, &line);
	assert_string_equal(line.p, "stats: 3 xacts/s, 4 queries/s, 7 client parses/s, 8 server parses/s, 9 binds/s, "
				    "in 5 B/s, out 6 B/s, xact 100 us, query 200 us, wait 20 us");
	strbuf_fini(&line);
}

static size_t column_of(const struct table *table, const char *name)
{
	size_t i = 0;

	while (strcmp(table->columns[i].name, name) != 0)
		i++;
	return i;
}

/* Those cells of a row that do not hang on the machine's clock or memory. */
struct names_sink {
	struct row_sink sink;
	const struct table *table;
	struct strbuf text;
};

static void print_some(struct row_sink *sink, const struct cell *cells)
{
	static const char *const columns[] = {"type", "user", "database", "state", "addr", "port", "wait", "wait_us",
					      "close_needed", "remote_pid", "application_name", "id"};
	struct names_sink *t = (struct names_sink *)sink;
	char room[CELL_ROOM];

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		strbuf_add_slice(&t->text, cell_print(&cells[column_of(t->table, columns[i])], room));
		strbuf_add_char(&t->text, i + 1 < sizeof(columns) / sizeof(columns[0]) ? '|' : '\n');
	}
}

/* Exactly these rows, in any order: where in its slab an object lies is not for a test to say. */
static void assert_sockets(const struct table *table, size_t n, const char *const rows[])
{
	struct names_sink t = {.sink.on_row = print_some, .table = table};
	size_t length = 0;

	strbuf_init(&t.text);
	assert_true(table_tell(table, &report, &t.sink));
	for (size_t i = 0; i < n; i++) {
		length += strlen(rows[i]);
		if (strstr(t.text.p, rows[i]) == NULL)
			fail_msg("%s is missing in\n%s", rows[i], t.text.p);
	}
	assert_int_equal(t.text.n, length);
	strbuf_fini(&t.text);
}
#define ASSERT_SOCKETS(table, ...) \
	assert_sockets(table, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static void clients_are_those_who_have_logged_in(void **state)
{
	struct client *c;

	(void)state;
	fixture_client(CLIENT_STARTUP, NULL, NULL);
	fixture_client(CLIENT_AUTH, NULL, NULL);
	fixture_client(CLIENT_CANCEL, NULL, NULL);
	fixture_client(CLIENT_CLOSED, "shop", "ann");
	c = fixture_client(CLIENT_IDLE, "shop", "ann");
	c->peer = (struct addr){.family = AF_INET, .port = 1234, .u.v4.s_addr = htonl(INADDR_LOOPBACK)};
	paramset_change(hub.params, &c->params, (size_t)params_find(hub.params, SLICE_LIT("application_name")),
			SLICE_LIT("psql"));
	c = fixture_client(CLIENT_WAITING, "two", "bob");
	c->peer = (struct addr){.family = AF_UNIX, .u.pid = 4711};
	c->waiter.waiting_since = clock_us() - 1250000;
	c = fixture_client(CLIENT_CONSOLE, NULL, "boss");
	c->peer = (struct addr){.family = AF_INET6, .port = 77, .u.v6 = IN6ADDR_LOOPBACK_INIT};
	ASSERT_SOCKETS(&table_clients, "C|ann|shop|idle|127.0.0.1|1234|0|0|0|0|psql|5\n",
		       "C|bob|two|waiting|unix|6432|1|250000|0|4711||6\n", "C|boss|pgbouncer|active|::1|77|0|0|0|0||7\n");
}

static void servers_show_what_postgresql_calls_them(void **state)
{
	struct pool *pool = fixture_pool("two", "ann");
	struct server *s;

	(void)state;
	s = fixture_server(pool, POOL_SERVER_ACTIVE);
	s->peer = (struct addr){.family = AF_INET, .port = 5432, .u.v4.s_addr = htonl(INADDR_LOOPBACK)};
	memcpy(s->cancel_key, "\0\1\0\2abcd", 8);
	s->cancel_key_size = 8;
	s->slot.close_needed = true;
	fixture_server(pool, POOL_SERVER_NEW)->phase = SERVER_RESOLVING;
	s = fixture_server(pool, POOL_SERVER_IDLE);
	s->peer = (struct addr){.family = AF_UNIX};
	s->slot.idle_since = clock_us() - 31 * CLOCK_SECOND;
	ASSERT_SOCKETS(&table_servers, "S|ann|two|active|127.0.0.1|5432|0|0|1|65538||1\n",
		       "S|ann|two|used|unix|5432|0|0|0|0||3\n");
}

static void a_time_is_local_and_names_its_zone(void **state)
{
	const struct cell cell = {.kind = CELL_TIME, .number = INT64_C(1772359207999999)};
	char room[CELL_ROOM];
	struct slice text;

	(void)state;
	setenv("TZ", "UTC-2", 1);
	tzset();
	text = cell_print(&cell, room);
	assert_true(slice_is(text, "2026-03-01 12:00:07 UTC"));
}

static void times_read_as_strftime_writes_them_across_minutes_and_changes_of_clocks(void **state)
{
	/* The end of summer time in 2026, and the first minute. */
	static const time_t around[] = {1792890000, 0};
	char room[CELL_ROOM], expected[CELL_ROOM];

	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
		for (time_t t = around[i] - 7200; t <= around[i] + 7200; t += 29) {
			const struct cell cell = {.kind = CELL_TIME, .number = t * (int64_t)CLOCK_SECOND};
			struct tm tm;

			localtime_r(&t, &tm);
			strftime(expected, sizeof(expected), "%Y-%m-%d %H:%M:%S %Z", &tm);
			assert_string_equal(cell_print(&cell, room).p, expected);
		}
	}
	setenv("TZ", "UTC", 1);
	tzset();
}

static void hosts_are_those_that_databases_name_in_their_order(void **state)
{
	struct host *first = registry_database(hub.registry, SLICE_LIT("two"))->hosts[0];
	struct host *second = registry_database(hub.registry, SLICE_LIT("two"))->hosts[1];

	(void)state;
	first->role = HOST_PRIMARY;
	first->nservers = 3;
	first->breaker.nattempts = 2;
	second->breaker.nfailures = 7;
	second->breaker.is_open = true;
	failure_set(&second->failure, "08001", "connect failed", "Host \"127.0.0.2\".", NULL, false);
	assert_rows(&table_hosts,
		    "/tmp:5432|up|unknown|0|~|~|~|0|0\n"
		    "127.0.0.1:5432|up|primary|0|~|~|~|2|3\n"
		    "127.0.0.1:5999|up|unknown|0|~|~|~|0|0\n"
		    "127.0.0.2:5432|down|unknown|7|connect failed|Host \"127.0.0.2\".|~|0|0\n");
}

static void a_host_that_was_not_asked_is_unknown(void **state)
{
	(void)state;
	registry_reload(hub.registry, fixture_conf("[databases]\nshop = host=h\n[pgbouncer]\ninstances = 3\n"));
	assert_rows(&table_capacity, "h:5432|unknown|~|~|~|~|~|~|3|~|~|~|~|not answered yet\n");
	assert_rows(&table_capacity_use, "");
}

static void what_a_pool_needs_is_known_after_some_samples(void **state)
{
	struct pool *pool = fixture_pool("two", "ann");

	(void)state;
	fixture_pool("shop", "bob");
	for (unsigned i = 0; i < CONCURRENCY_ENOUGH; i++)
		concurrency_note(&pool->concurrency, i < 5 ? 2 : 3, false);
	assert_rows(&table_capacity_pools, "shop|bob|20|~|0|0|0.00|0|~\n"
					   "two|ann|5|~|10|0|2.50|3|3\n");
}

static void who_waits_is_told_what_for_and_why(void **state)
{
	struct pool *pool = fixture_pool("two", "ann"), *other = fixture_pool("shop", "ann");
	struct client *query = fixture_client(CLIENT_WAITING, "two", "ann");
	struct client *login = fixture_client(CLIENT_AWAIT_WELCOME, "shop", "ann");
	struct pool_server *granted;

	(void)state;
	fixture_client(CLIENT_IDLE, "two", "ann");
	pool->settings.size = 1;
	fixture_server(pool, POOL_SERVER_ACTIVE);
	pool_acquire(pool, &query->waiter, clock_us() - 1250000, &granted);
	query->peer = login->peer = (struct addr){.family = AF_UNIX, .u.pid = 4711};
	pool_await_login(other, &login->waiter, clock_us());
	other->is_paused = true;
	assert_rows(&table_waiting,
		    "1|two|ann|unix(4711):0|1|250000|query|pool_size|all server connections of the pool are in use\n"
		    "2|shop|ann|unix(4711):0|0|0|login|paused|the database is paused\n");
}

static struct stmt *prepare(enum stmt_kind kind, struct slice body)
{
	return stmts_get(hub.stmts, NULL, kind, body);
}

static void prepared_statements_come_by_id_with_who_has_them(void **state)
{
	struct stmt *made[20];
	struct strbuf expected;

	(void)state;
	assert_rows(&table_prepared_statements, "");
	strbuf_init(&expected);
	made[0] = prepare(STMT_PARSED, (struct slice){"SELECT $1\0\0\1\0\0\0\27", 16});
	made[1] = prepare(STMT_SQL, SLICE_LIT(" AS SELECT 1"));
	made[1]->version = 3;
	made[1]->nclients = 4;
	made[1]->nservers = 5;
	made[1]->nbinds = 6;
	strbuf_add_str(&expected, "pgsluice_1|parse|SELECT $1|1|0|0|0|16\npgsluice_2|sql| AS SELECT 1|3|4|5|6|12\n");
	for (unsigned i = 2; i < 20; i++) {
		char body[16];

		snprintf(body, sizeof(body), "SELECT %02u", i);
		made[i] = prepare(STMT_PARSED, slice_of(body));
		strbuf_addf(&expected, "pgsluice_%x|parse|%s|1|0|0|0|9\n", i + 1, body);
	}
	assert_rows(&table_prepared_statements, expected.p);
	strbuf_fini(&expected);
	for (unsigned i = 0; i < 20; i++)
		stmt_unref(hub.stmts, &made[i]);
}

/* A query of so many letters and then `end`: it is shown as the letters and the first `shown` bytes of the end. */
static void assert_cut(size_t letters, const char *end, size_t shown)
{
	struct strbuf query, expected;
	struct stmt *s;

	strbuf_init(&query);
	memset(strbuf_reserve(&query, letters), 'x', letters);
	query.n += letters;
	strbuf_add_str(&query, end);
	s = prepare(STMT_SQL, strbuf_slice(&query));
	strbuf_init(&expected);
	strbuf_addf(&expected, "%s|sql|%.*s|1|0|0|0|%zu\n", s->name, (int)(letters + shown), query.p, query.n);
	assert_rows(&table_prepared_statements, expected.p);
	strbuf_fini(&query);
	strbuf_fini(&expected);
	stmt_unref(hub.stmts, &s);
}

static void a_long_query_is_cut_between_two_characters(void **state)
{
	(void)state;
	assert_cut(1000, "", 0);
	assert_cut(1000, "y", 0);
	assert_cut(998, "\u00e4", 2);
	assert_cut(998, "\u00e4y", 2);
	assert_cut(999, "\u00e4", 0);
	assert_cut(998, "\u20ac", 0);
	assert_cut(997, "\U0001f418", 0);
	assert_cut(996, "\U0001f418\u00e4", 4);
	assert_cut(990, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 10);
}

static void lists_have_their_rows_in_order(void **state)
{
	size_t capacity;
	char expected[512];

	(void)state;
	fixture_client(CLIENT_IDLE, "shop", "ann");
	fixture_pool("shop", "ann");
	hub.nlogins = 3;
	capacity = slab_capacity(hub.clients);
	snprintf(expected, sizeof(expected),
		 "databases|4\nusers|3\npeers|0\npools|2\npeer_pools|0\nfree_clients|%zu\nused_clients|1\n"
		 "login_clients|3\nfree_servers|0\nused_servers|0\ndns_names|0\ndns_zones|0\ndns_queries|0\n"
		 "dns_pending|0\n", capacity - 1);
	assert_rows(&table_lists, expected);
}

static void the_version_is_one_that_monitors_know(void **state)
{
	(void)state;
	assert_rows(&table_version, "PgBouncer 1.25.2 compatible (pgsluice 9.8.7)\n");
}

static void ignore_addresses(void *arg, const struct addr_any *addresses, size_t n, const char *error)
{
	(void)arg;
	(void)addresses;
	(void)n;
	(void)error;
}

static void hosts_are_shown_with_all_their_addresses(void **state)
{
	char expected[256];
	struct strbuf addresses;
	struct dns_host_info info = {0};

	(void)state;
	assert_rows(&table_dns_hosts, "");
	assert_rows(&table_dns_zones, "");
	dns_configure(hub.dns, &(struct dns_options){.max_ttl_us = 1000 * CLOCK_SECOND});
	/* The hosts file answers at once. */
	dns_resolve(hub.dns, "localhost", ignore_addresses, NULL);
	assert_true(dns_next_host(hub.dns, &info));
	strbuf_init(&addresses);
	for (size_t i = 0; i < info.n; i++)
		strbuf_addf(&addresses, "%s%s", i > 0 ? "," : "",
			    info.addresses[i].u.sa.sa_family == AF_INET ? "127.0.0.1" : "::1");
	snprintf(expected, sizeof(expected), "localhost|%d|%s\n", (int)(info.ttl_us / CLOCK_SECOND), addresses.p);
	assert_rows(&table_dns_hosts, expected);
	strbuf_fini(&addresses);
}

static void waiting_for_servers_is_a_pause(void **state)
{
	(void)state;
	assert_rows(&table_state, "active|yes\npaused|no\nsuspended|no\n");
	hub.shutdown = SHUTDOWN_WAIT_FOR_CLIENTS;
	assert_rows(&table_state, "active|yes\npaused|no\nsuspended|no\n");
	hub.shutdown = SHUTDOWN_WAIT_FOR_SERVERS;
	assert_rows(&table_state, "active|no\npaused|yes\nsuspended|no\n");
}

/* Rows of CONFIG that have the key in question. */
static void print_port(struct row_sink *sink, const struct cell *cells)
{
	if (slice_is(cells[0].text, "listen_port") || slice_is(cells[0].text, "stats_period"))
		print_row(sink, cells);
}

static void config_tells_value_default_and_whether_it_can_change(void **state)
{
	struct text_sink t = {.sink.on_row = print_port, .ncolumns = table_config.ncolumns};

	(void)state;
	strbuf_init(&t.text);
	assert_true(table_config.rows(&report, &t.sink));
	assert_string_equal(t.text.p, "listen_port|6432|6432|no\nstats_period|10|60|yes\n");
	strbuf_fini(&t.text);
}

static void memory_adds_up(void **state)
{
	char expected[512];

	(void)state;
	fixture_client(CLIENT_IDLE, "shop", "ann");
	snprintf(expected, sizeof(expected),
		 "server_cache|%zu|0|0|0\nclient_cache|%zu|1|%zu|%zu\niobuf_cache|0|0|0|0\natom_cache|%zu|%zu|0|%zu\n",
		 slab_object_size(hub.servers), slab_object_size(hub.clients), slab_capacity(hub.clients) - 1,
		 slab_capacity(hub.clients) * slab_object_size(hub.clients), atom_memory() / atom_count(), atom_count(),
		 atom_memory());
	assert_rows(&table_mem, expected);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_hub, close_hub)
	const struct CMUnitTest tests[] = {
			TEST(columns_of_our_own_tables_are_these),
		TEST(tables_are_found_in_any_case),
		TEST(databases_come_by_name_with_the_console),
		TEST(a_removed_database_is_not_shown),
		TEST(users_are_all_that_are_known_from_anywhere),
		TEST(pools_count_their_clients_and_servers),
		TEST(stats_are_summed_over_a_databases_pools),
		TEST(averages_are_of_the_last_whole_period),
		TEST(however_small_its_pieces_are_a_table_is_the_same),
		TEST(what_goes_while_a_table_is_told_is_left_out),
		TEST(lists_count_what_the_tables_have),
		TEST(totals_keep_what_removed_databases_had),
		TEST(pools_tell_how_well_they_do),
		TEST(a_pool_that_opens_more_than_it_gives_out_reuses_nothing),
		TEST(latencies_are_of_all_pools_and_of_each),
		TEST(applications_come_by_transactions_and_the_others_last),
		TEST(the_line_for_the_log_has_pgbouncers_wording),
		TEST(clients_are_those_who_have_logged_in),
		TEST(servers_show_what_postgresql_calls_them),
		TEST(a_time_is_local_and_names_its_zone),
		TEST(times_read_as_strftime_writes_them_across_minutes_and_changes_of_clocks),
		TEST(hosts_are_those_that_databases_name_in_their_order),
		TEST(a_host_that_was_not_asked_is_unknown),
		TEST(what_a_pool_needs_is_known_after_some_samples),
		TEST(who_waits_is_told_what_for_and_why),
		TEST(prepared_statements_come_by_id_with_who_has_them),
		TEST(a_long_query_is_cut_between_two_characters),
		TEST(lists_have_their_rows_in_order),
		TEST(the_version_is_one_that_monitors_know),
		TEST(hosts_are_shown_with_all_their_addresses),
		TEST(waiting_for_servers_is_a_pause),
		TEST(config_tells_value_default_and_whether_it_can_change),
		TEST(memory_adds_up),
	};

	return cmocka_run_group_tests(tests, tempdir_enter, tempdir_leave);
}
