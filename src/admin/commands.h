/*
 * The console's commands: one table says how each is called, what it takes,
 * who may give it and what HELP says of it.
 */
#pragma once
#include <stdbool.h>

#include "admin/statement.h"
#include "admin/waits.h"
#include "base/str.h"
#include "report/table.h"
#include "session/client.h"

enum admin_shutdown {
	ADMIN_SHUTDOWN_IMMEDIATE,
	ADMIN_SHUTDOWN_WAIT_FOR_SERVERS,
	ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS,
	ADMIN_SHUTDOWN_DRAIN,
};

/* What commands do that concern the whole program; the root fills it in. No console client is closed within a call. */
struct admin_actions {
	/* Reads the configuration anew. False: nothing has changed, and *error has a line for each fault. */
	bool (*reload)(void *arg, struct strbuf *error);
	/* IMMEDIATE: the program ends as soon as the loop has the control again. */
	void (*shutdown)(void *arg, enum admin_shutdown how);
	/* The process of this id listens on the same sockets: closes them, and ends as after SIGTERM. */
	void (*hand_over)(void *arg, uint32_t pid);
	/* Changes a reloadable setting until the next reload. False: *error says why not. */
	bool (*set)(void *arg, const struct conf_change *change, struct strbuf *error);
	void *arg;
	const char *version;             /* of this program: "0.1.0" */
	int listen_port;
};

/* One statement of one client, or of one who came otherwise (admin/remote.h). */
struct request {
	struct hub *hub;
	struct client *client;           /* NULL: none */
	const char *remote;              /* who it is then, in words */
	bool is_admin;
	const struct report *report;
	const struct admin_actions *actions;
	struct waits *waits;
	uint64_t *successor;             /* id of the client that was given the listening sockets; 0: none */
	struct slice sql;
	const struct statement *statement;
	struct strbuf *out;
};

/* SHOW COMMANDS: what there is, for people. Its rows are the same for every report, NULL too. */
extern const struct table table_commands;

/* Answers a STATEMENT_COMMAND, or one of SET. False: nothing was answered, and nothing is to follow, or not yet. */
bool command_run(const struct request *rq);

/* The table that a command shows and this client may see: then it is not to be run, but told. NULL: there is none. */
const struct table *command_table(const struct client *c, const struct statement *s);

/* The answer to what is no command. */
void command_refuse(const struct request *rq);
