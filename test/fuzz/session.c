/*
 * Clients, servers, an admin and time, all of them as the input says: records
 * of what happens (a byte, by its remainder), to whom (a byte), and a length
 * (a byte) with as many bytes of details. Afterwards a newcomer is served.
 */
#include <unistd.h>

#include "fuzz.h"
#include "proto/msg.h"
#include "proto/out.h"
#include "proto/startup.h"
#include "world/stage.h"

#define CLIENTS 4

static struct conf *conf_of(void)
{
	static struct conf *conf;

	if (conf == NULL)
		conf = world_conf(STAGE_MODES
				  "small = host=@@ port=5432 pool_mode=transaction pool_size=1 reserve_pool=1\n"
				  "[pgbouncer]\n"
				  "unix_socket_dir = @@\nauth_type = any\nadmin_users = boss\ndefault_pool_size = 2\n"
				  "max_prepared_statements = 2\nprepared_unnamed = cache\ncapacity_check_interval = 0\n"
				  "query_wait_timeout = 30\nquery_timeout = 40\nidle_transaction_timeout = 50\n"
				  "server_idle_timeout = 20\nserver_lifetime = 60\nserver_connect_timeout = 5\n"
				  "server_login_retry = 1\nreserve_pool_timeout = 2\nmax_db_connections = 3\n"
				  "cancel_wait_timeout = 5\nserver_check_delay = 5\nsuspend_timeout = 3\n",
				  NULL, NULL);
	return conf;
}

static const char *const databases[] = {"transaction", "session", "statement", "small"};
#define DATABASES (sizeof(databases) / sizeof(databases[0]))

struct party {
	struct stage stage;
	int clients[CLIENTS];            /* -1: not connected */
	uint8_t keys[CLIENTS][8];        /* for cancel requests */
	int admin;
};

/* ------------------------------------------------------------------ clients */

/* Its key is in what it was greeted with. */
static void note_key(struct party *p, unsigned i)
{
	struct strbuf heard;
	struct msg m;
	size_t at = 0;

	strbuf_init(&heard);
	world_receive(p->clients[i], &heard);
	while (at < heard.n && msg_peek((uint8_t *)heard.p + at, heard.n - at, 1 << 20, &m) == PEEK_OK) {
		if (m.type == 'K' && m.have >= sizeof(p->keys[i]))
			memcpy(p->keys[i], m.body, sizeof(p->keys[i]));
		at += MSG_HEADER_SIZE + m.have;
	}
	strbuf_fini(&heard);
}

static void leave(struct party *p, unsigned i)
{
	if (p->clients[i] >= 0)
		close(p->clients[i]);
	p->clients[i] = -1;
}

static void enter(struct party *p, unsigned i, struct slice details)
{
	leave(p, i);
	p->clients[i] = stage_login(&p->stage, "ann", databases[details.n == 0 ? 0 : (uint8_t)details.p[0] % DATABASES]);
	if (p->clients[i] >= 0)
		note_key(p, i);
}

/* A header for what the details are: a type and a body. */
static void say_message(int fd, struct slice details)
{
	struct strbuf out;
	size_t mark;

	if (fd < 0 || details.n == 0)
		return;
	strbuf_init(&out);
	mark = out_begin(&out, details.p[0]);
	strbuf_add(&out, details.p + 1, details.n - 1);
	out_end(&out, mark);
	world_send(fd, out.p, out.n);
	strbuf_fini(&out);
}

static void say_query(int fd, struct slice text)
{
	struct strbuf out;
	size_t mark;

	strbuf_init(&out);
	mark = out_begin(&out, 'Q');
	out_slice_string(&out, text);
	out_end(&out, mark);
	if (fd >= 0)
		world_send(fd, out.p, out.n);
	strbuf_fini(&out);
}

/* The key that a client has got, or nearly. */
static void ask_to_cancel(struct party *p, unsigned i, struct slice details)
{
	uint8_t key[sizeof(p->keys[i])];
	struct strbuf out;
	int fd = world_connect(&p->stage.world);

	if (fd < 0)
		return;
	memcpy(key, p->keys[i], sizeof(key));
	for (size_t j = 0; j < details.n; j++)
		key[j % sizeof(key)] ^= (uint8_t)details.p[j];
	strbuf_init(&out);
	startup_out_cancel(&out, key, sizeof(key));
	world_send(fd, out.p, out.n);
	strbuf_fini(&out);
	stage_settle(&p->stage);
	close(fd);
}

/* ------------------------------------------------------------------ servers */

/* One that answers, or one that does not; -1: there is none. */
static int server_at(const struct party *p, unsigned who)
{
	unsigned i = who % STAGE_BACKENDS;

	return (who & 0x80) != 0 ? p->stage.mute[i] : p->stage.backends[i].fd;
}

