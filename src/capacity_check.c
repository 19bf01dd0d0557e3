#include "capacity_check.h"

#include <stdlib.h>
#include <string.h>

#include "report/tables.h"
#include "session/host_session.h"

/* The one automatic database that stands for all: every server has it. */
#define ANY_DATABASE "postgres"

/* ------------------------------------------------------------------ a hub without sessions */

/* Neither clients nor pools are ever made here. */
static bool on_pool(void *arg, struct pool *pool)
{
	(void)arg;
	(void)pool;
	return false;
}

static void on_pool_freed(void *arg, struct pool *pool)
{
	(void)arg;
	(void)pool;
}

static bool on_user(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
	return false;
}

static void on_user_freed(void *arg, struct user *user)
{
	(void)arg;
	(void)user;
}

static void on_database(void *arg, struct database *db)
{
	(void)arg;
	(void)db;
}

static void on_host_gone(void *arg, struct host *host)
{
	(void)arg;
	host_session_free(host);
}

static bool make_hub(struct hub *hub, struct conf *conf)
{
	const struct registry_hooks hooks = {.on_pool = on_pool,
					     .on_pool_freed = on_pool_freed,
					     .on_user = on_user,
					     .on_user_freed = on_user_freed,
					     .on_database_changed = on_database,
					     .on_database_removed = on_database,
					     .on_auto_database = on_database};
	const struct settings *s = &conf->s;
	const struct dns_options dns = {.resolv_conf = s->resolv_conf,
					.max_ttl_us = (uint64_t)s->dns_max_ttl,
					.nxdomain_ttl_us = (uint64_t)s->dns_nxdomain_ttl};
	const char *why = "out of memory";

	hub->loop = loop_new();
	hub->registry = registry_new(conf, &hooks);
	if (hub->registry == NULL)
		conf_unref(&conf);
	else
		hosts_on_gone(registry_hosts(hub->registry), on_host_gone, NULL);
	if (hub->loop != NULL)
		hub->dns = dns_new(hub->loop, &dns, &why);
	if (hub->registry != NULL && hub->dns != NULL)
		return true;
	fprintf(stderr, "%s\n", why);
	return false;
}

static void drop_hub(struct hub *hub)
{
	registry_free(hub->registry);
	dns_free(hub->dns);
	if (hub->loop != NULL)
		loop_free(hub->loop);
}

/* ------------------------------------------------------------------ asking */

static void on_idle(void *arg)
{
	loop_stop(arg);
}

static void ask_all(struct hub *hub)
{
	/* The hosts of the "*" entry belong to a database as soon as there is one. */
	registry_database(hub->registry, SLICE_LIT(ANY_DATABASE));
	hub->capacity.on_idle = on_idle;
	hub->capacity.arg = hub->loop;
	capacity_ask(hub);
	if (hub->capacity.nasking > 0)
		loop_run(hub->loop);
	hub->capacity.on_idle = NULL;
}

/* ------------------------------------------------------------------ printing */

#define MOST_COLUMNS 16

/* Goes through the rows twice: the widths first. */
struct text_sink {
	struct row_sink sink;
	const struct table *table;
	FILE *out;                       /* NULL: measures */
	int widths[MOST_COLUMNS];
};

/* Names that a server tells may hold anything. */
static void print_clean(FILE *out, struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		fputc((unsigned char)text.p[i] < ' ' || text.p[i] == '\x7f' ? '?' : text.p[i], out);
}

static void put_cell(struct text_sink *t, size_t i, struct slice text)
{
	int width = (int)text.n;

	if (t->out == NULL) {
		if (width > t->widths[i])
			t->widths[i] = width;
		return;
	}
	print_clean(t->out, text);
	if (i + 1 < t->table->ncolumns)
		fprintf(t->out, "%*s", t->widths[i] - width + 2, "");
	else
		fputc('\n', t->out);
}

static void on_row(struct row_sink *sink, const struct cell *cells)
{
	struct text_sink *t = (struct text_sink *)sink;
	char room[CELL_ROOM];

	for (size_t i = 0; i < t->table->ncolumns; i++)
		put_cell(t, i, cells[i].kind == CELL_NULL ? SLICE_LIT("-") : cell_print(&cells[i], room));
}

static void put_head(struct text_sink *t)
{
	for (size_t i = 0; i < t->table->ncolumns; i++)
		put_cell(t, i, slice_of(t->table->columns[i].name));
}

static bool print_table(const struct table *table, const struct report *report, FILE *out)
{
	struct text_sink t = {.sink.on_row = on_row, .table = table};

	put_head(&t);
	if (!table_tell(table, report, &t.sink))
		return false;
	t.out = out;
	put_head(&t);
	return table_tell(table, report, &t.sink);
}

/* ------------------------------------------------------------------ the result */

static enum capacity_result result_of(const struct hub *hub)
{
	const struct hosts *hosts = registry_hosts(hub->registry);
	enum capacity_result worst = CAPACITY_CHECK_OK;
	unsigned nhosts = 0;

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h)) {
		struct capacity_finding f;

		if (!capacity_find(hub, h, &f))
			continue;
		nhosts++;
		if (!f.has_answer)
			return CAPACITY_CHECK_UNKNOWN;
		if (f.verdict.state != CAPACITY_OK)
			worst = CAPACITY_CHECK_WARNS;
	}
	return nhosts == 0 ? CAPACITY_CHECK_UNKNOWN : worst;
}

enum capacity_result capacity_check(struct conf *conf, FILE *out)
{
	struct hub hub = {0};
	const struct report report = {.hub = &hub};
	enum capacity_result result = CAPACITY_CHECK_UNKNOWN;

	if (make_hub(&hub, conf)) {
		ask_all(&hub);
		if (print_table(&table_capacity, &report, out) && fputc('\n', out) != EOF &&
		    print_table(&table_capacity_use, &report, out))
			result = result_of(&hub);
	}
	drop_hub(&hub);
	return result;
}
