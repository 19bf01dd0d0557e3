#include "pooler/configure.h"

#include <string.h>

#include "auth/support.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "control/auth_query.h"
#include "pool/applications.h"
#include "pooler/log_setup.h"
#include "session/capacity.h"
#include "session/host_check.h"
#include "session/sweep.h"
#include "session/timeouts.h"

/* Descriptors beyond those of clients and servers: log, listeners, resolver, requests to cancel. */
#define SPARE_DESCRIPTORS 256

/* Clients that may wait for auth_query, and answers that are kept. */
#define AUTH_QUERY_MAX_WAITING 10000
#define AUTH_QUERY_MAX_KEPT 10000

/* Longer than servers live: that of one which is still connected is looked after. */
#define DNS_FORGET_US (UINT64_C(24) * 3600 * CLOCK_SECOND)

void configure_apply(struct pooler *p)
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
	log_setup_lines(LOG_LEVEL_LOG, strbuf_slice(&changes));
	strbuf_fini(&changes);
	registry_reload(p->hub.registry, conf);
	timeouts_renew(&p->hub);
	deadline_drop_unused(p->hub.loop);
	configure_apply(p);
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
	enum setting_id id;
	struct slice name;

	if (error.n == 0)
		error = SLICE_LIT("out of memory");
	name = error;
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

void configure_use_tls(struct pooler *p, const struct tls_setup *setup)
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
	log_setup_lines(LOG_LEVEL_WARNING, strbuf_slice(&problems.warnings));
	if (conf != NULL && !prepare(p, conf, &tls, &problems))
		conf_unref(&conf);
	log_setup_lines(LOG_LEVEL_ERROR, strbuf_slice(&problems.errors));
	strbuf_add_slice(error, strbuf_slice(&problems.errors));
	conf_problems_fini(&problems);
	if (conf == NULL) {
		log_error("RELOAD failed, the former configuration stays in force");
		return false;
	}
	put_in_force(p, conf);
	configure_use_tls(p, &tls);
	log_info("configuration reloaded");
	return true;
}

bool configure_reload(void *arg, struct strbuf *error)
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

bool configure_set(void *arg, const struct conf_change *change, struct strbuf *error)
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
	configure_use_tls(p, &tls);
	return true;
}
