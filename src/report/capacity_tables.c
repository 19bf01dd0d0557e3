/*
 * CAPACITY, CAPACITY_POOLS and CAPACITY_USE: whether the servers have the
 * connection slots that pools may ask for, what size pools ought to have, and
 * who has the slots now.
 */
#include "report/tables.h"

#include <stdlib.h>

#include "base/clock.h"
#include "pool/capacity_rule.h"
#include "report/subjects.h"
#include "session/capacity.h"

static struct cell number_unless_unbounded(uint64_t number)
{
	return number == CAPACITY_UNBOUNDED ? cell_null() : cell_number((int64_t)number);
}

/* --- CAPACITY --- */

#define ANSWERED(cell) (f.has_answer ? (cell) : cell_null())

#define CAPACITY_COLUMNS(X)                                                                          \
	X(host, TEXT, cell_text(h->key))                                                             \
	X(state, TEXT, cell_text(capacity_state_word(f.verdict.state)))                              \
	X(max_connections, INT4, ANSWERED(cell_number(f.facts.max_connections)))                     \
	X(reserved, INT4, ANSWERED(cell_number(f.facts.reserved)))                                   \
	X(in_use, INT4, ANSWERED(cell_number(f.facts.in_use)))                                       \
	X(in_use_by_pooler, INT4, f.has_answer && f.facts.knows_own ? cell_number(f.facts.own) : cell_null()) \
	X(pools, INT4, ANSWERED(cell_number(f.facts.demand.npools)))                                 \
	X(pools_limit, INT8, ANSWERED(number_unless_unbounded(f.facts.demand.limit)))                \
	X(instances, INT4, cell_number(hub_settings(r->hub)->instances))                             \
	X(needed, INT8, ANSWERED(number_unless_unbounded(f.verdict.needed)))                         \
	X(percent, INT8, ANSWERED(number_unless_unbounded(f.verdict.percent)))                       \
	X(recommended_pool_size, INT4, ANSWERED(cell_number(f.verdict.recommended)))                 \
	X(checked_at, TIME, ANSWERED(cell_time(f.answered_at)))                                      \
	X(advice, TEXT, cell_slice(strbuf_slice(&advice)))

static void print_advice(const struct report *r, const struct capacity_finding *f, struct strbuf *out)
{
	if (f->has_answer)
		capacity_advise(&f->facts, &f->verdict, out);
	if (f->why != NULL)
		strbuf_addf(out, "%s%s: %s", out->n > 0 ? ". " : "",
			    f->has_answer ? "last question failed" : "cannot be asked", f->why);
	else if (!f->has_answer && hub_settings(r->hub)->capacity_check_interval == 0)
		strbuf_add_str(out, "not asked: capacity_check_interval is 0");
	else if (!f->has_answer)
		strbuf_add_str(out, "not answered yet");
}

static bool capacity_row(const struct report *r, struct row_sink *sink, const struct subject *s)
{
	const struct host *h = s->host;
	struct capacity_finding f;
	struct strbuf advice;
	bool ok;

	if (!capacity_find(r->hub, h, &f))
		return true;
	strbuf_init(&advice);
	strbuf_add_str(&advice, "");
	print_advice(r, &f, &advice);
	ok = !advice.failed;
	if (ok)
		sink->on_row(sink, (const struct cell[]){CAPACITY_COLUMNS(TABLE_CELL)});
	strbuf_fini(&advice);
	return ok;
}

/* One at a time: each looks at all pools. */
static enum told capacity_piece(const struct report *r, struct table_place *place, unsigned most,
				struct row_sink *sink)
{
	return subjects_piece(&subject_hosts, r, place, most > 0 ? 1 : 0, sink, capacity_row);
}

static const struct column capacity_columns[] = {CAPACITY_COLUMNS(TABLE_COLUMN)};
const struct table table_capacity = TABLE_IN_PIECES("CAPACITY", capacity_columns, capacity_piece);

/* --- CAPACITY_POOLS --- */

#define CAPACITY_POOLS_COLUMNS(X)                                                            \
	X(database, TEXT, cell_slice(s->name))                                               \
	X(user, TEXT, cell_slice(s->user))                                                   \
	X(pool_size, INT4, cell_number(p->settings.size))                                    \
	X(working_size, INT4, p->working_size == 0 ? cell_null() : cell_number(p->working_size)) \
	X(samples, INT4, cell_number(c.nsamples))                                            \
	X(waited, INT4, cell_number(c.nwaited))                                              \
	X(held_mean, TEXT, cell_slice(print_hundredths(concurrency_mean(&c), room, sizeof(room))))  \
	X(held_p99, INT4, cell_number(concurrency_p99(&c)))                                  \
	X(recommended_pool_size, INT4, recommended == 0 ? cell_null() : cell_number(recommended))

