#include "net/listen.h"

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"

/* Connections taken from one socket in a loop turn at most, so that a storm of them does not keep queries waiting. */
#define ACCEPTS_PER_TURN 32

/* How long accepting rests when the process is out of descriptors. */
#define REST_SECONDS 0.1

/* Longer than the packets of most clients take to us and back. */
#define CLOSING_SECONDS 0.25

struct listener {
	ev_io io;
	struct listeners *owner;
	struct listener *next;
	bool is_unix;
	bool is_shared;
	bool passes_options_on;          /* whoever is in the queue has come after listeners_set_tcp() */
	int naccepts;                    /* in the turn below; 0: that were all. See accepts_of_turn() */
	unsigned turn;
	struct addr own_end;             /* of all that are accepted; family 0: of each its own */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* to unlink; "" none */
};

struct listeners {
	struct loop *loop;
	accept_fn *fn;
	void *arg;
	struct listener *all;
	ev_timer rest;
	ev_timer closing;
	void (*on_closed)(void *arg);
	int backlog;
	bool is_suspended, is_reuseport;
};

static void set_option(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) != 0)
		log_warning("setsockopt(%d, %d) failed: %s", level, name, strerror(errno));
}

/* What seldom differs from the system's value, to which a listening socket could not go back after a reload. */
static void set_rare_options(int fd, const struct tcp_options *o)
{
	if (o->keepalive) {
		if (o->keepidle > 0)
			set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, o->keepidle);
		if (o->keepintvl > 0)
			set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, o->keepintvl);
		if (o->keepcnt > 0)
			set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, o->keepcnt);
	}
	if (o->user_timeout_ms > 0)
		set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, o->user_timeout_ms);
	if (o->socket_buffer > 0) {
		set_option(fd, SOL_SOCKET, SO_SNDBUF, o->socket_buffer);
		set_option(fd, SOL_SOCKET, SO_RCVBUF, o->socket_buffer);
	}
}

void tcp_apply(int fd, const struct tcp_options *o)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (o->keepalive)
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_rare_options(fd, o);
}

void tcp_apply_accepted(const struct accepted *a, const struct tcp_options *o)
{
	if (a->has_options)
		set_rare_options(a->fd, o);
	else
		tcp_apply(a->fd, o);
}

void listeners_set_tcp(struct listeners *l, const struct tcp_options *o)
{
	for (struct listener *one = l->all; one != NULL; one = one->next) {
		if (one->is_unix)
			continue;
		set_option(one->io.fd, IPPROTO_TCP, TCP_NODELAY, 1);
		set_option(one->io.fd, SOL_SOCKET, SO_KEEPALIVE, o->keepalive);
		one->passes_options_on = false;
	}
}

static void start_all(struct listeners *l)
{
	if (l->is_suspended)
		return;
	for (struct listener *one = l->all; one != NULL; one = one->next)
		ev_io_start(l->loop->ev, &one->io);
}

static void stop_all(struct listeners *l)
{
	for (struct listener *one = l->all; one != NULL; one = one->next)
		ev_io_stop(l->loop->ev, &one->io);
}

void listeners_suspend(struct listeners *l)
{
	l->is_suspended = true;
	stop_all(l);
}

void listeners_resume(struct listeners *l)
{
	l->is_suspended = false;
	/* One that rests goes on when it has rested. */
	if (!ev_is_active(&l->rest))
		start_all(l);
}

static void on_rested(EV_P_ ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	start_all(timer->data);
}

static void rest(struct listeners *l, int error)
{
	log_warning("accept() failed: %s; accepting again in %.1f s", strerror(error), REST_SECONDS);
	stop_all(l);
	ev_timer_set(&l->rest, REST_SECONDS, 0.);
	ev_timer_start(l->loop->ev, &l->rest);
}

