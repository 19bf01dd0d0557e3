#include "admin/streams.h"

/* So many rows take a fraction of a millisecond: what a query may have to wait for them. */
#define ROWS_A_TURN 100

static void on_turn(EV_P_ ev_timer *timer, int events);

void streams_init(struct streams *ss, struct hub *hub, const struct report *report,
		  void (*on_end)(struct stream *s, enum stream_end how, struct strbuf *out))
{
	ss->hub = hub;
	ss->report = report;
	ss->on_end = on_end;
	TAILQ_INIT(&ss->list);
	ev_init(&ss->turn, on_turn);
	ss->turn.data = ss;
	ss->budget = ROWS_A_TURN;
}

void streams_fini(struct streams *ss)
{
	if (ss->hub != NULL)
		ev_timer_stop(ss->hub->loop->ev, &ss->turn);
}

static void look_at_turn(struct streams *ss)
{
	unsigned now = ev_iteration(ss->hub->loop->ev);

	if (now == ss->turn_number)
		return;
	ss->turn_number = now;
	ss->budget = ROWS_A_TURN;
}

static void call_again(struct streams *ss)
{
	if (TAILQ_EMPTY(&ss->list) || ev_is_active(&ss->turn))
		return;
	ev_timer_set(&ss->turn, 0., 0.);
	ev_timer_start(ss->hub->loop->ev, &ss->turn);
}

/* What of it is due now. True: it is under way still. */
static bool step(struct streams *ss, struct stream *s, struct strbuf *out)
{
	enum stream_end how = STREAM_CANCELLED;

	if (!s->is_cancelled) {
		enum told told = telling_go_on(s->telling, ss->report, &ss->budget, &s->left, out);

		if (told == TOLD_SOME && s->left > 0)
			return true;
		/* Whether there is more behind the limit is not looked at, as PostgreSQL does not. */
		how = told == TOLD_OUT_OF_MEMORY ? STREAM_OUT_OF_MEMORY : s->left == 0 ? STREAM_LIMIT : STREAM_ALL;
	}
	s->telling = NULL;
	ss->on_end(s, how, out);
	return false;
}

void streams_begin(struct streams *ss, struct stream *s, struct telling *telling, uint32_t most, struct strbuf *out)
{
	look_at_turn(ss);
	s->telling = telling;
	s->left = most == 0 ? UINT32_MAX : most;
	s->is_stalled = s->is_cancelled = false;
	if (!step(ss, s, out))
		return;
	TAILQ_INSERT_TAIL(&ss->list, s, link);
	call_again(ss);
}

static void go_on(struct streams *ss, struct stream *s)
{
	struct client *c = s->client;
	struct strbuf out;
	bool is_under_way;

	TAILQ_REMOVE(&ss->list, s, link);
	s->is_stalled = true;
	if (conn_is_backlogged(&c->conn))
		return;
	strbuf_init(&out);
	is_under_way = step(ss, s, &out);
	if (out.failed) {
		s->telling = NULL;
		client_close(c, CLOSE_OUT_OF_MEMORY);
	} else {
		conn_write(&c->conn, out.p, out.n);
		if (!is_under_way) {
			conn_resume(&c->conn);
		} else if (!conn_is_backlogged(&c->conn)) {
			s->is_stalled = false;
			TAILQ_INSERT_TAIL(&ss->list, s, link);
		}
	}
	strbuf_fini(&out);
}

static void on_turn(EV_P_ ev_timer *timer, int events)
{
	struct streams *ss = timer->data;
	struct stream *s;

	(void)loop;
	(void)events;
	look_at_turn(ss);
	while (ss->budget > 0 && (s = TAILQ_FIRST(&ss->list)) != NULL)
		go_on(ss, s);
	call_again(ss);
}

void streams_drained(struct streams *ss, struct stream *s)
{
	if (!stream_is_under_way(s) || !s->is_stalled)
		return;
	s->is_stalled = false;
	TAILQ_INSERT_TAIL(&ss->list, s, link);
	call_again(ss);
}

void streams_cancel(struct stream *s)
{
	s->is_cancelled = true;
}

void streams_forget(struct streams *ss, struct stream *s)
{
	if (stream_is_under_way(s) && !s->is_stalled)
		TAILQ_REMOVE(&ss->list, s, link);
	s->telling = NULL;
}
