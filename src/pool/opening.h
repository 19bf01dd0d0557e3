/*
 * Whether a pool may open a server connection now, and to which host: what it
 * wants for itself, what it shares with other pools, how its hosts are.
 */
#pragma once
#include "pool/cap.h"
#include "pool/host.h"
#include "pool/pool.h"

struct opening {
	/* It may. */
	bool is_reserve;
	struct pool_server *victim;      /* an idle server of another pool that is to be closed first; NULL: none */
	struct cap *victims_cap;         /* the bound under which it makes room */
	unsigned host_index;             /* in the database's list */

	/* It may not, or nothing is wanted: why (NONE: nothing is), and when that may change with nothing else happening. */
	enum pool_hold hold;
	uint64_t again_at;               /* 0: no time is known */
	struct cap *cap;                 /* MAX_DB, MAX_USER, MAX_ALL: the bound, and which of them it is */
	enum cap_kind cap_kind;
	uint64_t recheck_at;             /* when one that was something else may be looked at again; 0: not by us */
	struct host *host;               /* whose end of a bad state, or of attempts, is to be waited for; NULL: nobody's */
};

bool opening_find(const struct pool *pool, uint64_t now, struct opening *o);

/* All hosts that the pool could use are down; then *o tells of the one to be tried next. */
bool opening_is_down(const struct pool *pool, uint64_t now, struct opening *o);

/* For how long what a login has told of a host holds where nobody asks. */
uint64_t opening_recheck_wait(const struct pool *pool);

/*
 * A host has turned out to be what it is in the course of a login. False: it
 * does not suit the pool, or there is one yet to be tried that it would rather have.
 */
bool opening_keeps(const struct pool *pool, uint64_t now, unsigned host_index);

/*
 * The host to try after those that the same attempt has been at: `ntried` of
 * them, from `first` on in the list's order. False: there is none.
 */
bool opening_next_host(const struct pool *pool, uint64_t now, unsigned first, unsigned ntried, unsigned *index);
