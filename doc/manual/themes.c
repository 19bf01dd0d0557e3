#include "themes.h"

#include <stdio.h>

#define SETTINGS(...) (const enum setting_id[]){__VA_ARGS__, SETTING_COUNT}

static const struct theme themes[] = {
	{"Where clients connect", SETTINGS(
		SETTING_listen_addr, SETTING_listen_port, SETTING_listen_backlog, SETTING_unix_socket_dir,
		SETTING_unix_socket_mode, SETTING_unix_socket_group, SETTING_so_reuseport)},
	{"Who may log in", SETTINGS(
		SETTING_auth_type, SETTING_auth_file, SETTING_auth_hba_file, SETTING_auth_ident_file, SETTING_auth_user,
		SETTING_auth_query, SETTING_auth_dbname, SETTING_auth_query_ttl, SETTING_auth_failure_delay,
		SETTING_scram_iterations, SETTING_auth_ldap_options, SETTING_auth_pam_confdir, SETTING_auth_helper_queue)},
	{"Who may use the console", SETTINGS(
		SETTING_admin_users, SETTING_stats_users)},
	{"How many clients", SETTINGS(
		SETTING_max_client_conn, SETTING_max_db_client_connections, SETTING_max_user_client_connections,
		SETTING_client_login_timeout, SETTING_client_idle_timeout, SETTING_login_notify_message, SETTING_max_memory)},
	{"Pools and their size", SETTINGS(
		SETTING_pool_mode, SETTING_default_pool_size, SETTING_min_pool_size, SETTING_reserve_pool_size,
		SETTING_reserve_pool_timeout, SETTING_guaranteed_pool_size, SETTING_pool_size_mode,
		SETTING_max_db_connections, SETTING_max_user_connections, SETTING_max_server_connections,
		SETTING_pool_idle_timeout, SETTING_autodb_idle_timeout, SETTING_capacity_check_interval, SETTING_instances)},
	{"Queries and transactions", SETTINGS(
		SETTING_query_wait_timeout, SETTING_query_wait_notify, SETTING_query_timeout, SETTING_transaction_timeout,
		SETTING_idle_transaction_timeout, SETTING_cancel_wait_timeout, SETTING_max_packet_size,
		SETTING_disable_pqexec, SETTING_sqlstate_compat)},
	{"Parameters of a session", SETTINGS(
		SETTING_ignore_startup_parameters, SETTING_track_extra_parameters, SETTING_application_name_add_host)},
	{"Prepared statements", SETTINGS(
		SETTING_max_prepared_statements, SETTING_max_client_prepared_statements, SETTING_prepared_unnamed,
		SETTING_prepared_unnamed_idle_timeout, SETTING_prepared_result_change)},
	{"Server connections", SETTINGS(
		SETTING_server_connect_timeout, SETTING_server_connect_parallel, SETTING_host_connect_parallel,
		SETTING_server_login_retry, SETTING_server_lifetime, SETTING_server_idle_timeout, SETTING_server_check_query,
		SETTING_server_check_delay, SETTING_server_reset_query, SETTING_server_reset_query_always,
		SETTING_server_round_robin, SETTING_server_fast_close, SETTING_server_abandoned)},
	{"Servers that fail, and several of them", SETTINGS(
		SETTING_server_down_action, SETTING_breaker_failures, SETTING_load_balance_hosts, SETTING_target_session_attrs,
		SETTING_host_check_interval, SETTING_database_required)},
	{"TLS with clients", SETTINGS(
		SETTING_client_tls_sslmode, SETTING_client_tls_cert_file, SETTING_client_tls_key_file,
		SETTING_client_tls_ca_file, SETTING_client_tls_protocols, SETTING_client_tls_ciphers,
		SETTING_client_tls13_ciphers, SETTING_client_tls_ecdhcurve, SETTING_client_tls_dheparams)},
	{"TLS with servers", SETTINGS(
		SETTING_server_tls_sslmode, SETTING_server_tls_ca_file, SETTING_server_tls_cert_file,
		SETTING_server_tls_key_file, SETTING_server_tls_protocols, SETTING_server_tls_ciphers,
		SETTING_server_tls13_ciphers, SETTING_server_tls_negotiation)},
	{"TLS with both", SETTINGS(
		SETTING_tls_handshakes_per_turn, SETTING_tls_kernel)},
	{"The log", SETTINGS(
		SETTING_logfile, SETTING_log_format, SETTING_verbose, SETTING_log_connections, SETTING_log_disconnections,
		SETTING_log_connections_limit, SETTING_log_pooler_errors, SETTING_log_fold_interval, SETTING_log_min_duration,
		SETTING_log_min_wait, SETTING_log_stats, SETTING_syslog, SETTING_syslog_ident, SETTING_syslog_facility)},
	{"Statistics and HTTP", SETTINGS(
		SETTING_stats_period, SETTING_stats_applications, SETTING_http_listen_addr, SETTING_http_port,
		SETTING_http_allow_anonymous, SETTING_http_max_connections, SETTING_http_tls_cert_file,
		SETTING_http_tls_key_file)},
	{"The process", SETTINGS(
		SETTING_user, SETTING_pidfile, SETTING_conffile, SETTING_core_dumps, SETTING_peer_id)},
	{"Its end", SETTINGS(
		SETTING_shutdown_mode, SETTING_shutdown_delay, SETTING_shutdown_pace, SETTING_shutdown_deadline,
		SETTING_suspend_timeout)},
	{"Names of hosts", SETTINGS(
		SETTING_dns_max_ttl, SETTING_dns_nxdomain_ttl, SETTING_dns_zone_check_period, SETTING_resolv_conf)},
	{"TCP", SETTINGS(
		SETTING_tcp_keepalive, SETTING_tcp_keepidle, SETTING_tcp_keepintvl, SETTING_tcp_keepcnt,
		SETTING_tcp_user_timeout, SETTING_tcp_defer_accept, SETTING_tcp_socket_buffer)},
	{"Without effect", SETTINGS(
		SETTING_pkt_buf, SETTING_sbuf_loopcnt, SETTING_job_name)},
};
#define THEME_COUNT (sizeof(themes) / sizeof(themes[0]))

const struct theme *theme_at(size_t i)
{
	return i < THEME_COUNT ? &themes[i] : NULL;
}

bool themes_are_complete(void)
{
	unsigned mentions[SETTING_COUNT] = {0};
	bool ok = true;

	for (size_t i = 0; i < THEME_COUNT; i++)
		for (const enum setting_id *id = themes[i].settings; *id != SETTING_COUNT; id++)
			mentions[*id]++;
	for (int id = 0; id < SETTING_COUNT; id++) {
		if (mentions[id] == 1)
			continue;
		fprintf(stderr, "doc/manual/themes.c: %s is in %u themes instead of one\n",
			setting_info((enum setting_id)id)->name, mentions[id]);
		ok = false;
	}
	return ok;
}
