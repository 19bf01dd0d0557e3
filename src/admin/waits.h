/*
 * Commands that are answered when sessions have come to a state: PAUSE,
 * SUSPEND and WAIT_CLOSE. The client waits, the loop does not. A command that
 * did something is undone when its client leaves or cancels it before its end.
 *
 * Whatever happens is only noted at first: answers are given, and pauses
 * undone, from the loop, never from within what a session is doing.
 */
#pragma once
#include <bsd/sys/queue.h>
#include <ev.h>
#include <stdbool.h>

#include "session/client.h"

enum wait_kind {
	WAIT_PAUSE,
	WAIT_PAUSE_DATABASE,
	WAIT_SUSPEND,
	WAIT_RETIRED,            /* until the servers that were to go have gone */
};

struct waits {
	struct hub *hub;
	TAILQ_HEAD(, wait) list;
	ev_timer look;
	/* Appends what follows the answer to a command, which went well or not: ReadyForQuery, unless that is due later. */
	void (*on_answered)(struct client *c, bool is_good, struct strbuf *out);
};

void waits_init(struct waits *w, struct hub *hub,
		void (*on_answered)(struct client *c, bool is_good, struct strbuf *out));

/* At the end of the program; all zero is allowed. */
void waits_fini(struct waits *w);

/*
 * The client waits from now on. database: of WAIT_PAUSE_DATABASE and WAIT_RETIRED ("": of all). is_own: what
 * it waits for is its own command's doing, and is undone with it.
 * False: out of memory.
 */
bool waits_add(struct waits *w, struct client *c, enum wait_kind kind, const char *database, bool is_own);

/* Something has changed that may be waited for. */
void waits_look(struct waits *w);

/* The client's command is cancelled; the client has gone. */
void waits_cancel(struct waits *w, struct client *c);
void waits_forget(struct waits *w, const struct client *c);
