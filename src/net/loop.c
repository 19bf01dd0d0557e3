#include "net/loop.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/tls_socket.h"

void loop_bury(struct loop *loop)
{
	while (loop->graves != NULL) {
		struct conn *c = loop->graves;

		loop->graves = c->next_grave;
		c->ops->on_buried(c);
	}
}

/* The shortest time between two turns that move nothing but streams, in seconds. */
#define COLLECT_SECONDS 100e-6

static void choose_pace(struct loop *loop)
{
	bool collect = loop->nstreaming > 0 && loop->nother == 0;

	loop->nstreaming = loop->nother = 0;
	if (collect != loop->is_collecting)
		ev_set_io_collect_interval(loop->ev, collect ? COLLECT_SECONDS : 0.);
	loop->is_collecting = collect;
}

/* Of those who wait to go on with their handshakes, as many as may in one turn. */
static void call_tickets(struct loop *loop)
{
	uint32_t nwaiting = loop->last_ticket - loop->last_called;

	loop->nhandshakes = nwaiting < loop->max_handshakes ? nwaiting : loop->max_handshakes;
	loop->last_called += loop->nhandshakes;
}

static void draw_ticket(struct loop *loop, uint32_t *ticket)
{
	/* 0 is none. */
	if (++loop->last_ticket == 0)
		loop->last_ticket = 1;
	*ticket = loop->last_ticket;
}

bool loop_may_shake_hands(struct loop *loop, uint32_t *ticket)
{
	bool has_room = loop->last_called == loop->last_ticket && loop->nhandshakes < loop->max_handshakes;
	bool is_called = *ticket != 0 && (int32_t)(*ticket - loop->last_called) <= 0;

	if (loop->max_handshakes == 0 || is_called) {
		*ticket = 0;
		return true;
	}
	if (*ticket == 0 && has_room) {
		loop->nhandshakes++;
		return true;
	}
	if (*ticket == 0)
		draw_ticket(loop, ticket);
	return false;
}

static void on_before_sleep(EV_P_ ev_prepare *w, int events)
{
	struct loop *ours = w->data;

	(void)loop;
	(void)events;
	choose_pace(ours);
	call_tickets(ours);
	loop_bury(ours);
}

static void on_after_sleep(EV_P_ ev_check *w, int events)
{
	(void)loop;
	(void)w;
	(void)events;
	clock_turn();
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	loop->ev = ev_default_loop(EVFLAG_AUTO);
	loop->bufs = bufpool_new();
	loop->scratch = malloc(LOOP_SCRATCH_SIZE);
	loop->tls_socket = tls_socket_new();
	if (loop->ev == NULL || loop->bufs == NULL || loop->scratch == NULL || loop->tls_socket == NULL) {
		BIO_free(loop->tls_socket);
		bufpool_free(loop->bufs);
		free(loop->scratch);
		free(loop);
		return NULL;
	}
	ev_prepare_init(&loop->before_sleep, on_before_sleep);
	loop->before_sleep.data = loop;
	ev_prepare_start(loop->ev, &loop->before_sleep);
	ev_check_init(&loop->after_sleep, on_after_sleep);
	ev_set_priority(&loop->after_sleep, EV_MAXPRI);
	ev_check_start(loop->ev, &loop->after_sleep);
	return loop;
}

void loop_free(struct loop *loop)
{
	loop_bury(loop);
	deadline_free_lists(loop);
	ev_prepare_stop(loop->ev, &loop->before_sleep);
	ev_check_stop(loop->ev, &loop->after_sleep);
	ev_loop_destroy(loop->ev);
	BIO_free(loop->tls_socket);
	bufpool_free(loop->bufs);
	free(loop->scratch);
	free(loop);
}

void loop_run(struct loop *loop)
{
	ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
	ev_break(loop->ev, EVBREAK_ALL);
}
