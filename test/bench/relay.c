/*
 * The least that anything between a client and a server can cost: one client's socket beside one server's, bytes from
 * each written to the other unread. Poolers are measured against it.
 *
 * usage: relay PORT SOCKET
 *
 * Listens on the loopback interface; each client gets a connection to the Unix socket. Runs until it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "listening.h"

#define EVENTS_MAX 256

struct end {
	int fd;         /* -1: closed */
	bool is_paused; /* the other end has not taken all of what was read here */
	struct end *other;
	char *pending; /* what this end is still to be given */
	size_t npending;
	struct end *next_dead;
};

static char scratch[1 << 16];
static struct sockaddr_un server;
static int listener, loop;
static struct end listening;
static struct end *dead; /* freed once the turn is over: its events may name them */

static void watch(struct end *e, int operation)
{
	struct epoll_event event = {.data.ptr = e};

	event.events = (e->is_paused ? 0 : EPOLLIN) | (e->npending > 0 ? EPOLLOUT : 0);
	if (epoll_ctl(loop, operation, e->fd, &event) < 0)
		fail("epoll_ctl");
}

static void close_end(struct end *e)
{
	if (e->fd < 0)
		return;
	close(e->fd);
	e->fd = -1;
	free(e->pending);
	e->next_dead = dead;
	dead = e;
}

static void close_both(struct end *e)
{
	struct end *other = e->other;

	close_end(e);
	close_end(other);
}

static void keep(struct end *from, const char *p, size_t n)
{
	struct end *to = from->other;

	to->pending = malloc(n);
	if (to->pending == NULL)
		fail("malloc");
	memcpy(to->pending, p, n);
	to->npending = n;
	from->is_paused = true;
	watch(from, EPOLL_CTL_MOD);
	watch(to, EPOLL_CTL_MOD);
}

static void read_end(struct end *e)
{
	ssize_t n = recv(e->fd, scratch, sizeof(scratch), 0), sent;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close_both(e);
		return;
	}
	sent = send(e->other->fd, scratch, (size_t)n, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN)
		close_both(e);
	else if (sent < n)
		keep(e, scratch + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
}

static void write_end(struct end *e)
{
	ssize_t sent = send(e->fd, e->pending, e->npending, MSG_NOSIGNAL);

	if (sent < 0) {
		if (errno != EAGAIN)
			close_both(e);
		return;
	}
	e->npending -= (size_t)sent;
	if (e->npending > 0) {
		memmove(e->pending, e->pending + sent, e->npending);
		return;
	}
	free(e->pending);
	e->pending = NULL;
	e->other->is_paused = false;
	watch(e, EPOLL_CTL_MOD);
	watch(e->other, EPOLL_CTL_MOD);
}

static struct end *new_end(int fd)
{
	struct end *e = calloc(1, sizeof(*e));

	if (e == NULL)
		fail("calloc");
	e->fd = fd;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return e;
}

static void accept_client(void)
{
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC), upstream;

	if (client < 0)
		return;
	upstream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (upstream < 0 || connect(upstream, (struct sockaddr *)&server, sizeof(server)) < 0) {
		if (upstream >= 0)
			close(upstream);
		close(client);
		return;
	}
	struct end *a = new_end(client), *b = new_end(upstream);
	a->other = b;
	b->other = a;
	watch(a, EPOLL_CTL_ADD);
	watch(b, EPOLL_CTL_ADD);
}

static void handle(const struct epoll_event *event)
{
	struct end *e = event->data.ptr;

	if (e == &listening) {
		accept_client();
		return;
	}
	if (e->fd >= 0 && (event->events & EPOLLOUT))
		write_end(e);
	if (e->fd >= 0 && (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		read_end(e);
}

static void bury_dead(void)
{
	while (dead != NULL) {
		struct end *e = dead;

		dead = e->next_dead;
		free(e);
	}
}

static void start_listening(const char *port)
{
	listener = listen_on_loopback(port);
	listening.fd = listener;
	watch(&listening, EPOLL_CTL_ADD);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS_MAX];

	if (argc != 3) {
		fprintf(stderr, "usage: relay PORT SOCKET\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	server.sun_family = AF_UNIX;
	snprintf(server.sun_path, sizeof(server.sun_path), "%s", argv[2]);
	loop = epoll_create1(EPOLL_CLOEXEC);
	start_listening(argv[1]);
	for (;;) {
		int n = epoll_wait(loop, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++)
			handle(&events[i]);
		bury_dead();
	}
}
