#include "pooler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/console.h"
#include "admin/remote.h"
#include "auth/support.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "control/auth_query.h"
#include "http/server.h"
#include "pool/applications.h"
#include "pool/stmts.h"
#include "process/notify.h"
#include "report/stats_line.h"
#include "session/capacity.h"
#include "session/client.h"
#include "session/host_check.h"
#include "session/host_session.h"
#include "session/idle.h"
#include "session/pause.h"
#include "session/peers.h"
#include "session/pool_sizes.h"
#include "session/server.h"
#include "session/shutdown.h"
#include "session/sweep.h"
#include "session/timeouts.h"

/* Descriptors beyond those of clients and servers: log, listeners, resolver, requests to cancel. */
#define SPARE_DESCRIPTORS 256

/* Clients that may wait for auth_query, and answers that are kept. */
#define AUTH_QUERY_MAX_WAITING 10000
#define AUTH_QUERY_MAX_KEPT 10000

/* Longer than servers live: that of one which is still connected is looked after. */
#define DNS_FORGET_US (UINT64_C(24) * 3600 * CLOCK_SECOND)

struct pooler {
	struct hub hub;
	struct pooler_options options;
	struct console console;
	char *pam_confdir;               /* auth_pam_confdir at start; the helper keeps the pointer */
	struct admin_actions actions;
	struct http *http;               /* NULL: none */
	struct http_actions http_actions;
	ev_signal on_hup, on_int, on_term, on_quit, on_usr1, on_usr2;
	ev_timer stats, latency, log;
	struct notify notify;
};

/* ------------------------------------------------------------------ log */

bool pooler_configure_log(const struct settings *s, const struct pooler_options *options, struct strbuf *error)
{
	const struct log_options o = {
		.file = s->logfile,
		.syslog = s->syslog,
		.syslog_ident = s->syslog_ident,
		.syslog_facility = s->syslog_facility,
		.verbose = (int)s->verbose + options->verbose,
		.quiet = options->quiet,
		.format = (enum log_format)s->log_format,
		.fold_us = (uint64_t)s->log_fold_interval,
		.connections_limit = (unsigned)s->log_connections_limit,
	};
	const char *why;

	if (log_configure(&o, &why))
		return true;
	strbuf_addf(error, "logfile %s: %s", s->logfile, why);
	return false;
}

/* The loop sleeps until lines that were left out are to be told. */
static void wake_log(void *arg, uint64_t at)
{
	struct pooler *p = arg;
	uint64_t now = clock_us();

	ev_timer_stop(p->hub.loop->ev, &p->log);
	ev_now_update(p->hub.loop->ev);
	ev_timer_set(&p->log, at > now ? (double)(at - now) / CLOCK_SECOND : 0, 0.);
	ev_timer_start(p->hub.loop->ev, &p->log);
}

static void on_log_due(EV_P_ ev_timer *timer, int events)
{
	uint64_t next = log_flush_due(clock_us());

	(void)loop;
	(void)events;
	if (next != 0)
		wake_log(timer->data, next);
}

/* Each line of a text as a line of the log. */
static void log_lines(enum log_level level, struct slice text)
{
	struct slice line;

	while (slice_split(&text, '\n', &line))
		if (line.n > 0)
			log_write(level, "%.*s", (int)line.n, line.p);
}

/* ------------------------------------------------------------------ what the registry tells */

static bool on_pool(void *arg, struct pool *pool)
{
	struct pooler *p = arg;

	if (!pool_session_set_up(&p->hub, pool))
		return false;
	host_checks_note(&p->hub, pool->database);
	pool->is_paused = pause_holds(&p->hub, pool->database);
	idle_pool_set_up(pool);
	pool_sizes_note(&p->hub, pool);
	return true;
}

static void on_pool_freed(void *arg, struct pool *pool)
{
	(void)arg;
	pool_session_free(pool);
	idle_user_note(pool->user);
}

static void on_host_gone(void *arg, struct host *host)
{
	(void)arg;
	host_session_free(host);
}

static bool on_user(void *arg, struct user *user)
{
	struct pooler *p = arg;

	if (!timeouts_set_up(&p->hub, user))
		return false;
	idle_user_set_up(user);
	return true;
}

static void on_user_freed(void *arg, struct user *user)
{
	(void)arg;
	timeouts_free(user);
}

