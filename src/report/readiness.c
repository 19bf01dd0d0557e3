#include "report/readiness.h"

#include "base/clock.h"

static bool is_host_down(const struct host *host, uint64_t now)
{
	if (breaker_state(&host->breaker) == BREAKER_CLOSED)
		return false;
	return host->breaker.nattempts > 0 || now < host->breaker.backoff.retry_at;
}

static bool is_every_host_down(const struct database *db)
{
	uint64_t now = clock_us();

	for (unsigned i = 0; i < db->nhosts; i++)
		if (!is_host_down(db->hosts[i], now))
			return false;
	return db->nhosts > 0;
}

/* NULL: nothing. */
static const char *fault_of_database(const struct database *db)
{
	if (db->is_disabled)
		return "is disabled";
	if (db->is_paused)
		return "is paused";
	return is_every_host_down(db) ? "has no host that is up" : NULL;
}

/* NULL: nothing. */
static const char *fault_of_program(const struct hub *hub)
{
	if (hub->shutdown == SHUTDOWN_DRAIN)
		return "draining";
	if (hub->shutdown != SHUTDOWN_NOT)
		return "shutting down";
	if (!hub->is_ready)
		return "starting";
	if (hub->memory.is_short)
		return "at max_memory";
	if (hub->pause == PAUSE_NOT)
		return NULL;
	return hub->pause == PAUSE_SUSPEND ? "suspended" : "paused";
}

static void say(const struct database *db, const char *fault, bool in_detail, struct strbuf *why)
{
	if (in_detail)
		strbuf_addf(why, "required database %s %s", db->name->text, fault);
	else
		strbuf_addf(why, "a required database %s", fault);
}

static bool is_required(const struct hub *hub, const struct database *db)
{
	return !db->is_dead &&
	       conf_effective(registry_conf(hub->registry), SETTING_database_required, db->conf, NULL) != 0;
}

bool readiness(const struct hub *hub, bool in_detail, struct strbuf *why)
{
	const char *fault = fault_of_program(hub);
	struct database *db = NULL;

	if (fault != NULL && why != NULL)
		strbuf_add_str(why, fault);
	while (fault == NULL && (db = registry_next_database(hub->registry, db)) != NULL) {
		fault = is_required(hub, db) ? fault_of_database(db) : NULL;
		if (fault != NULL && why != NULL)
			say(db, fault, in_detail, why);
	}
	return fault == NULL;
}
