#include "admin/commands.h"

#include "admin/courtesy.h"
#include "admin/reply.h"
#include "proto/out.h"
#include "report/tables.h"
#include "session/pause.h"
#include "session/suspend.h"

/* Lines of HELP are broken behind this many bytes. */
#define HELP_WIDTH 60

enum takes {
	TAKES_NOTHING,
	TAKES_WORD,
	MAY_TAKE_WORD,
	TAKES_ASSIGNMENT,
};

enum who { ADMIN, ANYONE };

struct command {
	const char *name;
	enum takes takes;
	enum who who;
	const char *help;                /* NULL: HELP has nothing to say, or says it elsewhere */
	bool (*run)(const struct request *rq);
};

static bool answer_error(const struct request *rq, const char *sqlstate, const char *message, const char *detail)
{
	reply_failure(rq->client, rq->out, sqlstate, message, detail, NULL);
	return true;
}

/* The word of the statement stands for %s. */
static bool answer_error_about(const struct request *rq, const char *sqlstate, const char *format)
{
	char message[STATEMENT_ARGUMENT_MAX + 64];
	const char *hole = strstr(format, "%s");
	struct strbuf text;

	strbuf_init_fixed(&text, message, sizeof(message));
	strbuf_add(&text, format, (size_t)(hole - format));
	strbuf_add_str(&text, rq->statement->argument);
	strbuf_add_str(&text, hole + 2);
	return answer_error(rq, sqlstate, message, NULL);
}

static bool refuse_to_all_but_admins(const struct request *rq)
{
	return answer_error(rq, INSUFFICIENT_PRIVILEGE, "admin access needed",
			    "The command is for those named in admin_users.");
}

static bool complete(const struct request *rq, const char *tag)
{
	out_command_complete(rq->out, tag);
	return true;
}

/* All of what was said is quoted: the mistake may be at its end. */
void command_refuse(const struct request *rq)
{
	struct strbuf message;

	strbuf_init(&message);
	strbuf_add_str(&message, "invalid command '");
	strbuf_add_slice(&message, rq->sql);
	strbuf_add_str(&message, "', use SHOW HELP;");
	reply_failure(rq->client, rq->out, SYNTAX_ERROR,
		      message.failed ? "invalid command, use SHOW HELP;" : message.p, NULL,
		      "This is the pooler's admin console, which has commands of its own: SHOW HELP lists them.");
	strbuf_fini(&message);
}

static bool is_word(const char *word, const char *expected)
{
	return slice_is_nocase(slice_of(word), expected);
}

/* --- SHOW --- */

/* A word of a list; the list goes on in a new line when this one is full. */
static void add_to_list(struct strbuf *out, const char *word, size_t *column)
{
	if (*column + strlen(word) > HELP_WIDTH) {
		strbuf_add_str(out, "\n\tSHOW ");
		*column = 0;
	} else {
		strbuf_add_char(out, '|');
	}
	strbuf_add_str(out, word);
	*column += strlen(word) + 1;
}

static void list_tables(struct strbuf *out)
{
	size_t column = 0;

	strbuf_add_str(out, "\n\tSHOW HELP");
	for (size_t i = 0; i < TABLE_COUNT; i++)
		add_to_list(out, tables[i]->name, &column);
}

static void print_usage(struct strbuf *out);

static bool show_help(const struct request *rq)
{
	struct strbuf usage;

	strbuf_init(&usage);
	print_usage(&usage);
	reply_notice(rq->out, "NOTICE", "Console usage", usage.failed ? NULL : usage.p);
	strbuf_fini(&usage);
	out_command_complete(rq->out, "SHOW");
	return true;
}

const struct table *command_table(const struct client *c, const struct statement *s)
{
	const struct table *table;

	if (s->kind != STATEMENT_COMMAND || (!is_word(s->command, "SHOW") && !is_word(s->command, "SELECT")))
		return NULL;
	table = table_find(slice_of(s->argument));
	if (table == NULL)
		return courtesy_table(s->argument);
	return table->is_for_admins && !c->is_admin ? NULL : table;
}

/* What is no table of command_table(). */
static bool show(const struct request *rq)
{
	const char *what = rq->statement->argument;

	if (is_word(what, "HELP"))
		return show_help(rq);
	if (table_find(slice_of(what)) != NULL)
		return refuse_to_all_but_admins(rq);
	command_refuse(rq);
	return true;
}

/* --- SET --- */

static bool set_ignored(const struct request *rq)
{
	reply_notice(rq->out, "NOTICE", "SET ignored", NULL);
	out_command_complete(rq->out, "SET");
	return true;
}

static bool is_secret(const char *name)
{
	enum setting_id id;

	return setting_find(slice_of(name), &id) && setting_info(id)->secret;
}

