/*
 * HOSTS and WAITING: where connections go, and who waits for one and why.
 */
#include "report/tables.h"

#include <stdlib.h>

#include "base/clock.h"
#include "report/subjects.h"
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

static bool hosts_row(const struct report *r, struct row_sink *sink, const struct subject *subject)
{
	const struct host *h = subject->host;

	(void)r;
	sink->on_row(sink, (const struct cell[]){HOSTS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told hosts_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	return subjects_piece(&subject_hosts, r, place, most, sink, hosts_row);
}

static const struct column hosts_columns[] = {HOSTS_COLUMNS(TABLE_COLUMN)};
const struct table table_hosts = TABLE_IN_PIECES("HOSTS", hosts_columns, hosts_piece);

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

/* Who waited at the beginning: the place in the slab, and the id that tells whether it is still the same client. */
struct queue {
	size_t n;
	struct {
		uint32_t index;
		uint64_t id;
	} clients[];
};

static void note_all(const struct hub *hub, const struct pool_clients *list, struct queue *q)
{
	const struct pool_client *w;

	TAILQ_FOREACH(w, list, link) {
		const struct client *c = (const struct client *)((const char *)w - offsetof(struct client, waiter));

		q->clients[q->n].index = slab_index(hub->clients, c);
		q->clients[q->n++].id = c->id;
	}
}

/* Of each pool those who have waited longest come first. NULL when out of memory. */
static struct queue *note_queue(const struct hub *hub)
{
	struct queue *q;
	struct pool *p = NULL;
	size_t n = 0;

	while ((p = registry_next_pool(hub->registry, p)) != NULL)
		n += p->nwaiting + p->nlogins;
	q = malloc(sizeof(*q) + n * sizeof(q->clients[0]));
	if (q == NULL)
		return NULL;
	q->n = 0;
	while ((p = registry_next_pool(hub->registry, p)) != NULL) {
		note_all(hub, &p->waiting, q);
		note_all(hub, &p->logins, q);
	}
	return q;
}

static void tell_waiting(struct row_sink *sink, const struct client *c)
{
	uint64_t now = clock_us(), waited = now - c->waiter.waiting_since;
	enum pool_hold hold = pool_session_hold(client_pool(c), now);
	char room[CELL_ROOM];
	struct strbuf addr;

	strbuf_init_fixed(&addr, room, sizeof(room));
	addr_print(&c->peer, &addr);
	sink->on_row(sink, (const struct cell[]){WAITING_COLUMNS(TABLE_CELL)});
}

static enum told waiting_piece(const struct report *r, struct table_place *place, unsigned most, struct row_sink *sink)
{
	const struct queue *q;

	if (place->notes == NULL)
		place->notes = note_queue(r->hub);
	q = place->notes;
	if (q == NULL)
		return TOLD_OUT_OF_MEMORY;
	for (; most > 0 && place->at < q->n; place->at++, most--) {
		/* As many as n were noted. NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
		const struct client *c = slab_at(r->hub->clients, q->clients[place->at].index);

		if (c != NULL && c->id == q->clients[place->at].id && c->waiter.waiting_since != 0)
			tell_waiting(sink, c);
	}
	return place->at < q->n ? TOLD_SOME : TOLD_ALL;
}

static const struct column waiting_columns[] = {WAITING_COLUMNS(TABLE_COLUMN)};
const struct table table_waiting = TABLE_IN_PIECES("WAITING", waiting_columns, waiting_piece);
