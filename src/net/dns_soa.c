#include "net/dns_soa.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <bsd/string.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

/* A place in a message; what was read past its end is 0. */
struct reader {
	const uint8_t *p;
	size_t n, pos;
	bool failed;
};

struct record {
	char owner[DNS_NAME_ROOM];
	unsigned type;
	size_t data, end;                /* where its data begins and ends */
};

static bool has(struct reader *r, size_t n)
{
	if (r->failed || r->n - r->pos < n)
		r->failed = true;
	return !r->failed;
}

static unsigned take_u16(struct reader *r)
{
	const uint8_t *p = r->p + r->pos;

	if (!has(r, 2))
		return 0;
	r->pos += 2;
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t take_u32(struct reader *r)
{
	uint32_t high = take_u16(r);

	return high << 16 | take_u16(r);
}

static void skip(struct reader *r, size_t n)
{
	if (has(r, n))
		r->pos += n;
}

/* Follows compression; what is not printable in a label is escaped by c-ares. */
static void take_name(struct reader *r, char name[DNS_NAME_ROOM])
{
	char *text;
	long size;

	name[0] = '\0';
	if (!has(r, 1))
		return;
	if (ares_expand_name(r->p + r->pos, r->p, (int)r->n, &text, &size) != ARES_SUCCESS) {
		r->failed = true;
		return;
	}
	if (strlcpy(name, text, DNS_NAME_ROOM) >= DNS_NAME_ROOM)
		r->failed = true;
	ares_free_string(text);
	skip(r, (size_t)size);
}

static bool take_record(struct reader *r, struct record *record)
{
	size_t size;

	take_name(r, record->owner);
	record->type = take_u16(r);
	skip(r, 2 + 4); /* class, time to live */
	size = take_u16(r);
	record->data = r->pos;
	skip(r, size);
	record->end = r->pos;
	return !r->failed;
}

/* "example.com" is the zone of itself and may be that of "db.example.com". */
static bool may_be_in(const char *name, const char *zone)
{
	size_t n = strlen(name), nzone = strlen(zone);

	if (nzone == 0 || nzone > n || strcasecmp(name + n - nzone, zone) != 0)
		return false;
	return nzone == n || name[n - nzone - 1] == '.';
}

static bool read_soa(const struct reader *message, const struct record *record, struct dns_soa *soa)
{
	struct reader r = *message;
	char unused[DNS_NAME_ROOM];

	r.n = record->end;
	r.pos = record->data;
	take_name(&r, unused); /* the primary name server */
	take_name(&r, unused); /* who is responsible */
	soa->serial = take_u32(&r);
	strlcpy(soa->zone, record->owner, sizeof(soa->zone));
	for (char *c = soa->zone; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	return !r.failed;
}

bool dns_soa_parse(const uint8_t *p, size_t n, const char *asked, struct dns_soa *soa)
{
	struct reader r = {.p = p, .n = n};
	unsigned nquestions, nrecords;
	struct record record;

	skip(&r, 4); /* id, flags */
	nquestions = take_u16(&r);
	nrecords = take_u16(&r);  /* answers */
	nrecords += take_u16(&r); /* authorities */
	skip(&r, 2);
	while (nquestions-- > 0 && !r.failed) {
		take_name(&r, record.owner);
		skip(&r, 4);
	}
	while (nrecords-- > 0 && take_record(&r, &record)) {
		if (record.type == ns_t_cname || record.type == ns_t_dname)
			return false;
		if (record.type == ns_t_soa)
			return may_be_in(asked, record.owner) && read_soa(&r, &record, soa);
	}
	return false;
}