/* False: there is nobody. */
static bool accept_one(struct listener *one)
{
	struct addr_any peer = {.len = sizeof(peer.u)};
	struct accepted a = {.is_unix = one->is_unix, .has_options = one->passes_options_on, .own_end = one->own_end};

	a.fd = accept4(one->io.fd, &peer.u.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (a.fd < 0) {
		one->passes_options_on = one->passes_options_on || errno == EAGAIN;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			rest(one->owner, errno);
		return errno == ECONNABORTED || errno == EINTR;
	}
	addr_of_accepted(&a.peer, a.fd, &peer.u.sa);
	if (a.own_end.family == 0)
		addr_of_self(&a.own_end, a.fd);
	one->owner->fn(one->owner->arg, &a);
	return true;
}

/* How many there were before there was nobody, or n. */
static int accept_up_to(struct listener *one, int n)
{
	int i = 0;

	while (i < n && !one->owner->is_suspended && accept_one(one))
		i++;
	return i;
}

/*
 * How many to accept. To hear that there is nobody else is a system call for nothing: one at first, and more only
 * when there was somebody in the turn before, too.
 */
static int accepts_of_turn(const struct listener *one, unsigned turn)
{
	int n = turn == one->turn + 1 ? 2 * one->naccepts : 1;

	if (!one->is_unix && !one->passes_options_on)
		return ACCEPTS_PER_TURN;
	return n < 1 ? 1 : n < ACCEPTS_PER_TURN ? n : ACCEPTS_PER_TURN;
}

static void on_acceptable(EV_P_ ev_io *io, int events)
{
	struct listener *one = (struct listener *)io;
	unsigned turn = ev_iteration(EV_A);
	int n = accepts_of_turn(one, turn);

	(void)events;
	/* One that did not last as long begins anew. */
	one->naccepts = accept_up_to(one, n) == n ? n : 0;
	one->turn = turn;
}

static bool add(struct listeners *l, int fd, int backlog, const char *path)
{
	struct listener *one;

	if (listen(fd, backlog) != 0)
		return false;
	one = calloc(1, sizeof(*one));
	if (one == NULL)
		return false;
	one->owner = l;
	one->is_unix = path != NULL;
	if (path != NULL)
		snprintf(one->path, sizeof(one->path), "%s", path);
	addr_of_self(&one->own_end, fd);
	if (addr_is_any(&one->own_end))
		one->own_end.family = 0;
	ev_io_init(&one->io, on_acceptable, fd, EV_READ);
	/* Whoever has gone is seen to have gone before the next one is let in, who may want the place. */
	ev_set_priority(&one->io, EV_MINPRI);
	one->next = l->all;
	l->all = one;
	return true;
}

/* A socket that listens already. What add() asks of it once more is a backlog of our own. */
static bool adopt(struct listeners *l, const struct listen_options *o, int fd, const char *path)
{
	if (!add(l, fd, o->backlog, path)) {
		int error = errno;

		close(fd);
		errno = error;
		return false;
	}
	l->all->is_shared = true;
	return true;
}

static int take_inherited(const struct listen_options *o, const struct sockaddr *sa, socklen_t len)
{
	return o->inherited == NULL ? -1 : inherited_take(o->inherited, sa, len);
}

/*
 * Within a machine there is no network to be congested. A congestion control that paces, as BBR does, arms timers there
 * to hold streams back. Connections have their listener's; one that cannot have another is none the worse for it.
 */
static void do_not_pace(int fd, const struct sockaddr *sa)
{
	static const char simple[] = "reno";
	struct addr a;

	addr_from_sockaddr(&a, sa);
	if (addr_is_loopback(&a))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, simple, sizeof(simple) - 1);
}

static bool listen_tcp(struct listeners *l, const struct listen_options *o, const struct addrinfo *ai)
{
	int fd = take_inherited(o, ai->ai_addr, ai->ai_addrlen);

	if (fd >= 0)
		return adopt(l, o, fd, NULL);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	do_not_pace(fd, ai->ai_addr);
	if (o->reuseport)
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (ai->ai_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	/* Those whom the kernel keeps back could not be told from those who are to go elsewhere: listeners_close_tcp(). */
	if (o->defer_accept > 0 && !o->reuseport)
		set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, o->defer_accept);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || !add(l, fd, o->backlog, NULL)) {
		int error = errno;

		close(fd);
		errno = error;
		return false;
	}
	return true;
}

