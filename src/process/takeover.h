/*
 * Taking over from a running process (-R): the one that is starting asks the
 * one that runs for its listening sockets, over that one's console on the Unix
 * socket, listens on them too, and has it let go of them. At no moment does
 * nobody listen, and until the last step the other goes on as if nothing had
 * happened.
 *
 *   TAKEOVER         the sockets come with the answer (SCM_RIGHTS); its tag says how many
 *   TAKEOVER DONE    the other closes its own, gives up its pid file, and ends as after SIGTERM
 *
 * The exchange blocks, for up to ten seconds a step: it takes place before the
 * loop runs, while the other process serves.
 */
#pragma once
#include <stdbool.h>

#include "base/str.h"
#include "net/inherited.h"

struct takeover;

enum takeover_begun {
	TAKEOVER_BEGUN,
	TAKEOVER_ALONE,                  /* no process listens there: there is nothing to take over */
	TAKEOVER_FAILED,                 /* *error says why */
};

/* The sockets are the caller's, *t is for takeover_finish() or _abort(). */
enum takeover_begun takeover_begin(struct takeover **t, const char *unix_dir, int port, struct inherited *sockets,
				   struct strbuf *error);

enum takeover_end {
	TAKEOVER_DONE,
	TAKEOVER_REFUSED,                /* the other goes on: this process has to end; *error says why */
	TAKEOVER_UNSURE,                 /* no answer: it may be gone. Both may listen, so this process goes on; *error */
};

/* This process is ready to accept. Frees *t. */
enum takeover_end takeover_finish(struct takeover **t, struct strbuf *error);

/* Leaves all to the other process. NULL is allowed. */
void takeover_abort(struct takeover **t);
