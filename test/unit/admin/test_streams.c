#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "admin/console.h"
#include "admin/telling.h"
#include "report/tables.h"

#include "../report/fixture.h"

#define CLIENTS 1000

/* More rows than a turn is to make. */
#define MANY 300

static struct console console;
static const struct admin_actions actions = {.version = "9.8.7", .listen_port = 6432};

static int open_console(void **state)
{
	(void)state;
	fixture_open("[databases]\nshop = host=127.0.0.1\n* = host=127.0.0.1\n[pgbouncer]\nadmin_users = boss\n");
	console_init(&console, &hub, &actions);
	for (int i = 0; i < CLIENTS; i++)
		fixture_client(CLIENT_IDLE, "shop", "ann");
	return 0;
}

static int close_console(void **state)
{
	(void)state;
	console_fini(&console);
	fixture_close();
	return 0;
}

static const struct conn_ops no_ops;

/* A console client with room for a whole table in its socket. */
static struct client *connected(int *end)
{
	struct client *c = fixture_client(CLIENT_CONSOLE, NULL, "boss");
	int pair[2], room = 4 * 1024 * 1024;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0 ||
			 setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) == 0, true);
	conn_open(&c->conn, hub.loop, pair[0], &no_ops);
	*end = pair[1];
	return c;
}

static void disconnect(struct client *c, int end)
{
	hub.console->on_gone(c);
	close(end);
	ev_io_stop(hub.loop->ev, &c->conn.io);
	close(c->conn.io.fd);
	c->conn.is_open = false;
}

static unsigned rows_in(const char *p, size_t n)
{
	unsigned rows = 0;

	for (size_t at = 0; at < n;) {
		const uint8_t *h = (const uint8_t *)p + at;

		rows += p[at] == 'D';
		at += 1 + ((size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4]);
	}
	return rows;
}

/* How many rows the answer begins with before the loop turns. */
static unsigned ask(struct client *c, const char *sql)
{
	struct strbuf out;
	unsigned rows;

	strbuf_init(&out);
	assert_true(hub.console->on_query(c, slice_of(sql), &out));
	rows = rows_in(out.p, out.n);
	strbuf_fini(&out);
	return rows;
}

/* Rows that have come to this end: whole messages, as each turn writes them. */
static unsigned hear(int end)
{
	static char room[1024 * 1024];
	ssize_t n = read(end, room, sizeof(room));

	return n <= 0 ? 0 : rows_in(room, (size_t)n);
}

static void turn(void)
{
	ev_run(hub.loop->ev, EVRUN_NOWAIT);
}

/* How many rows come of it, some in each turn. */
static unsigned rows_of(const char *sql)
{
	int end;
	struct client *c = connected(&end);
	unsigned total = ask(c, sql), turns = 0;

	assert_in_range(total, 1, MANY);
	while (hub.console->is_telling(c) && turns++ < CLIENTS) {
		unsigned rows;

		turn();
		rows = hear(end);
		assert_in_range(rows, 1, MANY);
		total += rows;
	}
	disconnect(c, end);
	return total;
}

static void a_turn_makes_some_hundred_rows_and_the_next_goes_on(void **state)
{
	(void)state;
	assert_int_equal(rows_of("show clients"), CLIENTS + 1);
}

static void so_it_is_with_databases_pools_and_users(void **state)
{
	(void)state;
	for (int i = 0; i < CLIENTS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "one%d", i);
		fixture_pool(name, name);
	}
	/* The console everywhere, shop, its client ann, the console's boss. */
	assert_int_equal(rows_of("show databases"), CLIENTS + 2);
	assert_int_equal(rows_of("show pools"), CLIENTS + 1);
	assert_int_equal(rows_of("show pool_stats"), CLIENTS);
	assert_int_equal(rows_of("show capacity_pools"), CLIENTS);
	assert_int_equal(rows_of("show users"), CLIENTS + 3);
	assert_int_equal(rows_of("show stats"), CLIENTS + 1);
	assert_int_equal(rows_of("show stats_totals"), CLIENTS + 1);
	assert_int_equal(rows_of("show stats_averages"), CLIENTS + 1);
	assert_int_equal(rows_of("show prepared_stats"), CLIENTS + 1);
}

