#include "session/host_check.h"

#include "session/host_login.h"
#include "session/host_session.h"
#include "session/server.h"
#include "session/server_host.h"

/* ------------------------------------------------------------------ what it tells */

static void on_role(void *arg, const struct host_role *role)
{
	struct host_session *hs = arg;

	if (hs->is_unreachable)
		log_info("host %s can be asked again for its role", hs->host->key);
	hs->is_unreachable = false;
	hs->host->is_asked = true;
	host_found_up(hs->hub, hs->host);
	host_set_role(hs->hub, hs->host, role->is_standby ? HOST_STANDBY : HOST_PRIMARY, role->is_read_only);
}

static bool is_listed(const struct database *db, const struct host *host)
{
	for (unsigned i = 0; i < db->nhosts; i++)
		if (db->hosts[i] == host)
			return true;
	return false;
}

/* Whether there is another host that is known to be what the pool wants. */
static bool has_better(const struct pool *pool, const struct host *host)
{
	const struct database *db = pool->database;

	for (unsigned i = 0; i < db->nhosts; i++) {
		const struct host *other = db->hosts[i];

		if (other != host && other->role != HOST_UNKNOWN && host_suits(other, pool->settings.attrs))
			return true;
	}
	return false;
}

/* A host that has been cut off leaves connections behind that nobody would answer on. */
static void leave_if_better(struct hub *hub, const struct host *host)
{
	struct server *s;
	uint32_t i = 0;

	while ((s = slab_next(hub->servers, &i)) != NULL) {
		if (s->phase == SERVER_CLOSED || s->host != host || s->slot.pool->settings.attrs == TARGET_ANY ||
		    !has_better(s->slot.pool, host))
			continue;
		s->slot.close_needed = true;
		if (s->slot.state == POOL_SERVER_IDLE)
			server_close(s, SERVER_END_HOST_UNREACHABLE);
		else if (s->client != NULL)
			server_settle(s);
	}
}

static void on_failure(void *arg, const struct connection_loss *loss, bool is_servers)
{
	struct host_session *hs = arg;

	bool is_not_yet = loss->sqlstate != NULL && strcmp(loss->sqlstate, "57P03") == 0;
	const struct close_error e = {.sqlstate = is_not_yet ? loss->sqlstate : "08001", .message = loss->text};

	if (!hs->is_unreachable)
		log_warning("host %s cannot be asked for its role: %s", hs->host->key, loss->text);
	hs->is_unreachable = true;
	hs->host->is_asked = false;
	if (is_servers && !is_not_yet)
		return;
	host_found_down(hs->hub, hs->host,
			is_not_yet ? BREAKER_NOT_YET : loss->timed_out ? BREAKER_LOGIN : BREAKER_CONNECT, &e);
	host_set_role(hs->hub, hs->host, HOST_UNKNOWN, false);
	leave_if_better(hs->hub, hs->host);
}

/* ------------------------------------------------------------------ who is asked */

static const struct host_probe_ops ops = {.on_role = on_role, .on_failure = on_failure};

static bool is_checked(const struct hub *hub, const struct database *db)
{
	return !db->is_dead && conf_effective(registry_conf(hub->registry), SETTING_target_session_attrs, db->conf, NULL) != TARGET_ANY;
}

/* The first database that wants to know what the host is and knows whom to ask as. */
static const struct database *find_database(const struct hub *hub, const struct host *host,
					    struct connection_target *target)
{
	const struct registry *r = hub->registry;

	for (const struct database *db = registry_next_database(r, NULL); db != NULL;
	     db = registry_next_database(r, (struct database *)db))
		if (is_checked(hub, db) && is_listed(db, host) && host_login_find(hub, db, target))
			return db;
	return NULL;
}

static void set_up(struct hub *hub, struct host *host)
{
	uint64_t interval = (uint64_t)hub_settings(hub)->host_check_interval;
	struct connection_target target = {
		.host = host->name->text, .port = host->port, .tls = tls_setup_connections(hub_settings(hub))};
	const struct database *db = interval == 0 ? NULL : find_database(hub, host, &target);
	struct host_session *hs = db == NULL ? host->session : host_session(hub, host);

	if (hs == NULL)
		return;
	if (db == NULL) {
		if (hs->probe != NULL)
			host_probe_stop(hs->probe);
		host->is_asked = false;
		return;
	}
	if (hs->probe == NULL)
		hs->probe = host_probe_new(hub->loop, hub->dns, &ops, hs);
	target.dbname = database_server_name(db);
	if (hs->probe == NULL || !host_probe_start(hs->probe, &target, interval))
		log_warning("host %s: out of memory, it is not asked for its role", host->key);
}

void host_checks_set_up(struct hub *hub)
{
	struct hosts *hosts = registry_hosts(hub->registry);

	for (struct host *host = hosts_next(hosts, NULL); host != NULL; host = hosts_next(hosts, host))
		set_up(hub, host);
}

void host_checks_note(struct hub *hub, const struct database *db)
{
	if (!is_checked(hub, db))
		return;
	for (unsigned i = 0; i < db->nhosts; i++) {
		const struct host_session *hs = db->hosts[i]->session;

		if (hs == NULL || hs->probe == NULL)
			set_up(hub, db->hosts[i]);
	}
}

void host_checks_now(const struct pool *pool)
{
	const struct database *db = pool->database;

	for (unsigned i = 0; i < db->nhosts; i++) {
		const struct host_session *hs = db->hosts[i]->session;

		if (hs != NULL && hs->probe != NULL)
			host_probe_ask_now(hs->probe);
	}
}
