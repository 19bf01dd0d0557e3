/*
 * DNS_HOSTS, DNS_ZONES: what the name servers have told.
 */
#include "report/tables.h"

#include "base/addr.h"
#include "base/clock.h"

/* --- DNS_HOSTS --- */

#define HOSTS_COLUMNS(X)                                                \
	X(hostname, TEXT, cell_text(host->host))                        \
	X(ttl, INT8, cell_number((int64_t)(host->ttl_us / CLOCK_SECOND))) \
	X(addrs, TEXT, cell_slice(strbuf_slice(addrs)))

static void hosts_row(struct row_sink *sink, const struct dns_host_info *host, const struct strbuf *addrs)
{
	sink->on_row(sink, (const struct cell[]){HOSTS_COLUMNS(TABLE_CELL)});
}

static void print_addresses(const struct dns_host_info *host, struct strbuf *out)
{
	struct addr a;

	strbuf_reset(out);
	strbuf_add_str(out, "");
	for (size_t i = 0; i < host->n; i++) {
		addr_from_sockaddr(&a, &host->addresses[i].u.sa);
		if (i > 0)
			strbuf_add_char(out, ',');
		addr_print_host(&a, out);
	}
}

static bool dns_hosts_rows(const struct report *r, struct row_sink *sink)
{
	struct dns_host_info host = {0};
	struct strbuf addrs;
	bool ok = true;

	strbuf_init(&addrs);
	while (ok && dns_next_host(r->hub->dns, &host)) {
		print_addresses(&host, &addrs);
		ok = !addrs.failed;
		if (ok)
			hosts_row(sink, &host, &addrs);
	}
	strbuf_fini(&addrs);
	return ok;
}

static const struct column dns_hosts_columns[] = {HOSTS_COLUMNS(TABLE_COLUMN)};
const struct table table_dns_hosts = TABLE("DNS_HOSTS", dns_hosts_columns, dns_hosts_rows);

/* --- DNS_ZONES --- */

#define ZONES_COLUMNS(X)                              \
	X(zonename, TEXT, cell_text(zone.zone))       \
	X(serial, INT8, cell_number(zone.serial))     \
	X(count, INT4, cell_number((int64_t)zone.count))

static bool dns_zones_rows(const struct report *r, struct row_sink *sink)
{
	struct dns_zone_info zone = {0};

	while (dns_next_zone(r->hub->dns, &zone))
		sink->on_row(sink, (const struct cell[]){ZONES_COLUMNS(TABLE_CELL)});
	return true;
}

static const struct column dns_zones_columns[] = {ZONES_COLUMNS(TABLE_COLUMN)};
const struct table table_dns_zones = TABLE("DNS_ZONES", dns_zones_columns, dns_zones_rows);
