#include "session/capacity.h"

#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/capacity_probe.h"
#include "session/host_login.h"
#include "session/host_session.h"

/* too_many_connections */
#define SQLSTATE_FULL "53300"

struct host_capacity {
	struct hub *hub;
	struct host *host;
	struct capacity_probe *probe;
	bool is_counted;                 /* among the hub's questions under way */
	struct failure failure;          /* why the last question was not answered */
	bool is_full;                    /* that was for want of a slot */
	bool has_answer;
	struct capacity_answer answer;
	unsigned own;                    /* servers that pools had then */
	unsigned share;                  /* of this pooler, by that answer */
	uint64_t answered_at;
	enum capacity_state told;        /* in the log */
};

/* ------------------------------------------------------------------ what is known */

static struct host_capacity *capacity_of(const struct host *host)
{
	const struct host_session *hs = host->session;

	return hs == NULL ? NULL : hs->capacity;
}

static bool is_used(const struct hub *hub, const struct host *host)
{
	const struct registry *r = hub->registry;

	for (const struct database *db = registry_next_database(r, NULL); db != NULL;
	     db = registry_next_database(r, (struct database *)db))
		if (capacity_is_listed(db, host))
			return true;
	return false;
}

static void find_verdict(const struct hub *hub, const struct host_capacity *c, struct capacity_finding *f)
{
	f->facts = (struct capacity_facts){
		.max_connections = c->answer.max_connections,
		.reserved = c->answer.superuser_reserved + c->answer.reserved,
		.in_use = c->answer.in_use,
		.own = c->own,
		.knows_own = hub->servers != NULL,
		.instances = (unsigned)hub_settings(hub)->instances,
		.is_full = c->is_full,
	};
	capacity_demand_find(hub->registry, c->host, &f->facts.demand);
	capacity_judge(&f->facts, &f->verdict);
}

bool capacity_find(const struct hub *hub, const struct host *host, struct capacity_finding *f)
{
	const struct host_capacity *c = capacity_of(host);

	*f = (struct capacity_finding){0};
	if (!is_used(hub, host))
		return false;
	if (c == NULL)
		return true;
	f->why = failure_text(c->failure.message);
	f->has_answer = c->has_answer;
	f->answer = &c->answer;
	f->answered_at = c->answered_at;
	if (c->has_answer)
		find_verdict(hub, c, f);
	return true;
}

unsigned capacity_share(const struct host *host)
{
	const struct host_capacity *c = capacity_of(host);

	return c == NULL || !c->has_answer ? UINT_MAX : c->share;
}

/* ------------------------------------------------------------------ what the log hears */

static void tell(struct host_capacity *c, const struct capacity_finding *f)
{
	struct strbuf advice;

	strbuf_init(&advice);
	capacity_advise(&f->facts, &f->verdict, &advice);
	if (f->verdict.state == CAPACITY_OK)
		log_info("host %s: capacity ok", c->host->key);
	else if (!advice.failed)
		log_warning("host %s: capacity %s: %s", c->host->key, capacity_state_word(f->verdict.state), advice.p);
	strbuf_fini(&advice);
}

/* What is well from the beginning need not be told. */
static void look(struct host_capacity *c)
{
	struct capacity_finding f;

	if (!capacity_find(c->hub, c->host, &f) || !f.has_answer)
		return;
	c->share = f.verdict.share;
	if (f.verdict.state == c->told)
		return;
	if (f.verdict.state != CAPACITY_OK || c->told != CAPACITY_UNKNOWN)
		tell(c, &f);
	c->told = f.verdict.state;
}

/* ------------------------------------------------------------------ answers */

static void end_question(struct host_capacity *c)
{
	struct capacity_checks *checks = &c->hub->capacity;

	if (!c->is_counted)
		return;
	c->is_counted = false;
	if (--checks->nasking == 0 && checks->on_idle != NULL)
		checks->on_idle(checks->arg);
}

static void on_answer(void *arg, const struct capacity_answer *answer)
{
	struct host_capacity *c = arg;

	failure_clear(&c->failure);
	c->is_full = false;
	c->has_answer = true;
	c->answer = *answer;
	c->own = c->host->nservers;
	c->answered_at = clock_us();
	look(c);
	end_question(c);
}

/* The log hears of it once, until there is an answer again. */
static void fail(struct host_capacity *c, const char *sqlstate, const char *text)
{
	if (failure_text(c->failure.message) == NULL)
		log_info("host %s cannot be asked for its capacity: %s", c->host->key, text);
	failure_set(&c->failure, sqlstate, text, NULL, NULL, false);
}

static void on_failure(void *arg, const struct connection_loss *loss)
{
	struct host_capacity *c = arg;

	fail(c, loss->sqlstate,
	     loss->needs_password ? "the server asks for a password and none is known in the clear" : loss->text);
	c->is_full = loss->sqlstate != NULL && strcmp(loss->sqlstate, SQLSTATE_FULL) == 0;
	look(c);
	end_question(c);
}

static const struct capacity_probe_ops ops = {.on_answer = on_answer, .on_failure = on_failure};

/* ------------------------------------------------------------------ questions */

static struct host_capacity *capacity_made(struct hub *hub, struct host *host)
{
	struct host_session *hs = host_session(hub, host);
	struct host_capacity *c = hs == NULL ? NULL : hs->capacity;

