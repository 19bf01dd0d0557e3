/*
 * The least that clients can cost who log in, ask once and leave: they are greeted with bytes that a server has said
 * before, and lent its connection for their query, unread. Poolers are measured against it.
 *
 * usage: greeter PORT SOCKET
 *
 * Listens on the loopback interface; servers are at the Unix socket, as many as are asked at a time. A message is taken
 * to come in one piece. Runs until it is killed.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include "listening.h"

#define EVENTS_MAX 256
#define ACCEPTS_MAX 64
#define DESCRIPTORS_MAX 65536

enum kind { LISTENER, NEWCOMER, CLIENT, SERVER };

/* By descriptor: each of them has one event in a turn at most, so that it can be another's by the next. */
static struct end {
	enum kind kind;
	int other; /* whose server, or client, it is; -1: nobody's */
} ends[DESCRIPTORS_MAX];

static int idle[DESCRIPTORS_MAX], nidle;

static struct sockaddr_un address;
static int loop;
static char scratch[1 << 16], greeting[4096];
static size_t ngreeting;

static void watch(int fd, enum kind kind)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (fd >= DESCRIPTORS_MAX || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
	ends[fd] = (struct end){.kind = kind, .other = -1};
}

/* The end of a ReadyForQuery. */
static bool is_ready(const char *p, ssize_t n)
{
	return n >= 6 && memcmp(p + n - 6, "Z\0\0\0\5", 5) == 0;
}

/* Keeps what it says last as the greeting: all say the same. */
static int open_server(void)
{
	static const char startup[] = "\0\0\0\x1f\0\3\0\0user\0app\0database\0app\0";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, startup, sizeof(startup), MSG_NOSIGNAL) < 0)
		fail("server");
	for (ngreeting = 0; !is_ready(greeting, (ssize_t)ngreeting);) {
		ssize_t n = recv(fd, greeting + ngreeting, sizeof(greeting) - ngreeting, 0);

		if (n <= 0)
			fail("greeting");
		ngreeting += (size_t)n;
	}
	watch(fd, SERVER);
	return fd;
}

static void close_client(int fd)
{
	if (ends[fd].other >= 0)
		ends[ends[fd].other].other = -1;
	close(fd);
}

static void ask(int client, ssize_t n)
{
	int server = nidle > 0 ? idle[--nidle] : open_server();

	ends[server].other = client;
	ends[client].other = server;
	send(server, scratch, (size_t)n, MSG_NOSIGNAL);
}

static void read_client(int fd)
{
	ssize_t n = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || (ends[fd].kind == CLIENT && (scratch[0] == 'X' || ends[fd].other >= 0))) {
		close_client(fd);
	} else if (ends[fd].kind == NEWCOMER) {
		ends[fd].kind = CLIENT;
		send(fd, greeting, ngreeting, MSG_NOSIGNAL);
	} else {
		ask(fd, n);
	}
}

static void read_server(int fd)
{
	ssize_t n = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);
	int client = ends[fd].other;

	if (n <= 0)
		fail("server");
	if (client >= 0)
		send(client, scratch, (size_t)n, MSG_NOSIGNAL);
	if (!is_ready(scratch, n))
		return;
	if (client >= 0)
		ends[client].other = -1;
	ends[fd].other = -1;
	idle[nidle++] = fd;
}

/* A first message has often come along. */
static void accept_clients(int listener)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return;
		watch(fd, NEWCOMER);
		read_client(fd);
	}
}

static void handle(int fd)
{
	switch (ends[fd].kind) {
	case LISTENER:
		accept_clients(fd);
		break;
	case SERVER:
		read_server(fd);
		break;
	default:
		read_client(fd);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS_MAX];

	if (argc != 3) {
		fprintf(stderr, "usage: greeter PORT SOCKET\n");
		return 2;
	}
	address.sun_family = AF_UNIX;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[2]);
	loop = epoll_create1(EPOLL_CLOEXEC);
	idle[nidle++] = open_server();
	watch(listen_on_loopback(argv[1]), LISTENER);
	for (;;) {
		int n = epoll_wait(loop, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++)
			handle(events[i].data.fd);
	}
}
