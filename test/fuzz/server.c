/*
 * What a server says, which may be anybody. An input is four bytes: the kind
 * of pool, what its client asks, how many bytes come at a time, and whether
 * the login is gone through for it; the rest is the server's. Where it is
 * closed, it goes on in the next connection. Afterwards, with other servers at
 * the same place, clients are served as if nothing had been.
 */
#include <unistd.h>

#include "fuzz.h"
#include "proto/out.h"
#include "proto/prepare.h"
#include "world/stage.h"

static struct conf *conf_of(void)
{
	static struct conf *conf;

	if (conf == NULL)
		conf = world_conf(STAGE_MODES
				  "forced = host=@@ port=5432 user=ann password=secret connect_query='set up'\n"
				  "standby = host=@@ port=5432 target_session_attrs=primary pool_mode=transaction\n"
				  "looked_up = host=@@ port=5432 auth_user=asker\n"
				  "[pgbouncer]\n"
				  "unix_socket_dir = @@\nauth_type = trust\ndefault_pool_size = 2\n"
				  "max_prepared_statements = 3\nquery_wait_timeout = 30\nserver_connect_timeout = 5\n"
				  "server_login_retry = 1\nquery_timeout = 20\nmax_packet_size = 100000\n",
				  "\"ann\" \"secret\"\n\"asker\" \"secret\"\n", NULL);
	return conf;
}

static const char *database_of(unsigned kind)
{
	static const char *const names[] = {"transaction", "session", "statement", "forced", "standby", "looked_up"};

	return names[kind % (sizeof(names) / sizeof(names[0]))];
}

/* ------------------------------------------------------------------ the client */

static void add_parse(struct strbuf *b, const char *name, const char *text)
{
	size_t mark = out_begin(b, 'P');

	out_string(b, name);
	out_string(b, text);
	out_u16(b, 0);
	out_end(b, mark);
}

static void add_statement(struct strbuf *b, const char *name, const char *text)
{
	add_parse(b, name, text);
	prepare_out_describe(b, 'S', slice_of(name));
	prepare_out_bind(b, SLICE_LIT(""), slice_of(name));
	prepare_out_describe(b, 'P', SLICE_LIT(""));
	prepare_out_execute(b, SLICE_LIT(""));
	out_simple(b, 'S');
}

static void add_copy_data(struct strbuf *b)
{
	size_t mark = out_begin(b, 'd');

	strbuf_add_str(b, "data");
	out_end(b, mark);
	out_simple(b, 'c');
}

enum { ASKS_SIMPLY, PREPARES, PREPARES_TWICE, PREPARES_IN_SQL, COPIES, COPIES_PIPELINED, PIPELINES, IS_UNSYNCED, KINDS };

static void ask(int client, unsigned kind)
{
	struct strbuf out;

	strbuf_init(&out);
	switch (kind % KINDS) {
	case ASKS_SIMPLY:
		out_query(&out, "one");
		break;
	case PREPARES:
		add_statement(&out, "a", "one");
		break;
	case PREPARES_TWICE:
		add_statement(&out, "a", "one");
		prepare_out_close(&out, 'S', SLICE_LIT("a"));
		add_statement(&out, "a", "two");
		add_statement(&out, "b", "two");
		break;
	case PREPARES_IN_SQL:
		out_query(&out, "PREPARE a AS SELECT 1");
		out_query(&out, "EXECUTE a");
		out_query(&out, "DEALLOCATE ALL");
		break;
	case COPIES:
		out_query(&out, "copy in");
		add_copy_data(&out);
		break;
	case COPIES_PIPELINED:
		add_statement(&out, "", "copy in");
		add_copy_data(&out);
		out_simple(&out, 'S');
		out_query(&out, "more");
		break;
	case PIPELINES:
		for (int i = 0; i < 5; i++)
			out_query(&out, "one of several");
		break;
	case IS_UNSYNCED:
		add_parse(&out, "a", "one");
		out_simple(&out, 'H');
		break;
	}
	world_send(client, out.p, out.n);
	strbuf_fini(&out);
}

/* ------------------------------------------------------------------ the server */

static void welcome(int server)
{
	struct strbuf out;

	strbuf_init(&out);
	out_auth(&out, 0);
	out_parameter_status(&out, SLICE_LIT("server_version"), SLICE_LIT("15.0"));
	out_parameter_status(&out, SLICE_LIT("client_encoding"), SLICE_LIT("UTF8"));
	out_parameter_status(&out, SLICE_LIT("in_hot_standby"), SLICE_LIT("off"));
	out_backend_key_data(&out, "12345678", 8);
	out_ready_for_query(&out, 'I');
	world_send(server, out.p, out.n);
	strbuf_fini(&out);
}

/* What it says in its own words; what it is told it does not care for. False: there is no connection any more. */
static bool say(struct stage *stage, const uint8_t *p, size_t n, bool is_welcoming)
{
	int server = stage_mute(stage);
	struct strbuf heard;

	strbuf_init(&heard);
	while (server >= 0 && !world_receive(server, &heard)) {
		stage_drop_mute(stage, server);
		server = stage_mute(stage);
		if (server >= 0 && is_welcoming)
			welcome(server);
	}
	strbuf_fini(&heard);
	if (server < 0)
		return false;
	world_send(server, p, n);
	stage_settle(stage);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *database;
	struct stage stage;
	bool is_welcoming;
	int client;
	size_t piece;

	if (size < 4)
		return 0;
	database = database_of(data[0]);
	piece = data[2] == 0 ? size : data[2];
	is_welcoming = (data[3] & 1) != 0;
	stage_open(&stage, conf_of(), data[0]);
	stage.is_mute = true;
	client = (data[3] & 6) == 6 ? stage_login_with(&stage, "ann", database, "replication", "true") :
				      stage_login(&stage, (data[3] & 2) != 0 ? "bob" : "ann", database);
	must(client >= 0);
	if (is_welcoming && stage_mute(&stage) >= 0) {
		welcome(stage_mute(&stage));
		stage_settle(&stage);
	}
	ask(client, data[1]);
	stage_settle(&stage);
	for (size_t at = 4; at < size; at += piece)
		if (!say(&stage, data + at, size - at < piece ? size - at : piece, is_welcoming))
			break;
	if ((data[3] & 8) != 0)
		stage_pass(&stage, 25 * WORLD_SECOND);
	close(client);
	stage_must_recover(&stage, "ann", database);
	stage_close(&stage);
	return 0;
}
