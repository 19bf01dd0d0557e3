/*
 * The whole pooler among random clients, servers and admins, each run given by
 * its seed: whole [--seed N] [--steps M] [--seconds S].
 *
 * A run has M steps. One seed after the other, from N or from anywhere, is taken
 * for S seconds, once at least. How rough it is depends on the seed: among servers
 * that answer, with connections that end and admins, or with some that say
 * anything. What holds in each:
 *
 * - no crash, and under the sanitizers no fault and no leak;
 * - a client hears of nobody but itself (world/actor.h);
 * - whenever it is calm, everybody is answered, or was told that it is over;
 * - where nothing is rough, nobody was sent away;
 * - in the end nothing is left: no client, no server, no prepared statement.
 */
#include <getopt.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "fuzz.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "world/actor.h"
#include "world/chance.h"
#include "world/stage.h"

enum { ACTORS = 12, STEPS = 3000, STEPS_BETWEEN_CALMS = 500, MOST_TURNS = 2000, TURNS_TO_WAIT = 5 };

/* How much time goes by when nothing moves: those who wait for a server give up in the end. */
#define PATIENCE (5 * WORLD_SECOND)

enum roughness { SMOOTH, ROUGH, HOSTILE, ROUGHNESSES };

#define INI(size, more)                                                                                  \
	"[databases]\n"                                                                                  \
	"transaction = host=@@ port=5432 pool_mode=transaction pool_size=" size "\n"                     \
	"session = host=@@ port=5432 pool_mode=session pool_size=3\n"                                    \
	"statement = host=@@ port=5432 pool_mode=statement\n"                                            \
	"small = host=@@ port=5432 pool_mode=transaction pool_size=1 reserve_pool_size=1\n"              \
	"forced = host=@@ port=5432 pool_mode=transaction user=one password=secret connect_query='hello'\n" \
	"[pgbouncer]\n"                                                                                  \
	"unix_socket_dir = @@\nauth_type = any\nadmin_users = boss\ndefault_pool_size = 2\n"             \
	"capacity_check_interval = 0\nserver_login_retry = 1\nserver_connect_timeout = 5\n" more

static const char *const inis[] = {
	INI("2", "max_prepared_statements = 3\n"),
	INI("3", "max_prepared_statements = 2\nprepared_unnamed = cache\nserver_idle_timeout = 20\nserver_check_delay = 3\n"),
	INI("1", "max_prepared_statements = 100\nserver_lifetime = 30\nserver_round_robin = 1\nserver_reset_query_always = 1\n"),
};
#define INIS (sizeof(inis) / sizeof(inis[0]))

static const char *const databases[] = {"transaction", "transaction", "session", "statement", "small", "forced"};
#define DATABASES (sizeof(databases) / sizeof(databases[0]))

struct play {
	struct stage stage;
	struct actor actors[ACTORS];
	enum roughness roughness;
	unsigned last_id;
	unsigned nheard;                 /* rows that clients who have gone have got */
	int admin;
};

static unsigned below(unsigned n)
{
	return (unsigned)(chance_next() % n);
}

/* ------------------------------------------------------------------ clients */

/*
 * Where nothing is rough nobody is sent away, but from pools that hold on to
 * servers, for which others wait in vain, and those that allow no transaction.
 */
static void look_why_gone(struct play *p, const struct actor *a)
{
	bool is_strict = a->database != NULL && strcmp(a->database, "session") != 0 && strcmp(a->database, "statement") != 0;

	p->nheard += a->nheard;
	if (p->roughness == SMOOTH && is_strict)
		must(a->has_left);
}

static void step_actor(struct play *p)
{
	struct actor *a = &p->actors[below(ACTORS)];

	if (a->state == ACTOR_GONE) {
		look_why_gone(p, a);
		actor_enter(a, &p->stage.world, ++p->last_id, databases[below(DATABASES)]);
	}
	/* In the middle of something most of all: others must not be hit by what is done about it. */
	if (p->roughness > SMOOTH && below(a->nready > 0 ? 15 : 60) == 0)
		actor_leave(a);
	else if (p->roughness == HOSTILE && below(60) == 0)
		actor_babble(a);
	else if (below(40) == 0)
		a->is_deaf = !a->is_deaf;
	else if (a->state == ACTOR_READY && a->nready > 0 && below(12) == 0)
		actor_cancel(a, &p->stage.world);
	else if (a->state == ACTOR_READY && !a->may_copy && a->nready < 6)
		actor_ask(a);
	actor_turn(a, false);
}

/* ------------------------------------------------------------------ servers */

