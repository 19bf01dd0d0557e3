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

#define DEPTH 100
#define SEEN_MAX 16
#define NOTHING (-1)

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

/* An unnamed statement with one parameter, or with none: NOTHING. */
static void send_params(PGconn *c, const char *sql, int value)
{
	char text[16];
	const char *values[1] = {text};

	snprintf(text, sizeof text, "%d", value);
	check(c, PQsendQueryParams(c, sql, value == NOTHING ? 0 : 1, NULL, values, NULL, NULL, 0), sql);
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
	PGresult *r;
	char count[96];

	send_params(me->c, "BEGIN", NOTHING);
	for (int i = 0; i < 10; i++)
		send_execute(me->c, "insert", 3, me->k, base + i, i);
	send_params(me->c, "COMMIT", NOTHING);
	send_params(me->c, "BEGIN", NOTHING);
	send_execute(me->c, "insert", 3, me->k, base + 10, 0);
	send_params(me->c, "ROLLBACK", NOTHING);
	snprintf(count, sizeof count, "SELECT count(*) FROM work WHERE client = %d AND id >= $1", me->k);
	send_params(me->c, count, base);
	sync_now(me->c);
	for (int i = 0; i < 15; i++)
		expect(me->c, PGRES_COMMAND_OK, "transaction");
	r = next_result(me->c, PGRES_TUPLES_OK, "count");
	check(me->c, atoi(PQgetvalue(r, 0, 0)) == 10, "ten rows");
	PQclear(r);
	expect_end(me->c, "count");
	expect_sync(me->c);
}

/* What follows an error is skipped up to the Sync, statements that would have been prepared too. */
static void errors(struct client *me, int base)
{
	PGconn *c = me->c;

	send_execute(c, "named", 1, base);
	send_execute(c, "zero", 1, base);
	send_prepare(c, "skipped", "SELECT $1::int + 1000");
	send_execute(c, "named", 1, base);
	sync_now(c);
	send_execute(c, "skipped", 1, base);
	sync_now(c);
	send_prepare(c, "skipped", "SELECT $1::int + 2000");
	send_execute(c, "skipped", 1, base);
	sync_now(c);
	send_prepare(c, "bad", "SELECT $1::int FROM FROM");
	sync_now(c);
	send_execute(c, "bad", 1, base);
	sync_now(c);
	send_prepare(c, "named", "SELECT 1");
	sync_now(c);
	send_execute(c, "insert", 3, me->k, base, 0);
	sync_now(c);
	send_execute(c, "plus 5", 1, base);
	sync_now(c);

	expect_number(c, base, "before the error");
	expect_error(c, "22012", "division by zero");
	expect(c, PGRES_PIPELINE_ABORTED, "prepare behind the error");
	expect(c, PGRES_PIPELINE_ABORTED, "behind the error");
	expect_sync(c);
	expect_error(c, "26000", "what was skipped");
	expect_sync(c);
	expect(c, PGRES_COMMAND_OK, "the name that was skipped");
	expect_number(c, base + 2000, "the name that was skipped");
	expect_sync(c);
	expect_error(c, "42601", "syntax error");
	expect_sync(c);
	expect_error(c, "26000", "a statement that was refused");
	expect_sync(c);
	expect_error(c, "42P05", "a name that is taken");
	expect_sync(c);
	expect_error(c, "23505", "unique violation");
	expect_sync(c);
	expect_number(c, base + 5, "behind all the errors");
	expect_sync(c);
}

/* Described, and a name whose statement was rolled back stays: PREPARE knows no transaction. */
static void describe(struct client *me, int base)
{
	PGresult *r;

	send_params(me->c, "BEGIN", NOTHING);
	send_prepare(me->c, "kept", "SELECT $1::int AS of_mine");
	send_params(me->c, "ROLLBACK", NOTHING);
	check(me->c, PQsendDescribePrepared(me->c, "kept"), "describe");
	sync_now(me->c);
	expect(me->c, PGRES_COMMAND_OK, "BEGIN");
	expect(me->c, PGRES_COMMAND_OK, "prepare");
	expect(me->c, PGRES_COMMAND_OK, "ROLLBACK");
	r = next_result(me->c, PGRES_COMMAND_OK, "describe");
	check(me->c, PQnparams(r) == 1 && PQnfields(r) == 1 && strcmp(PQfname(r, 0), "of_mine") == 0, "described");
	PQclear(r);
	expect_end(me->c, "describe");
	expect_sync(me->c);
	send_execute(me->c, "kept", 1, base);
	sync_now(me->c);
	expect_number(me->c, base, "kept");
	expect_sync(me->c);
}

/* DEALLOCATE in the middle of a pipeline, and the name for another statement behind it. */
static void closing(struct client *me, int base)
{
	send_execute(me->c, "kept", 1, base);
	send_params(me->c, "DEALLOCATE kept", NOTHING);
	send_prepare(me->c, "kept", "SELECT $1::int + 7");
	send_execute(me->c, "kept", 1, base);
	send_params(me->c, "DEALLOCATE kept", NOTHING);
	sync_now(me->c);
	send_params(me->c, "DEALLOCATE skipped", NOTHING);
	send_execute(me->c, "skipped", 1, base);
	sync_now(me->c);
	expect_number(me->c, base, "kept");
	expect(me->c, PGRES_COMMAND_OK, "DEALLOCATE");
	expect(me->c, PGRES_COMMAND_OK, "prepare");
	expect_number(me->c, base + 7, "another one");
	expect(me->c, PGRES_COMMAND_OK, "DEALLOCATE");
	expect_sync(me->c);
	expect(me->c, PGRES_COMMAND_OK, "DEALLOCATE");
	expect_error(me->c, "26000", "deallocated");
	expect_sync(me->c);
}