static void so_it_is_with_prepared_statements(void **state)
{
	static struct stmt *made[CLIENTS];
	char text[32];

	(void)state;
	for (int i = 0; i < CLIENTS; i++) {
		snprintf(text, sizeof(text), "SELECT %d", i);
		made[i] = stmts_get(hub.stmts, NULL, STMT_SQL, slice_of(text));
	}
	assert_int_equal(rows_of("show prepared_statements"), CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		stmt_unref(hub.stmts, &made[i]);
}

static void many_consoles_share_what_a_turn_makes(void **state)
{
	enum { CONSOLES = 8 };
	struct client *c[CONSOLES];
	unsigned rows[CONSOLES], total = 0;
	int end[CONSOLES];

	(void)state;
	for (int i = 0; i < CONSOLES; i++)
		c[i] = connected(&end[i]);
	for (int i = 0; i < CONSOLES; i++)
		total += rows[i] = ask(c[i], "show sockets");
	assert_in_range(total, 1, MANY);
	for (int turns = 0; turns < CONSOLES * CLIENTS; turns++) {
		total = 0;
		turn();
		for (int i = 0; i < CONSOLES; i++) {
			unsigned more = hear(end[i]);

			rows[i] += more;
			total += more;
		}
		assert_in_range(total, 0, MANY);
	}
	for (int i = 0; i < CONSOLES; i++) {
		assert_false(hub.console->is_telling(c[i]));
		assert_int_equal(rows[i], CLIENTS + CONSOLES);
		disconnect(c[i], end[i]);
	}
}

static void what_is_closed_and_made_anew_meanwhile_is_told_at_most_once(void **state)
{
	int end;
	struct client *c = connected(&end);
	unsigned total = ask(c, "show clients");

	(void)state;
	for (uint32_t i = 0; i < CLIENTS; i += 2) {
		struct client *other = slab_at(hub.clients, i);

		if (other == NULL || other == c)
			continue;
		paramset_unref(hub.params, &other->params);
		slab_give(hub.clients, other);
	}
	for (int turns = 0; hub.console->is_telling(c) && turns < CLIENTS; turns++) {
		turn();
		total += hear(end);
	}
	assert_false(hub.console->is_telling(c));
	assert_in_range(total, CLIENTS / 2, CLIENTS - 1);
	disconnect(c, end);
}

/* So many rows of LATENCY are told, and no pool is looked at that the budget is not for. */
static unsigned tell(struct telling *t, unsigned *budget, uint32_t most)
{
	const struct report report = {.hub = &hub};
	uint32_t left = most;
	unsigned before = *budget, rows;
	struct strbuf out;

	strbuf_init(&out);
	assert_int_not_equal(telling_go_on(t, &report, budget, &left, &out), TOLD_OUT_OF_MEMORY);
	rows = rows_in(out.p, out.n);
	strbuf_fini(&out);
	assert_in_range(rows, 0, most);
	assert_int_equal(left, most - rows);
	assert_in_range(*budget, 0, before);
	return rows;
}

static void a_pool_with_several_rows_brings_no_more_of_them_than_are_asked_for(void **state)
{
	enum { POOLS = 10, KINDS = 2 };
	unsigned total = 0, rows, budget = 100;
	struct telling t;

	(void)state;
	for (int i = 0; i < POOLS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "one%d", i);
		pool_record(fixture_pool(name, "ann"), LATENCY_WAIT, 1);
		pool_record(fixture_pool(name, "ann"), LATENCY_QUERY, 1);
	}
	telling_init(&t, &table_latency, 0);
	while ((rows = tell(&t, &budget, 3)) > 0)
		total += rows;
	telling_end(&t);
	assert_int_equal(total, POOLS * KINDS + LATENCY_KINDS);
}

static void a_client_that_goes_takes_its_stream_along(void **state)
{
	int end;
	struct client *c = connected(&end);

	(void)state;
	ask(c, "show clients");
	assert_true(hub.console->is_telling(c));
	disconnect(c, end);
	turn();
	assert_false(hub.console->is_telling(c));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_console, close_console)
	const struct CMUnitTest tests[] = {
		TEST(a_turn_makes_some_hundred_rows_and_the_next_goes_on),
		TEST(so_it_is_with_databases_pools_and_users),
		TEST(so_it_is_with_prepared_statements),
		TEST(many_consoles_share_what_a_turn_makes),
		TEST(what_is_closed_and_made_anew_meanwhile_is_told_at_most_once),
		TEST(a_pool_with_several_rows_brings_no_more_of_them_than_are_asked_for),
		TEST(a_client_that_goes_takes_its_stream_along),
	};

	return cmocka_run_group_tests(tests, tempdir_enter_quietly, tempdir_leave);
}
