/*
 * What a name server's answer to a question for a SOA record says: which zone
 * the name is in, and the zone's serial number.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A domain name as text, at most 253 characters, and its NUL. */
#define DNS_NAME_ROOM 256

struct dns_soa {
	char zone[DNS_NAME_ROOM];        /* in lower case, without a dot at its end */
	uint32_t serial;
};

/*
 * Reads a whole DNS message, which is not trusted. The record is among the
 * answers when `asked` is the zone's own name, and among the authorities when
 * it is a name in the zone, be there one or not. False when the message is
 * malformed before it, has no such record, has one of a zone that the name cannot be in
 * (or of the root), or says that the name is an alias: then the record is that
 * of the zone where the alias leads.
 */
bool dns_soa_parse(const uint8_t *p, size_t n, const char *asked, struct dns_soa *soa);
