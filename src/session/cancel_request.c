/*
 * Cancel requests: a client asks, over a connection of its own, that another
 * client's query be cancelled (PostgreSQL manual, 55.2.8). We ask the server
 * in the same way.
 *
 * From the moment a request is on its way until the server has closed that
 * connection (it has then signalled the backend), the server may not pass to
 * another client, whose query the signal might hit.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/startup.h"
#include "session/server.h"

struct cancel_request {
	struct conn conn;                /* first: a conn's callbacks cast */
	struct deadline deadline;
	TAILQ_ENTRY(cancel_request) link;
	struct hub *hub;
	/* By index and id: either may be gone when the answer comes. */
	uint32_t server_index, client_index;
	uint64_t server_id, client_id;   /* client 0: nobody waits for it */
	struct strbuf packet;
	struct tls_context *tls;         /* as the server's connection has it; NULL: plain */
	char host[256];                  /* whose certificate is expected */
	bool is_direct_tls, is_sent;
};

static void end_requester(const struct cancel_request *r, enum close_reason why)
{
	struct client *c = slab_at(r->hub->clients, r->client_index);

	if (c != NULL && c->id == r->client_id && c->state == CLIENT_CANCEL)
		client_close(c, why);
}

/* A request that was given up on its way may still hit: the server is nobody else's any more then. */
static void let_server_go(const struct cancel_request *r, enum close_reason why)
{
	struct server *s = slab_at(r->hub->servers, r->server_index);
	bool may_hit = r->is_sent && why == CLOSE_CANCEL_WAIT_TIMEOUT;

	if (s == NULL || s->id != r->server_id || s->phase == SERVER_CLOSED)
		return;
	s->ncancels--;
	if (may_hit) {
		server_log(s, LOG_LEVEL_WARNING, "no answer to a cancel request: the connection will be closed");
		s->slot.close_needed = true;
		s->retired_because = close_reasons[why].text;
	}
	if (s->ncancels > 0)
		return;
	if (s->slot.state == POOL_SERVER_BEING_CANCELED)
		server_release(s);
	else if (s->phase == SERVER_TASK && s->task == TASK_DRAIN)
		server_abandon_go_on(s);
}

static void finish_for(struct cancel_request *r, enum close_reason why)
{
	TAILQ_REMOVE(&r->hub->cancels, r, link);
	deadline_disarm(&r->deadline);
	strbuf_fini(&r->packet);
	tls_context_unref(&r->tls);
	conn_close(&r->conn);
	end_requester(r, why);
	let_server_go(r, why);
}

static void finish(struct cancel_request *r)
{
	finish_for(r, CLOSE_CANCEL_DONE);
}

static void send_packet(struct cancel_request *r)
{
	r->is_sent = true;
	conn_write(&r->conn, r->packet.p, r->packet.n);
}

static void start_tls(struct cancel_request *r)
{
	SSL *tls = tls_connect_new(r->tls, conn_fd(&r->conn), r->host);

	if (tls == NULL || (r->is_direct_tls && !tls_offer_alpn(tls))) {
		SSL_free(tls);
		finish(r);
		return;
	}
	conn_start_tls(&r->conn, tls);
}

static void on_connected(struct conn *conn)
{
	struct cancel_request *r = (struct cancel_request *)conn;

	if (r->tls == NULL)
		send_packet(r);
	else if (r->is_direct_tls)
		start_tls(r);
	else
		conn_write(conn, startup_ssl_request, sizeof(startup_ssl_request));
}

static void on_secured(struct conn *conn)
{
	struct cancel_request *r = (struct cancel_request *)conn;

	/* As with the servers themselves: the key is for nobody else. */
	if (r->is_direct_tls && !tls_has_alpn(conn->tls))
		finish(r);
	else
		send_packet(r);
}

/* The answer to the request for TLS; servers say nothing else, and it would not be for anybody. */
static size_t on_bytes(struct conn *conn, const uint8_t *p, size_t n)
{
	struct cancel_request *r = (struct cancel_request *)conn;

	if (r->tls == NULL || r->is_sent)
		return n;
	if (n != 1 || p[0] != 'S') {
		finish(r);
		return CONN_CLOSED;
	}
	start_tls(r);
	return conn->is_open ? n : CONN_CLOSED;
}