static void on_database_changed(void *arg, struct database *db)
{
	struct pooler *p = arg;

	log_info("database %s: the server has changed, its connections will be replaced", db->name->text);
	sweep_retire_servers(&p->hub, db, SERVER_END_SERVER_REPLACED);
}

static void on_database_removed(void *arg, struct database *db)
{
	struct pooler *p = arg;

	log_info("database %s: removed from the configuration", db->name->text);
	sweep_remove_database(&p->hub, db);
}

static void on_auto_database(void *arg, struct database *db)
{
	struct pooler *p = arg;

	log_info("registered new auto-database: %s", db->name->text);
	timeouts_database_unused(&p->hub, db);
}

static void on_addresses_changed(void *arg, const char *host, const struct addr_any *addresses, size_t n)
{
	struct pooler *p = arg;

	sweep_retire_vanished(&p->hub, host, addresses, n);
}

/* ------------------------------------------------------------------ configuration */

static void apply_settings(struct pooler *p)
{
	const struct conf *conf = registry_conf(p->hub.registry);
	const struct settings *s = &conf->s;
	const struct dns_options dns = {.resolv_conf = s->resolv_conf,
					.max_ttl_us = (uint64_t)s->dns_max_ttl,
					.nxdomain_ttl_us = (uint64_t)s->dns_nxdomain_ttl,
					.zone_check_period_us = (uint64_t)s->dns_zone_check_period,
					.forget_us = DNS_FORGET_US};
	const struct auth_query_options queries = {.connect_timeout_us = (uint64_t)s->server_connect_timeout,
						   .query_timeout_us = (uint64_t)s->client_login_timeout,
						   .idle_timeout_us = (uint64_t)s->server_idle_timeout,
						   .ttl_us = (uint64_t)s->auth_query_ttl,
						   .tls = tls_setup_connections(s),
						   .max_waiting = AUTH_QUERY_MAX_WAITING,
						   .max_kept = AUTH_QUERY_MAX_KEPT};

	p->hub.tcp = (struct tcp_options){
		.keepalive = s->tcp_keepalive,
		.keepidle = (int)s->tcp_keepidle,
		.keepintvl = (int)s->tcp_keepintvl,
		.keepcnt = (int)s->tcp_keepcnt,
		.user_timeout_ms = (int)s->tcp_user_timeout,
		.socket_buffer = (int)s->tcp_socket_buffer,
	};
	sys_allow_core_dumps(s->core_dumps);
	listeners_set_tcp(p->hub.listeners, &p->hub.tcp);
	p->hub.mock_type = client_auth_mock_type(conf->userlist);
	auth_helper_set_limits(p->hub.auth_helper, (unsigned)s->auth_helper_queue, (uint64_t)s->client_login_timeout);
	dns_configure(p->hub.dns, &dns);
	auth_queries_configure(p->hub.auth_queries, &queries);
	if (!applications_resize(p->hub.applications, (size_t)s->stats_applications))
		log_warning("stats_applications: out of memory, it stays as it was");
	ev_timer_stop(p->hub.loop->ev, &p->stats);
	p->stats.repeat = (double)s->stats_period / CLOCK_SECOND;
	ev_timer_again(p->hub.loop->ev, &p->stats);
	p->hub.admission.max_descriptors =
		sys_raise_nofile((size_t)s->max_client_conn + ADMISSION_LEAST + SPARE_DESCRIPTORS +
				 (size_t)s->default_pool_size * (registry_pool_count(p->hub.registry) + 16));
	memory_guard_set_up(&p->hub);
}

/* Puts a snapshot in force and takes over its reference. */
static void put_in_force(struct pooler *p, struct conf *conf)
{
	struct strbuf changes;

	strbuf_init(&changes);
	conf_print_changes(registry_conf(p->hub.registry), conf, &changes);
	log_lines(LOG_LEVEL_LOG, strbuf_slice(&changes));
	strbuf_fini(&changes);
	registry_reload(p->hub.registry, conf);
	timeouts_renew(&p->hub);
	deadline_drop_unused(p->hub.loop);
	apply_settings(p);
	http_apply_settings(p->http);
	host_checks_set_up(&p->hub);
	capacity_set_up(&p->hub);
	sweep_close_excess(&p->hub);
	sweep_close_retired(&p->hub);
	sweep_fill_pools(&p->hub);
}