	if (hs == NULL || c != NULL)
		return c;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->hub = hub;
	c->host = host;
	c->probe = capacity_probe_new(hub->loop, hub->dns, &ops, c);
	hs->capacity = c;
	if (c->probe == NULL)
		capacity_host_free(&hs->capacity);
	return hs->capacity;
}

static bool find_in_auth_file(const struct hub *hub, struct connection_target *target)
{
	const struct userlist *list = registry_conf(hub->registry)->userlist;

	for (size_t i = 0; i < userlist_count(list); i++) {
		const struct userlist_entry *entry = userlist_at(list, i);

		if (entry->type != SECRET_PLAIN || entry->secret[0] == '\0')
			continue;
		target->user = entry->name;
		target->password = entry->secret;
		return true;
	}
	return false;
}

/* A database there that somebody is known for; if there is none, any with a user of auth_file. */
static bool find_target(const struct hub *hub, const struct host *host, struct connection_target *target)
{
	const struct registry *r = hub->registry;
	const struct database *any = NULL;

	for (const struct database *db = registry_next_database(r, NULL); db != NULL;
	     db = registry_next_database(r, (struct database *)db)) {
		if (!capacity_is_listed(db, host))
			continue;
		any = db;
		if (host_login_find(hub, db, target))
			break;
	}
	if (any == NULL || (target->user == NULL && !find_in_auth_file(hub, target)))
		return false;
	target->dbname = database_server_name(any);
	return true;
}

static void ask(struct host_capacity *c)
{
	const struct hub *hub = c->hub;
	struct connection_target target = {.host = c->host->name->text,
					   .port = c->host->port,
					   .tls = tls_setup_connections(hub_settings(hub))};

	if (!find_target(hub, c->host, &target)) {
		fail(c, "08001", "nobody is known yet to log in as: neither user of the database nor auth_user is set");
		return;
	}
	if (!capacity_probe_ask(c->probe, &target)) {
		fail(c, "53200", "out of memory");
		return;
	}
	if (!c->is_counted)
		c->hub->capacity.nasking++;
	c->is_counted = true;
}

void capacity_ask(struct hub *hub)
{
	struct hosts *hosts = registry_hosts(hub->registry);

	for (struct host *host = hosts_next(hosts, NULL); host != NULL; host = hosts_next(hosts, host)) {
		struct host_capacity *c = is_used(hub, host) ? capacity_made(hub, host) : NULL;

		if (c != NULL)
			ask(c);
	}
}

void capacity_host_free(struct host_capacity **c)
{
	struct host_capacity *capacity = *c;

	*c = NULL;
	if (capacity == NULL)
		return;
	capacity_probe_free(&capacity->probe);
	failure_clear(&capacity->failure);
	end_question(capacity);
	free(capacity);
}

/* ------------------------------------------------------------------ when */

static void on_again(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	capacity_ask(timer->data);
}

static void await_full_second(struct hub *hub)
{
	ev_timer *timer = &hub->capacity.sample;

	ev_now_update(hub->loop->ev);
	ev_timer_set(timer, (double)(CLOCK_SECOND - clock_us() % CLOCK_SECOND) / CLOCK_SECOND, 0.);
	ev_timer_start(hub->loop->ev, timer);
}

static void on_sample(EV_P_ ev_timer *timer, int events)
{
	struct hub *hub = timer->data;

	(void)loop;
	(void)events;
	if (in_use_sample(registry_in_use(hub->registry), clock_us()))
		await_full_second(hub);
}

static void on_first_in_use(void *arg)
{
	struct hub *hub = arg;

	if (!ev_is_active(&hub->capacity.sample))
		await_full_second(hub);
}

static void sample_from_now_on(struct hub *hub)
{
	struct pools_in_use *in_use = registry_in_use(hub->registry);

	if (in_use->on_first != NULL)
		return;
	ev_init(&hub->capacity.sample, on_sample);
	hub->capacity.sample.data = hub;
	in_use->on_first = on_first_in_use;
	in_use->arg = hub;
}

static void ask_every(struct hub *hub, uint64_t interval_us)
{
	ev_timer *timer = &hub->capacity.again;

	ev_timer_stop(hub->loop->ev, timer);
	ev_init(timer, on_again);
	timer->data = hub;
	timer->repeat = (double)interval_us / CLOCK_SECOND;
	if (interval_us > 0)
		ev_timer_again(hub->loop->ev, timer);
}

static void forget_what_was_told(struct hub *hub)
{
	struct hosts *hosts = registry_hosts(hub->registry);

	for (struct host *host = hosts_next(hosts, NULL); host != NULL; host = hosts_next(hosts, host)) {
		struct host_capacity *c = capacity_of(host);

		if (c != NULL)
			c->told = CAPACITY_UNKNOWN;
	}
}

void capacity_set_up(struct hub *hub)
{
	uint64_t interval = (uint64_t)hub_settings(hub)->capacity_check_interval;

	ask_every(hub, interval);
	sample_from_now_on(hub);
	forget_what_was_told(hub);
	if (interval > 0)
		capacity_ask(hub);
}

void capacity_stop(struct hub *hub)
{
	ev_timer_stop(hub->loop->ev, &hub->capacity.again);
	registry_in_use(hub->registry)->on_first = NULL;
	ev_timer_stop(hub->loop->ev, &hub->capacity.sample);
}
