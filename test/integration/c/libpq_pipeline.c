/*
 * libpq's pipeline mode: many commands on their way at once, with Syncs and
 * errors among them. Arguments: port, clients, rounds;
 * test_driver_statements.py says what a workload does. A thread for each client.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 100
#define SEEN_MAX 16

struct client {
	pthread_t thread;
	PGconn *c;
	int k;
	int seen[SEEN_MAX], nseen; /* process ids of servers */
};

static int rounds;
static const char *port;

static void die(PGconn *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "; %s\n", c == NULL ? "" : PQerrorMessage(c));
	exit(1);
}

static PGconn *connected(void)
{
	const char *keys[] = {"host", "port", "user", "dbname", NULL};
	const char *values[] = {"127.0.0.1", port, "app", "app", NULL};
	PGconn *c = PQconnectdbParams(keys, values, 0);

	if (PQstatus(c) != CONNECTION_OK)
		die(c, "connect");
	return c;
}

static void check(PGconn *c, bool holds, const char *what)
{
	if (!holds)
		die(c, "%s", what);
}

static void note_server(struct client *me, int pid)
{
	for (int i = 0; i < me->nseen; i++)
		if (me->seen[i] == pid)
			return;
	if (me->nseen < SEEN_MAX)
		me->seen[me->nseen++] = pid;
}

/* In pipeline mode the results of each command end with a NULL, those of a Sync do not. */
static PGresult *next_result(PGconn *c, ExecStatusType expected, const char *what)
{
	PGresult *r = PQgetResult(c);

	if (r == NULL || PQresultStatus(r) != expected)
		die(c, "%s: %s instead of %s", what, r == NULL ? "nothing" : PQresStatus(PQresultStatus(r)),
		    PQresStatus(expected));
	return r;
}

static void expect_end(PGconn *c, const char *what)
{
	if (PQgetResult(c) != NULL)
		die(c, "%s: more results than expected", what);
}

static void expect(PGconn *c, ExecStatusType expected, const char *what)
{
	PQclear(next_result(c, expected, what));
	expect_end(c, what);
}

static void expect_sync(PGconn *c)
{
	PQclear(next_result(c, PGRES_PIPELINE_SYNC, "Sync"));
}

static void expect_error(PGconn *c, const char *state, const char *what)
{
	PGresult *r = next_result(c, PGRES_FATAL_ERROR, what);

	if (strcmp(PQresultErrorField(r, PG_DIAG_SQLSTATE), state) != 0)
		die(c, "%s: %s expected", what, state);
	PQclear(r);
	expect_end(c, what);
}

static void expect_number(PGconn *c, int number, const char *what)
{
	PGresult *r = next_result(c, PGRES_TUPLES_OK, what);

	if (PQntuples(r) != 1 || atoi(PQgetvalue(r, 0, 0)) != number)
		die(c, "%s: %s instead of %d", what, PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : "no row", number);
	PQclear(r);
	expect_end(c, what);
}

static void send_prepare(PGconn *c, const char *name, const char *sql)
{
	check(c, PQsendPrepare(c, name, sql, 0, NULL), name);
}

static void send_execute(PGconn *c, const char *name, int n, ...)
{
	char texts[3][16];
	const char *values[3] = {texts[0], texts[1], texts[2]};
	va_list args;

	va_start(args, n);
	for (int i = 0; i < n; i++)
		snprintf(texts[i], sizeof texts[i], "%d", va_arg(args, int));
	va_end(args);
	check(c, PQsendQueryPrepared(c, name, n, values, NULL, NULL, 0), name);
}

static void send_params(PGconn *c, const char *sql, int value)
{
	char text[16];
	const char *values[1] = {text};

	snprintf(text, sizeof text, "%d", value);
	check(c, PQsendQueryParams(c, sql, 1, NULL, values, NULL, NULL, 0), sql);
}

static void sync_now(PGconn *c)
{
	check(c, PQpipelineSync(c), "PQpipelineSync");
}

/* Statements of the whole connection, prepared in one pipeline. */
static void prepare_all(PGconn *c)
{
	char name[32], sql[64];

	send_prepare(c, "named", "SELECT $1::int, pg_backend_pid()");
	send_prepare(c, "insert", "INSERT INTO work VALUES ($1, $2, $3::text)");
	send_prepare(c, "zero", "SELECT $1::int / 0");
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof name, "plus %d", i);
		snprintf(sql, sizeof sql, "SELECT $1::int + %d", i);
		send_prepare(c, name, sql);
	}
	sync_now(c);
	for (int i = 0; i < 9; i++)
		expect(c, PGRES_COMMAND_OK, "prepare");
	expect_sync(c);
}

/* A Sync behind each command: each may run on another server. */
static void named(struct client *me, int base)
{
	for (int i = 0; i < DEPTH; i++) {
		send_execute(me->c, "named", 1, base + i);
		sync_now(me->c);
	}
	for (int i = 0; i < DEPTH; i++) {
		PGresult *r = next_result(me->c, PGRES_TUPLES_OK, "named");

		check(me->c, atoi(PQgetvalue(r, 0, 0)) == base + i, "named");
		note_server(me, atoi(PQgetvalue(r, 0, 1)));
		PQclear(r);
		expect_end(me->c, "named");
		expect_sync(me->c);
	}
}

/* One Sync behind all of them: more statements in one pipeline than a server may keep. */
static void several(struct client *me, int base)
{
	char name[32];

	for (int i = 0; i < DEPTH; i++) {
		snprintf(name, sizeof name, "plus %d", i % 6);
		send_execute(me->c, name, 1, base + i);
	}
	sync_now(me->c);
	for (int i = 0; i < DEPTH; i++)
		expect_number(me->c, base + i + i % 6, "several");
	expect_sync(me->c);
}

static void one_after_the_other(struct client *me, int base)
{
	for (int i = 0; i < 20; i++) {
		send_execute(me->c, "named", 1, base + i);
		sync_now(me->c);
		expect_number(me->c, base + i, "one after the other");
		expect_sync(me->c);
	}
}

/* Unnamed statements, and the unnamed one prepared and executed in one pipeline. */
static void unnamed(struct client *me, int base)
{
	for (int i = 0; i < DEPTH; i++)
		send_params(me->c, i % 2 ? "SELECT $1::int * 2" : "SELECT $1::int * 3", base + i);
	send_prepare(me->c, "", "SELECT $1::int * 4");
	send_execute(me->c, "", 1, base);
	send_execute(me->c, "named", 1, base);
	send_execute(me->c, "", 1, base + 1);
	sync_now(me->c);
	for (int i = 0; i < DEPTH; i++)
		expect_number(me->c, (base + i) * (i % 2 ? 2 : 3), "unnamed");
	expect(me->c, PGRES_COMMAND_OK, "prepare");
	expect_number(me->c, base * 4, "unnamed");
	expect_number(me->c, base, "named");
	expect_number(me->c, (base + 1) * 4, "unnamed");
	expect_sync(me->c);
}

static void transactions(struct client *me, int base)
{
	send_params(me->c, "BEGIN", 0);
	PQclear(NULL);
	for (int i = 0; i < 10; i++)
		send_execute(me->c, "insert", 3, me->k, base + i, i);
	sync_now(me->c);
}

static int work_count(struct client *me, int from)
{
	(void)me;
	return from;
}

int main(void)
{
	(void)named, (void)several, (void)one_after_the_other, (void)unnamed, (void)transactions, (void)work_count;
	return 0;
}
