/*
 * Both ends of a pooler, for measuring what stands between them: clients that ask over TCP, and a server on a Unix
 * socket that answers every query with the same row. One thread does far less work for a transaction than pgbench and
 * PostgreSQL do, so that the pooler is what has to wait for nobody.
 *
 * usage: load -S SOCKET [-p PORT -c CLIENTS -m simple|extended|prepared -s SECONDS -w WARMUP -r RATE -P PID -T]
 *
 *   -r RATE   so many queries a second at moments given by chance, instead of one after the other from each client
 *   -P PID    the process whose CPU time is told, of the measured seconds alone
 *   -T        the clients come in TLS, and believe any certificate
 *
 * Without a port it only serves, until standard input ends. Prints {"phase": "ready"} once it listens, and a line with
 * what was measured (print_result()) at the end. The exit status is 1 when anything went wrong.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define PATIENCE (60 * SECOND) /* with one login */
#define EVENTS_MAX 256
#define DUE_MAX (1 << 16) /* queries that no client was free for */

enum kind { INPUT, LISTENER, SERVER, CLIENT };
enum mode { SIMPLE, EXTENDED, PREPARED };

struct connection {
	enum kind kind;
	int fd;
	bool is_open;     /* SERVER: its startup packet has come; CLIENT: it is logged in */
	bool is_prepared; /* CLIENT: its statement has been parsed */
	int64_t since;    /* CLIENT: when its query was sent, or should have been */
	SSL *tls;
	size_t have;
	uint8_t in[4096];
};

/* Messages made once and sent many times. */
struct bytes {
	size_t n;
	uint8_t at[1024];
};

static struct bytes startup, simple, extended, parse_named, execute_named;
static struct bytes welcome, row_description, parameter_description, row, ready;

static enum mode mode;
static int port, nclients, loop, nopen;
static double rate;
static bool is_running, is_input_open = true;
static SSL_CTX *context;
static uint64_t transactions;

/* Clients without a query, and queries without a client, at a fixed rate. */
static struct connection **resting; /* a ring, so that each has its turn */
static unsigned resting_first, resting_end;
static int64_t due[DUE_MAX];
static unsigned due_first, due_end;
static int64_t next_due;

/*
 * A histogram of times in nanoseconds: 128 steps to a power of two.
 */

#define STEP_BITS 7
static uint64_t histogram[64 << STEP_BITS];

static void note_time(int64_t ns)
{
	uint64_t v = ns > 0 ? (uint64_t)ns : 1;
	unsigned top = 63 - (unsigned)__builtin_clzll(v);
	uint64_t step = top >= STEP_BITS ? v >> (top - STEP_BITS) : v << (STEP_BITS - top);

	histogram[(top << STEP_BITS) + (step & ((1 << STEP_BITS) - 1))]++;
}

/* In microseconds. */
static double quantile(double q)
{
	uint64_t all = 0, below = 0;

	for (size_t i = 0; i < sizeof(histogram) / sizeof(histogram[0]); i++)
		all += histogram[i];
	for (size_t i = 0; i < sizeof(histogram) / sizeof(histogram[0]); i++) {
		below += histogram[i];
		if (all > 0 && (double)below >= q * (double)all) {
			double step = (double)(i & ((1 << STEP_BITS) - 1)) / (1 << STEP_BITS);

			return ldexp(1 + step, (int)(i >> STEP_BITS)) / 1e3;
		}
	}
	return 0;
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
	exit(1);
}

