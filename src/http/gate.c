#include "http/gate.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/sys.h"
#include "net/deadline.h"

#define SECONDS_BETWEEN_CHECKS 0.05

enum ticket_state { TICKET_NEW, TICKET_IN_LINE, TICKET_CALLED, TICKET_HELD_BACK, TICKET_REFUSED };

/* Of one exchange that has brought a login which is not remembered. */
struct gate_ticket {
	TAILQ_ENTRY(gate_ticket) link;   /* IN_LINE, HELD_BACK */
	struct gate *gate;
	struct exchange *exchange;
	enum ticket_state state;
	struct deadline deadline;        /* HELD_BACK */
};

/* ------------------------------------------------------------------ who was let in */

static bool digest(const struct gate *g, const char *login, uint8_t out[GATE_DIGEST_SIZE])
{
	const unsigned char *text = (const unsigned char *)login;

	return HMAC(EVP_sha256(), g->key, sizeof(g->key), text, strlen(login), out, NULL) != NULL;
}

static const char *find(const struct gate *g, const char *login)
{
	uint8_t sum[GATE_DIGEST_SIZE];

	for (size_t i = 0; digest(g, login, sum) && i < GATE_REMEMBERED; i++)
		if (g->remembered[i].user[0] != '\0' && memcmp(g->remembered[i].digest, sum, sizeof(sum)) == 0)
			return g->remembered[i].user;
	return NULL;
}

static void remember(struct gate *g, const char *login, const char *user)
{
	unsigned place = g->next_place;

	if (!digest(g, login, g->remembered[place].digest))
		return;
	snprintf(g->remembered[place].user, sizeof(g->remembered[place].user), "%s", user);
	g->next_place = (place + 1) % GATE_REMEMBERED;
}

void gate_forget_all(struct gate *g)
{
	memset(g->remembered, 0, sizeof(g->remembered));
}

/* ------------------------------------------------------------------ the line */

static struct gate_ticket *ticket_of(struct gate *g, struct exchange *x)
{
	struct gate_ticket *t = x->state;

	if (t != NULL)
		return t;
	t = calloc(1, sizeof(*t));
	if (t != NULL) {
		t->gate = g;
		t->exchange = x;
	}
	x->state = t;
	return t;
}

static void leave(struct gate_ticket *t)
{
	if (t->state == TICKET_IN_LINE)
		TAILQ_REMOVE(&t->gate->line, t, link);
	else if (t->state == TICKET_HELD_BACK)
		TAILQ_REMOVE(&t->gate->refused, t, link);
	deadline_disarm(&t->deadline);
}

static void go_on(struct gate_ticket *t, enum ticket_state state)
{
	leave(t);
	t->state = state;
	engine_resume(t->exchange);
}

/* The next check is due later. */
static void put_off(struct gate *g)
{
	ev_timer_stop(g->hub->loop->ev, &g->turn);
	ev_timer_set(&g->turn, SECONDS_BETWEEN_CHECKS, 0.);
	ev_timer_start(g->hub->loop->ev, &g->turn);
}

static void on_turn(EV_P_ ev_timer *timer, int events)
{
	struct gate *g = timer->data;
	struct gate_ticket *t = TAILQ_FIRST(&g->line);

	(void)loop;
	(void)events;
	if (t == NULL)
		return;
	put_off(g);
	go_on(t, TICKET_CALLED);
}

static void on_held_back(struct deadline *d)
{
	go_on((struct gate_ticket *)((char *)d - offsetof(struct gate_ticket, deadline)), TICKET_REFUSED);
}

static void suspend(struct gate_ticket *t, enum ticket_state state, struct gate_line *line)
{
	t->state = state;
	TAILQ_INSERT_TAIL(line, t, link);
	MHD_suspend_connection(t->exchange->connection);
}

/* --- */

static enum gate_answer refuse(struct gate_ticket *t, struct guest *guest)
{
	struct hub *hub = t->gate->hub;
	uint64_t delay = (uint64_t)hub_settings(hub)->auth_failure_delay;
	struct deadline_list *list = deadline_list_unless_0(hub->loop, delay, on_held_back);

	*guest = (struct guest){.access = ACCESS_NONE};
	if (list == NULL || t->state == TICKET_REFUSED)
		return GATE_KNOWN;
	suspend(t, TICKET_HELD_BACK, &t->gate->refused);
	deadline_arm(&t->deadline, list);
	return GATE_WAITS;
}

static enum gate_answer check(struct gate_ticket *t, const char *login, struct guest *guest)
{
	struct gate *g = t->gate;

	put_off(g);
	access_check_password(g->hub, t->exchange, guest);
	if (guest->access == ACCESS_NONE)
		return refuse(t, guest);
	remember(g, login, guest->user);
	return GATE_KNOWN;
}

/* One that is not remembered. */
static enum gate_answer login_anew(struct gate *g, struct exchange *x, const char *login, struct guest *guest)
{
	struct gate_ticket *t = ticket_of(g, x);

	*guest = (struct guest){.access = ACCESS_NONE};
	if (t == NULL)
		return GATE_KNOWN;
	if (t->state == TICKET_REFUSED)
		return refuse(t, guest);
	if (t->state == TICKET_NEW && ev_is_active(&g->turn)) {
		suspend(t, TICKET_IN_LINE, &g->line);
		return GATE_WAITS;
	}
	return check(t, login, guest);
}

enum gate_answer gate_login(struct gate *g, struct exchange *x, struct guest *guest)
{
	const char *login = engine_header(x, MHD_HTTP_HEADER_AUTHORIZATION);
	const char *user = login == NULL ? NULL : find(g, login);

	if (login == NULL)
		return GATE_NONE;
	if (user == NULL)
		return login_anew(g, x, login, guest);
	snprintf(guest->user, sizeof(guest->user), "%s", user);
	guest->access = access_of_user(g->hub, user);
	return GATE_KNOWN;
}

void gate_forget(struct exchange *x)
{
	struct gate_ticket *t = x->state;

	if (t == NULL)
		return;
	leave(t);
	free(t);
	x->state = NULL;
}

/* ------------------------------------------------------------------ whole */

void gate_init(struct gate *g, struct hub *hub)
{
	*g = (struct gate){.hub = hub};
	sys_random(g->key, sizeof(g->key));
	TAILQ_INIT(&g->line);
	TAILQ_INIT(&g->refused);
	ev_init(&g->turn, on_turn);
	g->turn.data = g;
}

void gate_fini(struct gate *g)
{
	struct gate_ticket *t;

	if (g->hub == NULL)
		return;
	ev_timer_stop(g->hub->loop->ev, &g->turn);
	while ((t = TAILQ_FIRST(&g->line)) != NULL || (t = TAILQ_FIRST(&g->refused)) != NULL)
		go_on(t, TICKET_REFUSED);
	sys_wipe(g->key, sizeof(g->key));
}
