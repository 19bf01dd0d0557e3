#include "control/auth_query.h"

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/sys.h"
#include "control/auth_query_answer.h"
#include "control/connection.h"

/* Clients choose the names of databases where there is a "*" entry: an unused source makes room for another. */
#define MAX_SOURCES 200

/* How long to believe that somebody may not log in. */
#define NEGATIVE_TTL_US CLOCK_SECOND

/* No name of a role is longer, and as much as a startup packet holds is not worth asking for. */
#define MAX_USER 1024

struct auth_query_ticket {
	TAILQ_ENTRY(auth_query_ticket) link;
	struct auth_queries *queries;
	struct question *question;
	auth_query_fn *fn;
	void *arg;
};

/* Waits in its source's queue or is the one being asked; with its answer it leaves the source and is told. */
struct question {
	TAILQ_ENTRY(question) link;      /* in the queue */
	UT_hash_handle hh;               /* among the source's questions */
	struct source *source;           /* NULL: being told */
	TAILQ_HEAD(, auth_query_ticket) tickets;
	bool is_stale;                   /* forgotten while it was asked */
	bool was_repeated;               /* after its connection broke */
	char user[];
};

/* An answer that is kept. */
struct kept {
	TAILQ_ENTRY(kept) link;          /* among all answers, most recently used first */
	UT_hash_handle hh;               /* among the source's */
	struct source *source;
	struct deadline deadline;
	bool is_found;
	char *secret;
	char user[];
};

TAILQ_HEAD(questions, question);
TAILQ_HEAD(kept_list, kept);

struct source {
	TAILQ_ENTRY(source) link;        /* most recently used first */
	struct auth_queries *queries;
	struct connection connection;
	struct deadline idle;
	size_t host, ntried;             /* to connect to; connections that failed since one succeeded */
	struct questions queue;
	struct question *asked;          /* by the connection */
	struct question *questions;      /* all, by user */
	struct kept *kept;               /* by user */
	struct auth_query_source is;     /* hosts and texts are in `room` */
	size_t nroom;
	void *room;
};

struct auth_queries {
	struct loop *loop;
	struct dns *dns;
	struct auth_query_options options;
	TAILQ_HEAD(source_list, source) sources;
	struct kept_list kept;
	size_t nsources, nwaiting, nkept;
};

/* Answers kept */

static void source_free_if_unused(struct source *s);

/* Of one that is in no list and no table. */
static void kept_forget(struct kept *k)
{
	sys_wipe_text(&k->secret);
	free(k);
}

static void kept_free(struct kept *k)
{
	struct auth_queries *q = k->source->queries;

	TAILQ_REMOVE(&q->kept, k, link);
	q->nkept--;
	HASH_DEL(k->source->kept, k);
	deadline_disarm(&k->deadline);
	kept_forget(k);
}

static void kept_drop(struct kept *k)
{
	struct source *s = k->source;

	kept_free(k);
	source_free_if_unused(s);
}

static void on_expired(struct deadline *d)
{
	kept_drop((struct kept *)(void *)((char *)d - offsetof(struct kept, deadline)));
}

/* In its source's table; NULL when out of memory. */
static struct kept *kept_new(struct source *s, const char *user, const struct auth_query_answer *answer)
{
	size_t n = strlen(user);
	struct kept *k = calloc(1, sizeof(*k) + n + 1);

	if (k == NULL)
		return NULL;
	memcpy(k->user, user, n);
	k->source = s;
	k->is_found = answer->result == AUTH_QUERY_FOUND;
	k->secret = answer->secret == NULL ? NULL : strdup(answer->secret);
	if (answer->secret == NULL || k->secret != NULL)
		HASH_ADD_KEYPTR(hh, s->kept, k->user, n, k);
	if (HASH_HAS(k))
		return k;
	kept_forget(k);
	return NULL;
}

static struct kept *find_kept(struct source *s, struct slice user)
{
	struct kept *k;

	HASH_FIND(hh, s->kept, user.p, user.n, k);
	return k;
}

/* Short of memory, an answer is not kept. */
static void source_keep(struct source *s, const char *user, const struct auth_query_answer *answer)
{
	struct auth_queries *q = s->queries;
	uint64_t ttl = q->options.ttl_us;
	struct kept *k;

	if (answer->secret == NULL && ttl > NEGATIVE_TTL_US)
		ttl = NEGATIVE_TTL_US;
	if (ttl == 0 || q->options.max_kept == 0 || answer->result == AUTH_QUERY_ERROR)
		return;
	k = kept_new(s, user, answer);
	if (k == NULL)
		return;
	TAILQ_INSERT_HEAD(&q->kept, k, link);
	deadline_arm(&k->deadline, deadline_list(q->loop, ttl, on_expired));
	if (++q->nkept > q->options.max_kept)
		kept_drop(TAILQ_LAST(&q->kept, kept_list));
}

