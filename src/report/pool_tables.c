/*
 * POOLS, DATABASES, USERS.
 */
#include "report/tables.h"

#include "base/clock.h"
#include "report/subjects.h"
#include "session/cancel_request.h"
#include "session/server.h"

/* The pool_mode under which the console shows itself. */
#define CONSOLE_POOL_MODE POOL_MODE_STATEMENT
#define CONSOLE_POOL_SIZE 2

static const char *mode_word(enum pool_mode mode)
{
	return setting_choice_word(SETTING_pool_mode, (int)mode);
}

static int64_t whole_seconds(uint64_t us)
{
	return (int64_t)(us / CLOCK_SECOND);
}

/* --- POOLS --- */

struct pool_row {
	struct slice database, user;
	unsigned cl_active, cl_waiting, cancels, waiting_cancels, nservers[POOL_SERVER_STATE_COUNT], used;
	uint64_t maxwait_us;
	const char *mode, *load_balance;
};

#define POOLS_COLUMNS(X)                                                                \
	X(database, TEXT, cell_slice(p->database))                                      \
	X(user, TEXT, cell_slice(p->user))                                              \
	X(cl_active, INT4, cell_number(p->cl_active))                                   \
	X(cl_waiting, INT4, cell_number(p->cl_waiting))                                 \
	X(cl_active_cancel_req, INT4, cell_number(p->cancels))                          \
	X(cl_waiting_cancel_req, INT4, cell_number(p->waiting_cancels))                 \
	X(sv_active, INT4, cell_number(p->nservers[POOL_SERVER_ACTIVE]))                \
	X(sv_active_cancel, INT4, cell_number(p->cancels))                              \
	X(sv_being_canceled, INT4, cell_number(p->nservers[POOL_SERVER_BEING_CANCELED])) \
	X(sv_idle, INT4, cell_number(p->nservers[POOL_SERVER_IDLE] - p->used))          \
	X(sv_used, INT4, cell_number(p->used))                                          \
	X(sv_tested, INT4, cell_number(p->nservers[POOL_SERVER_TESTED]))                \
	X(sv_login, INT4, cell_number(p->nservers[POOL_SERVER_NEW]))                    \
	X(maxwait, INT4, cell_number(whole_seconds(p->maxwait_us)))                     \
	X(maxwait_us, INT4, cell_number((int64_t)(p->maxwait_us % CLOCK_SECOND)))       \
	X(pool_mode, TEXT, cell_text(p->mode))                                          \
	X(load_balance_hosts, TEXT, cell_text(p->load_balance))

/* A cancel request under way is a client that asks and a connection that carries it. */
static void count_cancels(const struct hub *hub, const struct pool *pool, struct pool_row *row)
{
	const struct server *s;
	uint32_t index = 0;

	if (TAILQ_EMPTY(&hub->cancels))
		return;
	while ((s = slab_next(hub->servers, &index)) != NULL) {
		if (s->slot.pool != pool || s->phase == SERVER_CLOSED)
			continue;
		row->cancels += s->ncancels;
		row->waiting_cancels += s->cancel != NULL && cancel_request_waits(s->cancel);
	}
}

static unsigned count_used(const struct pool *pool, uint64_t now)
{
	const struct pool_server *s;
	unsigned n = 0;

	TAILQ_FOREACH(s, &pool->idle, link)
		n += server_is_used(s, now);
	return n;
}

static void read_pool(const struct report *r, const struct pool *pool, struct pool_row *row)
{
	uint64_t now = clock_us();

	row->cl_active = pool->nclients - pool->nwaiting;
	row->cl_waiting = pool->nwaiting + pool->nlogins;
	memcpy(row->nservers, pool->nservers, sizeof(row->nservers));
	row->used = count_used(pool, now);
	row->maxwait_us = pool_maxwait_us(pool, now);
	row->mode = mode_word(pool->settings.mode);
	row->load_balance = load_balance_word(registry_conf(r->hub->registry), pool->database->conf);
	count_cancels(r->hub, pool, row);
}

