/*
 * All tables there are.
 */
#pragma once
#include "report/table.h"

/* The PgBouncer whose layouts these are: monitors choose theirs by this number. */
#define TABLES_COMPATIBLE "1.25.2"

/* X(symbol, "what it tells"), in the order in which HELP names them. */
#define TABLES(X)                                                                                                     \
	X(config, "Every setting with its value, its default, and whether a reload can change it.")                   \
	X(config_ext, "The same with the place of each value, and the settings of databases, users and peers.")       \
	X(databases, "Each database: where it is, its limits, its connections, whether it is paused or disabled.")    \
	X(pools, "Each pool: clients and servers by their states, and how long the first in the queue has waited.")   \
	X(clients, "Each client connection.")                                                                         \
	X(servers, "Each server connection.")                                                                         \
	X(sockets, "Clients and servers with the bytes that wait in their buffers.")                                  \
	X(active_sockets, "The same of those that are active.")                                                       \
	X(clients_ext, "Of each client: what it waits for, and the age of connection, transaction, query and wait.")  \
	X(users, "Each user: limits and connections.")                                                                \
	X(peers, "The entries of [peers].")                                                                           \
	X(peer_pools, "Cancel requests on their way to peers.")                                                       \
	X(hosts, "Each server's address: whether it is up, primary or standby, and what failed last.")                \
	X(capacity, "Of each server: the connection slots that it has, and how many all pools may ask for.")          \
	X(capacity_pools, "Of each pool: the size it has, and the size that what was measured recommends.")           \
	X(capacity_use, "Who has the connection slots of each server now.")                                           \
	X(waiting, "Each client that waits for a server, since when, and for which limit.")                           \
	X(pool_stats, "Of each pool: servers in use, idle and allowed, and how often a client had to wait.")          \
	X(pool_events, "Of each pool: how often clients and servers were closed, and why.")                           \
	X(latency, "Percentiles of waits, queries, transactions, connects, logins, of the last stats_period or two.") \
	X(latency_totals, "The same times since the start, as the buckets of histograms.")                            \
	X(applications, "What each application has asked for, by application_name.")                                  \
	X(version, "The version.")                                                                                    \
	X(lists, "How many databases, users, pools, clients, servers and names there are.")                           \
	X(mem, "Where memory is used.")                                                                               \
	X(state, "Whether the pooler is active, paused or suspended.")                                                \
	X(dns_hosts, "The host names that were looked up, and their addresses.")                                      \
	X(dns_zones, "The zones of these names, and their serial numbers.")                                           \
	X(close_reasons, "Why clients are closed: each reason with its SQLSTATE, and how often it was the one.")      \
	X(process, "Figures of the process: time, memory, descriptors, turns of its loop.")                           \
	X(errors, "What went wrong lately, equal errors in one row.")                                                 \
	X(fds, "The descriptors of all connections.")                                                                 \
	X(all, "Every setting with what it is for.")                                                                  \
	X(stats, "Of each database: queries, transactions, bytes and times, in all and on average.")                  \
	X(stats_totals, "The first half of it.")                                                                      \
	X(stats_averages, "The second half of it.")                                                                   \
	X(totals, "The same of all databases together.")                                                              \
	X(prepared_statements, "Each prepared statement: its text, and how many clients and servers have it.")        \
	X(prepared_stats, "Of each database: statements prepared, found, closed for others, prepared anew.")

#define X(symbol, help) extern const struct table table_##symbol;
TABLES(X)
#undef X

#define X(symbol, help) +1
enum { TABLE_COUNT = 0 TABLES(X) };
#undef X

extern const struct table *const tables[TABLE_COUNT];
extern const char *const table_help[TABLE_COUNT];

/* By its name, in any case; NULL if there is none. */
const struct table *table_find(struct slice name);
