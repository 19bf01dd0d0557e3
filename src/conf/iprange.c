#include "conf/iprange.h"

#include <arpa/inet.h>
#include <ifaddrs.h>

#include "base/attempt.h"

static size_t ip_size(const struct ip *ip)
{
	return ip->family == AF_INET ? 4 : 16;
}

static bool parse(const char *text, struct ip *ip)
{
	ip->family = AF_INET;
	if (inet_pton(AF_INET, text, ip->bytes) == 1)
		return true;
	ip->family = AF_INET6;
	return inet_pton(AF_INET6, text, ip->bytes) == 1;
}

static bool is_mapped(const struct ip *ip)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return ip->family == AF_INET6 && memcmp(ip->bytes, prefix, sizeof(prefix)) == 0;
}

/* IPv4 inside IPv6 becomes IPv4. */
static void unmap(struct ip *ip)
{
	if (!is_mapped(ip))
		return;
	ip->family = AF_INET;
	memcpy(ip->bytes, ip->bytes + 12, 4);
}

/* Only a range that is all inside the IPv4 part of IPv6 becomes one of IPv4. */
static void unmap_range(struct ip_range *range)
{
	for (size_t i = 0; i < 12; i++) {
		if (range->mask[i] != 0xff)
			return;
	}
	if (!is_mapped(&range->net))
		return;
	unmap(&range->net);
	memcpy(range->mask, range->mask + 12, 4);
}

bool ip_from_addr(struct ip *ip, const struct addr *addr)
{
	if (addr == NULL || (addr->family != AF_INET && addr->family != AF_INET6))
		return false;
	ip->family = addr->family;
	memcpy(ip->bytes, &addr->u, ip_size(ip));
	unmap(ip);
	return true;
}

bool ip_range_set_net(struct ip_range *range, const char *address)
{
	return parse(address, &range->net);
}

static void fill_mask(struct ip_range *range, size_t bits)
{
	for (size_t i = 0; i < sizeof(range->mask); i++) {
		size_t n = bits > 8 ? 8 : bits;

		range->mask[i] = (uint8_t)(0xff00 >> n);
		bits -= n;
	}
}

bool ip_range_set_bits(struct ip_range *range, struct slice bits)
{
	int64_t n;

	/* A number of bits has no sign, which slice_to_int64() would take. */
	if (bits.n == 0 || bits.p[0] < '0' || bits.p[0] > '9' || !slice_to_int64(bits, &n) ||
	    n > (int64_t)ip_size(&range->net) * 8)
		return false;
	fill_mask(range, (size_t)n);
	unmap_range(range);
	return true;
}

bool ip_range_set_mask(struct ip_range *range, const char *mask)
{
	struct ip ip;

	if (!parse(mask, &ip) || ip.family != range->net.family)
		return false;
	memcpy(range->mask, ip.bytes, ip_size(&ip));
	unmap_range(range);
	return true;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n > 0 && p[n - 1] == 0)
		n--;
	return n == 0;
}

/* An interface without a mask of its own must not stand for the whole world. */
static void set_interface_mask(struct ip_range *range, const struct sockaddr *mask)
{
	struct addr addr;

	if (mask == NULL)
		return;
	addr_from_sockaddr(&addr, mask);
	if (addr.family == range->net.family && !is_zero((const uint8_t *)&addr.u, ip_size(&range->net)))
		memcpy(range->mask, &addr.u, ip_size(&range->net));
}

static void add_interface(struct ip_range **list, struct arena *arena, const struct ifaddrs *interface, bool is_network)
{
	struct ip_range *range;
	struct addr addr;
	struct ip ip;

	if (interface->ifa_addr == NULL)
		return;
	addr_from_sockaddr(&addr, interface->ifa_addr);
	if (!ip_from_addr(&ip, &addr))
		return;
	range = arena_alloc(arena, sizeof(*range));
	*range = (struct ip_range){.net = ip, .next = *list};
	fill_mask(range, 128);
	if (is_network)
		set_interface_mask(range, interface->ifa_netmask);
	*list = range;
}

static void undo_interfaces(void *interfaces)
{
	freeifaddrs(interfaces);
}

bool ip_range_add_interfaces(struct ip_range **list, struct arena *arena, bool is_network)
{
	struct ifaddrs *interfaces;
	struct guard guard;

	if (getifaddrs(&interfaces) != 0)
		return false;
	guard_set(&guard, undo_interfaces, interfaces);
	for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next)
		add_interface(list, arena, i, is_network);
	guard_lift(&guard);
	freeifaddrs(interfaces);
	return true;
}

static bool is_in(const struct ip_range *range, const struct ip *ip)
{
	if (ip->family != range->net.family)
		return false;
	for (size_t i = 0; i < ip_size(ip); i++) {
		if ((ip->bytes[i] ^ range->net.bytes[i]) & range->mask[i])
			return false;
	}
	return true;
}

bool ip_range_has(const struct ip_range *list, const struct ip *ip)
{
	while (list != NULL && !is_in(list, ip))
		list = list->next;
	return list != NULL;
}
