#include "control/connection.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/sys.h"

/* More addresses of one host are not tried. */
#define MAX_ADDRESSES 8

/* There is no such file, and libpq says nothing about it. */
#define NO_FILE "/dev/null/none"

void connection_init(struct connection *c, struct loop *loop, struct dns *dns, const struct connection_ops *ops,
		     void *arg)
{
	*c = (struct connection){.loop = loop, .dns = dns, .ops = ops, .arg = arg};
}

static void clear_result(PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++)
		for (int column = 0; column < PQnfields(result); column++)
			sys_wipe(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
	PQclear(result);
}

void connection_close(struct connection *c)
{
	if (c->state == CONNECTION_CLOSED)
		return;
	c->state = CONNECTION_CLOSED;
	ev_io_stop(c->loop->ev, &c->io);
	ev_timer_stop(c->loop->ev, &c->soon);
	deadline_disarm(&c->deadline);
	dns_cancel(&c->waiter);
	clear_result(c->result);
	c->result = NULL;
	PQfinish(c->pq);
	c->pq = NULL;
}

static void lose(struct connection *c, const struct connection_loss *loss)
{
	connection_close(c);
	c->ops->on_lost(c->arg, loss);
}

/*
 * "...: FATAL:  28P01: the text": the state is cut out of the line, which
 * begins at `line`, into `state`.
 */
static bool cut_sqlstate(char *line, char state[6])
{
	static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (char *p = line; (p = strstr(p, ":  ")) != NULL; p += 3) {
		if (strspn(p + 3, letters) != 5 || p[8] != ':' || p[9] != ' ')
			continue;
		memcpy(state, p + 3, 5);
		state[5] = '\0';
		memmove(p + 2, p + 9, strlen(p + 9) + 1);
		return true;
	}
	return false;
}

/*
 * libpq reports every address it has tried, on several lines each. What
 * happened at the last one says it.
 */
static const char *last_report(const char *message)
{
	const char *report = message, *p = message;

	while ((p = strstr(p, "\nconnection to server ")) != NULL)
		report = ++p;
	return report;
}

static void lose_with(struct connection *c, const char *message, const char *sqlstate)
{
	struct connection_loss loss = {.sqlstate = sqlstate, .needs_password = PQconnectionNeedsPassword(c->pq)};
	char text[512], state[6];

	snprintf(text, sizeof(text), "%s", last_report(message));
	text[strcspn(text, "\n")] = '\0';
	if (cut_sqlstate(text, state))
		loss.sqlstate = state;
	loss.text = text[0] != '\0' ? text : "out of memory";
	lose(c, &loss);
}

/* The server may have said why before it went. */
static void lose_broken(struct connection *c)
{
	const char *said = PQresultErrorField(c->result, PG_DIAG_MESSAGE_PRIMARY);
	const char *field = PQresultErrorField(c->result, PG_DIAG_SQLSTATE);
	char text[512], state[6];

	if (said == NULL) {
		lose_with(c, PQerrorMessage(c->pq), NULL);
		return;
	}
	snprintf(text, sizeof(text), "%s", said);
	snprintf(state, sizeof(state), "%s", field != NULL ? field : "");
	lose_with(c, text, field != NULL ? state : NULL);
}

static void on_deadline(struct deadline *d)
{
	struct connection *c = (struct connection *)(void *)((char *)d - offsetof(struct connection, deadline));
	struct connection_loss loss = {.timed_out = true};

	if (c->state == CONNECTION_RESOLVING)
		loss.text = "the name of the host was not found in time";
	else if (c->state == CONNECTION_CONNECTING)
		loss.text = "the server did not let us in in time";
	else
		loss.text = "the server did not answer in time";
	lose(c, &loss);
}

static void arm(struct connection *c, uint64_t timeout_us)
{
	deadline_arm(&c->deadline,
		     timeout_us == 0 ? NULL : deadline_list(c->loop, timeout_us, on_deadline));
}

static void on_io(EV_P_ ev_io *io, int events);

