#include "base/log_line.h"

#include <time.h>
#include <unistd.h>

#include "base/json.h"

static const char *const level_names[] = {
	[LOG_LEVEL_FATAL] = "FATAL", [LOG_LEVEL_ERROR] = "ERROR", [LOG_LEVEL_WARNING] = "WARNING",
	[LOG_LEVEL_LOG] = "LOG",     [LOG_LEVEL_DEBUG] = "DEBUG", [LOG_LEVEL_NOISE] = "NOISE",
};

/* ------------------------------------------------------------------ text */

#define CONTROL_CHARACTERS                                                                                            \
	"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"                                               \
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"

/* As much of it as the line has room for. */
static void add_cut(struct strbuf *out, const char *p, size_t n)
{
	size_t room = out->cap - out->n - 1;

	strbuf_add(out, p, n < room ? n : room);
}

/* What a client sent may be in a line: it must not forge other lines, nor drive a terminal. */
static void add_printable(struct strbuf *out, const char *text)
{
	while (*text != '\0') {
		size_t n = strcspn(text, CONTROL_CHARACTERS);

		add_cut(out, text, n);
		text += n;
		if (*text != '\0')
			strbuf_addf(out, "\\x%02x", (unsigned char)*text++);
	}
}

/* Formatted once for the lines of a second: that is most of what a line costs. */
struct second {
	time_t at;
	char text[32], zone[16];
};

static const struct second *second_of(int64_t wall_us)
{
	static struct second s = {.at = -1};
	time_t at = (time_t)(wall_us / 1000000);
	struct tm tm;

	if (at == s.at)
		return &s;
	localtime_r(&at, &tm);
	strftime(s.text, sizeof(s.text), "%Y-%m-%d %H:%M:%S", &tm);
	strftime(s.zone, sizeof(s.zone), "%Z", &tm);
	s.at = at;
	return &s;
}

void log_line_head(const struct log_line *line, int64_t wall_us, struct strbuf *out)
{
	const struct second *s = second_of(wall_us);

	strbuf_addf(out, "%s.%03d %s [%d] %s ", s->text, (int)(wall_us / 1000 % 1000), s->zone, (int)getpid(),
		    level_names[line->level]);
}

static void add_subject(struct strbuf *out, const struct log_subject *subject)
{
	char room[512];
	struct strbuf text;

	strbuf_init_fixed(&text, room, sizeof(room));
	strbuf_addf(&text, "%c-%p: %s/%s@", subject->side == LOG_SIDE_CLIENT ? 'C' : 'S', subject->object,
		    subject->database, subject->user);
	addr_print(&subject->peer, &text);
	strbuf_add_char(&text, ' ');
	add_printable(out, text.p);
}

void log_line_body(const struct log_line *line, const char *message, struct strbuf *out)
{
	if (line->subject != NULL)
		add_subject(out, line->subject);
	add_printable(out, message);
}

/* ------------------------------------------------------------------ JSON */

static void put_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_string(j, (struct slice){text, strnlen(text, LOG_LINE_TEXT_MAX)});
}

static void put_number(struct json *j, const char *key, int64_t number)
{
	json_key(j, key);
	json_integer(j, number);
}

/* strftime() has the zone as +hhmm, which ISO 8601 does not take beside a time with colons. */
static void put_time(struct json *j, int64_t wall_us)
{
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm tm;
	char text[32], zone[16], room[64];
	struct strbuf time;

	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof(zone), "%z", &tm);
	strbuf_init_fixed(&time, room, sizeof(room));
	strbuf_addf(&time, "%s.%03d%.3s:%s", text, (int)(wall_us / 1000 % 1000), zone, zone + 3);
	put_text(j, "time", time.p);
}

static void put_subject(struct json *j, const struct log_subject *subject)
{
	char room[64];
	struct strbuf host;

	strbuf_init_fixed(&host, room, sizeof(room));
	addr_print_host(&subject->peer, &host);
	put_text(j, "side", subject->side == LOG_SIDE_CLIENT ? "client" : "server");
	put_number(j, "id", (int64_t)subject->id);
	put_text(j, "database", subject->database);
	put_text(j, "user", subject->user);
	put_text(j, "addr", host.p);
	put_number(j, "port", subject->peer.port);
}

static void put_fields(struct json *j, const struct log_field *f)
{
	for (; f != NULL && f->key != NULL; f++) {
		if (f->text != NULL)
			put_text(j, f->key, f->text);
		else
			put_number(j, f->key, f->number);
	}
}

void log_line_json(const struct log_line *line, int64_t wall_us, const char *message, struct strbuf *out)
{
	struct json j;

	json_init(&j, out);
	json_object_begin(&j);
	put_time(&j, wall_us);
	put_number(&j, "pid", getpid());
	put_text(&j, "level", level_names[line->level]);
	if (line->subject != NULL)
		put_subject(&j, line->subject);
	put_fields(&j, line->fields);
	json_key(&j, "message");
	json_string(&j, slice_of(message));
	json_object_end(&j);
}
