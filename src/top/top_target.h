/*
 * Which console is asked, and as whom.
 */
#pragma once

/* Each may be NULL: libpq's environment, service file and password file hold. */
struct top_target {
	const char *host, *port, *user;
	const char *database;      /* a name, a connection string or a URI */
	char *password;            /* what was typed; the owner wipes it */
};

/* Both poolers call their console so. */
#define TOP_CONSOLE "pgbouncer"