/* All addresses of one entry of listen_addr. With "*" a family the machine does not have is passed over. */
static bool listen_host(struct listeners *l, const struct listen_options *o, const char *host, struct strbuf *error)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	bool is_any = strcmp(host, "*") == 0;
	struct addrinfo *all, *ai;
	char port[16];
	int rc, opened = 0;

	snprintf(port, sizeof(port), "%d", o->port);
	rc = getaddrinfo(is_any ? NULL : host, port, &hints, &all);
	if (rc != 0) {
		strbuf_addf(error, "cannot listen on %s: %s", host, gai_strerror(rc));
		return false;
	}
	for (ai = all; ai != NULL; ai = ai->ai_next) {
		if (listen_tcp(l, o, ai)) {
			opened++;
		} else if (!is_any || errno != EAFNOSUPPORT) {
			strbuf_addf(error, "cannot listen on %s:%d: %s", host, o->port, strerror(errno));
			break;
		}
	}
	freeaddrinfo(all);
	return ai == NULL && opened > 0;
}

static bool listen_all_tcp(struct listeners *l, const struct listen_options *o, struct strbuf *error)
{
	struct slice rest = slice_of(o->addresses), one;
	char host[256];

	while (slice_split(&rest, ',', &one)) {
		if (one.n == 0)
			continue;
		snprintf(host, sizeof(host), "%.*s", (int)one.n, one.p);
		if (!listen_host(l, o, host, error))
			return false;
	}
	return true;
}

/* A socket file that nobody listens on is left over from a crash; one that somebody does is not ours to take. */
static bool remove_stale(const struct addr_any *a, const char *path)
{
	int fd, rc;

	if (access(path, F_OK) != 0)
		return true;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	rc = connect(fd, &a->u.sa, a->len);
	close(fd);
	if (rc == 0) {
		errno = EADDRINUSE;
		return false;
	}
	return unlink(path) == 0;
}

static bool set_owner(const char *path, const struct listen_options *o)
{
	if (o->unix_group[0] != '\0') {
		const struct group *g = getgrnam(o->unix_group);

		if (g == NULL) {
			errno = ENOENT;
			return false;
		}
		if (chown(path, (uid_t)-1, g->gr_gid) != 0)
			return false;
	}
	return chmod(path, (mode_t)o->unix_mode) == 0;
}

static bool listen_unix(struct listeners *l, const struct listen_options *o, struct strbuf *error)
{
	struct addr_any a;
	const char *path = "";
	bool is_bound;
	int fd;

	if (!addr_any_from_unix(&a, o->unix_dir, o->port)) {
		strbuf_addf(error, "unix_socket_dir %s is too long for a socket address", o->unix_dir);
		return false;
	}
	if (o->unix_dir[0] != '@')
		path = ((struct sockaddr_un *)&a.u)->sun_path;
	fd = take_inherited(o, &a.u.sa, a.len);
	if (fd >= 0) {
		if (adopt(l, o, fd, path) && (*path == '\0' || set_owner(path, o)))
			return true;
		strbuf_addf(error, "cannot listen on unix socket %s/.s.PGSQL.%d: %s", o->unix_dir, o->port, strerror(errno));
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	is_bound = fd >= 0 && (*path == '\0' || remove_stale(&a, path)) && bind(fd, &a.u.sa, a.len) == 0;
	if (is_bound && (*path == '\0' || set_owner(path, o)) && add(l, fd, o->backlog, path))
		return true;
	strbuf_addf(error, "cannot listen on unix socket %s/.s.PGSQL.%d: %s", o->unix_dir, o->port, strerror(errno));
	if (is_bound && *path != '\0')
		unlink(path);
	if (fd >= 0)
		close(fd);
	return false;
}

/* Which kinds there are among the sockets that are all to be taken. */
struct kinds {
	bool has_tcp, has_unix;
};

static bool take_all(struct listeners *l, const struct listen_options *o, struct kinds *kinds, struct strbuf *error)
{
	for (size_t i = 0; i < o->inherited->n; i++) {
		int fd = o->inherited->fds[i];
		bool is_unix = inherited_family(fd) == AF_UNIX;

		o->inherited->fds[i] = -1;
		if (!adopt(l, o, fd, is_unix ? "" : NULL)) {
			strbuf_addf(error, "cannot listen on a socket that was passed: %s", strerror(errno));
			return false;
		}
		kinds->has_unix = kinds->has_unix || is_unix;
		kinds->has_tcp = kinds->has_tcp || !is_unix;
	}
	return true;
}

static bool open_all(struct listeners *l, const struct listen_options *o, struct strbuf *error)
{
	struct kinds have = {0};

	if (o->inherited != NULL && o->take_all && !take_all(l, o, &have, error))
		return false;
	if (!have.has_tcp && !listen_all_tcp(l, o, error))
		return false;
	return have.has_unix || o->unix_dir[0] == '\0' || listen_unix(l, o, error);
}

static void on_closing_over(EV_P_ ev_timer *timer, int events);

struct listeners *listeners_open(struct loop *loop, const struct listen_options *options, accept_fn *fn, void *arg,
				 struct strbuf *error)
{
	struct listeners *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		strbuf_add_str(error, "out of memory");
		return NULL;
	}
	l->loop = loop;
	l->fn = fn;
	l->arg = arg;
	ev_init(&l->rest, on_rested);
	l->rest.data = l;
	ev_init(&l->closing, on_closing_over);
	l->closing.data = l;
	l->backlog = options->backlog;
	l->is_reuseport = options->reuseport;
	if (!open_all(l, options, error)) {
		listeners_close(&l);
		return NULL;
	}
	start_all(l);
	return l;
}

