#include "pooler/pooler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/remote.h"
#include "base/clock.h"
#include "base/sys.h"
#include "control/auth_query.h"
#include "pool/applications.h"
#include "pool/stmts.h"
#include "pooler/configure.h"
#include "pooler/endings.h"
#include "pooler/log_setup.h"
#include "pooler/periods.h"
#include "pooler/registry_hooks.h"
#include "pooler/signals.h"
#include "pooler/state.h"
#include "report/stats_line.h"
#include "session/capacity.h"
#include "session/client.h"
#include "session/host_check.h"
#include "session/peers.h"
#include "session/pool_sizes.h"
#include "session/server.h"
#include "session/shutdown.h"
#include "session/sweep.h"

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
	const struct registry_hooks hooks = registry_hooks_of(p);
	const struct dns_options dns = {.resolv_conf = conf->s.resolv_conf};
	const struct auth_helper_options helper = {.pam_confdir = p->pam_confdir};
	const struct auth_query_options queries = {0};
	struct hub *hub = &p->hub;
	const char *why = "out of memory";

	TAILQ_INIT(&hub->cancels);
	TAILQ_INIT(&hub->in_disuse);
	admission_init(&hub->admission);
	hub->started_at = clock_us();
	hub->on_quiet = endings_on_quiet;
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
		hosts_on_gone(registry_hosts(hub->registry), registry_hooks_host_gone, p);
	hub->params = params_new(conf->s.track_extra_parameters, &why);
	if (hub->params != NULL) {
		hub->no_params = paramset_empty(hub->params);
		hub->applications = applications_new(hub->params, (size_t)conf->s.stats_applications);
	}
	if (hub->loop != NULL)
		hub->dns = dns_new(hub->loop, &dns, &why);
	if (hub->dns != NULL)
		dns_on_change(hub->dns, registry_hooks_addresses_changed, p);
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

	p->actions = (struct admin_actions){.reload = configure_reload,
					    .shutdown = endings_shut_down,
					    .hand_over = endings_hand_over,
					    .set = configure_set,
					    .arg = p,
					    .version = POOLER_VERSION,
					    .listen_port = (int)s->listen_port};
	console_init(&p->console, &p->hub, &p->actions);
	periods_init(p);
	log_setup_watch(p);
	if (!listen_as_configured(p, error) || !answer_http(p, error))
		return false;
	signals_watch(p);
	if (!tls_setup_load(p->hub.tls_cache, s, &tls, error))
		return false;
	configure_use_tls(p, &tls);
	configure_apply(p);
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

void pooler_free(struct pooler *p)
{
	struct hub *hub = &p->hub;

	log_setup_unwatch(p);
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
		periods_stop(p);
		signals_unwatch(p);
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