static void alter(const struct client *me, int base)
{
	PGconn *other = connected();
	char sql[96];

	snprintf(sql, sizeof sql, "ALTER TABLE shape_%d ADD b%d int DEFAULT %d", me->k, base, base);
	check(other, PQresultStatus(PQexec(other, sql)) == PGRES_COMMAND_OK, sql);
	PQfinish(other);
}

/* The row of a SELECT * has so many columns, the last of them with this value. */
static void check_row(struct client *me, PGresult *r, int width, int last)
{
	check(me->c, PQnfields(r) == width, "columns");
	check(me->c, atoi(PQgetvalue(r, 0, width - 1)) == last, "last column");
	PQclear(r);
	expect_end(me->c, "row");
	expect_sync(me->c);
}

/* Told that the result has changed, the same text under another name gives the new one. */
static void change_of_a_table(struct client *me, int base)
{
	char select[64], before[32], after[32];
	PGresult *r;
	int width;

	snprintf(select, sizeof select, "SELECT * FROM shape_%d", me->k);
	snprintf(before, sizeof before, "before %d", base);
	snprintf(after, sizeof after, "after %d", base);
	send_prepare(me->c, before, select);
	send_execute(me->c, before, 0);
	sync_now(me->c);
	expect(me->c, PGRES_COMMAND_OK, before);
	r = next_result(me->c, PGRES_TUPLES_OK, before);
	width = PQnfields(r);
	PQclear(r);
	expect_end(me->c, before);
	expect_sync(me->c);

	alter(me, base);
	send_execute(me->c, before, 0);
	sync_now(me->c);
	r = PQgetResult(me->c);
	if (PQresultStatus(r) == PGRES_TUPLES_OK) {
		check_row(me, r, width + 1, base);
		return;
	}
	check(me->c, strcmp(PQresultErrorField(r, PG_DIAG_SQLSTATE), "0A000") == 0, "0A000");
	check(me->c, strcmp(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "cached plan must not change result type") == 0,
	      "what a client may look for");
	PQclear(r);
	expect_end(me->c, before);
	expect_sync(me->c);
	send_prepare(me->c, after, select);
	send_execute(me->c, after, 0);
	sync_now(me->c);
	expect(me->c, PGRES_COMMAND_OK, after);
	check_row(me, next_result(me->c, PGRES_TUPLES_OK, after), width + 1, base);
}

/* Asked until it hits: the first request may come before the query has a server. */
static void cancel(struct client *me, int base)
{
	PGcancel *request = PQgetCancel(me->c);
	struct pollfd fd = {.fd = PQsocket(me->c), .events = POLLIN};
	char error[256];

	send_params(me->c, "SELECT $1::int, pg_sleep(100)", base);
	send_execute(me->c, "plus 1", 1, base);
	sync_now(me->c);
	send_execute(me->c, "plus 2", 1, base);
	sync_now(me->c);
	check(me->c, PQflush(me->c) == 0, "flush");
	while (poll(&fd, 1, 200) == 0)
		check(me->c, PQcancel(request, error, sizeof error), error);
	PQfreeCancel(request);
	expect_error(me->c, "57014", "cancelled");
	expect(me->c, PGRES_PIPELINE_ABORTED, "behind what was cancelled");
	expect_sync(me->c);
	expect_number(me->c, base + 2, "behind the Sync");
	expect_sync(me->c);
}

static void *work(void *arg)
{
	static void (*const steps[])(struct client *me, int base) = {
		named, several, one_after_the_other, unnamed, transactions, errors, describe, closing, change_of_a_table,
	};
	struct client *me = arg;

	me->c = connected();
	check(me->c, PQenterPipelineMode(me->c), "pipeline mode");
	prepare_all(me->c);
	for (int n = 0; n < rounds; n++)
		for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
			steps[i](me, 1000000 * (me->k + 1) + 1000 * n);
	if (me->k == 0)
		cancel(me, 1000000);
	PQfinish(me->c);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct client clients[64];
	int nclients = argc == 4 ? atoi(argv[2]) : 0, changed = 0;

	if (nclients < 1 || nclients > 64)
		die(NULL, "usage: libpq_pipeline PORT CLIENTS ROUNDS");
	port = argv[1];
	rounds = atoi(argv[3]);
	for (int k = 0; k < nclients; k++) {
		clients[k].k = k;
		if (pthread_create(&clients[k].thread, NULL, work, &clients[k]) != 0)
			die(NULL, "pthread_create");
	}
	for (int k = 0; k < nclients; k++) {
		pthread_join(clients[k].thread, NULL);
		changed += clients[k].nseen > 1;
	}
	printf("done %d\n", changed);
	return 0;
}