/* The answer is a copy: whom it is told to may forget the kept one. */
static void kept_tell(struct kept *k, auth_query_fn *fn, void *arg)
{
	struct auth_query_answer answer = {k->is_found ? AUTH_QUERY_FOUND : AUTH_QUERY_NOT_FOUND, NULL, NULL, NULL};
	struct auth_queries *q = k->source->queries;
	char *secret = NULL;

	TAILQ_REMOVE(&q->kept, k, link);
	TAILQ_INSERT_HEAD(&q->kept, k, link);
	if (k->secret != NULL) {
		secret = strdup(k->secret);
		if (secret == NULL)
			answer = (struct auth_query_answer){.result = AUTH_QUERY_ERROR, .why = "out of memory"};
	}
	answer.secret = secret;
	fn(arg, &answer);
	sys_wipe_text(&secret);
}

/* Questions */

static void ticket_free(struct auth_query_ticket *t)
{
	TAILQ_REMOVE(&t->question->tickets, t, link);
	t->queries->nwaiting--;
	free(t);
}

static struct question *question_new(struct source *s, struct slice user)
{
	struct question *u = calloc(1, sizeof(*u) + user.n + 1);

	if (u == NULL)
		return NULL;
	memcpy(u->user, user.p, user.n);
	HASH_ADD_KEYPTR(hh, s->questions, u->user, user.n, u);
	if (!HASH_HAS(u)) {
		free(u);
		return NULL;
	}
	u->source = s;
	TAILQ_INIT(&u->tickets);
	TAILQ_INSERT_TAIL(&s->queue, u, link);
	return u;
}

static struct question *find_question(struct source *s, struct slice user)
{
	struct question *u;

	HASH_FIND(hh, s->questions, user.p, user.n, u);
	return u;
}

/* Of one that has left its source. The source may go while this lasts. */
static void question_tell(struct question *u, const struct auth_query_answer *answer)
{
	struct auth_query_ticket *t;

	while ((t = TAILQ_FIRST(&u->tickets)) != NULL) {
		auth_query_fn *fn = t->fn;
		void *arg = t->arg;

		ticket_free(t);
		fn(arg, answer);
	}
	free(u);
}

/* Nobody is told. */
static void question_free(struct question *u)
{
	struct auth_query_ticket *t;

	while ((t = TAILQ_FIRST(&u->tickets)) != NULL)
		ticket_free(t);
	free(u);
}

/* Sources */

static void source_open(struct source *s)
{
	const struct conf_host *host = &s->is.hosts[s->host];
	const struct connection_target target = {
		.host = host->host,
		.port = host->port,
		.dbname = s->is.dbname,
		.user = s->is.user,
		.password = s->is.secret_type == SECRET_PLAIN ? s->is.secret : NULL,
		.statement_timeout_us = s->queries->options.query_timeout_us,
		.tls = s->queries->options.tls,
	};

	connection_open(&s->connection, &target, s->queries->options.connect_timeout_us);
}

static void source_free(struct source *s)
{
	struct auth_queries *q = s->queries;
	struct question *u, *next;

	connection_close(&s->connection);
	deadline_disarm(&s->idle);
	HASH_ITER(hh, s->questions, u, next) {
		HASH_DEL(s->questions, u);
		question_free(u);
	}
	while (s->kept != NULL)
		kept_free(s->kept);
	TAILQ_REMOVE(&q->sources, s, link);
	q->nsources--;
	sys_wipe(s->room, s->nroom);
	free(s->room);
	free(s);
}

static void source_free_if_unused(struct source *s)
{
	if (s->questions == NULL && s->kept == NULL && s->connection.state == CONNECTION_CLOSED)
		source_free(s);
}

/* Nothing is asked. The source may be gone then. */
static void source_close(struct source *s)
{
	deadline_disarm(&s->idle);
	connection_close(&s->connection);
	source_free_if_unused(s);
}

static void on_idle_too_long(struct deadline *d)
{
	source_close((struct source *)(void *)((char *)d - offsetof(struct source, idle)));
}

static void source_ask(struct source *s)
{
	struct question *u = TAILQ_FIRST(&s->queue);
	const char *params[1] = {u->user};

	TAILQ_REMOVE(&s->queue, u, link);
	s->asked = u;
	connection_ask(&s->connection, s->is.query, params, 1, s->queries->options.query_timeout_us);
}

/* With an open connection: what waits is asked, or it idles. */
static void source_go_on(struct source *s)
{
	uint64_t idle_us = s->queries->options.idle_timeout_us;

	if (!TAILQ_EMPTY(&s->queue)) {
		deadline_disarm(&s->idle);
		source_ask(s);
		return;
	}
	deadline_arm(&s->idle, idle_us == 0 ? NULL : deadline_list(s->queries->loop, idle_us, on_idle_too_long));
}

