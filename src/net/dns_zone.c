#include "net/dns_zone.h"

#include <bsd/string.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "net/dns_soa.h"

/* Names that are asked about for one search: the name itself and what it is in. */
#define MAX_STEPS 8

struct dns_zone {
	UT_hash_handle hh;
	struct dns_zones *zones;
	TAILQ_HEAD(, dns_member) members;
	size_t nmembers;
	uint32_t serial;
	bool is_asked;                   /* a question is under way: it has to stay */
	char name[];
};

/* Outlives its member if that leaves, until the answer has come. */
struct zone_search {
	struct dns_zones *zones;
	struct dns_member *member;       /* NULL: it has left */
	unsigned nsteps;
	const char *at;                  /* the part of the name that is asked about */
	char name[DNS_NAME_ROOM];
};

struct dns_zones {
	struct loop *loop;
	struct dns_channel *channel;
	dns_zone_fn *on_change;
	uint64_t period_us;
	ev_timer timer;
	struct dns_zone *table;
	size_t pending;
};

/* ------------------------------------------------------------------ zones and members */

static void free_if_unused(struct dns_zone *zone)
{
	if (zone->nmembers > 0 || zone->is_asked)
		return;
	HASH_DEL(zone->zones->table, zone);
	free(zone);
}

/* Finds or makes it; NULL when out of memory. */
static struct dns_zone *take_zone(struct dns_zones *zones, const struct dns_soa *soa)
{
	struct dns_zone *zone;
	size_t n = strlen(soa->zone);

	HASH_FIND(hh, zones->table, soa->zone, n, zone);
	if (zone != NULL)
		return zone;
	zone = calloc(1, sizeof(*zone) + n + 1);
	if (zone == NULL)
		return NULL;
	zone->zones = zones;
	zone->serial = soa->serial;
	memcpy(zone->name, soa->zone, n);
	TAILQ_INIT(&zone->members);
	HASH_ADD_KEYPTR(hh, zones->table, zone->name, n, zone);
	if (HASH_HAS(zone))
		return zone;
	free(zone);
	return NULL;
}

static void enter(struct dns_zone *zone, struct dns_member *m)
{
	m->zone = zone;
	TAILQ_INSERT_TAIL(&zone->members, m, link);
	zone->nmembers++;
}

static void leave_zone(struct dns_member *m)
{
	struct dns_zone *zone = m->zone;

	if (zone == NULL)
		return;
	m->zone = NULL;
	TAILQ_REMOVE(&zone->members, m, link);
	zone->nmembers--;
	free_if_unused(zone);
}

void dns_zones_leave(struct dns_member *m)
{
	if (m->search != NULL)
		m->search->member = NULL;
	m->search = NULL;
	leave_zone(m);
}

/* ------------------------------------------------------------------ looking for a name's zone */

static void end_search(struct zone_search *search)
{
	if (search->member != NULL)
		search->member->search = NULL;
	free(search);
}

static void ask_search(struct zone_search *search);

/* What the name asked about is in; NULL: nothing that is worth a question. Of "db.example.com" not "com". */
static const char *parent_of(const struct zone_search *search)
{
	const char *dot = strchr(search->at, '.');

	if (dot == NULL || (strchr(dot + 1, '.') == NULL && search->nsteps > 0))
		return NULL;
	return dot + 1;
}

static void go_up(struct zone_search *search)
{
	search->at = parent_of(search);
	if (search->at == NULL || ++search->nsteps == MAX_STEPS)
		end_search(search);
	else
		ask_search(search);
}

static void on_search(void *arg, int status, int timeouts, unsigned char *p, int n)
{
	struct zone_search *search = arg;
	struct dns_zones *zones = search->zones;
	struct dns_zone *zone;
	struct dns_soa soa;

	(void)timeouts;
	zones->pending--;
	if (search->member == NULL || p == NULL || status == ARES_EDESTRUCTION || zones->period_us == 0) {
		end_search(search);
		return;
	}
	if (!dns_soa_parse(p, (size_t)n, search->at, &soa)) {
		go_up(search);
		return;
	}
	zone = take_zone(zones, &soa);
	if (zone != NULL)
		enter(zone, search->member);
	end_search(search);
}

static void ask_search(struct zone_search *search)
{
	search->zones->pending++;
	dns_channel_ask_soa(search->zones->channel, search->at, on_search, search);
}

