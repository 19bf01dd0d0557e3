#include "admin/remote.h"

#include <stdio.h>

#include "admin/answers.h"
#include "proto/msg.h"

static const char *const names[] = {"PAUSE", "RECONNECT", "RELOAD", "RESUME"};

static bool may_be_given(const struct statement *s)
{
	for (size_t i = 0; s->kind == STATEMENT_COMMAND && i < sizeof(names) / sizeof(names[0]); i++)
		if (is_word(s->command, names[i]))
			return true;
	return false;
}

/* Reads the one message that was answered. */
static void read_answer(const struct strbuf *out, struct remote_answer *answer)
{
	struct error_fields f;
	struct msg m;

	if (out->failed || msg_peek((const uint8_t *)out->p, out->n, INT32_MAX, &m) != PEEK_OK || m.type != 'E') {
		answer->outcome = out->failed ? REMOTE_BEGUN : REMOTE_DONE;
		return;
	}
	msg_error_fields(&m, &f);
	answer->outcome = REMOTE_REFUSED;
	snprintf(answer->sqlstate, sizeof(answer->sqlstate), "%.*s", (int)f.sqlstate.n, f.sqlstate.p);
	snprintf(answer->message, sizeof(answer->message), "%.*s%s%.*s", (int)f.message.n, f.message.p,
		 f.detail.n > 0 ? ": " : "", (int)f.detail.n, f.detail.p);
}

void remote_run(struct console *console, struct slice sql, const char *who, struct remote_answer *answer)
{
	struct statement statement;
	struct strbuf out;
	const struct request rq = {
		.hub = console->waits.hub,
		.remote = who,
		.is_admin = true,
		.report = &console->report,
		.actions = console->actions,
		.waits = &console->waits,
		.successor = &console->successor,
		.sql = sql,
		.statement = &statement,
		.out = &out,
	};

	*answer = (struct remote_answer){.outcome = REMOTE_BEGUN};
	strbuf_init(&out);
	statement_parse(sql, &statement);
	if (!may_be_given(&statement)) {
		answer_error(&rq, FEATURE_NOT_SUPPORTED, "only PAUSE, RECONNECT, RELOAD and RESUME can be given here", NULL);
		read_answer(&out, answer);
	} else if (command_run(&rq)) {
		read_answer(&out, answer);
	}
	strbuf_fini(&out);
}
