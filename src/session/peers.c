#include "session/peers.h"

#include <stdlib.h>

#include "base/log.h"
#include "session/cancel_key.h"

const struct conf_peer *peer_conf(const struct hub *hub, int id)
{
	for (const struct conf_peer *p = registry_conf(hub->registry)->peers; p != NULL; p = p->next)
		if (p->id == id)
			return p;
	return NULL;
}

unsigned peer_pool_size(const struct hub *hub, const struct conf_peer *peer)
{
	if (peer->overrides.is_set[SETTING_default_pool_size])
		return (unsigned)peer->overrides.number[SETTING_default_pool_size];
	return (unsigned)hub_settings(hub)->default_pool_size;
}

static struct peer *find(const struct hub *hub, int id)
{
	for (struct peer *p = hub->peers; p != NULL; p = p->next)
		if (p->id == id)
			return p;
	return NULL;
}

const struct peer *peer_find(const struct hub *hub, int id)
{
	return find(hub, id);
}

static struct peer *get(struct hub *hub, int id)
{
	struct peer *p = find(hub, id);

	if (p != NULL)
		return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	p->id = id;
	cancel_line_init(&p->line);
	p->next = hub->peers;
	hub->peers = p;
	return p;
}

struct peer *peer_for_key(struct hub *hub, struct slice key)
{
	int64_t own = hub_settings(hub)->peer_id;
	int id;

	if (own == 0 || key.n < CANCEL_KEY_SHORT)
		return NULL;
	id = cancel_key_peer(key);
	if (id == own)
		return NULL;
	if (peer_conf(hub, id) == NULL) {
		log_debug("cancel request for peer %d, which is not among [peers]", id);
		return NULL;
	}
	if (cancel_key_hops(key) == 0) {
		log_debug("cancel request for peer %d, which has come through too many peers already", id);
		return NULL;
	}
	return get(hub, id);
}

void peer_note_failed(struct peer *peer, const char *why)
{
	if (!peer->is_failing)
		log_warning("peer %d: cancel request cannot be handed on: %s", peer->id, why);
	peer->is_failing = true;
}

void peer_note_reached(struct peer *peer)
{
	if (peer->is_failing)
		log_info("peer %d: can be reached again", peer->id);
	peer->is_failing = false;
}

void peers_free(struct hub *hub)
{
	while (hub->peers != NULL) {
		struct peer *p = hub->peers;

		hub->peers = p->next;
		free(p);
	}
}