void dns_zones_join(struct dns_zones *zones, struct dns_member *m, const char *name)
{
	struct zone_search *search;
	size_t n;

	if (zones->period_us == 0 || m->zone != NULL || m->search != NULL)
		return;
	search = calloc(1, sizeof(*search));
	if (search == NULL)
		return;
	n = strlcpy(search->name, name, sizeof(search->name));
	if (n == 0 || n >= sizeof(search->name)) {
		free(search);
		return;
	}
	if (search->name[n - 1] == '.')
		search->name[n - 1] = '\0';
	search->zones = zones;
	search->at = search->name;
	search->member = m;
	m->search = search;
	ask_search(search);
}

/* ------------------------------------------------------------------ serial numbers */

static void tell_members(struct dns_zone *zone)
{
	struct dns_member *m;

	TAILQ_FOREACH(m, &zone->members, link) {
		zone->zones->on_change(m);
	}
}

/* It is not a zone any more: its names have to find another. */
static void dissolve(struct dns_zone *zone)
{
	struct dns_zones *zones = zone->zones;
	struct dns_member *m;

	HASH_DEL(zones->table, zone);
	while ((m = TAILQ_FIRST(&zone->members)) != NULL) {
		TAILQ_REMOVE(&zone->members, m, link);
		m->zone = NULL;
		zones->on_change(m);
	}
	free(zone);
}

static void compare(struct dns_zone *zone, const struct dns_soa *soa)
{
	if (strcmp(soa->zone, zone->name) != 0) {
		dissolve(zone);
		return;
	}
	if (soa->serial == zone->serial)
		return;
	log_info("DNS zone %s: serial changed from %u to %u, its hosts are looked up anew", zone->name, zone->serial,
		 soa->serial);
	zone->serial = soa->serial;
	tell_members(zone);
}

static void on_serial(void *arg, int status, int timeouts, unsigned char *p, int n)
{
	struct dns_zone *zone = arg;
	struct dns_soa soa;

	(void)timeouts;
	zone->is_asked = false;
	zone->zones->pending--;
	if (zone->nmembers == 0)
		free_if_unused(zone);
	else if (p != NULL && status != ARES_EDESTRUCTION && dns_soa_parse(p, (size_t)n, zone->name, &soa))
		compare(zone, &soa);
}

static void ask_serial(struct dns_zone *zone)
{
	zone->is_asked = true;
	zone->zones->pending++;
	dns_channel_ask_soa(zone->zones->channel, zone->name, on_serial, zone);
}

static void on_period(EV_P_ ev_timer *timer, int events)
{
	struct dns_zones *zones = timer->data;
	struct dns_zone *zone, *next;

	(void)loop;
	(void)events;
	HASH_ITER(hh, zones->table, zone, next) {
		if (!zone->is_asked)
			ask_serial(zone);
	}
}

/* ------------------------------------------------------------------ whole */

struct dns_zones *dns_zones_new(struct loop *loop, struct dns_channel *channel, dns_zone_fn *on_change)
{
	struct dns_zones *zones = calloc(1, sizeof(*zones));

	if (zones == NULL)
		return NULL;
	zones->loop = loop;
	zones->channel = channel;
	zones->on_change = on_change;
	ev_init(&zones->timer, on_period);
	zones->timer.data = zones;
	return zones;
}

void dns_zones_free(struct dns_zones *zones)
{
	if (zones == NULL)
		return;
	ev_timer_stop(zones->loop->ev, &zones->timer);
	free(zones);
}

static void forget_members(struct dns_zone *zone)
{
	struct dns_member *m;
	size_t n = zone->nmembers;

	/* The zone itself goes with the last of them, unless it is being asked about. */
	for (; n > 0; n--) {
		m = TAILQ_FIRST(&zone->members);
		leave_zone(m);
	}
}

void dns_zones_configure(struct dns_zones *zones, uint64_t period_us)
{
	struct dns_zone *zone, *next;

	/* A reload that changes something else does not put the next check off. */
	if (period_us == zones->period_us)
		return;
	zones->period_us = period_us;
	zones->timer.repeat = (double)period_us / CLOCK_SECOND;
	ev_timer_again(zones->loop->ev, &zones->timer);
	if (period_us != 0)
		return;
	HASH_ITER(hh, zones->table, zone, next) {
		forget_members(zone);
	}
}

size_t dns_zones_pending(const struct dns_zones *zones)
{
	return zones->pending;
}

size_t dns_zones_count(const struct dns_zones *zones)
{
	return HASH_COUNT(zones->table);
}

const struct dns_zone *dns_zones_next(const struct dns_zones *zones, const struct dns_zone *zone)
{
	return zone == NULL ? zones->table : zone->hh.next;
}

const char *dns_zone_name(const struct dns_zone *zone)
{
	return zone->name;
}

uint32_t dns_zone_serial(const struct dns_zone *zone)
{
	return zone->serial;
}

size_t dns_zone_size(const struct dns_zone *zone)
{
	return zone->nmembers;
}
