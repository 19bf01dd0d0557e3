#include "session/request_pass.h"

#include <string.h>

#include "session/client.h"
#include "session/server.h"

static void send_now(struct client *c, const uint8_t *p, size_t n)
{
	struct server *s = c->server;

	conn_write(&s->conn, p, n);
	if (conn_is_backlogged(&s->conn) || owed_is_many(&s->owed))
		conn_pause(&c->conn);
}

static void send_stage(struct request_pass *pass)
{
	if (pass->nstage > 0)
		send_now(pass->client, pass->stage, pass->nstage);
	pass->nstage = 0;
}

/* Behind what is staged; what does not fit is sent. */
static void stage(struct request_pass *pass, const uint8_t *p, size_t n)
{
	if (n > PASS_STAGE_SIZE - pass->nstage)
		send_stage(pass);
	if (n > PASS_STAGE_SIZE) {
		send_now(pass->client, p, n);
		return;
	}
	memcpy(pass->stage + pass->nstage, p, n);
	pass->nstage += n;
}

static void count_received(const struct request_pass *pass, size_t n)
{
	client_pool(pass->client)->stats.now.bytes_received += n;
}

static void stage_run(struct request_pass *pass)
{
	size_t n = pass->pos - pass->run;

	if (n == 0)
		return;
	count_received(pass, n);
	stage(pass, pass->p + pass->run, n);
	pass->run = pass->pos;
}

void pass_put(struct request_pass *pass, const void *p, size_t n)
{
	stage_run(pass);
	if (n > 0)
		stage(pass, p, n);
}

void pass_skip(struct request_pass *pass, size_t n)
{
	stage_run(pass);
	count_received(pass, n);
	pass->pos += n;
	pass->run = pass->pos;
}

void pass_flush(struct request_pass *pass)
{
	size_t n = pass->pos - pass->run;

	if (pass->client->server == NULL) {
		pass->nstage = 0;
		pass->run = pass->pos;
		return;
	}
	/* One write for both if they are small. */
	if (pass->nstage > 0 && n <= PASS_STAGE_SIZE - pass->nstage) {
		stage_run(pass);
		send_stage(pass);
		return;
	}
	send_stage(pass);
	if (n == 0)
		return;
	count_received(pass, n);
	send_now(pass->client, pass->p + pass->run, n);
	pass->run = pass->pos;
}
