#include "http/server.h"

#include <stdlib.h>

#include "http/page.h"
#include "http/routes.h"

/* That the system holds before they are accepted. */
#define BACKLOG 128

struct http {
	struct site site;
	struct listeners *listeners;
	struct engine *engine;
	bool is_full;
};

static bool is_full(const struct http *h)
{
	return engine_connections(h->engine) >= (unsigned)hub_settings(h->site.hub)->http_max_connections;
}

/* Accepts, unless there are as many as there may be. */
static void look_at_limit(struct http *h)
{
	if (h->listeners == NULL || is_full(h) == h->is_full)
		return;
	h->is_full = !h->is_full;
	if (h->is_full)
		listeners_suspend(h->listeners);
	else
		listeners_resume(h->listeners);
}

static void on_accept(void *arg, int fd, bool is_unix)
{
	struct http *h = arg;

	(void)is_unix;
	engine_take(h->engine, fd);
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
	(void)x;
}

static void on_gone(void *arg)
{
	look_at_limit(arg);
}

static const struct engine_ops engine_ops = {.on_request = on_request, .on_end = on_end, .on_gone = on_gone};

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

static bool start(struct http *h, struct inherited *inherited, struct strbuf *error)
{
	const struct engine_options options = {0};

	page_policy(&h->site.page_policy);
	if (h->site.page_policy.failed) {
		strbuf_add_str(error, "out of memory");
		return false;
	}
	h->engine = engine_new(h->site.hub->loop, &options, &engine_ops, h, error);
	return h->engine != NULL && start_listening(h, inherited, error);
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
	if (!start(h, inherited, error))
		http_free(&h);
	return h;
}

void http_free(struct http **http)
{
	struct http *h = *http;

	*http = NULL;
	if (h == NULL)
		return;
	listeners_close(&h->listeners);
	engine_free(&h->engine);
	strbuf_fini(&h->site.page_policy);
	free(h);
}

struct listeners *http_listeners(struct http *h)
{
	return h == NULL ? NULL : h->listeners;
}

void http_apply_settings(struct http *h)
{
	if (h != NULL)
		look_at_limit(h);
}
