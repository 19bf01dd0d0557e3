/*
 * What a user's clients may take their time for: lists of deadlines, by the
 * timeouts of the user's own entry or the global ones. NULL: no bound.
 */
#pragma once
#include "net/deadline.h"
#include "session/hub.h"
#include "session/server.h"

struct timeouts {
	struct deadline_list *client_idle;       /* of clients between transactions */
	struct deadline_list *query;             /* of servers with something to answer */
	struct deadline_list *idle_transaction;  /* of servers whose client has a transaction open and says nothing */
	struct deadline_list *transaction;       /* of servers from the first message of a transaction */
	struct deadline_list *unused;            /* of the user's entry itself, see session/idle.h */
	struct deadline unused_deadline;
	struct user *user;
	struct hub *hub;
};

/* Makes a user's lists, or makes them anew after a reload. False: out of memory. */
bool timeouts_set_up(struct hub *hub, struct user *user);
void timeouts_free(struct user *user);

static inline const struct timeouts *timeouts_of(const struct user *user)
{
	return user->session;
}

/* An automatic database has been made, or has lost its last client; it has got one. */
void timeouts_database_unused(struct hub *hub, struct database *db);
void timeouts_database_used(struct hub *hub, struct database *db);

/*
 * After a reload: what runs already (an idle client, a query, an unused
 * database) is bounded by the new settings. Where the span is another one, it
 * is counted from now.
 */
void timeouts_renew(struct hub *hub);

/* The client's first message since nothing was owed went to the server; the server owes nothing any more. */
void timeouts_query_begins(struct server *s);
void timeouts_next_query_begins(struct server *s); /* one query is over, and it has the next one already */
void timeouts_query_ends(struct server *s);

/* For the next. */
void timeouts_rest(struct server *s);

/*
 * For a server that has a client and owes it no answer: whether it has to be kept all the same, until the client ends
 * what it has begun (a Sync has not come yet). That is bounded as a transaction that it leaves open.
 */
static inline bool timeouts_rests(struct server *s)
{
	if (owed_is_clear(&s->owed))
		return false;
	timeouts_rest(s);
	return true;
}