static struct conf *load(const char *file, const struct pooler_options *options, const struct conf *running,
			 struct conf_problems *problems)
{
	struct conf *conf = conf_reload(file, options->assignments, options->nassignments, running, problems);
	size_t before = problems->nerrors;

	if (conf == NULL)
		return NULL;
	auth_support_check(conf, problems);
	if (problems->nerrors > before)
		conf_unref(&conf);
	return conf;
}

struct conf *pooler_load(const char *file, const struct pooler_options *options, struct conf_problems *problems)
{
	return load(file, options, NULL, problems);
}

/* What is wrong about TLS or the log names the setting at its beginning: where that was said is put in front. */
static void blame(const struct conf *conf, struct slice error, struct conf_problems *problems)
{
	struct conf_place at = {conf->s.conffile, 0};
	struct slice name = error;
	enum setting_id id;

	name.n = strcspn(name.p, ": ");
	if (setting_find(name, &id))
		at = conf_origin(conf, id);
	conf_error(problems, at, "%.*s", (int)error.n, error.p);
}

void pooler_check_tls(const struct conf *conf, struct conf_problems *problems)
{
	struct tls_cache *cache = tls_cache_new();
	struct tls_setup setup;
	struct strbuf error;

	strbuf_init(&error);
	if (cache == NULL)
		strbuf_add_str(&error, "out of memory");
	else if (http_check(&conf->s, &error) && tls_setup_load(cache, &conf->s, &setup, &error))
		tls_setup_drop(&setup);
	if (error.n > 0)
		blame(conf, strbuf_slice(&error), problems);
	strbuf_fini(&error);
	tls_cache_free(cache);
}

/* Takes over the contexts; servers that were connected otherwise are replaced. */
static void use_tls(struct pooler *p, const struct tls_setup *setup)
{
	struct tls_setup old = p->hub.tls;

	p->hub.tls = *setup;
	p->hub.loop->max_handshakes = (unsigned)hub_settings(&p->hub)->tls_handshakes_per_turn;
	if (!tls_setup_same_servers(&old, setup))
		sweep_retire_servers(&p->hub, NULL, SERVER_END_SERVER_REPLACED);
	tls_setup_drop(&old);
}

/* What has to be opened along with a snapshot. False: nothing has changed, and `problems` says why. */
static bool prepare(struct pooler *p, const struct conf *conf, struct tls_setup *tls, struct conf_problems *problems)
{
	struct strbuf error;
	bool ok;

	strbuf_init(&error);
	ok = tls_setup_load(p->hub.tls_cache, &conf->s, tls, &error);
	if (ok && !(http_prepare(p->http, &conf->s, &error) && pooler_configure_log(&conf->s, &p->options, &error))) {
		tls_setup_drop(tls);
		ok = false;
	}
	if (!ok)
		blame(conf, strbuf_slice(&error), problems);
	strbuf_fini(&error);
	return ok;
}

static bool read_anew(struct pooler *p, struct strbuf *error)
{
	const struct conf *running = registry_conf(p->hub.registry);
	struct conf_problems problems;
	struct tls_setup tls;
	struct conf *conf;

	conf_problems_init(&problems);
	conf = load(running->s.conffile, &p->options, running, &problems);
	log_lines(LOG_LEVEL_WARNING, strbuf_slice(&problems.warnings));
	if (conf != NULL && !prepare(p, conf, &tls, &problems))
		conf_unref(&conf);
	log_lines(LOG_LEVEL_ERROR, strbuf_slice(&problems.errors));
	strbuf_add_slice(error, strbuf_slice(&problems.errors));
	conf_problems_fini(&problems);
	if (conf == NULL) {
		log_error("RELOAD failed, the former configuration stays in force");
		return false;
	}
	put_in_force(p, conf);
	use_tls(p, &tls);
	log_info("configuration reloaded");
	return true;
}

static bool reload(void *arg, struct strbuf *error)
{
	struct pooler *p = arg;
	bool ok;

	notify_reloading(&p->notify);
	ok = read_anew(p, error);
	notify_reloaded(&p->notify);
	return ok;
}

/* Files are read by a reload only. */
static bool is_read_by_reload(const struct conf_change *change, struct strbuf *error)
{
	struct slice key = change->key;

	if (change->scope != SCOPE_GLOBAL ||
	    !(slice_is(key, "auth_file") || slice_is(key, "auth_hba_file") || slice_is(key, "auth_ident_file")))
		return false;
	strbuf_addf(error, "%.*s is read by RELOAD: change it in the configuration file", (int)key.n, key.p);
	return true;
}

