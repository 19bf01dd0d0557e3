#include "http/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* Of one connection: the headers of the request, and what of the answer is on its way. */
#define MEMORY_OF_CONNECTION ((size_t)32 * 1024)

/* How many there may be is the business of whoever hands them in. */
#define NO_LIMIT 65535U

struct engine {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	const struct engine_ops *ops;
	void *arg;
	struct deadline_list *deadlines;
	unsigned nconnections;
	ev_io ready;
	ev_timer again;
};

/* ------------------------------------------------------------------ the loop */

/* After each call of the library, or of what it will look at when it is called next. */
static void call_again(struct engine *e)
{
	MHD_UNSIGNED_LONG_LONG ms;

	ev_timer_stop(e->loop->ev, &e->again);
	if (MHD_get_timeout(e->daemon, &ms) != MHD_YES)
		return;
	ev_timer_set(&e->again, (double)ms / 1000, 0.);
	ev_timer_start(e->loop->ev, &e->again);
}

static void run(struct engine *e)
{
	MHD_run(e->daemon);
	call_again(e);
}

static void on_ready(EV_P_ ev_io *io, int events)
{
	(void)loop;
	(void)events;
	run(io->data);
}

static void on_again(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	run(timer->data);
}

/* ------------------------------------------------------------------ connections */

/* Its time is over. The library finds a stream that has ended, and closes it. */
static void on_deadline(struct deadline *d)
{
	struct visit *v = (struct visit *)((char *)d - offsetof(struct visit, deadline));

	shutdown(v->fd, SHUT_RDWR);
}

static void *begin_visit(struct engine *e, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct visit *v = info == NULL ? NULL : calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	v->engine = e;
	v->fd = info->connect_fd;
	addr_of_peer(&v->peer, v->fd);
	addr_of_self(&v->self, v->fd);
	deadline_arm(&v->deadline, e->deadlines);
	return v;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct engine *e = arg;
	struct visit *v = *context;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		e->nconnections++;
		*context = begin_visit(e, connection);
		return;
	}
	if (v != NULL)
		deadline_disarm(&v->deadline);
	free(v);
	*context = NULL;
	e->nconnections--;
	e->ops->on_gone(e->arg);
}

void engine_take(struct engine *e, int fd)
{
	struct addr_any peer = {.len = sizeof(peer.u)};

	/* The library closes the socket if it cannot take it. */
	if (getpeername(fd, &peer.u.sa, &peer.len) != 0)
		close(fd);
	else if (MHD_add_connection(e->daemon, fd, &peer.u.sa, peer.len) != MHD_YES)
		log_warning("http: a connection could not be taken");
	call_again(e);
}

unsigned engine_connections(const struct engine *e)
{
	return e->nconnections;
}

/* ------------------------------------------------------------------ requests */

static struct exchange *begin_exchange(struct MHD_Connection *connection, const char *path, const char *method)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct exchange *x = info == NULL || info->socket_context == NULL ? NULL : calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->visit = info->socket_context;
	x->connection = connection;
	x->path = path;
	x->method = method;
	strbuf_init(&x->body);
	return x;
}

/* What is too long is read all the same: the answer would not be read otherwise. The deadline bounds how much. */
static void add_to_body(struct exchange *x, const char *data, size_t n)
{
	if (n > ENGINE_BODY_MAX - x->body.n)
		x->is_body_too_long = true;
	else
		strbuf_add(&x->body, data, n);
}

/* Called for each request: at its headers, for each piece of its body, and at its end. */
static enum MHD_Result on_access(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
				 const char *version, const char *data, size_t *n, void **context)
{
	struct engine *e = arg;
	struct exchange *x = *context;

	(void)version;
	if (x == NULL) {
		*context = begin_exchange(connection, path, method);
		return *context == NULL ? MHD_NO : MHD_YES;
	}
	if (*n > 0) {
		add_to_body(x, data, *n);
		*n = 0;
		return MHD_YES;
	}
	return e->ops->on_request(e->arg, x);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode how)
{
	struct engine *e = arg;
	struct exchange *x = *context;

	(void)connection;
	(void)how;
	if (x == NULL)
		return;
	e->ops->on_end(e->arg, x);
	deadline_arm(&x->visit->deadline, e->deadlines);
	strbuf_fini(&x->body);
	free(x);
	*context = NULL;
}