static void end_server(struct party *p, unsigned who)
{
	if ((who & 0x80) != 0)
		stage_drop_mute(&p->stage, server_at(p, who));
	else
		backend_close(&p->stage.backends[who % STAGE_BACKENDS]);
}

/* ------------------------------------------------------------------ admin and time */

static void command(struct party *p, unsigned which)
{
	static const char *const commands[] = {
		"pause", "resume", "pause transaction", "resume transaction", "suspend", "reload", "kill session",
		"reconnect", "resume session", "disable small", "enable small", "show clients", "show servers",
		"show pools", "show prepared_statements", "wait_close", "reconnect small", "show waiting",
		"kill_client 3", "show sockets",
	};

	if (p->admin < 0)
		p->admin = stage_login(&p->stage, "boss", "pgbouncer");
	say_query(p->admin, slice_of(commands[which % (sizeof(commands) / sizeof(commands[0]))]));
}

static void end_command(struct party *p)
{
	if (p->admin >= 0)
		close(p->admin);
	p->admin = -1;
}

/* From a millisecond to a minute and more. */
static void pass(struct party *p, unsigned how_long)
{
	stage_pass(&p->stage, UINT64_C(1000) << how_long % 17);
}

enum happening {
	CLIENT_BYTES, CLIENT_MESSAGE, CLIENT_QUERY, CLIENT_ENTERS, CLIENT_LEAVES, CLIENT_READS, CANCEL,
	SERVER_BYTES, SERVER_MESSAGE, SERVER_ENDS, SERVER_WAKES, SERVERS_ANSWER,
	COMMAND, COMMAND_ENDS, TIME, HAPPENINGS
};

static void happen(struct party *p, enum happening what, unsigned who, struct slice details)
{
	unsigned i = who % CLIENTS;
	struct strbuf heard;

	switch (what) {
	case CLIENT_BYTES:
		if (p->clients[i] >= 0)
			world_send(p->clients[i], details.p, details.n);
		break;
	case CLIENT_MESSAGE:
		say_message(p->clients[i], details);
		break;
	case CLIENT_QUERY:
		say_query(p->clients[i], details);
		break;
	case CLIENT_ENTERS:
		enter(p, i, details);
		break;
	case CLIENT_LEAVES:
		leave(p, i);
		break;
	case CLIENT_READS:
		strbuf_init(&heard);
		if (p->clients[i] >= 0)
			world_receive(p->clients[i], &heard);
		strbuf_fini(&heard);
		break;
	case CANCEL:
		ask_to_cancel(p, i, details);
		break;
	case SERVER_BYTES:
		if (server_at(p, who) >= 0)
			world_send(server_at(p, who), details.p, details.n);
		break;
	case SERVER_MESSAGE:
		say_message(server_at(p, who), details);
		break;
	case SERVER_ENDS:
		end_server(p, who);
		break;
	case SERVER_WAKES:
		if ((who & 0x80) == 0 && server_at(p, who) >= 0)
			backend_wake(&p->stage.backends[who % STAGE_BACKENDS], false);
		break;
	case SERVERS_ANSWER:
		p->stage.is_mute = (who & 1) != 0;
		break;
	case COMMAND:
		command(p, who);
		break;
	case COMMAND_ENDS:
		end_command(p);
		break;
	case TIME:
		pass(p, who);
		break;
	case HAPPENINGS:
		break;
	}
	stage_settle(&p->stage);
}

/* What an admin has stopped goes on. */
static void resume_all(struct party *p)
{
	static const char *const commands[] = {"resume", "resume transaction", "resume session", "enable small", "reload"};

	end_command(p);
	stage_settle(&p->stage);
	p->admin = stage_login(&p->stage, "boss", "pgbouncer");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		say_query(p->admin, slice_of(commands[i]));
		stage_settle(&p->stage);
	}
	end_command(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data, size);
	struct party p = {.admin = -1};

	stage_open(&p.stage, conf_of(), size);
	for (unsigned i = 0; i < CLIENTS; i++)
		p.clients[i] = -1;
	while (cursor_left(&c) > 0 && !c.bad) {
		enum happening what = cursor_u8(&c) % HAPPENINGS;
		unsigned who = cursor_u8(&c);
		size_t n = cursor_u8(&c);

		happen(&p, what, who, cursor_bytes(&c, n < cursor_left(&c) ? n : cursor_left(&c)));
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		leave(&p, i);
	resume_all(&p);
	for (size_t i = 0; i < DATABASES; i++)
		stage_must_recover(&p.stage, "ann", databases[i]);
	stage_close(&p.stage);
	return 0;
}
