/*
 * What one PostgreSQL server is, a primary or a standby, asked again and again
 * over a connection of the pooler's own.
 *
 * The connection is kept between questions. Its end while nothing is asked is
 * noticed at once and is a reason to ask, which opens a new one: a server that
 * died is known to have died within moments. A connection that turns out to be
 * broken when a question goes out is replaced within that question. Whatever
 * else keeps a question from being answered is a failure; the connection is
 * closed, unless it was an error of SQL, and the next question comes when its
 * time has come. To connect and to answer may each take as long as the
 * interval, but at least one second and at most five.
 *
 * What ALTER ROLE or ALTER DATABASE says about read-only transactions holds for
 * the target's user and database only, and from the next connection on.
 *
 * Questions are begun up to a tenth of the interval early, by chance, so that
 * those to many hosts do not go out together.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "control/connection.h"
#include "net/dns.h"
#include "net/loop.h"

struct host_probe;

struct host_role {
	bool is_standby;                 /* in recovery */
	bool is_read_only;               /* a new transaction is, unless it says otherwise; on a standby always */
};

/* Both are called from the loop, never from within a call of this module's, and may call it, to free the probe too. */
struct host_probe_ops {
	void (*on_role)(void *arg, const struct host_role *role);

	/*
	 * It could not be asked. is_servers: these are the server's words (it
	 * refused the login, say), so somebody is there; the SQLSTATE, when
	 * the loss has one, tells a server that is starting up or shutting
	 * down (57P03) from one that does not like the question.
	 */
	void (*on_failure)(void *arg, const struct connection_loss *loss, bool is_servers);
};

/* Asks nothing yet; NULL when out of memory. Loop, resolver and ops must outlive it. */
struct host_probe *host_probe_new(struct loop *loop, struct dns *dns, const struct host_probe_ops *ops, void *arg);

/*
 * Asks now, and from then on at this interval, of more than 0. The target is
 * copied. On a probe that has been started this changes both: a question under
 * way at another target is forgotten, and the connection to it closed. False
 * when out of memory: the probe has stopped.
 */
bool host_probe_start(struct host_probe *p, const struct connection_target *target, uint64_t interval_us);

/*
 * For whoever suspects that the role is another by now. Suspicions may come in
 * storms: the question goes out at once, or a tenth of a second after the last
 * one did, and one that is under way is repeated then, since its answer may
 * already have been given. Nothing happens on a stopped probe.
 */
void host_probe_ask_now(struct host_probe *p);

/* Closes the connection and forgets the target; may be started again. */
void host_probe_stop(struct host_probe *p);

/* Clears the caller's pointer; a probe of NULL is allowed. */
void host_probe_free(struct host_probe **p);