static bool pools_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	struct pool_row row = {.database = subject->name, .user = subject->user};
	const struct pool_row *p = &row;

	if (subject->pool != NULL) {
		read_pool(r, subject->pool, &row);
	} else {
		row.cl_active = console_client_count(r->hub);
		row.mode = mode_word(CONSOLE_POOL_MODE);
	}
	sink->on_row(sink, (const struct cell[]){POOLS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told pools_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return subjects_piece(&subject_pools, r, place, most, sink, pools_row);
}

static const struct column pools_columns[] = {POOLS_COLUMNS(TABLE_COLUMN)};
const struct table table_pools = TABLE_IN_PIECES("POOLS", pools_columns, pools_piece);

/* --- DATABASES --- */

struct database_row {
	struct slice name;
	struct cell host;
	int port;
	const char *dbname, *user, *mode, *load_balance;
	int64_t pool_size, min_pool_size, reserve_pool_size;
	uint64_t lifetime_us;
	int64_t max_servers, nservers, max_clients, nclients;
	bool is_paused, is_disabled;
};

#define DATABASES_COLUMNS(X)                                                  \
	X(name, TEXT, cell_slice(d->name))                                    \
	X(host, TEXT, d->host)                                                \
	X(port, INT4, cell_number(d->port))                                   \
	X(database, TEXT, cell_text(d->dbname))                               \
	X(force_user, TEXT, cell_text(d->user))                               \
	X(pool_size, INT4, cell_number(d->pool_size))                         \
	X(min_pool_size, INT4, cell_number(d->min_pool_size))                 \
	X(reserve_pool_size, INT4, cell_number(d->reserve_pool_size))         \
	X(server_lifetime, INT4, cell_number(whole_seconds(d->lifetime_us)))  \
	X(pool_mode, TEXT, cell_text(d->mode))                                \
	X(load_balance_hosts, TEXT, cell_text(d->load_balance))               \
	X(max_connections, INT4, cell_number(d->max_servers))                 \
	X(current_connections, INT4, cell_number(d->nservers))                \
	X(max_client_connections, INT4, cell_number(d->max_clients))          \
	X(current_client_connections, INT4, cell_number(d->nclients))         \
	X(paused, INT4, cell_number(d->is_paused))                            \
	X(disabled, INT4, cell_number(d->is_disabled))

/* As the file has it; null when it names none and the Unix socket directory, put in its place, serves. */
static struct cell host_cell(const struct conf *conf, const struct conf_database *db, struct strbuf *text)
{
	if (db->nhosts == 1 && db->hosts[0].host == conf->s.unix_socket_dir)
		return cell_null();
	if (db->nhosts == 1)
		return cell_text(db->hosts[0].host);
	for (size_t i = 0; i < db->nhosts; i++) {
		if (i > 0)
			strbuf_add_char(text, ',');
		strbuf_add_str(text, db->hosts[i].host);
	}
	return cell_slice(strbuf_slice(text));
}

static void read_database(const struct conf *conf, const struct database *db, struct database_row *row)
{
	const struct conf_database *c = db->conf;

	row->port = c->hosts[0].port;
	row->dbname = database_server_name(db);
	row->user = c->user;
	row->pool_size = conf_effective(conf, SETTING_default_pool_size, c, NULL);
	row->min_pool_size = conf_effective(conf, SETTING_min_pool_size, c, NULL);
	row->reserve_pool_size = conf_effective(conf, SETTING_reserve_pool_size, c, NULL);
	row->lifetime_us = (uint64_t)conf_effective(conf, SETTING_server_lifetime, c, NULL);
	row->mode = c->overrides.is_set[SETTING_pool_mode] ?
		mode_word((enum pool_mode)c->overrides.number[SETTING_pool_mode]) : NULL;
	row->load_balance = load_balance_word(conf, c);
	row->max_servers = conf_effective(conf, SETTING_max_db_connections, c, NULL);
	row->nservers = database_server_count(db);
	row->max_clients = conf_effective(conf, SETTING_max_db_client_connections, c, NULL);
	row->nclients = db->nclients;
	row->is_paused = db->is_paused;
	row->is_disabled = db->is_disabled;
}

/* As PgBouncer shows it. */
static void describe_console(const struct report *r, struct database_row *row)
{
	const struct settings *s = hub_settings(r->hub);

	row->port = r->listen_port;
	row->dbname = CONSOLE_NAME;
	row->user = CONSOLE_NAME;
	row->pool_size = CONSOLE_POOL_SIZE;
	row->lifetime_us = (uint64_t)s->server_lifetime;
	row->mode = mode_word(CONSOLE_POOL_MODE);
	row->max_servers = s->max_db_connections;
	row->max_clients = s->max_db_client_connections;
	row->nclients = console_client_count(r->hub);
}

static bool databases_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	const struct conf *conf = registry_conf(r->hub->registry);
	struct database_row row = {.name = subject->name, .host = cell_null()};
	const struct database_row *d = &row;
	struct strbuf host;
	bool ok;

	strbuf_init(&host);
	if (subject->database == NULL) {
		describe_console(r, &row);
	} else {
		read_database(conf, subject->database, &row);
		row.host = host_cell(conf, subject->database->conf, &host);
	}
	ok = !host.failed;
	if (ok)
		sink->on_row(sink, (const struct cell[]){DATABASES_COLUMNS(TABLE_CELL)});
	strbuf_fini(&host);
	return ok;
}