static void on_drained(struct conn *conn)
{
	(void)conn;
}

static void on_closed(struct conn *conn, int error)
{
	(void)error;
	finish((struct cancel_request *)conn);
}

static void on_buried(struct conn *conn)
{
	free((struct cancel_request *)conn);
}

static void on_deadline(struct deadline *d)
{
	finish_for((struct cancel_request *)((char *)d - offsetof(struct cancel_request, deadline)),
		   CLOSE_CANCEL_WAIT_TIMEOUT);
}

static const struct conn_ops ops = {.on_connected = on_connected,
				    .on_secured = on_secured,
				    .on_bytes = on_bytes,
				    .on_drained = on_drained,
				    .on_closed = on_closed,
				    .on_buried = on_buried};

static struct cancel_request *new_request(const struct client *requester, struct server *s)
{
	struct cancel_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->hub = s->hub;
	r->server_index = slab_index(s->hub->servers, s);
	r->server_id = s->id;
	if (requester != NULL) {
		r->client_index = slab_index(s->hub->clients, requester);
		r->client_id = requester->id;
	}
	strbuf_init(&r->packet);
	startup_out_cancel(&r->packet, s->cancel_key, s->cancel_key_size);
	if (s->conn.tls != NULL && s->hub->tls.servers != NULL) {
		r->tls = tls_context_ref(s->hub->tls.servers);
		r->is_direct_tls = s->hub->tls.is_server_direct;
		snprintf(r->host, sizeof(r->host), "%s", s->host->name->text);
	}
	return r;
}

static bool send_to(struct cancel_request *r, const struct addr_any *a)
{
	int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (connect(fd, &a->u.sa, a->len) == 0) {
		conn_open(&r->conn, r->hub->loop, fd, &ops);
		on_connected(&r->conn);
	} else if (errno == EINPROGRESS) {
		conn_open_connecting(&r->conn, r->hub->loop, fd, &ops);
	} else {
		close(fd);
		return false;
	}
	return true;
}

/* Only a query that runs for this client can be cancelled; one that waits or is over cannot. */
static struct server *server_to_cancel(const struct client *c)
{
	struct server *s = c == NULL ? NULL : c->server;

	if (s == NULL || s->phase != SERVER_READY || s->cancel_key_size == 0)
		return NULL;
	/* One that is under way serves for all: a storm of requests costs one connection. */
	if (s->ncancels > 0)
		return NULL;
	return s;
}

/* Sends a request for the server. False: it could not even be begun. */
static bool start(struct server *s, const struct client *requester)
{
	struct hub *hub = s->hub;
	struct cancel_request *r = new_request(requester, s);

	if (r == NULL || !send_to(r, &s->address)) {
		if (r != NULL) {
			strbuf_fini(&r->packet);
			tls_context_unref(&r->tls);
		}
		free(r);
		return false;
	}
	TAILQ_INSERT_TAIL(&hub->cancels, r, link);
	s->ncancels++;
	deadline_arm(&r->deadline, deadline_list_unless_0(hub->loop, (uint64_t)hub_settings(hub)->cancel_wait_timeout,
							   on_deadline));
	return true;
}

bool cancel_request_send(struct server *s)
{
	return s->cancel_key_size > 0 && start(s, NULL);
}

void cancel_request_start(struct client *requester, struct slice key)
{
	struct client *c = client_by_cancel_key(requester->hub, key);
	struct server *s = server_to_cancel(c);

	client_enter(requester, CLIENT_CANCEL);
	if (c != NULL && client_is_on_console(c)) {
		c->hub->console->on_cancel(c);
		client_close(requester, CLOSE_CANCEL_DONE);
	} else if (s == NULL || !start(s, requester)) {
		client_close(requester, CLOSE_CANCEL_UNKNOWN);
	}
}

void cancel_request_close_all(struct hub *hub)
{
	while (!TAILQ_EMPTY(&hub->cancels))
		finish(TAILQ_FIRST(&hub->cancels));
}
