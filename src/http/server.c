#include "http/server.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/sys.h"
#include "http/certificate.h"
#include "http/page.h"
#include "http/routes.h"

/* That the system holds before they are accepted. */
#define BACKLOG 128

/* A TLS handshake takes a millisecond or two of the only thread. */
#define SECONDS_BETWEEN_HANDSHAKES 0.01

/* One engine, and the certificate that it shows: another certificate takes another engine. */
struct front {
	SLIST_ENTRY(front) link;         /* while it is old */
	struct engine *engine;
	bool has_tls;
	uint8_t digest[sizeof(((struct certificate *)0)->digest)];
};

struct http {
	struct site site;
	struct listeners *listeners;
	struct front *front;             /* takes new connections */
	struct front *next;              /* prepared, to take its place; NULL: none */
	SLIST_HEAD(, front) old;         /* have only connections from before */
	bool is_suspended;
	ev_timer rest;                   /* active: the next handshake is not to begin yet */
	ev_timer reap;
};

/* ------------------------------------------------------------------ fronts */

static void free_front(struct front **front)
{
	if (*front != NULL)
		engine_free(&(*front)->engine);
	free(*front);
	*front = NULL;
}

static const struct engine_ops engine_ops;

/* NULL, with *error. */
static struct front *new_front(struct http *h, const struct certificate *c, struct strbuf *error)
{
	const struct engine_options options = {.certificate = c->chain, .key = c->key};
	struct front *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		strbuf_add_str(error, "out of memory");
		return NULL;
	}
	f->has_tls = c->chain != NULL;
	memcpy(f->digest, c->digest, sizeof(f->digest));
	f->engine = engine_new(h->site.hub->loop, &options, &engine_ops, h, error);
	if (f->engine == NULL)
		free_front(&f);
	return f;
}

static bool shows(const struct front *f, const struct certificate *c)
{
	return f != NULL && f->has_tls == (c->chain != NULL) && memcmp(f->digest, c->digest, sizeof(f->digest)) == 0;
}

static void on_reap(EV_P_ ev_timer *timer, int events)
{
	struct http *h = timer->data;
	struct front *f, *next;

	(void)loop;
	(void)events;
	for (f = SLIST_FIRST(&h->old); f != NULL; f = next) {
		next = SLIST_NEXT(f, link);
		if (engine_connections(f->engine) > 0)
			continue;
		SLIST_REMOVE(&h->old, f, front, link);
		free_front(&f);
	}
}

/* Those that have no connection any more are freed, but from the loop, not from within what the engine is doing. */
static void reap_soon(struct http *h)
{
	if (!SLIST_EMPTY(&h->old) && !ev_is_active(&h->reap))
		ev_timer_start(h->site.hub->loop->ev, &h->reap);
}

static void put_in_front(struct http *h, struct front **next)
{
	if (h->front != NULL)
		SLIST_INSERT_HEAD(&h->old, h->front, link);
	h->front = *next;
	*next = NULL;
	reap_soon(h);
}

/* ------------------------------------------------------------------ connections */

static unsigned count_connections(const struct http *h)
{
	unsigned n = engine_connections(h->front->engine);
	const struct front *f;

	SLIST_FOREACH(f, &h->old, link)
		n += engine_connections(f->engine);
	return n;
}

/* Whether those who come have to wait: there are as many as there may be, or one has just begun its handshake. */
static bool is_busy(const struct http *h)
{
	unsigned most = (unsigned)hub_settings(h->site.hub)->http_max_connections;

	return ev_is_active(&h->rest) || count_connections(h) >= most;
}

static void look_at_limit(struct http *h)
{
	if (h->listeners == NULL || is_busy(h) == h->is_suspended)
		return;
	h->is_suspended = !h->is_suspended;
	if (h->is_suspended)
		listeners_suspend(h->listeners);
	else
		listeners_resume(h->listeners);
}

static void on_rested(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	look_at_limit(timer->data);
}

static void on_accept(void *arg, const struct accepted *accepted)
{
	struct http *h = arg;

	engine_take(h->front->engine, accepted->fd);
	if (h->front->has_tls) {
		ev_timer_set(&h->rest, SECONDS_BETWEEN_HANDSHAKES, 0.);
		ev_timer_start(h->site.hub->loop->ev, &h->rest);
	}
	look_at_limit(h);
}

static enum MHD_Result on_request(void *arg, struct exchange *x)
{
	struct http *h = arg;

	return route(&h->site, x);
}

static void on_end(void *arg, struct exchange *x)
{
	(void)arg;
	gate_forget(x);
}

