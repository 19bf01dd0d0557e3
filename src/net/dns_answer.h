/*
 * The addresses that a look-up has brought, and how long they hold.
 */
#pragma once
#include <ares.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct dns_answer {
	struct addr_any *addresses;      /* ports unset */
	size_t n;
	bool is_cut;                     /* there were more than are looked at */
	uint64_t ttl_us;                 /* the shortest of all that led here */
};

/* An ARES_ status; unless it is ARES_SUCCESS there is nothing to be freed. */
int dns_answer_read(struct dns_answer *answer, const struct ares_addrinfo *info);
void dns_answer_free(struct dns_answer *answer);

/* Whether both have the same addresses, in whatever order and however often. */
bool dns_answer_same(const struct dns_answer *a, const struct dns_answer *b);
