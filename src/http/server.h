/*
 * The HTTP endpoint: metrics, health, tables, a page. It listens on sockets of
 * its own, and goes on answering while the program drains.
 */
#pragma once
#include <stdbool.h>

#include "net/inherited.h"
#include "report/table.h"
#include "session/hub.h"

struct http;

/* What a command of the console has come to. */
struct http_result {
	enum { HTTP_COMMAND_DONE, HTTP_COMMAND_BEGUN, HTTP_COMMAND_REFUSED } outcome;
	char sqlstate[6];                /* of REFUSED, and why */
	char message[512];
};

/* What only the root can do. */
struct http_actions {
	/* Runs a command of the console for an admin who has logged in; `who` names him in the log. */
	void (*run_command)(void *arg, struct slice sql, const char *who, struct http_result *result);
	void *arg;
};

/*
 * Opens what the settings name; NULL with *error when that fails. NULL without one: nothing is to be answered.
 * inherited: see struct listen_options; NULL: none.
 */
struct http *http_new(struct hub *hub, const struct report *report, const struct http_actions *actions,
		      struct inherited *inherited, struct strbuf *error);

/* NULL is allowed. Closes all connections. */
void http_free(struct http **http);

/* Its sockets, for a takeover; NULL when there is no such thing. */
struct listeners *http_listeners(struct http *http);

/*
 * The settings are about to change: makes ready what they name. False, and
 * *error, which begins with the setting at fault: they cannot be put in force.
 * Connections that are there keep the certificate that they have seen.
 */
bool http_prepare(struct http *http, const struct settings *s, struct strbuf *error);

/* They have changed. NULL is allowed, above too. */
void http_apply_settings(struct http *http);

/* Loads the certificate and the key, and forgets them. False with *error, as above. */
bool http_check(const struct settings *s, struct strbuf *error);