/* A setting must fit those beside it. */
static bool is_fit(struct pooler *p, const struct conf *conf, struct tls_setup *tls, struct strbuf *error)
{
	struct conf_problems problems;
	bool ok;

	conf_problems_init(&problems);
	conf_check(conf, &problems);
	auth_support_check(conf, &problems);
	ok = problems.nerrors == 0 && prepare(p, conf, tls, &problems);
	strbuf_add_slice(error, slice_trim(strbuf_slice(&problems.errors)));
	conf_problems_fini(&problems);
	return ok;
}

static bool set(void *arg, const struct conf_change *change, struct strbuf *error)
{
	struct pooler *p = arg;
	struct tls_setup tls;
	struct conf *conf;

	if (is_read_by_reload(change, error))
		return false;
	conf = conf_with(registry_conf(p->hub.registry), change, error);
	if (conf == NULL)
		return false;
	if (!is_fit(p, conf, &tls, error)) {
		conf_unref(&conf);
		return false;
	}
	put_in_force(p, conf);
	use_tls(p, &tls);
	return true;
}

/* ------------------------------------------------------------------ end */

/* Something that a shutdown or the console waits for may have happened. */
static void on_quiet(void *arg)
{
	struct pooler *p = arg;

	if (shutdown_is_complete(&p->hub))
		loop_stop(p->hub.loop);
	console_look(&p->console);
}

static void begin_to_end(struct pooler *p, enum shutdown_mode mode)
{
	shutdown_begin(&p->hub, mode, false);
	notify_stopping(&p->notify);
}

static void shut_down(void *arg, enum admin_shutdown how)
{
	struct pooler *p = arg;

	switch (how) {
	case ADMIN_SHUTDOWN_IMMEDIATE:
		notify_stopping(&p->notify);
		loop_stop(p->hub.loop);
		break;
	case ADMIN_SHUTDOWN_WAIT_FOR_SERVERS:
		begin_to_end(p, SHUTDOWN_WAIT_FOR_SERVERS);
		break;
	case ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS:
		begin_to_end(p, SHUTDOWN_WAIT_FOR_CLIENTS);
		break;
	case ADMIN_SHUTDOWN_DRAIN:
		begin_to_end(p, SHUTDOWN_DRAIN);
		break;
	}
}

/* What SIGTERM asks for is a setting. */
static enum shutdown_mode mode_of_term(const struct pooler *p)
{
	switch (hub_settings(&p->hub)->shutdown_mode) {
	case SHUTDOWN_MODE_WAIT_FOR_SERVERS:
		return SHUTDOWN_WAIT_FOR_SERVERS;
	case SHUTDOWN_MODE_DRAIN:
		return SHUTDOWN_DRAIN;
	default:
		return SHUTDOWN_WAIT_FOR_CLIENTS;
	}
}

static void hand_over(void *arg, uint32_t pid)
{
	struct pooler *p = arg;

	log_info("process %u has taken over, shutting down", pid);
	listeners_hand_over(p->hub.listeners);
	if (p->hub.http_listeners != NULL)
		listeners_hand_over(p->hub.http_listeners);
	p->options.on_handed_over(p->options.arg);
	notify_replaced(&p->notify, (pid_t)pid);
	shutdown_begin(&p->hub, mode_of_term(p), true);
}

/* ------------------------------------------------------------------ signals */

static void on_hangup(EV_P_ ev_signal *w, int events)
{
	struct strbuf error;

	(void)loop;
	(void)events;
	log_info("got SIGHUP, re-reading config");
	strbuf_init(&error);
	reload(w->data, &error);
	strbuf_fini(&error);
}

static void terminate(struct pooler *p)
{
	static const char *const plans[] = {
		[SHUTDOWN_WAIT_FOR_SERVERS] = "waiting for all servers to be released",
		[SHUTDOWN_WAIT_FOR_CLIENTS] = "waiting for all clients to disconnect",
		[SHUTDOWN_DRAIN] = "sending all clients away",
	};
	enum shutdown_mode mode = mode_of_term(p);

	log_info("got SIGTERM, shutting down, %s", plans[mode]);
	begin_to_end(p, mode);
}

