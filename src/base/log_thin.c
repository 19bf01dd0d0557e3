#include "base/log_thin.h"

#include "base/clock.h"

/* ------------------------------------------------------------------ so many a second */

static void tell_left_out(struct log_thin *t)
{
	const struct log_field fields[] = {{.key = "left_out", .number = t->nleft_out}, {0}};
	const struct log_line line = {.level = LOG_LEVEL_LOG, .fields = fields};
	char room[128];
	struct strbuf text;

	if (t->nleft_out == 0)
		return;
	strbuf_init_fixed(&text, room, sizeof(room));
	strbuf_addf(&text, "%u lines about connections left out: log_connections_limit is %u a second", t->nleft_out,
		    t->limit);
	t->nleft_out = 0;
	t->say(&line, text.p);
}

static void begin_second(struct log_thin *t, uint64_t now)
{
	tell_left_out(t);
	t->second_at = now;
	t->nwritten = 0;
}

bool log_thin_is_within(struct log_thin *t, const struct log_line *line, uint64_t now)
{
	if (t->limit == 0 || line->kind != LOG_CONNECTION || line->level <= LOG_LEVEL_ERROR)
		return true;
	if (now - t->second_at >= CLOCK_SECOND)
		begin_second(t, now);
	if (t->nwritten == t->limit) {
		t->nleft_out++;
		return false;
	}
	t->nwritten++;
	return true;
}

/* ------------------------------------------------------------------ repetitions */

static void tell_repeat(struct log_thin *t, struct log_repeat *r)
{
	const struct log_field fields[] = {{.key = "repeated", .number = r->n}, {0}};
	struct log_line line = r->line;
	char room[LOG_THIN_TEXT_MAX + 64];
	struct strbuf text;

	if (r->n == 0)
		return;
	strbuf_init_fixed(&text, room, sizeof(room));
	strbuf_addf(&text, "message repeated %u times: [%s]", r->n, r->message);
	r->n = 0;
	line.fields = fields;
	t->say(&line, text.p);
}

/* A client is one of many that may have met the same; the servers of a host are one. */
static bool is_same_subject(const struct log_subject *a, const struct log_subject *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->side != b->side || (a->side == LOG_SIDE_CLIENT && a->id != b->id))
		return false;
	return addr_eq(&a->peer, &b->peer) && strcmp(a->database, b->database) == 0 && strcmp(a->user, b->user) == 0;
}

static struct log_repeat *find(struct log_thin *t, const struct log_line *line, const char *message)
{
	for (size_t i = 0; i < LOG_THIN_PLACES; i++) {
		struct log_repeat *r = &t->repeats[i];

		if (r->since != 0 && r->line.level == line->level && is_same_subject(r->line.subject, line->subject) &&
		    strcmp(r->message, message) == 0)
			return r;
	}
	return NULL;
}

/* A free place, or that of the oldest, which is told. */
static struct log_repeat *take_place(struct log_thin *t)
{
	struct log_repeat *oldest = &t->repeats[0];

	for (size_t i = 1; i < LOG_THIN_PLACES; i++)
		if (t->repeats[i].since < oldest->since)
			oldest = &t->repeats[i];
	if (oldest->since != 0)
		tell_repeat(t, oldest);
	return oldest;
}

/* Keeps a copy of the text in the place's room. */
static const char *keep(struct strbuf *room, const char *text)
{
	const char *at = room->p + room->n;

	strbuf_add(room, text, strlen(text) + 1);
	return at;
}

static void remember(struct log_repeat *r, const struct log_line *line, const char *message, uint64_t now)
{
	struct strbuf room;

	strbuf_init_fixed(&room, r->texts, sizeof(r->texts));
	r->line = (struct log_line){.level = line->level};
	r->message = keep(&room, message);
	if (line->subject != NULL) {
		r->subject = *line->subject;
		r->subject.database = keep(&room, line->subject->database);
		r->subject.user = keep(&room, line->subject->user);
		r->line.subject = &r->subject;
	}
	r->since = now;
	r->n = 0;
}

static bool fits(const struct log_line *line, const char *message)
{
	size_t n = strlen(message) + 1;

	if (line->subject != NULL)
		n += strlen(line->subject->database) + strlen(line->subject->user) + 2;
	return n < LOG_THIN_TEXT_MAX;
}

static bool is_over(const struct log_thin *t, const struct log_repeat *r, uint64_t now)
{
	return now - r->since >= t->fold_us;
}

bool log_thin_is_new(struct log_thin *t, const struct log_line *line, const char *message, uint64_t now)
{
	struct log_repeat *r;

	if (t->fold_us == 0 || line->kind != LOG_ORDINARY || line->level != LOG_LEVEL_WARNING || !fits(line, message))
		return true;
	r = find(t, line, message);
	if (r != NULL && !is_over(t, r, now)) {
		r->n++;
		return false;
	}
	if (r != NULL)
		tell_repeat(t, r);
	remember(r == NULL ? take_place(t) : r, line, message, now);
	return true;
}

/* ------------------------------------------------------------------ in time */

void log_thin_tell_due(struct log_thin *t, uint64_t now)
{
	if (now - t->second_at >= CLOCK_SECOND)
		begin_second(t, now);
	for (size_t i = 0; i < LOG_THIN_PLACES; i++) {
		struct log_repeat *r = &t->repeats[i];

		if (r->since == 0 || !is_over(t, r, now))
			continue;
		/* What goes on repeating itself is told once a period from here on. */
		r->since = r->n > 0 ? now : 0;
		tell_repeat(t, r);
	}
}

void log_thin_tell_all(struct log_thin *t)
{
	begin_second(t, 0);
	for (size_t i = 0; i < LOG_THIN_PLACES; i++) {
		if (t->repeats[i].since != 0)
			tell_repeat(t, &t->repeats[i]);
		t->repeats[i].since = 0;
	}
}

uint64_t log_thin_due_at(const struct log_thin *t)
{
	uint64_t at = t->nleft_out > 0 ? t->second_at + CLOCK_SECOND : 0;

	for (size_t i = 0; i < LOG_THIN_PLACES; i++) {
		const struct log_repeat *r = &t->repeats[i];

		if (r->since != 0 && r->n > 0 && (at == 0 || r->since + t->fold_us < at))
			at = r->since + t->fold_us;
	}
	return at;
}
