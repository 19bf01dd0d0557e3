/*
 * PEERS and PEER_POOLS: who else a cancel request may be for, and what is on
 * its way to them.
 */
#include "report/tables.h"

#include "session/peers.h"

/* --- PEERS --- */

#define PEERS_COLUMNS(X)                         \
	X(peer_id, INT4, cell_number(p->id))     \
	X(host, TEXT, cell_text(p->host))        \
	X(port, INT4, cell_number(p->port))      \
	X(pool_size, INT4, cell_number(peer_pool_size(r->hub, p)))

static bool peers_rows(const struct report *r, struct row_sink *sink)
{
	for (const struct conf_peer *p = registry_conf(r->hub->registry)->peers; p != NULL; p = p->next)
		sink->on_row(sink, (const struct cell[]){PEERS_COLUMNS(TABLE_CELL)});
	return true;
}

static const struct column peers_columns[] = {PEERS_COLUMNS(TABLE_COLUMN)};
const struct table table_peers = TABLE("PEERS", peers_columns, peers_rows);

/* --- PEER_POOLS --- */

#define PEER_POOLS_COLUMNS(X)                                   \
	X(peer_id, INT4, cell_number(p->id))                    \
	X(cl_active_cancel_req, INT4, cell_number(f.cl_active)) \
	X(cl_waiting_cancel_req, INT4, cell_number(f.cl_waiting)) \
	X(sv_active_cancel, INT4, cell_number(f.sv_active))     \
	X(sv_login, INT4, cell_number(f.sv_login))

static bool peer_pools_rows(const struct report *r, struct row_sink *sink)
{
	for (const struct conf_peer *p = registry_conf(r->hub->registry)->peers; p != NULL; p = p->next) {
		const struct peer *peer = peer_find(r->hub, p->id);
		struct cancel_figures f = {0};

		if (peer != NULL)
			cancel_request_figures(r->hub, &peer->line, &f);
		sink->on_row(sink, (const struct cell[]){PEER_POOLS_COLUMNS(TABLE_CELL)});
	}
	return true;
}

static const struct column peer_pools_columns[] = {PEER_POOLS_COLUMNS(TABLE_COLUMN)};
const struct table table_peer_pools = TABLE("PEER_POOLS", peer_pools_columns, peer_pools_rows);