/* The library does not count it among those that it wants to be called for. */
void engine_resume(struct exchange *x)
{
	struct engine *e = x->visit->engine;

	MHD_resume_connection(x->connection);
	ev_timer_stop(e->loop->ev, &e->again);
	ev_timer_set(&e->again, 0., 0.);
	ev_timer_start(e->loop->ev, &e->again);
}

/* ------------------------------------------------------------------ whole */

/* What the library has to say: a client's fault mostly. */
static void on_message(void *arg, const char *format, va_list ap)
{
	char text[256];

	(void)arg;
	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	vsnprintf(text, sizeof(text), format, ap);
	log_debug("http: %s", text);
}

static struct MHD_Daemon *start(struct engine *e, const struct engine_options *o)
{
	const unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	/* As little as TLS 1.2 still allows. */
	static char priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->certificate},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
		{MHD_OPTION_END, 0, NULL},
	};
	bool has_tls = o->certificate != NULL;

	return MHD_start_daemon(has_tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_access, e,
				MHD_OPTION_EXTERNAL_LOGGER, on_message, e,
				MHD_OPTION_NOTIFY_CONNECTION, on_connection, e,
				MHD_OPTION_NOTIFY_COMPLETED, on_completed, e,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_OF_CONNECTION,
				MHD_OPTION_CONNECTION_LIMIT, NO_LIMIT,
				MHD_OPTION_ARRAY, has_tls ? tls : tls + 3, MHD_OPTION_END);
}

static void refuse(const struct engine_options *o, struct strbuf *error)
{
	strbuf_add_str(error, o->certificate != NULL ? "http_tls_cert_file: it cannot be used with http_tls_key_file" :
						       "http_listen_addr: libmicrohttpd cannot be started");
}

static bool watch(struct engine *e)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(e->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	if (info == NULL || info->epoll_fd < 0)
		return false;
	ev_io_init(&e->ready, on_ready, info->epoll_fd, EV_READ);
	e->ready.data = e;
	ev_io_start(e->loop->ev, &e->ready);
	return true;
}

struct engine *engine_new(struct loop *loop, const struct engine_options *options, const struct engine_ops *ops,
			  void *arg, struct strbuf *error)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (e == NULL) {
		strbuf_add_str(error, "out of memory");
		return NULL;
	}
	e->loop = loop;
	e->ops = ops;
	e->arg = arg;
	ev_init(&e->again, on_again);
	e->again.data = e;
	deadline_keep(&e->deadlines, deadline_list(loop, ENGINE_EXCHANGE_SECONDS * CLOCK_SECOND, on_deadline));
	e->daemon = e->deadlines == NULL ? NULL : start(e, options);
	if (e->daemon == NULL || !watch(e)) {
		refuse(options, error);
		engine_free(&e);
	}
	return e;
}

bool engine_check(const struct engine_options *options, struct strbuf *error)
{
	struct engine e = {0};
	struct MHD_Daemon *daemon = start(&e, options);

	if (daemon != NULL)
		MHD_stop_daemon(daemon);
	else
		refuse(options, error);
	return daemon != NULL;
}

void engine_free(struct engine **engine)
{
	struct engine *e = *engine;

	*engine = NULL;
	if (e == NULL)
		return;
	ev_io_stop(e->loop->ev, &e->ready);
	ev_timer_stop(e->loop->ev, &e->again);
	if (e->daemon != NULL)
		MHD_stop_daemon(e->daemon);
	deadline_keep(&e->deadlines, NULL);
	free(e);
}