/* The question is asked before all others. */
static void source_ask_again(struct source *s)
{
	s->asked->is_stale = false;
	TAILQ_INSERT_HEAD(&s->queue, s->asked, link);
	s->asked = NULL;
}

static void on_open(void *arg)
{
	struct source *s = arg;

	s->ntried = 0;
	source_go_on(s);
}

static void on_result(void *arg, const PGresult *result)
{
	struct source *s = arg;
	struct question *u = s->asked;
	struct auth_query_answer answer;
	char room[512];

	if (u->is_stale) {
		source_ask_again(s);
		source_go_on(s);
		return;
	}
	s->asked = NULL;
	HASH_DEL(s->questions, u);
	u->source = NULL;
	auth_query_read_answer(&answer, result, u->user, room, sizeof(room));
	source_keep(s, u->user, &answer);
	source_go_on(s);
	question_tell(u, &answer);
}

/* All questions leave the source, which is freed if nothing else is there. */
static void source_fail(struct source *s, const struct auth_query_answer *answer)
{
	struct questions failed = TAILQ_HEAD_INITIALIZER(failed);
	struct question *u;

	if (s->asked != NULL)
		source_ask_again(s);
	TAILQ_CONCAT(&failed, &s->queue, link);
	TAILQ_FOREACH (u, &failed, link)
		u->source = NULL;
	HASH_CLEAR(hh, s->questions);
	source_free_if_unused(s);
	while ((u = TAILQ_FIRST(&failed)) != NULL) {
		TAILQ_REMOVE(&failed, u, link);
		question_tell(u, answer);
	}
}

/* Whether it is worth trying before anybody is told. */
static bool source_tries_again(struct source *s, const struct connection_loss *loss)
{
	struct question *u = s->asked;

	if (s->questions == NULL)
		return false;
	if (u != NULL) {
		if (loss->timed_out || u->was_repeated)
			return false;
		u->was_repeated = true;
		source_ask_again(s);
		return true;
	}
	s->host = (s->host + 1) % s->is.nhosts;
	if (++s->ntried < s->is.nhosts)
		return true;
	s->ntried = 0;
	return false;
}

static const char *lacking(enum secret_type type)
{
	switch (type) {
	case SECRET_MD5:
		return "only an MD5 hash of it is known: libpq needs the password itself";
	case SECRET_SCRAM:
		return "only a SCRAM secret of it is known: libpq needs the password itself";
	default:
		return "none is known";
	}
}

static void on_lost(void *arg, const struct connection_loss *loss)
{
	struct source *s = arg;
	struct auth_query_answer answer = {AUTH_QUERY_ERROR, NULL, loss->sqlstate, loss->text};
	char room[256];

	deadline_disarm(&s->idle);
	if (source_tries_again(s, loss)) {
		source_open(s);
		return;
	}
	if (loss->needs_password) {
		snprintf(room, sizeof(room), "the server asks for the password of auth_user \"%.63s\", and %s",
			 s->is.user, lacking(s->is.secret_type));
		answer.why = room;
	}
	source_fail(s, &answer);
}

static const struct connection_ops connection_ops = {
	.on_open = on_open,
	.on_result = on_result,
	.on_lost = on_lost,
};

static struct source *find_source(struct auth_queries *q, const struct auth_query_source *is)
{
	struct source *s;

	TAILQ_FOREACH (s, &q->sources, link)
		if (auth_query_source_eq(&s->is, is))
			return s;
	return NULL;
}

/* False when all that there may be have questions. */
static bool make_room_for_source(struct auth_queries *q)
{
	struct source *s;

	if (q->nsources < MAX_SOURCES)
		return true;
	TAILQ_FOREACH_REVERSE (s, &q->sources, source_list, link) {
		if (s->questions != NULL)
			continue;
		source_free(s);
		return true;
	}
	return false;
}

static struct source *source_new(struct auth_queries *q, const struct auth_query_source *is)
{
	struct source *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->room = auth_query_source_copy(&s->is, is, &s->nroom);
	if (s->room == NULL) {
		free(s);
		return NULL;
	}
	s->queries = q;
	TAILQ_INIT(&s->queue);
	connection_init(&s->connection, q->loop, q->dns, &connection_ops, s);
	TAILQ_INSERT_HEAD(&q->sources, s, link);
	q->nsources++;
	return s;
}

/* The source, made if need be, as the one last used; NULL: *why says why not. */
static struct source *use_source(struct auth_queries *q, const struct auth_query_source *is, const char **why)
{
	struct source *s = find_source(q, is);