/* A server that is no server: from now on nobody answers for it. */
static void babble(struct backend *b)
{
	static const char types[] = "RSKZTDCE123nIsGHdcNAVtvW";
	struct strbuf out;
	size_t mark;

	strbuf_init(&out);
	for (unsigned n = 1 + below(3); n > 0; n--) {
		mark = out_begin(&out, types[below(sizeof(types) - 1)]);
		for (unsigned i = below(12); i > 0; i--)
			out_u8(&out, (uint8_t)(below(2) == 0 ? 0 : below(256)));
		out_end(&out, mark);
	}
	world_send(b->fd, out.p, out.n);
	strbuf_fini(&out);
	b->state = BACKEND_GONE;
}

static void step_backend(struct play *p)
{
	struct backend *b = &p->stage.backends[below(STAGE_BACKENDS)];

	if (b->fd < 0)
		return;
	/* PostgreSQL forks for each connection: a cancel request may come long after it was sent. */
	if (b->state == BACKEND_STARTUP && below(3) > 0)
		return;
	b->pace = below(3) == 0 ? 1 + below(200) : 0;
	if (p->roughness > SMOOTH && below(80) == 0)
		backend_close(b);
	else if (p->roughness == HOSTILE && below(60) == 0)
		babble(b);
	else if (b->is_sleeping && below(3) == 0)
		backend_wake(b, false);
	stage_turn_backend(&p->stage, b);
}

/* ------------------------------------------------------------------ the admin */

static void command(struct play *p, const char *text)
{
	struct strbuf out;

	if (p->admin < 0)
		p->admin = stage_login(&p->stage, "boss", "pgbouncer");
	if (p->admin < 0)
		return;
	strbuf_init(&out);
	out_query(&out, text);
	world_send(p->admin, out.p, out.n);
	strbuf_fini(&out);
}

static void dismiss_admin(struct play *p)
{
	if (p->admin >= 0)
		close(p->admin);
	p->admin = -1;
}

/* What concerns one of the databases. */
static void command_of(struct play *p, const char *verb, const char *database)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %s", verb, database);
	command(p, text);
}

static void step_admin(struct play *p)
{
	static const char *const looks[] = {"show clients", "show servers", "show pools", "show prepared_statements"};
	static const char *const verbs[] = {"pause", "resume", "kill", "reconnect", "disable", "enable", "wait_close"};
	static const char *const words[] = {"pause", "resume", "suspend", "reconnect", "resume"};
	unsigned what = below(10);

	if (p->admin >= 0 && below(3) == 0)
		dismiss_admin(p);
	if (what < 3 || p->roughness == SMOOTH) {
		command(p, looks[below(sizeof(looks) / sizeof(looks[0]))]);
	} else if (what < 5) {
		world_write_conf(inis[below(INIS)], NULL, NULL);
		command(p, "reload");
	} else if (what < 7) {
		command(p, words[below(sizeof(words) / sizeof(words[0]))]);
	} else {
		command_of(p, verbs[below(sizeof(verbs) / sizeof(verbs[0]))], databases[below(DATABASES)]);
	}
	world_turn();
}

/* ------------------------------------------------------------------ calm */

static void resume_all(struct play *p)
{
	dismiss_admin(p);
	command(p, "resume");
	for (size_t i = 0; i < DATABASES; i++) {
		command_of(p, "resume", databases[i]);
		command_of(p, "enable", databases[i]);
		stage_settle(&p->stage);
	}
	dismiss_admin(p);
}

/* Whoever has nobody that could make sense of it goes; the others say what they have to say, and hear everything. */
static bool calm_turn(struct play *p)
{
	bool has_moved = false;

	for (size_t i = 0; i < STAGE_BACKENDS; i++) {
		p->stage.backends[i].pace = 0;
		if (p->stage.backends[i].fd >= 0)
			backend_wake(&p->stage.backends[i], false);
	}
	has_moved = stage_turn(&p->stage);
	for (size_t i = 0; i < ACTORS; i++) {
		struct actor *a = &p->actors[i];

		a->is_deaf = false;
		if (a->is_broken)
			actor_leave(a);
		has_moved = actor_turn(a, true) || has_moved;
		if (a->state == ACTOR_READY && actor_is_at_rest(a) && a->status != 'I')
			actor_roll_back(a);
	}
	return has_moved;
}

static bool are_at_rest(const struct play *p)
{
	for (size_t i = 0; i < ACTORS; i++)
		if (!actor_is_at_rest(&p->actors[i]))
			return false;
	return true;
}

/* A COPY that failed in a pipeline leaves its server with its client until that says something more (proto/owed.h). */
static void give_signs_of_life(struct play *p)
{
	for (size_t i = 0; i < ACTORS; i++) {
		struct actor *a = &p->actors[i];

		if (a->state == ACTOR_READY && actor_is_at_rest(a) && !a->has_left)
			actor_ask_one(a);
	}
}

