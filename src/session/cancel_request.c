#include "session/cancel_request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "session/cancel_send.h"
#include "session/cancel_waiting.h"
#include "session/host_session.h"
#include "session/peers.h"
#include "session/server.h"

enum stage {
	STAGE_WAITING,                   /* for its turn */
	STAGE_CONNECTING,                /* from looking up the address to the handshake */
	STAGE_SENT,
};

struct cancel_request {
	TAILQ_ENTRY(cancel_request) link; /* in hub->cancels */
	TAILQ_ENTRY(cancel_request) in_line; /* while it waits */
	struct deadline deadline;
	struct hub *hub;
	struct cancel_line *line;
	enum stage stage;
	struct pool_clients requesters;  /* by their waiter.link */
	struct host *host;               /* where it goes: this or the next, the other is NULL */
	struct peer *peer;
	/* The server by index and id, as it may be gone when the turn comes; and which query it is. */
	uint32_t server_index;
	uint64_t server_id, query_at;
	bool is_own;                     /* wanted by ourselves, whatever becomes of the server's connection */
	bool has_tls;                    /* the server's connection has */
	struct addr_any address;
	struct dns_waiter *dns;
	struct cancel_send *send;
	size_t key_size;
	uint8_t key[STARTUP_CANCEL_KEY_MAX];
};

/* NULL: it is gone, or the request is for a peer. */
static struct server *server_of(const struct cancel_request *r)
{
	struct server *s = r->peer != NULL ? NULL : slab_at(r->hub->servers, r->server_index);

	return s == NULL || s->id != r->server_id || s->phase == SERVER_CLOSED ? NULL : s;
}

/* ------------------------------------------------------------------ the end */

static void leave_line(struct cancel_request *r)
{
	if (r->stage == STAGE_WAITING)
		TAILQ_REMOVE(&r->line->waiting, r, in_line);
	else
		r->line->nunder_way--;
}

static void close_requesters(struct cancel_request *r, enum close_reason why)
{
	struct pool_client *waiter;

	while ((waiter = TAILQ_FIRST(&r->requesters)) != NULL)
		client_close(client_of_waiter(waiter), why);
}

/* A request that was given up on its way may still hit: the server is nobody else's any more then. */
static void let_server_go(const struct cancel_request *r, struct server *s, enum close_reason why)
{
	s->ncancels--;
	if (r->stage == STAGE_SENT && why == CLOSE_CANCEL_WAIT_TIMEOUT) {
		server_log(s, LOG_LEVEL_WARNING, "no answer to a cancel request: the connection will be closed");
		s->slot.close_needed = true;
		s->retired_because = SERVER_END_CANCEL_WAIT_TIMEOUT;
	}
	if (s->ncancels > 0)
		return;
	if (s->slot.state == POOL_SERVER_BEING_CANCELED)
		server_release(s);
	else if (s->phase == SERVER_TASK && s->task == TASK_DRAIN)
		server_abandon_go_on(s);
}

static void serve_line(struct hub *hub, struct cancel_line *line, const struct peer *peer);

static void finish(struct cancel_request *r, enum close_reason why)
{
	struct server *s = server_of(r);

	TAILQ_REMOVE(&r->hub->cancels, r, link);
	leave_line(r);
	deadline_disarm(&r->deadline);
	dns_cancel(&r->dns);
	cancel_send_free(&r->send);
	if (s != NULL && s->cancel == r)
		s->cancel = NULL;
	close_requesters(r, why);
	/* Clients that go may have taken it along. */
	s = server_of(r);
	if (s != NULL && r->stage != STAGE_WAITING)
		let_server_go(r, s, why);
	serve_line(r->hub, r->line, r->peer);
	host_unref(&r->host);
	free(r);
}

static void on_deadline(struct deadline *d)
{
	struct cancel_request *r = (struct cancel_request *)((char *)d - offsetof(struct cancel_request, deadline));

	if (r->peer != NULL)
		peer_note_failed(r->peer, "no answer within cancel_wait_timeout");
	finish(r, CLOSE_CANCEL_WAIT_TIMEOUT);
}

/* ------------------------------------------------------------------ its turn */

/* Of a replication connection nobody knows, and nobody else gets it. */
static bool runs_something(const struct server *s)
{
	return s->query_at != 0 || s->replication != REPLICATION_NONE;
}

/* The query that it is for still runs. One whose connection we have closed ourselves may. */
static bool is_still_wanted(const struct cancel_request *r)
{
	const struct server *s = server_of(r);

	if (s == NULL)
		return r->peer != NULL || r->is_own;
	return runs_something(s) && s->query_at == r->query_at;
}

static bool is_wanted(void *arg)
{
	struct cancel_request *r = arg;
	struct server *s = server_of(r);

	if (!is_still_wanted(r))
		return false;
	/* Who asks from now on may mean a query that this one comes too early for. */
	if (s != NULL)
		s->cancel = NULL;
	r->stage = STAGE_SENT;
	return true;
}

