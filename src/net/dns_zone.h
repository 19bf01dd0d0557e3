/*
 * The zones that host names are in, and their serial numbers: an operator who
 * changes a zone raises its number, so that one question for each zone tells
 * whether any of its names has to be looked up anew before its time.
 *
 * Which zone a name is in is asked of the name server, from the name upwards,
 * as soon as the name has been looked up.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/dns_channel.h"

struct dns_zone;
struct dns_zones;

/* Embedded in what has a name. All zero: in no zone. */
struct dns_member {
	TAILQ_ENTRY(dns_member) link;
	struct dns_zone *zone;           /* NULL: none, or not known yet */
	struct zone_search *search;      /* NULL: no search is under way */
};

/* The member's zone has changed. It may be made a member by this, but none may leave. */
typedef void dns_zone_fn(struct dns_member *m);

/* NULL when out of memory. Nothing is asked before dns_zones_configure(). */
struct dns_zones *dns_zones_new(struct loop *loop, struct dns_channel *channel, dns_zone_fn *on_change);

/* All members have left, and the channel is gone. */
void dns_zones_free(struct dns_zones *zones);

/* How often serial numbers are asked for; 0: never, and all zones are forgotten. */
void dns_zones_configure(struct dns_zones *zones, uint64_t period_us);

/* Looks for the zone of this whole name; nothing happens if it is known or being looked for, or the period is 0. */
void dns_zones_join(struct dns_zones *zones, struct dns_member *m, const char *name);
void dns_zones_leave(struct dns_member *m);

/* Questions under way. */
size_t dns_zones_pending(const struct dns_zones *zones);

size_t dns_zones_count(const struct dns_zones *zones);

/* One after the other; NULL: the first, and at the end. */
const struct dns_zone *dns_zones_next(const struct dns_zones *zones, const struct dns_zone *zone);
const char *dns_zone_name(const struct dns_zone *zone);
uint32_t dns_zone_serial(const struct dns_zone *zone);

/* Members. */
size_t dns_zone_size(const struct dns_zone *zone);
