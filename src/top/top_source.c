#include "top/top_source.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "top/top_text.h"

/* A peer that has not said a word for so long is taken for gone. */
#define SILENCE_US (10 * CLOCK_SECOND)

enum need { ALWAYS, IF_THERE, FOR_VIEW, PROBED };

static const struct {
	const char *sql;
	enum need need;
} questions[TOP_NQUESTIONS] = {
#define X(symbol, need) [TOP_##symbol] = {"SHOW " #symbol, need},
	TOP_QUESTIONS(X)
#undef X
};

void top_source_init(struct top_source *s, const struct top_target *target)
{
	*s = (struct top_source){.target = target};
}

static void hang_up(struct top_source *s)
{
	PQfinish(s->pq);
	s->pq = NULL;
	s->link = TOP_DOWN;
	top_reading_clear(&s->reading);
}

void top_source_fini(struct top_source *s)
{
	hang_up(s);
}

/* libpq reports each address it has tried, in several lines: the first of the last one says what happened. */
static void note_why(struct top_source *s, const char *message)
{
	const char *report = message, *next = message;
	char one[512];
	struct strbuf why;

	while ((next = strstr(next, "\nconnection to server ")) != NULL)
		report = ++next;
	snprintf(one, sizeof(one), "%.*s", (int)strcspn(report, "\n"), report);
	strbuf_init_fixed(&why, s->why, sizeof(s->why));
	top_text_put(&why, one[0] != '\0' ? one : "out of memory");
}

static enum top_event lose(struct top_source *s, const char *message)
{
	note_why(s, message);
	s->needs_password = PQconnectionNeedsPassword(s->pq);
	hang_up(s);
	return TOP_LOST;
}

static void step(struct top_source *s)
{
	clock_turn();
	s->since_us = clock_us();
}

/* --- Connecting --- */

static bool names_database(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	bool found = false;

	/* Not a connection string: a name, or one that PQconnectStartParams() refuses, with a reason. */
	if (options == NULL)
		return true;
	for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, "dbname") == 0 && o->val != NULL)
			found = true;
	PQconninfoFree(options);
	return found;
}

/* Later ones hold over earlier ones, if they have a value. Of several dbnames the first is expanded. */
static PGconn *dial(const struct top_target *t)
{
	const char *database = t->database != NULL && t->database[0] != '\0' ? t->database : TOP_CONSOLE;
	const char *const keywords[] = {"dbname", "host", "port", "user", "password", "dbname",
					"fallback_application_name", NULL};
	const char *const values[] = {database, t->host, t->port, t->user, t->password,
				      names_database(database) ? NULL : TOP_CONSOLE, "pgsluice top", NULL};

	return PQconnectStartParams(keywords, values, 1);
}

/* libpq would write them over the screen. */
static void drop_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static enum top_event begin_connecting(struct top_source *s)
{
	memset(s->known, 0, sizeof(s->known));
	s->pq = dial(s->target);
	if (s->pq == NULL || PQstatus(s->pq) == CONNECTION_BAD)
		return lose(s, PQerrorMessage(s->pq));
	PQsetNoticeProcessor(s->pq, drop_notice, NULL);
	s->link = TOP_CONNECTING;
	s->is_sending = true;
	return TOP_NOTHING;
}

/* --- Asking --- */

static bool is_asked(const struct top_source *s, enum top_question q)
{
	if (s->known[q] == TOP_MISSING)
		return false;
	if (questions[q].need == FOR_VIEW)
		return q == s->view;
	if (questions[q].need == PROBED)
		return q == s->view || s->known[q] == TOP_UNKNOWN;
	return true;
}

static enum top_event flush(struct top_source *s)
{
	int left = PQflush(s->pq);

	if (left < 0)
		return lose(s, PQerrorMessage(s->pq));
	s->is_sending = left > 0;
	return TOP_NOTHING;
}

/* The first question from q on that is to be asked. */
static enum top_event ask_from(struct top_source *s, enum top_question q)
{
	while (q < TOP_NQUESTIONS && !is_asked(s, q))
		q++;
	if (q == TOP_NQUESTIONS) {
		s->link = TOP_IDLE;
		return TOP_READ;
	}
	s->asking = q;
	s->link = TOP_ASKING;
	if (PQsendQuery(s->pq, questions[q].sql) == 0)
		return lose(s, PQerrorMessage(s->pq));
	return flush(s);
}

