#include "actor.h"

#include <ctype.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fuzz.h"
#include "chance.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "proto/prepare.h"
#include "proto/startup.h"

/* Names of prepared statements, the same for all clients. */
#define STATEMENTS 5

/* The longest text, in bytes. */
#define TEXT_MAX 60000

static unsigned below(unsigned n)
{
	return (unsigned)(chance_next() % n);
}

void actor_init(struct actor *a)
{
	*a = (struct actor){.fd = -1};
}

void actor_leave(struct actor *a)
{
	if (a->fd < 0)
		return;
	close(a->fd);
	a->fd = -1;
	a->state = ACTOR_GONE;
	strbuf_fini(&a->in);
	strbuf_fini(&a->out);
}

/* ------------------------------------------------------------------ what it says */

/* A text of its own. */
static const char *text_of(struct actor *a, const char *verb)
{
	static char text[TEXT_MAX];
	size_t room = below(20) == 0 ? below(TEXT_MAX - 200) : 0;
	int n = snprintf(text, sizeof(text), "%s <c%u.%u>", verb, a->id, ++a->nasked);

	memset(text + n, 'x', room);
	text[(size_t)n + room] = '\0';
	return text;
}

static void say_query(struct actor *a, const char *text)
{
	out_query(&a->out, text);
	a->nready++;
}

static void say_sync(struct actor *a)
{
	out_simple(&a->out, 'S');
	a->nready++;
}

static void say_parse(struct actor *a, const char *name, const char *text)
{
	size_t mark = out_begin(&a->out, 'P');

	out_string(&a->out, name);
	out_string(&a->out, text);
	out_u16(&a->out, 0);
	out_end(&a->out, mark);
}

static const char *some_name(void)
{
	static char name[16];

	snprintf(name, sizeof(name), "s%u", below(STATEMENTS));
	return name;
}

static void say_execution(struct actor *a, const char *name)
{
	if (below(3) == 0)
		prepare_out_describe(&a->out, 'S', slice_of(name));
	prepare_out_bind(&a->out, SLICE_LIT(""), slice_of(name));
	if (below(2) == 0)
		prepare_out_describe(&a->out, 'P', SLICE_LIT(""));
	prepare_out_execute(&a->out, SLICE_LIT(""));
	if (below(4) == 0)
		out_simple(&a->out, 'H');
}

static void say_copy(struct actor *a)
{
	a->may_copy = true;
	a->is_extended_copy = below(2) == 0;
	if (!a->is_extended_copy) {
		say_query(a, text_of(a, "copy in"));
		return;
	}
	say_parse(a, "", text_of(a, "copy in"));
	say_execution(a, "");
	say_sync(a);
}

/* Prepared statements by SQL. */
static void say_sql(struct actor *a)
{
	char verb[64];

	switch (below(4)) {
	case 0:
		snprintf(verb, sizeof(verb), "prepare %s as one", some_name());
		say_query(a, text_of(a, verb));
		break;
	case 1:
		snprintf(verb, sizeof(verb), "execute %s", some_name());
		say_query(a, verb);
		break;
	case 2:
		snprintf(verb, sizeof(verb), "deallocate %s", some_name());
		say_query(a, verb);
		break;
	case 3:
		say_query(a, below(2) == 0 ? "deallocate all" : "discard all");
		break;
	}
}

/* One batch of the extended protocol up to its Sync. */
static void say_batch(struct actor *a)
{
	unsigned n = 1 + below(3);

	while (n-- > 0) {
		const char *name = below(4) == 0 ? "" : some_name();

		switch (below(6)) {
		case 0:
			if (name[0] != '\0')
				prepare_out_close(&a->out, 'S', slice_of(name));
			/* fall through */
		case 1:
		case 2:
			say_parse(a, name, text_of(a, below(10) == 0 ? "fail" : "one"));
			/* fall through */
		case 3:
			if (name[0] != '\0')
				say_execution(a, name);
			break;
		case 4:
			say_parse(a, "", text_of(a, below(5) == 0 ? "begin" : "one"));
			say_execution(a, "");
			break;
		case 5:
			prepare_out_close(&a->out, 'S', slice_of(some_name()));
			break;
		}
	}
	say_sync(a);
}

