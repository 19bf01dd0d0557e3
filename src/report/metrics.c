#include "report/metrics.h"

#include "report/tables.h"

#define GAUGE(name_, column_, help_) {.name = (name_), .type = METRIC_GAUGE, .help = (help_), .column = (column_)}
#define COUNTER(name_, column_, help_) {.name = (name_), .type = METRIC_COUNTER, .help = (help_), .column = (column_)}
#define SECONDS_GAUGE(name_, column_, help_) \
	{.name = (name_), .type = METRIC_GAUGE, .help = (help_), .column = (column_), .reading = READ_MICROSECONDS}
#define SECONDS_COUNTER(name_, column_, help_) \
	{.name = (name_), .type = METRIC_COUNTER, .help = (help_), .column = (column_), .reading = READ_MICROSECONDS}
#define RATIO_GAUGE(name_, column_, help_) \
	{.name = (name_), .type = METRIC_GAUGE, .help = (help_), .column = (column_), .reading = READ_RATIO}
#define PERCENT_GAUGE(name_, column_, help_) \
	{.name = (name_), .type = METRIC_GAUGE, .help = (help_), .column = (column_), .reading = READ_PERCENT}
#define HISTOGRAM(name_, key_, help_) \
	{.name = (name_), .type = METRIC_HISTOGRAM, .help = (help_), .column = (key_), .reading = READ_MICROSECONDS}
#define EITHER_GAUGE(name_, column_, word_, other_, help_) \
	{.name = (name_), .type = METRIC_GAUGE, .help = (help_), .column = (column_), .reading = READ_WORD, \
	 .words = {(word_), (other_)}}
#define WORD_GAUGE(name_, column_, word_, help_) EITHER_GAUGE(name_, column_, word_, NULL, help_)

#define LABEL(name_) {.name = (name_)}
#define FOLDED_LABEL(name_) {.name = (name_), .is_folded = true}

/* --- those of pgbouncer_exporter --- */

static const struct metric up_metrics[] = {
	GAUGE("pgbouncer_up", NULL, "The pgbouncer scrape succeeded"),
};

static const struct metric_label version_labels[] = {LABEL("version")};
static const struct metric version_metrics[] = {
	GAUGE("pgbouncer_version_info", NULL, "The pgbouncer version info"),
};

static const struct metric_label database_labels[] = {
	LABEL("name"), LABEL("host"), LABEL("port"), LABEL("database"),
	LABEL("force_user"), LABEL("pool_mode"),
};
static const struct metric database_metrics[] = {
	GAUGE("pgbouncer_databases_pool_size", "pool_size", "Maximum number of server connections"),
	GAUGE("pgbouncer_databases_reserve_pool_size", "reserve_pool_size",
	      "Maximum number of additional connections for this database"),
	/* The column's name before PgBouncer 1.24, and the metric's since. */
	GAUGE("pgbouncer_databases_reserve_pool", "reserve_pool_size",
	      "Maximum number of additional connections for this database"),
	GAUGE("pgbouncer_databases_max_connections", "max_connections",
	      "Maximum number of allowed connections for this database"),
	GAUGE("pgbouncer_databases_current_connections", "current_connections",
	      "Current number of connections for this database"),
	GAUGE("pgbouncer_databases_paused", "paused", "1 if this database is currently paused, else 0"),
	GAUGE("pgbouncer_databases_disabled", "disabled", "1 if this database is currently disabled, else 0"),
};

static const struct metric_label stats_labels[] = {LABEL("database")};
static const struct metric stats_metrics[] = {
	COUNTER("pgbouncer_stats_queries_pooled_total", "query_count", "Total number of SQL queries pooled"),
	SECONDS_COUNTER("pgbouncer_stats_queries_duration_seconds_total", "query_time",
			"Total number of seconds spent when actively connected to PostgreSQL, executing queries"),
	COUNTER("pgbouncer_stats_received_bytes_total", "bytes_received",
		"Total volume in bytes of network traffic received"),
	COUNTER("pgbouncer_stats_sent_bytes_total", "bytes_sent", "Total volume in bytes of network traffic sent"),
	SECONDS_COUNTER("pgbouncer_stats_client_wait_seconds_total", "wait_time",
			"Time spent by clients waiting for a server in seconds"),
	COUNTER("pgbouncer_stats_sql_transactions_pooled_total", "xact_count",
		"Total number of SQL transactions pooled"),
	SECONDS_COUNTER("pgbouncer_stats_server_in_transaction_seconds_total", "xact_time",
			"Total number of seconds spent when connected to PostgreSQL in a transaction, either idle in "
			"transaction or executing queries"),
	COUNTER("pgbouncer_stats_client_parses_total", "client_parse_count",
		"Total number of prepared statement Parse messages received from clients"),
	COUNTER("pgbouncer_stats_server_parses_total", "server_parse_count",
		"Total number of prepared statement Parse messages sent to PostgreSQL"),
	COUNTER("pgbouncer_stats_binds_total", "bind_count",
		"Total number of prepared statements readied for execution with a Bind message"),
	COUNTER("pgbouncer_stats_server_assignments_total", "server_assignment_count",
		"Total number of times a server was assigned to a client"),
};