static void on_gone(void *arg)
{
	look_at_limit(arg);
	reap_soon(arg);
}

static const struct engine_ops engine_ops = {.on_request = on_request, .on_end = on_end, .on_gone = on_gone};

/* ------------------------------------------------------------------ whole */

bool http_prepare(struct http *h, const struct settings *s, struct strbuf *error)
{
	struct certificate c;
	bool ok;

	if (h == NULL)
		return true;
	free_front(&h->next);
	if (!certificate_load(s, &c, error))
		return false;
	if (!shows(h->front, &c))
		h->next = new_front(h, &c, error);
	ok = h->next != NULL || shows(h->front, &c);
	certificate_free(&c);
	return ok;
}

void http_apply_settings(struct http *h)
{
	if (h == NULL)
		return;
	if (h->next != NULL)
		put_in_front(h, &h->next);
	gate_forget_all(&h->site.gate);
	look_at_limit(h);
}

bool http_check(const struct settings *s, struct strbuf *error)
{
	struct engine_options options;
	struct certificate c;
	bool ok;

	if (!certificate_load(s, &c, error))
		return false;
	options = (struct engine_options){.certificate = c.chain, .key = c.key};
	ok = engine_check(&options, error);
	certificate_free(&c);
	return ok;
}

static bool start_listening(struct http *h, struct inherited *inherited, struct strbuf *error)
{
	const struct settings *s = hub_settings(h->site.hub);
	const struct listen_options o = {
		.addresses = s->http_listen_addr,
		.port = (int)s->http_port,
		.backlog = BACKLOG,
		.reuseport = s->so_reuseport,
		.unix_dir = "",
		.unix_group = "",
		.inherited = inherited,
	};

	h->listeners = listeners_open(h->site.hub->loop, &o, on_accept, h, error);
	return h->listeners != NULL;
}

/* Whoever logs in from elsewhere sends a password. */
static void warn_of_clear_passwords(const struct http *h)
{
	int fds[INHERITED_MAX];
	size_t n = listeners_descriptors(h->listeners, fds, INHERITED_MAX);

	for (size_t i = 0; !h->front->has_tls && i < n && i < INHERITED_MAX; i++) {
		struct addr self;

		addr_of_self(&self, fds[i]);
		if (addr_is_loopback(&self))
			continue;
		log_warning("http_listen_addr is not only this machine's loopback and http_tls_cert_file is not set: "
			    "passwords cross the network in the clear");
		return;
	}
}

static bool start(struct http *h, struct inherited *inherited, struct strbuf *error)
{
	page_policy(&h->site.page_policy);
	if (h->site.page_policy.failed) {
		strbuf_add_str(error, "out of memory");
		return false;
	}
	if (!http_prepare(h, hub_settings(h->site.hub), error))
		return false;
	put_in_front(h, &h->next);
	if (!start_listening(h, inherited, error))
		return false;
	warn_of_clear_passwords(h);
	return true;
}

struct http *http_new(struct hub *hub, const struct report *report, const struct http_actions *actions,
		      struct inherited *inherited, struct strbuf *error)
{
	struct http *h;

	if (hub_settings(hub)->http_listen_addr[0] == '\0')
		return NULL;
	h = calloc(1, sizeof(*h));
	if (h == NULL) {
		strbuf_add_str(error, "out of memory");
		return NULL;
	}
	h->site = (struct site){.hub = hub, .report = report, .actions = actions, .budget.loop = hub->loop};
	gate_init(&h->site.gate, hub);
	sys_random(h->site.token_key, sizeof(h->site.token_key));
	ev_init(&h->rest, on_rested);
	h->rest.data = h;
	ev_init(&h->reap, on_reap);
	h->reap.data = h;
	if (!start(h, inherited, error))
		http_free(&h);
	return h;
}

static void free_all_fronts(struct http *h)
{
	struct front *f;

	while ((f = SLIST_FIRST(&h->old)) != NULL) {
		SLIST_REMOVE_HEAD(&h->old, link);
		free_front(&f);
	}
	free_front(&h->next);
	free_front(&h->front);
}

void http_free(struct http **http)
{
	struct http *h = *http;

	*http = NULL;
	if (h == NULL)
		return;
	listeners_close(&h->listeners);
	gate_fini(&h->site.gate);
	free_all_fronts(h);
	ev_timer_stop(h->site.hub->loop->ev, &h->rest);
	ev_timer_stop(h->site.hub->loop->ev, &h->reap);
	strbuf_fini(&h->site.page_policy);
	free(h);
}

struct listeners *http_listeners(struct http *h)
{
	return h == NULL ? NULL : h->listeners;
}
