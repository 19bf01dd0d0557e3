/*
 * Clients that connect, log in, ask once and leave: so many a second as are
 * asked for, or with a rate of 0 as many as the pooler serves when there are
 * always IN_FLIGHT of them; as long as standard input is open, and what became
 * of each. One thread, so that a client costs less than it costs the pooler.
 * Given a CA they come in TLS 1.3: most resume a session as clients do that
 * come back, the others, "full" of a hundred, shake hands in full.
 *
 * usage: connects [-p PASSWORD] [-c CA] [-f FULL] PORT RATE IN_FLIGHT
 *
 * Prints lines of JSON: {"done", "failed"} while it runs, and at the end what
 * print_result() says. Exit status 0, whatever became of the clients.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "password.h"

#define SECOND 1000000
#define PATIENCE (60 * SECOND)  /* of one client with everybody else */
#define BEHIND (SECOND / 2)     /* so much that could not be started is made up for */
#define PROGRESS (SECOND / 20)  /* between two lines */
#define COMPLAINTS_MAX 32

enum phase { CONNECT, REQUEST, TLS, LOGIN, QUERY, NPHASES };

static const char *const phase_words[NPHASES] = {"connect", "request", "tls", "login", "query"};

struct client {
	int fd;         /* -1: free */
	enum phase phase;
	int64_t began;
	SSL *tls;       /* NULL: plain, or not yet */
	bool has_row;   /* the answer to its question */
	struct password_exchange exchange;
	size_t n;
	uint8_t in[4096];
};

/* What went wrong, and how often. */
struct complaint {
	enum phase phase;
	char text[160];
	unsigned n;
};

static struct sockaddr_in address;
static const char *password = "";
static SSL_CTX *context;
static int64_t rate, full;
static struct client *clients;
static int nslots, nclients;
static int events;

/* Sessions that nobody has resumed yet: a ticket is used once. */
static SSL_SESSION **sessions;
static int nsessions;

static struct complaint complaints[COMPLAINTS_MAX];
static unsigned ncomplaints;

static int64_t nstarted, ndone, nfailed, nresumed;
static uint32_t *spans; /* microseconds, one for each that is done */
static size_t spans_room;