/* What it asks for comes with the Sync in any case. */
static void say_flush_and_sync(struct actor *a)
{
	out_simple(&a->out, 'H');
	say_sync(a);
}

static void take_leave(struct actor *a)
{
	out_simple(&a->out, 'X');
	a->has_left = true;
}

void actor_ask(struct actor *a)
{
	unsigned what = below(100);

	if (a->has_left)
		return;
	if (what < 25)
		say_query(a, text_of(a, "one"));
	else if (what < 55)
		say_batch(a);
	else if (what < 65)
		say_query(a, below(2) == 0 ? "begin" : "commit");
	else if (what < 70)
		say_sql(a);
	else if (what < 74)
		say_query(a, text_of(a, "fail"));
	else if (what < 78)
		say_query(a, text_of(a, below(2) == 0 ? "rows 3" : "rows 700"));
	else if (what < 84)
		say_query(a, text_of(a, "sleep"));
	else if (what < 87)
		say_query(a, text_of(a, "copy out"));
	else if (what < 90)
		say_query(a, "");
	else if (what < 96 && a->nready == 0)
		say_copy(a);
	else if (what == 97)
		actor_roll_back(a);
	else if (what == 98)
		say_flush_and_sync(a);
	else if (what == 99)
		take_leave(a);
}

void actor_ask_one(struct actor *a)
{
	say_query(a, text_of(a, "one"));
}

void actor_roll_back(struct actor *a)
{
	say_query(a, "rollback");
}

void actor_babble(struct actor *a)
{
	static const char types[] = "QPBDECSHFdcfXpRZ";
	size_t mark;

	a->is_broken = true;
	if (below(3) == 0) {
		out_u8(&a->out, (uint8_t)types[below(sizeof(types) - 1)]);
		out_u32(&a->out, (uint32_t)(below(2) == 0 ? below(9) : chance_next()));
	} else {
		mark = out_begin(&a->out, types[below(sizeof(types) - 1)]);
		for (unsigned n = below(20); n > 0; n--)
			out_u8(&a->out, (uint8_t)below(256));
		out_end(&a->out, mark);
	}
}

void actor_enter(struct actor *a, const struct world *w, unsigned id, const char *database)
{
	static const char *const zones[] = {"UTC", "Europe/Berlin", "Asia/Tokyo"};
	char name[32];
	size_t mark;

	actor_leave(a);
	*a = (struct actor){.fd = world_connect(w), .id = id, .database = database, .status = 'I'};
	if (a->fd < 0)
		return;
	a->state = ACTOR_LOGGING_IN;
	strbuf_init(&a->in);
	strbuf_init(&a->out);
	snprintf(name, sizeof(name), "<c%u.0>", id);
	mark = startup_begin(&a->out);
	startup_add_param(&a->out, SLICE_LIT("user"), SLICE_LIT("ann"));
	startup_add_param(&a->out, SLICE_LIT("database"), slice_of(database));
	startup_add_param(&a->out, SLICE_LIT("application_name"), slice_of(name));
	startup_add_param(&a->out, SLICE_LIT("TimeZone"), slice_of(zones[below(3)]));
	startup_end(&a->out, mark);
	a->nready = 1;
}

void actor_cancel(struct actor *a, const struct world *w)
{
	struct strbuf out;
	int fd = world_connect(w);

	if (fd < 0)
		return;
	a->has_cancelled = true;
	strbuf_init(&out);
	startup_out_cancel(&out, a->key, sizeof(a->key));
	world_send(fd, out.p, out.n);
	strbuf_fini(&out);
	close(fd);
}

/* ------------------------------------------------------------------ what it hears */

