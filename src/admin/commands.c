#include "admin/commands.h"

#include "admin/answers.h"
#include "admin/courtesy.h"
#include "admin/operate.h"
#include "admin/set.h"
#include "admin/takeover.h"
#include "proto/out.h"
#include "report/tables.h"

/* Lines of HELP are broken behind this many bytes. */
#define HELP_WIDTH 60

enum takes {
	TAKES_NOTHING,
	TAKES_WORD,
	MAY_TAKE_WORD,
	TAKES_ASSIGNMENT,
	TAKES_ASSIGNMENT_OF_DATABASE,
	TAKES_ASSIGNMENT_OF_USER,
};

enum who { ADMIN, ANYONE };

/* One way to call a command. */
struct command {
	const char *name;
	enum takes takes;
	const char *argument;            /* in words */
	enum who who;
	const char *help;                /* NULL: not for people, so that nothing lists it */
	bool (*run)(const struct request *rq);
};

static bool refuse_to_all_but_admins(const struct request *rq)
{
	return answer_error(rq, INSUFFICIENT_PRIVILEGE, "admin access needed",
			    "The command is for those named in admin_users.");
}

/* All of what was said is quoted: the mistake may be at its end. */
void command_refuse(const struct request *rq)
{
	struct strbuf message;

	strbuf_init(&message);
	strbuf_add_str(&message, "invalid command '");
	strbuf_add_slice(&message, rq->sql);
	strbuf_add_str(&message, "', use SHOW HELP;");
	answer_failure(rq, SYNTAX_ERROR, message.failed ? "invalid command, use SHOW HELP;" : message.p, NULL,
		       "This is the pooler's admin console, which has commands of its own: SHOW HELP lists them.");
	strbuf_fini(&message);
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

	strbuf_add_str(out, "\n\tSHOW HELP|COMMANDS");
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

static const struct table *find_table(const char *name)
{
	return is_word(name, table_commands.name) ? &table_commands : table_find(slice_of(name));
}

const struct table *command_table(const struct client *c, const struct statement *s)
{
	const struct table *table;

	if (s->kind != STATEMENT_COMMAND || (!is_word(s->command, "SHOW") && !is_word(s->command, "SELECT")))
		return NULL;
	table = find_table(s->argument);
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
	if (find_table(what) != NULL)
		return refuse_to_all_but_admins(rq);
	command_refuse(rq);
	return true;
}

/* --- SET, of what is a server's --- */

static bool set_ignored(const struct request *rq)
{
	reply_notice(rq->out, "NOTICE", "SET ignored", NULL);
	out_command_complete(rq->out, "SET");
	return true;
}

/* --- RELOAD, SHUTDOWN --- */

static bool reload(const struct request *rq)
{
	const struct admin_actions *a = rq->actions;
	struct strbuf error;

	request_log(rq, "RELOAD command issued");
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

struct way_to_end {
	const char *word;
	enum admin_shutdown how;
};

static const struct way_to_end ways_to_end[] = {
	{"WAIT_FOR_SERVERS", ADMIN_SHUTDOWN_WAIT_FOR_SERVERS},
	{"WAIT_FOR_CLIENTS", ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS},
	{"DRAIN", ADMIN_SHUTDOWN_DRAIN},
};

static const struct way_to_end *find_way_to_end(const char *word)
{
	for (size_t i = 0; i < sizeof(ways_to_end) / sizeof(ways_to_end[0]); i++) {
		if (is_word(word, ways_to_end[i].word))
			return &ways_to_end[i];
	}
	return NULL;
}

static bool shutdown_program(const struct request *rq)
{
	const char *word = rq->statement->argument;
	const struct way_to_end *way = find_way_to_end(word);
	const struct admin_actions *a = rq->actions;

	if (word[0] == '\0') {
		request_log(rq, "SHUTDOWN command issued");
		a->shutdown(a->arg, ADMIN_SHUTDOWN_IMMEDIATE);
		return false;
	}
	if (way == NULL) {
		command_refuse(rq);
		return true;
	}
	request_log(rq, "SHUTDOWN %s command issued", way->word);
	a->shutdown(a->arg, way->how);
	out_command_complete(rq->out, "SHUTDOWN");
	return true;
}

/* --- all of them --- */

static const struct command commands[] = {
	/* name, takes, argument, who, help, run */
	{"SHOW", TAKES_WORD, "<table>", ANYONE, "Shows a table; SHOW HELP names them all.", show},
	{"SELECT", TAKES_WORD, "<table>", ANYONE, "The same as SHOW.", show},
	{"SET", TAKES_ASSIGNMENT, "key = arg", ADMIN, "Changes a setting until the next RELOAD or restart.", command_set},
	{"SET", TAKES_ASSIGNMENT_OF_DATABASE, "DATABASE <db> key = arg", ADMIN,
	 "Changes a setting of one database until the next RELOAD or restart.", command_set_database},
	{"SET", TAKES_ASSIGNMENT_OF_USER, "USER <user> key = arg", ADMIN,
	 "Changes a setting of one user until the next RELOAD or restart.", command_set_user},
	{"RELOAD", TAKES_NOTHING, "", ADMIN, "Reads the configuration and the files that it names anew.", reload},
	{"PAUSE", MAY_TAKE_WORD, "[<db>]", ADMIN,
	 "Hands out no more servers, closes them as they become free, and answers when none is in use.", command_pause},
	{"RESUME", MAY_TAKE_WORD, "[<db>]", ADMIN, "Undoes PAUSE, KILL and SUSPEND.", command_resume},
	{"DISABLE", MAY_TAKE_WORD, "<db>", ADMIN, "Refuses new clients of a database.", command_disable},
	{"ENABLE", MAY_TAKE_WORD, "<db>", ADMIN, "Undoes DISABLE.", command_enable},
	{"RECONNECT", MAY_TAKE_WORD, "[<db>]", ADMIN, "Has open servers replaced by new ones as they become free.",
	 command_reconnect},
	{"KILL", MAY_TAKE_WORD, "[<db>]", ADMIN, "Pauses, and ends all clients and servers at once.", command_kill},
	{"KILL_CLIENT", TAKES_WORD, "<client_id>", ADMIN, "Ends one client, by the id or ptr of SHOW CLIENTS.",
	 command_kill_client},
	{"SUSPEND", TAKES_NOTHING, "", ADMIN,
	 "Stops all connections where they are, and answers when nothing is in between.", command_suspend},
	{"WAIT_CLOSE", MAY_TAKE_WORD, "[<db>]", ADMIN, "Answers when the servers that are to be replaced are gone.",
	 command_wait_close},
	{"SHUTDOWN", MAY_TAKE_WORD, "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS|DRAIN]", ADMIN,
	 "Ends the program: at once, or when no server is in use, when the last client has left, or when all were sent "
	 "away between two transactions.", shutdown_program},
	{"TAKEOVER", MAY_TAKE_WORD, "[DONE]", ADMIN, NULL, takeover_command},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

#define COMMANDS_COLUMNS(X)                                                                              \
	X(name, TEXT, cell_text(c->name))                                                                \
	X(argument, TEXT, cell_text(c->argument))                                                        \
	X(who, TEXT, cell_text(c->who == ADMIN ? "admin_users" : "admin_users, stats_users"))            \
	X(help, TEXT, cell_text(c->help))

static void tell_command(struct row_sink *sink, const struct command *c)
{
	sink->on_row(sink, (const struct cell[]){COMMANDS_COLUMNS(TABLE_CELL)});
}

/* By itself: what SHOW can show is told as rows of its own. */
static bool is_listed(const struct command *c)
{
	return c->run != show && c->help != NULL;
}

static void tell_show(struct row_sink *sink, const char *name, enum who who, const char *help)
{
	const struct command c = {.name = "SHOW", .argument = name, .who = who, .help = help};

	tell_command(sink, &c);
}

static bool commands_rows(const struct report *r, struct row_sink *sink)
{
	(void)r;
	tell_show(sink, "HELP", ANYONE, "How the console is used, as a notice.");
	tell_show(sink, "COMMANDS", ANYONE, "This table.");
	for (size_t i = 0; i < TABLE_COUNT; i++)
		tell_show(sink, tables[i]->name, tables[i]->is_for_admins ? ADMIN : ANYONE, table_help[i]);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (is_listed(&commands[i]))
			tell_command(sink, &commands[i]);
	return true;
}

static const struct column commands_columns[] = {COMMANDS_COLUMNS(TABLE_COLUMN)};
const struct table table_commands = TABLE("COMMANDS", commands_columns, commands_rows);

static void print_usage(struct strbuf *out)
{
	list_tables(out);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (is_listed(&commands[i]))
			strbuf_addf(out, "\n\t%s%s%s", commands[i].name, commands[i].argument[0] != '\0' ? " " : "",
				    commands[i].argument);
	}
}

static bool fits(const struct command *command, const struct statement *s)
{
	bool has_word = s->argument[0] != '\0';

	switch (command->takes) {
	case TAKES_NOTHING:
		return s->kind == STATEMENT_COMMAND && !has_word;
	case TAKES_WORD:
		return s->kind == STATEMENT_COMMAND && has_word;
	case MAY_TAKE_WORD:
		return s->kind == STATEMENT_COMMAND;
	case TAKES_ASSIGNMENT:
		return s->kind == STATEMENT_SET;
	case TAKES_ASSIGNMENT_OF_DATABASE:
		return s->kind == STATEMENT_SET_DATABASE;
	case TAKES_ASSIGNMENT_OF_USER:
		break;
	}
	return s->kind == STATEMENT_SET_USER;
}

static const struct command *find_command(const struct statement *s)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (is_word(s->command, commands[i].name) && fits(&commands[i], s))
			return &commands[i];
	}
	return NULL;
}

bool command_run(const struct request *rq)
{
	const struct statement *s = rq->statement;
	const struct command *command = find_command(s);

	if (command == NULL) {
		command_refuse(rq);
		return true;
	}
	/* No command to us, but what drivers say to any server before they do anything else. */
	if (s->kind == STATEMENT_SET && courtesy_is_setting(s->argument))
		return set_ignored(rq);
	if (command->who == ADMIN && !rq->is_admin)
		return refuse_to_all_but_admins(rq);
	return command->run(rq);
}