static void die(const char *what)
{
	fprintf(stderr, "connects: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

/* ------------------------------------------------------------------ ends */

static void leave(struct client *c)
{
	SSL_free(c->tls);
	ERR_clear_error();
	close(c->fd);
	c->tls = NULL;
	c->fd = -1;
	nclients--;
}

static struct complaint *complaint_of(enum phase phase, const char *text)
{
	for (unsigned i = 0; i < ncomplaints; i++)
		if (complaints[i].phase == phase && strcmp(complaints[i].text, text) == 0)
			return &complaints[i];
	if (ncomplaints == COMPLAINTS_MAX)
		return &complaints[COMPLAINTS_MAX - 1];
	complaints[ncomplaints].phase = phase;
	snprintf(complaints[ncomplaints].text, sizeof(complaints[0].text), "%s", text);
	return &complaints[ncomplaints++];
}

__attribute__((format(printf, 2, 3))) static void fail(struct client *c, const char *format, ...)
{
	char text[sizeof(complaints[0].text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	complaint_of(c->phase, text)->n++;
	nfailed++;
	leave(c);
}

static void fail_errno(struct client *c, int error)
{
	fail(c, "%s", error == 0 ? "closed by the other side" : strerrorname_np(error));
}

static void fail_tls(struct client *c, int result)
{
	int error = SSL_get_error(c->tls, result);
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && errno == 0))
		fail_errno(c, 0);
	else if (error == SSL_ERROR_SYSCALL)
		fail_errno(c, errno);
	else
		fail(c, "%s", reason == NULL ? "TLS" : reason);
}

static void note_span(int64_t span)
{
	if ((size_t)ndone == spans_room) {
		spans_room = spans_room == 0 ? 4096 : spans_room * 2;
		spans = realloc(spans, spans_room * sizeof(*spans));
		if (spans == NULL)
			die("memory");
	}
	spans[ndone++] = (uint32_t)span;
}

/* As libpq leaves: without waiting for anything. */
static void say_goodbye(struct client *c)
{
	static const uint8_t terminate[] = {'X', 0, 0, 0, 4};

	if (c->tls == NULL) {
		(void)!send(c->fd, terminate, sizeof(terminate), MSG_NOSIGNAL);
	} else {
		SSL_write(c->tls, terminate, sizeof(terminate));
		SSL_shutdown(c->tls);
	}
	note_span(now_us() - c->began);
	leave(c);
}

/* ------------------------------------------------------------------ messages */

/* All that is ever said fits into an empty socket. False: failed. */
static bool say(struct client *c, const void *p, size_t n)
{
	ssize_t done;

	errno = 0;
	if (c->tls != NULL) {
		done = SSL_write(c->tls, p, (int)n);
		if (done <= 0)
			fail_tls(c, (int)done);
		return done > 0;
	}
	done = send(c->fd, p, n, MSG_NOSIGNAL);
	if (done != (ssize_t)n)
		fail_errno(c, done < 0 ? errno : EAGAIN);
	return done == (ssize_t)n;
}

static bool log_in(struct client *c)
{
	static const char startup[] = "\0\0\0\x1f\0\3\0\0user\0app\0database\0app\0";

	c->phase = LOGIN;
	return say(c, startup, sizeof(startup));
}

static bool ask(struct client *c)
{
	static const char query[] = "Q\0\0\0\x0dSELECT 1";

	c->phase = QUERY;
	return say(c, query, sizeof(query));
}

/* A field of an ErrorResponse; "" when it has none. */
static const char *error_field(const uint8_t *body, size_t n, char which)
{
	const uint8_t *end = body + n;

	while (body < end && *body != '\0') {
		const uint8_t *text = body + 1;
		const uint8_t *nul = memchr(text, '\0', (size_t)(end - text));

		if (nul == NULL)
			break;
		if (*body == (uint8_t)which)
			return (const char *)text;
		body = nul + 1;
	}
	return "";
}

static bool is_ready(struct client *c)
{
	if (c->phase == LOGIN)
		return ask(c);
	if (c->has_row)
		say_goodbye(c);
	else
		fail(c, "no row");
	return false;
}

/* False: the client is gone. */
static bool prove(struct client *c, const uint8_t *request, size_t n)
{
	uint8_t answer[PASSWORD_ANSWER_MAX];
	int size = password_answer(&c->exchange, "app", password, request, n, answer);

	if (size < 0)
		fail(c, "authentication");
	return size == 0 || (size > 0 && say(c, answer, (size_t)size));
}

/* False: the client is gone. */
static bool take_message(struct client *c, char type, const uint8_t *body, size_t n)
{
	static const uint8_t row[] = {0, 1, 0, 0, 0, 1, '1'};

	switch (type) {
	case 'E':
		fail(c, "%s %s", error_field(body, n, 'C'), error_field(body, n, 'M'));
		return false;
	case 'D':
		c->has_row = c->phase == QUERY && n == sizeof(row) && memcmp(body, row, n) == 0;
		return true;
	case 'Z':
		return is_ready(c);
	case 'R':
		return prove(c, body, n);
	case 'S':
	case 'K':
	case 'N':
	case 'T':
	case 'C':
		return true;
	default:
		fail(c, "message of type %d", type);
		return false;
	}
}

static bool take_messages(struct client *c)
{
	size_t pos = 0;

	while (c->n - pos >= 5) {
		const uint8_t *p = c->in + pos;
		size_t size = ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]) + 1;

		if (size < 5 || size > sizeof(c->in)) {
			fail(c, "message of %zu bytes", size);
			return false;
		}
		if (c->n - pos < size)
			break;
		if (!take_message(c, (char)p[0], p + 5, size - 5))
			return false;
		pos += size;
	}
	c->n -= pos;
	memmove(c->in, c->in + pos, c->n);
	return true;
}

