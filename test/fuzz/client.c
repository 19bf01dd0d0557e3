/*
 * What a logged-in client sends. An input is three bytes, the kind of pool,
 * what its statements are to it, and how many bytes come at a time; the rest
 * is the client's. Another client of the same pool must not notice.
 */
#include <unistd.h>

#include "fuzz.h"
#include "world/stage.h"

#define INI(more)                                                                                        \
	STAGE_MODES                                                                                      \
	"[pgbouncer]\n"                                                                                  \
	"unix_socket_dir = @@\nauth_type = any\nadmin_users = boss\ndefault_pool_size = 2\n"             \
	"capacity_check_interval = 0\nquery_wait_timeout = 20\n" more

static struct conf *conf_of(unsigned kind)
{
	static const char *const texts[] = {
		INI("max_prepared_statements = 3\n"),
		INI("max_prepared_statements = 3\nprepared_unnamed = cache\n"),
		INI("max_prepared_statements = 0\nserver_reset_query_always = 1\n"),
		INI("max_prepared_statements = 200\nquery_timeout = 5\nidle_transaction_timeout = 5\nmax_packet_size = 100\n"),
	};
	static struct conf *confs[sizeof(texts) / sizeof(texts[0])];

	kind %= sizeof(texts) / sizeof(texts[0]);
	if (confs[kind] == NULL)
		confs[kind] = world_conf(texts[kind], NULL, NULL);
	return confs[kind];
}

static const char *database_of(unsigned kind)
{
	static const char *const names[] = {"transaction", "session", "statement"};

	return names[kind % 3];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *database;
	struct stage stage;
	size_t piece;
	int client;

	if (size < 3)
		return 0;
	database = database_of(data[0]);
	piece = data[2] == 0 ? size : data[2];
	stage_open(&stage, conf_of(data[1]), data[0]);
	stage_bystander_enters(&stage, "ann", database);
	client = stage_login(&stage, "ann", database);
	must(client >= 0);
	for (size_t at = 3; at < size; at += piece) {
		world_send(client, data + at, size - at < piece ? size - at : piece);
		stage_settle(&stage);
	}
	/* The client says no more and has a server at most; there is another one. */
	stage_bystander_asks(&stage);
	close(client);
	stage_pass(&stage, 6 * WORLD_SECOND);
	stage_bystander_asks(&stage);
	stage_close(&stage);
	return 0;
}
