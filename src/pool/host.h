/*
 * A server's address as databases name it: what is known of it, for all pools
 * whose connections go there.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atom.h"
#include "base/hash.h"
#include "conf/conf.h"
#include "pool/breaker.h"
#include "pool/failure.h"
#include "pool/pool.h"

/* X(name, text in SHOW HOSTS) */
#define HOST_ROLES(X)            \
	X(UNKNOWN, "unknown")    \
	X(PRIMARY, "primary")    \
	X(STANDBY, "standby")

enum host_role_kind {
#define X(name, text) HOST_##name,
	HOST_ROLES(X)
#undef X
};

struct hosts;

struct host {
	UT_hash_handle hh;               /* by key */
	struct hosts *table;
	unsigned refs;
	struct atom *name;               /* as the file has it: a name, an address, a directory */
	int port;
	struct breaker breaker;
	struct failure failure;          /* the last one; cleared by success */
	unsigned nservers;               /* logged in */
	enum host_role_kind role;
	bool is_read_only;               /* transactions are, unless they ask otherwise; known when the role is */
	uint64_t role_at;                /* when the role was last told */
	bool is_asked;                   /* it is asked for its role again and again, and answers */
	struct pool_queue blocked;       /* pools that wait for a connection to it to be possible */
	void *session;                   /* the session layer's part */
	char key[];                      /* "host:port" */
};

struct hosts *hosts_new(void);

/* All have been given back by then. */
void hosts_free(struct hosts *hosts);

/* The one of this name and port, made at need, with one more reference; NULL when out of memory. */
struct host *host_ref(struct hosts *hosts, const char *name, int port);
struct host *host_again(struct host *host);

/* Called with a host that nobody names any more, before it goes. */
void hosts_on_gone(struct hosts *hosts, void (*fn)(void *arg, struct host *host), void *arg);
void host_unref(struct host **host);

/* The one with this key; NULL: none. */
struct host *hosts_find(const struct hosts *hosts, struct slice key);

/* Iteration: the first when `previous` is NULL; NULL at the end. */
struct host *hosts_next(const struct hosts *hosts, const struct host *previous);

/* Pools none of whose hosts is what they ask for wait here for a host's role to change. */
struct pool_queue *hosts_unsuited(struct hosts *hosts);

/* The words of BREAKER_STATES and HOST_ROLES. */
const char *host_state_text(const struct host *host);
const char *host_role_text(const struct host *host);

/* Whether it is, as far as known, what target_session_attrs asks for; not known is not no. */
bool host_suits(const struct host *host, enum target_session_attrs attrs);