/* Bytes; 0: nothing now; -1: failed. */
static ssize_t listen_to(struct client *c)
{
	size_t room = sizeof(c->in) - c->n;
	ssize_t n;

	errno = 0;
	if (c->tls == NULL) {
		n = recv(c->fd, c->in + c->n, room, 0);
		if (n > 0)
			return n;
		if (n < 0 && errno == EAGAIN)
			return 0;
		fail_errno(c, errno);
		return -1;
	}
	n = SSL_read(c->tls, c->in + c->n, (int)room);
	if (n > 0)
		return n;
	if (SSL_get_error(c->tls, (int)n) == SSL_ERROR_WANT_READ)
		return 0;
	fail_tls(c, (int)n);
	return -1;
}

static void converse(struct client *c)
{
	ssize_t n;

	while ((n = listen_to(c)) > 0) {
		c->n += (size_t)n;
		if (!take_messages(c))
			return;
	}
}

/* ------------------------------------------------------------------ TLS */

static int on_session(SSL *tls, SSL_SESSION *session)
{
	(void)tls;
	if (nsessions == nslots)
		return 0;
	sessions[nsessions++] = session;
	return 1;
}

static void make_context(const char *ca)
{
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL || SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
		die(ca);
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_session);
}

static void resume_session(struct client *c)
{
	SSL_SESSION *session;

	if (nsessions == 0 || nstarted % 100 < full)
		return;
	session = sessions[--nsessions];
	SSL_set_session(c->tls, session);
	SSL_SESSION_free(session);
}

static void shake_hands(struct client *c)
{
	int result;

	errno = 0;
	result = SSL_do_handshake(c->tls);
	if (result != 1) {
		if (SSL_get_error(c->tls, result) != SSL_ERROR_WANT_READ)
			fail_tls(c, result);
		return;
	}
	nresumed += SSL_session_reused(c->tls);
	if (log_in(c))
		converse(c);
}

static void begin_tls(struct client *c)
{
	uint8_t answer;
	ssize_t n = recv(c->fd, &answer, 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		fail_errno(c, n == 0 ? 0 : errno);
		return;
	}
	if (answer != 'S') {
		fail(c, "answer %d to SSLRequest", answer);
		return;
	}
	c->phase = TLS;
	c->tls = SSL_new(context);
	if (c->tls == NULL || SSL_set_fd(c->tls, c->fd) != 1 || SSL_set1_host(c->tls, "localhost") != 1)
		die("TLS");
	SSL_set_connect_state(c->tls);
	resume_session(c);
	shake_hands(c);
}

/* ------------------------------------------------------------------ connections */

static void finish_connect(struct client *c)
{
	static const uint8_t ssl_request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};
	socklen_t n = sizeof(int);
	int error = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
		fail_errno(c, error == 0 ? errno : error);
		return;
	}
	if (context == NULL) {
		log_in(c);
		return;
	}
	c->phase = REQUEST;
	say(c, ssl_request, sizeof(ssl_request));
}

static void advance(struct client *c)
{
	ERR_clear_error();
	switch (c->phase) {
	case CONNECT:
		finish_connect(c);
		break;
	case REQUEST:
		begin_tls(c);
		break;
	case TLS:
		shake_hands(c);
		break;
	default:
		converse(c);
	}
}

static struct client *free_client(void)
{
	static int at;

	while (clients[at].fd >= 0)
		at = (at + 1) % nslots;
	return &clients[at];
}

static void start(void)
{
	struct client *c = free_client();
	struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	nclients++;
	nstarted++;
	c->phase = CONNECT;
	c->has_row = false;
	c->exchange = (struct password_exchange){0};
	c->n = 0;
	c->began = now_us();
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 && errno != EINPROGRESS)
		fail_errno(c, errno);
	else if (epoll_ctl(events, EPOLL_CTL_ADD, c->fd, &watch) != 0)
		die("epoll_ctl");
}

static void start_all(void)
{
	for (int i = nclients; i < nslots; i++)
		start();
}

/* Each has its moment; what is overdue for long is given up, or it would all come at once. */
static void start_due(void)
{
	static int64_t due;
	int64_t now = now_us();

	if (due < now - BEHIND)
		due = due == 0 ? now : now - BEHIND;
	for (; due <= now && nclients < nslots; due += SECOND / rate)
		start();
}

