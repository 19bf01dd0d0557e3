/*
 * The session layer's part of a host.
 */
#pragma once
#include "control/host_probe.h"
#include "pool/host.h"
#include "session/cancel_request.h"
#include "session/hub.h"

struct host_session {
	struct hub *hub;
	struct host *host;
	ev_timer wake;                   /* when an attempt may begin, if somebody waits for that */
	struct host_probe *probe;        /* see session/host_check.h; NULL: never had one */
	struct host_capacity *capacity;  /* see session/capacity.h; NULL: never asked */
	struct cancel_line cancels;
	bool is_unreachable;             /* the probe could not ask */
};

/* Made at need; NULL when out of memory. */
struct host_session *host_session(struct hub *hub, struct host *host);

/* Nobody names the host any more. */
void host_session_free(struct host *host);
