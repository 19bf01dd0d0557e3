#include "net/dns.h"

#include <ares.h>
#include <bsd/sys/queue.h>
#include <netdb.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/clock.h"

/* More addresses of one name than this are not looked at. */
#define MAX_ADDRESSES 32

struct dns_waiter {
	TAILQ_ENTRY(dns_waiter) link;
	struct dns_name *name;
	dns_fn *fn;
	void *arg;
};

TAILQ_HEAD(dns_waiters, dns_waiter);

struct dns_name {
	UT_hash_handle hh;
	struct dns *dns;
	struct dns_waiters waiters;
	bool is_asked;                   /* a query is under way */
	uint64_t expires_at;
	size_t n;
	struct addr_any addresses[MAX_ADDRESSES];
	const char *error;               /* of the last query, NULL when it was good */
	char host[];
};

struct watch {
	ev_io io;
	struct dns *dns;
	struct watch *next;
};

struct dns {
	struct loop *loop;
	struct dns_options options;
	ares_channel channel;
	ev_timer timer;
	struct watch *watches;
	struct dns_name *names;
	size_t queries;                  /* asked so far */
	size_t pending;
};

static void arm_timer(struct dns *dns)
{
	struct timeval room, *wait = ares_timeout(dns->channel, NULL, &room);

	ev_timer_stop(dns->loop->ev, &dns->timer);
	if (wait == NULL)
		return;
	ev_timer_set(&dns->timer, (double)wait->tv_sec + (double)wait->tv_usec / 1e6, 0.);
	ev_timer_start(dns->loop->ev, &dns->timer);
}

static void on_timer(EV_P_ ev_timer *timer, int events)
{
	struct dns *dns = timer->data;

	(void)loop;
	(void)events;
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timer(dns);
}

static void on_socket(EV_P_ ev_io *io, int events)
{
	struct dns *dns = ((struct watch *)io)->dns;

	(void)loop;
	ares_process_fd(dns->channel, (events & EV_READ) ? io->fd : ARES_SOCKET_BAD,
			(events & EV_WRITE) ? io->fd : ARES_SOCKET_BAD);
	arm_timer(dns);
}

static struct watch *find_watch(struct dns *dns, int fd, struct watch ***link)
{
	struct watch **p = &dns->watches;

	while (*p != NULL && (*p)->io.fd != fd)
		p = &(*p)->next;
	*link = p;
	return *p;
}

/* c-ares tells which sockets it wants watched; neither direction means it is about to close one. */
static void on_socket_state(void *arg, int fd, int readable, int writable)
{
	struct dns *dns = arg;
	struct watch **link, *w = find_watch(dns, fd, &link);

	if (w != NULL)
		ev_io_stop(dns->loop->ev, &w->io);
	if (!readable && !writable) {
		if (w != NULL)
			*link = w->next;
		free(w);
		return;
	}
	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL)
			return;
		w->dns = dns;
		w->next = dns->watches;
		dns->watches = w;
	}
	ev_io_init(&w->io, on_socket, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	ev_io_start(dns->loop->ev, &w->io);
}

struct dns *dns_new(struct loop *loop, const struct dns_options *options, const char **error)
{
	struct dns *dns = calloc(1, sizeof(*dns));
	struct ares_options o = {.sock_state_cb = on_socket_state};
	int mask = ARES_OPT_SOCK_STATE_CB, rc;

	if (dns == NULL) {
		*error = "out of memory";
		return NULL;
	}
	dns->loop = loop;
	dns->options = *options;
	ev_init(&dns->timer, on_timer);
	dns->timer.data = dns;
	o.sock_state_cb_data = dns;
	if (options->resolv_conf[0] != '\0') {
		o.resolvconf_path = strdup(options->resolv_conf);
		mask |= ARES_OPT_RESOLVCONF;
	}
	rc = ares_library_init(ARES_LIB_INIT_ALL);
	if (rc == ARES_SUCCESS)
		rc = ares_init_options(&dns->channel, &o, mask);
	free(o.resolvconf_path);
	if (rc != ARES_SUCCESS) {
		*error = ares_strerror(rc);
		free(dns);
		return NULL;
	}
	dns->options.resolv_conf = NULL;
	return dns;
}

void dns_configure(struct dns *dns, const struct dns_options *options)
{
	dns->options.max_ttl_us = options->max_ttl_us;
	dns->options.nxdomain_ttl_us = options->nxdomain_ttl_us;
}

static void forget_waiters(struct dns_name *name)
{
	struct dns_waiter *w;

	while ((w = TAILQ_FIRST(&name->waiters)) != NULL)
		dns_cancel(&w);
}

