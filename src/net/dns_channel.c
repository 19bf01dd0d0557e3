#include "net/dns_channel.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

struct watch {
	ev_io io;
	struct dns_channel *channel;
	struct watch *next;
};

struct dns_channel {
	struct loop *loop;
	ares_channel ares;
	ev_timer timer;
	struct watch *watches;
};

static void arm_timer(struct dns_channel *c)
{
	struct timeval room, *wait = ares_timeout(c->ares, NULL, &room);

	ev_timer_stop(c->loop->ev, &c->timer);
	if (wait == NULL)
		return;
	ev_timer_set(&c->timer, (double)wait->tv_sec + (double)wait->tv_usec / 1e6, 0.);
	ev_timer_start(c->loop->ev, &c->timer);
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
	struct dns_channel *c = timer->data;

	(void)loop;
	(void)events;
	ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timer(c);
}

static void on_socket(EV_P_ ev_io *io, int events)
{
	struct dns_channel *c = ((struct watch *)io)->channel;

	(void)loop;
	ares_process_fd(c->ares, (events & EV_READ) ? io->fd : ARES_SOCKET_BAD,
			(events & EV_WRITE) ? io->fd : ARES_SOCKET_BAD);
	arm_timer(c);
}

static struct watch *find_watch(struct dns_channel *c, int fd, struct watch ***link)
{
	struct watch **p = &c->watches;

	while (*p != NULL && (*p)->io.fd != fd)
		p = &(*p)->next;
	*link = p;
	return *p;
}

/*
 * c-ares has made a socket. One that there is no memory to watch must not be: its answers would not be heard, and the
 * question would be given up only after a minute. Refused, it is no way to the server, and the question fails at once.
 */
static int on_new_socket(int fd, int type, void *arg)
{
	struct dns_channel *c = arg;
	struct watch **link, *w = find_watch(c, fd, &link);

	(void)type;
	if (w != NULL)
		return 0;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -1;
	w->channel = c;
	ev_io_init(&w->io, on_socket, fd, EV_NONE);
	*link = w;
	return 0;
}

/* c-ares tells which sockets it wants watched; neither direction means it is about to close one. */
static void on_socket_state(void *arg, int fd, int readable, int writable)
{
	struct dns_channel *c = arg;
	struct watch **link, *w = find_watch(c, fd, &link);

	if (w == NULL)
		return;
	ev_io_stop(c->loop->ev, &w->io);
	if (!readable && !writable) {
		*link = w->next;
		free(w);
		return;
	}
	ev_io_set(&w->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	ev_io_start(c->loop->ev, &w->io);
}

static int open_ares(struct dns_channel *c, const char *resolv_conf)
{
	struct ares_options o = {.sock_state_cb = on_socket_state, .sock_state_cb_data = c};
	int mask = ARES_OPT_SOCK_STATE_CB, rc;

	if (resolv_conf[0] != '\0') {
		o.resolvconf_path = strdup(resolv_conf);
		mask |= ARES_OPT_RESOLVCONF;
	}
#ifdef ARES_OPT_QUERY_CACHE
	/* Later versions keep answers themselves: whoever asks ahead of time would hear the old one again. */
	o.qcache_max_ttl = 0;
	mask |= ARES_OPT_QUERY_CACHE;
#endif
	rc = ares_library_init(ARES_LIB_INIT_ALL);
	if (rc == ARES_SUCCESS)
		rc = ares_init_options(&c->ares, &o, mask);
	free(o.resolvconf_path);
	return rc;
}

struct dns_channel *dns_channel_new(struct loop *loop, const char *resolv_conf, const char **error)
{
	struct dns_channel *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL) {
		*error = "out of memory";
		return NULL;
	}
	c->loop = loop;
	ev_init(&c->timer, on_timer);
	c->timer.data = c;
	rc = open_ares(c, resolv_conf);
	if (rc != ARES_SUCCESS) {
		*error = ares_strerror(rc);
		free(c);
		return NULL;
	}
	ares_set_socket_callback(c->ares, on_new_socket, c);
	return c;
}

void dns_channel_free(struct dns_channel *c)
{
	if (c == NULL)
		return;
	ares_destroy(c->ares);
	ev_timer_stop(c->loop->ev, &c->timer);
	ares_library_cleanup();
	free(c);
}

void dns_channel_ask_addresses(struct dns_channel *c, const char *host, ares_addrinfo_callback fn, void *arg)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	ares_getaddrinfo(c->ares, host, NULL, &hints, fn, arg);
	arm_timer(c);
}

void dns_channel_ask_soa(struct dns_channel *c, const char *name, ares_callback fn, void *arg)
{
	ares_query(c->ares, name, ns_c_in, ns_t_soa, fn, arg);
	arm_timer(c);
}