/* What the scheduler has counted for a process, in nanoseconds. */
static int64_t cpu_of(int pid)
{
	char path[64];
	int64_t ns = 0;

	if (pid == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	FILE *f = fopen(path, "r");
	if (f == NULL || fscanf(f, "%" SCNd64, &ns) != 1)
		fail(path);
	fclose(f);
	return ns;
}

/*
 * Messages.
 */

static uint32_t number_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static void add_bytes(struct bytes *b, const void *p, size_t n)
{
	memcpy(b->at + b->n, p, n);
	b->n += n;
}

static void add_number(struct bytes *b, uint32_t v)
{
	v = htonl(v);
	add_bytes(b, &v, sizeof(v));
}

static void add_message(struct bytes *b, char type, const void *body, size_t n)
{
	add_bytes(b, &type, 1);
	add_number(b, (uint32_t)n + 4);
	add_bytes(b, body, n);
}

/* A text and the zero behind it, which the compiler knows. */
#define ADD(b, type, text) add_message(b, type, text, sizeof(text) - 1)

static void add_parameter(const char *name, const char *value)
{
	struct bytes body = {0};

	add_bytes(&body, name, strlen(name) + 1);
	add_bytes(&body, value, strlen(value) + 1);
	add_message(&welcome, 'S', body.at, body.n);
}

/* What follows a Bind. */
static void add_execution(struct bytes *b)
{
	ADD(b, 'D', "P\0");
	ADD(b, 'E', "\0\0\0\0\0");
	ADD(b, 'S', "");
}

static void make_client_messages(void)
{
	static const char who[] = "\0\3\0\0user\0app\0database\0app\0";

	add_number(&startup, sizeof(who) + 4);
	add_bytes(&startup, who, sizeof(who));

	ADD(&simple, 'Q', "SELECT abalance FROM pgbench_accounts WHERE aid = 123456;\0");

	ADD(&extended, 'P', "\0SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0\0\0");
	ADD(&extended, 'B', "\0\0\0\0\0\1\0\0\0\6" "123456\0\1\0\0");
	ADD(&parse_named, 'P', "P_0\0SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0\0\0");
	ADD(&parse_named, 'S', "");
	ADD(&execute_named, 'B', "\0P_0\0\0\0\0\1\0\0\0\6" "123456\0\1\0\0");
	add_execution(&extended);
	add_execution(&execute_named);
}

static void make_server_messages(void)
{
	/* It keeps no parameters. pgbench finds its own name here, as behind PostgreSQL from its second login on. */
	static const char *const parameters[][2] = {
		{"server_version", "15.0"}, {"server_encoding", "UTF8"}, {"client_encoding", "UTF8"},
		{"DateStyle", "ISO, MDY"}, {"TimeZone", "UTC"}, {"IntervalStyle", "postgres"},
		{"integer_datetimes", "on"}, {"standard_conforming_strings", "on"}, {"is_superuser", "on"},
		{"session_authorization", "app"}, {"application_name", "pgbench"}, {"default_transaction_read_only", "off"},
		{"in_hot_standby", "off"}};

	ADD(&row_description, 'T', "\0\1abalance\0\0\0\x40\n\0\3\0\0\0\x17\0\4\xff\xff\xff\xff\0\0");
	ADD(&parameter_description, 't', "\0\1\0\0\0\x17");
	ADD(&row, 'D', "\0\1\0\0\0\1" "1");
	ADD(&row, 'C', "SELECT 1\0");
	ADD(&ready, 'Z', "I");
	ADD(&welcome, 'R', "\0\0\0\0");
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		add_parameter(parameters[i][0], parameters[i][1]);
	ADD(&welcome, 'K', "\0\0\0\7\0\0\0\7");
	add_bytes(&welcome, ready.at, ready.n);
}

/*
 * Connections.
 */

static struct connection *watch(int fd, enum kind kind)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

	if (c == NULL || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
	c->kind = kind;
	c->fd = fd;
	return c;
}

static void close_connection(struct connection *c)
{
	SSL_free(c->tls);
	close(c->fd);
	free(c);
}

/* All of it: what is under way at a time is less than a socket's buffer. */
static void put(struct connection *c, const void *p, size_t n)
{
	bool done = c->tls != NULL ? SSL_write(c->tls, p, (int)n) == (int)n :
				     send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;

	if (!done && c->kind == CLIENT)
		fail("send");
}

/* As recv(): 0 at the end, -1 when there is nothing for now. */
static ssize_t take(struct connection *c)
{
	void *to = c->in + c->have;
	size_t room = sizeof(c->in) - c->have;

	if (c->tls == NULL)
		return recv(c->fd, to, room, MSG_DONTWAIT);
	int n = SSL_read(c->tls, to, (int)room);
	if (n > 0)
		return n;
	errno = EAGAIN;
	return SSL_get_error(c->tls, n) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static void begin_tls(struct connection *c)
{
	static const uint8_t request[] = {0, 0, 0, 8, 4, 210, 22, 47};
	char answer = 0;

	put(c, request, sizeof(request));
	if (recv(c->fd, &answer, 1, 0) != 1 || answer != 'S')
		fail("TLS was refused");
	SSL *tls = SSL_new(context);
	if (tls == NULL || SSL_set_fd(tls, c->fd) != 1 || SSL_connect(tls) != 1)
		fail("TLS handshake");
	c->tls = tls;
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

/*
 * The server's end.
 */

static void answer_message(char type, const uint8_t *body, struct bytes *out)
{
	switch (type) {
	case 'Q':
		add_bytes(out, row_description.at, row_description.n);
		add_bytes(out, row.at, row.n);
		add_bytes(out, ready.at, ready.n);
		break;
	case 'P':
		ADD(out, '1', "");
		break;
	case 'B':
		ADD(out, '2', "");
		break;
	case 'C':
		ADD(out, '3', "");
		break;
	case 'D':
		if (*body == 'S')
			add_bytes(out, parameter_description.at, parameter_description.n);
		add_bytes(out, row_description.at, row_description.n);
		break;
	case 'E':
		add_bytes(out, row.at, row.n);
		break;
	case 'S':
		add_bytes(out, ready.at, ready.n);
		break;
	}
}

/* The size of what was taken: 0 when it is not all here yet. */
static size_t answer_startup(struct connection *c)
{
	if (c->have < 8 || c->have < number_at(c->in))
		return 0;
	if (number_at(c->in + 4) >> 16 == 1234) {
		put(c, "N", 1);
	} else {
		c->is_open = true;
		put(c, welcome.at, welcome.n);
	}
	return number_at(c->in);
}

static size_t message_size(const struct connection *c, size_t at)
{
	size_t n = c->have - at < 5 ? 0 : number_at(c->in + at + 1) + 1;

	return n > c->have - at ? 0 : n;
}

static void forget(struct connection *c, size_t n)
{
	memmove(c->in, c->in + n, c->have - n);
	c->have -= n;
}

/* False when the peer says goodbye. */
static bool serve(struct connection *c)
{
	struct bytes out = {0};
	size_t at = c->is_open ? 0 : answer_startup(c), n;

	while (c->is_open && (n = message_size(c, at)) > 0) {
		if (c->in[at] == 'X')
			return false;
		answer_message((char)c->in[at], c->in + at + 5, &out);
		at += n;
		if (out.n > sizeof(out.at) / 2) {
			put(c, out.at, out.n);
			out.n = 0;
		}
	}
	if (out.n > 0)
		put(c, out.at, out.n);
	forget(c, at);
	return true;
}

/*
 * The clients' end.
 */

static void ask(struct connection *c, int64_t since)
{
	const struct bytes *b = c->is_prepared ? &execute_named : &parse_named;

	if (mode == SIMPLE)
		b = &simple;
	else if (mode == EXTENDED)
		b = &extended;
	c->is_prepared = true;
	c->since = since;
	put(c, b->at, b->n);
}

static int64_t pause_until_next(void)
{
	return (int64_t)(-log(1 - drand48()) / rate * SECOND);
}

/* Queries whose time has come, each from whoever has rested longest. One that finds nobody waits, and that counts. */
static void ask_what_is_due(void)
{
	for (int64_t t = now(); next_due <= t; next_due += pause_until_next()) {
		if (due_end - due_first == DUE_MAX) {
			errno = 0;
			fail("the pooler does not keep up with the rate");
		}
		due[due_end++ % DUE_MAX] = next_due;
	}
	while (resting_first != resting_end && due_first != due_end)
		ask(resting[resting_first++ % (unsigned)nclients], due[due_first++ % DUE_MAX]);
}

static void note_ready(struct connection *c)
{
	if (!c->is_open) {
		c->is_open = true;
		nopen++;
	} else {
		transactions++;
		note_time(now() - c->since);
	}
	if (!is_running)
		return;
	if (rate > 0)
		resting[resting_end++ % (unsigned)nclients] = c;
	else
		ask(c, now());
}

static void hear(struct connection *c)
{
	size_t at = 0, n;

	while ((n = message_size(c, at)) > 0) {
		if (c->in[at] == 'E') {
			fprintf(stderr, "load: the pooler says: ");
			for (size_t i = at + 5; i < at + n; i++)
				fputc(c->in[i] == 0 ? ' ' : c->in[i], stderr);
			fputc('\n', stderr);
			exit(1);
		}
		if (c->in[at] == 'Z')
			note_ready(c);
		at += n;
	}
	forget(c, at);
}

/*
 * The loop.
 */

static void accept_server(const struct connection *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		watch(fd, SERVER);
}

/* TLS may hold more than one read has room for. */
static void read_connection(struct connection *c)
{
	ssize_t n;

	do {
		n = take(c);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 && c->kind == CLIENT) {
			errno = 0;
			fail("the pooler closed a client's connection");
		}
		c->have += n > 0 ? (size_t)n : 0;
		if (c->kind == CLIENT) {
			hear(c);
		} else if (n <= 0 || !serve(c)) {
			close_connection(c);
			return;
		}
	} while (c->tls != NULL);
}

static void read_input(void)
{
	char bytes[64];

	if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
		is_input_open = false;
}

static void take_turn(int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(loop, events, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < n; i++) {
		struct connection *c = events[i].data.ptr;

		if (c->kind == INPUT)
			read_input();
		else if (c->kind == LISTENER)
			accept_server(c);
		else
			read_connection(c);
	}
}

/* At a fixed rate it never sleeps: the next query is due within microseconds. */
static void run_until(int64_t end)
{
	while (now() < end) {
		if (rate > 0)
			ask_what_is_due();
		take_turn(rate > 0 ? 0 : 100);
	}
}

/*
 * From beginning to end.
 */

static void start_serving(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0)
		fail(path);
	watch(fd, LISTENER);
	puts("{\"phase\": \"ready\"}");
}

static struct connection *log_in(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, before = nopen;
	int64_t end = now() + PATIENCE;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	struct connection *c = watch(fd, CLIENT);
	if (context != NULL)
		begin_tls(c);
	put(c, startup.at, startup.n);
	while (nopen == before) {
		take_turn(1000);
		errno = ETIMEDOUT;
		if (now() > end)
			fail("login");
	}
	return c;
}

static void start_asking(void)
{
	is_running = true;
	next_due = now();
	if (rate > 0)
		resting_end = (unsigned)nclients;
	else
		for (int i = 0; i < nclients; i++)
			ask(resting[i], now());
}

static void print_result(int64_t ns, int64_t cpu)
{
	printf("{\"phase\": \"done\", \"transactions\": %" PRIu64 ", \"seconds\": %.6f, \"cpu_seconds\": %.9f, "
	       "\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f}\n",
	       transactions, (double)ns / SECOND, (double)cpu / SECOND, quantile(0.5), quantile(0.99), quantile(0.999));
}

static void measure(double seconds, double warmup, int pid)
{
	resting = calloc((size_t)nclients, sizeof(*resting));
	if (resting == NULL)
		fail("calloc");
	for (int i = 0; i < nclients; i++)
		resting[i] = log_in();
	start_asking();
	run_until(now() + (int64_t)(warmup * SECOND));
	memset(histogram, 0, sizeof(histogram));
	transactions = 0;
	int64_t began = now(), cpu = cpu_of(pid);
	run_until(began + (int64_t)(seconds * SECOND));
	int64_t took = now() - began;
	print_result(took, cpu_of(pid) - cpu);
}

static enum mode mode_named(const char *name)
{
	static const char *const names[] = {"simple", "extended", "prepared"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return (enum mode)i;
	errno = EINVAL;
	fail(name);
	return SIMPLE;
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	double seconds = 5, warmup = 1;
	int option, pid = 0;

	while ((option = getopt(argc, argv, "S:p:c:m:s:w:r:P:T")) != -1) {
		switch (option) {
		case 'S': path = optarg; break;
		case 'p': port = atoi(optarg); break;
		case 'c': nclients = atoi(optarg); break;
		case 'm': mode = mode_named(optarg); break;
		case 's': seconds = atof(optarg); break;
		case 'w': warmup = atof(optarg); break;
		case 'r': rate = atof(optarg); break;
		case 'P': pid = atoi(optarg); break;
		case 'T': context = SSL_CTX_new(TLS_client_method()); break;
		default: return 2;
		}
	}
	if (path == NULL || (port != 0 && nclients < 1)) {
		fprintf(stderr, "usage: load -S SOCKET [-p PORT -c CLIENTS ...]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setlinebuf(stdout);
	loop = epoll_create1(EPOLL_CLOEXEC);
	make_client_messages();
	make_server_messages();
	start_serving(path);
	if (port != 0) {
		measure(seconds, warmup, pid);
		return 0;
	}
	watch(STDIN_FILENO, INPUT);
	while (is_input_open)
		take_turn(-1);
	return 0;
}