/* Everybody gets what is owed to him. */
static void rest(struct play *p)
{
	for (unsigned i = 0; i < MOST_TURNS; i++) {
		bool has_moved = calm_turn(p);

		if (are_at_rest(p) && !has_moved)
			return;
		if (!has_moved && i % TURNS_TO_WAIT == 0) {
			give_signs_of_life(p);
			world_pass(PATIENCE);
		}
	}
	for (size_t i = 0; i < ACTORS; i++)
		if (!actor_is_at_rest(&p->actors[i]))
			fprintf(stderr, "client %u on %s waits: %u replies are owed\n", p->actors[i].id,
				p->actors[i].database, p->actors[i].nready);
	must(are_at_rest(p));
}

static void be_calm(struct play *p)
{
	resume_all(p);
	rest(p);
	give_signs_of_life(p);
	rest(p);
}

/* ------------------------------------------------------------------ the end */

/* What the console says of a list; it is there. */
static int64_t listed(const struct strbuf *heard, const char *list)
{
	size_t at = 0;
	struct msg m;

	for (; msg_peek((uint8_t *)heard->p + at, heard->n - at, INT32_MAX, &m) == PEEK_OK; at += MSG_HEADER_SIZE + m.have) {
		struct cursor c = msg_cursor(&m);
		struct slice name, value;
		int64_t n;

		if (m.type != 'D')
			continue;
		cursor_u16(&c);
		name = cursor_bytes(&c, cursor_u32(&c));
		value = cursor_bytes(&c, cursor_u32(&c));
		if (slice_is(name, list) && slice_to_int64(value, &n))
			return n;
	}
	must(!"SHOW LISTS has it");
	return -1;
}

static void must_be_listed(const struct strbuf *heard, const char *list, int64_t n)
{
	if (listed(heard, list) != n)
		fprintf(stderr, "%s: %" PRId64 "\n", list, listed(heard, list));
	must(listed(heard, list) == n);
}

static void must_be_empty(struct play *p)
{
	struct strbuf heard;

	for (size_t i = 0; i < ACTORS; i++)
		actor_leave(&p->actors[i]);
	/* Longer than idle servers are kept. */
	stage_pass(&p->stage, 700 * WORLD_SECOND);
	strbuf_init(&heard);
	command(p, "show lists");
	stage_settle(&p->stage);
	must(world_receive(p->admin, &heard));
	must_be_listed(&heard, "login_clients", 0);
	must_be_listed(&heard, "used_clients", 1);
	must_be_listed(&heard, "used_servers", 0);
	strbuf_reset(&heard);
	command(p, "show prepared_statements");
	stage_settle(&p->stage);
	must(world_receive(p->admin, &heard));
	must(heard.n > 0 && memmem(heard.p, heard.n, "<c", 2) == NULL);
	strbuf_fini(&heard);
	dismiss_admin(p);
}

/* ------------------------------------------------------------------ a run */

static void step(struct play *p)
{
	unsigned what = below(100);

	if (what < 45)
		step_actor(p);
	else if (what < 70)
		step_backend(p);
	else if (what < 97)
		world_turn();
	else if (what < 98)
		step_admin(p);
	else
		world_pass(below(p->roughness == SMOOTH ? 20000 : 2000000));
	stage_accept(&p->stage);
}

static void run(uint64_t seed, unsigned steps)
{
	struct play p = {.admin = -1, .roughness = (enum roughness)(seed % ROUGHNESSES)};
	struct conf *conf = world_conf(inis[seed / ROUGHNESSES % INIS], NULL, NULL);

	stage_open(&p.stage, conf, seed);
	for (size_t i = 0; i < ACTORS; i++)
		actor_init(&p.actors[i]);
	for (unsigned i = 1; i <= steps; i++) {
		step(&p);
		if (i % STEPS_BETWEEN_CALMS == 0 || i == steps)
			be_calm(&p);
	}
	must_be_empty(&p);
	printf("%u clients, %u rows\n", p.last_id, p.nheard);
	stage_close(&p.stage);
	conf_unref(&conf);
}

/* In a process of its own: what happens in a run depends on nothing before it. */
static bool run_apart(uint64_t seed, unsigned steps)
{
	pid_t child;
	int status;

	printf("seed=%" PRIu64 "\n", seed);
	fflush(stdout);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		run(seed, steps);
		exit(0);
	}
	must(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"steps", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	uint64_t seed;
	unsigned steps = STEPS;
	time_t until = time(NULL);
	int option;

	sys_random(&seed, sizeof(seed));
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			steps = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			until += strtol(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	do {
		if (!run_apart(seed++, steps))
			return 1;
	} while (time(NULL) < until);
	return 0;
}
