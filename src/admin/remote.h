/*
 * Commands that come otherwise than over the console's protocol: the same
 * table, but only those that a person looking at a page would give. Whoever
 * waits on the console for a command to be complete is not waited for here: it
 * has begun, goes on, and is not undone when the one who gave it leaves.
 */
#pragma once
#include "admin/console.h"

enum remote_outcome {
	REMOTE_DONE,
	REMOTE_BEGUN,
	REMOTE_REFUSED,                  /* sqlstate and message say why */
};

struct remote_answer {
	enum remote_outcome outcome;
	char sqlstate[6];
	char message[512];
};

/* For an admin; `who` he is, for the log. */
void remote_run(struct console *console, struct slice sql, const char *who, struct remote_answer *answer);
