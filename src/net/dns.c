#include "net/dns.h"

#include <bsd/sys/queue.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/deadline.h"
#include "net/dns_answer.h"
#include "net/dns_channel.h"
#include "net/dns_soa.h"
#include "net/dns_zone.h"

/* A name in use is looked up again when this much of its answer's life is over: not all at the same moment. */
#define REFRESH_FROM_PERCENT 80
#define REFRESH_TO_PERCENT 90

/* Whoever could be told the last good answer waits no longer than this for a new one: c-ares may take a minute. */
#define PATIENCE_US (2 * CLOCK_SECOND)

struct dns_waiter {
	TAILQ_ENTRY(dns_waiter) link;
	struct dns_name *name;
	uint64_t id;                     /* in order of arrival */
	dns_fn *fn;
	void *arg;
};

TAILQ_HEAD(dns_waiters, dns_waiter);

struct dns_name {
	UT_hash_handle hh;
	struct dns *dns;
	struct dns_waiters waiters;
	struct dns_member member;        /* of its zone */
	struct deadline unused;
	struct deadline patience;        /* of those who could be told the last good answer */
	ev_timer refresh;                /* runs when it has been used since its last look-up */
	bool is_asked;                   /* a question is under way */
	uint64_t nanswers;
	bool is_calling;                 /* c-ares has been called and has not returned */
	uint64_t used_at, refresh_at, expires_at;
	struct dns_answer good;          /* the last good answer */
	bool is_gone;                    /* since then it has been said to have no addresses */
	const char *error;               /* of the last query, NULL when it was good */
	char host[];                     /* in lower case */
};

struct dns {
	struct loop *loop;
	struct dns_options options;
	struct dns_channel *channel;
	struct dns_zones *zones;
	struct dns_name *names;
	dns_change_fn *on_change;
	void *on_change_arg;
	size_t nqueries, nwaiters;
	uint64_t last_waiter;            /* its id */
};

/* ------------------------------------------------------------------ those who wait */

void dns_cancel(struct dns_waiter **waiter)
{
	struct dns_waiter *w = *waiter;

	*waiter = NULL;
	if (w == NULL)
		return;
	TAILQ_REMOVE(&w->name->waiters, w, link);
	w->name->dns->nwaiters--;
	free(w);
}

static bool has_good(const struct dns_name *name)
{
	return name->good.n > 0 && !name->is_gone;
}

static void tell(const struct dns_name *name, dns_fn *fn, void *arg)
{
	size_t n = has_good(name) ? name->good.n : 0;

	fn(arg, name->good.addresses, n, n > 0 ? NULL : name->error);
}

/* Whoever is told may ask again at once, and waits for another answer then: only those up to `last` are told. */
static void tell_waiters(struct dns_name *name, uint64_t last)
{
	struct dns_waiter *w;

	while ((w = TAILQ_FIRST(&name->waiters)) != NULL && w->id <= last) {
		dns_fn *fn = w->fn;
		void *arg = w->arg;

		dns_cancel(&w);
		tell(name, fn, arg);
	}
}

/* ------------------------------------------------------------------ answers */

static void expire_after(struct dns_name *name, uint64_t us)
{
	uint64_t now = clock_us();
	uint32_t spread;

	sys_random(&spread, sizeof(spread));
	spread %= REFRESH_TO_PERCENT - REFRESH_FROM_PERCENT + 1;
	name->expires_at = now + us;
	name->refresh_at = now + us / 100 * (REFRESH_FROM_PERCENT + spread);
}

static void take_failure(struct dns_name *name, int status)
{
	uint64_t now = clock_us(), ttl = name->dns->options.nxdomain_ttl_us;
	bool was_good = name->error == NULL;

	name->error = ares_strerror(status);
	name->is_gone |= status == ARES_ENOTFOUND || status == ARES_ENODATA;
	/* An answer that was to be renewed ahead of its time is still good for the rest of it. */
	if (!name->is_gone && name->expires_at > now + ttl)
		ttl = name->expires_at - now;
	expire_after(name, ttl);
	if (was_good && has_good(name))
		log_warning("DNS lookup of %s failed: %s; its last known addresses stay in use", name->host, name->error);
}

static void take_answer(struct dns_name *name, const struct ares_addrinfo *info, struct dns_answer *answer)
{
	struct dns *dns = name->dns;
	bool is_other = !answer->is_cut && !dns_answer_same(&name->good, answer);
	uint64_t ttl = dns->options.max_ttl_us;

	dns_answer_free(&name->good);
	name->good = *answer;
	name->is_gone = false;
	name->error = NULL;
	/* What c-ares knows by itself, from the hosts file, has no time to live and no zone. */
	if (!name->is_calling) {
		ttl = answer->ttl_us < ttl ? answer->ttl_us : ttl;
		dns_zones_join(dns->zones, &name->member, info->name == NULL ? name->host : info->name);
	}
	expire_after(name, ttl);
	if (is_other && dns->on_change != NULL)
		dns->on_change(dns->on_change_arg, name->host, name->good.addresses, name->good.n);
}

