/*
 * Host names to addresses, through c-ares on the loop: nothing here blocks.
 *
 * Answers are kept for as long as they say, at most max_ttl; failures for
 * nxdomain_ttl. A name that has been asked for since its last look-up is
 * looked up again shortly before its answer expires, so that whoever asks
 * often never waits. While a name's answer has expired and no server tells a
 * new one, the last good answer serves.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "net/loop.h"

struct dns;
struct dns_name;
struct dns_waiter;
struct dns_zone;

struct dns_options {
	const char *resolv_conf;         /* "" for the system's */
	uint64_t max_ttl_us, nxdomain_ttl_us;
	uint64_t zone_check_period_us;   /* how often the zones' serial numbers are asked for; 0 never */
	uint64_t forget_us;              /* a name that nobody asks for during this is dropped; 0 never */
};

/* NULL, and *error a static text, when the resolver cannot be set up. */
struct dns *dns_new(struct loop *loop, const struct dns_options *options, const char **error);
void dns_free(struct dns *dns);

/* New bounds, for answers from now on; resolv_conf is read at start only. */
void dns_configure(struct dns *dns, const struct dns_options *options);

/*
 * n addresses, ports unset, to be read before anything else is asked here; n
 * is 0 on failure, and error then says why.
 */
typedef void dns_fn(void *arg, const struct addr_any *addresses, size_t n, const char *error);

/*
 * Calls fn once, with a numeric address or a kept answer before this returns
 * (then NULL is returned), else later; the waiter lets the caller lose
 * interest. Case does not matter in a name.
 */
struct dns_waiter *dns_resolve(struct dns *dns, const char *host, dns_fn *fn, void *arg);
void dns_cancel(struct dns_waiter **waiter);

/*
 * Whom to tell that a name has other addresses than before, in whatever order
 * they come. Called for the first good answer too, not for failures, and not
 * for an answer with more addresses than are looked at: nobody knows which of
 * them were left out. Before those who wait are told. The addresses are to be
 * read before anything else is asked here.
 */
typedef void dns_change_fn(void *arg, const char *host, const struct addr_any *addresses, size_t n);
void dns_on_change(struct dns *dns, dns_change_fn *fn, void *arg);

/* Figures for SHOW LISTS. */
struct dns_figures {
	size_t names, zones;
	size_t queries;                  /* under way, look-ups and questions about zones */
	size_t pending;                  /* those who wait for a look-up */
};
void dns_figures(const struct dns *dns, struct dns_figures *f);

/* A name that is known, with its last good answer. */
struct dns_host_info {
	const char *host;
	uint64_t ttl_us;                 /* until it is looked up for the next who asks */
	const struct addr_any *addresses;
	size_t n;
	const struct dns_name *at;       /* private */
};

struct dns_zone_info {
	const char *zone;
	uint32_t serial;
	size_t count;                    /* of the known names that are in it */
	const struct dns_zone *at;       /* private */
};

/* The next one; the first when *info is all zero. False at the end. */
bool dns_next_host(const struct dns *dns, struct dns_host_info *info);
bool dns_next_zone(const struct dns *dns, struct dns_zone_info *info);