static const struct metric_label pool_labels[] = {LABEL("database"), LABEL("user")};
static const struct metric pool_metrics[] = {
	GAUGE("pgbouncer_pools_client_active_connections", "cl_active",
	      "Client connections linked to server connection and able to process queries, shown as connection"),
	GAUGE("pgbouncer_pools_client_waiting_connections", "cl_waiting",
	      "Client connections waiting on a server connection, shown as connection"),
	GAUGE("pgbouncer_pools_client_active_cancel_connections", "cl_active_cancel_req",
	      "Client connections that have forwarded query cancellations to the server and are waiting for the server "
	      "response"),
	GAUGE("pgbouncer_pools_client_waiting_cancel_connections", "cl_waiting_cancel_req",
	      "Client connections that have not forwarded query cancellations to the server yet"),
	GAUGE("pgbouncer_pools_server_active_connections", "sv_active",
	      "Server connections linked to a client connection, shown as connection"),
	GAUGE("pgbouncer_pools_server_active_cancel_connections", "sv_active_cancel",
	      "Server connections that are currently forwarding a cancel request"),
	GAUGE("pgbouncer_pools_server_being_canceled_connections", "sv_being_canceled",
	      "Servers that normally could become idle but are waiting to do so until all in-flight cancel requests have "
	      "completed that were sent to cancel a query on this server"),
	GAUGE("pgbouncer_pools_server_idle_connections", "sv_idle",
	      "Server connections idle and ready for a client query, shown as connection"),
	GAUGE("pgbouncer_pools_server_used_connections", "sv_used",
	      "Server connections idle more than server_check_delay, needing server_check_query, shown as connection"),
	GAUGE("pgbouncer_pools_server_testing_connections", "sv_tested",
	      "Server connections currently running either server_reset_query or server_check_query, shown as connection"),
	GAUGE("pgbouncer_pools_server_login_connections", "sv_login",
	      "Server connections currently in the process of logging in, shown as connection"),
	GAUGE("pgbouncer_pools_client_maxwait_seconds", "maxwait",
	      "Age of oldest unserved client connection, shown as second"),
};

static const struct metric_label client_labels[] = {
	LABEL("database"), LABEL("user"), LABEL("state"),
	FOLDED_LABEL("application_name"),
};
static const struct metric client_metrics[] = {
	GAUGE("pgbouncer_client_connections", NULL, "Client connections, by database, user, state and application_name"),
};

static const struct metric list_metrics[] = {
	GAUGE("pgbouncer_databases", "databases", "Count of databases"),
	GAUGE("pgbouncer_users", "users", "Count of users"),
	GAUGE("pgbouncer_pools", "pools", "Count of pools"),
	GAUGE("pgbouncer_free_clients", "free_clients", "Count of free clients"),
	GAUGE("pgbouncer_used_clients", "used_clients", "Count of used clients"),
	GAUGE("pgbouncer_login_clients", "login_clients", "Count of clients in login state"),
	GAUGE("pgbouncer_free_servers", "free_servers", "Count of free servers"),
	GAUGE("pgbouncer_used_servers", "used_servers", "Count of used servers"),
	GAUGE("pgbouncer_cached_dns_names", "dns_names", "Count of DNS names in the cache"),
	GAUGE("pgbouncer_cached_dns_zones", "dns_zones", "Count of DNS zones in the cache"),
	GAUGE("pgbouncer_in_flight_dns_queries", "dns_queries", "Count of in-flight DNS queries"),
};

static const struct metric config_metrics[] = {
	GAUGE("pgbouncer_config_max_client_connections", "max_client_conn",
	      "Config maximum number of client connections"),
	GAUGE("pgbouncer_config_max_user_connections", "max_user_connections",
	      "Config maximum number of server connections per user"),
};

/* --- ours --- */