/* ------------------------------------------------------------------ questions */

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct dns_name *name = arg;
	uint64_t last = name->dns->last_waiter;
	struct dns_answer answer;

	(void)timeouts;
	name->is_asked = false;
	name->nanswers++;
	deadline_disarm(&name->patience);
	name->dns->nqueries--;
	if (status == ARES_SUCCESS)
		status = dns_answer_read(&answer, info);
	if (status == ARES_SUCCESS)
		take_answer(name, info, &answer);
	else if (status != ARES_EDESTRUCTION)
		take_failure(name, status);
	if (info != NULL)
		ares_freeaddrinfo(info);
	tell_waiters(name, last);
}

static void ask(struct dns_name *name)
{
	struct dns *dns = name->dns;

	ev_timer_stop(dns->loop->ev, &name->refresh);
	name->is_asked = true;
	dns->nqueries++;
	name->is_calling = true;
	dns_channel_ask_addresses(dns->channel, name->host, on_answer, name);
	name->is_calling = false;
}

static void ask_unless_asked(struct dns_name *name)
{
	if (!name->is_asked)
		ask(name);
}

static void on_refresh(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	ask_unless_asked(timer->data);
}

/* The answer that is being given will be asked for again, before it expires. */
static void keep_fresh(struct dns_name *name)
{
	uint64_t now = clock_us();

	if (!has_good(name) || name->is_asked || ev_is_active(&name->refresh))
		return;
	if (name->refresh_at <= now) {
		ask(name);
		return;
	}
	ev_timer_set(&name->refresh, (double)(name->refresh_at - now) / CLOCK_SECOND, 0.);
	ev_timer_start(name->dns->loop->ev, &name->refresh);
}

static void on_zone_changed(struct dns_member *m)
{
	ask_unless_asked((struct dns_name *)((char *)m - offsetof(struct dns_name, member)));
}

/* ------------------------------------------------------------------ names */

static void drop(struct dns_name *name)
{
	struct dns *dns = name->dns;

	ev_timer_stop(dns->loop->ev, &name->refresh);
	deadline_disarm(&name->unused);
	deadline_disarm(&name->patience);
	dns_zones_leave(&name->member);
	HASH_DEL(dns->names, name);
	dns_answer_free(&name->good);
	free(name);
}

static void on_unused(struct deadline *d);

static void watch_use(struct dns_name *name)
{
	struct dns *dns = name->dns;

	deadline_arm(&name->unused, deadline_list_unless_0(dns->loop, dns->options.forget_us, on_unused));
}

/* Whether it was used meanwhile is looked at only now, so that using it costs nothing. */
static void on_unused(struct deadline *d)
{
	struct dns_name *name = (struct dns_name *)((char *)d - offsetof(struct dns_name, unused));

	if (name->is_asked || clock_us() - name->used_at < name->dns->options.forget_us)
		watch_use(name);
	else
		drop(name);
}

static struct dns_name *add_name(struct dns *dns, const char *host, size_t n)
{
	struct dns_name *name = calloc(1, sizeof(*name) + n + 1);

	if (name == NULL)
		return NULL;
	name->dns = dns;
	memcpy(name->host, host, n);
	TAILQ_INIT(&name->waiters);
	ev_init(&name->refresh, on_refresh);
	name->refresh.data = name;
	HASH_ADD_KEYPTR(hh, dns->names, name->host, n, name);
	if (!HASH_HAS(name)) {
		free(name);
		return NULL;
	}
	watch_use(name);
	return name;
}

/* Finds or makes it; NULL when out of memory. */
static struct dns_name *take_name(struct dns *dns, const char *host, size_t n)
{
	struct dns_name *name;
	char key[DNS_NAME_ROOM];

	for (size_t i = 0; i < n; i++)
		key[i] = (char)tolower((unsigned char)host[i]);
	HASH_FIND(hh, dns->names, key, n, name);
	return name != NULL ? name : add_name(dns, key, n);
}

/* The question goes on: its answer will be taken whenever it comes. */
static void on_patience_over(struct deadline *d)
{
	struct dns_name *name = (struct dns_name *)((char *)d - offsetof(struct dns_name, patience));
	uint64_t last = name->dns->last_waiter;

	take_failure(name, ARES_ETIMEOUT);
	tell_waiters(name, last);
}

static void bound_wait(struct dns_name *name)
{
	if (has_good(name) && !deadline_is_armed(&name->patience))
		deadline_arm(&name->patience, deadline_list(name->dns->loop, PATIENCE_US, on_patience_over));
}