static void on_end(void *arg)
{
	struct cancel_request *r = arg;

	if (r->peer != NULL && r->stage == STAGE_SENT)
		peer_note_reached(r->peer);
	else if (r->peer != NULL)
		peer_note_failed(r->peer, "no connection");
	finish(r, r->stage == STAGE_SENT ? CLOSE_CANCEL_DONE : CLOSE_CANCEL_UNKNOWN);
}

static const struct cancel_send_ops send_ops = {.is_wanted = is_wanted, .on_end = on_end};

/* False: it cannot be. */
static bool send_to(struct cancel_request *r, const struct cancel_route *route)
{
	const struct slice key = {(const char *)r->key, r->key_size};

	r->send = cancel_send_begin(r->hub->loop, route, key, &send_ops, r);
	return r->send != NULL;
}

static bool send_to_server(struct cancel_request *r)
{
	const struct cancel_route route = {.addresses = &r->address,
					   .naddresses = 1,
					   .tls = r->has_tls ? r->hub->tls.servers : NULL,
					   .is_direct_tls = r->hub->tls.is_server_direct,
					   .host = r->host->name->text};

	return send_to(r, &route);
}

static void fail_for_peer(struct cancel_request *r, const char *why)
{
	peer_note_failed(r->peer, why);
	finish(r, CLOSE_CANCEL_UNKNOWN);
}

static void on_resolved(void *arg, const struct addr_any *addresses, size_t n, const char *error)
{
	struct cancel_request *r = arg;
	const struct conf_peer *conf = peer_conf(r->hub, r->peer->id);
	struct addr_any with_port[4];
	struct cancel_route route = {.addresses = with_port};

	r->dns = NULL;
	for (; conf != NULL && route.naddresses < n && route.naddresses < 4; route.naddresses++) {
		with_port[route.naddresses] = addresses[route.naddresses];
		addr_any_set_port(&with_port[route.naddresses], conf->port);
	}
	if (!send_to(r, &route))
		fail_for_peer(r, n == 0 ? error : "its port is closed");
}

/* In the clear, as PgBouncer does: [peers] names neighbours. */
static void begin_for_peer(struct cancel_request *r)
{
	const struct conf_peer *conf = peer_conf(r->hub, r->peer->id);
	const struct cancel_route route = {.addresses = &r->address, .naddresses = 1};
	struct dns_waiter *waiter;

	if (conf != NULL && conf->host[0] != '/' && conf->host[0] != '@') {
		waiter = dns_resolve(r->hub->dns, conf->host, on_resolved, r);
		/* Answered at once: on_resolved() has gone on already, and the request may be gone. */
		if (waiter != NULL)
			r->dns = waiter;
		return;
	}
	if (conf == NULL)
		finish(r, CLOSE_CANCEL_UNKNOWN);
	else if (!addr_any_from_unix(&r->address, conf->host, conf->port))
		fail_for_peer(r, "its path is too long for a socket address");
	else if (!send_to(r, &route))
		fail_for_peer(r, "its socket is closed");
}

static void begin_for_server(struct cancel_request *r)
{
	struct server *s = server_of(r);

	if (s != NULL)
		s->ncancels++;
	if (!is_still_wanted(r) || !send_to_server(r))
		finish(r, CLOSE_CANCEL_UNKNOWN);
}

static void begin(struct cancel_request *r)
{
	TAILQ_REMOVE(&r->line->waiting, r, in_line);
	r->line->nunder_way++;
	r->stage = STAGE_CONNECTING;
	if (r->peer != NULL)
		begin_for_peer(r);
	else
		begin_for_server(r);
}

/* The first whose server is not being asked already: which of two would hit what, nobody could tell. */
static struct cancel_request *next_in(const struct cancel_line *line)
{
	struct cancel_request *r;

	TAILQ_FOREACH(r, &line->waiting, in_line) {
		const struct server *s = server_of(r);

		if (s == NULL || s->ncancels == 0)
			return r;
	}
	return NULL;
}

/* How many may be under way at a time: to a host as many as other connections to it may be begun. */
static unsigned most_under_way(const struct hub *hub, const struct peer *peer)
{
	const struct conf_peer *conf = peer == NULL ? NULL : peer_conf(hub, peer->id);
	unsigned most = conf != NULL ? peer_pool_size(hub, conf) : (unsigned)hub_settings(hub)->host_connect_parallel;

	return most == 0 ? UINT_MAX : most;
}

static void serve_line(struct hub *hub, struct cancel_line *line, const struct peer *peer)
{
	unsigned most = most_under_way(hub, peer);
	struct cancel_request *r;

	/* One that comes to its end at once leads here again. */
	if (line->is_held)
		return;
	line->is_held = true;
	while (line->nunder_way < most && (r = next_in(line)) != NULL)
		begin(r);
	line->is_held = false;
}

/* ------------------------------------------------------------------ asking */

static struct cancel_request *new_request(struct hub *hub, struct cancel_line *line, struct slice key)
{
	struct cancel_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->hub = hub;
	r->line = line;
	r->key_size = key.n;
	memcpy(r->key, key.p, key.n);
	TAILQ_INIT(&r->requesters);
	TAILQ_INSERT_TAIL(&hub->cancels, r, link);
	TAILQ_INSERT_TAIL(&line->waiting, r, in_line);
	deadline_arm(&r->deadline, deadline_list_unless_0(hub->loop, (uint64_t)hub_settings(hub)->cancel_wait_timeout,
							   on_deadline));
	return r;
}

