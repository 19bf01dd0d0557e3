/*
 * Cancel requests: a client asks, over a connection of its own, that another
 * client's query be cancelled (PostgreSQL manual, 55.2.8). We ask the server
 * in the same way, or the peer that the key belongs to.
 *
 * A request belongs to one query. Before it is sent it is dropped when that is
 * over; more requests for the same server join it. From when it is on its way
 * until the server has closed the connection that carried it (it has then
 * signalled the backend), the server may not pass to another client, whose
 * query the signal might hit.
 *
 * Requests for one host, or one peer, stand in a line: so many are under way at a
 * time, the others wait. However many are asked for, that is all they cost.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>

#include "base/str.h"

struct cancel_request;
struct client;
struct hub;
struct server;

struct cancel_line {
	TAILQ_HEAD(, cancel_request) waiting;
	unsigned nunder_way;
	bool is_held;                    /* nobody's turn comes now */
};

static inline void cancel_line_init(struct cancel_line *line)
{
	TAILQ_INIT(&line->waiting);
}

/* A client has asked with this key. It is closed when what it has asked for is done, or cannot be. */
void cancel_request_start(struct client *requester, struct slice key);

/* A client that has asked leaves. What it has asked for goes on. */
void cancel_request_leave(struct client *requester);

/*
 * Cancels what the server runs, on our own account. That goes on when the
 * server is closed: its query may run on. False: it could not even be begun.
 */
bool cancel_request_send(struct server *s);

/* It waits for its turn. */
bool cancel_request_waits(const struct cancel_request *r);

/* Those of one line: how many clients wait for what is under way, and for what is not; connections with and without the request on its way. */
struct cancel_figures {
	unsigned cl_active, cl_waiting, sv_active, sv_login;
};
void cancel_request_figures(const struct hub *hub, const struct cancel_line *line, struct cancel_figures *f);

void cancel_request_close_all(struct hub *hub);
