#include "admin/set.h"

#include "admin/answers.h"
#include "proto/out.h"

/* The tag repeats what was said, without a value that may be a secret. */
static bool complete(const struct request *rq)
{
	const struct statement *s = rq->statement;
	const char *section = "";
	enum setting_id id;
	bool is_secret = setting_find(slice_of(s->argument), &id) && setting_info(id)->secret;
	struct strbuf tag;

	if (s->kind == STATEMENT_SET_DATABASE)
		section = "DATABASE ";
	else if (s->kind == STATEMENT_SET_USER)
		section = "USER ";
	strbuf_init(&tag);
	strbuf_addf(&tag, "SET %s%s%s%s=%s", section, s->entry, section[0] != '\0' ? " " : "", s->argument,
		    is_secret ? "********" : s->value);
	out_command_complete(rq->out, tag.failed ? "SET" : tag.p);
	strbuf_fini(&tag);
	return true;
}

/* PgBouncer accepts it and does nothing; so do we, but say so. */
static bool set_in_vain(const struct request *rq)
{
	char message[STATEMENT_ARGUMENT_MAX + 64];
	struct strbuf text;

	strbuf_init_fixed(&text, message, sizeof(message));
	strbuf_addf(&text, "%s cannot be changed without a restart", rq->statement->argument);
	reply_notice(rq->out, "WARNING", message, NULL);
	return complete(rq);
}

static bool change(const struct request *rq, enum setting_scope scope)
{
	const struct statement *s = rq->statement;
	const struct conf_change c = {scope, slice_of(s->entry), slice_of(s->argument), slice_of(s->value)};
	struct strbuf error;

	strbuf_init(&error);
	if (rq->actions->set(rq->actions->arg, &c, &error))
		complete(rq);
	else
		answer_error(rq, INVALID_PARAMETER_VALUE, "SET failed", error.n > 0 ? error.p : NULL);
	strbuf_fini(&error);
	return true;
}

bool command_set(const struct request *rq)
{
	enum setting_id id;

	if (setting_find(slice_of(rq->statement->argument), &id) && setting_info(id)->when == WHEN_START)
		return set_in_vain(rq);
	return change(rq, SCOPE_GLOBAL);
}

bool command_set_database(const struct request *rq)
{
	return change(rq, SCOPE_DATABASE);
}

bool command_set_user(const struct request *rq)
{
	return change(rq, SCOPE_USER);
}
