/*
 * All tables there are.
 */
#pragma once
#include "report/table.h"

/* The PgBouncer whose layouts these are: monitors choose theirs by this number. */
#define TABLES_COMPATIBLE "1.25.2"

/* X(symbol), in the order in which HELP names them. */
#define TABLES(X)              \
	X(config)               \
	X(config_ext)           \
	X(databases)            \
	X(pools)                \
	X(clients)              \
	X(servers)              \
	X(sockets)              \
	X(active_sockets)       \
	X(clients_ext)          \
	X(users)                \
	X(peers)                \
	X(peer_pools)           \
	X(hosts)                \
	X(capacity)             \
	X(capacity_pools)       \
	X(capacity_use)         \
	X(waiting)              \
	X(pool_stats)           \
	X(pool_events)          \
	X(latency)              \
	X(applications)         \
	X(version)              \
	X(lists)                \
	X(mem)                  \
	X(state)                \
	X(dns_hosts)            \
	X(dns_zones)            \
	X(close_reasons)        \
	X(process)              \
	X(errors)               \
	X(fds)                  \
	X(all)                  \
	X(stats)                \
	X(stats_totals)         \
	X(stats_averages)       \
	X(totals)               \
	X(prepared_statements)  \
	X(prepared_stats)

#define X(symbol) extern const struct table table_##symbol;
TABLES(X)
#undef X

#define X(symbol) +1
enum { TABLE_COUNT = 0 TABLES(X) };
#undef X

extern const struct table *const tables[TABLE_COUNT];

/* By its name, in any case; NULL if there is none. */
const struct table *table_find(struct slice name);
