/*
 * One connection that carries one cancel request (PostgreSQL manual, 55.2.8),
 * to a server or to another pooler. There is no answer: the other side closes
 * the connection when it has acted upon the request.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/str.h"
#include "net/loop.h"
#include "net/tls.h"

struct cancel_send;

struct cancel_send_ops {
	/* It is connected. Whether the request is still wanted: if so, it is on its way behind this. */
	bool (*is_wanted)(void *arg);
	/* The other side has closed, or what was tried has failed: it is to be freed. */
	void (*on_end)(void *arg);
};

/* Where it goes; copied. */
struct cancel_route {
	const struct addr_any *addresses; /* tried in turn, as many of them as there is room for */
	size_t naddresses;
	struct tls_context *tls;          /* NULL: plain */
	bool is_direct_tls;               /* without asking first */
	const char *host;                 /* with TLS: whose certificate is expected */
};

/* Begins to send a request with this key. NULL: it has come to its end already, and nobody is told. */
struct cancel_send *cancel_send_begin(struct loop *loop, const struct cancel_route *route, struct slice key,
				      const struct cancel_send_ops *ops, void *arg);

/* Closes the connection; nobody is told. NULL is fine. */
void cancel_send_free(struct cancel_send **send);