/* Of one that was stopped the socket may be another by now, under the same number even. */
static void watch(struct connection *c, int events)
{
	if (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(c->loop->ev, &c->io);
	ev_io_init(&c->io, on_io, PQsocket(c->pq), events);
	c->io.data = c;
	ev_io_start(c->loop->ev, &c->io);
}

static void become_idle(struct connection *c)
{
	c->state = CONNECTION_IDLE;
	deadline_disarm(&c->deadline);
	watch(c, EV_READ);
}

static void on_connected(struct connection *c)
{
	if (PQsetnonblocking(c->pq, 1) != 0) {
		lose_broken(c);
		return;
	}
	become_idle(c);
	c->ops->on_open(c->arg);
}

static void go_on_connecting(struct connection *c)
{
	ev_io_stop(c->loop->ev, &c->io);
	switch (PQconnectPoll(c->pq)) {
	case PGRES_POLLING_READING:
		watch(c, EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		watch(c, EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		on_connected(c);
		break;
	default:
		lose_broken(c);
	}
}

/* Whole answers with COPY would have to be read; nobody here asks for one. */
static bool is_copy(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH;
}

static void finish_question(struct connection *c)
{
	PGresult *result = c->result;

	if (PQtransactionStatus(c->pq) != PQTRANS_IDLE) {
		lose(c, &(struct connection_loss){.text = "the query left a transaction open"});
		return;
	}
	c->result = NULL;
	become_idle(c);
	c->ops->on_result(c->arg, result);
	clear_result(result);
}

/* Of several results the last one counts, but an error is followed by none. */
static void take_results(struct connection *c)
{
	while (!PQisBusy(c->pq)) {
		PGresult *result = PQgetResult(c->pq);

		if (result == NULL) {
			finish_question(c);
			return;
		}
		clear_result(c->result);
		c->result = result;
		if (is_copy(result)) {
			lose(c, &(struct connection_loss){.text = "the query is a COPY"});
			return;
		}
		if (PQstatus(c->pq) == CONNECTION_BAD) {
			lose_broken(c);
			return;
		}
	}
}

static void go_on_asking(struct connection *c)
{
	int unsent;

	if (!PQconsumeInput(c->pq) || (unsent = PQflush(c->pq)) < 0) {
		lose_broken(c);
		return;
	}
	watch(c, unsent ? EV_READ | EV_WRITE : EV_READ);
	take_results(c);
}

/* Nothing was asked: parameters and notifications are read and forgotten; usually it is the end. */
static void read_unasked(struct connection *c)
{
	PGnotify *n;

	if (!PQconsumeInput(c->pq)) {
		lose_broken(c);
		return;
	}
	while ((n = PQnotifies(c->pq)) != NULL)
		PQfreemem(n);
}

static void on_io(EV_P_ ev_io *io, int events)
{
	struct connection *c = io->data;

	(void)loop;
	(void)events;
	if (c->state == CONNECTION_CONNECTING)
		go_on_connecting(c);
	else if (c->state == CONNECTION_ASKING)
		go_on_asking(c);
	else
		read_unasked(c);
}

/* It could show what a query looked up. */
static void ignore_notice(void *arg, const PGresult *notice)
{
	(void)arg;
	(void)notice;
}

/* libpq takes some from there that no keyword overrules, such as PGSERVICE, and empty keywords give way to others. */
static void clear_environment(void)
{
	char **e = environ, name[64];

	if (e == NULL)
		return;
	while (*e != NULL) {
		size_t n = strcspn(*e, "=");

		if (strncmp(*e, "PG", 2) != 0 || strncmp(*e, "PGSLUICE", 8) == 0 || n >= sizeof(name)) {
			e++;
			continue;
		}
		memcpy(name, *e, n);
		name[n] = '\0';
		unsetenv(name);
	}
}

static void print_options(char *options, size_t n, uint64_t statement_timeout_us)
{
	uint64_t ms = (statement_timeout_us + 999) / 1000;

	/* The server takes no more. */
	if (ms > INT32_MAX)
		ms = INT32_MAX;
	if (ms > 0)
		snprintf(options, n, "-c search_path= -c statement_timeout=%dms", (int)ms);
	else
		snprintf(options, n, "-c search_path=");
}

/* Without one of its own, libpq would look in the home directory. */
static const char *file_of(const char *file)
{
	return file == NULL || file[0] == '\0' ? NO_FILE : file;
}

/*
 * A host name goes along with each address; Unix sockets have none. The texts
 * are NULL when there is nothing to say.
 */
static void start(struct connection *c, const char *hosts, const char *addresses)
{
	const struct connection_target *t = &c->target;
	char port[16], options[80];
	const char *settings[][2] = {
		{"host", hosts},
		{"hostaddr", addresses},
		{"port", port},
		{"dbname", t->dbname},
		{"user", t->user},
		{"password", t->password},
		{"passfile", NO_FILE},
		{"options", options},
		{"application_name", "pgsluice"},
		{"client_encoding", "UTF8"},
		{"sslmode", t->tls.sslmode == NULL ? "disable" : t->tls.sslmode},
		{"sslrootcert", file_of(t->tls.ca_file)},
		{"sslcert", file_of(t->tls.cert_file)},
		{"sslkey", file_of(t->tls.key_file)},
		{"gssencmode", "disable"},
		{"target_session_attrs", "any"},
		/* A server could have us talk to a Kerberos server, which blocks; older libraries cannot refuse. */
		{PQlibVersion() >= 160000 ? "require_auth" : NULL, "!gss,!sspi"},
	};
	const char *keywords[sizeof(settings) / sizeof(settings[0]) + 1] = {NULL};
	const char *values[sizeof(settings) / sizeof(settings[0]) + 1] = {NULL};

	snprintf(port, sizeof(port), "%d", t->port);
	print_options(options, sizeof(options), t->statement_timeout_us);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		keywords[i] = settings[i][0];
		values[i] = settings[i][1];
	}
	clear_environment();
	c->state = CONNECTION_CONNECTING;
	c->pq = PQconnectStartParams(keywords, values, 0);
	if (c->pq == NULL || PQstatus(c->pq) == CONNECTION_BAD) {
		lose_broken(c);
		return;
	}
	PQsetNoticeReceiver(c->pq, ignore_notice, NULL);
	PQsetErrorVerbosity(c->pq, PQERRORS_VERBOSE);
	watch(c, EV_WRITE);
}

/* Adds "host," and "address,". */
static void add_address(struct strbuf *hosts, struct strbuf *addresses, const char *host,
			const struct addr_any *a)
{
	char text[INET6_ADDRSTRLEN];
	const void *binary = a->u.sa.sa_family == AF_INET6 ? (const void *)&a->u.in6.sin6_addr :
							     (const void *)&a->u.in.sin_addr;
	const char *separator = hosts->n > 0 ? "," : "";

	if (inet_ntop(a->u.sa.sa_family, binary, text, sizeof(text)) == NULL)
		return;
	strbuf_addf(hosts, "%s%s", separator, host);
	strbuf_addf(addresses, "%s%s", separator, text);
}

static void on_resolved(void *arg, const struct addr_any *list, size_t n, const char *error)
{
	struct connection *c = arg;
	struct strbuf hosts, addresses;
	char text[320];

	c->waiter = NULL;
	if (n == 0) {
		snprintf(text, sizeof(text), "cannot find host \"%s\": %s", c->target.host, error);
		lose(c, &(struct connection_loss){.text = text});
		return;
	}
	strbuf_init(&hosts);
	strbuf_init(&addresses);
	for (size_t i = 0; i < n && i < MAX_ADDRESSES; i++)
		add_address(&hosts, &addresses, c->target.host, &list[i]);
	if (hosts.failed || addresses.failed || hosts.n == 0)
		lose(c, &(struct connection_loss){.text = "out of memory"});
	else
		start(c, hosts.p, addresses.p);
	strbuf_fini(&hosts);
	strbuf_fini(&addresses);
}

static void resolve(struct connection *c)
{
	struct dns_waiter *waiter;

	if (c->target.host[0] == '/' || c->target.host[0] == '@') {
		start(c, c->target.host, NULL);
		return;
	}
	c->state = CONNECTION_RESOLVING;
	waiter = dns_resolve(c->dns, c->target.host, on_resolved, c);
	/* Answered at once: on_resolved() has gone on already, and the connection may be gone. */
	if (waiter != NULL)
		c->waiter = waiter;
}

/* What a call has begun goes on here, so that it never calls back. */
static void on_soon(EV_P_ ev_timer *timer, int events)
{
	struct connection *c = timer->data;

	(void)loop;
	(void)events;
	if (c->state == CONNECTION_STARTING)
		resolve(c);
	else
		lose_broken(c);
}

static void go_on_soon(struct connection *c)
{
	ev_timer_init(&c->soon, on_soon, 0., 0.);
	c->soon.data = c;
	ev_timer_start(c->loop->ev, &c->soon);
}

void connection_open(struct connection *c, const struct connection_target *target, uint64_t timeout_us)
{
	c->target = *target;
	c->state = CONNECTION_STARTING;
	arm(c, timeout_us);
	go_on_soon(c);
}

void connection_ask(struct connection *c, const char *sql, const char *const *params, int nparams,
		    uint64_t timeout_us)
{
	int unsent;

	c->state = CONNECTION_ASKING;
	arm(c, timeout_us);
	if (!PQsendQueryParams(c->pq, sql, nparams, NULL, params, NULL, NULL, 0) ||
	    (unsent = PQflush(c->pq)) < 0) {
		ev_io_stop(c->loop->ev, &c->io);
		go_on_soon(c);
		return;
	}
	watch(c, unsent ? EV_READ | EV_WRITE : EV_READ);
}
