#include "session/cancel_waiting.h"

#include <string.h>

#include "proto/out.h"
#include "session/client.h"

/* What one ReadyForQuery answers: a simple query, or what a Sync ends. Its length; 0: it is not all here, or is neither. */
static size_t first_request(const uint8_t *p, size_t n)
{
	size_t pos = 0;
	struct msg m;

	while (msg_peek(p + pos, n - pos, INT32_MAX, &m) == PEEK_OK && m.have == m.len) {
		bool is_first = pos == 0;

		pos += MSG_HEADER_SIZE + m.len;
		if (m.type == 'Q' || m.type == 'F')
			return is_first ? pos : 0;
		if (m.type == 'S')
			return is_first ? 0 : pos;
		if (m.type == '\0' || strchr("PBDECH", m.type) == NULL)
			return 0;
	}
	return 0;
}

static void answer(struct client *c)
{
	const struct out_error e = {
		.severity = "ERROR", .sqlstate = "57014", .message = "canceling statement due to user request"};
	struct strbuf out;

	strbuf_init(&out);
	out_error_response(&out, 'E', &e);
	out_ready_for_query(&out, 'I');
	if (!out.failed)
		conn_write(&c->conn, out.p, out.n);
	strbuf_fini(&out);
}

bool cancel_waiting(struct client *c)
{
	const uint8_t *p;
	size_t n, size;

	if (c->state != CLIENT_WAITING)
		return false;
	p = conn_kept(&c->conn, &n);
	size = first_request(p, n);
	if (size == 0)
		return false;
	pool_forget(&c->waiter);
	client_enter(c, CLIENT_IDLE);
	conn_skip(&c->conn, size);
	answer(c);
	/* What it has sent behind that gets in line anew. */
	conn_resume(&c->conn);
	return true;
}
