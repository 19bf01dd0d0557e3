/*
 * Logins that PAM or LDAP decide on. Those block, so they are asked in child
 * processes, and the loop never waits.
 *
 * Processes are started when there is something to ask, up to AUTH_HELPER_PROCESSES,
 * and each has one request at a time, so a slow one holds up no other while
 * there are processes left. Requests beyond that wait, in order of arrival, up
 * to a bound. A process that dies is replaced at the next need, one that takes
 * too long is killed, and one that has had nothing to do for a minute ends.
 *
 * The program must have one thread when a process is forked.
 */
#pragma once
#include <stdint.h>

#include "auth/external.h"
#include "net/loop.h"

#define AUTH_HELPER_PROCESSES 4

struct auth_helper_options {
	unsigned queue;		 /* requests that may wait for a process: auth_helper_queue */
	uint64_t timeout_us;	 /* how long a process may take for one request; 0: for ever */
	const char *pam_confdir; /* where PAM's service files are; NULL: the system's; outlives the helper */
	external_verify_fn *verify; /* who answers, in the process; NULL: PAM and LDAP */
};

struct auth_helper;
struct auth_helper_ticket; /* one request that has not been answered */

/* NULL when out of memory. Starts no process yet. */
struct auth_helper *auth_helper_new(struct loop *loop, const struct auth_helper_options *options);

/* Kills and reaps the processes. Nobody is answered any more: tickets are gone. NULL is allowed. */
void auth_helper_free(struct auth_helper *helper);

/* For what is asked from now on. */
void auth_helper_set_limits(struct auth_helper *helper, unsigned queue, uint64_t timeout_us);

/*
 * The verdict, once, from the loop; the ticket is gone by then. `why` is for
 * the log, may name the user and has no secret; it lives as long as the call.
 * May ask and cancel, but not free the helper.
 */
typedef void auth_helper_fn(void *arg, enum external_verdict verdict, const char *why);

/*
 * Asks; the login's texts are copied, and wiped when they have been sent. NULL
 * when it cannot even wait, with *why: that is EXTERNAL_UNAVAILABLE, and fn is
 * not called.
 */
struct auth_helper_ticket *auth_helper_ask(struct auth_helper *helper, const struct external_login *login,
					   auth_helper_fn *fn, void *arg, const char **why);

/* fn will not be called. What a process is working on already it brings to its end. */
void auth_helper_cancel(struct auth_helper_ticket *ticket);