static struct slice print_hundredths(unsigned hundredths, char *room, size_t n)
{
	struct strbuf text;

	strbuf_init_fixed(&text, room, n);
	strbuf_addf(&text, "%u.%02u", hundredths / 100, hundredths % 100);
	return strbuf_slice(&text);
}

/*
 * What is known of each host, found once for all pools. A host may go while they are told: it is compared with those of
 * a pool, and not looked at.
 */
struct host_shares {
	size_t n;
	struct host_share {
		const struct host *host;
		struct capacity_demand demand;
		unsigned share;
	} hosts[];
};

/* NULL when out of memory. */
static struct host_shares *find_shares(const struct hub *hub)
{
	const struct hosts *hosts = registry_hosts(hub->registry);
	struct host_shares *shares;
	size_t n = 0;

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h))
		n++;
	shares = malloc(sizeof(*shares) + n * sizeof(shares->hosts[0]));
	if (shares == NULL)
		return NULL;
	shares->n = 0;
	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h)) {
		struct capacity_finding f;

		if (capacity_find(hub, h, &f) && f.has_answer)
			shares->hosts[shares->n++] = (struct host_share){h, f.facts.demand, f.verdict.share};
	}
	return shares;
}

/* By the host that has the least for it; 0: not known. */
static unsigned recommended_size(const struct host_shares *shares, const struct pool *pool)
{
	unsigned need = capacity_pool_need(pool), least = need;

	for (size_t i = 0; need > 0 && i < shares->n; i++) {
		const struct host_share *s = &shares->hosts[i];
		unsigned here;

		if (!capacity_is_listed(pool->database, s->host))
			continue;
		here = capacity_recommend(&s->demand, s->share, need);
		if (here < least)
			least = here;
	}
	return least;
}

/* Where the rows go, and what they are made with. */
struct sharing_sink {
	struct row_sink sink;
	struct row_sink *to;
	const struct host_shares *shares;
};

static bool tell_pool(const struct report *r, struct row_sink *sink, const struct subject *s)
{
	const struct sharing_sink *sharing = (const struct sharing_sink *)sink;
	const struct pool *p = s->pool;
	struct concurrency c;
	unsigned recommended;
	char room[CELL_ROOM];

	(void)r;
	if (p == NULL)
		return true;
	c = in_use_concurrency(p, clock_us());
	recommended = recommended_size(sharing->shares, p);
	sharing->to->on_row(sharing->to, (const struct cell[]){CAPACITY_POOLS_COLUMNS(TABLE_CELL)});
	return true;
}

static enum told capacity_pools_piece(const struct report *r, struct table_place *place, unsigned most,
				      struct row_sink *sink)
{
	struct sharing_sink sharing = {.to = sink};

	if (place->kept == NULL)
		place->kept = find_shares(r->hub);
	sharing.shares = place->kept;
	if (sharing.shares == NULL)
		return TOLD_OUT_OF_MEMORY;
	return subjects_piece(&subject_pools, r, place, most, &sharing.sink, tell_pool);
}

static const struct column capacity_pools_columns[] = {CAPACITY_POOLS_COLUMNS(TABLE_COLUMN)};
const struct table table_capacity_pools =
	TABLE_IN_PIECES("CAPACITY_POOLS", capacity_pools_columns, capacity_pools_piece);

/* --- CAPACITY_USE --- */

#define CAPACITY_USE_COLUMNS(X)                                   \
	X(host, TEXT, cell_text(h->key))                          \
	X(application_name, TEXT, cell_text(use->application_name)) \
	X(connections, INT4, cell_number(use->count))

static bool capacity_use_rows(const struct report *r, struct row_sink *sink)
{
	const struct hosts *hosts = registry_hosts(r->hub->registry);

	for (const struct host *h = hosts_next(hosts, NULL); h != NULL; h = hosts_next(hosts, h)) {
		struct capacity_finding f;

		if (!capacity_find(r->hub, h, &f) || !f.has_answer)
			continue;
		for (const struct capacity_use *use = f.answer->uses; use < f.answer->uses + f.answer->nuses; use++)
			sink->on_row(sink, (const struct cell[]){CAPACITY_USE_COLUMNS(TABLE_CELL)});
	}
	return true;
}

static const struct column capacity_use_columns[] = {CAPACITY_USE_COLUMNS(TABLE_COLUMN)};
const struct table table_capacity_use = TABLE("CAPACITY_USE", capacity_use_columns, capacity_use_rows);