/* Whoever is named is this client. A server that cuts its messages may have cut the name, too: that is nobody's. */
static void must_be_mine(const struct actor *a, const struct msg *m)
{
	const char *p = (const char *)m->body, *end = p + m->len;

	while ((p = memmem(p, (size_t)(end - p), "<c", 2)) != NULL) {
		unsigned id = 0;

		for (p += 2; p < end && isdigit((unsigned char)*p); p++)
			id = id * 10 + (unsigned)(*p - '0');
		if (p == end || *p != '.')
			continue;
		if (id != a->id)
			fprintf(stderr, "client %u hears of %u: %c %.*s\n", a->id, id, m->type, (int)m->len, m->body);
		must(id == a->id);
	}
}

static void go_on_copying(struct actor *a)
{
	size_t mark;

	for (unsigned n = below(4); n > 0; n--) {
		mark = out_begin(&a->out, 'd');
		strbuf_add_str(&a->out, text_of(a, "data"));
		out_end(&a->out, mark);
	}
	if (below(5) > 0) {
		out_simple(&a->out, 'c');
	} else {
		mark = out_begin(&a->out, 'f');
		out_string(&a->out, "no more");
		out_end(&a->out, mark);
	}
	/* The Sync that was sent before COPY began is void. */
	if (a->is_extended_copy)
		out_simple(&a->out, 'S');
}

static void hear_error(struct actor *a, const struct msg *m)
{
	struct error_fields f;

	/* A server may have worded it so that it cannot be read; then the fields that could are there. */
	msg_error_fields(m, &f);
	a->was_told = a->was_told || slice_is(f.severity, "FATAL");
	/* A cancel request is for whoever has sent it. */
	must(!slice_is(f.message, "no: cancelled") || a->has_cancelled);
}

static void hear(struct actor *a, const struct msg *m)
{
	if (m->type != 'K')
		must_be_mine(a, m);
	switch (m->type) {
	case 'Z':
		must(m->len == 1 && (a->nready > 0 || a->is_broken));
		a->nready -= a->nready > 0;
		a->status = (char)m->body[0];
		a->state = ACTOR_READY;
		a->may_copy = false;
		break;
	case 'D':
		a->nheard++;
		break;
	case 'G':
		if (a->may_copy)
			go_on_copying(a);
		break;
	case 'K':
		must(m->len == sizeof(a->key));
		memcpy(a->key, m->body, sizeof(a->key));
		break;
	case 'E':
		hear_error(a, m);
		break;
	default:
		must(strchr("RSNTCI123nstdcHWVA", m->type) != NULL && m->type != '\0');
	}
}

/* Whole messages; the rest waits. */
static void hear_all(struct actor *a)
{
	size_t at = 0;
	struct msg m;

	while (msg_peek((const uint8_t *)a->in.p + at, a->in.n - at, INT32_MAX, &m) == PEEK_OK && m.have == m.len) {
		hear(a, &m);
		at += MSG_HEADER_SIZE + m.len;
	}
	must(a->in.n - at < MSG_HEADER_SIZE || msg_peek((uint8_t *)a->in.p + at, a->in.n - at, INT32_MAX, &m) == PEEK_OK);
	if (at > 0)
		memmove(a->in.p, a->in.p + at, a->in.n - at);
	a->in.n -= at;
}

static bool speak(struct actor *a, bool is_hasty)
{
	size_t most = is_hasty || below(3) > 0 ? a->out.n : 1 + below((unsigned)a->out.n);
	ssize_t n = send(a->fd, a->out.p, most, MSG_NOSIGNAL);

	if (n <= 0)
		return false;
	memmove(a->out.p, a->out.p + n, a->out.n - (size_t)n);
	a->out.n -= (size_t)n;
	return true;
}

bool actor_turn(struct actor *a, bool is_hasty)
{
	size_t before = a->in.n;
	bool has_moved, is_open;

	if (a->fd < 0)
		return false;
	has_moved = a->out.n > 0 && speak(a, is_hasty);
	if (a->is_deaf)
		return has_moved;
	is_open = world_receive(a->fd, &a->in);
	has_moved = has_moved || a->in.n > before;
	if (a->in.n > 0)
		hear_all(a);
	if (is_open)
		return has_moved;
	actor_leave(a);
	return true;
}
