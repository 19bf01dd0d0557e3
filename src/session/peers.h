/*
 * Peers: other processes, ours or PgBouncer's, that stand behind one address
 * with this one (so_reuseport, a load balancer). A cancel request that lands
 * on the wrong one is handed on to the one that made the key.
 */
#pragma once
#include "conf/conf.h"
#include "session/cancel_request.h"
#include "session/hub.h"

struct peer {
	struct peer *next;
	int id;
	struct cancel_line line;
	bool is_failing;                 /* the last request could not be handed on */
};

/* The peer that this key goes on to. NULL: none, it is ours, has come too far, or nobody's. */
struct peer *peer_for_key(struct hub *hub, struct slice key);

/* One that has been asked for something; NULL if nobody has. */
const struct peer *peer_find(const struct hub *hub, int id);

/* What the configuration says of it now; NULL: it is no peer any more. */
const struct conf_peer *peer_conf(const struct hub *hub, int id);

/* How many requests may be under way to it at a time; 0: no bound. */
unsigned peer_pool_size(const struct hub *hub, const struct conf_peer *peer);

/* How an attempt to hand something on went; the log hears of changes. */
void peer_note_failed(struct peer *peer, const char *why);
void peer_note_reached(struct peer *peer);

void peers_free(struct hub *hub);