void listeners_own(struct listeners *l)
{
	for (struct listener *one = l->all; one != NULL; one = one->next)
		one->is_shared = false;
}

size_t listeners_descriptors(const struct listeners *l, int *fds, size_t max)
{
	size_t n = 0;

	for (const struct listener *one = l->all; one != NULL; one = one->next, n++)
		if (n < max)
			fds[n] = one->io.fd;
	return n;
}

static void close_one(struct listeners *l, struct listener *one)
{
	ev_io_stop(l->loop->ev, &one->io);
	close(one->io.fd);
	if (one->path[0] != '\0' && !one->is_shared)
		unlink(one->path);
	free(one);
}

static void close_all(struct listeners *l)
{
	while (l->all != NULL) {
		struct listener *one = l->all;

		l->all = one->next;
		close_one(l, one);
	}
}

void listeners_hand_over(struct listeners *l)
{
	for (struct listener *one = l->all; one != NULL; one = one->next)
		one->is_shared = true;
	close_all(l);
}

static void close_all_tcp(struct listeners *l)
{
	struct listener **link = &l->all;

	while (*link != NULL) {
		struct listener *one = *link;

		if (one->is_unix) {
			link = &one->next;
			continue;
		}
		if (!one->is_shared)
			accept_up_to(one, l->backlog + 1);
		*link = one->next;
		close_one(l, one);
	}
}

/* Drops packets that ask for a new connection: SYN without ACK, in the byte of flags of the TCP header. */
static bool drop_syns(int fd)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = {.len = sizeof(program) / sizeof(program[0]), .filter = program};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

/* True: there is a socket for which it is worth while to wait. */
static bool turn_away_newcomers(struct listeners *l)
{
	bool is_done = false;

	for (struct listener *one = l->all; one != NULL; one = one->next) {
		if (one->is_unix || one->is_shared || !drop_syns(one->io.fd))
			continue;
		/* Set where the socket was inherited: one that the kernel has kept back comes in with its next packet. */
		set_option(one->io.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
		is_done = true;
	}
	return is_done;
}

static void on_closing_over(EV_P_ ev_timer *timer, int events)
{
	struct listeners *l = timer->data;

	(void)loop;
	(void)events;
	close_all_tcp(l);
	l->on_closed(l->arg);
}

bool listeners_are_closing(const struct listeners *l)
{
	return l != NULL && ev_is_active(&l->closing);
}

void listeners_close_tcp(struct listeners *l, void (*on_closed)(void *arg))
{
	if (listeners_are_closing(l))
		return;
	if (!l->is_reuseport || !turn_away_newcomers(l)) {
		close_all_tcp(l);
		return;
	}
	l->on_closed = on_closed;
	ev_timer_set(&l->closing, CLOSING_SECONDS, 0.);
	ev_timer_start(l->loop->ev, &l->closing);
}

void listeners_close(struct listeners **listeners)
{
	struct listeners *l = *listeners;

	*listeners = NULL;
	if (l == NULL)
		return;
	ev_timer_stop(l->loop->ev, &l->rest);
	ev_timer_stop(l->loop->ev, &l->closing);
	close_all(l);
	free(l);
}