void dns_free(struct dns *dns)
{
	struct dns_name *name, *next;

	if (dns == NULL)
		return;
	ev_timer_stop(dns->loop->ev, &dns->timer);
	HASH_ITER(hh, dns->names, name, next) {
		forget_waiters(name);
	}
	/* Ends queries under way: their callbacks come now and find nobody waiting. */
	ares_destroy(dns->channel);
	HASH_ITER(hh, dns->names, name, next) {
		HASH_DEL(dns->names, name);
		free(name);
	}
	ares_library_cleanup();
	free(dns);
}

void dns_cancel(struct dns_waiter **waiter)
{
	struct dns_waiter *w = *waiter;

	*waiter = NULL;
	if (w == NULL)
		return;
	TAILQ_REMOVE(&w->name->waiters, w, link);
	free(w);
}

static void tell_waiters(struct dns_name *name)
{
	struct dns_waiter *w;

	while ((w = TAILQ_FIRST(&name->waiters)) != NULL) {
		dns_fn *fn = w->fn;
		void *arg = w->arg;

		dns_cancel(&w);
		fn(arg, name->addresses, name->n, name->error);
	}
}

static void take_answer(struct dns_name *name, const struct ares_addrinfo *info)
{
	uint64_t ttl = name->dns->options.max_ttl_us;

	name->n = 0;
	name->error = NULL;
	for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next) {
		struct addr_any *a = &name->addresses[name->n];

		if (name->n == MAX_ADDRESSES || node->ai_addrlen > sizeof(a->u))
			break;
		memset(a, 0, sizeof(*a));
		memcpy(&a->u, node->ai_addr, node->ai_addrlen);
		a->len = node->ai_addrlen;
		name->n++;
		/* A name from the hosts file has no time to live: it says 0. */
		if (node->ai_ttl > 0 && (uint64_t)node->ai_ttl * CLOCK_SECOND < ttl)
			ttl = (uint64_t)node->ai_ttl * CLOCK_SECOND;
	}
	name->expires_at = clock_us() + ttl;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct dns_name *name = arg;

	(void)timeouts;
	name->is_asked = false;
	name->dns->pending--;
	if (status == ARES_SUCCESS && info->nodes != NULL) {
		take_answer(name, info);
	} else if (status != ARES_EDESTRUCTION) {
		name->error = status == ARES_SUCCESS ? "no addresses" : ares_strerror(status);
		name->expires_at = clock_us() + name->dns->options.nxdomain_ttl_us;
		if (status == ARES_ENOTFOUND || status == ARES_ENODATA)
			name->n = 0;
	}
	if (info != NULL)
		ares_freeaddrinfo(info);
	tell_waiters(name);
}

static void ask(struct dns_name *name)
{
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	name->is_asked = true;
	name->dns->queries++;
	name->dns->pending++;
	ares_getaddrinfo(name->dns->channel, name->host, NULL, &hints, on_answer, name);
	arm_timer(name->dns);
}

static struct dns_name *find_name(struct dns *dns, const char *host)
{
	struct dns_name *name;
	size_t n = strlen(host);

	HASH_FIND(hh, dns->names, host, n, name);
	if (name != NULL)
		return name;
	name = calloc(1, sizeof(*name) + n + 1);
	if (name == NULL)
		return NULL;
	name->dns = dns;
	memcpy(name->host, host, n);
	TAILQ_INIT(&name->waiters);
	HASH_ADD_KEYPTR(hh, dns->names, name->host, n, name);
	return name;
}

struct dns_waiter *dns_resolve(struct dns *dns, const char *host, dns_fn *fn, void *arg)
{
	struct dns_name *name;
	struct dns_waiter *w;
	struct addr_any numeric;

	if (addr_any_from_ip(&numeric, host, 0)) {
		fn(arg, &numeric, 1, NULL);
		return NULL;
	}
	name = find_name(dns, host);
	w = name == NULL ? NULL : malloc(sizeof(*w));
	if (w == NULL) {
		fn(arg, NULL, 0, "out of memory");
		return NULL;
	}
	if (!name->is_asked && clock_us() < name->expires_at) {
		free(w);
		fn(arg, name->addresses, name->n, name->error);
		return NULL;
	}
	*w = (struct dns_waiter){.name = name, .fn = fn, .arg = arg};
	TAILQ_INSERT_TAIL(&name->waiters, w, link);
	if (!name->is_asked)
		ask(name);
	/* The hosts file answers within ares_getaddrinfo(): then the waiter is gone already. */
	return name->is_asked ? w : NULL;
}

void dns_figures(const struct dns *dns, struct dns_figures *f)
{
	*f = (struct dns_figures){
		.names = HASH_COUNT(dns->names), .queries = dns->queries, .pending = dns->pending};
}