	if (s != NULL) {
		TAILQ_REMOVE(&q->sources, s, link);
		TAILQ_INSERT_HEAD(&q->sources, s, link);
		return s;
	}
	if (!make_room_for_source(q)) {
		*why = "auth_query is being asked in too many databases";
		return NULL;
	}
	*why = "out of memory";
	return source_new(q, is);
}

/* All of them */

struct auth_queries *auth_queries_new(struct loop *loop, struct dns *dns, const struct auth_query_options *options)
{
	struct auth_queries *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->loop = loop;
	q->dns = dns;
	q->options = *options;
	TAILQ_INIT(&q->sources);
	TAILQ_INIT(&q->kept);
	return q;
}

void auth_queries_free(struct auth_queries *q)
{
	struct source *s;

	if (q == NULL)
		return;
	while ((s = TAILQ_FIRST(&q->sources)) != NULL)
		source_free(s);
	free(q);
}

void auth_queries_configure(struct auth_queries *q, const struct auth_query_options *options)
{
	bool is_ttl_new = q->options.ttl_us != options->ttl_us;

	q->options = *options;
	if (is_ttl_new)
		auth_queries_forget_all(q);
}

/* NULL when out of memory: nothing has changed then. */
static struct auth_query_ticket *join_question(struct source *s, struct slice user, auth_query_fn *fn, void *arg)
{
	struct auth_query_ticket *t = calloc(1, sizeof(*t));
	struct question *u = t == NULL ? NULL : find_question(s, user);

	if (t != NULL && u == NULL)
		u = question_new(s, user);
	if (u == NULL) {
		free(t);
		return NULL;
	}
	*t = (struct auth_query_ticket){.queries = s->queries, .question = u, .fn = fn, .arg = arg};
	TAILQ_INSERT_TAIL(&u->tickets, t, link);
	s->queries->nwaiting++;
	return t;
}

/* Something has been put into the queue. */
static void source_wake(struct source *s)
{
	if (s->connection.state == CONNECTION_CLOSED)
		source_open(s);
	else if (s->connection.state == CONNECTION_IDLE && s->asked == NULL)
		source_go_on(s);
}

static struct auth_query_ticket *answer_error(auth_query_fn *fn, void *arg, const char *why)
{
	fn(arg, &(struct auth_query_answer){.result = AUTH_QUERY_ERROR, .why = why});
	return NULL;
}

struct auth_query_ticket *auth_query_ask(struct auth_queries *q, const struct auth_query_source *is,
					 struct slice user, auth_query_fn *fn, void *arg)
{
	const char *why = "";
	struct auth_query_ticket *t;
	struct source *s;
	struct kept *k;

	if (user.n == 0 || user.n > MAX_USER || memchr(user.p, '\0', user.n) != NULL) {
		fn(arg, &(struct auth_query_answer){.result = AUTH_QUERY_NOT_FOUND, .why = "not a name to ask for"});
		return NULL;
	}
	s = use_source(q, is, &why);
	if (s == NULL)
		return answer_error(fn, arg, why);
	k = find_kept(s, user);
	if (k != NULL) {
		kept_tell(k, fn, arg);
		return NULL;
	}
	if (q->nwaiting >= q->options.max_waiting) {
		source_free_if_unused(s);
		return answer_error(fn, arg, "too many logins wait for auth_query");
	}
	t = join_question(s, user, fn, arg);
	if (t == NULL) {
		source_free_if_unused(s);
		return answer_error(fn, arg, "out of memory");
	}
	source_wake(s);
	return t;
}

void auth_query_cancel(struct auth_query_ticket *t)
{
	struct question *u = t->question;
	struct source *s = u->source;

	ticket_free(t);
	if (!TAILQ_EMPTY(&u->tickets) || s == NULL || s->asked == u)
		return;
	TAILQ_REMOVE(&s->queue, u, link);
	HASH_DEL(s->questions, u);
	free(u);
}

void auth_queries_close_idle(struct auth_queries *q)
{
	struct source *s, *next;

	TAILQ_FOREACH_SAFE (s, &q->sources, link, next)
		if (s->questions == NULL && s->connection.state != CONNECTION_CLOSED)
			source_close(s);
}

void auth_query_forget(struct auth_queries *q, const struct auth_query_source *is, struct slice user)
{
	struct source *s = find_source(q, is);
	struct kept *k = s == NULL ? NULL : find_kept(s, user);

	if (s == NULL)
		return;
	if (s->asked != NULL && s->asked == find_question(s, user))
		s->asked->is_stale = true;
	if (k != NULL)
		kept_drop(k);
}

void auth_queries_forget_all(struct auth_queries *q)
{
	struct source *s;
	struct kept *k;

	TAILQ_FOREACH (s, &q->sources, link)
		if (s->asked != NULL)
			s->asked->is_stale = true;
	while ((k = TAILQ_FIRST(&q->kept)) != NULL)
		kept_drop(k);
}
