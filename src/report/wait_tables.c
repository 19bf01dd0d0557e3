/*
 * HOSTS and WAITING: where connections go, and who waits for one and why.
 */
#include "report/tables.h"

#include "base/clock.h"
#include "pool/host.h"
#include "session/client.h"
#include "session/server.h"

/* --- HOSTS --- */

#define HOSTS_COLUMNS(X)                                                           \
	X(address, TEXT, cell_text(h->key))                                        \
	X(state, TEXT, cell_text(host_state_text(h)))                              \
	X(role, TEXT, cell_text(host_role_text(h)))                                \
	X(failures, INT4, cell_number(h->breaker.nfailures))                       \
	X(last_error, TEXT, cell_text(failure_text(h->failure.message)))           \
	X(last_detail, TEXT, cell_text(failure_text(h->failure.detail)))           \
	X(next_try, TIME, h->breaker.backoff.retry_at == 0 ? cell_null() : cell_time(h->breaker.backoff.retry_at)) \
	X(connecting, INT4, cell_number(h->breaker.nattempts))                     \
	X(servers, INT4, cell_number(h->nservers))

static bool hosts_rows(const struct report *r, struct row_sink *sink)
{
	const struct hosts *hosts = registry_hosts(r->hub->registry);

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h))
		sink->on_row(sink, (const struct cell[]){HOSTS_COLUMNS(TABLE_CELL)});
	return true;
}

static const struct column hosts_columns[] = {HOSTS_COLUMNS(TABLE_COLUMN)};
const struct table table_hosts = TABLE("HOSTS", hosts_columns, hosts_rows);

/* --- WAITING --- */

#define WAITING_COLUMNS(X)                                                            \
	X(id, INT4, cell_number((int64_t)c->id))                                      \
	X(database, TEXT, cell_text(client_database_name(c)))                         \
	X(user, TEXT, cell_text(client_user_name(c)))                                 \
	X(addr, TEXT, cell_slice(strbuf_slice(&addr)))                                \
	X(wait, INT4, cell_number((int64_t)(waited / CLOCK_SECOND)))                  \
	X(wait_us, INT4, cell_number((int64_t)(waited % CLOCK_SECOND)))               \
	X(wait_for, TEXT, cell_text(c->waiter.is_for_login ? "login" : "query"))      \
	X(reason, TEXT, cell_text(pool_hold_word(hold)))                              \
	X(detail, TEXT, cell_text(pool_hold_text(hold)))

static void tell_waiting(struct row_sink *sink, const struct pool_clients *list, enum pool_hold hold)
{
	const struct pool_client *w;
	uint64_t now = clock_us();
	char room[CELL_ROOM];
	struct strbuf addr;

	TAILQ_FOREACH(w, list, link) {
		const struct client *c = (const struct client *)((const char *)w - offsetof(struct client, waiter));
		uint64_t waited = now - w->waiting_since;

		strbuf_init_fixed(&addr, room, sizeof(room));
		addr_print(&c->peer, &addr);
		sink->on_row(sink, (const struct cell[]){WAITING_COLUMNS(TABLE_CELL)});
	}
}

/* Of each pool those who have waited longest come first. */
static bool waiting_rows(const struct report *r, struct row_sink *sink)
{
	const struct registry *registry = r->hub->registry;

	for (struct pool *p = registry_next_pool(registry, NULL); p != NULL; p = registry_next_pool(registry, p)) {
		enum pool_hold hold;

		if (p->nwaiting + p->nlogins == 0)
			continue;
		hold = pool_session_hold(p, clock_us());
		tell_waiting(sink, &p->waiting, hold);
		tell_waiting(sink, &p->logins, hold);
	}
	return true;
}

static const struct column waiting_columns[] = {WAITING_COLUMNS(TABLE_COLUMN)};
const struct table table_waiting = TABLE("WAITING", waiting_columns, waiting_rows);
