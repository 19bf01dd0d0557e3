/*
 * libmicrohttpd on the loop: connections, requests as they come in whole, and
 * the time that each may take.
 *
 * The library polls its sockets in an epoll of its own, which is one ev_io
 * here, and says when it wants to be called again, which is one ev_timer. In a
 * turn of the loop it is run once: each connection makes a step at most.
 */
#pragma once
#include <microhttpd.h>
#include <stdbool.h>

#include "base/addr.h"
#include "base/str.h"
#include "net/deadline.h"
#include "net/loop.h"

/* From when a connection is accepted, or has got an answer, until it has got the next one. */
#define ENGINE_EXCHANGE_SECONDS 10

/* The longest body of a request. */
#define ENGINE_BODY_MAX 4096

struct engine;

/* One connection. */
struct visit {
	struct engine *engine;
	int fd;
	struct addr peer, self;
	struct deadline deadline;
};

/* One request and its answer. */
struct exchange {
	struct visit *visit;
	struct MHD_Connection *connection;
	const char *method, *path;       /* the path decoded, without what is behind a question mark */
	struct strbuf body;
	bool is_body_too_long;           /* not all of it is there */
	void *state;                     /* the answering side's own, NULL at first; freed by on_end() */
};

struct engine_ops {
	/* The request is whole: queues a response, or suspends the connection and is called again. NO: closes. */
	enum MHD_Result (*on_request)(void *arg, struct exchange *x);
	void (*on_end)(void *arg, struct exchange *x);
	/* A connection has gone. */
	void (*on_gone)(void *arg);
};

/* PEM texts; both NULL: no TLS. */
struct engine_options {
	const char *certificate, *key;
};

/* NULL, with *error, when the library refuses, which is because of the certificate or the key. */
struct engine *engine_new(struct loop *loop, const struct engine_options *options, const struct engine_ops *ops,
			  void *arg, struct strbuf *error);

/* Whether engine_new() would accept the certificate. False with *error. */
bool engine_check(const struct engine_options *options, struct strbuf *error);

/* Closes all connections. Not from within its callbacks. NULL is allowed. */
void engine_free(struct engine **engine);

/* Takes over an accepted socket. */
void engine_take(struct engine *engine, int fd);

unsigned engine_connections(const struct engine *engine);

/* A connection that on_request() had suspended goes on: on_request() is called for it again. */
void engine_resume(struct exchange *x);
