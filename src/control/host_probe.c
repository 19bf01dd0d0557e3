#include "control/host_probe.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "control/connection_target.h"

/* No question follows another sooner. */
#define MOMENT_US (CLOCK_SECOND / 10)

/* Nor does one that a loss brings about, should a server end each connection right after its answer. */
#define BETWEEN_LOSSES_US CLOCK_SECOND

/* Bounds of the time for one step of a question. */
#define LEAST_STEP_US CLOCK_SECOND
#define MOST_STEP_US (5 * CLOCK_SECOND)

/* Follows ALTER SYSTEM and a promotion in a session that was there before; a transaction of a standby's is read-only. */
static const char question[] =
	"SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

enum probe_state {
	PROBE_STOPPED,
	PROBE_RESTING,                   /* the timer runs; the connection is closed or idle */
	PROBE_ASKING,                    /* from opening the connection to the answer */
};

struct host_probe {
	struct loop *loop;
	const struct host_probe_ops *ops;
	void *arg;
	enum probe_state state;
	bool is_kept;                    /* ASKING: over a connection that was open before */
	bool is_wanted_again;            /* ASKING: somebody has asked for another question meanwhile */
	uint64_t interval_us;
	uint64_t asked_at, due_at;       /* the last question and, RESTING, the next one */
	uint64_t reasked_at;             /* the last question that came of a loss */
	ev_timer timer;
	struct connection connection;
	struct connection_target target; /* a copy, all zero when STOPPED */
};

/* ------------------------------------------------------------------ when to ask */

static void set_due(struct host_probe *p, uint64_t due_at)
{
	uint64_t now = clock_us();

	p->due_at = due_at;
	ev_timer_stop(p->loop->ev, &p->timer);
	ev_now_update(p->loop->ev);
	ev_timer_set(&p->timer, due_at > now ? (double)(due_at - now) / CLOCK_SECOND : 0, 0.);
	ev_timer_start(p->loop->ev, &p->timer);
}

static void set_due_no_later(struct host_probe *p, uint64_t due_at)
{
	if (due_at < p->due_at)
		set_due(p, due_at);
}

static uint64_t with_jitter(uint64_t interval_us)
{
	uint32_t chance;

	sys_random(&chance, sizeof(chance));
	return interval_us - (uint64_t)((double)interval_us / 10 * chance / UINT32_MAX);
}

/* The question is over. */
static void rest(struct host_probe *p)
{
	p->state = PROBE_RESTING;
	set_due(p, p->asked_at + (p->is_wanted_again ? MOMENT_US : with_jitter(p->interval_us)));
}

/* ------------------------------------------------------------------ asking */

static uint64_t step_us(const struct host_probe *p)
{
	if (p->interval_us < LEAST_STEP_US)
		return LEAST_STEP_US;
	return p->interval_us < MOST_STEP_US ? p->interval_us : MOST_STEP_US;
}

static void put_question(struct host_probe *p)
{
	connection_ask(&p->connection, question, NULL, 0, step_us(p));
}

static void open_connection(struct host_probe *p)
{
	p->is_kept = false;
	connection_open(&p->connection, &p->target, step_us(p));
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
	struct host_probe *p = timer->data;

	(void)loop;
	(void)events;
	p->state = PROBE_ASKING;
	p->is_wanted_again = false;
	p->asked_at = clock_us();
	p->is_kept = p->connection.state == CONNECTION_IDLE;
	if (p->is_kept)
		put_question(p);
	else
		open_connection(p);
}

static void on_open(void *arg)
{
	put_question(arg);
}

/* ------------------------------------------------------------------ answers */

/* False: the column says neither of the two. */
static bool read_flag(const PGresult *result, int column, const char *yes, const char *no, bool *flag)
{
	const char *value = PQgetvalue(result, 0, column);

	*flag = strcmp(value, yes) == 0;
	return *flag || strcmp(value, no) == 0;
}

static bool read_role(const PGresult *result, struct host_role *role)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 || PQnfields(result) != 2 ||
	    !read_flag(result, 0, "t", "f", &role->is_standby) || !read_flag(result, 1, "on", "off", &role->is_read_only))
		return false;
	role->is_read_only |= role->is_standby;
	return true;
}

/* An error of SQL, or an answer to another question. */
static void fail_with(struct host_probe *p, const PGresult *result)
{
	const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char text[256];
	const struct connection_loss loss = {.text = text, .sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE)};

	snprintf(text, sizeof(text), "%s", said != NULL ? said : "the server does not say whether it is a standby");
	text[strcspn(text, "\n")] = '\0';
	p->ops->on_failure(p->arg, &loss, true);
}

static void on_result(void *arg, const PGresult *result)
{
	struct host_probe *p = arg;
	struct host_role role;

	rest(p);
	if (read_role(result, &role))
		p->ops->on_role(p->arg, &role);
	else
		fail_with(p, result);
}

/* The server may have gone, or only have ended this connection: the next question tells. */
static void lose_unused(struct host_probe *p)
{
	uint64_t after_question = p->asked_at + MOMENT_US, after_loss = p->reasked_at + BETWEEN_LOSSES_US;

	p->reasked_at = after_question > after_loss ? after_question : after_loss;
	set_due_no_later(p, p->reasked_at);
}

static void on_lost(void *arg, const struct connection_loss *loss)
{
	struct host_probe *p = arg;

	if (p->state == PROBE_RESTING) {
		lose_unused(p);
		return;
	}
	if (p->is_kept && !loss->timed_out) {
		open_connection(p);
		return;
	}
	rest(p);
	p->ops->on_failure(p->arg, loss, loss->sqlstate != NULL || loss->needs_password);
}

static const struct connection_ops connection_ops = {
	.on_open = on_open,
	.on_result = on_result,
	.on_lost = on_lost,
};

/* ------------------------------------------------------------------ the probe */

struct host_probe *host_probe_new(struct loop *loop, struct dns *dns, const struct host_probe_ops *ops, void *arg)
{
	struct host_probe *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->loop = loop;
	p->ops = ops;
	p->arg = arg;
	ev_init(&p->timer, on_timer);
	p->timer.data = p;
	connection_init(&p->connection, loop, dns, &connection_ops, p);
	return p;
}

bool host_probe_start(struct host_probe *p, const struct connection_target *target, uint64_t interval_us)
{
	p->interval_us = interval_us > MOMENT_US ? interval_us : MOMENT_US;
	if (p->state != PROBE_STOPPED && connection_target_eq(&p->target, target)) {
		host_probe_ask_now(p);
		return true;
	}
	host_probe_stop(p);
	if (!connection_target_copy(&p->target, target))
		return false;
	p->state = PROBE_RESTING;
	set_due(p, clock_us());
	return true;
}

void host_probe_ask_now(struct host_probe *p)
{
	if (p->state == PROBE_ASKING)
		p->is_wanted_again = true;
	else if (p->state == PROBE_RESTING)
		set_due_no_later(p, p->asked_at + MOMENT_US);
}

void host_probe_stop(struct host_probe *p)
{
	p->state = PROBE_STOPPED;
	p->reasked_at = 0;
	ev_timer_stop(p->loop->ev, &p->timer);
	connection_close(&p->connection);
	connection_target_wipe(&p->target);
}

void host_probe_free(struct host_probe **p)
{
	struct host_probe *probe = *p;

	*p = NULL;
	if (probe == NULL)
		return;
	host_probe_stop(probe);
	free(probe);
}