static struct dns_waiter *wait_for_answer(struct dns_name *name, dns_fn *fn, void *arg)
{
	struct dns_waiter *w = malloc(sizeof(*w));
	uint64_t nanswers = name->nanswers;

	if (w == NULL) {
		fn(arg, NULL, 0, "out of memory");
		return NULL;
	}
	*w = (struct dns_waiter){.name = name, .id = ++name->dns->last_waiter, .fn = fn, .arg = arg};
	TAILQ_INSERT_TAIL(&name->waiters, w, link);
	name->dns->nwaiters++;
	ask_unless_asked(name);
	/* The hosts file answers within that call: then the waiter is gone already. */
	if (name->nanswers != nanswers)
		return NULL;
	bound_wait(name);
	return w;
}

struct dns_waiter *dns_resolve(struct dns *dns, const char *host, dns_fn *fn, void *arg)
{
	struct addr_any numeric;
	struct dns_name *name;
	size_t n = strlen(host);

	if (addr_any_from_ip(&numeric, host, 0)) {
		fn(arg, &numeric, 1, NULL);
		return NULL;
	}
	if (n >= DNS_NAME_ROOM) {
		fn(arg, NULL, 0, "the name is too long");
		return NULL;
	}
	name = take_name(dns, host, n);
	if (name == NULL) {
		fn(arg, NULL, 0, "out of memory");
		return NULL;
	}
	name->used_at = clock_us();
	if (name->used_at >= name->expires_at)
		return wait_for_answer(name, fn, arg);
	keep_fresh(name);
	tell(name, fn, arg);
	return NULL;
}

/* ------------------------------------------------------------------ whole */

struct dns *dns_new(struct loop *loop, const struct dns_options *options, const char **error)
{
	struct dns *dns = calloc(1, sizeof(*dns));

	*error = "out of memory";
	if (dns == NULL)
		return NULL;
	dns->loop = loop;
	dns->channel = dns_channel_new(loop, options->resolv_conf, error);
	if (dns->channel != NULL)
		dns->zones = dns_zones_new(loop, dns->channel, on_zone_changed);
	if (dns->zones == NULL) {
		dns_free(dns);
		return NULL;
	}
	dns_configure(dns, options);
	return dns;
}

void dns_configure(struct dns *dns, const struct dns_options *options)
{
	bool was_watching = dns->options.zone_check_period_us != 0;
	struct dns_name *name, *next;

	dns->options = *options;
	dns->options.resolv_conf = NULL;
	dns_zones_configure(dns->zones, options->zone_check_period_us);
	if (was_watching || options->zone_check_period_us == 0)
		return;
	/* A name's zone is looked for when the name has been looked up. */
	HASH_ITER(hh, dns->names, name, next) {
		ask_unless_asked(name);
	}
}

static void forget_waiters(struct dns_name *name)
{
	struct dns_waiter *w;

	while ((w = TAILQ_FIRST(&name->waiters)) != NULL)
		dns_cancel(&w);
}

void dns_free(struct dns *dns)
{
	struct dns_name *name, *next;

	if (dns == NULL)
		return;
	HASH_ITER(hh, dns->names, name, next) {
		forget_waiters(name);
	}
	/* Queries under way end, and find nobody waiting. */
	dns_channel_free(dns->channel);
	HASH_ITER(hh, dns->names, name, next) {
		drop(name);
	}
	dns_zones_free(dns->zones);
	free(dns);
}

void dns_on_change(struct dns *dns, dns_change_fn *fn, void *arg)
{
	dns->on_change = fn;
	dns->on_change_arg = arg;
}

void dns_figures(const struct dns *dns, struct dns_figures *f)
{
	*f = (struct dns_figures){
		.names = HASH_COUNT(dns->names),
		.zones = dns_zones_count(dns->zones),
		.queries = dns->nqueries + dns_zones_pending(dns->zones),
		.pending = dns->nwaiters,
	};
}

bool dns_next_host(const struct dns *dns, struct dns_host_info *info)
{
	const struct dns_name *name = info->at == NULL ? dns->names : info->at->hh.next;
	uint64_t now = clock_us();

	if (name == NULL)
		return false;
	*info = (struct dns_host_info){
		.host = name->host,
		.ttl_us = name->expires_at > now ? name->expires_at - now : 0,
		.addresses = name->good.addresses,
		.n = has_good(name) ? name->good.n : 0,
		.at = name,
	};
	return true;
}

bool dns_next_zone(const struct dns *dns, struct dns_zone_info *info)
{
	const struct dns_zone *zone = dns_zones_next(dns->zones, info->at);

	if (zone == NULL)
		return false;
	*info = (struct dns_zone_info){
		.zone = dns_zone_name(zone),
		.serial = dns_zone_serial(zone),
		.count = dns_zone_size(zone),
		.at = zone,
	};
	return true;
}