static const struct metric pool_figure_metrics[] = {
	GAUGE("pgsluice_pool_limit", "limit", "Most server connections that the pool may have, 0 for no bound"),
	RATIO_GAUGE("pgsluice_pool_load_factor", "load_factor", "Server connections in use, of those that it may have"),
	RATIO_GAUGE("pgsluice_pool_reuse_ratio", "reuse_ratio",
		    "How often a server was given out that had been opened before, of all times that one was"),
	SECONDS_GAUGE("pgsluice_pool_oldest_wait_seconds", "oldest_wait_us", "How long the oldest waiting client has waited"),
	COUNTER("pgsluice_pool_hits_total", "hits", "Clients that got an idle server at once"),
	COUNTER("pgsluice_pool_misses_total", "misses", "Clients that had to wait for a server, for however short"),
	COUNTER("pgsluice_pool_servers_created_total", "created", "Server connections begun"),
	COUNTER("pgsluice_pool_servers_closed_total", "closed", "Server connections ended"),
};

static const struct metric_label event_labels[] = {
	LABEL("database"), LABEL("user"), LABEL("event"), LABEL("reason"),
};
static const struct metric event_metrics[] = {
	COUNTER("pgsluice_pool_events_total", "count",
		"Servers and clients closed, logins failed, clients pinned to a server, by reason"),
};

static const struct metric latency_metrics[] = {
	HISTOGRAM("pgsluice_wait_seconds", "wait", "How long clients have waited for a server"),
	HISTOGRAM("pgsluice_query_seconds", "query", "How long queries took, without waiting"),
	HISTOGRAM("pgsluice_transaction_seconds", "transaction", "How long transactions took, without waiting"),
	HISTOGRAM("pgsluice_connect_seconds", "connect", "How long it took to open a server connection"),
	HISTOGRAM("pgsluice_login_seconds", "login", "How long clients took to log in"),
};

static const struct metric_label application_labels[] = {LABEL("application_name")};
static const struct metric application_metrics[] = {
	GAUGE("pgsluice_application_clients", "clients", "Clients that are logged in, by application_name"),
	COUNTER("pgsluice_application_transactions_total", "transactions", "Transactions, by application_name"),
	COUNTER("pgsluice_application_queries_total", "queries", "Queries, by application_name"),
	SECONDS_COUNTER("pgsluice_application_transaction_seconds_total", "transaction_time_us",
			"Time spent in transactions, by application_name"),
	SECONDS_COUNTER("pgsluice_application_query_seconds_total", "query_time_us",
			"Time spent in queries, by application_name"),
	SECONDS_COUNTER("pgsluice_application_wait_seconds_total", "wait_time_us",
			"Time spent waiting for a server, by application_name"),
};

static const struct metric_label host_labels[] = {LABEL("address")};
static const struct metric host_metrics[] = {
	EITHER_GAUGE("pgsluice_host_up", "state", "up", "failing", "1 while the host's breaker is closed, else 0"),
	WORD_GAUGE("pgsluice_host_primary", "role", "primary", "1 if the host is known to be a primary, else 0"),
	WORD_GAUGE("pgsluice_host_standby", "role", "standby", "1 if the host is known to be a standby, else 0"),
	GAUGE("pgsluice_host_failures", "failures", "Failed connections to the host in a row"),
	GAUGE("pgsluice_host_connecting", "connecting", "Connections to the host that are being made"),
	GAUGE("pgsluice_host_servers", "servers", "Open server connections to the host"),
};

static const struct metric_label capacity_labels[] = {LABEL("host")};
static const struct metric capacity_metrics[] = {
	PERCENT_GAUGE("pgsluice_capacity_ratio", "percent",
		      "What all instances' pools may open, of the server's slots that are not reserved"),
	WORD_GAUGE("pgsluice_capacity_over", "state", "over",
		   "1 if the pools may open more connections than the server has room for, else 0"),
	GAUGE("pgsluice_capacity_max_connections", "max_connections", "The server's max_connections"),
	GAUGE("pgsluice_capacity_reserved_connections", "reserved", "Slots that the server keeps for others"),
	GAUGE("pgsluice_capacity_used_connections", "in_use", "Slots of the server in use, by whomever"),
	GAUGE("pgsluice_capacity_own_connections", "in_use_by_pooler", "Slots of the server in use by this pooler"),
	GAUGE("pgsluice_capacity_needed_connections", "needed", "Connections that all instances' pools may open together"),
	GAUGE("pgsluice_capacity_recommended_pool_size", "recommended_pool_size",
	      "What size the pools of one instance ought to have"),
};

