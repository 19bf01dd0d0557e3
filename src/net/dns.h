/*
 * Host names to addresses, through c-ares on the loop: nothing here blocks.
 *
 * Answers are kept for as long as they say, at most max_ttl; failures for
 * nxdomain_ttl. While a name is being looked up again because its answer has
 * expired and no server tells a new one, the last good answer serves.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "net/loop.h"

struct dns;
struct dns_waiter;

struct dns_options {
	const char *resolv_conf;         /* "" for the system's */
	uint64_t max_ttl_us, nxdomain_ttl_us;
};

/* NULL, and *error a static text, when the resolver cannot be set up. */
struct dns *dns_new(struct loop *loop, const struct dns_options *options, const char **error);
void dns_free(struct dns *dns);

/* New bounds, for answers from now on; resolv_conf is read at start only. */
void dns_configure(struct dns *dns, const struct dns_options *options);

/* n addresses, ports unset; n is 0 on failure, and error then says why. */
typedef void dns_fn(void *arg, const struct addr_any *addresses, size_t n, const char *error);

/*
 * Calls fn once, with a numeric address or a kept answer before this returns
 * (then NULL is returned), else later; the waiter lets the caller lose interest.
 */
struct dns_waiter *dns_resolve(struct dns *dns, const char *host, dns_fn *fn, void *arg);
void dns_cancel(struct dns_waiter **waiter);

/* Figures for SHOW LISTS. */
struct dns_figures {
	size_t names, queries, pending;
};
void dns_figures(const struct dns *dns, struct dns_figures *f);
