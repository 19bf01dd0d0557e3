#include "admin/takeover.h"

#include "admin/answers.h"
#include "net/inherited.h"
#include "proto/out.h"
#include "session/pause.h"

#define SYSTEM_ERROR "58000"

static bool refuse(const struct request *rq, const char *sqlstate, const char *message)
{
	client_log(rq->client, LOG_LEVEL_WARNING, "TAKEOVER refused: %s", message);
	reply_error(rq->out, sqlstate, message, NULL);
	return true;
}

/* As many as fit; returns how many there are. */
static size_t all_descriptors(const struct hub *hub, int fds[INHERITED_MAX])
{
	size_t n = listeners_descriptors(hub->listeners, fds, INHERITED_MAX);

	if (n > INHERITED_MAX || hub->http_listeners == NULL)
		return n;
	return n + listeners_descriptors(hub->http_listeners, fds + n, INHERITED_MAX - n);
}

/* The tag goes out together with the descriptors. */
static bool give_sockets(const struct request *rq)
{
	struct client *c = rq->client;
	int fds[INHERITED_MAX];
	size_t n = all_descriptors(c->hub, fds), mark = rq->out->n;
	struct strbuf tag;

	if (n == 0 || n > INHERITED_MAX)
		return refuse(rq, SYSTEM_ERROR, "there are too many listening sockets to pass on, or none");
	strbuf_init(&tag);
	strbuf_addf(&tag, "TAKEOVER %zu", n);
	if (!tag.failed)
		out_command_complete(rq->out, tag.p);
	strbuf_fini(&tag);
	if (rq->out->n == mark || rq->out->failed ||
	    !conn_write_descriptors(&c->conn, rq->out->p, rq->out->n, fds, n)) {
		rq->out->n = mark;
		return refuse(rq, SYSTEM_ERROR, "the listening sockets could not be passed on");
	}
	rq->out->n = 0;
	*rq->successor = c->id;
	client_log(c, LOG_LEVEL_LOG, "TAKEOVER: %zu listening sockets passed on", n);
	return true;
}

static bool give_up(const struct request *rq)
{
	const struct admin_actions *a = rq->actions;

	if (*rq->successor != rq->client->id)
		return refuse(rq, NOT_IN_PREREQUISITE_STATE, "TAKEOVER comes first");
	client_log(rq->client, LOG_LEVEL_LOG, "TAKEOVER DONE: another process listens in the place of this one");
	out_command_complete(rq->out, "TAKEOVER");
	a->hand_over(a->arg, rq->client->peer.u.pid);
	return true;
}

bool takeover_command(const struct request *rq)
{
	const char *word = rq->statement->argument;
	struct client *c = rq->client;

	if (!c->hub->console->is_owner(c))
		return refuse(rq, INSUFFICIENT_PRIVILEGE, "only the owner of the process may take over, over the Unix socket");
	if (c->hub->shutdown != SHUTDOWN_NOT)
		return refuse(rq, NOT_IN_PREREQUISITE_STATE, "pooler is shutting down");
	/* The other process would not know of it, and connect to what is held back. */
	if (c->hub->pause != PAUSE_NOT || pause_has_database(c->hub))
		return refuse(rq, NOT_IN_PREREQUISITE_STATE, "pooler is paused/suspended");
	if (word[0] == '\0')
		return give_sockets(rq);
	if (is_word(word, "DONE"))
		return give_up(rq);
	command_refuse(rq);
	return true;
}