static void complete_set(const struct request *rq)
{
	struct strbuf tag;

	strbuf_init(&tag);
	strbuf_addf(&tag, "SET %s=%s", rq->statement->argument, is_secret(rq->statement->argument) ? "********" : rq->statement->value);
	out_command_complete(rq->out, tag.failed ? "SET" : tag.p);
	strbuf_fini(&tag);
}

/* PgBouncer accepts it and does nothing; so do we, but say so. */
static bool set_in_vain(const struct request *rq)
{
	char message[STATEMENT_ARGUMENT_MAX + 64];
	struct strbuf text;

	strbuf_init_fixed(&text, message, sizeof(message));
	strbuf_addf(&text, "%s cannot be changed without a restart", rq->statement->argument);
	reply_notice(rq->out, "WARNING", message, NULL);
	complete_set(rq);
	return true;
}

static bool set(const struct request *rq)
{
	const struct admin_actions *a = rq->actions;
	struct slice key = slice_of(rq->statement->argument);
	struct strbuf error;
	enum setting_id id;

	if (setting_find(key, &id) && setting_info(id)->when == WHEN_START)
		return set_in_vain(rq);
	strbuf_init(&error);
	if (a->set(a->arg, key, slice_of(rq->statement->value), &error))
		complete_set(rq);
	else
		answer_error(rq, INVALID_PARAMETER_VALUE, "SET failed", error.n > 0 ? error.p : NULL);
	strbuf_fini(&error);
	return true;
}

/* --- RELOAD, SHUTDOWN --- */

static bool reload(const struct request *rq)
{
	const struct admin_actions *a = rq->actions;
	struct strbuf error;

	client_log(rq->client, LOG_LEVEL_LOG, "RELOAD command issued");
	strbuf_init(&error);
	if (a->reload(a->arg, &error)) {
		out_command_complete(rq->out, "RELOAD");
	} else {
		while (error.n > 0 && error.p[error.n - 1] == '\n')
			error.p[--error.n] = '\0';
		answer_error(rq, CONFIG_FILE_ERROR, "RELOAD failed, see logs for additional details",
			     error.n > 0 ? error.p : NULL);
	}
	strbuf_fini(&error);
	return true;
}

static bool shutdown_program(const struct request *rq)
{
	const char *how = rq->statement->argument;
	const struct admin_actions *a = rq->actions;
	bool for_servers = is_word(how, "WAIT_FOR_SERVERS");

	if (how[0] == '\0') {
		client_log(rq->client, LOG_LEVEL_LOG, "SHUTDOWN command issued");
		a->shutdown(a->arg, ADMIN_SHUTDOWN_IMMEDIATE);
		return false;
	}
	if (!for_servers && !is_word(how, "WAIT_FOR_CLIENTS")) {
		command_refuse(rq);
		return true;
	}
	client_log(rq->client, LOG_LEVEL_LOG, "SHUTDOWN %s command issued",
		   for_servers ? "WAIT_FOR_SERVERS" : "WAIT_FOR_CLIENTS");
	a->shutdown(a->arg, for_servers ? ADMIN_SHUTDOWN_WAIT_FOR_SERVERS : ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS);
	out_command_complete(rq->out, "SHUTDOWN");
	return true;
}

/* --- PAUSE, SUSPEND, RESUME --- */

/* The client is answered when what is begun now is complete. False: it has got an error. */
static bool begin(const struct request *rq, enum wait_kind kind, bool is_own)
{
	if (waits_add(rq->waits, rq->client, kind, rq->statement->argument, is_own))
		return true;
	answer_error(rq, OUT_OF_MEMORY, "out of memory", NULL);
	return false;
}

static bool is_shutting_down(const struct request *rq)
{
	return rq->client->hub->shutdown != SHUTDOWN_NOT;
}

