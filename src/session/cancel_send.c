#include "session/cancel_send.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "proto/startup.h"

#define ADDRESSES 4

struct cancel_send {
	struct conn conn;                /* first: a conn's callbacks cast */
	struct loop *loop;
	const struct cancel_send_ops *ops;
	void *arg;
	struct addr_any addresses[ADDRESSES];
	size_t naddresses, next_address;
	struct strbuf packet;
	struct tls_context *tls;
	char host[256];
	bool is_direct_tls;
	bool is_connected, is_sent;
	bool is_begun;                   /* whoever began it knows of it */
	bool is_over;
};

static void end(struct cancel_send *c)
{
	c->is_over = true;
	if (c->is_begun)
		c->ops->on_end(c->arg);
}

static void send_packet(struct cancel_send *c)
{
	if (!c->ops->is_wanted(c->arg)) {
		end(c);
		return;
	}
	c->is_sent = true;
	conn_write(&c->conn, c->packet.p, c->packet.n);
}

static void start_tls(struct cancel_send *c)
{
	SSL *tls = tls_connect_new(c->tls, conn_fd(&c->conn), c->host);

	if (tls == NULL || (c->is_direct_tls && !tls_offer_alpn(tls))) {
		SSL_free(tls);
		end(c);
		return;
	}
	conn_start_tls(&c->conn, tls);
}

static void on_connected(struct conn *conn)
{
	struct cancel_send *c = (struct cancel_send *)conn;

	c->is_connected = true;
	if (c->tls == NULL)
		send_packet(c);
	else if (c->is_direct_tls)
		start_tls(c);
	else
		conn_write(conn, startup_ssl_request, sizeof(startup_ssl_request));
}

static void on_secured(struct conn *conn)
{
	struct cancel_send *c = (struct cancel_send *)conn;

	/* As with the servers themselves: the key is for nobody else. */
	if (c->is_direct_tls && !tls_has_alpn(conn->tls))
		end(c);
	else
		send_packet(c);
}

/* The answer to the request for TLS; nothing else is ever said, and it would not be for anybody. */
static size_t on_bytes(struct conn *conn, const uint8_t *p, size_t n)
{
	struct cancel_send *c = (struct cancel_send *)conn;

	if (c->tls == NULL || c->is_sent)
		return n;
	if (n == 1 && p[0] == 'S')
		start_tls(c);
	else
		end(c);
	return conn->is_open ? n : CONN_CLOSED;
}

static void on_drained(struct conn *conn)
{
	(void)conn;
}

static bool try_next_address(struct cancel_send *c);

static void on_closed(struct conn *conn, int error)
{
	struct cancel_send *c = (struct cancel_send *)conn;

	(void)error;
	if (c->is_connected) {
		end(c);
		return;
	}
	conn_abandon(conn);
	if (!try_next_address(c))
		end(c);
}

static void dispose(struct cancel_send *c)
{
	strbuf_fini(&c->packet);
	tls_context_unref(&c->tls);
	free(c);
}

static void on_buried(struct conn *conn)
{
	dispose((struct cancel_send *)conn);
}

static const struct conn_ops ops = {.on_connected = on_connected,
				    .on_secured = on_secured,
				    .on_bytes = on_bytes,
				    .on_drained = on_drained,
				    .on_closed = on_closed,
				    .on_buried = on_buried};

static bool try_address(struct cancel_send *c, const struct addr_any *a)
{
	int fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (connect(fd, &a->u.sa, a->len) == 0) {
		conn_open(&c->conn, c->loop, fd, &ops);
		on_connected(&c->conn);
	} else if (errno == EINPROGRESS) {
		conn_open_connecting(&c->conn, c->loop, fd, &ops);
	} else {
		close(fd);
		return false;
	}
	return true;
}

/* False: none is left. */
static bool try_next_address(struct cancel_send *c)
{
	while (c->next_address < c->naddresses)
		if (try_address(c, &c->addresses[c->next_address++]))
			return true;
	return false;
}

static struct cancel_send *new_send(struct loop *loop, const struct cancel_route *route, struct slice key)
{
	struct cancel_send *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->loop = loop;
	c->naddresses = route->naddresses < ADDRESSES ? route->naddresses : ADDRESSES;
	memcpy(c->addresses, route->addresses, c->naddresses * sizeof(c->addresses[0]));
	strbuf_init(&c->packet);
	startup_out_cancel(&c->packet, key.p, key.n);
	if (route->tls != NULL) {
		c->tls = tls_context_ref(route->tls);
		c->is_direct_tls = route->is_direct_tls;
		snprintf(c->host, sizeof(c->host), "%s", route->host);
	}
	return c;
}

struct cancel_send *cancel_send_begin(struct loop *loop, const struct cancel_route *route, struct slice key,
				      const struct cancel_send_ops *send_ops, void *arg)
{
	struct cancel_send *c = new_send(loop, route, key);

	if (c == NULL)
		return NULL;
	c->ops = send_ops;
	c->arg = arg;
	if (c->packet.failed || !try_next_address(c) || c->is_over) {
		cancel_send_free(&c);
		return NULL;
	}
	c->is_begun = true;
	return c;
}

void cancel_send_free(struct cancel_send **send)
{
	struct cancel_send *c = *send;

	*send = NULL;
	if (c == NULL)
		return;
	if (c->conn.is_open)
		conn_close(&c->conn);
	else
		dispose(c);
}
