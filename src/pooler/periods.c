#include "pooler/periods.h"

#include "base/log.h"
#include "pool/registry.h"
#include "report/stats_line.h"

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

void periods_init(struct pooler *p)
{
	ev_init(&p->stats, on_stats);
	p->stats.data = p;
	ev_init(&p->latency, on_latency);
	p->latency.data = p;
	p->latency.repeat = SECONDS_BETWEEN_TURNS;
}

void periods_stop(struct pooler *p)
{
	ev_timer_stop(p->hub.loop->ev, &p->stats);
	ev_timer_stop(p->hub.loop->ev, &p->latency);
}