static const struct metric_label close_labels[] = {LABEL("reason")};
static const struct metric close_metrics[] = {
	COUNTER("pgsluice_client_closes_total", "clients", "Client connections ended, by reason"),
};

static const struct metric prepared_metrics[] = {
	COUNTER("pgsluice_prepared_hits_total", "hits", "Statements that the server at hand had already"),
	COUNTER("pgsluice_prepared_evictions_total", "evictions", "Statements closed to make room for others"),
	COUNTER("pgsluice_prepared_retries_total", "retries", "Batches sent once more after a statement was outdated"),
};

static const struct metric_label memory_labels[] = {LABEL("name")};
static const struct metric memory_metrics[] = {
	GAUGE("pgsluice_memory_bytes", "memtotal", "Memory that a cache has taken"),
};

static const struct metric state_metrics[] = {
	WORD_GAUGE("pgsluice_paused", "paused", "yes", "1 while all databases are paused, else 0"),
	WORD_GAUGE("pgsluice_suspended", "suspended", "yes", "1 while the program is suspended, else 0"),
};

/* The exporter tells of the pooler's process as pgbouncer_process_, everybody of the one that is asked as process_. */
#define PROCESS_METRICS(prefix)                                                                            \
	SECONDS_GAUGE(prefix "process_start_time_seconds", "start_time_us",                                \
		      "Start time of the process since unix epoch in seconds"),                            \
	SECONDS_COUNTER(prefix "process_cpu_seconds_total", "cpu_us",                                      \
			"Total user and system CPU time spent in seconds"),                                \
	GAUGE(prefix "process_virtual_memory_bytes", "virtual_memory_bytes", "Virtual memory size in bytes"), \
	GAUGE(prefix "process_resident_memory_bytes", "resident_memory_bytes", "Resident memory size in bytes"), \
	GAUGE(prefix "process_open_fds", "open_fds", "Number of open file descriptors"),                   \
	GAUGE(prefix "process_max_fds", "max_fds", "Maximum number of open file descriptors")

static const struct metric process_metrics[] = {
	GAUGE("pgsluice_ready", "ready", "1 while /readyz says that new clients should be sent here, else 0"),
	GAUGE("pgsluice_draining", "draining", "1 while the program sends its clients away to end, else 0"),
	GAUGE("pgsluice_memory_short", "memory_short", "1 while max_memory is reached and no more clients are let in, else 0"),
	PROCESS_METRICS(""),
	PROCESS_METRICS("pgbouncer_"),
};

#define LIST(labels_) .labels = (labels_), .nlabels = sizeof(labels_) / sizeof((labels_)[0])
#define METRICS(metrics_) .metrics = (metrics_), .nmetrics = sizeof(metrics_) / sizeof((metrics_)[0])

const struct metric_source metric_sources[] = {
	{.table = &table_version, METRICS(up_metrics)},
	{.table = &table_version, LIST(version_labels), METRICS(version_metrics)},
	{.table = &table_databases, LIST(database_labels), METRICS(database_metrics)},
	{.table = &table_stats_totals, LIST(stats_labels), METRICS(stats_metrics)},
	{.table = &table_pools, LIST(pool_labels), METRICS(pool_metrics)},
	{.table = &table_clients, LIST(client_labels), METRICS(client_metrics), .is_count = true},
	{.table = &table_lists, METRICS(list_metrics), .key = "list", .value = "items"},
	{.table = &table_config, METRICS(config_metrics), .key = "key", .value = "value"},
	{.table = &table_pool_stats, LIST(pool_labels), METRICS(pool_figure_metrics)},
	{.table = &table_pool_events, LIST(event_labels), METRICS(event_metrics)},
	{.table = &table_latency_totals, LIST(pool_labels), METRICS(latency_metrics), .key = "kind", .value = "count",
	 .sum = "sum_us"},
	{.table = &table_applications, LIST(application_labels), METRICS(application_metrics)},
	{.table = &table_hosts, LIST(host_labels), METRICS(host_metrics)},
	{.table = &table_capacity, LIST(capacity_labels), METRICS(capacity_metrics)},
	{.table = &table_close_reasons, LIST(close_labels), METRICS(close_metrics)},
	{.table = &table_prepared_stats, LIST(stats_labels), METRICS(prepared_metrics)},
	{.table = &table_mem, LIST(memory_labels), METRICS(memory_metrics)},
	{.table = &table_state, METRICS(state_metrics), .key = "key", .value = "value"},
	{.table = &table_process, METRICS(process_metrics), .key = "key", .value = "value"},
};
const size_t metric_source_count = sizeof(metric_sources) / sizeof(metric_sources[0]);
