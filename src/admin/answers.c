#include "admin/answers.h"

#include "proto/out.h"

bool answer_error(const struct request *rq, const char *sqlstate, const char *message, const char *detail)
{
	reply_failure(rq->client, rq->out, sqlstate, message, detail, NULL);
	return true;
}

bool answer_error_about(const struct request *rq, const char *sqlstate, const char *format)
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

bool answer_done(const struct request *rq, const char *tag)
{
	out_command_complete(rq->out, tag);
	return true;
}

bool is_word(const char *word, const char *expected)
{
	return slice_is_nocase(slice_of(word), expected);
}
