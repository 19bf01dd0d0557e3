#include "control/capacity_probe.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "control/connection_target.h"

#define STEP_US (5 * CLOCK_SECOND)

struct capacity_probe {
	const struct capacity_probe_ops *ops;
	void *arg;
	struct connection connection;    /* closed between questions */
	struct connection_target target; /* a copy, all zero then */
};

static void stop(struct capacity_probe *p)
{
	connection_close(&p->connection);
	connection_target_wipe(&p->target);
}

static void on_open(void *arg)
{
	struct capacity_probe *p = arg;

	connection_ask(&p->connection, capacity_question, NULL, 0, STEP_US);
}

/* An error of SQL, or an answer to another question. */
static void fail_with(struct capacity_probe *p, const PGresult *result)
{
	const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char text[256];
	const struct connection_loss loss = {.text = text, .sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE)};

	snprintf(text, sizeof(text), "%s", said != NULL ? said : "the server does not say how many connections it takes");
	p->ops->on_failure(p->arg, &loss);
}

static void on_result(void *arg, const PGresult *result)
{
	struct capacity_probe *p = arg;
	struct capacity_answer answer;

	/* The result is the connection's no more, and is freed when this returns. */
	stop(p);
	if (capacity_read_answer(&answer, result))
		p->ops->on_answer(p->arg, &answer);
	else
		fail_with(p, result);
}

static void on_lost(void *arg, const struct connection_loss *loss)
{
	struct capacity_probe *p = arg;

	connection_target_wipe(&p->target);
	p->ops->on_failure(p->arg, loss);
}

static const struct connection_ops connection_ops = {
	.on_open = on_open,
	.on_result = on_result,
	.on_lost = on_lost,
};

struct capacity_probe *capacity_probe_new(struct loop *loop, struct dns *dns, const struct capacity_probe_ops *ops,
					  void *arg)
{
	struct capacity_probe *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->ops = ops;
	p->arg = arg;
	connection_init(&p->connection, loop, dns, &connection_ops, p);
	return p;
}

bool capacity_probe_is_asking(const struct capacity_probe *p)
{
	return p->connection.state != CONNECTION_CLOSED;
}

bool capacity_probe_ask(struct capacity_probe *p, const struct connection_target *target)
{
	if (capacity_probe_is_asking(p) && connection_target_eq(&p->target, target))
		return true;
	stop(p);
	if (!connection_target_copy(&p->target, target))
		return false;
	connection_open(&p->connection, &p->target, STEP_US);
	return true;
}

void capacity_probe_free(struct capacity_probe **p)
{
	struct capacity_probe *probe = *p;

	*p = NULL;
	if (probe == NULL)
		return;
	stop(probe);
	free(probe);
}
