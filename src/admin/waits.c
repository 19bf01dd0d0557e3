#include "admin/waits.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/reply.h"
#include "admin/statement.h"
#include "proto/out.h"
#include "session/pause.h"
#include "session/suspend.h"
#include "session/sweep.h"

static const char *const names[] = {
	[WAIT_PAUSE] = "PAUSE",
	[WAIT_PAUSE_DATABASE] = "PAUSE",
	[WAIT_SUSPEND] = "SUSPEND",
	[WAIT_RETIRED] = "WAIT_CLOSE",
};

struct wait {
	TAILQ_ENTRY(wait) link;
	struct client *client;           /* NULL: gone */
	enum wait_kind kind;
	bool is_own, is_cancelled;
	char database[STATEMENT_ARGUMENT_MAX + 1]; /* by name: it may be dropped */
};

/* ------------------------------------------------------------------ what is waited for */

static struct database *database_of(const struct waits *w, const struct wait *one)
{
	return registry_find_database(w->hub->registry, slice_of(one->database));
}

/* What the command brought about still holds. */
static bool is_in_force(const struct waits *w, const struct wait *one)
{
	const struct database *db;

	switch (one->kind) {
	case WAIT_PAUSE:
		return w->hub->pause == PAUSE_ALL;
	case WAIT_PAUSE_DATABASE:
		db = database_of(w, one);
		return db != NULL && db->is_paused;
	case WAIT_SUSPEND:
		return w->hub->pause == PAUSE_SUSPEND;
	case WAIT_RETIRED:
		break;
	}
	return true;
}

/* A database that is gone has no servers. */
static bool are_retired_gone(const struct waits *w, const struct wait *one)
{
	const struct database *db = database_of(w, one);

	if (one->database[0] == '\0')
		return !sweep_has_retired(w->hub, NULL);
	return db == NULL || !sweep_has_retired(w->hub, db);
}

static bool is_done(const struct waits *w, const struct wait *one)
{
	switch (one->kind) {
	case WAIT_PAUSE:
		return pause_is_done(w->hub, NULL);
	case WAIT_PAUSE_DATABASE:
		return pause_is_done(w->hub, database_of(w, one));
	case WAIT_SUSPEND:
		return suspend_is_done(w->hub);
	case WAIT_RETIRED:
		break;
	}
	return are_retired_gone(w, one);
}

static void undo(const struct waits *w, const struct wait *one)
{
	if (!one->is_own || !is_in_force(w, one) || w->hub->shutdown != SHUTDOWN_NOT)
		return;
	log_info("the admin who waited for it has gone or cancelled it, doing RESUME");
	if (one->kind == WAIT_PAUSE_DATABASE)
		pause_resume_database(w->hub, database_of(w, one));
	else
		pause_resume_all(w->hub);
}

/* ------------------------------------------------------------------ answers */

static void answer(const struct wait *one, bool is_good, struct strbuf *out)
{
	char undone[64];

	snprintf(undone, sizeof(undone), "%s was undone before it was complete", names[one->kind]);
	if (is_good)
		out_command_complete(out, names[one->kind]);
	else
		reply_error(out, QUERY_CANCELED, one->is_cancelled ? "canceling statement due to user request" : undone,
			    NULL);
}

/* The client hears how its command went, and its next one is taken. */
static void release(const struct waits *w, const struct wait *one, bool is_good)
{
	struct client *c = one->client;
	struct strbuf out;

	strbuf_init(&out);
	answer(one, is_good, &out);
	w->on_answered(c, is_good, &out);
	if (out.failed) {
		client_close(c, CLOSE_OUT_OF_MEMORY);
	} else {
		client_enter(c, CLIENT_CONSOLE);
		conn_write(&c->conn, out.p, out.n);
		conn_resume(&c->conn);
	}
	strbuf_fini(&out);
}

static bool is_over(const struct waits *w, const struct wait *one)
{
	return one->client == NULL || one->is_cancelled || !is_in_force(w, one) || is_done(w, one);
}

static struct wait *first_over(const struct waits *w)
{
	struct wait *one;

	TAILQ_FOREACH(one, &w->list, link)
		if (is_over(w, one))
			return one;
	return NULL;
}

static void remove_wait(struct waits *w, struct wait *one)
{
	TAILQ_REMOVE(&w->list, one, link);
	w->hub->nwaits--;
}

static void finish(struct waits *w, struct wait *one)
{
	bool is_good = one->client != NULL && !one->is_cancelled && is_in_force(w, one);

	remove_wait(w, one);
	if (!is_good)
		undo(w, one);
	if (one->client != NULL)
		release(w, one, is_good);
	free(one);
}

/* ------------------------------------------------------------------ from the loop */

static bool has_admin(const struct hub *hub)
{
	const struct client *c;
	uint32_t i = 0;

	while ((c = slab_next(hub->clients, &i)) != NULL)
		if (client_is_on_console(c) && c->is_admin)
			return true;
	return false;
}

/* Nobody is accepted any more who could do it. */
static void resume_if_abandoned(struct hub *hub)
{
	if (hub->pause != PAUSE_SUSPEND || has_admin(hub))
		return;
	log_info("admin disappeared when suspended, doing RESUME");
	pause_resume_all(hub);
}

static void on_look(EV_P_ ev_timer *timer, int events)
{
	struct waits *w = timer->data;
	struct wait *one;

	(void)loop;
	(void)events;
	/* One client's next command may change what the others wait for. */
	while ((one = first_over(w)) != NULL)
		finish(w, one);
	resume_if_abandoned(w->hub);
}

void waits_look(struct waits *w)
{
	if (ev_is_active(&w->look))
		return;
	ev_timer_set(&w->look, 0., 0.);
	ev_timer_start(w->hub->loop->ev, &w->look);
}

void waits_init(struct waits *w, struct hub *hub,
		void (*on_answered)(struct client *c, bool is_good, struct strbuf *out))
{
	w->hub = hub;
	w->on_answered = on_answered;
	TAILQ_INIT(&w->list);
	ev_init(&w->look, on_look);
	w->look.data = w;
}

void waits_fini(struct waits *w)
{
	struct wait *one;

	if (w->hub == NULL)
		return;
	ev_timer_stop(w->hub->loop->ev, &w->look);
	while ((one = TAILQ_FIRST(&w->list)) != NULL) {
		remove_wait(w, one);
		free(one);
	}
}

/* ------------------------------------------------------------------ who waits */

static struct wait *find(const struct waits *w, const struct client *c)
{
	struct wait *one;

	TAILQ_FOREACH(one, &w->list, link)
		if (one->client == c)
			return one;
	return NULL;
}

bool waits_add(struct waits *w, struct client *c, enum wait_kind kind, const char *database, bool is_own)
{
	struct wait *one = calloc(1, sizeof(*one));

	if (one == NULL)
		return false;
	one->client = c;
	one->kind = kind;
	one->is_own = is_own;
	snprintf(one->database, sizeof(one->database), "%s", database);
	TAILQ_INSERT_TAIL(&w->list, one, link);
	w->hub->nwaits++;
	client_enter(c, CLIENT_CONSOLE_WAIT);
	waits_look(w);
	return true;
}

void waits_cancel(struct waits *w, struct client *c)
{
	struct wait *one = find(w, c);

	if (one != NULL)
		one->is_cancelled = true;
	waits_look(w);
}

void waits_forget(struct waits *w, const struct client *c)
{
	struct wait *one = find(w, c);

	if (one != NULL)
		one->client = NULL;
	waits_look(w);
}