static void join(struct cancel_request *r, struct client *requester)
{
	TAILQ_INSERT_TAIL(&r->requesters, &requester->waiter, link);
	requester->asked = r;
}

/* The request for the server that has not been sent yet, made at need; NULL when out of memory. */
static struct cancel_request *request_for(struct server *s)
{
	struct host_session *hs = host_session(s->hub, s->host);
	const struct slice key = {(const char *)s->cancel_key, s->cancel_key_size};

	if (s->cancel != NULL || hs == NULL)
		return s->cancel;
	s->cancel = new_request(s->hub, &hs->cancels, key);
	if (s->cancel == NULL)
		return NULL;
	s->cancel->host = host_again(s->host);
	s->cancel->server_index = slab_index(s->hub->servers, s);
	s->cancel->server_id = s->id;
	s->cancel->address = s->address;
	s->cancel->has_tls = s->conn.tls != NULL;
	return s->cancel;
}

/* Asks for what runs on the server now. False: there is no memory for it. */
static bool ask_server(struct server *s, struct client *requester)
{
	struct cancel_request *r = request_for(s);

	if (r == NULL)
		return false;
	/* One that was for another query, which is over, serves for this one. */
	r->is_own = requester == NULL || (r->is_own && r->query_at == s->query_at);
	r->query_at = s->query_at;
	if (requester != NULL)
		join(r, requester);
	serve_line(s->hub, r->line, NULL);
	return true;
}

bool cancel_request_send(struct server *s)
{
	return s->cancel_key_size > 0 && ask_server(s, NULL) && (s->cancel != NULL || s->ncancels > 0);
}

static void ask_peer(struct peer *peer, struct client *requester, struct slice key)
{
	struct cancel_request *r = new_request(requester->hub, &peer->line, key);

	if (r == NULL) {
		client_close(requester, CLOSE_OUT_OF_MEMORY);
		return;
	}
	r->peer = peer;
	cancel_key_take_hop(r->key);
	join(r, requester);
	serve_line(requester->hub, &peer->line, peer);
}

/* Only a query that runs for this client can be cancelled. */
static struct server *server_to_cancel(const struct client *c)
{
	struct server *s = c->server;

	return s == NULL || s->phase != SERVER_READY || s->cancel_key_size == 0 || !runs_something(s) ? NULL : s;
}

/* The key is one of ours. */
static void ask_for(struct client *c, struct client *requester)
{
	struct server *s = server_to_cancel(c);

	if (s != NULL) {
		if (!ask_server(s, requester))
			client_close(requester, CLOSE_OUT_OF_MEMORY);
		return;
	}
	if (client_is_on_console(c)) {
		c->hub->console->on_cancel(c);
		client_close(requester, CLOSE_CANCEL_DONE);
		return;
	}
	client_close(requester, cancel_waiting(c) ? CLOSE_CANCEL_DONE : CLOSE_CANCEL_UNKNOWN);
}

void cancel_request_start(struct client *requester, struct slice key)
{
	struct client *c = cancel_key_find(requester->hub, key);
	struct peer *peer = c != NULL ? NULL : peer_for_key(requester->hub, key);

	client_enter(requester, CLIENT_CANCEL);
	if (c != NULL)
		ask_for(c, requester);
	else if (peer != NULL)
		ask_peer(peer, requester, key);
	else
		client_close(requester, CLOSE_CANCEL_UNKNOWN);
}

void cancel_request_leave(struct client *requester)
{
	if (requester->asked == NULL)
		return;
	TAILQ_REMOVE(&requester->asked->requesters, &requester->waiter, link);
	requester->asked = NULL;
}

/* ------------------------------------------------------------------ looking on, and the end of all */

bool cancel_request_waits(const struct cancel_request *r)
{
	return r->stage == STAGE_WAITING;
}

static unsigned count_requesters(const struct cancel_request *r)
{
	const struct pool_client *waiter;
	unsigned n = 0;

	TAILQ_FOREACH(waiter, &r->requesters, link)
		n++;
	return n;
}

void cancel_request_figures(const struct hub *hub, const struct cancel_line *line, struct cancel_figures *f)
{
	const struct cancel_request *r;

	*f = (struct cancel_figures){0};
	TAILQ_FOREACH(r, &hub->cancels, link) {
		if (r->line != line)
			continue;
		*(r->stage == STAGE_WAITING ? &f->cl_waiting : &f->cl_active) += count_requesters(r);
		f->sv_active += r->stage == STAGE_SENT;
		f->sv_login += r->stage == STAGE_CONNECTING;
	}
}

void cancel_request_close_all(struct hub *hub)
{
	struct cancel_request *r;

	TAILQ_FOREACH(r, &hub->cancels, link)
		r->line->is_held = true;
	while ((r = TAILQ_FIRST(&hub->cancels)) != NULL)
		finish(r, CLOSE_CANCEL_DONE);
}
