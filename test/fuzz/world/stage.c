#include "stage.h"

#include <unistd.h>

#include "../fuzz.h"
#include "proto/out.h"
#include "proto/startup.h"

/* Turns in a row without any movement, and turns in all. */
enum { STILL = 2, MOST_TURNS = 200 };

/* Seconds that the bystander waits for an answer. */
#define PATIENCE 15

/* Longer than breakers, refusals and timeouts last in the configurations here. */
#define LONG (200 * WORLD_SECOND)

void stage_open(struct stage *s, struct conf *conf, uint64_t seed)
{
	*s = (struct stage){.bystander = -1};
	for (size_t i = 0; i < STAGE_BACKENDS; i++) {
		s->backends[i].fd = -1;
		s->mute[i] = -1;
	}
	strbuf_init(&s->heard);
	world_open(&s->world, conf, seed);
}

static void close_if_open(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_servers(struct stage *s)
{
	for (size_t i = 0; i < STAGE_BACKENDS; i++) {
		backend_close(&s->backends[i]);
		close_if_open(&s->mute[i]);
	}
}

void stage_close(struct stage *s)
{
	close_servers(s);
	close_if_open(&s->bystander);
	strbuf_fini(&s->heard);
	world_turn();
	world_close(&s->world);
}

/* ------------------------------------------------------------------ turns */

/* Whoever it is meant for: it is answered, and this connection over. */
static void cancel(struct stage *s, struct backend *by)
{
	for (size_t i = 0; i < STAGE_BACKENDS; i++)
		if (s->backends[i].fd >= 0 && s->backends[i].id == by->cancels)
			backend_wake(&s->backends[i], true);
	by->cancels = 0;
}

static bool accept_one(struct stage *s)
{
	int fd = world_accept(&s->world);

	if (fd < 0)
		return false;
	for (size_t i = 0; i < STAGE_BACKENDS; i++) {
		if (s->is_mute && s->mute[i] < 0) {
			s->mute[i] = fd;
			return true;
		}
		if (!s->is_mute && s->backends[i].fd < 0) {
			backend_open(&s->backends[i], fd, ++s->last_id);
			return true;
		}
	}
	close(fd);
	return true;
}

bool stage_accept(struct stage *s)
{
	bool has_accepted = false;

	while (accept_one(s))
		has_accepted = true;
	return has_accepted;
}

bool stage_turn_backend(struct stage *s, struct backend *b)
{
	bool has_moved = !backend_turn(b) || b->has_moved;

	if (b->cancels != 0)
		cancel(s, b);
	return has_moved;
}

bool stage_turn(struct stage *s)
{
	bool has_moved;

	world_turn();
	has_moved = stage_accept(s);
	for (size_t i = 0; i < STAGE_BACKENDS; i++)
		if (s->backends[i].fd >= 0)
			has_moved = stage_turn_backend(s, &s->backends[i]) || has_moved;
	return has_moved;
}

void stage_settle(struct stage *s)
{
	unsigned nstill = 0;

	for (unsigned i = 0; i < MOST_TURNS && nstill < STILL; i++)
		nstill = stage_turn(s) ? 0 : nstill + 1;
}

void stage_pass(struct stage *s, uint64_t us)
{
	while (us > 0) {
		uint64_t step = us < 5 * WORLD_SECOND ? us : 5 * WORLD_SECOND;

		world_pass(step);
		stage_settle(s);
		us -= step;
	}
}

int stage_mute(const struct stage *s)
{
	for (size_t i = 0; i < STAGE_BACKENDS; i++)
		if (s->mute[i] >= 0)
			return s->mute[i];
	return -1;
}

void stage_drop_mute(struct stage *s, int fd)
{
	for (size_t i = 0; i < STAGE_BACKENDS; i++)
		if (s->mute[i] == fd)
			close_if_open(&s->mute[i]);
}

/* ------------------------------------------------------------------ clients */

int stage_login(struct stage *s, const char *user, const char *database)
{
	return stage_login_with(s, user, database, NULL, NULL);
}

int stage_login_with(struct stage *s, const char *user, const char *database, const char *name, const char *value)
{
	int fd = world_connect(&s->world);
	struct strbuf out;
	size_t mark;

	if (fd < 0)
		return -1;
	strbuf_init(&out);
	mark = startup_begin(&out);
	startup_add_param(&out, SLICE_LIT("user"), slice_of(user));
	startup_add_param(&out, SLICE_LIT("database"), slice_of(database));
	if (name != NULL)
		startup_add_param(&out, slice_of(name), slice_of(value));
	startup_end(&out, mark);
	world_send(fd, out.p, out.n);
	strbuf_fini(&out);
	stage_settle(s);
	return fd;
}

/* What the bystander hears ends in ReadyForQuery by now. */
static bool is_ready(struct stage *s)
{
	stage_settle(s);
	must(world_receive(s->bystander, &s->heard));
	return s->heard.n >= 6 && memcmp(s->heard.p + s->heard.n - 6, "Z\0\0\0\5I", 6) == 0;
}

void stage_bystander_enters(struct stage *s, const char *user, const char *database)
{
	s->bystander = stage_login(s, user, database);
	must(s->bystander >= 0);
	must(is_ready(s) && s->heard.p[0] == 'R');
}

/* A query by itself: columns, its text as the only row, its tag, ReadyForQuery. */
static void must_be_answered(struct stage *s, const char *text)
{
	struct cursor c = cursor_of((const uint8_t *)s->heard.p, s->heard.n);
	static const char types[] = "TDCZ";

	for (size_t i = 0; i < sizeof(types) - 1; i++) {
		char type = (char)cursor_u8(&c);
		uint32_t n = cursor_u32(&c);
		struct slice body;

		/* Of other servers than those it has heard of, or that it has waited, it may be told. */
		if (type == 'S' || type == 'N') {
			cursor_bytes(&c, n - 4);
			i--;
			continue;
		}
		must(type == types[i]);
		body = cursor_bytes(&c, n - 4);
		if (type == 'D')
			must(body.n == strlen(text) + 6 && memcmp(body.p + 6, text, body.n - 6) == 0);
	}
	must(!c.bad && cursor_left(&c) == 0);
}

void stage_bystander_asks(struct stage *s)
{
	struct strbuf out;
	char text[64];

	snprintf(text, sizeof(text), "bystander %u", ++s->nqueries);
	strbuf_init(&out);
	out_query(&out, text);
	strbuf_reset(&s->heard);
	world_send(s->bystander, out.p, out.n);
	strbuf_fini(&out);
	/* Where servers are lost as soon as they are opened, the pooler takes its time with the next. */
	for (unsigned i = 0; i < PATIENCE && !is_ready(s); i++)
		stage_pass(s, i == 0 ? 0 : WORLD_SECOND);
	must_be_answered(s, text);
}

void stage_must_recover(struct stage *s, const char *user, const char *database)
{
	close_servers(s);
	close_if_open(&s->bystander);
	strbuf_reset(&s->heard);
	s->is_mute = false;
	stage_pass(s, LONG);
	stage_bystander_enters(s, user, database);
	stage_bystander_asks(s);
}
