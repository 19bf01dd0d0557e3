/*
 * What attempts to log in and servers that are there tell of their host, and
 * the pools that wait for it.
 */
#pragma once
#include "session/server.h"

/* The server goes to this host now: an attempt begins. */
void server_host_take(struct server *s, struct host *host);

/* The attempt has come to an answer of the server's, be it a refusal: the host is up. */
void server_host_answered(struct server *s);

/* It has led to a login. */
void server_host_logged_in(struct server *s);

/*
 * It has failed for a reason that is the host's. False: it was only a look
 * whether the port is open again, and it is not; nobody need hear of it.
 */
bool server_host_failed(struct server *s, enum breaker_stage stage, const struct close_error *e);

/* The server goes to no host any more, or to another next. */
void server_host_leave(struct server *s);

/* The same from others than servers: somebody has got through to the host, or has not. */
void host_found_up(struct hub *hub, struct host *host);
void host_found_down(struct hub *hub, struct host *host, enum breaker_stage stage, const struct close_error *e);

/* A parameter that the server reports; one of them tells what the host is. */
void server_host_note_parameter(struct server *s, struct slice name, struct slice value);

/*
 * What the host is has been told. Servers of pools that want another kind are
 * replaced, and pools that waited for this kind go on.
 */
void host_set_role(struct hub *hub, struct host *host, enum host_role_kind role, bool is_read_only);

/*
 * A pool waits in host->blocked: it is looked at again when the host may be connected to. False: out of memory, the pool
 * has to look for itself.
 */
bool host_awaited(struct hub *hub, struct host *host);
