#include "admin/reply.h"

#include "proto/msg.h"
#include "proto/out.h"

void reply_error(struct strbuf *out, const char *sqlstate, const char *message, const char *detail)
{
	const struct out_error e = {.severity = "ERROR", .sqlstate = sqlstate, .message = message, .detail = detail};

	out_error_response(out, 'E', &e);
}

void reply_failure(const struct client *c, struct strbuf *out, const char *sqlstate, const char *message,
		   const char *detail, const char *hint)
{
	const struct settings *s = hub_settings(c->hub);
	struct out_error e = {"ERROR", sqlstate, message, detail, hint};

	/* PgBouncer tells the failure of RELOAD from all others, and only that. */
	if (s->sqlstate_compat == SQLSTATE_COMPAT_PGBOUNCER && strcmp(sqlstate, CONFIG_FILE_ERROR) != 0)
		e.sqlstate = PROTOCOL_VIOLATION;
	if (s->log_pooler_errors)
		client_log(c, LOG_LEVEL_WARNING, "pooler error: %s", message);
	out_error_response(out, 'E', &e);
}

void reply_notice(struct strbuf *out, const char *severity, const char *message, const char *detail)
{
	const struct out_error e = {.severity = severity, .sqlstate = "00000", .message = message, .detail = detail};

	out_error_response(out, 'N', &e);
}

bool reply_has_error(const struct strbuf *out, size_t from)
{
	const uint8_t *p = (const uint8_t *)out->p;
	struct msg m;

	while (from < out->n && msg_peek(p + from, out->n - from, INT32_MAX, &m) == PEEK_OK) {
		if (m.type == 'E')
			return true;
		from += MSG_HEADER_SIZE + m.len;
	}
	return false;
}