/* The first asks for a clean end, the second means it. */
static void on_end(EV_P_ ev_signal *w, int events)
{
	struct pooler *p = w->data;

	(void)loop;
	(void)events;
	if (p->hub.shutdown != SHUTDOWN_NOT) {
		log_info("got a second signal while shutting down, exiting at once");
		shut_down(p, ADMIN_SHUTDOWN_IMMEDIATE);
	} else if (w->signum == SIGTERM) {
		terminate(p);
	} else {
		log_info("got SIGINT, shutting down, waiting for all servers to be released");
		shut_down(p, ADMIN_SHUTDOWN_WAIT_FOR_SERVERS);
	}
}

static void on_immediate_end(EV_P_ ev_signal *w, int events)
{
	(void)loop;
	(void)events;
	log_info("got SIGQUIT, fast exit");
	shut_down(w->data, ADMIN_SHUTDOWN_IMMEDIATE);
}

static void on_pause(EV_P_ ev_signal *w, int events)
{
	struct pooler *p = w->data;

	(void)loop;
	(void)events;
	if (p->hub.shutdown != SHUTDOWN_NOT) {
		log_info("got SIGUSR1 while shutting down, ignoring");
	} else if (p->hub.pause != PAUSE_NOT) {
		log_info("got SIGUSR1, but already paused/suspended");
	} else {
		log_info("got SIGUSR1, pausing all activity");
		pause_all(&p->hub);
	}
}

static void on_resume(EV_P_ ev_signal *w, int events)
{
	struct pooler *p = w->data;

	(void)loop;
	(void)events;
	if (p->hub.shutdown != SHUTDOWN_NOT) {
		log_info("got SIGUSR2 while shutting down, ignoring");
	} else if (p->hub.pause == PAUSE_NOT) {
		log_info("got SIGUSR2, but not paused/suspended");
	} else {
		log_info("got SIGUSR2, continuing from %s", p->hub.pause == PAUSE_SUSPEND ? "SUSPEND" : "PAUSE");
		pause_resume_all(&p->hub);
	}
}

static void watch_signal(struct pooler *p, ev_signal *w, int number, void (*fn)(EV_P_ ev_signal *, int))
{
	ev_signal_init(w, fn, number);
	w->data = p;
	ev_signal_start(p->hub.loop->ev, w);
}

/* ------------------------------------------------------------------ statistics */

/* Some pools in each turn of the loop, so that no query waits for all. */
#define POOLS_A_TURN 100
#define SECONDS_BETWEEN_TURNS 0.001

static void on_latency(EV_P_ ev_timer *timer, int events)
{
	struct pooler *p = timer->data;

	(void)loop;
	(void)events;
	if (!registry_turn_latency(p->hub.registry, POOLS_A_TURN))
		ev_timer_stop(p->hub.loop->ev, timer);
}

static void on_stats(EV_P_ ev_timer *timer, int events)
{
	struct pooler *p = timer->data;
	struct strbuf line;

	(void)loop;
	(void)events;
	registry_turn_stats(p->hub.registry);
	stats_turn(&p->console.stats);
	ev_timer_again(p->hub.loop->ev, &p->latency);
	if (!hub_settings(&p->hub)->log_stats)
		return;
	strbuf_init(&line);
	stats_line_print(&p->hub, &line);
	if (!line.failed)
		log_info("%s", line.p);
	strbuf_fini(&line);
}

/* ------------------------------------------------------------------ whole */

static void on_accept(void *arg, const struct accepted *accepted)
{
	client_accept(arg, accepted);
}

static bool listen_as_configured(struct pooler *p, struct strbuf *error)
{
	const struct settings *s = hub_settings(&p->hub);
	const struct listen_options o = {
		.addresses = s->listen_addr,
		.port = (int)s->listen_port,
		.backlog = (int)s->listen_backlog,
		.reuseport = s->so_reuseport,
		.defer_accept = (int)s->tcp_defer_accept,
		.unix_dir = s->unix_socket_dir,
		.unix_mode = (int)s->unix_socket_mode,
		.unix_group = s->unix_socket_group,
		.inherited = p->options.inherited,
		.take_all = p->options.take_all,
	};

	if (s->listen_addr[0] == '\0' && s->unix_socket_dir[0] == '\0' && p->options.inherited->n == 0) {
		strbuf_add_str(error, "nowhere to listen: both listen_addr and unix_socket_dir are empty");
		return false;
	}
	p->hub.listeners = listeners_open(p->hub.loop, &o, on_accept, &p->hub, error);
	return p->hub.listeners != NULL;
}

