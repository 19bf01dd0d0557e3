/*
 * What has gone wrong lately, in groups: errors that the pooler has sent to clients, logins that it has refused, and
 * logins of its own that have failed. For SHOW ERRORS; errors that servers send to their clients pass unseen.
 *
 * A group is a reason and SQLSTATE, of one user on one database. Users and databases are what clients say they are, so
 * each reason has at most ERRORS_NAMES_PER_REASON groups; what is more is counted in one group for the rest of them.
 * In all there are at most ERRORS_MAX; then the reason that has most of them loses the one it has not met for longest.
 * With fewer reasons than that, none can push another out.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "session/close_reasons.h"

#define ERRORS_MAX 100
#define ERRORS_NAMES_PER_REASON 16

/* A group that has not been met for so long makes way for another name. */
#define ERRORS_STALE_US (60 * CLOCK_SECOND)

/* Reasons besides those of close_reasons.h: a server connection failed before the login, or in it. */
#define ERROR_SERVER_CONNECT "SERVER_CONNECT"
#define ERROR_SERVER_LOGIN "SERVER_LOGIN"

_Static_assert(CLOSE_REASON_COUNT + 2 <= ERRORS_MAX, "no reason can push out another");

struct error_seen {
	const char *reason;              /* a constant: it is kept by reference; the texts are copied */
	const char *sqlstate, *database, *user, *message;
};

struct error_group {
	const char *reason;
	bool is_rest;                    /* of several users and databases */
	uint64_t count, first_at, last_at;
	/* Cut to fit; for the rest, sqlstate and message are those of the last one. */
	char sqlstate[6], database[64], user[128], message[256];
};

/* In the hub; all zeros: none yet. */
struct errors {
	unsigned n;
	struct error_group groups[ERRORS_MAX]; /* in no order */
};

void errors_note(struct errors *e, const struct error_seen *seen, uint64_t now);
