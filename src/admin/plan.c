#include "admin/plan.h"

#include "admin/commands.h"
#include "admin/reply.h"
#include "admin/visitor.h"
#include "proto/out.h"

void plan_make(const struct client *c, struct slice sql, struct plan *plan)
{
	*plan = (struct plan){.courtesy = courtesy_find(sql), .table = courtesy_shows(sql)};
	statement_parse(sql, &plan->statement);
	if (plan->table == NULL)
		plan->table = command_table(c, &plan->statement);
}

bool plan_is_bad(const struct plan *plan)
{
	return plan->statement.kind == STATEMENT_BAD && plan->courtesy == NULL && plan->table == NULL;
}

static bool is_parameter(const char *word)
{
	return word[0] == '$' && word[1] >= '0' && word[1] <= '9';
}

bool plan_has_parameters(const struct plan *plan)
{
	return is_parameter(plan->statement.argument) || is_parameter(plan->statement.value);
}

static bool pay_courtesy(struct visitor *v, const struct courtesy *courtesy, struct slice sql, struct strbuf *out)
{
	switch (courtesy->effect) {
	case COURTESY_NONE:
		break;
	case COURTESY_BEGIN:
		v->is_in_block = true;
		break;
	case COURTESY_END:
		v->is_in_block = false;
		break;
	case COURTESY_DEALLOCATE:
		if (!extended_deallocate(v, courtesy_last_word(sql), out))
			return true;
		break;
	case COURTESY_DEALLOCATE_ALL:
		extended_deallocate_all(v);
		break;
	}
	if (courtesy->is_ignored)
		reply_notice(out, "NOTICE", "the statement has no effect on the console", NULL);
	out_command_complete(out, courtesy->tag);
	return true;
}

bool plan_run(struct visitor *v, const struct plan *plan, struct slice sql, struct strbuf *out)
{
	const struct request rq = visitor_request(v, sql, &plan->statement, out);

	if (plan->courtesy != NULL)
		return pay_courtesy(v, plan->courtesy, sql, out);
	switch (plan->statement.kind) {
	case STATEMENT_EMPTY:
		out_simple(out, 'I');
		return true;
	case STATEMENT_COMMAND:
	case STATEMENT_SET:
	case STATEMENT_SET_DATABASE:
	case STATEMENT_SET_USER:
		return command_run(&rq);
	case STATEMENT_BAD:
		break;
	}
	command_refuse(&rq);
	return true;
}