/* The parts that sessions share. */
static bool make_hub(struct pooler *p, struct conf *conf, struct strbuf *error)
{
	const struct registry_hooks hooks = {.on_pool = on_pool,
					     .on_pool_freed = on_pool_freed,
					     .on_user = on_user,
					     .on_user_freed = on_user_freed,
					     .on_database_changed = on_database_changed,
					     .on_database_removed = on_database_removed,
					     .on_auto_database = on_auto_database,
					     .arg = p};
	const struct dns_options dns = {.resolv_conf = conf->s.resolv_conf};
	const struct auth_helper_options helper = {.pam_confdir = p->pam_confdir};
	const struct auth_query_options queries = {0};
	struct hub *hub = &p->hub;
	const char *why = "out of memory";

	TAILQ_INIT(&hub->cancels);
	TAILQ_INIT(&hub->in_disuse);
	admission_init(&hub->admission);
	hub->started_at = clock_us();
	hub->on_quiet = on_quiet;
	hub->on_quiet_arg = p;
	hub->looked_up_type = SECRET_SCRAM;
	sys_random(hub->mock_key, sizeof(hub->mock_key));
	sys_random(&hub->cancel_secret, sizeof(hub->cancel_secret));
	hub->loop = loop_new();
	hub->clients = slab_new("client_cache", sizeof(struct client));
	hub->servers = slab_new("server_cache", sizeof(struct server));
	hub->stmts = stmts_new();
	hub->keys = keycache_new(KEYCACHE_SIZE);
	hub->tls_cache = tls_cache_new();
	if (hub->loop != NULL)
		hub->auth_helper = auth_helper_new(hub->loop, &helper);
	hub->registry = registry_new(conf, &hooks);
	if (hub->registry != NULL)
		hosts_on_gone(registry_hosts(hub->registry), on_host_gone, p);
	hub->params = params_new(conf->s.track_extra_parameters, &why);
	if (hub->params != NULL) {
		hub->no_params = paramset_empty(hub->params);
		hub->applications = applications_new(hub->params, (size_t)conf->s.stats_applications);
	}
	if (hub->loop != NULL)
		hub->dns = dns_new(hub->loop, &dns, &why);
	if (hub->dns != NULL)
		dns_on_change(hub->dns, on_addresses_changed, p);
	if (hub->dns != NULL)
		hub->auth_queries = auth_queries_new(hub->loop, hub->dns, &queries);
	if (hub->clients != NULL && hub->servers != NULL && hub->stmts != NULL && hub->keys != NULL &&
	    hub->tls_cache != NULL && hub->auth_helper != NULL && hub->registry != NULL && hub->no_params != NULL &&
	    hub->applications != NULL && hub->auth_queries != NULL)
		return true;
	strbuf_add_str(error, why);
	return false;
}

static void run_command(void *arg, struct slice sql, const char *who, struct http_result *result)
{
	struct pooler *p = arg;
	struct remote_answer answer;

	remote_run(&p->console, sql, who, &answer);
	result->outcome = answer.outcome == REMOTE_DONE ? HTTP_COMMAND_DONE :
			  answer.outcome == REMOTE_BEGUN ? HTTP_COMMAND_BEGUN : HTTP_COMMAND_REFUSED;
	snprintf(result->sqlstate, sizeof(result->sqlstate), "%s", answer.sqlstate);
	snprintf(result->message, sizeof(result->message), "%s", answer.message);
}

/* Sockets that the service manager has passed are all for clients. */
static bool answer_http(struct pooler *p, struct strbuf *error)
{
	struct inherited *inherited = p->options.take_all ? NULL : p->options.inherited;

	p->http_actions = (struct http_actions){.run_command = run_command, .arg = p};
	p->http = http_new(&p->hub, &p->console.report, &p->http_actions, inherited, error);
	p->hub.http_listeners = http_listeners(p->http);
	return error->n == 0;
}