static void lose_patience(void)
{
	int64_t past = now_us() - PATIENCE;

	for (int i = 0; i < nslots; i++)
		if (clients[i].fd >= 0 && clients[i].began < past)
			fail(&clients[i], "no answer");
}

/* ------------------------------------------------------------------ results */

static void print_progress(void)
{
	printf("{\"done\": %" PRId64 ", \"failed\": %" PRId64 "}\n", ndone, nfailed);
}

static void print_text(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar((uint8_t)*text < ' ' ? ' ' : *text);
	}
	putchar('"');
}

static int by_span(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double span_at(double share)
{
	return ndone == 0 ? 0. : spans[(size_t)(share * (double)(ndone - 1))] / 1000.;
}

static void print_result(int64_t ran_us)
{
	qsort(spans, (size_t)ndone, sizeof(*spans), by_span);
	printf("{\"done\": %" PRId64 ", \"failed\": %" PRId64 ", \"resumed\": %" PRId64 ", \"rate\": %.1f, "
	       "\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, \"failures\": [",
	       ndone, nfailed, nresumed, (double)ndone * SECOND / (double)ran_us, span_at(.5), span_at(.99), span_at(1.));
	for (unsigned i = 0; i < ncomplaints; i++) {
		printf("%s{\"phase\": \"%s\", \"n\": %u, \"what\": ", i > 0 ? ", " : "", phase_words[complaints[i].phase],
		       complaints[i].n);
		print_text(complaints[i].text);
		putchar('}');
	}
	puts("]}");
}

/* ------------------------------------------------------------------ the loop */

static void look_around(void)
{
	static int64_t due;

	if (now_us() < due)
		return;
	due = now_us() + PROGRESS;
	lose_patience();
	print_progress();
}

/* True: standard input has ended. */
static bool take_turn(void)
{
	struct epoll_event ready[256];
	bool is_over = false;
	int n = epoll_wait(events, ready, sizeof(ready) / sizeof(ready[0]), 1);
	char c;

	for (int i = 0; i < n; i++) {
		if (ready[i].data.ptr != NULL)
			advance(ready[i].data.ptr);
		else
			is_over = read(STDIN_FILENO, &c, 1) <= 0;
	}
	look_around();
	return is_over;
}

static void watch_input(void)
{
	struct epoll_event watch = {.events = EPOLLIN};

	events = epoll_create1(EPOLL_CLOEXEC);
	if (events < 0 || epoll_ctl(events, EPOLL_CTL_ADD, STDIN_FILENO, &watch) != 0)
		die("standard input");
}

static void make_slots(const char *n)
{
	struct rlimit limit;

	nslots = atoi(n);
	clients = calloc((size_t)nslots, sizeof(*clients));
	sessions = calloc((size_t)nslots, sizeof(SSL_SESSION *));
	if (clients == NULL || sessions == NULL)
		die("memory");
	for (int i = 0; i < nslots; i++)
		clients[i].fd = -1;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int usage(void)
{
	fprintf(stderr, "usage: connects [-p PASSWORD] [-c CA] [-f FULL] PORT RATE IN_FLIGHT\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *ca = NULL;
	int64_t began;
	int option;

	while ((option = getopt(argc, argv, "p:c:f:")) != -1) {
		switch (option) {
		case 'p':
			password = optarg;
			break;
		case 'c':
			ca = optarg;
			break;
		case 'f':
			full = atoi(optarg);
			break;
		default:
			return usage();
		}
	}
	if (argc - optind != 3)
		return usage();
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[optind])),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	rate = atoi(argv[optind + 1]);
	make_slots(argv[optind + 2]);
	if (ca != NULL)
		make_context(ca);
	/* OpenSSL writes to whoever has left. */
	signal(SIGPIPE, SIG_IGN);
	setlinebuf(stdout);
	watch_input();
	began = now_us();
	do
		rate > 0 ? start_due() : start_all();
	while (!take_turn());
	epoll_ctl(events, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
	while (nclients > 0)
		take_turn();
	print_result(now_us() - began);
	return 0;
}
