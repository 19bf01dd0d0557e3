/*
 * Addresses that many connections share, such as our own ends of those we have
 * accepted: each held once, and known by a number of one byte.
 */
#pragma once
#include "base/addr.h"

struct addrbook {
	uint8_t n;
	struct addr known[UINT8_MAX];
};

/* The number of an address, which is noted if it is new; 0: it is unknown, or there is no room for more. */
uint8_t addrbook_note(struct addrbook *book, const struct addr *a);

/* NULL for number 0. */
const struct addr *addrbook_at(const struct addrbook *book, uint8_t number);