static bool start(struct pooler *p, struct strbuf *error)
{
	const struct settings *s = hub_settings(&p->hub);
	struct tls_setup tls;

	p->actions = (struct admin_actions){.reload = reload,
					    .shutdown = shut_down,
					    .hand_over = hand_over,
					    .set = set,
					    .arg = p,
					    .version = POOLER_VERSION,
					    .listen_port = (int)s->listen_port};
	console_init(&p->console, &p->hub, &p->actions);
	ev_init(&p->stats, on_stats);
	p->stats.data = p;
	ev_init(&p->latency, on_latency);
	p->latency.data = p;
	p->latency.repeat = SECONDS_BETWEEN_TURNS;
	ev_init(&p->log, on_log_due);
	p->log.data = p;
	log_on_pending(wake_log, p);
	if (!listen_as_configured(p, error) || !answer_http(p, error))
		return false;
	watch_signal(p, &p->on_hup, SIGHUP, on_hangup);
	watch_signal(p, &p->on_int, SIGINT, on_end);
	watch_signal(p, &p->on_term, SIGTERM, on_end);
	watch_signal(p, &p->on_quit, SIGQUIT, on_immediate_end);
	watch_signal(p, &p->on_usr1, SIGUSR1, on_pause);
	watch_signal(p, &p->on_usr2, SIGUSR2, on_resume);
	if (!tls_setup_load(p->hub.tls_cache, s, &tls, error))
		return false;
	use_tls(p, &tls);
	apply_settings(p);
	host_checks_set_up(&p->hub);
	capacity_set_up(&p->hub);
	sweep_fill_pools(&p->hub);
	p->hub.is_ready = true;
	return true;
}

struct pooler *pooler_new(struct conf *conf, const struct pooler_options *options, struct strbuf *error)
{
	struct pooler *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		strbuf_add_str(error, "out of memory");
		return NULL;
	}
	p->options = *options;
	if (conf->s.auth_pam_confdir[0] != '\0')
		p->pam_confdir = strdup(conf->s.auth_pam_confdir);
	if (!make_hub(p, conf, error) || !start(p, error)) {
		pooler_free(p);
		return NULL;
	}
	return p;
}

void pooler_own_sockets(struct pooler *p)
{
	listeners_own(p->hub.listeners);
	if (p->hub.http_listeners != NULL)
		listeners_own(p->hub.http_listeners);
}

static void print_status(void *arg, struct strbuf *out)
{
	const struct pooler *p = arg;

	status_line_print(&p->hub, out);
}

void pooler_run(struct pooler *p)
{
	notify_start(&p->notify, p->hub.loop, print_status, p);
	loop_run(p->hub.loop);
}

static void stop_watching(struct pooler *p)
{
	struct ev_loop *ev = p->hub.loop->ev;

	ev_timer_stop(ev, &p->stats);
	ev_timer_stop(ev, &p->latency);
	ev_timer_stop(ev, &p->log);
	ev_signal_stop(ev, &p->on_hup);
	ev_signal_stop(ev, &p->on_int);
	ev_signal_stop(ev, &p->on_term);
	ev_signal_stop(ev, &p->on_quit);
	ev_signal_stop(ev, &p->on_usr1);
	ev_signal_stop(ev, &p->on_usr2);
}

void pooler_free(struct pooler *p)
{
	struct hub *hub = &p->hub;

	log_on_pending(NULL, NULL);
	listeners_close(&hub->listeners);
	http_free(&p->http);
	if (hub->loop != NULL && hub->registry != NULL) {
		drain_stop(hub);
		capacity_stop(hub);
		memory_guard_stop(hub);
		hang_ups_stop(hub);
		pool_sizes_stop(hub);
		notify_stop(&p->notify);
		hub->shutdown = SHUTDOWN_WAIT_FOR_SERVERS;
		sweep_close_all(hub);
		loop_bury(hub->loop);
		console_fini(&p->console);
		stop_watching(p);
	}
	auth_helper_free(hub->auth_helper);
	/* Pools and hosts still have questions to take back. */
	registry_free(hub->registry);
	auth_queries_free(hub->auth_queries);
	dns_free(hub->dns);
	peers_free(hub);
	if (hub->params != NULL)
		paramset_unref(hub->params, &hub->no_params);
	applications_free(&hub->applications);
	params_free(hub->params);
	stmts_free(&hub->stmts);
	keycache_free(&hub->keys);
	tls_setup_drop(&hub->tls);
	tls_cache_free(hub->tls_cache);
	slab_free(hub->clients);
	slab_free(hub->servers);
	if (hub->loop != NULL)
		loop_free(hub->loop);
	free(p->pam_confdir);
	free(p);
}