static bool pause_whole(const struct request *rq)
{
	struct hub *hub = rq->client->hub;

	if (hub->pause != PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	client_log(rq->client, LOG_LEVEL_LOG, "PAUSE command issued");
	if (!begin(rq, WAIT_PAUSE, true))
		return true;
	pause_all(hub);
	return false;
}

static bool pause_one(const struct request *rq)
{
	struct hub *hub = rq->client->hub;
	struct slice name = slice_of(rq->statement->argument);
	struct database *db;

	if (hub->pause == PAUSE_SUSPEND)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	if (hub_is_console(name))
		return answer_error_about(rq, INVALID_CATALOG_NAME, "cannot pause admin db: %s");
	db = registry_database(hub->registry, name);
	if (db == NULL)
		return answer_error_about(rq, INVALID_CATALOG_NAME, "no such database: %s");
	client_log(rq->client, LOG_LEVEL_LOG, "PAUSE '%s' command issued", rq->statement->argument);
	if (!begin(rq, WAIT_PAUSE_DATABASE, !db->is_paused))
		return true;
	pause_database(hub, db);
	return false;
}

static bool pause_command(const struct request *rq)
{
	if (is_shutting_down(rq))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down", NULL);
	return rq->statement->argument[0] == '\0' ? pause_whole(rq) : pause_one(rq);
}

static bool has_paused_database(const struct hub *hub)
{
	struct database *db = NULL;

	while ((db = registry_next_database(hub->registry, db)) != NULL)
		if (db->is_paused && !db->is_dead)
			return true;
	return false;
}

static bool suspend_command(const struct request *rq)
{
	struct hub *hub = rq->client->hub;

	if (is_shutting_down(rq))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down", NULL);
	if (hub->pause != PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "already suspended/paused", NULL);
	if (has_paused_database(hub))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "cannot suspend with paused databases", NULL);
	client_log(rq->client, LOG_LEVEL_LOG, "SUSPEND command issued");
	if (!begin(rq, WAIT_SUSPEND, true))
		return true;
	suspend_all(hub);
	return false;
}

static bool resume_whole(const struct request *rq)
{
	if (is_shutting_down(rq))
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down", NULL);
	if (rq->client->hub->pause == PAUSE_NOT)
		return answer_error(rq, NOT_IN_PREREQUISITE_STATE, "pooler is not paused/suspended", NULL);
	client_log(rq->client, LOG_LEVEL_LOG, "RESUME command issued");
	pause_resume_all(rq->client->hub);
	return complete(rq, "RESUME");
}

static bool resume_one(const struct request *rq)
{
	struct hub *hub = rq->client->hub;
	struct slice name = slice_of(rq->statement->argument);
	struct database *db = registry_find_database(hub->registry, name);

	if (db == NULL && !hub_is_console(name))
		return answer_error_about(rq, INVALID_CATALOG_NAME, "no such database: %s");
	if (db == NULL || !db->is_paused)
		return answer_error_about(rq, NOT_IN_PREREQUISITE_STATE, "database %s is not paused");
	client_log(rq->client, LOG_LEVEL_LOG, "RESUME '%s' command issued", rq->statement->argument);
	pause_resume_database(hub, db);
	return complete(rq, "RESUME");
}

static bool resume_command(const struct request *rq)
{
	return rq->statement->argument[0] == '\0' ? resume_whole(rq) : resume_one(rq);
}

/* --- all of them --- */

static const struct command commands[] = {
	/* name, takes, who, help, run */
	{"SHOW", TAKES_WORD, ANYONE, NULL, show},
	{"SELECT", TAKES_WORD, ANYONE, NULL, show},
	{"SET", TAKES_ASSIGNMENT, ADMIN, "SET key = arg", set},
	{"RELOAD", TAKES_NOTHING, ADMIN, "RELOAD", reload},
	{"PAUSE", MAY_TAKE_WORD, ADMIN, "PAUSE [<db>]", pause_command},
	{"RESUME", MAY_TAKE_WORD, ADMIN, "RESUME [<db>]", resume_command},
	{"SUSPEND", TAKES_NOTHING, ADMIN, "SUSPEND", suspend_command},
	{"SHUTDOWN", MAY_TAKE_WORD, ADMIN, "SHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]", shutdown_program},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_usage(struct strbuf *out)
{
	list_tables(out);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (commands[i].help != NULL)
			strbuf_addf(out, "\n\t%s", commands[i].help);
	}
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (is_word(name, commands[i].name))
			return &commands[i];
	}
	return NULL;
}

static bool fits(const struct command *command, const struct statement *s)
{
	bool has_word = s->argument[0] != '\0';

	switch (command->takes) {
	case TAKES_NOTHING:
		return !has_word;
	case TAKES_WORD:
		return s->kind == STATEMENT_COMMAND && has_word;
	case MAY_TAKE_WORD:
		return s->kind == STATEMENT_COMMAND;
	case TAKES_ASSIGNMENT:
		break;
	}
	return s->kind == STATEMENT_SET;
}

bool command_run(const struct request *rq)
{
	const struct statement *s = rq->statement;
	const struct command *command = find_command(s->command);

	if (command == NULL || !fits(command, s)) {
		command_refuse(rq);
		return true;
	}
	/* No command to us, but what drivers say to any server before they do anything else. */
	if (s->kind == STATEMENT_SET && courtesy_is_setting(s->argument))
		return set_ignored(rq);
	if (command->who == ADMIN && !rq->client->is_admin)
		return refuse_to_all_but_admins(rq);
	return command->run(rq);
}
