/*
 * PEERS, PEER_POOLS.
 */
#include "report/tables.h"

#define PEERS_COLUMNS(X)                              \
	X(peer_id, INT4, cell_number(p->id))          \
	X(host, TEXT, cell_text(p->host))             \
	X(port, INT4, cell_number(p->port))           \
	X(pool_size, INT4, cell_number(pool_size(r, p)))

static int64_t pool_size(const struct report *r, const struct conf_peer *p)
{
	const struct conf_overrides *o = &p->overrides;

	return o->is_set[SETTING_default_pool_size] ? o->number[SETTING_default_pool_size]
						    : hub_settings(r->hub)->default_pool_size;
}

static bool peers_rows(const struct report *r, struct row_sink *sink)
{
	for (const struct conf_peer *p = registry_conf(r->hub->registry)->peers; p != NULL; p = p->next)
		sink->on_row(sink, (const struct cell[]){PEERS_COLUMNS(TABLE_CELL)});
	return true;
}

static const struct column peers_columns[] = {PEERS_COLUMNS(TABLE_COLUMN)};
const struct table table_peers = TABLE("PEERS", peers_columns, peers_rows);

/* Nothing is sent to peers yet. */
#define PEER_POOLS_COLUMNS(X)                         \
	X(peer_id, INT4, cell_number(p->id))          \
	X(cl_active_cancel_req, INT4, cell_number(0)) \
	X(cl_waiting_cancel_req, INT4, cell_number(0)) \
	X(sv_active_cancel, INT4, cell_number(0))     \
	X(sv_login, INT4, cell_number(0))

static bool peer_pools_rows(const struct report *r, struct row_sink *sink)
{
	for (const struct conf_peer *p = registry_conf(r->hub->registry)->peers; p != NULL; p = p->next)
		sink->on_row(sink, (const struct cell[]){PEER_POOLS_COLUMNS(TABLE_CELL)});
	return true;
}

static const struct column peer_pools_columns[] = {PEER_POOLS_COLUMNS(TABLE_COLUMN)};
const struct table table_peer_pools = TABLE("PEER_POOLS", peer_pools_columns, peer_pools_rows);