static enum told databases_piece(const struct report *r, struct table_place *place, unsigned most,
				 struct row_sink *sink)
{
	return subjects_piece(&subject_databases, r, place, most, sink, databases_row);
}

static const struct column databases_columns[] = {DATABASES_COLUMNS(TABLE_COLUMN)};
const struct table table_databases = TABLE_IN_PIECES("DATABASES", databases_columns, databases_piece);

/* --- USERS --- */

#define USERS_COLUMNS(X)                                                                              \
	X(name, TEXT, cell_slice(u->name))                                                            \
	X(pool_size, TEXT, size_cell(o, SETTING_default_pool_size, pool_size))                        \
	X(reserve_pool_size, TEXT, size_cell(o, SETTING_reserve_pool_size, reserve))                  \
	X(pool_mode, TEXT, cell_text(user_mode(o)))                                                   \
	X(max_user_connections, INT4, user_limit(r, SETTING_max_user_connections, u))                 \
	X(current_connections, INT4, cell_number(u->seen == NULL ? 0 : u->seen->cap.count))           \
	X(max_user_client_connections, INT4, user_limit(r, SETTING_max_user_client_connections, u))   \
	X(current_client_connections, INT4, cell_number(u->seen == NULL ? 0 : u->seen->nclients))

/* A user's own value; in PgBouncer's form, which is text of 9 columns, and empty when there is none. */
static struct cell size_cell(const struct conf_overrides *o, enum setting_id id, char room[CELL_ROOM])
{
	struct strbuf text;

	strbuf_init_fixed(&text, room, CELL_ROOM);
	if (o != NULL && o->is_set[id])
		strbuf_addf(&text, "%9lld", (long long)o->number[id]);
	return cell_slice(strbuf_slice(&text));
}

static const char *user_mode(const struct conf_overrides *o)
{
	if (o == NULL || !o->is_set[SETTING_pool_mode])
		return NULL;
	return mode_word((enum pool_mode)o->number[SETTING_pool_mode]);
}

static struct cell user_limit(const struct report *r, enum setting_id id, const struct subject *u)
{
	return cell_number(conf_effective(registry_conf(r->hub->registry), id, NULL, u->conf));
}

static bool users_row(const struct report *r, struct row_sink *sink, const struct subject *u)
{
	const struct conf_overrides *o = u->conf == NULL ? NULL : &u->conf->overrides;
	char pool_size[CELL_ROOM], reserve[CELL_ROOM];

	sink->on_row(sink, (const struct cell[]){USERS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told users_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return subjects_piece(&subject_users, r, place, most, sink, users_row);
}

static const struct column users_columns[] = {USERS_COLUMNS(TABLE_COLUMN)};
const struct table table_users = TABLE_IN_PIECES("USERS", users_columns, users_piece);
