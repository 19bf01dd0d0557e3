/*
 * What a client sends before it is let in, from its first byte on. An input is
 * two bytes, how many bytes come at a time and how its connections are used;
 * the rest is the client's. Others get in all the while.
 */
#include <unistd.h>

#include "fuzz.h"
#include "world/stage.h"

static struct conf *conf_of(void)
{
	static struct conf *conf;

	if (conf == NULL)
		conf = world_conf("[databases]\n"
				  "shop = host=@@ port=5432 pool_mode=transaction\n"
				  "* = host=@@ port=5432 pool_mode=session\n"
				  "[pgbouncer]\n"
				  "unix_socket_dir = @@\nauth_type = hba\nadmin_users = boss\nscram_iterations = 8\n"
				  "max_packet_size = 100000\nignore_startup_parameters = extra_float_digits\n"
				  "capacity_check_interval = 0\nautodb_idle_timeout = 10\n",
				  "\"ann\" \"secret\"\n\"md\" \"md55a9d8fe95b3a5ccf1e1c4a8a41d4d9a0\"\n\"plain\" \"p\"\n"
				  "\"boss\" \"b\"\n",
				  "local all ann trust\nlocal all md md5\nlocal all plain password\nlocal all peer peer\n"
				  "local all nobody reject\nlocal replication repl trust\nlocal all all scram-sha-256\n");
	return conf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stage stage;
	size_t piece;
	int client;

	if (size < 2)
		return 0;
	piece = data[0] == 0 ? size : data[0];
	stage_open(&stage, conf_of(), data[1]);
	client = world_connect(&stage.world);
	must(client >= 0);
	for (size_t at = 2; at < size; at += piece) {
		world_send(client, data + at, size - at < piece ? size - at : piece);
		stage_settle(&stage);
	}
	stage_bystander_enters(&stage, "ann", "shop");
	stage_bystander_asks(&stage);
	/* Longer than a login may take. */
	if ((data[1] & 1) != 0)
		stage_pass(&stage, 61 * WORLD_SECOND);
	close(client);
	stage_settle(&stage);
	stage_bystander_asks(&stage);
	stage_close(&stage);
	return 0;
}
