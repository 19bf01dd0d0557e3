#include "admin/answers.h"

#include <stdio.h>

#include "base/log.h"
#include "proto/out.h"

void request_log(const struct request *rq, const char *format, ...)
{
	char text[STATEMENT_ARGUMENT_MAX + 64];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (rq->client != NULL)
		client_log(rq->client, LOG_LEVEL_LOG, "%s", text);
	else
		log_info("%s: %s", rq->remote, text);
}

bool answer_failure(const struct request *rq, const char *sqlstate, const char *message, const char *detail,
		    const char *hint)
{
	if (rq->client != NULL) {
		reply_failure(rq->client, rq->out, sqlstate, message, detail, hint);
		return true;
	}
	if (hub_settings(rq->hub)->log_pooler_errors)
		log_warning("%s: pooler error: %s", rq->remote, message);
	reply_error(rq->out, sqlstate, message, detail);
	return true;
}

bool answer_error(const struct request *rq, const char *sqlstate, const char *message, const char *detail)
{
	return answer_failure(rq, sqlstate, message, detail, NULL);
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
