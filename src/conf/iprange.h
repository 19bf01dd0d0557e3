/*
 * Ranges of IP addresses, as access rules name them. IPv4 inside IPv6
 * (::ffff:10.0.0.7) counts as IPv4, in addresses and in ranges.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/str.h"

struct ip {
	int family;                      /* AF_INET, AF_INET6 */
	uint8_t bytes[16];               /* 4 of them for AF_INET */
};

struct ip_range {
	struct ip net;
	uint8_t mask[16];
	struct ip_range *next;           /* in the list that the owner keeps */
};

/* False when it is no IP address. `addr` may be NULL. */
bool ip_from_addr(struct ip *ip, const struct addr *addr);

/* The first half of a range: a numeric address. False if the text is none. */
bool ip_range_set_net(struct ip_range *range, const char *address);

/* The other half: the digits behind a slash, or a mask written out. False if it is none of this address. */
bool ip_range_set_bits(struct ip_range *range, struct slice bits);
bool ip_range_set_mask(struct ip_range *range, const char *mask);

/*
 * This machine's own addresses as they are now, or the networks that they are
 * in, at the head of a list. False: errno says why.
 */
bool ip_range_add_interfaces(struct ip_range **list, struct arena *arena, bool is_network);

/* Whether any range of a list has the address in it. */
bool ip_range_has(const struct ip_range *list, const struct ip *ip);