static enum top_event go_on_connecting(struct top_source *s)
{
	step(s);
	switch (PQconnectPoll(s->pq)) {
	case PGRES_POLLING_READING:
		s->is_sending = false;
		return TOP_NOTHING;
	case PGRES_POLLING_WRITING:
		s->is_sending = true;
		return TOP_NOTHING;
	case PGRES_POLLING_OK:
		if (PQsetnonblocking(s->pq, 1) != 0)
			return lose(s, PQerrorMessage(s->pq));
		s->is_sending = false;
		return ask_from(s, 0);
	default:
		return lose(s, PQerrorMessage(s->pq));
	}
}

/* An error about a table that we can do without means that the peer has none. */
static enum top_event take_result(struct top_source *s, PGresult *result)
{
	enum top_question q = s->asking;

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		PQclear(s->reading.answers[q]);
		s->reading.answers[q] = result;
		s->known[q] = TOP_THERE;
		if (q == TOP_STATS)
			s->reading.at_us = s->since_us;
		return TOP_NOTHING;
	}
	PQclear(result);
	if (PQstatus(s->pq) == CONNECTION_BAD || questions[q].need == ALWAYS)
		return lose(s, PQerrorMessage(s->pq));
	s->known[q] = TOP_MISSING;
	return TOP_NOTHING;
}

static enum top_event go_on_asking(struct top_source *s)
{
	step(s);
	if (PQconsumeInput(s->pq) == 0)
		return lose(s, PQerrorMessage(s->pq));
	if (s->is_sending && flush(s) == TOP_LOST)
		return TOP_LOST;
	while (!PQisBusy(s->pq)) {
		PGresult *result = PQgetResult(s->pq);

		if (result == NULL) {
			enum top_event event = ask_from(s, s->asking + 1);

			if (event != TOP_NOTHING)
				return event;
		} else if (take_result(s, result) == TOP_LOST) {
			return TOP_LOST;
		}
	}
	return TOP_NOTHING;
}

/* --- For the caller --- */

enum top_event top_source_begin(struct top_source *s, enum top_question view)
{
	if (s->link == TOP_CONNECTING || s->link == TOP_ASKING)
		return TOP_NOTHING;
	s->view = view;
	top_reading_clear(&s->reading);
	step(s);
	return s->link == TOP_DOWN ? begin_connecting(s) : ask_from(s, 0);
}

int top_source_fd(const struct top_source *s, short *events)
{
	if (s->link == TOP_DOWN || s->link == TOP_IDLE)
		return -1;
	if (s->link == TOP_CONNECTING)
		*events = s->is_sending ? POLLOUT : POLLIN;
	else
		*events = s->is_sending ? POLLIN | POLLOUT : POLLIN;
	return PQsocket(s->pq);
}

enum top_event top_source_turn(struct top_source *s, bool is_ready)
{
	if (s->link == TOP_DOWN || s->link == TOP_IDLE)
		return TOP_NOTHING;
	if (is_ready)
		return s->link == TOP_CONNECTING ? go_on_connecting(s) : go_on_asking(s);
	clock_turn();
	return clock_us() - s->since_us > SILENCE_US ? lose(s, "no answer") : TOP_NOTHING;
}

struct top_reading top_source_take(struct top_source *s)
{
	struct top_reading reading = s->reading;

	s->reading = (struct top_reading){.at_us = 0};
	return reading;
}

bool top_source_read(struct top_source *s, enum top_question view)
{
	enum top_event event = top_source_begin(s, view);

	while (event == TOP_NOTHING) {
		struct pollfd p = {.revents = 0};

		p.fd = top_source_fd(s, &p.events);
		event = top_source_turn(s, poll(&p, 1, 1000) > 0);
	}
	return event == TOP_READ;
}

bool top_source_has(const struct top_source *s, enum top_question q)
{
	return s->known[q] != TOP_MISSING;
}

const char *top_source_console(const struct top_source *s)
{
	return s->pq != NULL ? PQdb(s->pq) : TOP_CONSOLE;
}
