#include "net/loop.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/loop_tables.h"
#include "net/tls_socket.h"

void loop_bury(struct loop *loop)
{
	while (loop->graves != NULL) {
		struct conn *c = loop->graves;

		loop->graves = c->next_grave;
		c->ops->on_buried(c);
	}
}

static void choose_pace(struct loop *loop)
{
	unsigned before = loop->pace.interval;

	pace_next_turn(&loop->pace);
	if (loop->pace.interval != before)
		ev_set_io_collect_interval(loop->ev, loop->pace.interval * 1e-6);
}

/* Somebody stands in line: the loop does not sleep. */
static void on_idle(EV_P_ ev_idle *w, int events)
{
	(void)loop;
	(void)w;
	(void)events;
}

void loop_leave_line(struct loop *loop, struct conn *c)
{
	struct conn **link = &loop->line;

	while (*link != c)
		link = &(*link)->next_in_line;
	*link = c->next_in_line;
	if (*link == NULL)
		loop->line_end = link;
	c->next_in_line = NULL;
	c->is_in_line = false;
	if (loop->line == NULL)
		ev_idle_stop(loop->ev, &loop->has_line);
}

static void stand_in_line(struct loop *loop, struct conn *c)
{
	if (loop->line == NULL)
		ev_idle_start(loop->ev, &loop->has_line);
	c->is_in_line = true;
	c->next_in_line = NULL;
	*loop->line_end = c;
	loop->line_end = &c->next_in_line;
}

static bool has_room(const struct loop *loop)
{
	return loop->max_handshakes == 0 || loop->nhandshakes < loop->max_handshakes;
}

/* Of those in line, as many as may go on in one turn. */
static void call_line(struct loop *loop)
{
	for (loop->nhandshakes = 0; loop->line != NULL && has_room(loop); loop->nhandshakes++) {
		struct conn *c = loop->line;

		loop_leave_line(loop, c);
		c->is_called = true;
		ev_feed_event(loop->ev, &c->io, EV_READ);
	}
}

bool loop_may_shake_hands(struct loop *loop, struct conn *c)
{
	if (c->is_called) {
		c->is_called = false;
		return true;
	}
	if (loop->line != NULL || !has_room(loop)) {
		stand_in_line(loop, c);
		return false;
	}
	loop->nhandshakes++;
	return true;
}

/* All that is ready has been served: the next thing that the loop does is to sleep. */
static void end_turn(struct loop *loop)
{
	choose_pace(loop);
	loop_bury(loop);
	loop_tables_renew();
}

/*
 * What libev calls to serve all that is ready. The beginning and the end of a turn are here, and no watchers of kind
 * ev_check and ev_prepare: those would be queued and served like events, in each turn. Once more ev_run() calls it at
 * its beginning, when there is nothing but what has been left from the turn before.
 */
static void turn(EV_P)
{
	struct loop *ours = ev_userdata(loop);
	unsigned now = ev_iteration(loop);

	if (ours->turn == now) {
		ev_invoke_pending(loop);
		return;
	}
	ours->turn = now;
	clock_turn();
	call_line(ours);
	ev_invoke_pending(loop);
	end_turn(ours);
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	loop_tables_use();
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
	pace_init(&loop->pace);
	loop->turn = ev_iteration(loop->ev);
	ev_set_userdata(loop->ev, loop);
	ev_set_invoke_pending_cb(loop->ev, turn);
	loop->line_end = &loop->line;
	ev_idle_init(&loop->has_line, on_idle);
	return loop;
}

void loop_free(struct loop *loop)
{
	loop_bury(loop);
	deadline_free_lists(loop);
	ev_loop_destroy(loop->ev);
	loop_tables_free();
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
