#include "net/dns_answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* More addresses of one name than this are not looked at. */
#define MAX_ADDRESSES 32

static void bound_ttl(struct dns_answer *answer, int ttl)
{
	/* One with the highest bit set means none at all (RFC 2181, 8). */
	uint64_t us = ttl < 0 ? 0 : (uint64_t)ttl * CLOCK_SECOND;

	if (us < answer->ttl_us)
		answer->ttl_us = us;
}

/* Nothing but what makes the address: two of them are equal when their bytes are. */
static void read_address(struct addr_any *a, const struct ares_addrinfo_node *node)
{
	const struct sockaddr_in6 *in6 = (const void *)node->ai_addr;
	const struct sockaddr_in *in = (const void *)node->ai_addr;

	a->u.sa.sa_family = (sa_family_t)node->ai_family;
	if (node->ai_family == AF_INET6) {
		a->len = sizeof(a->u.in6);
		a->u.in6.sin6_addr = in6->sin6_addr;
		a->u.in6.sin6_scope_id = in6->sin6_scope_id;
	} else {
		a->len = sizeof(a->u.in);
		a->u.in.sin_addr = in->sin_addr;
	}
}

static bool is_address(const struct ares_addrinfo_node *node)
{
	return node->ai_family == AF_INET || node->ai_family == AF_INET6;
}

static size_t count(const struct ares_addrinfo *info)
{
	size_t n = 0;

	for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next)
		n += is_address(node);
	return n;
}

int dns_answer_read(struct dns_answer *answer, const struct ares_addrinfo *info)
{
	size_t n = count(info), room = n < MAX_ADDRESSES ? n : MAX_ADDRESSES;

	if (n == 0)
		return ARES_ENODATA;
	*answer = (struct dns_answer){.ttl_us = UINT64_MAX, .is_cut = n > room};
	answer->addresses = calloc(room, sizeof(answer->addresses[0]));
	if (answer->addresses == NULL)
		return ARES_ENOMEM;
	for (const struct ares_addrinfo_cname *alias = info->cnames; alias != NULL; alias = alias->next)
		bound_ttl(answer, alias->ttl);
	for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next) {
		bound_ttl(answer, node->ai_ttl);
		if (is_address(node) && answer->n < room)
			read_address(&answer->addresses[answer->n++], node);
	}
	return ARES_SUCCESS;
}

void dns_answer_free(struct dns_answer *answer)
{
	free(answer->addresses);
	*answer = (struct dns_answer){0};
}

static bool has(const struct dns_answer *answer, const struct addr_any *a)
{
	for (size_t i = 0; i < answer->n; i++)
		if (addr_any_eq(&answer->addresses[i], a))
			return true;
	return false;
}

static bool has_all(const struct dns_answer *answer, const struct dns_answer *others)
{
	for (size_t i = 0; i < others->n; i++)
		if (!has(answer, &others->addresses[i]))
			return false;
	return true;
}

bool dns_answer_same(const struct dns_answer *a, const struct dns_answer *b)
{
	return has_all(a, b) && has_all(b, a);
}
